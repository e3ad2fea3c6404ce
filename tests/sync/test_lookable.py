"""For which accounts a look is enough, and whose turn it is."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from mailadmin import db, sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import hosts
from mailadmin.connections.models import FailingHost
from mailadmin.mail.types import Direction, LoginFormat, SignInMethod
from mailadmin.sealed import Secret
from mailadmin.sync import looking
from mailadmin.sync.lookable import Due
from mailadmin.sync.looking import Turns
from mailadmin.sync.models import ChangeKind, Message, PendingChange
from tests.accounts.factories import a_provider
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
    assert turns.next(3, lambda server: 1) == [1, 4, 5]
    assert turns.next(3, lambda server: 0) == []
    assert turns.next(3, lambda server: 2) == [2]
    assert not turns
