"""Runs: who may ask, which are due, which are lost, what is forgotten; and how an account is set up."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import db, leases
from mailadmin.accounts.models import Account, Health, Window
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service
from mailadmin.sync.models import Folder, RunOutcome, SyncRun
from tests.accounts import factories as accounts
from tests.conftest import both_databases

NOW = db.now()
LISTED = [
    {"path": "INBOX", "name": "INBOX", "role": "inbox", "role_source": "server"},
    {"path": "Offers", "name": "Offers"},
    {"path": "Junk", "name": "Junk", "role": "junk", "role_source": "server"},
]


def a_due_account(session: Session, address: str = "billing@example.net", **wanted: Any) -> Account:
    usual = {"next_sync_at": db.now() - timedelta(seconds=1)}
    return accounts.an_account(session, address=address, **{**usual, **wanted})


def request(session: Session, account: Account) -> SyncRun:
    return service.request_run(session, account=account, requested_by="Ada Lindqvist")


@both_databases
def test_second_wish_gets_the_open_run(session: Session) -> None:
    account = a_due_account(session)
    assert request(session, account) is request(session, account)


@both_databases
def test_database_refuses_a_second_open_run(session: Session) -> None:
    run = request(session, a_due_account(session))
    session.add(SyncRun(account_id=run.account_id, requested_by="somebody faster"))
    with pytest.raises(IntegrityError):
        session.flush()


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"is_set_up": False}, "not set up"),
        ({"health": Health.PAUSED}, "paused"),
        ({"deleting_at": db.now()}, "deleted"),
    ],
)
def test_run_is_refused_with_a_sentence(session: Session, state: dict[str, Any], word: str) -> None:
    account = a_due_account(session, **state)
    with pytest.raises(RuleBroken, match=word):
        request(session, account)


@both_databases
def test_only_accounts_whose_time_has_come_are_due(session: Session) -> None:
    due = a_due_account(session)
    a_due_account(session, "later@example.net", next_sync_at=db.now() + timedelta(minutes=1))
    a_due_account(session, "never@example.net", next_sync_at=None)
    a_due_account(session, "unfinished@example.net", is_set_up=False)
    a_due_account(session, "paused@example.net", health=Health.PAUSED)
    a_due_account(session, "broken@example.net", health=Health.NEEDS_ATTENTION)
    a_due_account(session, "going@example.net", deleting_at=db.now())
    request(session, a_due_account(session, "busy@example.net"))
    run_ids = service.request_due_runs(session)
    assert [session.get(SyncRun, run_id).account_id for run_id in run_ids] == [due.id]
    assert service.request_due_runs(session) == []


def a_run(
    session: Session, *, rung: float | None, started: bool = False, address: str = "billing@example.net"
) -> SyncRun:
    run = request(session, a_due_account(session, address))
    run.rung_at = None if rung is None else db.now() - timedelta(seconds=rung)
    run.started_at = db.now() if started else None
    session.flush()
    return run


@pytest.mark.parametrize(
    ("rung", "started", "is_lost"), [(10, False, False), (61, False, True), (5, True, False), (16, True, True)]
)
def test_run_is_lost_when_nobody_took_it_or_its_runner_died(
    session: Session, rung: float, started: bool, is_lost: bool
) -> None:
    run = a_run(session, rung=rung, started=started)
    assert [lost.id for lost in service.lost_runs(session)] == ([run.id] if is_lost else [])
    assert service.lost_runs(session) == []


def test_run_that_somebody_works_on_is_not_lost(session: Session) -> None:
    run = a_run(session, rung=100, started=True)
    assert leases.take(session, service.lease_name(run.account_id), seconds=60)
    assert service.lost_runs(session) == []


def test_old_runs_are_forgotten_but_the_last_one(session: Session) -> None:
    account, month = a_due_account(session), timedelta(days=31)
    for outcome in (RunOutcome.FAILED, RunOutcome.COMPLETE):
        run = request(session, account)
        run.finished_at, run.outcome = db.now() - month, outcome
        session.flush()
    service.forget_old_runs(session)
    assert [run.outcome for run in session.scalars(select(SyncRun))] == [RunOutcome.COMPLETE]


def test_next_sync_follows_the_account_s_own_interval(session: Session) -> None:
    account = a_due_account(session, sync_minutes=60)
    minutes = (service.next_sync(account) - db.now()).total_seconds() / 60
    assert 53 < minutes < 67


def test_nothing_runs_by_itself_more_often_than_the_provider_likes(session: Session) -> None:
    provider = accounts.a_provider(session, least_minutes=30)
    account = a_due_account(session, provider_id=provider.id, sync_minutes=5, failures=0)
    soonest = timedelta(minutes=29, seconds=59)
    assert service.next_sync(account) - db.now() > soonest
    for ending in (
        service.Ending(RunOutcome.COMPLETE),
        service.Ending(RunOutcome.PARTIAL, "There is more.", at_once=True, says_health=False),
        service.Ending(RunOutcome.FAILED, "The server is away.", category=Category.NETWORK),
    ):
        run = request(session, account)
        service.finish_run(session, run, account, ending)
        assert account.next_sync_at is not None
        assert account.next_sync_at - db.now() > soonest
    account.sync_minutes = 60
    assert service.next_sync(account) - db.now() > timedelta(minutes=53)


# Setting up.


def a_passed_check(session: Session, account: Account) -> Check:
    check = Check(
        account_id=account.id,
        account_version=account.version,
        requested_by="Ada",
        finished_at=db.now(),
        outcome=CheckOutcome.PASSED,
        folders=LISTED,
    )
    session.add(check)
    session.flush()
    return check


def active(session: Session, account: Account) -> set[str]:
    rows = session.scalars(select(Folder).where(Folder.account_id == account.id, Folder.is_active))
    return {row.path for row in rows}


def test_set_up_needs_folders(session: Session) -> None:
    account = accounts.an_account(session, is_set_up=False)
    with pytest.raises(RuleBroken):
        service.set_up(session, account, actor=SYSTEM)


def test_set_up_makes_the_account_due(session: Session) -> None:
    account = accounts.an_account(session, is_set_up=False)
    service.adopt_folders(session, account=account, listed=LISTED)
    service.set_up(session, account, window=Window.ONE_MONTH, actor=SYSTEM)
    assert account.is_set_up
    assert [row.id for row in service.due_accounts(session)] == [account.id]
    assert account.since
    assert account.since < db.now() - timedelta(days=27)


@pytest.mark.parametrize(
    ("wanted", "folders"),
    [("", {"INBOX", "Offers"}), ("inbox|Nowhere", {"INBOX"}), ("Junk", {"Junk"}), ("Nowhere", {"INBOX", "Offers"})],
)
def test_imported_account_sets_itself_up(session: Session, wanted: str, folders: set[str]) -> None:
    account = accounts.an_account(session, is_set_up=False, wanted_folders=wanted)
    a_passed_check(session, account)
    assert service.set_up_waiting(session) == [account.id]
    assert (active(session, account), account.is_set_up, account.wanted_folders) == (folders, True, None)
    assert service.set_up_waiting(session) == []


def test_account_without_a_passed_test_waits(session: Session) -> None:
    account = accounts.an_account(session, is_set_up=False, wanted_folders="")
    assert service.set_up_waiting(session) == []
    a_passed_check(session, account)
    account.version += 1  # Its settings changed after the test.
    session.flush()
    assert service.set_up_waiting(session) == []
