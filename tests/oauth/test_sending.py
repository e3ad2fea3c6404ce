"""Sending as an account that signs in with a token: it is renewed on the way, once, and a dead grant is told."""

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.mail.types import Direction
from mailadmin.people.models import Person
from mailadmin.writing import jobs, service
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import OutgoingMessage, Progress
from tests.access.factories import give
from tests.oauth.harbour import SALES, Harbour
from tests.oauth.house import House
from tests.writing.factories import typed

pytestmark = pytest.mark.usefixtures("booted")


@pytest.fixture
def account(house: House, harbour: Harbour, wim: Person) -> Account:
    """Connected, and given to Wim, who has one message that waits."""
    found = house.connected(SALES)
    harbour.sink.messages.clear()
    with db.transaction() as session:
        account, person = accounts.get(session, found.id), session.merge(wim)
        account.is_set_up = True
        give(session, person, account)
        outgoing = service.begin(session, person, account, to="nora@halden.example")
        service.save(session, outgoing, **typed(outgoing, text="Hello"))
        service.send(session, outgoing)
    return found


def outcome() -> OutgoingMessage:
    with db.reading() as session:
        return session.scalars(select(OutgoingMessage)).one()


def token_of(account: Account) -> str:
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account.id), Direction.OUTGOING)
        assert leg is not None
        return leg.how.secret


def test_a_token_that_has_run_out_is_renewed_before_anybody_knocks(
    house: House, harbour: Harbour, account: Account
) -> None:
    house.idp.expire(token_of(account))
    house.age(account, 0)
    before = harbour.sink.sign_ins
    drain_outgoing()
    assert (outcome().progress, outcome().tries) == (Progress.SENT, 1)
    assert house.idp.count("token", grant_type="refresh_token") == 1
    assert harbour.sink.sign_ins == before + 1


def test_a_token_that_the_server_refuses_is_renewed_once_and_the_message_sent(
    house: House, harbour: Harbour, account: Account
) -> None:
    house.idp.expire(token_of(account))
    drain_outgoing()
    assert (outcome().progress, outcome().tries) == (Progress.SENT, 1)
    assert house.idp.count("token", grant_type="refresh_token") == 1
    assert len(harbour.sink.messages) == 1


def test_where_the_new_token_is_refused_too_the_account_is_in_trouble_and_the_message_a_draft(
    house: House, harbour: Harbour, account: Account
) -> None:
    house.idp.mail_scopes = frozenset({"something else"})
    before = harbour.sink.sign_ins
    drain_outgoing()
    drain_outgoing()
    assert harbour.sink.messages == []
    assert harbour.sink.sign_ins == before + 2
    with db.reading() as session:
        found = accounts.get(session, account.id)
        assert found.outgoing_health is Health.NEEDS_ATTENTION
    assert outcome().progress is Progress.DRAFT
    assert outcome().problem


def test_an_account_that_loses_what_it_signs_in_with_meanwhile_makes_a_draft_that_says_so(
    harbour: Harbour, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disconnected(*_: object) -> None:
        with db.transaction() as session:
            found = accounts.get(session, account.id)
            found.credentials.clear()

    monkeypatch.setattr(jobs.oauth, "make_fresh", disconnected)
    before = harbour.sink.sign_ins
    drain_outgoing()
    assert (outcome().progress, harbour.sink.sign_ins) == (Progress.DRAFT, before)
    assert "no password" in outcome().problem


def test_a_withdrawn_grant_makes_a_draft_of_the_message_without_a_knock(
    house: House, harbour: Harbour, account: Account
) -> None:
    house.age(account, 0)
    house.idp.withdraw(SALES)
    before = harbour.sink.sign_ins
    drain_outgoing()
    assert (outcome().progress, harbour.sink.sign_ins) == (Progress.DRAFT, before)
    assert outcome().problem
