"""From the question in the browser to an account that signs in with what was granted, and back to its password."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailadmin import boot, db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.activity.models import Activity
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Bearer, Direction, Password, SignInMethod
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import AttemptState, GrantKind, KeptPassword
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import SealedSecret
from mailadmin.sync.jobs import purge
from tests.conftest import both_databases
from tests.oauth.harbour import PASSWORD
from tests.oauth.house import House

pytestmark = pytest.mark.usefixtures("booted")


def how_of(account: Account) -> Password | Bearer:
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account.id), Direction.INCOMING)
        assert leg is not None
        return leg.how


def now_of(account: Account) -> Account:
    with db.reading() as session:
        return accounts.get(session, account.id)


@both_databases
def test_an_account_without_anything_takes_the_grant_at_once_and_is_tested_both_ways(house: House) -> None:
    account = house.account()
    attempt = house.connect(account, "wim@example.org")
    assert (attempt.state, attempt.identity, attempt.secret_id) == (AttemptState.DONE, "wim@example.org", None)
    assert isinstance(how_of(account), Bearer)
    found = now_of(account)
    assert (found.health, found.outgoing_health, found.method) == (Health.HEALTHY, Health.HEALTHY, SignInMethod.OAUTH)
    assert "mail" in house.grant(account).scopes.split()


def test_a_healthy_account_with_a_password_changes_when_its_test_has_passed_and_keeps_the_way_back(
    house: House,
) -> None:
    account = house.account(password=PASSWORD)
    attempt = house.connect(account, "wim@example.org")
    assert attempt.state is AttemptState.DONE
    assert isinstance(how_of(account), Bearer)
    with db.transaction() as session:
        assert oauth.kept_password(session, account.id)
        oauth.restore_password(session, accounts.get(session, account.id), actor=SYSTEM)
    assert how_of(account) == Password("wim@example.org", PASSWORD)
    with db.reading() as session:
        assert oauth.kept_password(session, account.id) is None
        assert oauth.grant_of(session, account.id) is None


def test_a_healthy_account_stays_what_it_is_when_the_test_fails(house: House) -> None:
    account = house.account(password=PASSWORD)
    house.idp.mail_scopes = frozenset({"something else"})  # No mail server takes its tokens.
    attempt = house.connect(account, "wim@example.org")
    assert (attempt.state, attempt.failed_category) == (AttemptState.REFUSED, Category.OAUTH)
    assert how_of(account) == Password("wim@example.org", PASSWORD)
    with db.reading() as session:
        assert session.scalars(select(KeptPassword)).all() == []
        check = connections.of_attempt(session, attempt.id)
        assert check is not None
        assert check.outcome is CheckOutcome.FAILED


def test_a_dead_grant_is_replaced_at_once_and_everything_else_stays(house: House) -> None:
    account = house.connected()
    house.idp.withdraw("wim@example.org")
    house.age(account, 0)
    with db.transaction() as session:
        check = connections.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)
    house.work()
    assert now_of(account).health is Health.NEEDS_ATTENTION
    house.idp.add_person("wim@example.org")
    attempt = house.connect(account, "wim@example.org")
    found = now_of(account)
    assert (attempt.state, found.health, found.id) == (AttemptState.DONE, Health.HEALTHY, account.id)
    assert check.id


def test_somebody_else_is_refused_until_an_administrator_says_that_it_is_a_delegate(house: House) -> None:
    account = house.account("sales@example.org")
    house.idp.may_open.add(("tomas@example.org", "sales@example.org"))
    attempt = house.connect(account, "tomas@example.org")
    assert (attempt.state, attempt.failed_code) == (AttemptState.REFUSED, oauth.WRONG_IDENTITY)
    assert attempt.identity == "tomas@example.org"
    with db.transaction() as session:
        oauth.accept_delegate(session, oauth.get_attempt(session, attempt.id), actor=SYSTEM)
    house.work()
    assert house.attempt(attempt.id).state is AttemptState.DONE
    assert now_of(account).health is Health.HEALTHY
    assert how_of(account).username == "sales@example.org"
    assert house.grant(account).is_delegate


def test_what_was_not_allowed_is_named(house: House) -> None:
    attempt = house.connect(house.account(), "wim@example.org", without=("mail",))
    assert (attempt.state, attempt.failed_code) == (AttemptState.REFUSED, "oauth_scope_missing")
    assert "mail" in attempt.failed_message


def test_a_grant_that_would_end_within_the_hour_is_refused(house: House) -> None:
    house.idp.change_answer = lambda answer: answer.pop("refresh_token", None)
    attempt = house.connect(house.account(), "wim@example.org")
    assert (attempt.state, attempt.failed_code) == (AttemptState.REFUSED, "oauth_no_refresh_token")


def test_denied_consent_ends_the_attempt_with_the_reason(house: House) -> None:
    attempt = house.connect(house.account(), "wim@example.org", allow=False)
    assert (attempt.state, attempt.secret_id) == (AttemptState.REFUSED, None)
    assert "access_denied" in attempt.failed_detail or attempt.failed_code


def test_an_answer_is_good_once_for_the_browser_that_asked_at_the_address_of_its_provider(house: House) -> None:
    account = house.account()
    attempt, url = house.begin(account)
    answer = house.answer(url, "wim@example.org")
    with pytest.raises(RuleBroken, match="another browser"):
        house.receive(attempt, answer, binder="somebody else's")
    assert house.receive(attempt, answer).state is AttemptState.ANSWERED
    with pytest.raises(RuleBroken, match="used already"):
        house.receive(attempt, answer)


def test_an_answer_at_another_providers_address_is_not_used(house: House) -> None:
    attempt, url = house.begin(house.account())
    answer = house.answer(url, "wim@example.org")
    assert house.receive(attempt, answer, at=999_999).state is AttemptState.REFUSED
    drained = house.idp.count("token")
    house.work()
    assert house.idp.count("token") == drained


def test_an_answer_of_another_issuer_is_not_used(house: House) -> None:
    attempt, url = house.begin(house.account())
    answer = house.answer(url, "wim@example.org") | {"iss": "https://evil.test"}
    refused = house.receive(attempt, answer)
    assert (refused.state, refused.failed_category) == (AttemptState.REFUSED, Category.POLICY)


@pytest.mark.parametrize("promised", [True, False])
def test_an_answer_without_its_issuer_is_used_only_where_none_was_promised(house: House, promised: bool) -> None:
    house.idp.says_issuer = promised
    attempt, url = house.begin(house.account())
    answer = house.answer(url, "wim@example.org")
    answer.pop("iss", None)
    house.receive(attempt, answer)
    house.work()
    ended = house.attempt(attempt.id)
    assert ended.state is (AttemptState.REFUSED if promised else AttemptState.DONE)
    assert ended.failed_code == ("oauth_issuer" if promised else "")
    assert house.idp.count("token") == (0 if promised else 1)


def test_an_answer_that_took_too_long_is_not_used(house: House) -> None:
    attempt, url = house.begin(house.account())
    answer = house.answer(url, "wim@example.org")
    with db.transaction() as session:
        oauth.get_attempt(session, attempt.id).expires_at = db.now()
    assert house.receive(attempt, answer).state is AttemptState.REFUSED


def test_an_app_opens_mailboxes_without_a_person(house: House) -> None:
    account = house.account("support@example.org")
    house.idp.may_open.add(("mailadmin", "support@example.org"))
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        attempt = oauth.begin_alone(session, found, kind=GrantKind.APPLICATION, actor=SYSTEM, came_from="account")
    house.work()
    assert house.attempt(attempt.id).failed_message == ""
    assert now_of(account).health is Health.HEALTHY
    house.age(account, 0)
    oauth.make_fresh(account.id, boot.settings().rules)
    assert house.idp.count("token", grant_type="client_credentials") == 2


@both_databases
def test_a_double_click_begins_one_attempt(house: House) -> None:
    account, begun = house.account("support@example.org"), []
    for _ in range(2):
        with db.transaction() as session:
            found = accounts.get(session, account.id)
            about = {"kind": GrantKind.APPLICATION, "actor": SYSTEM, "came_from": "account"}
            begun.append(oauth.begin_alone(session, found, **about).id)
    assert begun[0] == begun[1]
    house.work()
    with db.transaction() as session:
        again = oauth.begin_alone(session, accounts.get(session, account.id), **about)
    assert again.id > begun[0]


@both_databases
def test_the_way_back_to_a_password_gives_the_grant_back(house: House) -> None:
    account = house.account(password=PASSWORD)
    assert house.connect(account, "wim@example.org").failed_message == ""
    with db.transaction() as session:
        oauth.restore_password(session, accounts.get(session, account.id), actor=SYSTEM)
    assert house.idp.count("revoke") == 0
    house.work()
    assert house.idp.count("revoke") == 1
    with db.reading() as session:
        assert not oauth.waiting_revocations(session, limit=1)


def test_what_somebody_else_granted_by_mistake_is_given_back_once_nobody_can_accept_it(house: House) -> None:
    attempt = house.connect(house.account(), "tomas@example.org")
    assert attempt.failed_code == oauth.WRONG_IDENTITY
    house.work()
    assert house.idp.count("revoke") == 0
    with db.transaction() as session:
        oauth.get_attempt(session, attempt.id).expires_at = db.now() - timedelta(hours=2)
        session.flush()
        oauth.forget_old_attempts(session)
    house.work()
    assert house.idp.count("revoke") == 1


def test_a_grant_on_which_another_account_lives_is_not_given_back(house: House) -> None:
    house.connected("tomas@example.org")
    attempt = house.connect(house.account(), "tomas@example.org")
    with db.transaction() as session:
        oauth.get_attempt(session, attempt.id).expires_at = db.now() - timedelta(hours=2)
        session.flush()
        oauth.forget_old_attempts(session)
    house.work()
    assert house.idp.count("revoke") == 0


def test_a_mailbox_that_does_not_let_the_app_in_is_no_matter_of_its_owner(house: House) -> None:
    account = house.account("support@example.org")
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        oauth.begin_alone(session, found, kind=GrantKind.APPLICATION, actor=SYSTEM, came_from="account")
    house.work()
    with db.reading() as session:
        check = session.scalars(select(Check)).one()
    assert check.diagnosis
    assert check.diagnosis["turn"] == "administrator"
    assert "Verify set-up" in " ".join(check.diagnosis["action"])


def test_a_deleted_account_gives_its_grant_back_and_leaves_no_secret(house: House) -> None:
    account = house.connected()
    assert house.idp.count("revoke") == 0
    with db.transaction() as session:
        accounts.request_deletion(session, accounts.get(session, account.id), actor=SYSTEM)
    purge(account.id)
    assert house.idp.count("revoke") == 1
    with db.reading() as session:
        assert {row.purpose for row in session.scalars(select(SealedSecret))} == {"client secret"}


def test_a_grant_that_another_account_lives_on_is_not_given_back(house: House) -> None:
    house.idp.may_open.add(("wim@example.org", "sales@example.org"))
    house.connected()
    account = house.account("sales@example.org")
    assert house.connect(account, "wim@example.org", is_delegate=True).state is AttemptState.DONE
    with db.transaction() as session:
        accounts.request_deletion(session, accounts.get(session, account.id), actor=SYSTEM)
    purge(account.id)
    assert house.idp.count("revoke") == 0


def test_old_passwords_are_destroyed_after_fourteen_days(house: House) -> None:
    account = house.account(password=PASSWORD)
    house.connect(account, "wim@example.org")
    with db.transaction() as session:
        assert oauth.destroy_old_passwords(session) == 0
        kept = oauth.kept_password(session, account.id)
        assert kept is not None
        kept.ends_at = db.now()
    with db.transaction() as session:
        assert oauth.destroy_old_passwords(session) == 1
        assert "kept password" not in {row.purpose for row in session.scalars(select(SealedSecret))}
        with pytest.raises(RuleBroken, match="destroyed"):
            oauth.restore_password(session, accounts.get(session, account.id), actor=SYSTEM)


def test_an_old_password_does_not_go_to_servers_that_it_was_not_typed_for(house: House) -> None:
    account = house.account(password=PASSWORD)
    house.connect(account, "wim@example.org")
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        assert found.provider is not None
        found.provider.servers[0].port += 1
    with db.transaction() as session, pytest.raises(RuleBroken, match="not typed for them"):
        oauth.restore_password(session, accounts.get(session, account.id), actor=SYSTEM)


def test_the_trail_says_who_connected_and_holds_no_secret(house: House) -> None:
    house.connected()
    with db.reading() as session:
        said = [f"{row.what} {row.detail}" for row in session.scalars(select(Activity))]
    assert any("connected wim@example.org with OAuth as wim@example.org" in line for line in said)
