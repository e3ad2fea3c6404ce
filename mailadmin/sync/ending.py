"""How a run ends: what is written of it, what it means for the account and its server, and when the next one comes."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from mailadmin import boot
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import hosts
from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Server
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import GrantKind
from mailadmin.sync import audited, manners
from mailadmin.sync.going import Stopped
from mailadmin.sync.models import Folder, RunKind, RunOutcome, SyncRun

JITTER = 0.1
WATCHED = 3  # times as long is the time between two syncs of an account whose server tells of new mail by itself

_SUMS = select(func.coalesce(func.sum(Folder.stored), 0), func.coalesce(func.sum(Folder.unreadable), 0)).where(
    Folder.account_id == bindparam("of_account"), Folder.is_active, Folder.is_gone.is_(False)
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended. `reason` is a sentence; `at_once` says that the next run is due now.

    `says_health` False: the end says nothing about the account's health. `error` is what the server, or the way to it,
    said, and `server` where, if it is known.
    """

    outcome: RunOutcome
    reason: str = ""
    category: Category | None = None
    server_text: str = ""
    permanent: bool = False
    at_once: bool = False
    says_health: bool = True
    diagnosis: dict[str, Any] | None = None
    error: MailError | None = None
    server: Server | None = None


def stopped(stop: Stopped) -> Ending:
    """The end of a run that somebody wants to stop."""
    return Ending(RunOutcome.PARTIAL, stop.reason, at_once=stop.at_once, says_health=False)


def broken_off(session: Session, account: Account | None, leg: accounts.Leg, error: MailError) -> Ending:
    """The end of a run that `error` broke off, with its diagnosis."""
    grant = oauth.grant_of(session, account.id) if account else None
    told = connections.diagnose(
        error,
        direction=Direction.INCOMING,
        server=leg.server,
        user_name=leg.how.username,
        address=account.address if account else "",
        alone=grant is not None and grant.kind is not GrantKind.PERSON,
    )
    return Ending(
        RunOutcome.FAILED,
        told["title"],
        Category(told["category"]),
        error.detail,
        error.permanent,
        diagnosis=told,
        error=error,
    )


def finish_run(session: Session, run: SyncRun, account: Account, ending: Ending) -> None:
    """Close `run`, sum up what is stored, note the account's health, and say when the next run is due."""
    stored, unreadable = sums(session, account.id)
    run.finished_at, run.outcome, run.category = now(), ending.outcome, ending.category
    run.reason, run.server_text, run.diagnosis = ending.reason, ending.server_text, ending.diagnosis
    if run.kind is RunKind.DRY:  # It only counted; nothing is different from before.
        session.flush()
        return
    run.stored, run.unreadable = stored, unreadable
    account.stored, account.running_since = run.stored, None
    if ending.outcome is RunOutcome.COMPLETE:
        account.synced_at, account.incomplete = run.finished_at, ""
    elif ending.outcome is RunOutcome.PARTIAL and ending.says_health:
        account.incomplete = ending.reason
    audited.note(session, run, account)
    if account.health is not Health.PAUSED and ending.says_health:
        _note_health(session, account, ending)
    if ending.says_health:
        _note_server(session, account, ending)
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


def _note_server(session: Session, account: Account, ending: Ending) -> None:
    """What the end means for the server: it lets us in, it lets nobody in, or it wants to be left alone."""
    server = ending.server or accounts.server_of(account, Direction.INCOMING)
    if ending.category is None and ending.outcome is not RunOutcome.FAILED:
        hosts.let_in(session, account, server)
        return
    if ending.error is None:
        return
    if server is not None:
        hosts.note_failure(session, server, ending.error)
    wait = manners.wait_after(ending.error, failures=account.failures)
    if wait is not None:
        manners.wait(session, account, seconds=wait, reason=ending.reason)


def minutes_between(account: Account) -> int:
    """How many minutes are between two syncs of `account` that run by themselves, without chance."""
    return _minutes(account.sync_minutes, is_watched=account.watched_since is not None)


def _minutes(wanted: int | None, *, is_watched: bool) -> int:
    return wanted or boot.settings().sync_minutes * (WATCHED if is_watched else 1)


def next_sync(account: Account) -> datetime:
    """When the account is due again: after its own interval or the installation's, a tenth more or less by chance.

    Later where a server tells of new mail by itself and nobody chose an interval; never sooner than its provider likes.
    """
    is_watched = account.watched_since is not None
    return next_after(account.sync_minutes, is_watched=is_watched, least=accounts.least_pause(account))


def next_after(wanted: int | None, *, is_watched: bool, least: timedelta) -> datetime:
    """The same for an account of which only this is known: the minutes that it wants, and the least that are polite."""
    minutes = _minutes(wanted, is_watched=is_watched)
    usual = timedelta(minutes=minutes * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
    return now() + max(usual, least)


def sums(session: Session, account_id: int) -> tuple[int, int]:
    """Stored and unreadable messages in the folders that are synced."""
    row = session.connection().execute(_SUMS, {"of_account": account_id}).one()
    return int(row[0]), int(row[1])
