"""Forms about people, teams, and who uses which account."""

from collections.abc import Iterable, Sequence

from werkzeug.datastructures import MultiDict
from wtforms import RadioField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.validators import InputRequired
from wtforms.widgets import CheckboxInput, ListWidget

from mailadmin.access.service import Rights
from mailadmin.access.slots import RIGHTS_WORDS
from mailadmin.console.forms import Pairs, SearchForm
from mailadmin.console.people_list import Wanted
from mailadmin.form import Form, VersionedForm, options
from mailadmin.people.models import CustomRole, Person, Team
from mailadmin.permissions import PersonRole
from mailadmin.text import t

ROLE_WORDS = {PersonRole.WORKER: t("Worker"), PersonRole.ADMINISTRATOR: t("Administrator")}


GONE = t("One of these teams does not exist any more.")


def role_pairs(roles: Iterable[CustomRole]) -> Pairs:
    """What somebody can be here: the two roles that there always are, then those of the organisation's own."""
    return [*((role.value, word) for role, word in ROLE_WORDS.items()), *((str(role.id), role.name) for role in roles)]


class WorkerFilter(SearchForm):
    """What narrows the list of workers, read from its address; what is not to choose from counts as empty."""

    team = SelectField(t("Team"), validate_choice=False)
    role = SelectField(t("Role"), validate_choice=False)

    def __init__(self, typed: MultiDict[str, str], *, teams: Sequence[Team]) -> None:
        super().__init__(typed, label=t("Search workers"))
        self._offer("team", t("All teams"), [(str(team.id), team.name) for team in teams])
        self._offer("role", t("All roles"), [(role.value, word) for role, word in ROLE_WORDS.items()])

    def _offer(self, name: str, nothing: str, choices: Pairs) -> None:
        field = self[name]
        field.choices = options([("", nothing), *choices])
        if field.data not in {value for value, _ in choices}:
            field.data = ""

    def wanted(self, *, page: int) -> Wanted:
        """What the list shall show."""
        return Wanted(q=self.words(), role=self.role.data, team=self.team.data, page=page)


class RightsForm(Form):
    """What somebody may do with an account."""

    may = RadioField(
        t("Rights"), choices=options((r.value, word) for r, word in RIGHTS_WORDS.items()), default=Rights.SEND.value
    )

    def rights(self) -> Rights:
        """What was chosen; what is not to choose from counts as the least."""
        return Rights(self.may.data) if self.may.data in set(Rights) else Rights.READ


class StandingForm(VersionedForm):
    """What somebody is here, and which teams they belong to.

    The role is that of a worker, of an administrator, or one of the organisation's own, by its number.
    """

    role = RadioField(t("Role"), invalid_choice_message=t("This role does not exist any more. Choose another one."))
    teams = SelectMultipleField(
        t("Teams"),
        coerce=int,
        widget=ListWidget(),
        option_widget=CheckboxInput(),
        invalid_value_message=GONE,
        invalid_choice_message=GONE,
    )

    def offer(self, roles: Iterable[CustomRole], teams: Iterable[Team]) -> None:
        """Let the two roles that there always are be chosen, and `roles`; and any of `teams`."""
        self.role.choices = options(role_pairs(roles))
        self.teams.choices = options((team.id, team.name) for team in teams)


class SignatureForm(Form):
    """What stands under a person's messages."""

    letters = frozenset({"signature"})

    signature = TextAreaField(t("Signature"))


class TeamForm(Form):
    """The name of a team."""

    name = StringField(t("Name of the team"), [InputRequired(t("The name of the team is missing."))])


class MemberForm(Form):
    """Somebody who joins a team."""

    person = SelectField(t("Person"), coerce=int)

    def offer(self, people: Iterable[Person]) -> None:
        """Let one of `people` be chosen."""
        self.person.choices = options([(0, t("Choose a person")), *((each.id, each.name) for each in people)])
