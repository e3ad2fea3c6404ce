"""Checks as rows: asked for, taken, given back, finished."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.activity.models import Activity
from mailadmin.connections import claims, endings, limits, service
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.probe import Task
from mailadmin.connections.result import Result
from mailadmin.errors import NotFound
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName, StageOutcome, TLSMode
from mailadmin.permissions import SYSTEM
from tests.conftest import both_databases
from tests.connections.conftest import Servers
from tests.connections.factories import a_check, an_account, change_password, stored

pytestmark = pytest.mark.usefixtures("booted")
NOWHERE = Server(ServerProtocol.IMAP, "127.0.0.1", 993, TLSMode.IMPLICIT)


@pytest.fixture
def account(booted: object) -> Account:
    return an_account(NOWHERE)


@pytest.fixture
def check(account: Account) -> Check:
    return a_check(account)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that can be put forward."""

    def put_forward(seconds: float) -> None:
        moment = db.now() + timedelta(seconds=seconds)
        for module in (service, claims, endings, limits):
            monkeypatch.setattr(module, "now", lambda: moment)

    return put_forward


def test_two_clicks_are_one_check(account: Account, check: Check) -> None:
    assert a_check(account).id == check.id
    with db.reading() as session:
        assert session.scalar(select(func.count(Activity.id)).where(Activity.what.startswith("tested"))) == 1


@both_databases
def test_two_administrators_at_once_get_the_same_check(account: Account) -> None:
    together, ids = threading.Barrier(4), []

    def click() -> None:
        together.wait()
        ids.append(a_check(account).id)

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1


@both_databases
def test_a_check_is_taken_once(check: Check) -> None:
    with db.transaction() as session:
        assert [task.check_id for task in service.claim_due(session)] == [check.id]
    with db.transaction() as session:
        assert service.claim_due(session) == []


def test_a_check_whose_job_died_is_due_again(check: Check, later: Callable[[float], None]) -> None:
    with db.transaction() as session:
        service.claim_due(session)
    later(61)
    with db.transaction() as session:
        assert len(service.claim_due(session)) == 1


def test_a_job_that_lost_the_check_changes_nothing(check: Check, later: Callable[[float], None]) -> None:
    with db.transaction() as session:
        [old] = service.claim_due(session)
    later(61)
    with db.transaction() as session:
        service.claim_due(session)
    lost = Result(old)
    lost.end(MailError(Category.TIMEOUT, "late"))
    with db.transaction() as session:
        service.note_stages(session, lost)
        service.finish(session, lost)
    assert stored(check).finished_at is None
    assert stored(check).stages == []


def test_a_click_after_a_change_begins_the_running_test_anew(servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing)
    check = a_check(account)
    with db.transaction() as session:
        service.claim_due(session)
    change_password(account, "another one")
    assert a_check(account).id == check.id
    assert stored(check).started_at is None
    drain_checks()
    assert stored(check).category is Category.AUTH


def test_a_check_that_is_given_back_is_due_at_once(check: Check) -> None:
    with db.transaction() as session:
        tasks = service.claim_due(session)
        service.give_back(session, tasks)
    with db.transaction() as session:
        assert len(service.claim_due(session)) == 1


def test_a_check_is_silent_after_ten_seconds(check: Check, later: Callable[[float], None]) -> None:
    assert not service.is_silent(check)
    later(11)
    assert service.is_silent(check)


def test_the_last_passed_check_outlives_a_failed_one(account: Account) -> None:
    with db.transaction() as session:
        for outcome in (CheckOutcome.PASSED, CheckOutcome.FAILED):
            session.add(
                Check(
                    account_id=account.id,
                    account_version=1,
                    requested_by="Ada",
                    outcome=outcome,
                    finished_at=db.now(),
                    stages=[],
                    folders=[],
                )
            )
            session.flush()
    with db.reading() as session:
        last, passed = service.latest(session, account.id), service.last_passed(session, account.id)
        assert last
        assert passed
        assert (last.outcome, passed.outcome) == (CheckOutcome.FAILED, CheckOutcome.PASSED)


def test_a_check_that_is_not_there_is_not_found(booted: object) -> None:
    with db.reading() as session, pytest.raises(NotFound):
        service.get(session, 1)


def test_an_error_between_two_stages_belongs_to_the_next(account: Account) -> None:
    with db.reading() as session:
        legs = accounts.legs(session, accounts.get(session, account.id))
    result = Result(Task(legs))
    result.hear(
        {"stage": {"direction": "incoming", "name": "dns", "outcome": "passed", "ms": 1.0, "detail": "127.0.0.1"}}
    )
    result.fail(Direction.INCOMING, MailError(Category.NETWORK, "Broke."))
    assert result.stages[Direction.INCOMING, StageName.TCP].outcome is StageOutcome.FAILED
    assert result.stages[Direction.INCOMING, StageName.FOLDERS].outcome is StageOutcome.SKIPPED


def test_asking_for_a_test_is_recorded(check: Check) -> None:
    with db.reading() as session:
        entry = session.scalars(select(Activity).order_by(Activity.id.desc())).first()
        assert entry
        assert (entry.person_name, entry.what) == (SYSTEM.name, "tested the connection of wim@example.org")


def test_a_test_of_a_deleted_account_ends_without_its_password(account: Account, check: Check) -> None:
    with db.transaction() as session:
        accounts.request_deletion(session, accounts.get(session, account.id), actor=SYSTEM)
    with db.transaction() as session:
        assert service.claim_due(session) == []
    with db.reading() as session:
        assert service.get(session, check.id).outcome is CheckOutcome.FAILED


@pytest.mark.parametrize(
    ("permanent", "health"), [(True, Health.NEEDS_ATTENTION), (False, Health.UNREACHABLE)], ids=["for good", "for now"]
)
def test_what_passes_by_itself_does_not_stop_an_account(check: Check, permanent: bool, health: Health) -> None:
    with db.transaction() as session:
        [task] = service.claim_due(session)
    result = Result(task)
    # Some refusals by a rule of the server end by themselves, such as that of an address that sent too much.
    result.fail(Direction.INCOMING, MailError(Category.POLICY, "Not now.", permanent=permanent))
    result.is_over = True
    with db.transaction() as session:
        service.finish(session, result)
    found = stored(check)
    assert found.account
    assert (found.account.health, found.account.health_category) == (health, Category.POLICY)
