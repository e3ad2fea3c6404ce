"""The way back: one click to the old password as long as it is kept, against a Dovecot that knows both."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailadmin import clock, db
from mailadmin.accounts.models import Health
from mailadmin.activity.models import Activity
from mailadmin.config import Settings
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import SignInMethod
from mailadmin.moves import service
from mailadmin.moves.models import MoveState
from mailadmin.oauth.models import Grant, KeptPassword
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import SealedSecret
from tests.conftest import both_databases
from tests.moves.fleet import SALES, WIM, Fleet
from tests.pages import Browser, Page

OAUTH, PASSWORD = SignInMethod.OAUTH, SignInMethod.PASSWORD


def moved(fleet: Fleet, *addresses: str) -> None:
    """Let accounts with passwords at these addresses be moved, by the app."""
    fleet.begin(*addresses)
    fleet.let_in(*addresses)
    fleet.prepare("application")
    fleet.go_on()
    assert set(fleet.states().values()) == {MoveState.MOVED}


def restore(browser: Browser, fleet: Fleet, address: str, back: str = "moves") -> Page:
    return browser.post(f"/accounts/{fleet.account(address).id}/old-password/restore", {"back": back}, follow=True)


def purposes() -> set[str]:
    with db.reading() as session:
        return {row.purpose for row in session.scalars(select(SealedSecret))}


@both_databases
def test_one_click_leads_back_to_the_password_which_is_tested(ada_at: Browser, fleet: Fleet) -> None:
    moved(fleet, SALES, WIM)
    page = restore(ada_at, fleet, SALES)
    assert f"{SALES} signs in with its password again. That is being tested now." in page.words()
    assert page.all("section", id="moves")
    fleet.go_on()
    with db.reading() as session:
        tests = select(Check).where(Check.account_id == fleet.account(SALES).id).order_by(Check.id)
        check = session.scalars(tests).unique().all()[-1]
        assert (check.outcome, check.requested_by) == (CheckOutcome.PASSED, "Ada Lindqvist")
        assert session.scalars(select(KeptPassword.account_id)).all() == [fleet.account(WIM).id]
        assert session.scalars(select(Grant.account_id)).all() == [fleet.account(WIM).id]
    assert (fleet.method(SALES), fleet.account(SALES).health) == (PASSWORD, Health.HEALTHY)
    assert fleet.states() == {SALES: MoveState.ROLLED_BACK, WIM: MoveState.MOVED}
    words = ada_at.get("/moves/progress?state=rolled+back").words()
    assert "Back on a password Connected" in words
    ada_at.post(f"/moves/{fleet.move(SALES).id}/again")
    fleet.go_on()
    assert (fleet.states()[SALES], fleet.method(SALES)) == (MoveState.MOVED, OAUTH)


def test_page_of_the_account_has_the_same_and_comes_back_to_it(ada_at: Browser, fleet: Fleet) -> None:
    moved(fleet, SALES)
    account = fleet.account(SALES)
    page = ada_at.get(f"/accounts/{account.id}")
    assert "Use it again" in page.words()
    assert restore(ada_at, fleet, SALES, back="").title.startswith(SALES)
    assert "Use it again" not in ada_at.get(f"/accounts/{account.id}").words()


def test_second_click_is_told_and_changes_nothing(ada_at: Browser, fleet: Fleet) -> None:
    moved(fleet, SALES)
    restore(ada_at, fleet, SALES)
    version = fleet.account(SALES).version
    assert f"{SALES} signs in with a password already." in restore(ada_at, fleet, SALES).words()
    assert (fleet.account(SALES).version, fleet.method(SALES)) == (version, PASSWORD)


def test_password_is_destroyed_after_fourteen_days_and_there_is_no_way_back(ada_at: Browser, fleet: Fleet) -> None:
    moved(fleet, SALES)
    assert "kept password" in purposes()
    with db.transaction() as session:
        kept = session.scalars(select(KeptPassword)).one()
        assert timedelta(days=13, hours=23) < kept.ends_at - db.now() <= timedelta(days=14)
        kept.ends_at = db.now() + timedelta(days=2, hours=1)
    clock.sweep()
    assert "The old password is kept for 3 more days." in ada_at.get("/moves/progress").words()
    with db.transaction() as session:
        session.scalars(select(KeptPassword)).one().ends_at = db.now()
    clock.sweep()
    assert purposes().isdisjoint({"kept password", "password"})
    words = ada_at.get("/moves/progress").words()
    assert "There is no old password any more." in words
    assert "Back to the password" not in words
    assert "The old password was destroyed already." in restore(ada_at, fleet, SALES).words()
    assert (fleet.method(SALES), fleet.states()) == (OAUTH, {SALES: MoveState.MOVED})


def test_password_can_be_destroyed_at_once_which_is_recorded(ada_at: Browser, fleet: Fleet) -> None:
    moved(fleet, SALES)
    path = f"/accounts/{fleet.account(SALES).id}/old-password/destroy"
    for question in (ada_at.get(path), ada_at.get(f"{path}?back=moves", htmx=True)):
        assert "After this the way back is to type the password again." in question.words()
    assert "kept password" in purposes()
    done = ada_at.post(path, {"back": "moves"}, follow=True)
    assert f"The old password of {SALES} is destroyed." in done.words()
    assert "kept password" not in purposes()
    assert f"There is no old password of {SALES} any more." in ada_at.post(path, follow=True).words()
    assert ada_at.get(path).status == 200
    with db.reading() as session:
        said = [row.what for row in session.scalars(select(Activity))]
    assert said.count(f"destroyed the old password of {SALES}") == 1


def test_password_that_was_typed_again_ends_the_move(booted: Settings, fleet: Fleet) -> None:
    moved(fleet, SALES)
    with db.transaction() as session:
        account = session.merge(fleet.account(SALES))
        service.roll_back(session, account, actor=SYSTEM)
        move = session.merge(fleet.move(SALES))
        move.state = MoveState.MOVED  # As if it had been changed in the settings of the account.
    clock.settle_moves()
    assert fleet.states() == {SALES: MoveState.ROLLED_BACK}


def test_way_back_is_closed_where_servers_have_changed(booted: Settings, fleet: Fleet) -> None:
    moved(fleet, SALES)
    with db.transaction() as session:
        found = session.merge(fleet.account(SALES))
        assert found.provider is not None
        found.provider.servers[0].port += 1
        session.flush()
        with pytest.raises(RuleBroken, match="not typed for them"):
            service.roll_back(session, found, actor=SYSTEM)
    assert fleet.method(SALES) is OAUTH
