"""Tickets: what is good once and not for long. A link that lets somebody choose a password, or a step of a sign-in.

Only a hash is kept of the code that opens one. Using one is a single UPDATE that counts its rows, so of two that come
at once one is refused.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.people.models import Person, Ticket, TicketPurpose
from mailadmin.sealed import Secret
from mailadmin.text import t

KEPT = timedelta(days=7)
SECRET = "ticket"  # noqa: S105 - the purpose of what a ticket keeps


def make(
    session: Session,
    purpose: TicketPurpose,
    *,
    lasts: timedelta,
    person: Person | None = None,
    made_by: str = "",
    kept: str = "",
) -> str:
    """The code of a new ticket; `kept` is sealed with it for the step that uses it."""
    code = secrets.token_urlsafe(32)
    kept_id = sealed.keep(session, Secret(kept), purpose=SECRET) if kept else None
    session.add(
        Ticket(
            purpose=purpose,
            code_hash=_hash(code),
            person_id=person.id if person else None,
            kept_id=kept_id,
            made_by=made_by[:200],
            expires_at=now() + lasts,
        )
    )
    session.flush()
    return code


def look(session: Session, code: str, *purposes: TicketPurpose) -> Ticket:
    """The ticket that `code` opens. Raises RuleBroken with the reason why it does not, or not any more."""
    ticket = session.scalar(select(Ticket).where(Ticket.code_hash == _hash(code), Ticket.purpose.in_(purposes)))
    if ticket is None:
        raise RuleBroken(t("This link is not known. Perhaps a part of it is missing, or a newer one was sent."))
    if ticket.used_at is not None:
        raise RuleBroken(t("This link was used already."))
    if ticket.expires_at <= now():
        raise RuleBroken(t("This link has run out."))
    return ticket


def use(session: Session, ticket: Ticket) -> None:
    """Use `ticket` up. Raises RuleBroken if somebody was a moment faster, or its time has just run out."""
    moment = now()
    used = session.execute(
        update(Ticket)
        .where(Ticket.id == ticket.id, Ticket.used_at.is_(None), Ticket.expires_at > moment)
        .values(used_at=moment)
        .execution_options(synchronize_session=False)
    )
    if used.rowcount != 1:  # type: ignore[attr-defined]
        raise RuleBroken(t("This link was used a moment ago."))


def count_try(session: Session, ticket: Ticket, *, most: int) -> None:
    """Note one more try of what `ticket` asks for. Raises RuleBroken after `most` of them; then it is used up."""
    tried = session.execute(
        update(Ticket)
        .where(Ticket.id == ticket.id, Ticket.tries < most, Ticket.used_at.is_(None))
        .values(tries=Ticket.tries + 1)
        .execution_options(synchronize_session=False)
    )
    if tried.rowcount != 1:  # type: ignore[attr-defined]
        raise RuleBroken(t("That were too many tries. Begin anew."))


def kept(session: Session, ticket: Ticket) -> str:
    """What was sealed with `ticket`; empty if nothing was."""
    return sealed.reveal(session, ticket.kept_id).reveal() if ticket.kept_id else ""


def all_kept(session: Session, person: Person) -> Sequence[UUID]:
    """The secrets that the tickets of `person` keep; they go when their tickets have gone."""
    mine = select(Ticket.kept_id).where(Ticket.person_id == person.id, Ticket.kept_id.is_not(None))
    return [secret_id for secret_id in session.scalars(mine) if secret_id is not None]


def end(session: Session, person: Person, *purposes: TicketPurpose) -> None:
    """Make all open tickets of `person` for `purposes` worth nothing."""
    session.execute(
        update(Ticket)
        .where(Ticket.person_id == person.id, Ticket.purpose.in_(purposes), Ticket.used_at.is_(None))
        .values(expires_at=now())
        .execution_options(synchronize_session=False)
    )


def newest(session: Session, person: Person, *purposes: TicketPurpose) -> Ticket | None:
    """The newest ticket of `person` for one of `purposes`, whatever became of it."""
    mine = select(Ticket).where(Ticket.person_id == person.id, Ticket.purpose.in_(purposes))
    return session.scalars(mine.order_by(Ticket.id.desc()).limit(1)).first()


def forget_old(session: Session, *, before: datetime | None = None) -> None:
    """Delete tickets that are over since `before` (a week ago), and what was sealed with any that is over now."""
    moment = now()
    over = or_(Ticket.expires_at <= moment, Ticket.used_at.is_not(None))
    rows = session.execute(select(Ticket.id, Ticket.kept_id).where(over, Ticket.kept_id.is_not(None))).all()
    session.execute(update(Ticket).where(Ticket.id.in_([row.id for row in rows])).values(kept_id=None))
    for row in rows:
        sealed.forget(session, row.kept_id)
    session.execute(delete(Ticket).where(Ticket.expires_at < (before or moment - KEPT)))


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
