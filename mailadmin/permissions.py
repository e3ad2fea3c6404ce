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
    READ_MAIL = "read mail"


class PersonRole(StrEnum):
    """Who somebody is in the console."""

    ADMINISTRATOR = "administrator"
    WORKER = "worker"


ROLES: dict[PersonRole, frozenset[Permission]] = {
    PersonRole.ADMINISTRATOR: frozenset(Permission),
    PersonRole.WORKER: frozenset({Permission.READ_MAIL}),
}


def allows(role: PersonRole, permission: Permission) -> bool:
    """Whether `role` includes `permission`."""
    return permission in ROLES[role]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person by id and name, from a network address; or the system itself."""

    name: str
    person_id: int | None = None
    address: str = ""


SYSTEM = Actor("System")
COMMAND_LINE = Actor("Command line")
