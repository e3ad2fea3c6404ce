"""What is not looked at again: every shortcut against a server in memory that tells everything, or lies about it."""

from collections.abc import Callable

import pytest
from sqlalchemy import insert, select

from mailadmin import db
from mailadmin.accounts.models import Account, Window
from mailadmin.mail import types as mail
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Changes, Envelope
from mailadmin.sync import rows
from mailadmin.sync.models import Folder, Message, RunOutcome
from tests.conftest import both_databases
from tests.sync.factories import Kept, MemoryServer, an_account, flags_of, folder_of, messages_of, synced

SEEN, FLAGGED = frozenset({"\\Seen"}), frozenset({"\\Seen", "\\Flagged"})
Telling = Callable[[Kept, int], Changes]


class Book:
    """What happened to a folder in memory, as a server with QRESYNC remembers it."""

    def __init__(self, kept: Kept, *, vanished: bool = True) -> None:
        self.kept, self.vanished = kept, vanished
        self.changed: dict[int, int] = {}
        self.gone: dict[int, int] = {}

    def add(self, *uids: int) -> None:
        self.kept.add(*uids)
        self._note(*uids)

    def flag(self, *uids: int, flags: frozenset[str] = FLAGGED) -> None:
        self.kept.touch()
        for uid in uids:
            self.kept.messages[uid] = Envelope(uid, flags=flags, received_at=self.kept.messages[uid].received_at)
        self._note(*uids)

    def remove(self, *uids: int) -> None:
        self.kept.touch()
        for uid in uids:
            del self.kept.messages[uid]
            self.gone[uid] = self.kept.modseq or 0

    def _note(self, *uids: int) -> None:
        self.changed |= dict.fromkeys(uids, self.kept.modseq or 0)

    def tell(self, kept: Kept, since: int) -> Changes:
        listed = {u: kept.messages[u].flags for u, at in self.changed.items() if at > since and u in kept.messages}
        gone = tuple((uid, uid) for uid, at in self.gone.items() if at > since)
        return Changes(listed, gone if self.vanished else None)


@pytest.fixture
def server(booted: object) -> MemoryServer:
    inbox = Kept()
    inbox.add(*range(1, 11), flags=SEEN)
    made = MemoryServer(INBOX=inbox)
    made.tells_status = True
    return made


@pytest.fixture
def inbox(server: MemoryServer) -> Kept:
    return server.kept["INBOX"]


@pytest.fixture
def book(server: MemoryServer, inbox: Kept) -> Book:
    made = Book(inbox)
    server.tells_changes = made.tell
    return made


@pytest.fixture
def account(server: MemoryServer) -> Account:
    made = an_account()
    synced(made, opening=server)
    server.asked.clear()
    return made


def is_exact(account: Account, inbox: Kept) -> bool:
    """Whether our rows, and the sums of the folder, are what the server has."""
    folder, stored = folder_of(account), messages_of(account)
    sums = (folder.stored, folder.unread, folder.unreadable)
    on_server = {uid: rows.flag_text(envelope.flags) for uid, envelope in inbox.messages.items()}
    unread = sum("\\Seen" not in envelope.flags for envelope in inbox.messages.values())
    assert sums == (len(on_server), unread, sum(bool(message.unreadable) for message in stored))
    return flags_of(account) == on_server


def test_first_list_has_no_flags_since_messages_bring_theirs(server: MemoryServer, inbox: Kept) -> None:
    account = an_account()
    synced(account, batch=4, opening=server)
    assert "flags" not in server.asked
    assert is_exact(account, inbox)


def test_flag_that_changes_during_the_first_pass_comes_with_the_next(server: MemoryServer, inbox: Kept) -> None:
    def flag(word: str, batches: int) -> None:
        if word == "envelopes" and batches == 2 and inbox.messages[10].flags == SEEN:
            inbox.messages[10] = Envelope(10, flags=FLAGGED, received_at=inbox.messages[10].received_at)
            inbox.touch()

    server.before = flag
    account = an_account()
    synced(account, batch=4, opening=server)
    assert synced(account, opening=server).changed == 1
    assert is_exact(account, inbox)


# The whole folder, without opening it.


def test_folder_whose_status_says_that_nothing_changed_is_not_opened(account: Account, server: MemoryServer) -> None:
    before = folder_of(account).synced_at
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert server.asked == ["list", "close"]
    assert folder_of(account).synced_at > before


@pytest.mark.parametrize("what", ["uidvalidity", "uidnext", "modseq", "lie"])
def test_each_of_the_four_facts_opens_the_folder(
    account: Account, server: MemoryServer, inbox: Kept, what: str
) -> None:
    setattr(inbox, what, getattr(inbox, what) + 1)
    synced(account, opening=server)
    assert "examine INBOX" in server.asked


def test_status_without_modseq_opens_the_folder(account: Account, server: MemoryServer, inbox: Kept) -> None:
    inbox.modseq = None
    synced(account, opening=server)
    assert {"examine INBOX", "flags"} <= set(server.asked)


def test_folder_that_was_not_complete_is_opened_all_the_same(account: Account, server: MemoryServer) -> None:
    with db.transaction() as session:
        session.get_one(Folder, folder_of(account).id).is_complete = False
    synced(account, opening=server)
    assert "flags" in server.asked


def test_another_window_opens_the_folder(account: Account, server: MemoryServer) -> None:
    with db.transaction() as session:
        found = session.get_one(Account, account.id)
        found.window, found.since = Window.ONE_MONTH, db.now()
    synced(account, opening=server)
    assert "search" in server.asked


@both_databases
def test_rows_that_nobody_sees_are_swept_away_though_nothing_changed(account: Account, server: MemoryServer) -> None:
    folder = folder_of(account)
    with db.transaction() as session:
        values = [{"folder_id": folder.id, "generation": 7, "uid": uid} for uid in (1, 2)]
        session.connection().execute(insert(Message), values)
    synced(account, opening=server)
    with db.reading() as session:
        assert set(session.scalars(select(Message.generation))) == {folder.generation}


# What changed, and nothing else.


@both_databases
def test_new_mail_flags_and_expunges_are_followed_without_a_list(
    account: Account, server: MemoryServer, inbox: Kept, book: Book
) -> None:
    book.add(11, 12)
    book.flag(3, 4)
    book.flag(5, flags=frozenset())
    book.remove(1, 7)
    run = synced(account, opening=server)
    assert (run.outcome, run.new, run.changed, run.gone, run.stored) == (RunOutcome.COMPLETE, 2, 3, 2, 10)
    assert {"flags", "search"}.isdisjoint(map(str, server.asked))
    assert is_exact(account, inbox)
    server.asked.clear()
    synced(account, opening=server)
    assert server.asked == ["list", "close"]


@both_databases
def test_as_many_new_as_gone_are_noticed_where_nobody_tells_what_is_gone(
    account: Account, server: MemoryServer, inbox: Kept, book: Book
) -> None:
    book.vanished = False
    book.add(11)
    book.remove(4)
    book.flag(5)
    run = synced(account, opening=server)
    assert (run.outcome, run.new, run.changed, run.gone) == (RunOutcome.COMPLETE, 1, 1, 1)
    assert "flags" not in server.asked
    assert is_exact(account, inbox)


def test_flags_and_new_mail_need_no_list_of_uids_where_nothing_is_gone(
    account: Account, server: MemoryServer, inbox: Kept, book: Book
) -> None:
    book.vanished = False
    book.add(11)
    book.flag(5)
    synced(account, opening=server)
    assert {"flags", "search"}.isdisjoint(map(str, server.asked))
    assert is_exact(account, inbox)


def forgets_a_new_one(kept: Kept, told: Changes) -> Changes:
    return Changes({uid: flags for uid, flags in told.flags.items() if uid != 11}, told.gone)


def forgets_one_that_is_gone(kept: Kept, told: Changes) -> Changes:
    return Changes(told.flags, tuple(pair for pair in told.gone or () if pair != (4, 4)))


def calls_one_gone_that_is_there(kept: Kept, told: Changes) -> Changes:
    return Changes(told.flags, ((2, 2), *(told.gone or ())))


def calls_everything_gone(kept: Kept, told: Changes) -> Changes:
    return Changes(told.flags, ((1, 2**32 - 1),))


def calls_one_changed_that_is_gone(kept: Kept, told: Changes) -> Changes:
    return Changes({**told.flags, 4: SEEN}, told.gone)


@both_databases
@pytest.mark.parametrize(
    "lie",
    [
        forgets_a_new_one,
        forgets_one_that_is_gone,
        calls_one_gone_that_is_there,
        calls_everything_gone,
        calls_one_changed_that_is_gone,
    ],
)
def test_what_cannot_be_true_is_compared_in_full_in_the_same_pass(
    account: Account, server: MemoryServer, inbox: Kept, book: Book, lie: Callable[[Kept, Changes], Changes]
) -> None:
    book.add(11)
    book.remove(4)
    server.tells_changes = lambda kept, since: lie(kept, book.tell(kept, since))
    run = synced(account, opening=server)
    assert run.outcome is RunOutcome.COMPLETE
    assert "flags" in server.asked
    assert is_exact(account, inbox)


def test_modseq_that_shrinks_is_not_believed(account: Account, server: MemoryServer, inbox: Kept, book: Book) -> None:
    inbox.messages[3] = Envelope(3, flags=FLAGGED, received_at=inbox.messages[3].received_at)
    assert inbox.modseq
    inbox.modseq -= 1
    synced(account, opening=server)
    assert "flags" in server.asked
    assert is_exact(account, inbox)


def test_new_numbering_is_never_asked_what_changed(
    account: Account, server: MemoryServer, inbox: Kept, book: Book
) -> None:
    inbox.uidvalidity, inbox.messages = 8, {}
    book.add(*range(1, 4))
    synced(account, opening=server)
    assert not any("changes" in str(asked) for asked in server.asked)
    assert is_exact(account, inbox)


def test_mail_that_arrives_while_changes_are_told_comes_with_the_next_pass(
    account: Account, server: MemoryServer, inbox: Kept, book: Book
) -> None:
    book.flag(3)

    def arrive(word: str, batches: int) -> None:
        if word.startswith("changes") and 11 not in inbox.messages:
            book.add(11)

    server.before = arrive
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert is_exact(account, inbox)


def test_message_that_goes_while_changes_are_followed_leaves_no_row(
    account: Account, server: MemoryServer, inbox: Kept, book: Book
) -> None:
    book.add(11, 12)

    def vanish(word: str, batches: int) -> None:
        if word == "envelopes" and 12 in inbox.messages:
            book.remove(12)

    server.before = vanish
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert is_exact(account, inbox)


@both_databases
def test_pass_that_breaks_off_among_changes_is_followed_by_a_full_one(
    account: Account, server: MemoryServer, inbox: Kept, book: Book
) -> None:
    book.add(*range(11, 18))
    book.flag(2, flags=frozenset())

    def break_off(word: str, batches: int) -> None:
        if word == "envelopes" and batches == 2:
            raise MailError(Category.NETWORK, "The connection to the server broke.")

    server.before = break_off
    assert synced(account, opening=server).outcome is RunOutcome.FAILED
    server.before = lambda word, batches: None
    server.asked.clear()
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert "flags" in server.asked
    assert is_exact(account, inbox)


def test_window_takes_the_uids_from_the_server_and_the_flags_from_what_changed(
    server: MemoryServer, inbox: Kept, book: Book
) -> None:
    for uid in range(6, 11):
        inbox.messages[uid] = Envelope(uid, flags=SEEN, received_at=db.now())
    account = an_account(window=Window.ONE_MONTH, folders=[mail.Folder("INBOX", "INBOX", "/")])
    synced(account, opening=server)
    server.asked.clear()
    book.flag(7)
    book.remove(2, 8)
    inbox.add(11, flags=SEEN, received_at=db.now())
    book.changed[11] = inbox.modseq or 0
    run = synced(account, opening=server)
    assert (run.outcome, run.new, run.changed, run.gone) == (RunOutcome.COMPLETE, 1, 1, 1)
    assert "flags" not in server.asked
    assert flags_of(account) == {6: "\\Seen", 7: "\\Flagged \\Seen", 9: "\\Seen", 10: "\\Seen", 11: "\\Seen"}
