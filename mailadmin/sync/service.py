"""Sync runs: who asks for one, which are due or lost, how one ends, and what a page says about them.

The pass itself is in run.py (one account) and passes.py (one folder); folders.py knows which folders there are.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import boot, leases, queue
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, NewContacts, Window
from mailadmin.activity import service as activity
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.sync.folders import adopt_folders, choose_folders, listed_at, seen, stored, take_over
from mailadmin.sync.models import Folder, RunOutcome, SyncRun
from mailadmin.sync.reinitialise import get_folder, reinitialise
from mailadmin.text import t

__all__ = ["adopt_folders", "choose_folders", "get_folder", "listed_at", "reinitialise", "seen", "take_over"]

SCHEDULE = "Schedule"
LOST_AFTER = timedelta(seconds=60)  # a ring that nobody answered
ABANDONED_AFTER = timedelta(seconds=15)  # a run whose holder died; a runner that was just asked needs a moment
CATCH_UP = timedelta(minutes=5)  # in which accounts begin again that came due while no mail was used
_PACE_MOST, _PACE_LEAST = timedelta(seconds=1), timedelta(milliseconds=60)  # from one of them to the next
JITTER = 0.1


def lease_name(account_id: int) -> str:
    """The lease that whoever syncs the account holds."""
    return f"sync:{account_id}"


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


def request_run(session: Session, *, account: Account, requested_by: str) -> SyncRun:
    """An open run of `account`: the one there is, or a new one; ring for it after the commit.

    Raises RuleBroken while the account is paused, not set up, or being deleted, or the company does not use its mail.
    """
    if not organisation.uses_mail(session):
        raise RuleBroken(organisation.why_off())
    if account.deleting_at is not None:
        raise RuleBroken(t("This account is being deleted."))
    if not account.is_set_up:
        raise RuleBroken(t("This account is not set up yet. Test the connection and choose its folders first."))
    if account.health is Health.PAUSED:
        raise RuleBroken(t("This account is paused. Resume it first."))
    if run := open_run(session, account.id):
        return run
    try:
        with session.begin_nested():
            run = SyncRun(account_id=account.id, requested_by=requested_by, rung_at=now())
            session.add(run)
            session.flush()
            return run
    except IntegrityError:  # Somebody else was a moment faster; the partial unique index has the last word.
        run = open_run(session, account.id)
        if run is None:
            raise
        return run


def request_run_if_used(session: Session, *, account: Account, requested_by: str) -> SyncRun | None:
    """As `request_run`, but None while the company does not use its mail: the account is due once it does again."""
    if not organisation.uses_mail(session):
        return None
    return request_run(session, account=account, requested_by=requested_by)


def open_run(session: Session, account_id: int) -> SyncRun | None:
    """The run of the account that has not ended, or None."""
    return session.scalars(
        select(SyncRun).where(SyncRun.account_id == account_id, SyncRun.finished_at.is_(None))
    ).one_or_none()


def get_run(session: Session, run_id: int) -> SyncRun:
    """The run `run_id`. Raises NotFound."""
    run = session.get(SyncRun, run_id)
    if run is None:
        raise NotFound(t("This sync is not known any more."))
    return run


def due_accounts(session: Session, *, limit: int = 100) -> Sequence[Account]:
    """The accounts whose time has come and which have no open run, the longest overdue first."""
    busy = select(SyncRun.account_id).where(SyncRun.finished_at.is_(None))
    query = (
        select(Account)
        .where(
            Account.is_set_up,
            Account.deleting_at.is_(None),
            Account.health.not_in((Health.PAUSED, Health.NEEDS_ATTENTION)),
            Account.next_sync_at <= now(),
            Account.id.not_in(busy),
        )
        .order_by(Account.next_sync_at)
        .limit(limit)
    )
    return session.scalars(query).unique().all()


def request_due_runs(session: Session, *, limit: int = 100) -> list[int]:
    """Runs for the accounts that are due; their ids, to be rung for after the commit. None while no mail is used."""
    if not organisation.uses_mail(session):
        return []
    due = due_accounts(session, limit=limit)
    return [request_run(session, account=account, requested_by=SCHEDULE).id for account in due]


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
    held = {lease.name for lease in leases.held_now(session, lease_name(0).removesuffix("0"))}
    overdue = or_(
        SyncRun.rung_at.is_(None),
        SyncRun.rung_at < moment - LOST_AFTER,
        SyncRun.started_at.is_not(None) & (SyncRun.rung_at < moment - ABANDONED_AFTER),
    )
    open_ones = session.scalars(select(SyncRun).where(SyncRun.finished_at.is_(None), overdue).order_by(SyncRun.id))
    lost = [run for run in open_ones if lease_name(run.account_id) not in held]
    for run in lost:
        run.rung_at = moment
    session.flush()
    return lost


def forget_old_runs(session: Session, *, days: int = 30) -> None:
    """Delete runs that ended more than `days` ago, but keep the last one of every account."""
    last = select(func.max(SyncRun.id)).group_by(SyncRun.account_id)
    session.execute(
        delete(SyncRun)
        .where(SyncRun.finished_at < now() - timedelta(days=days), SyncRun.id.not_in(last))
        .execution_options(synchronize_session=False)
    )


# How a run ends.


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended. `reason` is a sentence; `at_once` says that the next run is due now.

    `says_health` False: the end says nothing about the account's health.
    """

    outcome: RunOutcome
    reason: str = ""
    category: Category | None = None
    server_text: str = ""
    permanent: bool = False
    at_once: bool = False
    says_health: bool = True
    diagnosis: dict[str, Any] | None = None


def finish_run(session: Session, run: SyncRun, account: Account, ending: Ending) -> None:
    """Close `run`, sum up what is stored, note the account's health, and say when the next run is due."""
    run.finished_at, run.outcome, run.category = now(), ending.outcome, ending.category
    run.reason, run.server_text, run.diagnosis = ending.reason, ending.server_text, ending.diagnosis
    run.stored, run.unreadable = _sums(session, account.id)
    account.stored, account.running_since = run.stored, None
    if ending.outcome is RunOutcome.COMPLETE:
        account.synced_at, account.incomplete = run.finished_at, ""
    elif ending.outcome is RunOutcome.PARTIAL and ending.says_health:
        account.incomplete = ending.reason
    if account.health is not Health.PAUSED and ending.says_health:
        _note_health(session, account, ending)
    if ending.at_once and account.next_sync_at is not None:
        account.next_sync_at = now() + accounts.least_pause(account)
    session.flush()


def _note_health(session: Session, account: Account, ending: Ending) -> None:
    if ending.category is None:
        if ending.outcome is not RunOutcome.FAILED:
            accounts.record_success(session, account, direction=Direction.INCOMING)
        account.next_sync_at = next_sync(account)
        return
    accounts.record_failure(
        session,
        account,
        direction=Direction.INCOMING,
        category=ending.category,
        reason=ending.reason,
        permanent=ending.permanent,
        sure=False,
    )


def diagnosis(session: Session, account_id: int) -> dict[str, Any] | None:
    """What the last test or, if that is newer, the last run of the account found; None where that went well.

    A run that went well says nothing of sending: what the last test found about that still holds.
    """
    last = select(SyncRun).where(SyncRun.account_id == account_id, SyncRun.finished_at.is_not(None))
    run = session.scalars(last.order_by(SyncRun.id.desc()).limit(1)).first()
    check = next(iter(connections.history(session, account_id)), None)
    ends = [(each.finished_at, each.diagnosis) for each in (run, check) if each is not None and each.finished_at]
    newest = max(ends, key=lambda end: end[0])[1] if ends else None
    told = check.diagnosis if newest is None and check is not None else None
    both = [newest] if newest else [told, told.get("also")] if told else []
    return next((one for one in both if one and (newest or one["direction"] == Direction.OUTGOING)), None)


def next_sync(account: Account) -> datetime:
    """When the account is due again: after its own interval or the installation's, a tenth more or less by chance.

    Never sooner than its provider likes.
    """
    minutes = account.sync_minutes or boot.settings().sync_minutes
    usual = timedelta(minutes=minutes * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
    return now() + max(usual, accounts.least_pause(account))


def _sums(session: Session, account_id: int) -> tuple[int, int]:
    """Stored and unreadable messages in the folders that are synced."""
    row = session.execute(
        select(func.coalesce(func.sum(Folder.stored), 0), func.coalesce(func.sum(Folder.unreadable), 0)).where(
            Folder.account_id == account_id, Folder.is_active, Folder.is_gone.is_(False)
        )
    ).one()
    return int(row[0]), int(row[1])


def forget_progress(session: Session, account_id: int) -> None:
    """Begin counting anew: no folder of the account is being read."""
    session.execute(
        update(Folder)
        .where(Folder.account_id == account_id)
        .values(run_total=None, run_done=0)
        .execution_options(synchronize_session=False)
    )


# What the account page shows.


@dataclass(frozen=True, slots=True)
class Progress:
    """One folder of the run that goes on; `total` None: not known yet. `word` is waiting, reading or done."""

    folder: Folder
    word: str
    done: int
    total: int | None


def panel(session: Session, account: Account) -> dict[str, Any]:
    """What `sync/_panel.html` needs, under the one key `sync`."""
    run = open_run(session, account.id)
    last = session.scalars(
        select(SyncRun)
        .where(SyncRun.account_id == account.id, SyncRun.finished_at.is_not(None))
        .order_by(SyncRun.requested_at.desc(), SyncRun.id.desc())
        .limit(1)
    ).one_or_none()
    rows = [row for row in stored(session, account.id) if row.is_active and not row.is_gone]
    rows.sort(key=lambda row: (row.path != "INBOX", row.path.casefold()))
    progress = [_progress(run, row) for row in rows] if run else []
    known, unreadable = _sums(session, account.id)
    return {
        "sync": {
            "run": run,
            "last": last,
            "folders": rows,
            "progress": progress,
            "folders_done": sum(p.word == "done" for p in progress),
            "read": sum(p.done for p in progress),
            "queue_is_away": run is not None and run.started_at is None and queue.waiting() is None,
            "stored": known,
            "unreadable": unreadable,
            "troubled": [row for row in rows if row.trouble],
            "next_at": account.next_sync_at,
            "is_due": account.next_sync_at is not None and account.next_sync_at <= now(),
            "is_paused": account.health is Health.PAUSED,
            "is_off": not organisation.uses_mail(session),
        }
    }


def _progress(run: SyncRun, row: Folder) -> Progress:
    if run.started_at is None:
        return Progress(row, "waiting", 0, None)
    if row.synced_at is not None and row.synced_at >= run.started_at:
        return Progress(row, "done", row.run_done, row.run_total)
    return Progress(row, "waiting" if row.run_total is None else "reading", row.run_done, row.run_total)
