"""How often unproved servers may be tested, and how many accounts are tested at once politely."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.connections import endings, limits, service
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check, UnprovedTest
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode
from mailadmin.people.models import Person
from mailadmin.permissions import COMMAND_LINE, Actor
from tests.conftest import both_databases
from tests.connections.conftest import Servers
from tests.connections.factories import after_test, an_account, stored

pytestmark = pytest.mark.usefixtures("booted")
ADA, WIM = Actor("Ada", 1), Actor("Wim", 2)


def spend(actor: Actor, *hosts: str) -> None:
    with db.transaction() as session:
        limits.spend(session, actor=actor, hosts=hosts or ["mail.example.org"])


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    def put_forward(span: timedelta) -> None:
        moment = db.now() + span
        monkeypatch.setattr(limits, "now", lambda: moment)

    return put_forward


@both_databases
def test_one_person_has_ten_a_minute(later: Callable[[timedelta], None]) -> None:
    for number in range(10):
        spend(ADA, f"a{number}.example.org", f"b{number}.example.org")
    with pytest.raises(RuleBroken, match="within a minute"):
        spend(ADA, "c.example.org")
    spend(WIM, "c.example.org")
    later(timedelta(seconds=61))
    spend(ADA, "c.example.org")


@both_databases
def test_one_host_has_sixty_an_hour_whoever_asks(later: Callable[[timedelta], None]) -> None:
    for number in range(60):
        spend(Actor(f"P{number}", number + 1))
    with pytest.raises(RuleBroken, match="within an hour"):
        spend(Actor("Somebody", 99))
    spend(Actor("Somebody", 99), "other.example.org")
    later(timedelta(minutes=61))
    spend(Actor("Somebody", 99))
    with db.reading() as session:
        assert session.scalar(select(func.count(UnprovedTest.id))) == 1


def test_a_command_counts_and_is_not_refused() -> None:
    for _ in range(60):
        with db.transaction() as session:
            limits.note(session, actor=COMMAND_LINE, hosts=["mail.example.org"])
    with pytest.raises(RuleBroken):
        spend(ADA)


def test_servers_that_let_the_account_in_are_not_counted(servers: Servers, ada: Person) -> None:
    account = an_account(servers.imap, servers.outgoing)
    actor = Actor(ada.name, ada.id)
    for counted in (1, 1, 1):
        with db.transaction() as session:
            service.request_check(session, account=accounts.get(session, account.id), actor=actor)
        drain_checks()
        with db.reading() as session:
            assert session.scalar(select(func.count(UnprovedTest.id))) == counted  # localhost, for both directions


def test_a_refused_test_leaves_nothing_behind(ada: Person) -> None:
    account = an_account(Server(ServerProtocol.IMAP, "127.0.0.1", 993, TLSMode.IMPLICIT))
    for _ in range(10):
        spend(Actor(ada.name, ada.id))
    with db.transaction() as session, pytest.raises(RuleBroken):
        service.request_check(session, account=accounts.get(session, account.id), actor=Actor(ada.name, ada.id))
    with db.reading() as session:
        assert service.latest(session, account.id) is None


@both_databases
def test_many_at_once_wait_their_turn_by_host_and_are_not_limited() -> None:
    made = [
        an_account(
            Server(ServerProtocol.IMAP, f"127.0.0.{1 + n % 3}", 993, TLSMode.IMPLICIT), address=f"a{n}@example.org"
        )
        for n in range(15)
    ]
    with db.transaction() as session:
        assert service.request_many(session, accounts_=accounts.all_live(session), actor=ADA) == len(made)
    with db.transaction() as session:
        hosts = [task.legs[Direction.INCOMING].server.host for task in service.claim_due(session)]
        assert sorted(hosts) == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"]
        assert service.claim_due(session) == []
    with db.transaction() as session:
        in_turn = an_account_again(session, "a9@example.org")
        check = service.request_check(session, account=in_turn, actor=ADA)
        assert not check.in_turn  # Somebody waits for it now.
    with db.transaction() as session:
        assert [task.check_id for task in service.claim_due(session)] == [check.id]


def an_account_again(session: object, address: str) -> object:
    return accounts.find(session, address)


def test_only_the_newest_twenty_tests_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "KEPT", 3)
    account = an_account(Server(ServerProtocol.IMAP, "127.0.0.9", 1, TLSMode.IMPLICIT))
    ids = [after_test(account).id for _ in range(5)]
    with db.reading() as session:
        assert list(session.scalars(select(Check.id).order_by(Check.id))) == ids[-3:]
        assert [check.id for check in service.history(session, account.id)] == ids[:1:-1]
    assert stored(after_test(account)).servers == {"incoming": "imap:127.0.0.9:1:implicit"}
