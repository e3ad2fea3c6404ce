"""Receiving and sending are two connections: what one of them lacks does not stop the other."""

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Health
from mailadmin.accounts.service import Login
from mailadmin.connections import service as connections
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.timeline import timeline
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.sealed import SealedSecret, Secret
from tests.accounts.factories import PASSWORD, an_account, imap, smtp
from tests.connections.factories import a_check, stored

IN, OUT = Direction.INCOMING, Direction.OUTGOING
RELAY = Login("relay", Secret("relay secret"))


def spoil(session: Session, account: Account, direction: Direction) -> None:
    """Make the password for `direction` one that no key opens."""
    credential = account.credential(direction)
    assert credential
    session.get_one(SealedSecret, credential.secret_id).sealed = b"\0" * 60
    session.commit()


def test_password_for_sending_that_no_key_opens_does_not_stop_receiving(session: Session) -> None:
    account = an_account(session, sending=RELAY)
    spoil(session, account, OUT)
    leg = service.leg(session, account, IN)
    assert leg is not None
    assert (leg.server, leg.how.password) == (imap(), PASSWORD)
    with pytest.raises(RuleBroken) as caught:
        service.leg(session, account, OUT)
    assert caught.value.field == "sending_password"
    with pytest.raises(RuleBroken):
        service.legs(session, account)


def test_shared_password_is_asked_for_where_it_was_typed(session: Session) -> None:
    account = an_account(session)
    spoil(session, account, IN)
    with pytest.raises(RuleBroken) as caught:
        service.leg(session, account, OUT)
    assert caught.value.field == "password"


def test_no_server_for_sending_is_no_mistake_and_none_for_receiving_is(session: Session) -> None:
    account = an_account(session, incoming=imap())
    assert service.leg(session, account, OUT) is None
    account.servers.clear()
    with pytest.raises(RuleBroken, match="no server for receiving"):
        service.leg(session, account, IN)


def test_test_tells_a_broken_password_for_sending_as_the_failure_of_sending_alone(session: Session) -> None:
    away = imap("127.0.0.1", 1), smtp("127.0.0.1", 2)
    account = an_account(session, incoming=away[0], outgoing=away[1], sending=RELAY)
    spoil(session, account, OUT)
    check = a_check(account)
    drain_checks()
    ended = stored(check)
    told = {stage["name"]: stage["outcome"] for stage in ended.stages if stage["direction"] == OUT}
    assert told["sign-in"] == "failed"
    assert set(told.values()) == {"failed", "skipped"}
    assert [s["name"] for s in ended.stages if s["direction"] == IN and s["outcome"] == "failed"] == ["tcp"]
    both = [ended.diagnosis, (ended.diagnosis or {}).get("also")]
    assert {d["direction"]: d["category"] for d in both if d} == {"incoming": "refused", "outgoing": "config"}
    with db.reading() as reading:
        found = service.get(reading, account.id)
        assert (found.outgoing_health, found.outgoing_category) == (Health.NEEDS_ATTENTION, "config")
        side = timeline(connections.get(reading, check.id)).sides[1]
        assert [line.diagnosis["direction"] for line in side.lines if line.diagnosis] == ["outgoing"]


def test_account_of_which_nothing_opens_is_told_as_before(session: Session) -> None:
    account = an_account(session)
    spoil(session, account, IN)
    check = a_check(account)
    drain_checks()
    ended = stored(check)
    assert (ended.outcome, ended.category) == ("failed", "config")
    assert ended.diagnosis is not None
    assert "cannot be opened" in ended.diagnosis["title"] + ended.diagnosis["cause"] + ended.diagnosis["server_text"]
