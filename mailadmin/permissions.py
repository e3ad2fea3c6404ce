"""Who acts, what a person may do here, and which roles allow it."""

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """One thing that a route may ask for."""

    SEE_CONSOLE = "see console"
    MANAGE_PROVIDERS = "manage providers"
    MANAGE_ACCOUNTS = "manage accounts"
    MANAGE_PEOPLE = "manage people"
    MANAGE_COMPANY = "manage company"
    SEE_ACTIVITY = "see activity"
    READ_MAIL = "read mail"


class PersonRole(StrEnum):
    """Who somebody is in the console."""

    ADMINISTRATOR = "administrator"
    WORKER = "worker"


# What somebody with a role of the organisation's own has besides what that allows.
BASE = frozenset({Permission.SEE_CONSOLE, Permission.READ_MAIL})
ROLES: dict[PersonRole, frozenset[Permission]] = {
    PersonRole.ADMINISTRATOR: frozenset(Permission),
    PersonRole.WORKER: frozenset({Permission.READ_MAIL}),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person by id and name, from a network address; or the system itself."""

    name: str
    person_id: int | None = None
    address: str = ""


SYSTEM = Actor("System")
COMMAND_LINE = Actor("Command line")
