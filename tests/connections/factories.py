"""Makers of accounts and checks for the tests of connections."""

from dataclasses import replace
from typing import Any

from mailadmin import boot, db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.connections import service
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check
from mailadmin.mail.types import Server
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import Secret

PASSWORD = "password"


def an_account(
    incoming: Server,
    outgoing: Server | None = None,
    *,
    address: str = "wim@example.org",
    username: str = "",
    password: str = PASSWORD,
    sending: Login | None = None,
) -> Account:
    """A stored account with servers of its own."""
    login = Login(username=username, password=Secret(password))
    wish = AccountWish(address=address, incoming=incoming, outgoing=outgoing, login=login, sending=sending)
    with db.transaction() as session:
        return accounts.create(session, wish=wish, actor=SYSTEM)


def change_password(account: Account, password: str) -> None:
    """Give the stored account another password."""
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        incoming, outgoing = (row.server for row in sorted(found.servers, key=lambda row: row.direction))
        wish = AccountWish(
            address=found.address,
            name=found.name,
            incoming=incoming,
            outgoing=outgoing,
            login=Login(password=Secret(password)),
        )
        accounts.change(session, found, wish=wish, version=found.version, actor=SYSTEM)


def a_check(account: Account) -> Check:
    """An open check of `account`, as a click leaves it."""
    with db.transaction() as session:
        return service.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)


def after_test(account: Account) -> Check:
    """The check of `account` after it was asked for and done."""
    check = a_check(account)
    drain_checks()
    return stored(check)


def stored(check: Check) -> Check:
    """`check` as the database has it now, with its account."""
    with db.reading() as session:
        found = service.get(session, check.id)
        assert found.account
        return found


def begin_with(*, check_seconds: float | None = None, **rules: Any) -> None:
    """Start this process anew with other settings: the seconds of a test, or what connections may do."""
    settings = boot.settings()
    seconds = check_seconds or settings.check_seconds
    boot.start(replace(settings, rules=replace(settings.rules, **rules), check_seconds=seconds))


def moved(server: Server, **changes: Any) -> Server:
    """`server` with other values."""
    return replace(server, **changes)
