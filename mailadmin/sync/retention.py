"""How long mail is kept here: what is older than `Account.keep_months` is forgotten, and not fetched again.

The server is never told: it keeps what it has, and whoever allows more months gets it back by the next run. What is
kept and what is wanted are one question. `aim` gives a run the nearer of two far ends, that of the window and the day
from which mail is kept, so a folder is complete when it holds everything within both. That day moves on once a day, for
each account at an hour of its own, for all folders are compared when it does.

A server is asked for days in its own time zone (RFC 3501 6.4.4), so what is forgotten is older than what is asked for
by a whole day: nothing is fetched and forgotten in turns. A message whose date nobody knows is kept.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, or_, select, update
from sqlalchemy.orm import Session

from mailadmin import db, leases
from mailadmin.accounts.models import Account, Window
from mailadmin.accounts.service import months_before
from mailadmin.sync import threads
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder, Message

TABLE: Table = Message.__table__  # type: ignore[assignment]
BATCH = 500
SILENT = timedelta(days=2)  # an account that was not synced for so long is looked after by the clock
MOST_ACCOUNTS, MOST_BATCHES = 100, 40  # of the clock at once
LEASE_SECONDS = 60.0
_DAY = timedelta(days=1)
_SPREAD = 0.618034  # Multiples of it lie evenly within one (golden ratio).


def kept_from(account_id: int, months: int | None, moment: datetime) -> datetime | None:
    """The first moment of the day from which mail of the account is kept; None: all is kept."""
    if months is None:
        return None
    day = months_before(moment + account_id * _SPREAD % 1 * _DAY, months).date()
    return datetime.combine(day, time(), tzinfo=UTC)


def aim(account: Account) -> tuple[Window, datetime | None]:
    """How far back a run of `account` reads: its window, or as far as mail is kept if that is nearer."""
    kept = kept_from(account.id, account.keep_months, db.now())
    if kept is None or (account.since is not None and account.since >= kept):
        return account.window, account.since
    return Window.EVERYTHING, kept


def forget_old(going: Going) -> None:
    """Forget what the account is not to keep any more. Raises Stopped, LeaseLost."""
    if going.since is None:  # Otherwise there would be a day from which mail is kept.
        return
    with db.reading() as session:
        months = session.scalar(select(Account.keep_months).where(Account.id == going.account_id))
        cut = _cut(going.account_id, months)
        folders = _with_old(session, going.account_id, cut) if cut else []
    for folder_id, generation in folders:
        deleted = BATCH
        while deleted == BATCH and cut:
            with going.writing() as session:
                deleted = _forget_some(session, going.account_id, folder_id, generation, cut)


def forget_in_silent_accounts() -> None:
    """Forget old mail of accounts that no run looks after, because they are paused or cannot be reached."""
    moment, left = db.now(), MOST_BATCHES
    silent = or_(Account.synced_at.is_(None), Account.synced_at < moment - SILENT)
    wanted = Account.keep_months.is_not(None), Account.deleting_at.is_(None), Account.running_since.is_(None), silent
    with db.reading() as session:
        rows = session.execute(select(Account.id, Account.keep_months).where(*wanted)).all()
        cuts = ((id_, _cut(id_, months)) for id_, months in rows)
        found = [(id_, cut, old) for id_, cut in cuts if cut and (old := _with_old(session, id_, cut))]
    for account_id, cut, folders in found[:MOST_ACCOUNTS]:
        left = _forget_in(account_id, cut, folders, left)


def _cut(account_id: int, months: int | None) -> datetime | None:
    """What is older than this is forgotten."""
    kept = kept_from(account_id, months, db.now())
    return kept - _DAY if kept else None


def _with_old(session: Session, account_id: int, cut: datetime) -> Sequence[tuple[int, int]]:
    """The folders of the account that hold something older than `cut`, with their generation."""
    mine = Folder.account_id == account_id, _has_old(cut)
    return [(id_, generation) for id_, generation in session.execute(select(Folder.id, Folder.generation).where(*mine))]


def _has_old(cut: datetime) -> ColumnElement[bool]:
    """Whether a folder holds something older than `cut`."""
    old = TABLE.c.folder_id == Folder.id, TABLE.c.generation == Folder.generation, TABLE.c.received_at < cut
    return select(TABLE.c.id).where(*old).correlate(Folder).exists()


def with_old_mail(session: Session, account_ids: Collection[int]) -> set[int]:
    """Those of the accounts that hold something that is to be forgotten; a statement for each day, not each account."""
    limited = Account.id.in_(list(account_ids)), Account.keep_months.is_not(None)
    by_cut: dict[datetime, list[int]] = defaultdict(list)
    for id_, months in session.execute(select(Account.id, Account.keep_months).where(*limited)):
        if cut := _cut(id_, months):
            by_cut[cut].append(id_)
    folders = select(Folder.account_id)
    return {
        account_id
        for cut, ids in by_cut.items()
        for account_id in session.scalars(folders.where(Folder.account_id.in_(ids), _has_old(cut)))
    }


def _forget_in(account_id: int, cut: datetime, folders: Sequence[tuple[int, int]], left: int) -> int:
    """Forget in an account that nobody works on, in at most `left` batches; how many are left then."""
    with db.transaction() as session:
        held = leases.take(session, f"sync:{account_id}", seconds=LEASE_SECONDS)
    if held is None:
        return left
    try:
        for folder_id, generation in folders:
            deleted = BATCH
            while deleted == BATCH and left:
                with db.transaction() as session:
                    leases.beat(session, held, seconds=LEASE_SECONDS)
                    deleted = _forget_some(session, account_id, folder_id, generation, cut)
                    _count_again(session, account_id)
                left -= 1
    finally:
        with db.transaction() as session:
            leases.release(session, held)
    return left


def _forget_some(session: Session, account_id: int, folder_id: int, generation: int, cut: datetime) -> int:
    """Delete up to `BATCH` messages older than `cut`, and count the folder down; how many there were."""
    mine = TABLE.c.folder_id == folder_id, TABLE.c.generation == generation, TABLE.c.received_at < cut
    columns = TABLE.c.id, TABLE.c.is_read, TABLE.c.unreadable, TABLE.c.thread_id
    rows: Sequence[Any] = session.execute(
        select(*columns).where(*mine).order_by(TABLE.c.received_at).limit(BATCH)
    ).all()
    if not rows:
        return 0
    session.connection().execute(delete(TABLE).where(TABLE.c.id.in_([row.id for row in rows])))
    unread, unreadable = sum(not row.is_read for row in rows), sum(row.unreadable != "" for row in rows)
    folder = session.get(Folder, folder_id, with_for_update=True, populate_existing=True)
    if folder is not None and folder.generation == generation:
        folder.stored, folder.unread = folder.stored - len(rows), folder.unread - unread
        folder.unreadable -= unreadable
        folder.wanted = folder.wanted and min(folder.wanted, folder.stored)
        session.flush()
    threads.forget_unused(session, account_id, {row.thread_id for row in rows if row.thread_id is not None})
    return len(rows)


def _count_again(session: Session, account_id: int) -> None:
    """Sum up what the folders of the account hold; otherwise the end of a run does that."""
    mine = Folder.account_id == account_id, Folder.is_active, Folder.is_gone.is_(False)
    stored = select(func.coalesce(func.sum(Folder.stored), 0)).where(*mine).scalar_subquery()
    session.execute(
        update(Account)
        .where(Account.id == account_id)
        .values(stored=stored)
        .execution_options(synchronize_session=False)
    )
