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
from mailadmin.form import Form
from mailadmin.people.models import CustomRole, Person, Team
from mailadmin.permissions import PersonRole
from mailadmin.text import t

ROLE_WORDS = {PersonRole.WORKER: t("Worker"), PersonRole.ADMINISTRATOR: t("Administrator")}


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
        field.choices = [("", nothing), *choices]
        if field.data not in {value for value, _ in field.choices}:
            field.data = ""

    def wanted(self, *, page: int) -> Wanted:
        """What the list shall show."""
        return Wanted(q=self.words(), role=self.role.data, team=self.team.data, page=page)


class RightsForm(Form):
    """What somebody may do with an account."""

    may = RadioField(
        t("Rights"), choices=[(r.value, word) for r, word in RIGHTS_WORDS.items()], default=Rights.SEND.value
    )

    def rights(self) -> Rights:
        """What was chosen; what is not to choose from counts as the least."""
        return Rights(self.may.data) if self.may.data in set(Rights) else Rights.READ


class RoleForm(Form):
    """What somebody may do here: the role of a worker, of an administrator, or one of the organisation's own."""

    role = RadioField(t("Role"))

    def offer(self, roles: Iterable[CustomRole]) -> None:
        """Let the two roles that there always are be chosen, and `roles`."""
        own = [(str(role.id), role.name) for role in roles]
        self.role.choices = [*((role.value, word) for role, word in ROLE_WORDS.items()), *own]


class TeamsForm(Form):
    """The teams of a person."""

    teams = SelectMultipleField(t("Teams"), coerce=int, widget=ListWidget(), option_widget=CheckboxInput())

    def offer(self, teams: Iterable[Team]) -> None:
        """Let `teams` be ticked."""
        self.teams.choices = [(team.id, team.name) for team in teams]


class SignatureForm(Form):
    """What stands under a person's messages."""

    signature = TextAreaField(t("Signature"))


class TeamForm(Form):
    """The name of a team."""

    name = StringField(t("Name of the team"), [InputRequired(t("The name of the team is missing."))])


class MemberForm(Form):
    """Somebody who joins a team."""

    person = SelectField(t("Person"), coerce=int)

    def offer(self, people: Iterable[Person]) -> None:
        """Let one of `people` be chosen."""
        self.person.choices = [(0, t("Choose a person")), *((each.id, each.name) for each in people)]
