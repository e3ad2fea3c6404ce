"""Syncs of accounts that sign in with a token: it is renewed on the way, and whoever is to blame is named."""

from datetime import timedelta

import pytest

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, Window
from mailadmin.connections import service as connections
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction
from mailadmin.sync import service as sync
from mailadmin.sync.jobs import run_first_sync, run_sync
from mailadmin.sync.models import RunOutcome, SyncRun
from tests.conftest import both_databases
from tests.oauth.harbour import SALES
from tests.oauth.house import House
from tests.servers import oauth_odd

pytestmark = pytest.mark.usefixtures("booted")


@pytest.fixture
def account(house: House) -> Account:
    """Connected, set up, and due."""
    found = house.connected(SALES)
    with db.transaction() as session:
        account = accounts.get(session, found.id)
        check = connections.last_passed(session, account.id)
        assert check is not None
        accounts.choose_window(session, account, window=Window.EVERYTHING)
        sync.adopt_folders(session, account=account, listed=check.folders)
        account.next_sync_at = db.now()
    return found


def synced(account: Account) -> SyncRun:
    with db.transaction() as session:
        run = sync.request_run(session, account=accounts.get(session, account.id), requested_by="Ada")
    run_sync(run.id)
    run_first_sync(run.id)  # whichever of the two it is for
    with db.reading() as session:
        found = session.get(SyncRun, run.id)
        assert found is not None
        return found


def now_of(account: Account) -> Account:
    with db.reading() as session:
        return accounts.get(session, account.id)


def token_of(account: Account) -> str:
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account.id), Direction.INCOMING)
        assert leg is not None
        return leg.how.secret


@both_databases
def test_mail_comes_with_a_token_that_is_renewed_first(house: House, account: Account) -> None:
    house.idp.expire(token_of(account))
    house.age(account, 0)
    run = synced(account)
    assert (run.outcome, run.stored) == (RunOutcome.COMPLETE, 1)
    assert house.idp.count("token", grant_type="refresh_token") == 1


def test_a_token_that_the_server_refuses_is_renewed_once_and_the_run_goes_on(house: House, account: Account) -> None:
    house.idp.expire(token_of(account))
    assert synced(account).outcome is RunOutcome.COMPLETE
    assert house.idp.count("token", grant_type="refresh_token") == 1


def test_an_account_whose_new_token_is_refused_too_needs_attention(house: House, account: Account) -> None:
    house.idp.mail_scopes = frozenset({"something else"})  # No mail server takes its tokens any more.
    run = synced(account)
    assert (run.outcome, run.category) == (RunOutcome.FAILED, Category.OAUTH)
    assert (now_of(account).health, now_of(account).next_sync_at) == (Health.NEEDS_ATTENTION, None)
    assert house.idp.count("token", grant_type="refresh_token") == 1


def test_a_withdrawn_grant_stops_the_account_at_once_with_the_reason(house: House, account: Account) -> None:
    house.age(account, 0)
    house.idp.withdraw(SALES)
    run = synced(account)
    assert (run.outcome, run.category) == (RunOutcome.FAILED, Category.OAUTH)
    assert "invalid_grant" in run.server_text
    found = now_of(account)
    assert (found.health, found.health_category, found.next_sync_at) == (
        Health.NEEDS_ATTENTION,
        Category.OAUTH,
        None,
    )


def test_while_the_provider_is_busy_the_account_stays_healthy_and_is_tried_when_it_may_be(
    house: House, account: Account
) -> None:
    house.age(account, 0)
    house.idp.odd["token"] = oauth_odd.throttled(600)
    run = synced(account)
    assert (run.outcome, run.category) == (RunOutcome.FAILED, Category.THROTTLED)
    found = now_of(account)
    assert (found.health, found.health_category) == (Health.HEALTHY, None)
    assert found.next_sync_at is not None
    assert found.next_sync_at > db.now() + timedelta(seconds=590)


def test_a_reconnected_account_goes_on_where_it_was(house: House, account: Account) -> None:
    assert synced(account).stored == 1
    house.age(account, 0)
    house.idp.withdraw(SALES)
    synced(account)
    house.idp.add_person(SALES)
    assert house.connect(account, SALES).failed_message == ""
    found = now_of(account)
    assert found.health is Health.HEALTHY
    assert found.next_sync_at is not None
    run = synced(account)
    assert (run.outcome, run.stored, run.new) == (RunOutcome.COMPLETE, 1, 0)
