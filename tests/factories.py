"""Makers of rows: each takes only what matters. The cast is Ada (administrator), Wim (worker), Olga (outsider)."""

from sqlalchemy.orm import Session

from mailadmin.people import service as people
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole

PASSWORD = "lamp desk harbour 7"


def a_person(
    session: Session,
    *,
    name: str = "Ada Lindqvist",
    email: str = "ada@example.com",
    role: PersonRole = PersonRole.ADMINISTRATOR,
    password: str = PASSWORD,
) -> Person:
    """Somebody who can sign in with `password`."""
    return people.add(session, name=name, email=email, role=role, password=password)
