"""What somebody tries who wants tokens, or an account that is not theirs; and what must not happen by bad luck."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import boot, db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import service as connections
from mailadmin.connections.jobs import drain_checks, drain_tokens
from mailadmin.connections.models import Check
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Server, ServerProtocol, SignInMethod, TLSMode
from mailadmin.moves import service as moves
from mailadmin.oauth import refresh
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, AttemptState, Grant, GrantKind, OAuthApp
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, Actor
from tests.factories import a_person
from tests.oauth.house import BINDER, House
from tests.servers import oauth_odd

pytestmark = pytest.mark.usefixtures("booted")
WIM = "wim@example.org"
PASSWORD = "old password 3"
EVIL = Server(ServerProtocol.IMAP, "imap.evil.example", 993, TLSMode.IMPLICIT)
EVIL_SMTP = Server(ServerProtocol.SMTP, "smtp.evil.example", 465, TLSMode.IMPLICIT)


def move(account: Account, **wanted: Any) -> None:
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        wish = replace(accounts.wish_of(found), **{"is_begun": True, **wanted})
        accounts.change(session, found, wish=wish, version=found.version, actor=SYSTEM)


def now_of(account: Account) -> Account:
    with db.reading() as session:
        return accounts.get(session, account.id)


def begin_alone(account: Account) -> Attempt:
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        return oauth.begin_alone(session, found, kind=GrantKind.APPLICATION, actor=SYSTEM, came_from="account")


@pytest.mark.parametrize("evil", [Direction.INCOMING, Direction.OUTGOING])
def test_token_of_the_whole_organisation_goes_to_the_servers_of_the_provider_alone(
    house: House, evil: Direction
) -> None:
    account = house.account()
    is_incoming = evil is Direction.INCOMING
    move(account, incoming=EVIL if is_incoming else house.harbour.imap, outgoing=None if is_incoming else EVIL_SMTP)
    try:
        attempt = begin_alone(account)
    except RuleBroken:
        return
    drain_tokens()
    assert house.attempt(attempt.id).state is AttemptState.REFUSED
    assert now_of(account).method is None


def test_owner_who_is_at_the_provider_while_the_servers_change_gives_them_nothing(house: House) -> None:
    account = house.account()
    attempt, url = house.begin(account, came_from="invite")
    move(account, incoming=EVIL)
    house.receive(attempt, house.answer(url, WIM))
    drain_tokens()
    assert house.attempt(attempt.id).state is AttemptState.REFUSED
    assert now_of(account).method is None


def test_grant_of_one_provider_is_not_taken_at_another(house: House) -> None:
    account = house.account()
    attempt, url = house.begin(account)
    with db.transaction() as session:
        other = house.harbour.provider(session, name="Evil", domains=("evil.example",), servers=(EVIL, EVIL_SMTP))
    move(account, provider_id=other.id)
    house.receive(attempt, house.answer(url, WIM))
    drain_tokens()
    assert house.attempt(attempt.id).state is AttemptState.REFUSED
    assert now_of(account).method is None


def test_app_that_is_deleted_during_the_test_leaves_no_token_without_a_grant(house: House) -> None:
    account = house.account(password=PASSWORD)
    attempt, url = house.begin(account)
    house.receive(attempt, house.answer(url, WIM))
    drain_tokens()
    with db.transaction() as session:
        app = session.scalars(select(OAuthApp)).one()
        oauth.delete_app(session, app, actor=SYSTEM)
    drain_checks()
    found = now_of(account)
    assert found.method is SignInMethod.PASSWORD
    with db.reading() as session:
        (check,) = session.scalars(select(Check)).unique().all()
    assert check.finished_at is not None


def test_attempt_that_the_clock_has_given_up_does_not_stop_all_tests(house: House) -> None:
    account = house.account(password=PASSWORD)
    attempt, url = house.begin(account)
    house.receive(attempt, house.answer(url, WIM))
    drain_tokens()
    with db.transaction() as session:
        session.get_one(Attempt, attempt.id).expires_at = db.now() - timedelta(hours=2)
        oauth.forget_old_attempts(session)
    drain_checks()
    assert now_of(account).method is SignInMethod.PASSWORD


@pytest.mark.parametrize("fails", [True, False])
def test_answer_for_the_old_grant_says_nothing_of_the_new_one(
    house: House, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    account, came = house.connected(expires_in=10), []
    real = refresh._ask

    def slowly(turn: Any, rules: Any) -> Any:
        monkeypatch.setattr(refresh, "_ask", real)
        answer = real(turn, rules)
        house.connect(account, WIM)  # Somebody reconnects while the answer is on its way.
        came.append(house.grant(account))
        if fails:
            raise MailError(Category.OAUTH, "gone")
        return answer

    monkeypatch.setattr(refresh, "_ask", slowly)
    before = house.grant(account).refresh_id
    with suppress(MailError):
        oauth.make_fresh(account.id, boot.settings().rules)
    grant = house.grant(account)
    assert grant.refresh_id != before
    assert grant.failed_category is None
    assert now_of(account).health_category is None
    assert (grant.refreshed_at, grant.granted_at) == (came[0].refreshed_at, came[0].granted_at)


def test_check_of_an_account_that_is_deleted_waits_for_no_token(house: House) -> None:
    account = house.connected(expires_in=10)
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        connections.request_check(session, account=found, actor=SYSTEM)
        accounts.request_deletion(session, found, actor=SYSTEM)
    drain_checks()
    with db.reading() as session:
        assert not connections.are_tokens_waiting(session)
        assert connections.latest(session, account.id).finished_at is not None


def test_mailbox_that_an_owner_opened_by_mistake_is_not_given_to_administrators(house: House) -> None:
    account = house.account()
    attempt, url = house.begin(account, came_from="invite")
    house.receive(attempt, house.answer(url, "tomas@example.org"))
    house.work()
    found = house.attempt(attempt.id)
    assert found.failed_code == oauth.WRONG_IDENTITY
    assert found.secret_id is None
    with db.transaction() as session, pytest.raises(RuleBroken, match="Ask them to sign in once more"):
        oauth.accept_delegate(session, oauth.get_attempt(session, attempt.id), actor=SYSTEM)


def test_account_that_got_no_token_for_long_is_not_called_healthy(house: House) -> None:
    account = house.connected()
    house.idp.odd["token"] = oauth_odd.status(400)  # An answer that says nothing.
    for failures in range(1, 8):
        house.age(account, -3600)
        with db.transaction() as session:
            oauth.want_token(session, grant_in(session, account))
        with pytest.raises(MailError):
            oauth.make_fresh(account.id, boot.settings().rules)
        assert now_of(account).health is (Health.HEALTHY if failures < refresh.SEVERAL else Health.UNREACHABLE)
    del house.idp.odd["token"]
    with db.transaction() as session:
        oauth.want_token(session, grant_in(session, account))
        connections.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)
    house.work()
    assert now_of(account).health is Health.HEALTHY


def grant_in(session: Session, account: Account) -> Grant:
    grant = oauth.grant_of(session, account.id)
    assert grant is not None
    return grant


@pytest.mark.parametrize(("address", "is_let_in"), [("tomas@example.org", False), (WIM, True)])
def test_address_that_the_provider_does_not_vouch_for_lets_in_nobody_else(
    house: House, address: str, is_let_in: bool
) -> None:
    account = house.account()
    house.idp.add_person(address, verified=False)
    attempt = house.connect(account, address)
    assert attempt.failed_code == ("" if is_let_in else oauth.WRONG_IDENTITY)
    assert attempt.identity == ("" if is_let_in else address)
    assert (now_of(account).method is SignInMethod.OAUTH) is is_let_in


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_way_back_and_a_test_at_the_same_moment_do_not_wait_for_each_other_for_ever(house: House) -> None:
    account = house.account(password=PASSWORD)
    house.connect(account, WIM)

    def restore() -> None:
        with db.transaction() as session:
            moves.roll_back(session, accounts.get(session, account.id), actor=SYSTEM)

    def check() -> None:
        with db.transaction() as session:
            connections.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(deed) for deed in (restore, check, check, check)]:
            done.result()
    assert now_of(account).method is SignInMethod.PASSWORD


def test_administrator_who_was_sent_away_meanwhile_connects_nothing(house: House) -> None:
    account = house.account()
    with db.transaction() as session:
        person = a_person(session)
        actor = Actor(person.name, person.id)
    attempt, url = house.begin(account, actor=actor)
    with db.transaction() as session:
        oauth.receive(
            session,
            provider_id=attempt.app.provider_id,
            binder=BINDER,
            person_id=actor.person_id,
            answer=house.answer(url, WIM),
        )
        session.get_one(Person, actor.person_id).deactivated_at = db.now()
    house.work()
    assert "may not change accounts any more" in house.attempt(attempt.id).failed_message
    assert now_of(account).method is None
