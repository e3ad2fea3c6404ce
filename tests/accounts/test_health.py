"""What runs and tests report becomes health, and health becomes one word."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Health
from mailadmin.mail.errors import PERMANENT, Category
from mailadmin.mail.types import Direction
from mailadmin.permissions import SYSTEM
from tests.accounts.factories import an_account
from tests.conftest import both_databases


@pytest.fixture
def account(session: Session) -> Account:
    return an_account(session, health=Health.HEALTHY, next_sync_at=db.now())


def fail(session: Session, account: Account, category: Category, **more: Any) -> str:
    """Report a failure and answer the state that follows; a scheduled run's, for receiving, unless said otherwise."""
    usual = {"direction": Direction.INCOMING, "permanent": category in PERMANENT, "sure": False, "reason": "Because."}
    service.record_failure(session, account, category=category, **{**usual, **more})
    return service.state_of(account)


@pytest.mark.parametrize(
    ("attributes", "state"),
    [
        ({}, "connected"),
        ({"is_set_up": False, "health": Health.NEEDS_ATTENTION}, "draft"),
        ({"health": Health.PAUSED, "health_category": Category.AUTH}, "paused"),
        ({"running_since": db.now()}, "syncing"),
        ({"running_since": db.now(), "health": Health.UNREACHABLE}, "unreachable"),
        ({"health": Health.NEEDS_ATTENTION, "health_category": Category.AUTH}, "refused"),
        ({"health": Health.NEEDS_ATTENTION, "health_category": Category.OAUTH}, "signin"),
        ({"health": Health.NEEDS_ATTENTION, "health_category": Category.POLICY}, "setting"),
        ({"health": Health.NEEDS_ATTENTION, "health_category": Category.TLS}, "unreachable"),
        ({"outgoing_health": Health.NEEDS_ATTENTION, "outgoing_category": Category.AUTH}, "refused"),
        (
            {
                "health": Health.UNREACHABLE,
                "outgoing_health": Health.NEEDS_ATTENTION,
                "outgoing_category": Category.CONFIG,
            },
            "setting",
        ),
    ],
)
def test_state_is_the_worst_that_is_known(session: Session, attributes: dict[str, Any], state: str) -> None:
    account = an_account(session, **{"health": Health.HEALTHY, **attributes})
    assert service.state_of(account) == state


@both_databases
def test_accounts_are_counted_by_state(session: Session) -> None:
    an_account(session, address="a@example.net")
    an_account(session, address="b@example.net", running_since=db.now())
    an_account(session, address="c@example.net", running_since=db.now() - timedelta(minutes=1))
    an_account(session, address="d@example.net", deleting_at=db.now())
    assert service.count_by_state(session) == {"connected": 1, "syncing": 2}


def test_refused_password_is_believed_at_once_and_stops_the_knocking(session: Session, account: Account) -> None:
    assert fail(session, account, Category.AUTH) == "refused"
    assert account.next_sync_at is None


def test_other_permanent_errors_of_runs_are_believed_the_second_time(session: Session, account: Account) -> None:
    assert fail(session, account, Category.PERMISSION) == "unreachable"
    assert fail(session, account, Category.POLICY) == "unreachable"
    assert fail(session, account, Category.POLICY) == "setting"
    assert account.next_sync_at is None


def test_permanent_error_of_a_test_is_believed_at_once(session: Session, account: Account) -> None:
    assert fail(session, account, Category.TLS, permanent=True, sure=True) == "unreachable"
    assert account.health is Health.NEEDS_ATTENTION


def test_passing_trouble_backs_off_from_a_minute_to_an_hour(session: Session, account: Account) -> None:
    delays = []
    for _ in range(9):
        assert fail(session, account, Category.TIMEOUT) == "unreachable"
        assert account.next_sync_at is not None
        delays.append((account.next_sync_at - db.now()).total_seconds() / 60)
    assert 0.9 <= delays[0] <= 1.3
    assert 1.9 <= delays[1] <= 2.5
    assert 59 <= delays[-1] <= 73


def test_success_ends_the_trouble_and_makes_the_account_due(session: Session, account: Account) -> None:
    fail(session, account, Category.AUTH)
    since = account.health_since
    service.record_success(session, account, direction=Direction.INCOMING)
    assert (service.state_of(account), account.failures, account.health_reason) == ("connected", 0, "")
    assert account.next_sync_at is not None
    assert account.health_since > since


def test_sending_has_a_health_of_its_own(session: Session, account: Account) -> None:
    due = account.next_sync_at
    assert fail(session, account, Category.AUTH, direction=Direction.OUTGOING) == "refused"
    assert (account.health, account.next_sync_at) == (Health.HEALTHY, due)
    service.record_success(session, account, direction=Direction.OUTGOING)
    assert service.state_of(account) == "connected"


def test_pause_outlives_what_tests_find_until_somebody_resumes(session: Session, account: Account) -> None:
    service.pause(session, account, actor=SYSTEM)
    assert fail(session, account, Category.AUTH, sure=True) == "paused"
    assert account.next_sync_at is None
    service.resume(session, account, actor=SYSTEM)
    assert service.state_of(account) == "refused"
    assert account.next_sync_at is not None
    service.pause(session, account, actor=SYSTEM)
    service.record_success(session, account, direction=Direction.INCOMING)
    assert service.state_of(account) == "paused"
    service.resume(session, account, actor=SYSTEM)
    assert service.state_of(account) == "connected"


def test_draft_is_never_due(session: Session) -> None:
    draft = an_account(session, is_set_up=False)
    fail(session, draft, Category.TIMEOUT)
    service.record_success(session, draft, direction=Direction.INCOMING)
    assert draft.next_sync_at is None


@both_databases
def test_account_of_which_something_is_missing_is_partial_unless_something_worse_is_known(
    session: Session, account: Account
) -> None:
    account.incomplete = "Sent: the server does not let us open this folder."
    session.flush()

    def said() -> tuple[str, str | None, int]:
        state = service.state_of(account)
        session.flush()
        column = session.scalar(select(service.state_column()).where(Account.id == account.id))
        return state, column, service.count_by_state(session)[state]

    assert said() == ("partial", "partial", 1)
    account.running_since = db.now()
    assert said() == ("syncing", "syncing", 1)
    fail(session, account, Category.AUTH)
    assert said() == ("refused", "refused", 1)
    service.pause(session, account, actor=SYSTEM)
    assert said() == ("paused", "paused", 1)
