"""Makers for the tests of the overview: accounts in trouble, runs and tests that ended, and runners."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.leases import Lease
from mailadmin.mail.errors import PERMANENT, Category
from mailadmin.mail.types import Direction
from mailadmin.sync.models import RunOutcome, SyncRun
from tests.accounts import factories

IN, OUT = Direction.INCOMING, Direction.OUTGOING


def a_healthy(session: Session, address: str, **wanted: Any) -> Account:
    """An account that works in both directions and is not due."""
    account = factories.an_account(session, address=address, **wanted)
    for direction in Direction:
        accounts.record_success(session, account, direction=direction)
    account.next_sync_at = None
    return account


def fail(
    session: Session,
    account: Account,
    category: Category = Category.AUTH,
    reason: str = "The server refused the password",
    *,
    direction: Direction = IN,
    hours: float = 1,
    permanent: bool | None = None,
) -> Account:
    """Let `account` be in trouble since `hours` ago."""
    is_permanent = category in PERMANENT if permanent is None else permanent
    accounts.record_failure(
        session, account, direction=direction, category=category, reason=reason, permanent=is_permanent, sure=True
    )
    account.next_sync_at = None
    if direction is IN:
        account.health_since = db.now() - timedelta(hours=hours)
    session.flush()
    return account


def a_troubled(session: Session, address: str, *how: Any, provider_id: int | None = None, **more: Any) -> Account:
    """A new account, then as `fail`."""
    wanted = {"provider_id": provider_id} if provider_id else {}
    return fail(session, a_healthy(session, address, **wanted), *how, **more)


def a_failed_check(session: Session, account: Account, rule: str, cause: str, *, hours: float = 0) -> Check:
    """A test of `account` that ended in its present trouble."""
    incoming = account.health_category is not None
    category = account.health_category if incoming else account.outgoing_category
    diagnosis = {
        "rule": rule,
        "title": account.health_reason if incoming else account.outgoing_reason,
        "cause": cause,
        "action": ["Do this."],
        "server_text": "",
        "direction": (IN if incoming else OUT).value,
        "category": str(category),
        "also": None,
    }
    ended = db.now() - timedelta(hours=hours)
    check = Check(
        account_id=account.id,
        requested_by="Ada Lindqvist",
        requested_at=ended,
        started_at=ended,
        finished_at=ended,
        outcome=CheckOutcome.FAILED,
        category=category,
        diagnosis=diagnosis,
    )
    session.add(check)
    session.flush()
    return check


def an_ended_run(
    session: Session, account: Account, *, ended: datetime, new: int = 0, outcome: RunOutcome = RunOutcome.COMPLETE
) -> SyncRun:
    """A sync of `account` that ended."""
    run = SyncRun(
        account_id=account.id,
        requested_by="Schedule",
        requested_at=ended,
        started_at=ended,
        finished_at=ended,
        outcome=outcome,
        new=new,
    )
    session.add(run)
    session.flush()
    return run


def a_lease(session: Session, name: str, *, machine: str = "office-1", seen: float = 2, taken: float = 60) -> Lease:
    """A lease of a process of `machine`, whose last beat was `seen` seconds ago; it runs out 30 seconds after that."""
    beat = db.now() - timedelta(seconds=seen)
    lease = Lease(
        name=name,
        holder=f"{machine}.9b1deb4d.4026531836/12/4711",
        fence=1,
        taken_at=db.now() - timedelta(seconds=taken),
        beat_at=beat,
        expires_at=beat + timedelta(seconds=30),
    )
    session.add(lease)
    session.flush()
    return lease


def a_runner(session: Session, machine: str = "office-1", *, seen: float = 2) -> Lease:
    """A runner, silent when it was `seen` more than 30 seconds ago; and the clock, if nobody has it."""
    if session.get(Lease, "clock") is None:
        a_lease(session, "clock", machine=machine, seen=seen)
    return a_lease(session, f"runner:{machine}-{seen}", machine=machine, seen=seen)
