"""The job that asks providers, when something of ours breaks: nobody waits for ever, nothing is tried without end."""

import pytest

from mailadmin import db
from mailadmin.connections import tokens
from mailadmin.connections.jobs import drain_tokens
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import AttemptState
from tests.oauth.house import House

pytestmark = pytest.mark.usefixtures("booted")


def broken(*_: object) -> None:
    raise RuntimeError("a fault of ours")


def test_a_fault_of_ours_ends_an_attempt_with_a_sentence(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt, url = house.begin(house.account())
    house.receive(attempt, house.answer(url, "wim@example.org"))
    monkeypatch.setattr(oauth, "ask", broken)
    drain_tokens()
    ended = house.attempt(attempt.id)
    assert (ended.state, ended.secret_id) == (AttemptState.REFUSED, None)
    assert "Something broke on our side" in ended.failed_message


def test_a_fault_of_ours_does_not_keep_asking_for_a_token(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    account = house.connected()
    with db.transaction() as session:
        grant = oauth.grant_of(session, account.id)
        assert grant is not None
        oauth.want_token(session, grant)
    monkeypatch.setattr(oauth, "make_fresh", broken)
    drain_tokens()
    with db.reading() as session:
        assert not tokens.are_waiting(session)
