"""People, their sessions, and how the first administrator comes to be."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import passwords
from mailadmin.people.models import Person, SetupLink, Team
from mailadmin.permissions import SYSTEM, Actor, PersonRole
from mailadmin.text import is_written, t

NAME_LENGTH, ADDRESS_LENGTH = 120, 254


def add(session: Session, *, email: str, name: str, role: PersonRole, password: str, actor: Actor = SYSTEM) -> Person:
    """A new person who signs in with `email` and `password`. Raises RuleBroken with the field that is wrong."""
    address, name = checked_email(email), checked_name(name, what=t("The name"), field="name")
    passwords.check(password, email=address, name=name, organisation=organisation.name(session))
    person = Person(email=address, name=name, role=role, password_hash=passwords.hash_password(password))
    try:
        with session.begin_nested():
            session.add(person)
    except IntegrityError as error:
        raise RuleBroken(t("Somebody with this address is here already."), field="email") from error
    activity.record(session, actor, f"added {person.name} as {role}", kind=ActivityKind.PEOPLE)
    return person


def teams(session: Session) -> Sequence[Team]:
    """All teams, by name."""
    return session.scalars(select(Team).order_by(func.lower(Team.name))).all()


def team(session: Session, name: str) -> Team:
    """The team called `name`, however it is capitalised; a new one if there is none."""
    found = session.scalars(select(Team).where(func.lower(Team.name) == name.lower())).first()
    if found is None:
        found = Team(name=name)
        session.add(found)
    return found


def checked_email(email: str) -> str:
    """`email` in lower case. Raises RuleBroken (field `email`) if it is no address."""
    try:
        # Cut, because the validator takes a second of work for a megabyte; what was cut is still too long for it.
        return validate_email(email.strip()[: ADDRESS_LENGTH * 2], check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise RuleBroken(t("This is not an e-mail address. Write it like ada@example.com."), field="email") from error


def checked_name(name: str, *, what: str, field: str) -> str:
    """`name` with single spaces. Raises RuleBroken (at `field`) if it is empty, too long or not printable."""
    name = " ".join(name.split())
    if not name:
        raise RuleBroken(t("{what} is missing.", what=what), field=field)
    if len(name) > NAME_LENGTH or not is_written(name):
        raise RuleBroken(t("{what} can have {n} letters at most.", what=what, n=NAME_LENGTH), field=field)
    return name


def everyone(session: Session) -> Sequence[Person]:
    """All people, by name."""
    return session.scalars(select(Person).order_by(Person.name, Person.id)).all()


def has_administrator(session: Session) -> bool:
    """Whether somebody can look after this installation."""
    administrators = select(Person.id).where(Person.role == PersonRole.ADMINISTRATOR, Person.deactivated_at.is_(None))
    return session.scalar(administrators.limit(1)) is not None


# The first administrator.


def make_setup_link(session: Session, *, hours: float = 24) -> str:
    """A code that opens the first set-up once within `hours`; earlier ones end.

    Raises RuleBroken when an administrator exists.
    """
    if has_administrator(session):
        raise RuleBroken(t("There is an administrator already, so the first set-up is closed. Sign in instead."))
    moment, code = now(), secrets.token_urlsafe(24)
    session.execute(update(SetupLink).where(SetupLink.used_at.is_(None)).values(expires_at=moment))
    session.add(SetupLink(code_hash=_hash(code), expires_at=moment + timedelta(hours=hours)))
    session.flush()
    return code


def check_setup_code(session: Session, code: str) -> None:
    """Raise RuleBroken (field `code`) unless `code` would open the set-up now."""
    link = session.scalar(select(SetupLink).where(SetupLink.code_hash == _hash(code.strip())))
    again = t("Start the server again, or run “mailadmin migrate”: it prints a new link.")
    if link is None:
        raise RuleBroken(t("This code does not belong to the newest link. {again}", again=again), field="code")
    if link.used_at is not None:
        raise RuleBroken(t("This link was used already. {again}", again=again), field="code")
    if link.expires_at <= now():
        raise RuleBroken(t("This link has run out. {again}", again=again), field="code")


def create_first_administrator(
    session: Session, *, code: str, organisation_name: str, name: str, email: str, password: str
) -> Person:
    """Make the first administrator with a set-up code, which is used up.

    Raises RuleBroken with the wrong field; the caller rolls back, so that the code stays good.
    """
    if has_administrator(session):
        raise RuleBroken(t("There is an administrator already, so the first set-up is closed. Sign in instead."))
    check_setup_code(session, code)
    # Two clicks at once: the second waits here for the first, and then finds the link used.
    used = session.execute(
        update(SetupLink)
        .where(SetupLink.code_hash == _hash(code.strip()), SetupLink.used_at.is_(None))
        .values(used_at=now())
        .execution_options(synchronize_session=False)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]
        raise RuleBroken(t("This link was used a moment ago. Sign in instead."), field="code")
    company = checked_name(organisation_name, what=t("The name of the organisation"), field="organisation")
    organisation.rename(session, name=company)
    return add(session, email=email, name=name, role=PersonRole.ADMINISTRATOR, password=password)


# Signing in.


def check_password(session: Session, *, email: str, password: str) -> Person | None:
    """The active person with this address and password, or None: after the same time, whatever was wrong."""
    person = find(session, email)
    kept = person.password_hash if person and person.is_active else None
    if not passwords.fits(password, kept) or person is None or kept is None:
        return None
    if passwords.is_outdated(kept):
        person.password_hash = passwords.hash_password(password)
    return person


def find(session: Session, email: str) -> Person | None:
    """The person with this address, however it is written."""
    try:
        return session.scalar(select(Person).where(Person.email == checked_email(email)))
    except RuleBroken:
        return None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
