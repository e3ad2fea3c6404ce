"""Wishes that wait: no run undoes them before the server was told; and what servers may do wrongly with them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail import types as mail
from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap_store import Likeness, Opened, Placed
from mailadmin.mail.types import Role
from mailadmin.permissions import SYSTEM
from mailadmin.sync import changes, new_folders, service
from mailadmin.sync.models import ChangeState, Folder, PendingChange, RunOutcome
from mailadmin.sync.told import MOST_TRIES
from tests.conftest import both_databases
from tests.sync.factories import (
    Kept,
    MemoryServer,
    account_now,
    an_account,
    flags_of,
    folder_of,
    messages_of,
    synced,
)

pytestmark = pytest.mark.usefixtures("booted")
FOLDERS = [mail.Folder(path, path, "/") for path in ("INBOX", "Offers")]


class Changing(MemoryServer):
    """A server in memory that lets itself be changed, and `fails` wherever a test wants it to."""

    can_move = True

    def __init__(self, **folders: Kept) -> None:
        super().__init__(**folders)
        self.fails: dict[str, Exception] = {}
        self.opened = Opened(7)
        self.tells = True

    def _do(self, word: str) -> None:
        self._ask(word)
        if word in self.fails:
            raise self.fails[word]

    def select(self, path: str) -> Opened:
        self._do("select")
        self._open = self.kept[path]
        return self.opened

    def store(
        self, uids: Collection[int], *, added: str = "", removed: str = "", unchanged_since: int | None = None
    ) -> set[int]:
        self._do("store")
        for uid in set(uids) & self._open.messages.keys():
            old = self._open.messages[uid]
            flags = (old.flags | set(added.split())) - set(removed.split())
            self._open.messages[uid] = replace(old, flags=frozenset(flags))
        self._open.touch()
        return set()

    def flags_of(self, uids: Collection[int]) -> dict[int, frozenset[str]]:
        return {uid: self._open.messages[uid].flags for uid in uids if uid in self._open.messages}

    def move(self, uids: Collection[int], path: str) -> Placed:
        self._do("move")
        target, places = self.kept[path], {}
        for uid in uids:
            places[uid] = target.uidnext
            target.messages[target.uidnext] = replace(self._open.messages.pop(uid), uid=target.uidnext)
            target.uidnext += 1
        target.touch()
        self._open.touch()
        return Placed(target.uidvalidity, places) if self.tells else Placed()

    def copy(self, uids: Collection[int], path: str) -> Placed:
        raise AssertionError

    def expunge(self, uids: Collection[int]) -> bool:
        self._do("expunge")
        for uid in uids:
            self._open.messages.pop(uid, None)
        return True

    def likeness(self, uid: int, message_id: str = "") -> Likeness | None:
        raise AssertionError

    def find_alike(self, like: Likeness) -> list[int]:
        raise AssertionError

    def holds(self, path: str, message_id: str) -> bool:
        return False

    def append(self, path: str, message: bytes, *, flags: Sequence[str], moment: datetime) -> int | None:
        self._do("append")
        return None


@pytest.fixture
def server() -> Changing:
    inbox, offers = Kept(), Kept()
    for uid in (1, 2, 3):
        inbox.add(uid)
    return Changing(INBOX=inbox, Offers=offers)


@pytest.fixture
def account(server: Changing) -> Account:
    account = an_account(folders=FOLDERS)
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    return account


def do(account: Account, deed: Callable[..., Any], *uids: int, **wanted: Any) -> Any:
    found = [message.id for message in messages_of(account) if message.uid in uids]
    with db.transaction() as session:
        return deed(session, session.get(Account, account.id), messages=found, actor=SYSTEM, **wanted)


def read(account: Account, *uids: int) -> None:
    do(account, changes.mark, *uids, flag="read", is_set=True)


def move(account: Account, *uids: int) -> None:
    do(account, changes.move, *uids, target_id=folder_of(account, "Offers").id)


def wishes(account: Account) -> list[PendingChange]:
    with db.reading() as session:
        query = select(PendingChange).where(PendingChange.account_id == account.id)
        return list(session.scalars(query.order_by(PendingChange.id)))


def end(account: Account) -> tuple[ChangeState, str]:
    [wish] = wishes(account)
    return wish.state, wish.reason


@both_databases
def test_pass_that_reads_never_undoes_what_waits(account: Account, server: Changing) -> None:
    busy = Refused(Category.UNAVAILABLE, "Not available.", detail="[INUSE] busy")
    server.fails["store"] = busy
    read(account, 1, 2)
    server.kept["INBOX"].messages[2] = replace(server.kept["INBOX"].messages[2], flags=frozenset({"\\Flagged"}))
    server.kept["INBOX"].touch()
    for _ in range(2):
        assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
        assert flags_of(account) == {1: "\\Seen", 2: "\\Flagged \\Seen", 3: ""}
    assert {wish.state for wish in wishes(account)} == {ChangeState.WAITING}
    server.fails.clear()
    synced(account, opening=server)
    assert {uid: " ".join(sorted(m.flags)) for uid, m in server.kept["INBOX"].messages.items()} == flags_of(account)
    assert {wish.state for wish in wishes(account)} == {ChangeState.DONE}


def test_refused_change_is_undone_here(account: Account, server: Changing) -> None:
    server.fails["store"] = Refused(Category.PERMISSION, "Not permitted.", detail="[NOPERM] not here")
    read(account, 1)
    assert folder_of(account).unread == 2
    synced(account, opening=server)
    assert end(account) == (ChangeState.REFUSED, "The server does not permit this in “INBOX”: [NOPERM] not here")
    assert (flags_of(account)[1], folder_of(account).unread) == ("", 3)


@pytest.mark.parametrize(
    ("category", "detail", "said"),
    [
        (Category.QUOTA, "[OVERQUOTA] full", "The mailbox is full"),
        (Category.PROTOCOL, "[OVERQUOTA] full", "The mailbox is full"),
        (Category.CONFIG, "[TRYCREATE] no such folder", "The folder “Offers” is not on the server any more."),
        (Category.PROTOCOL, "I would rather not", "The server refused it: I would rather not"),
    ],
)
def test_refused_move_says_why_and_leaves_the_message(
    account: Account, server: Changing, category: Category, detail: str, said: str
) -> None:
    server.fails["move"] = Refused(category, "No.", detail=detail)
    move(account, 1)
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    state, reason = end(account)
    assert (state, reason.startswith(said)) == (ChangeState.REFUSED, True), reason
    assert len(messages_of(account)) == 3


def test_folder_that_can_only_be_read_refuses_changes(account: Account, server: Changing) -> None:
    server.opened = Opened(7, is_read_only=True)
    read(account, 1)
    synced(account, opening=server)
    assert end(account) == (ChangeState.REFUSED, "The server only lets “INBOX” be read.")
    assert "store" not in server.asked


def test_flag_that_the_server_does_not_keep_is_refused(account: Account, server: Changing) -> None:
    server.opened = Opened(7, permitted=frozenset({"\\seen"}))
    do(account, changes.mark, 1, flag="flagged", is_set=True)
    synced(account, opening=server)
    assert end(account) == (ChangeState.REFUSED, "The server does not keep this mark in “INBOX”.")


def test_what_is_put_off_again_and_again_is_refused_at_last(account: Account, server: Changing) -> None:
    server.fails["store"] = Refused(Category.UNAVAILABLE, "Not available.", detail="later")
    read(account, 1)
    for _ in range(MOST_TRIES):
        assert end(account)[0] is ChangeState.WAITING
        synced(account, opening=server)
    assert end(account) == (ChangeState.REFUSED, "The server refused it: later")


def test_change_that_makes_the_server_hang_up_does_not_stop_the_sync_for_ever(
    account: Account, server: Changing
) -> None:
    server.fails["move"] = MailError(Category.NETWORK, "The server closed the connection.")
    move(account, 1)
    read(account, 2)
    outcomes = [synced(account, opening=server).outcome for _ in range(MOST_TRIES + 1)]
    assert outcomes == [RunOutcome.FAILED] * MOST_TRIES + [RunOutcome.COMPLETE]
    assert [wish.state for wish in wishes(account)] == [ChangeState.REFUSED, ChangeState.DONE]
    assert len(messages_of(account)) == 3


@both_databases
def test_message_whose_new_place_is_not_told_is_read_again_there(account: Account, server: Changing) -> None:
    server.tells = False
    move(account, 1, 2)
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert [m.subject for m in messages_of(account, "Offers")] == ["Message 1", "Message 2"]
    assert [m.uid for m in messages_of(account)] == [3]
    assert {wish.state for wish in wishes(account)} == {ChangeState.DONE}


def test_place_that_is_taken_already_is_not_believed(account: Account, server: Changing) -> None:
    server.kept["Offers"].add(1)
    synced(account, opening=server)
    server.kept["Offers"].uidnext = 1
    before = messages_of(account, "Offers")[0].id
    move(account, 2)
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert [m.id for m in messages_of(account, "Offers")] == [before]
    assert [m.uid for m in messages_of(account)] == [1, 3]


def test_pushed_flag_after_a_move_follows_the_message(account: Account, server: Changing) -> None:
    server.fails["move"] = Refused(Category.UNAVAILABLE, "Not available.", detail="later")
    move(account, 1)
    synced(account, opening=server)
    read(account, 1)
    server.fails.clear()
    assert synced(account, opening=server).pushed == 2
    assert flags_of(account, "Offers") == {1: "\\Seen"}
    assert server.kept["Offers"].messages[1].flags == {"\\Seen"}


@both_databases
def test_taken_back_is_as_if_it_had_never_been(account: Account, server: Changing) -> None:
    read(account, 1, 2)
    move(account, 3)
    with db.transaction() as session:
        row = session.get(Account, account.id)
        ids = [wish.id for wish in wishes(account)]
        assert changes.take_back(session, row, changes=ids) == 3
        with pytest.raises(NotFound):
            changes.take_back(session, row, changes=ids)
    assert (flags_of(account), folder_of(account).unread) == ({1: "", 2: "", 3: ""}, 3)
    assert synced(account, opening=server).pushed == 0


def test_what_was_asked_for_in_the_last_moment_makes_the_account_due(account: Account, server: Changing) -> None:
    server.before = lambda word, count: read(account, 1) if word == "close" else None
    synced(account, opening=server)
    due = account_now(account).next_sync_at
    assert due is not None
    assert due <= db.now()
    server.before = lambda word, count: None
    assert synced(account, opening=server).pushed == 1
    assert account_now(account).next_sync_at > db.now()


def test_wish_for_a_folder_survives_the_choice_of_folders(account: Account) -> None:
    with db.transaction() as session:
        row = session.get(Account, account.id)
        new_folders.create_folder(session, row, name="Lamps", parent_id=None, actor=SYSTEM)
        service.choose_folders(session, row, active={folder_of(account).id}, roles={}, actor=SYSTEM)
    assert folder_of(account, "Lamps").is_wished


def test_deleted_waits_for_its_trash_and_is_told_when_there_will_be_none(account: Account, server: Changing) -> None:
    do(account, changes.remove, 1)
    assert folder_of(account, "Trash").role is Role.TRASH
    synced(account, opening=server)
    assert end(account)[0] is ChangeState.WAITING
    with db.transaction() as session:
        session.get(Folder, folder_of(account, "Trash").id).trouble = "The folder could not be created: no"
    synced(account, opening=server)
    assert end(account) == (ChangeState.REFUSED, "The folder could not be created: no")


def test_pop3_takes_no_changes(account: Account) -> None:
    with db.transaction() as session:
        row = session.get(Account, account.id)
        row.protocol = mail.ServerProtocol.POP3
        with pytest.raises(RuleBroken, match="POP3"):
            changes.mark(session, row, messages=[1], flag="read", is_set=True, actor=SYSTEM)
        with pytest.raises(RuleBroken, match="POP3"):
            new_folders.create_folder(session, row, name="Lamps", parent_id=None, actor=SYSTEM)
        session.rollback()
