"""Ways around the limits on testing servers that never let anybody in; each was open once."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.connections import claims, limits, service
from mailadmin.connections.models import CheckOutcome, UnprovedTest
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.permissions import Actor
from mailadmin.sealed import Secret
from tests.conftest import both_databases
from tests.connections.factories import an_account

pytestmark = pytest.mark.usefixtures("booted")
ADA = Actor("Ada", 1)


def at(host: str, port: int = 993, protocol: ServerProtocol = ServerProtocol.IMAP) -> Server:
    return Server(protocol, host, port, TLSMode.IMPLICIT)


def save(account: Account, incoming: Server, password: str, username: str = "") -> None:
    """What the settings page does: change, and test."""
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        login = Login(username, Secret(password))
        wish = AccountWish(address=found.address, incoming=incoming, login=login)
        accounts.change(session, found, wish=wish, version=found.version, actor=ADA)
        service.request_check(session, account=found, actor=ADA)


def pass_a_test(account: Account) -> None:
    with db.transaction() as session:
        check = service.request_check(session, account=accounts.get(session, account.id), actor=ADA)
        check.finished_at, check.outcome = db.now(), CheckOutcome.PASSED


def refused_within(times: int, deed: Callable[[int], None]) -> None:
    with pytest.raises(RuleBroken, match="within a minute"):
        list(map(deed, range(times)))


def counted() -> int:
    with db.reading() as session:
        return session.scalar(select(func.count(UnprovedTest.id))) or 0


@both_databases
@pytest.mark.parametrize("begun_by", ["a click", "test all"])
def test_saving_while_a_test_runs_is_a_test(begun_by: str) -> None:
    account = an_account(at("mail.example.org"))
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        if begun_by == "a click":
            service.request_check(session, account=found, actor=ADA)
        else:
            service.request_many(session, accounts_=[found], actor=ADA)

    def begin_and_save(number: int) -> None:
        with db.transaction() as session:
            claims.claim_due(session)
        save(account, at("other.example.org", 1000 + number), f"guess {number}")

    refused_within(limits.PER_PERSON + 1, begin_and_save)


def test_clicking_test_again_and_again_while_one_runs_counts_once() -> None:
    account = an_account(at("mail.example.org"))
    for _ in range(3):
        with db.transaction() as session:
            service.request_check(session, account=accounts.get(session, account.id), actor=ADA)
    assert counted() == 1


def test_test_all_again_and_again_is_counted_where_nobody_was_let_in() -> None:
    found = [an_account(at("mail.example.org"), address=f"a{number}@example.org") for number in range(30)]
    with db.transaction() as session:
        live = [accounts.get(session, account.id) for account in found]
        assert service.request_many(session, accounts_=live, actor=ADA) == 30
    assert counted() == 1


def test_another_user_name_at_a_proved_server_is_not_proved() -> None:
    account = an_account(at("mail.example.org"))
    pass_a_test(account)
    save(account, at("mail.example.org"), "guess", username="somebody.else")
    assert counted() == 2


def test_messages_to_others_are_counted_even_where_sending_works() -> None:
    account = an_account(at("mail.example.org"), at("mail.example.org", 465, ServerProtocol.SMTP))
    pass_a_test(account)

    def write(number: int) -> None:
        wish = {"recipient": f"p{number}@example.net", "awaits": False}
        with db.transaction() as session:
            check = service.request_message(session, account=accounts.get(session, account.id), actor=ADA, **wish)
            check.finished_at, check.outcome = db.now(), CheckOutcome.PASSED

    refused_within(limits.PER_PERSON + 1, write)
