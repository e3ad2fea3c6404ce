"""Sync runs: who asks for one, which are due or lost, how one ends, and what a page says about them.

The pass itself is in run.py (one account) and passes.py (one folder); folders.py knows which folders there are.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import leases, queue
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, NewContacts, Window
from mailadmin.activity import service as activity
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check
from mailadmin.db import UTCDateTime, now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.sync import audited
from mailadmin.sync.ending import Ending, finish_run, minutes_between, next_sync, sums
from mailadmin.sync.folders import adopt_folders, choose_folders, listed_at, seen, stored, take_over
from mailadmin.sync.models import RunKind, RunOutcome, SyncRun
from mailadmin.sync.progress import course_of
from mailadmin.sync.reinitialise import get_folder, reinitialise
from mailadmin.text import t

__all__ = [
    "Ending",
    "adopt_folders",
    "choose_folders",
    "finish_run",
    "get_folder",
    "listed_at",
    "minutes_between",
    "next_sync",
    "reinitialise",
    "seen",
    "take_over",
]

SCHEDULE = "Schedule"
LOST_AFTER = timedelta(seconds=60)  # a ring that nobody answered
ABANDONED_AFTER = timedelta(seconds=15)  # a run whose holder died; a runner that was just asked needs a moment
CATCH_UP = timedelta(minutes=5)  # in which accounts begin again that came due while no mail was used
_RUNS: Table = SyncRun.__table__  # type: ignore[assignment]
PRESENT = bindparam("present", callable_=now, type_=UTCDateTime())  # the moment at which a statement is run
# Whether an account's time has come and it has no open run.
IS_DUE = (
    Account.is_set_up,
    Account.deleting_at.is_(None),
    Account.health.not_in((Health.PAUSED, Health.NEEDS_ATTENTION)),
    Account.next_sync_at <= PRESENT,
    ~exists().where(SyncRun.account_id == Account.id, SyncRun.finished_at.is_(None)),
)
IS_SYNC = SyncRun.kind != RunKind.DRY
_PACE_MOST, _PACE_LEAST = timedelta(seconds=1), timedelta(milliseconds=60)  # from one of them to the next


def lease_name(account_id: int) -> str:
    """The lease that whoever syncs the account holds."""
    return f"sync:{account_id}"


def dry_lease_name(account_id: int) -> str:
    """The lease of whoever only counts, see dry.py: another one, so that no sync waits for it."""
    return f"count:{account_id}"


# Setting up.


def set_up(
    session: Session,
    account: Account,
    *,
    actor: Actor,
    window: Window | None = None,
    new_contacts: NewContacts | None = None,
) -> None:
    """End the set-up: from now on the account is synced, as far back as `window` (None: as its row says).

    `new_contacts` None: as its row says. Raises RuleBroken if no folder is chosen. An account that is set up already is
    left alone.
    """
    if account.is_set_up:
        return
    if not any(row.is_active and not row.is_gone for row in stored(session, account.id)):
        raise RuleBroken(t("Choose the folders first."))
    accounts.choose_window(session, account, window=window or account.window)
    account.is_set_up, account.wanted_folders = True, None
    account.new_contacts = new_contacts or account.new_contacts
    if account.health not in (Health.PAUSED, Health.NEEDS_ATTENTION):
        account.next_sync_at = now()
    activity.record(session, actor, f"set up {account.address}", account_id=account.id)
    session.flush()


def set_up_imported(session: Session, account: Account, check: Check) -> None:
    """Set up an imported account with the folders of `check`, a passed test, that its import asked for.

    Paths that the server does not have are passed over; if none is left, the usual choice counts.
    """
    rows = adopt_folders(session, account=account, listed=check.folders)
    wanted = {path.strip().casefold() for path in (account.wanted_folders or "").split("|")} - {""}
    open_rows = [row for row in rows if not row.is_gone and not row.locked]
    active = {row.id for row in open_rows if row.path.casefold() in wanted}
    if active:
        choose_folders(session, account, active=active, roles={}, actor=SYSTEM)
    set_up(session, account, actor=SYSTEM)


def set_up_waiting(session: Session) -> list[int]:
    """Set up the imported accounts whose test has passed meanwhile, and answer their ids; they are due at once."""
    waiting = session.scalars(
        select(Account).where(
            Account.wanted_folders.is_not(None), Account.is_set_up.is_(False), Account.deleting_at.is_(None)
        )
    ).unique()
    done = []
    for account in waiting.all():
        check = connections.last_passed(session, account.id)
        if check is None or not check.folders or check.account_version != account.version:
            continue
        try:
            with session.begin_nested():
                set_up_imported(session, account, check)
        except RuleBroken:  # Nothing that holds mail: a person has to look.
            account.wanted_folders = None
            continue
        done.append(account.id)
    return done


# Asking for a run.


def request_run(session: Session, *, account: Account, requested_by: str, kind: RunKind = RunKind.USUAL) -> SyncRun:
    """An open run of `account`: the one there is, or a new one; ring for it after the commit.

    A usual run that is open becomes an audit if one is wanted, even while it goes on, see run.py. Raises RuleBroken
    while the account is paused, not set up, or being deleted, or the company does not use its mail.
    """
    if not organisation.uses_mail(session):
        raise RuleBroken(organisation.why_off())
    if account.deleting_at is not None:
        raise RuleBroken(t("This account is being deleted."))
    if not account.is_set_up:
        raise RuleBroken(t("This account is not set up yet. Test the connection and choose its folders first."))
    if account.health is Health.PAUSED:
        raise RuleBroken(t("This account is paused. Resume it first."))
    if run := _open_sync(session, account.id, holds=kind is RunKind.AUDIT):
        if kind is RunKind.AUDIT and run.kind is RunKind.USUAL:
            run.kind = kind
        return run
    try:
        with session.begin_nested():
            run = SyncRun(account_id=account.id, requested_by=requested_by, rung_at=now(), kind=kind)
            session.add(run)
            session.flush()
            return run
    except IntegrityError:  # Somebody else was a moment faster; the partial unique index has the last word.
        run = open_run(session, account.id)
        if run is None:
            raise
        return run


def _open_sync(session: Session, account_id: int, *, holds: bool) -> SyncRun | None:
    """As `open_run`; but a dry run ends where a sync is wanted, with what it has found, and is none."""
    run = open_run(session, account_id, holds=holds)
    if run is None or run.kind is not RunKind.DRY:
        return run
    run.finished_at, run.outcome = now(), RunOutcome.PARTIAL
    run.reason = t("A sync began before everything was counted.")
    session.flush()
    return None


def request_run_if_used(session: Session, *, account: Account, requested_by: str) -> SyncRun | None:
    """As `request_run`, but None while the company does not use its mail: the account is due once it does again."""
    if not organisation.uses_mail(session):
        return None
    return request_run(session, account=account, requested_by=requested_by)


def open_run(session: Session, account_id: int, *, holds: bool = False) -> SyncRun | None:
    """The run of the account that has not ended, or None; with `holds` it cannot end before the commit."""
    query = select(SyncRun).where(SyncRun.account_id == account_id, SyncRun.finished_at.is_(None))
    return session.scalars(query.with_for_update() if holds else query).one_or_none()


def get_run(session: Session, run_id: int) -> SyncRun:
    """The run `run_id`. Raises NotFound."""
    run = session.get(SyncRun, run_id)
    if run is None:
        raise NotFound(t("This sync is not known any more."))
    return run


def due_accounts(session: Session, *, limit: int = 100, rule: ColumnElement[bool] | None = None) -> Sequence[Any]:
    """The accounts whose time has come and which have no open run, the longest overdue first.

    What is known of each is enough for `audited`; `rule` is one more that they keep to.
    """
    columns = Account.id, Account.synced_at, Account.audited_at, Account.audit_agrees
    query = select(*columns).where(*IS_DUE, *([] if rule is None else [rule]))
    return session.execute(query.order_by(Account.next_sync_at).limit(limit)).all()


def request_due_runs(session: Session, *, limit: int = 100, rule: ColumnElement[bool] | None = None) -> list[int]:
    """Runs for the accounts that are due and keep to `rule`; their ids, to be rung for after the commit.

    None while no mail is used.
    """
    if not organisation.uses_mail(session):
        return []
    moment, runs = now(), []
    kinds: dict[RunKind, list[int]] = {}
    for row in due_accounts(session, limit=limit, rule=rule):
        kinds.setdefault(audited.kind_of_next(row, moment), []).append(row.id)
    for kind, account_ids in kinds.items():
        runs += request_runs(session, account_ids, requested_by=SCHEDULE, kind=kind)
    return runs


def request_runs(
    session: Session, account_ids: Collection[int], *, requested_by: str, kind: RunKind = RunKind.USUAL
) -> list[int]:
    """Open runs of accounts that may be synced, with one statement; the ids of those that had none.

    The partial unique index has the last word.
    """
    if not account_ids:
        return []
    engine = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    moment = now()
    values = {"requested_by": requested_by, "requested_at": moment, "rung_at": moment, "kind": kind}
    new = engine.insert(_RUNS).on_conflict_do_nothing().returning(_RUNS.c.id)
    rows = [{"account_id": account_id, **values} for account_id in account_ids]
    return list(session.connection().execute(new, rows).scalars())


def catch_up(session: Session) -> None:
    """Have the accounts that came due while no mail was used synced from now on: soon, but not all in one moment."""
    moment = now()
    overdue = select(Account.id).where(Account.next_sync_at < moment, Account.deleting_at.is_(None))
    ids = session.scalars(overdue.order_by(Account.next_sync_at)).all()
    pace = min(max(CATCH_UP / max(len(ids), 1), _PACE_LEAST), _PACE_MOST)
    values = [{"id": id_, "next_sync_at": moment + place * pace} for place, id_ in enumerate(ids)]
    if values:
        session.execute(update(Account), values)


def lost_runs(session: Session) -> list[SyncRun]:
    """Open runs that nobody works on: to be rung for again after the commit.

    Lost is a run that no runner took within a minute of the last ring, or whose lease is free although it was started:
    its runner was killed. The ring is noted, so that one loss is not rung for at every tick.
    """
    moment = now()
    prefixes = (name(0).removesuffix("0") for name in (lease_name, dry_lease_name))
    held = {lease.name for prefix in prefixes for lease in leases.held_now(session, prefix)}
    overdue = or_(
        SyncRun.rung_at.is_(None),
        SyncRun.rung_at < moment - LOST_AFTER,
        SyncRun.started_at.is_not(None) & (SyncRun.rung_at < moment - ABANDONED_AFTER),
    )
    open_ones = session.scalars(select(SyncRun).where(SyncRun.finished_at.is_(None), overdue).order_by(SyncRun.id))
    lost = [run for run in open_ones if _lease_of(run) not in held]
    for run in lost:
        run.rung_at = moment
    session.flush()
    return lost


def _lease_of(run: SyncRun) -> str:
    return (dry_lease_name if run.kind is RunKind.DRY else lease_name)(run.account_id)


def forget_old_runs(session: Session, *, days: int = 30) -> None:
    """Delete runs that ended more than `days` ago, but keep the last sync of every account."""
    last = select(func.max(SyncRun.id)).where(IS_SYNC).group_by(SyncRun.account_id)
    session.execute(
        delete(SyncRun)
        .where(SyncRun.finished_at < now() - timedelta(days=days), SyncRun.id.not_in(last))
        .execution_options(synchronize_session=False)
    )


# What the account page shows, and what is kept.


def diagnosis(session: Session, account_id: int) -> dict[str, Any] | None:
    """What the last test or, if that is newer, the last run of the account found; None where that went well.

    A run that went well says nothing of sending: what the last test found about that still holds.
    """
    last = select(SyncRun).where(SyncRun.account_id == account_id, SyncRun.finished_at.is_not(None), IS_SYNC)
    run = session.scalars(last.order_by(SyncRun.id.desc()).limit(1)).first()
    check = next(iter(connections.history(session, account_id)), None)
    ends = [(each.finished_at, each.diagnosis) for each in (run, check) if each is not None and each.finished_at]
    newest = max(ends, key=lambda end: end[0])[1] if ends else None
    told = check.diagnosis if newest is None and check is not None else None
    both = [newest] if newest else [told, told.get("also")] if told else []
    return next((one for one in both if one and (newest or one["direction"] == Direction.OUTGOING)), None)


# What the account page shows.


def panel(session: Session, account: Account) -> dict[str, Any]:
    """What `sync/_panel.html` needs, under the one key `sync`."""
    run = open_run(session, account.id)
    run = None if run and run.kind is RunKind.DRY else run
    last = session.scalars(
        select(SyncRun)
        .where(SyncRun.account_id == account.id, SyncRun.finished_at.is_not(None), IS_SYNC)
        .order_by(SyncRun.requested_at.desc(), SyncRun.id.desc())
        .limit(1)
    ).one_or_none()
    rows = [row for row in stored(session, account.id) if row.is_active and not row.is_gone]
    rows.sort(key=lambda row: (row.path != "INBOX", row.path.casefold()))
    known, unreadable = sums(session, account.id)
    return {
        "sync": {
            "run": run,
            "last": last,
            "folders": rows,
            "course": course_of(session, account, run, rows) if run else None,
            "queue_is_away": run is not None and run.started_at is None and queue.waiting() is None,
            "stored": known,
            "unreadable": unreadable,
            "troubled": [row for row in rows if row.trouble],
            "audit": audited.told(session, account),
            "next_at": account.next_sync_at,
            "is_due": account.next_sync_at is not None and account.next_sync_at <= now(),
            "is_paused": account.health is Health.PAUSED,
            "is_off": not organisation.uses_mail(session),
        }
    }
