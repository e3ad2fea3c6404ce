"""Whether an open page of a mailbox has become old: what it was made of, as a short mark, and how often it asks."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Integer, Table, bindparam, func, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.db import now
from mailadmin.people.models import Person
from mailadmin.sync.models import ChangeState, Folder, PendingChange
from mailadmin.writing.models import OutgoingMessage, Progress

# Somebody who has just come sees new mail at once; a page that was forgotten asks seldom.
PACES = ((timedelta(minutes=5), 1), (timedelta(minutes=30), 5))
SLOWEST = 20  # seconds
_LARGE = 2**31 - 1  # a sum of what HIGHESTMODSEQ may be (RFC 7162: 63 bits) would be too large for a column
_FOLDERS: Table = Folder.__table__  # type: ignore[assignment]
_CHANGES: Table = PendingChange.__table__  # type: ignore[assignment]
_OUTGOING: Table = OutgoingMessage.__table__  # type: ignore[assignment]
_ACCOUNT: ColumnElement[int] = bindparam("of_account", type_=Integer)
_WAIT = select().where(_CHANGES.c.account_id == _ACCOUNT, _CHANGES.c.state == ChangeState.WAITING)

# Made once: every open page asks this, most of them once a second.
_FACTS = select(
    func.count(),
    *(func.sum(_FOLDERS.c[name]) for name in ("stored", "unread", "generation")),
    func.sum(func.coalesce(_FOLDERS.c.uidnext, 0)),
    func.sum(func.coalesce(_FOLDERS.c.modseq, 0) % _LARGE),
    _WAIT.with_only_columns(func.count(_CHANGES.c.id)).scalar_subquery(),
    _WAIT.with_only_columns(func.max(_CHANGES.c.id)).scalar_subquery(),
).where(_FOLDERS.c.account_id == _ACCOUNT, _FOLDERS.c.is_active)
_DRAFTS = (
    select(_OUTGOING.c.progress, func.count())
    .where(_OUTGOING.c.account_id == _ACCOUNT, _OUTGOING.c.person_id == bindparam("of_person"))
    .where(_OUTGOING.c.version > 1, _OUTGOING.c.progress != Progress.SENT)
    .group_by(_OUTGOING.c.progress)
)


def mark(session: Session, account: Account, person: Person) -> str:
    """What changes when anything does that a page of the account's mail shows `person`.

    That is: what the last runs left in its folders, what waits to be told, how many drafts the person has and how
    far those are, and when a run has ended, for texts come after their messages.
    """
    connection, ids = session.connection(), {"of_account": account.id, "of_person": person.id}
    far = sorted((progress.value, n) for progress, n in connection.execute(_DRAFTS, ids))
    facts = (*connection.execute(_FACTS, ids).one(), *far, account.synced_at)
    return hashlib.blake2s("|".join(map(str, facts)).encode(), digest_size=8).hexdigest()


def pace(since: datetime) -> int:
    """Every how many seconds a page asks on which nothing has changed `since`."""
    age = now() - since
    return next((seconds for until, seconds in PACES if age < until), SLOWEST)
