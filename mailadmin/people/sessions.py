"""Sessions: who is signed in, in which browser, since when, and how a session ends.

A session is a row; the browser has its token, and here there is only a hash of that. It ends after an hour without
activity (what a page asks by itself is none), after twelve hours, when somebody ends it, and with a new password.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from mailadmin.db import now
from mailadmin.errors import NotFound
from mailadmin.people.models import Person, SignIn
from mailadmin.text import t

IDLE = timedelta(minutes=60)
ABSOLUTE = timedelta(hours=12)
TOUCH = timedelta(minutes=1)
KEPT = timedelta(days=30)
# By what they say of themselves; the first that fits counts, for each says the names of those before it as well.
_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS")),
    *(("CrOS", "ChromeOS"), ("Linux", "Linux")),
)


def start(
    session: Session,
    *,
    person: Person,
    address: str,
    browser: str,
    method: str = "password",
    has_second_factor: bool = False,
    since: datetime | None = None,
) -> str:
    """Sign `person` in; the answer is the token for the cookie, of which only a hash is kept.

    `since`: when they showed who they are, if that was not just now.
    """
    token = secrets.token_urlsafe(32)
    session.add(
        SignIn(
            token_hash=_hash(token),
            person=person,
            from_address=address[:60],
            browser=browser[:200],
            method=method,
            has_second_factor=has_second_factor,
            started_at=since or now(),
        )
    )
    person.seen_at = now()
    session.flush()
    return token


def signed_in(session: Session, token: str) -> SignIn | None:
    """The session of `token`, unless it ended, was idle for an hour, is twelve hours old, or its person is inactive."""
    found = session.scalar(select(SignIn).where(SignIn.token_hash == _hash(token)))
    return found if found is not None and is_open(found) and found.person.is_active else None


def is_open(found: SignIn) -> bool:
    """Whether the session has not ended, neither by itself nor by somebody."""
    moment = now()
    return found.ended_at is None and found.seen_at >= moment - IDLE and found.started_at >= moment - ABSOLUTE


def is_to_be_touched(found: SignIn) -> bool:
    """Whether its last activity was noted more than a minute ago."""
    return found.seen_at < now() - TOUCH


def touch(session: Session, sign_in_id: int) -> None:
    """Note that the person did something just now. Meant for a transaction of its own: pages only read."""
    moment = now()
    session.execute(update(SignIn).where(SignIn.id == sign_in_id).values(seen_at=moment))
    whose = select(SignIn.person_id).where(SignIn.id == sign_in_id).scalar_subquery()
    session.execute(update(Person).where(Person.id == whose).values(seen_at=moment))


def note_second_factor(session: Session, token: str) -> None:
    """Note that whoever has the session `token` has proved a second factor."""
    session.execute(update(SignIn).where(SignIn.token_hash == _hash(token)).values(has_second_factor=True))


def of_person(session: Session, person: Person) -> Sequence[SignIn]:
    """The open sessions of `person`, the one that was used last first."""
    mine = select(SignIn).where(SignIn.person_id == person.id, SignIn.ended_at.is_(None))
    rows = session.scalars(mine.order_by(SignIn.seen_at.desc(), SignIn.id.desc())).unique()
    return [row for row in rows if is_open(row)]


def is_of(found: SignIn, token: str) -> bool:
    """Whether `token` is the one of this session."""
    return secrets.compare_digest(found.token_hash, _hash(token))


def browser_of(found: SignIn) -> str:
    """The browser and its system in a few words, as far as what it says of itself tells."""
    names = [name for mark, name in _BROWSERS if mark in found.browser][:1]
    systems = [name for mark, name in _SYSTEMS if mark in found.browser][:1]
    return t(" on ").join([*names, *systems]) or found.browser[:40] or t("Unknown")


def end(session: Session, token: str) -> None:
    """Sign out; the token is worth nothing any more."""
    session.execute(
        update(SignIn).where(SignIn.token_hash == _hash(token), SignIn.ended_at.is_(None)).values(ended_at=now())
    )


def end_one(session: Session, person: Person, sign_in_id: int) -> None:
    """End one session of `person`. Raises NotFound for those of others."""
    found = session.get(SignIn, sign_in_id)
    if found is None or found.person_id != person.id:
        raise NotFound(t("This session has ended already."))
    found.ended_at = found.ended_at or now()
    session.flush()


def end_all(session: Session, person: Person, *, but: str = "") -> None:
    """Sign `person` out everywhere, `but` for the session with this token."""
    mine = SignIn.person_id == person.id, SignIn.ended_at.is_(None), SignIn.token_hash != _hash(but)
    session.execute(update(SignIn).where(*mine).values(ended_at=now()))


def forget_old(session: Session, *, before: datetime | None = None) -> None:
    """Delete sessions that are over since `before` (a month ago)."""
    moment = before or now() - KEPT
    session.execute(delete(SignIn).where(or_(SignIn.ended_at < moment, SignIn.started_at < moment - ABSOLUTE)))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
