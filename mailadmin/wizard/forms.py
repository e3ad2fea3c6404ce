"""What the forms about an account share: the words for its choices, and the question whose mail it is."""

from collections.abc import Iterable

from wtforms import RadioField, SelectChoice, SelectField, StringField, ValidationError
from wtforms.validators import Length

from mailadmin.accounts.models import Kind, NewContacts, Window
from mailadmin.form import VersionedForm
from mailadmin.mail.types import SignInMethod
from mailadmin.people.models import Person, Team
from mailadmin.text import t

KIND_WORDS = {Kind.SHARED: "Shared", Kind.TEAM: "Team", Kind.PERSONAL: "Personal"}
WINDOW_WORDS = {
    Window.NOW: "Now on",
    Window.ONE_MONTH: "1 month ago",
    Window.THREE_MONTHS: "3 months ago",
    Window.SIX_MONTHS: "6 months ago",
    Window.EVERYTHING: "The beginning",
}
CONTACT_WORDS = {
    NewContacts.NOBODY: "For nobody",
    NewContacts.WRITTEN_TO: "For people we wrote to",
    NewContacts.EVERYBODY: "For everybody who writes",
}
KEEP_WORDS = {
    None: "Everything",
    1: "1 month",
    3: "3 months",
    6: "6 months",
    12: "1 year",
    24: "2 years",
    36: "3 years",
    60: "5 years",
    84: "7 years",
    120: "10 years",
}
METHOD_WORDS = {SignInMethod.PASSWORD: "Mailbox password", SignInMethod.APP_PASSWORD: "App password"}
SHORT = Length(max=120, message=t("At most 120 characters can stand here."))


class KindForm(VersionedForm):
    """Whose mail it is: shared, a team's, or one person's."""

    kind = RadioField(t("Whose mailbox is it?"), default=Kind.SHARED.value)
    team = StringField(t("Team"), [SHORT])
    owner_id = SelectField(t("Owner"), coerce=int, default=0)

    def offer_owners(self, people: Iterable[Person], teams: Iterable[Team]) -> None:
        """Let somebody choose among `people` and `teams`."""
        self.teams = [team.name for team in teams]
        self.kind.choices = [SelectChoice(kind.value, t(word)) for kind, word in KIND_WORDS.items()]
        self.owner_id.choices = [
            SelectChoice("0", t("Choose a person")),
            *(SelectChoice(str(person.id), person.name) for person in people),
        ]

    def validate_team(self, field: StringField) -> None:
        if self.kind.data == Kind.TEAM and not (field.data or "").strip():
            raise ValidationError(t("Choose the team, or type the name of a new one."))

    def validate_owner_id(self, field: SelectField) -> None:
        if self.kind.data == Kind.PERSONAL and not field.data:
            raise ValidationError(t("Choose whose account it is."))
