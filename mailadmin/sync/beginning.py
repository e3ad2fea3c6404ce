"""The beginning of a run: the lease, what has to be known, and the reason where it cannot begin; see run.py."""

from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from mailadmin import boot, db, leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.errors import RuleBroken
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Grant
from mailadmin.organisation import service as organisation
from mailadmin.sync import manners, retention
from mailadmin.sync.ending import Ending, broken_off, finish_run, stopped
from mailadmin.sync.going import LEASE_SECONDS, LOOK, Going, Stopped
from mailadmin.sync.models import Folder, RunOutcome, SyncRun
from mailadmin.sync.service import lease_name
from mailadmin.text import t

RUN_SECONDS = 3300.0  # The queue allows an hour; a run that needs longer ends by itself, and the next one goes on.

_ACCOUNTS: Any = Account.__table__
_FOLDERS: Any = Folder.__table__
_RUNS: Any = SyncRun.__table__
_OF_RUN: Any = bindparam("of_run")
_OF_ACCOUNT: Any = bindparam("of_account")
# Made once, for every run asks this, and to write a statement takes longer than to execute it.
_OPEN = select(_RUNS.c.account_id, _RUNS.c.started_at).where(_RUNS.c.id == _OF_RUN, _RUNS.c.finished_at.is_(None))
_WITH_GRANT = _OPEN.join(Grant, Grant.account_id == _RUNS.c.account_id)
_WANTED = LOOK.add_columns(
    Account.id, Account.is_set_up, Account.window, Account.since, Account.keep_months
).with_for_update(of=Account)
_STARTED = update(_RUNS).where(_RUNS.c.id == _OF_RUN).values(started_at=bindparam("moment"))
_RUNNING = update(_ACCOUNTS).where(_ACCOUNTS.c.id == _OF_ACCOUNT).values(running_since=bindparam("moment"))
_NOTHING_READ = update(_FOLDERS).where(_FOLDERS.c.account_id == _OF_ACCOUNT).values(run_total=None, run_done=0)


def token_trouble(run_id: int) -> MailError | None:
    """See to it that the account of the run has a fresh access token, if it signs in with one; why it has none."""
    with db.reading() as session:  # Most accounts have no grant.
        account_id = session.connection().execute(_WITH_GRANT, {"of_run": run_id}).scalar()
    try:
        if account_id is not None:
            oauth.make_fresh(account_id, boot.settings().rules)
    except MailError as error:
        return error
    return None


def begin(run_id: int, batch: int, trouble: MailError | None = None) -> tuple[Going, accounts.Leg] | None:
    """Take the lease and read what the run needs; a run that cannot begin is closed with the reason."""
    with db.transaction() as session:
        connection = session.connection()
        run = connection.execute(_OPEN, {"of_run": run_id}).one_or_none()
        if run is None:
            return None
        # The lease is locked before the account everywhere, so that no two transactions wait for each other.
        held = leases.take(session, lease_name(run.account_id), seconds=LEASE_SECONDS)
        of_account = {"of_account": run.account_id}
        account: Any = connection.execute(_WANTED, of_account).one_or_none() if held else None
        if held is None or account is None:
            return None
        started_at = run.started_at or db.now()
        if run.started_at is None:
            connection.execute(_STARTED, {"of_run": run_id, "moment": started_at})
        try:
            leg = _leg(session, account)
            if trouble is not None:
                raise trouble
        except (Stopped, RuleBroken, MailError) as why:
            _close(session, run_id, account.id, why)
            leases.release(session, held)
            return None
        connection.execute(_RUNNING, of_account | {"moment": started_at})
        connection.execute(_NOTHING_READ, of_account)
        ends, aim = Deadline(RUN_SECONDS), retention.aim(account)
        is_asked = bool(account.is_asked)
        return Going(run_id, account.id, account.version, *aim, held, batch, ends, is_asked=is_asked), leg


def _leg(session: Session, account: Any) -> accounts.Leg:
    """Where and how the account signs in. Raises Stopped, and RuleBroken where something is missing."""
    if not account.is_used:
        raise Stopped(organisation.why_off(), at_once=True)
    if account.deleting_at is not None:
        raise Stopped(t("The account is being deleted."))
    if account.health is Health.PAUSED or not account.is_set_up:
        raise Stopped(t("The account was paused."))
    found = accounts.incoming_legs(session, [account.id]).get(account.id)
    leg = found or accounts.leg(session, session.get_one(Account, account.id), Direction.INCOMING)  # It says why.
    assert leg is not None  # Without a server for receiving there is RuleBroken.
    return leg


def _close(session: Session, run_id: int, account_id: int, why: Exception) -> None:
    """End a run that cannot begin."""
    run, account = session.get_one(SyncRun, run_id), session.get_one(Account, account_id)
    if isinstance(why, Stopped):
        finish_run(session, run, account, stopped(why))
    elif isinstance(why, RuleBroken):
        failed = Ending(RunOutcome.FAILED, why.message, Category.CONFIG, permanent=True)
        finish_run(session, run, account, failed)
    elif isinstance(why, MailError):
        leg = accounts.leg(session, account, Direction.INCOMING)
        assert leg is not None
        ended = broken_off(session, account, leg, why)
        finish_run(session, run, account, replace(ended, says_health=why.permanent))
        if not why.permanent:  # The account is not to blame while its provider is only busy.
            account.next_sync_at = oauth.next_try_at(session, account.id)
            manners.wait_for_token(account, why, reason=ended.reason)
