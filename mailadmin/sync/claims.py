"""Which of the runs that wait may begin now: each account once, each server politely, no server before all others.

Whoever has room for more runs asks here. What begins is marked in the same transaction, and whoever asks does so alone,
so that all runners together keep to what is said below. A run that may not begin yet stays open and is asked for
again; one that may not begin for long, because its server wants to be left alone or lets nobody in, is closed with that
reason, and its account is due again when that is over.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from mailadmin import leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import hosts
from mailadmin.db import now
from mailadmin.mail.types import Direction
from mailadmin.sync import manners
from mailadmin.sync.ending import Ending, finish_run
from mailadmin.sync.models import Folder, RunKind, RunOutcome, SyncRun
from mailadmin.sync.service import PRESENT, lease_name
from mailadmin.text import clock_time, t

MOST_AT_ONE = 16  # runs at one server
MOST_AT_SLOW = 2  # at one that is slow, or lets nobody in
SLOW_AFTER = timedelta(seconds=3)  # without a word about the first folder
MOST_RINGS = 16  # for as many runners as may be idle
_CLAIMED = timedelta(seconds=15)  # in which whoever claimed a run takes its lease
USUAL, FIRST = "sync", "first sync"  # the jobs, as queue.py names them
_IS_FIRST = and_(Account.synced_at.is_(None), Account.incomplete == "", SyncRun.kind != RunKind.DRY)
# Written once: to put a statement together takes longer than to run it.
_OPEN_RUNS = hosts.with_server(
    select(SyncRun.id, SyncRun.account_id, SyncRun.started_at, Account.waits_until, _IS_FIRST.label("is_first"))
    .join(Account, Account.id == SyncRun.account_id)
    .where(SyncRun.finished_at.is_(None))
    .order_by(SyncRun.requested_at, SyncRun.id)
)
_HELD = select(leases.Lease.name).where(
    leases.Lease.name.startswith(lease_name(0).removesuffix("0")), leases.Lease.expires_at > PRESENT
)
_LOCK = 0x73796E63  # "sync": whoever claims does so alone


@dataclass(frozen=True, slots=True)
class _Open:
    """An open run, and the name of the server (see hosts.py) that it is about."""

    id: int
    account_id: int
    started_at: datetime | None
    is_first: bool
    waits: bool  # the server wants to be left alone
    server: str


def is_first(run: SyncRun) -> bool:
    """Whether `run` is the first of its account, which may take long: nothing was ever complete before."""
    return run.account.synced_at is None and not run.account.incomplete and run.kind is not RunKind.DRY


def jobs_of(session: Session, run_ids: Collection[int]) -> dict[int, str]:
    """For each run the job that does it, as queue.py names them."""
    query = select(SyncRun.id, _IS_FIRST).join(Account, Account.id == SyncRun.account_id).where(SyncRun.id.in_(run_ids))
    return {id_: FIRST if is_first else USUAL for id_, is_first in session.execute(query)}


def enough(rings: Mapping[int, str]) -> dict[int, str]:
    """Those of the `rings` for runs and their jobs that are enough for all: a job goes on until no run is left."""
    rung: Counter[str] = Counter()
    found = {}
    for run_id, job in rings.items():
        if rung[job] < MOST_RINGS:
            found[run_id] = job
        rung[job] += 1
    return found


def claim(session: Session, *, first: bool, limit: int, wanted: int | None = None) -> list[int]:
    """Begin up to `limit` runs that nobody works on, first runs of accounts or others; their ids, the oldest first.

    `wanted` is a run for which somebody rang: it is taken again if it was begun and nobody holds its account.
    """
    if limit <= 0:
        return []
    if session.get_bind().dialect.name == "postgresql":  # SQLite lets one write at a time anyway.
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    held, runs, late = _held(session), _open_runs(session), now() - _CLAIMED
    waiting = [
        run
        for run in runs
        if run.account_id not in held and (run.id == wanted or (run.started_at is None and run.is_first is first))
    ]
    if not waiting:
        return []
    waiting.sort(key=lambda run: run.id != wanted)
    going = [
        run
        for run in runs
        if run.started_at is not None and run.id != wanted and (run.started_at > late or run.account_id in held)
    ]
    busy = Counter(run.server for run in going)
    failing = hosts.failing(session)
    polite = failing.keys() | _slow(session, going)
    claimed: list[int] = []
    for run in waiting:
        most = MOST_AT_SLOW if run.server in polite else MOST_AT_ONE
        if len(claimed) == limit:
            break
        if busy[run.server] < most and (not (run.waits or run.server in failing) or _may_begin(session, run.id)):
            claimed.append(run.id)
            busy[run.server] += 1
    begun = _begin(session, claimed)
    return [id_ for id_ in claimed if id_ in begun]


def _held(session: Session) -> set[int]:
    """The accounts that somebody syncs now, in whatever process."""
    prefix = lease_name(0).removesuffix("0")
    return {int(name.removeprefix(prefix)) for name in session.connection().execute(_HELD).scalars()}


def _open_runs(session: Session) -> list[_Open]:
    """The open runs, the oldest first; columns only, for there may be thousands."""
    moment = now()
    return [
        _Open(
            row.id,
            row.account_id,
            row.started_at,
            is_first=bool(row.is_first),
            waits=bool(row.waits_until and row.waits_until > moment),
            server=hosts.name_in(row),
        )
        for row in session.connection().execute(_OPEN_RUNS)
    ]


def _slow(session: Session, going: Iterable[_Open]) -> set[str]:
    """The servers that have kept a run of `going` waiting without a word about its first folder."""
    late = now() - SLOW_AFTER
    old = {run.id: run for run in going if run.started_at is not None and run.started_at < late}
    if not old:
        return set()
    heard = select(SyncRun.id).where(
        SyncRun.id.in_(old),
        or_(
            SyncRun.found.is_not(None),  # of one that only counts
            exists().where(
                Folder.account_id == SyncRun.account_id,
                or_(Folder.run_total.is_not(None), Folder.synced_at >= SyncRun.started_at),
            ),
        ),
    )
    return {old[id_].server for id_ in old.keys() - set(session.scalars(heard))}


def _begin(session: Session, run_ids: Collection[int]) -> set[int]:
    """Mark these runs as begun; those of them that have not ended meanwhile."""
    moment = now()
    begun = update(SyncRun).where(SyncRun.id.in_(run_ids), SyncRun.finished_at.is_(None))
    begun = begun.values(started_at=func.coalesce(SyncRun.started_at, moment), rung_at=moment)
    begun = begun.execution_options(synchronize_session=False)
    return set(session.scalars(begun.returning(SyncRun.id))) if run_ids else set()


def _may_begin(session: Session, run_id: int) -> bool:
    """Close the run if its server wants to be left alone, or lets nobody in and was just tried; else answer True."""
    run = session.get(SyncRun, run_id, with_for_update={"of": SyncRun})
    account = session.get(Account, run.account_id) if run is not None else None
    if run is None or account is None or run.finished_at is not None:
        return False
    if manners.is_waiting(account):
        _put_off(session, run, account, account.waits_until or now(), manners.sentence(account) + ".")
        return False
    server = accounts.server_of(account, Direction.INCOMING)
    until = hosts.claim(session, server) if server else None
    if until is not None:
        time = clock_time(until)
        said = t("The server lets nobody in at the moment. It is tried again at {time}.", time=time)
        _put_off(session, run, account, until, said)
        return False
    return True


def _put_off(session: Session, run: SyncRun, account: Account, until: datetime, reason: str) -> None:
    finish_run(session, run, account, Ending(RunOutcome.PARTIAL, reason, says_health=False))
    if account.next_sync_at is not None and run.kind is not RunKind.DRY:
        account.next_sync_at = manners.soon_after(until)
