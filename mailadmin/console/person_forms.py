"""Forms about people: a new one, one who leaves, roles of the organisation's own."""

from collections.abc import Iterable, Sequence

from wtforms import EmailField, PasswordField, RadioField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from mailadmin.console.people_forms import role_pairs
from mailadmin.form import Form, options
from mailadmin.people import staff
from mailadmin.people.models import CustomRole, Person
from mailadmin.people.service import ADDRESS_LENGTH, NAME_LENGTH
from mailadmin.permissions import PersonRole
from mailadmin.text import t

LINK, MAIL, PASSWORD = "link", "mail", "password"
HEIR, DELETE = "heir", "delete"


def _named(label: str) -> StringField:
    long = t("At most {n} letters.", n=NAME_LENGTH)
    return StringField(label, [InputRequired(t("The name is missing.")), Length(max=NAME_LENGTH, message=long)])


class NewPersonForm(Form):
    """Somebody who is to sign in here, and how they come by a password."""

    name = _named(t("Name"))
    email = EmailField(
        t("E-mail address"),
        [InputRequired(t("The address is missing.")), Length(max=ADDRESS_LENGTH, message=t("This is too long."))],
    )
    role = SelectField(t("Role"), default=PersonRole.WORKER.value)
    way = RadioField(t("How they sign in first"))
    password = PasswordField(t("Password"), [Optional()])

    def offer(self, roles: Iterable[CustomRole], *, has_mail: bool, only_workers: bool) -> None:
        """Let one of the `roles` be chosen, and only ways that work here."""
        roles_here = role_pairs(roles)
        self.role.choices = options(roles_here[:1] if only_workers else roles_here)
        mail = [(MAIL, t("Send a link by e-mail"))] if has_mail else []
        ways = [*mail, (LINK, t("Show me a link that I pass on")), (PASSWORD, t("I set a password"))]
        self.way.choices = options(ways)
        if not self.way.data:
            self.way.data = ways[0][0]


class LeavingForm(Form):
    """What becomes of the personal accounts of somebody who is deleted."""

    accounts = RadioField(t("Their own accounts"), default=HEIR)
    heir = SelectField(t("New owner"), [Optional()])

    def offer(self, people: Sequence[Person]) -> None:
        """Let one of `people` be the heir."""
        fates = [
            (HEIR, t("Hand them over to somebody else, with all mail")),
            (DELETE, t("Delete them here; at the provider nothing is deleted")),
        ]
        self.accounts.choices = options(fates)
        self.heir.choices = options([("", t("Choose")), *((str(person.id), person.name) for person in people)])


class CustomRoleForm(Form):
    """A role of the organisation's own."""

    name = _named(t("Name"))
    permissions = SelectMultipleField(t("May"), widget=ListWidget(), option_widget=CheckboxInput())

    def offer(self) -> None:
        """Let the permissions be chosen that can be given one by one."""
        self.permissions.choices = options((each.value, t(each.value.capitalize())) for each in staff.DIVISIBLE)


class ProfileForm(Form):
    """What somebody says of themselves."""

    letters = frozenset({"signature"})

    name = _named(t("Your name"))
    time_zone = SelectField(t("Time zone"), [Optional()])
    signature = TextAreaField(t("Signature"), [Length(max=2000, message=t("At most {n} letters.", n=2000))])


class ChangePasswordForm(Form):
    """Another password than the one that is known."""

    old_password = PasswordField(t("Your password now"), [InputRequired(t("The password is missing."))])
    password = PasswordField(t("New password"), [InputRequired(t("The password is missing."))])


class ForgottenForm(Form):
    """Whose password was forgotten."""

    email = EmailField(t("E-mail address"), [InputRequired(t("The address is missing."))])
