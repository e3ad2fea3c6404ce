"""For which accounts a look is enough, and whose turn it is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from mailadmin import db, leases, sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import hosts
from mailadmin.connections.models import FailingHost
from mailadmin.mail.types import Direction, LoginFormat, SignInMethod
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from mailadmin.sync import looking, retention
from mailadmin.sync.going import key_of
from mailadmin.sync.lanes import Turns
from mailadmin.sync.lookable import Due
from mailadmin.sync.models import ChangeKind, Message, PendingChange
from tests.accounts.factories import a_provider, imap
from tests.accounts.factories import an_account as some_account
from tests.conftest import both_databases
from tests.sync.factories import Box, folder_of
from tests.sync.look_factories import held, knocks, runs_of, whole


def flag(account: Account) -> None:
    folder = folder_of(account)
    with db.transaction() as session:
        values = {"account_id": account.id, "folder_id": folder.id, "uid": 1, "added": "\\Flagged"}
        session.add(PendingChange(kind=ChangeKind.FLAGS, **values))


def of_messages(account: Account, **values: Any) -> None:
    with db.transaction() as session:
        for row in session.scalars(select(Message)):
            for name, value in values.items():
                setattr(row, name, value)


def outlive(account: Account) -> None:
    """Let its mail be older than it keeps: a run that would have forgotten it was stopped."""
    of_messages(account, received_at=db.now() - timedelta(days=90))
    with db.transaction() as session:
        row = session.get_one(Account, account.id)
        row.keep_months = 1
        key = key_of(*retention.aim(row))
    of_inbox(account, window=key)


def of_inbox(account: Account, **values: Any) -> None:
    folder = folder_of(account)
    with db.transaction() as session:
        for name, value in values.items():
            setattr(session.merge(folder), name, value)


def failing(account: Account) -> None:
    with db.transaction() as session:
        server = accounts.server_of(session.get_one(Account, account.id), Direction.INCOMING)
        assert server
        session.add(FailingHost(host=hosts.name_of(server), failing_since=db.now(), failures=1, reason="Silence."))


def not_fresh(account: Account) -> None:
    """Let it sign in with a token of which nobody knows how long it is good."""
    with db.transaction() as session:
        session.get_one(Account, account.id).credentials[0].method = SignInMethod.OAUTH


UNFIT: dict[str, Callable[[Account], Any]] = {
    "a change that waits": flag,
    "a message that is not settled": lambda account: of_messages(account, is_settled=False),
    "a message without text": lambda account: of_messages(account, has_text=False),
    "mail that is too old": outlive,
    "a folder with trouble": lambda account: of_inbox(account, trouble="It was refused."),
    "a folder that is not complete": lambda account: of_inbox(account, is_complete=False),
    "a folder that somebody wished for": lambda account: of_inbox(account, is_wished=True),
    "a window of which nothing is known": lambda account: of_inbox(account, window="1m"),
    "a server that lets nobody in": failing,
    "a token that is not fresh": not_fresh,
}


@pytest.mark.parametrize("what", UNFIT)
def test_an_account_for_which_a_look_is_not_enough_has_a_usual_run(box: Box, what: str) -> None:
    box.deliver(1)
    account = whole(box)
    UNFIT[what](account)
    number = knocks(box, box.user)
    looking.look_around()
    assert [each.finished_at for each in runs_of(account)[1:]] == [None]
    assert knocks(box, box.user) == number
    assert held() == []


@both_databases
def test_legs_that_are_read_together_are_those_that_are_read_one_by_one(booted: object) -> None:
    with db.transaction() as session:
        login = accounts.Login("", Secret("p"))
        provider = a_provider(session, login_format=LoginFormat.LOCAL_PART).id
        made = [
            some_account(session, address="own@example.net"),
            some_account(session, address="theirs@example.net", provider_id=provider, login=login),
            some_account(session, address="named@example.net", login=accounts.Login("somebody", Secret("p"))),
            some_account(session, address="pinned@example.net", incoming_pin="ab" * 32),
            some_account(session, address="windows@example.net", login_format=LoginFormat.WINDOWS),
        ]
        lost = some_account(session, address="lost@example.net")
        session.get_one(sealed.SealedSecret, lost.credentials[0].secret_id).sealed = b"nothing that opens"
    with db.reading() as session:
        found = accounts.incoming_legs(session, [one.id for one in [*made, lost]])
        for one in made:
            assert found.pop(one.id) == accounts.leg(session, session.get_one(Account, one.id), Direction.INCOMING)
        assert found == {}


def test_turns_go_round_the_servers_and_none_gets_more_than_it_may() -> None:
    turns = Turns()
    turns.follow([Due(n, "a", False) for n in (1, 2, 3)] + [Due(4, "b", False), Due(5, "c", False)], busy={3})
    assert turns.servers == ["a", "b", "c"]
    assert turns.next(3, dict.fromkeys("abc", 1)) == [1, 4, 5]
    assert turns.next(3, {"a": 0}) == []
    assert turns.next(3, {"a": 2}) == [2]
    assert not turns


@both_databases
def test_no_password_goes_to_the_server_of_a_provider_that_had_the_same_number_before(booted: object) -> None:
    with db.transaction() as session:
        provider = a_provider(session).id
        account = some_account(session, provider_id=provider).id

    def host() -> str:
        with db.reading() as session:
            return accounts.incoming_legs(session, [account])[account].server.host

    before = host()
    with db.transaction() as session:  # As another one that SQLite gave the number of one that was deleted.
        for server in session.get_one(Provider, provider).servers:
            server.host = "imap.elsewhere.example"
    assert (before, host()) == ("imap.example.net", "imap.elsewhere.example")


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)  # SQLite shows a transaction one moment.
def test_provider_that_is_changed_meanwhile_lends_no_account_half_of_it(
    booted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.transaction() as session:
        provider = a_provider(session, login_format=LoginFormat.LOCAL_PART)
        account = some_account(session, provider_id=provider.id, incoming=imap(), is_set_up=True)
    reveal_all = sealed.reveal_all

    def change_before(session: Any, ids: Any) -> Any:
        with db.transaction() as other:
            other.get_one(Provider, provider.id).version += 1
        return reveal_all(session, ids)

    monkeypatch.setattr(sealed, "reveal_all", change_before)
    with db.reading() as session:
        assert accounts.incoming_legs(session, [account.id]) == {}


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)  # SQLite lets one write at a time anyway.
def test_who_takes_many_waits_for_nobody_who_is_taking_one_of_them(booted: object) -> None:
    names = ["sync:7", "sync:8", "sync:9"]
    with db.transaction() as session:
        leases.release_all(session, leases.take_all(session, names, seconds=60).values())
    with db.transaction() as other, db.transaction() as session:
        assert leases.take(other, "sync:8", seconds=60)
        session.execute(text("SET LOCAL lock_timeout = '1s'"))
        assert sorted(leases.take_all(session, names, seconds=60)) == ["sync:7", "sync:9"]
