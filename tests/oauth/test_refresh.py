"""Access tokens stay fresh: one call however many ask, nothing lost, and the reason where there is none."""

import threading
from datetime import timedelta

import pytest

from mailadmin import boot, clock, db, leases, sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import service as connections
from mailadmin.connections.models import CheckOutcome
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction
from mailadmin.oauth import refresh
from mailadmin.oauth import service as oauth
from mailadmin.permissions import SYSTEM
from tests.conftest import both_databases
from tests.oauth.house import House
from tests.real import eventually
from tests.servers import oauth_odd

pytestmark = pytest.mark.usefixtures("booted")


def make_fresh(account: Account, **given: str) -> None:
    oauth.make_fresh(account.id, boot.settings().rules, **given)


def token_of(account: Account) -> str:
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account.id), Direction.INCOMING)
        assert leg is not None
        return leg.how.secret


def refresh_token_of(house: House, account: Account) -> str:
    with db.reading() as session:
        grant = house.grant(account)
        assert grant.refresh_id is not None
        return sealed.reveal(session, grant.refresh_id).reveal()


def health_of(account: Account) -> tuple[Health, Category | None]:
    with db.reading() as session:
        found = accounts.get(session, account.id)
        return found.health, found.health_category


def slowly_broken(house: House) -> oauth_odd.Odd:
    wait, broken = oauth_odd.silence(0.5, house.idp.closing), oauth_odd.status(500)
    return lambda: wait() or broken()


def calls(house: House) -> int:
    return house.idp.count("token", grant_type="refresh_token")


def test_a_fresh_token_is_left_alone(house: House) -> None:
    account = house.connected()
    make_fresh(account)
    assert calls(house) == 0


def test_five_minutes_before_its_end_a_token_is_renewed_and_the_rotated_one_is_kept(house: House) -> None:
    account = house.connected(expires_in=299)
    before, old = token_of(account), refresh_token_of(house, account)
    make_fresh(account)
    assert calls(house) == 1
    assert token_of(account) != before
    assert refresh_token_of(house, account) != old
    assert house.grant(account).expires_at > db.now() + timedelta(minutes=50)


def test_a_provider_that_does_not_rotate_keeps_its_refresh_token(house: House) -> None:
    account = house.connected(expires_in=0)
    house.idp.rotates, old = False, refresh_token_of(house, account)
    house.idp.change_answer = lambda answer: answer.pop("refresh_token")  # As Google does.
    make_fresh(account)
    assert (calls(house), refresh_token_of(house, account)) == (1, old)


@both_databases
def test_ten_at_once_cause_one_call_and_all_get_the_new_token(house: House) -> None:
    account = house.connected(expires_in=0)
    house.idp.odd["token"] = oauth_odd.silence(0.5, house.idp.closing)
    errors: list[BaseException] = []

    def want() -> None:
        try:
            make_fresh(account)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=want) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, calls(house)) == ([], 1)
    assert house.grant(account).failed_at is None
    del house.idp.odd["token"]
    make_fresh(account, refused=token_of(account))  # The family of tokens is alive: nobody used an old one twice.
    assert calls(house) == 2


def test_ten_at_once_that_fail_cause_one_call_too(house: House) -> None:
    account = house.connected(expires_in=0)
    house.idp.odd["token"] = slowly_broken(house)
    failed: list[Category] = []

    def want() -> None:
        with pytest.raises(MailError) as caught:
            make_fresh(account)
        failed.append(caught.value.category)

    threads = [threading.Thread(target=want) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [Category.UNAVAILABLE] * 10
    assert calls(house) == 1


def test_a_revoked_grant_needs_attention_and_nobody_knocks_again(house: House) -> None:
    account = house.connected(expires_in=0)
    house.idp.withdraw("wim@example.org")
    for _ in range(3):
        with pytest.raises(MailError) as caught:
            make_fresh(account)
        assert (caught.value.category, caught.value.permanent) == (Category.OAUTH, True)
    assert calls(house) == 1
    assert health_of(account) == (Health.NEEDS_ATTENTION, Category.OAUTH)


@pytest.mark.parametrize(
    ("odd", "seconds"), [(oauth_odd.status(503), 50), (oauth_odd.throttled(120), 110), (oauth_odd.html(), 50)]
)
def test_a_busy_provider_is_asked_again_later_and_the_account_is_not_blamed(
    house: House, odd: oauth_odd.Odd, seconds: int
) -> None:
    account = house.connected(expires_in=0)
    before = health_of(account)
    house.idp.odd["token"] = odd
    for _ in range(2):
        with pytest.raises(MailError) as caught:
            make_fresh(account)
        assert not caught.value.permanent
    assert calls(house) == 1
    grant = house.grant(account)
    assert health_of(account) == before == (Health.HEALTHY, None)
    assert grant.next_try_at is not None
    assert grant.next_try_at > db.now() + timedelta(seconds=seconds)


def test_what_a_server_refused_is_not_fresh_whatever_the_clock_says(house: House) -> None:
    account = house.connected()
    refused = token_of(account)
    make_fresh(account, refused=refused)
    make_fresh(account, refused=refused)
    assert calls(house) == 1


def test_a_test_waits_for_its_token_and_passes_with_the_new_one(house: House) -> None:
    account = house.connected(expires_in=0)
    house.idp.expire(token_of(account))
    with db.transaction() as session:
        check = connections.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)
    house.work()
    with db.reading() as session:
        assert connections.get(session, check.id).outcome is CheckOutcome.PASSED
    assert calls(house) == 1


def test_a_test_whose_token_was_refused_is_done_again_once_with_a_new_one(house: House) -> None:
    account = house.connected()
    house.age(account, 3000)
    house.idp.expire(token_of(account))
    with db.transaction() as session:
        check = connections.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)
    house.work()
    with db.reading() as session:
        found = connections.get(session, check.id)
        assert (found.outcome, found.renewed) == (CheckOutcome.PASSED, True)
    assert calls(house) == 1


def test_a_test_of_a_revoked_account_says_reconnect_and_shows_the_words_of_the_provider(house: House) -> None:
    account = house.connected(expires_in=0)
    house.idp.withdraw("wim@example.org")
    with db.transaction() as session:
        check = connections.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)
    house.work()
    with db.reading() as session:
        found = connections.get(session, check.id)
        assert (found.outcome, found.category) == (CheckOutcome.FAILED, Category.OAUTH)
        assert found.diagnosis is not None
        assert "invalid_grant" in found.diagnosis["server_text"]


def test_who_loses_the_lease_while_the_provider_thinks_writes_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = house.connected(expires_in=0)
    before = token_of(account)
    monkeypatch.setattr(refresh, "LEASE_SECONDS", 0.1)
    name = f"token:{house.grant(account).id}"

    def is_stolen() -> bool:
        with db.transaction() as session:
            return leases.take(session, name, seconds=600) is not None

    house.idp.odd["token"] = lambda: eventually(is_stolen) and None  # Then it answers as usual.
    make_fresh(account)
    assert calls(house) == 1
    assert token_of(account) == before


def test_a_grant_that_nobody_used_for_a_month_is_renewed_by_the_clock_before_the_provider_forgets_it(
    house: House,
) -> None:
    account = house.connected()
    with db.transaction() as session:
        assert oauth.want_idle(session) == 0
        grant = oauth.grant_of(session, account.id)
        assert grant is not None
        grant.refreshed_at = db.now() - timedelta(days=31)
    clock.sweep()
    clock.find_waiting_tokens()
    house.work()
    assert calls(house) == 1
    assert house.grant(account).refreshed_at > db.now() - timedelta(minutes=1)


def test_a_mended_app_is_tried_again_at_once_and_its_accounts_recover(house: House) -> None:
    account = house.connected(expires_in=0)
    house.idp.odd["token"] = oauth_odd.expired_secret()
    with pytest.raises(MailError) as caught:
        make_fresh(account)
    assert (caught.value.category, caught.value.permanent) == (Category.CONFIG, True)
    assert health_of(account)[0] is Health.NEEDS_ATTENTION
    with pytest.raises(MailError):
        make_fresh(account)
    assert calls(house) == 1  # The background does not knock.
    del house.idp.odd["token"]
    with db.transaction() as session:
        grant = oauth.grant_of(session, account.id)
        assert grant is not None
        oauth.app_changed(session, grant.app)
    house.work()
    assert calls(house) == 2
    assert house.grant(account).failed_at is None
    with db.reading() as session:
        assert accounts.get(session, account.id).next_sync_at is not None  # It goes on by itself.
