"""One folder against a server in memory that lies, hides and changes: nothing is claimed that is not so."""

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts.models import Account, Window
from mailadmin.mail import types as mail
from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Envelope
from mailadmin.sync import closing
from mailadmin.sync.models import Message, RunOutcome
from mailadmin.sync.run import perform
from tests.conftest import both_databases
from tests.sync.factories import Kept, MemoryServer, a_run, an_account, folder_of, messages_of, stored_run, synced


def uids(account: Account) -> list[int]:
    return [message.uid for message in messages_of(account)]


@pytest.fixture
def server(booted: object) -> MemoryServer:
    inbox = Kept()
    inbox.add(*range(1, 11))
    return MemoryServer(INBOX=inbox)


@pytest.fixture
def inbox(server: MemoryServer) -> Kept:
    return server.kept["INBOX"]


def test_newest_messages_come_first_and_in_batches(server: MemoryServer) -> None:
    synced(an_account(), batch=4, opening=server)
    assert [asked for asked in server.asked if isinstance(asked, list)] == [[10, 9, 8, 7], [6, 5, 4, 3], [2, 1]]


def test_folder_that_did_not_change_is_only_opened(server: MemoryServer) -> None:
    account = an_account()
    synced(account, opening=server)
    server.asked.clear()
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert server.asked == ["list", "examine INBOX", "close"]


def test_folder_without_modseq_is_listed_every_time(server: MemoryServer, inbox: Kept) -> None:
    inbox.modseq = None
    account = an_account()
    synced(account, opening=server)
    inbox.messages[3] = Envelope(3, flags=frozenset({"\\SEEN", "\\Recent", "$Later"}))
    assert synced(account, opening=server).changed == 1
    third = messages_of(account)[2]
    assert (third.is_read, third.flags) == (True, "$Later \\SEEN")


def test_wider_window_is_not_taken_for_unchanged(server: MemoryServer) -> None:
    account = an_account(window=Window.ONE_MONTH)
    synced(account, opening=server)
    assert uids(account) == []
    with db.transaction() as session:
        found = session.get(Account, account.id)
        found.window, found.since = Window.EVERYTHING, None
    synced(account, opening=server)
    assert uids(account) == list(range(1, 11))


@both_databases
def test_list_that_is_too_short_deletes_nothing_and_is_partial(server: MemoryServer, inbox: Kept) -> None:
    account = an_account()
    synced(account, opening=server)
    del inbox.messages[4]
    inbox.lie = 1
    inbox.add(11)
    run = synced(account, opening=server)
    assert (run.outcome, run.gone, run.new) == (RunOutcome.PARTIAL, 0, 1)
    assert "The server counts 11 messages but lists 10" in run.reason
    assert 4 in uids(account)
    inbox.lie = 0
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert 4 not in uids(account)


def test_mail_that_arrives_between_count_and_list_is_no_trouble(server: MemoryServer, inbox: Kept) -> None:
    def arrive(word: str, batches: int) -> None:
        if word == "search" and 11 not in inbox.messages:
            inbox.add(11)

    server.before = arrive
    run = synced(account := an_account(), opening=server)
    assert (run.outcome, run.stored) == (RunOutcome.COMPLETE, 11)
    assert 11 in uids(account)


@both_databases
def test_message_that_goes_away_before_it_is_fetched_is_not_missed(server: MemoryServer, inbox: Kept) -> None:
    def vanish(word: str, batches: int) -> None:
        if word == "envelopes":
            inbox.messages.pop(2, None)

    server.before = vanish
    run = synced(account := an_account(), opening=server)
    assert (run.outcome, run.stored, run.unreadable) == (RunOutcome.COMPLETE, 9, 0)
    assert 2 not in uids(account)


@both_databases
def test_message_that_is_never_delivered_is_stored_as_unreadable(server: MemoryServer, inbox: Kept) -> None:
    inbox.silent = {5}
    inbox.messages[6] = Envelope(6, unreadable="The answer of the server for this message cannot be read.")
    run = synced(account := an_account(), opening=server)
    assert (run.outcome, run.stored, run.unreadable) == (RunOutcome.COMPLETE, 10, 2)
    unreadable = {m.uid: m.unreadable for m in messages_of(account) if m.unreadable}
    assert unreadable[5] == "The server lists this message but does not deliver it."
    assert unreadable[6].startswith("The answer of the server")


@both_databases
def test_unreadable_message_that_is_gone_leaves_no_row(server: MemoryServer, inbox: Kept) -> None:
    inbox.messages[6] = Envelope(6, unreadable="The server could not deliver this message.")

    def vanish(word: str, batches: int) -> None:
        if word == "examine INBOX" and batches:
            inbox.messages.pop(6, None)

    server.before = vanish
    run = synced(account := an_account(), opening=server)
    assert (run.outcome, run.stored, run.unreadable) == (RunOutcome.COMPLETE, 9, 0)
    assert 6 not in uids(account)


@both_databases
def test_poison_in_every_column_is_stored_clean(server: MemoryServer, inbox: Kept) -> None:
    poison = "a\0b\ud800c" + "é" * 70_000
    inbox.add(11, subject=poison, from_name=poison, to=poison, message_id=poison, size=2**70, flags=frozenset({poison}))
    inbox.add(12, size=-5, unreadable="")
    run = synced(account := an_account(), opening=server)
    assert (run.outcome, run.stored) == (RunOutcome.COMPLETE, 12)
    worst = messages_of(account)[10]
    assert worst.subject.startswith("ab?cé")
    assert (len(worst.subject), worst.size) == (998, 2**63 - 1)


def test_impossible_uids_are_not_believed(server: MemoryServer, inbox: Kept) -> None:
    for uid in (0, -1, 2**32, 2**63):
        inbox.messages[uid] = Envelope(uid)
    run = synced(account := an_account(), opening=server)
    assert run.outcome is RunOutcome.PARTIAL
    assert uids(account) == list(range(1, 11))


def test_folder_without_uidvalidity_is_left_out_with_a_word(server: MemoryServer, inbox: Kept) -> None:
    inbox.uidvalidity = 0
    run = synced(an_account(), opening=server)
    assert run.outcome is RunOutcome.PARTIAL
    assert "UIDVALIDITY" in run.reason


# A new UIDVALIDITY.


@both_databases
def test_people_see_the_old_mail_until_the_new_numbering_is_read(server: MemoryServer, inbox: Kept) -> None:
    account = an_account()
    synced(account, opening=server)
    inbox.uidvalidity, inbox.messages = 8, {}
    inbox.add(*range(101, 107))

    def look(word: str, batches: int) -> None:
        if word == "envelopes" and batches == 2:
            assert uids(account) == list(range(1, 11))
            assert folder_of(account).stored == 10
            raise MailError(Category.NETWORK, "The connection to the server broke.")

    server.before, server.asked = look, []
    assert synced(account, opening=server).outcome is RunOutcome.FAILED
    assert uids(account) == list(range(1, 11))
    server.before = lambda word, batches: None
    run = synced(account, opening=server)
    assert (run.outcome, run.new, run.stored) == (RunOutcome.COMPLETE, 3, 6)
    assert uids(account) == list(range(101, 107))


@both_databases
def test_new_numbering_that_is_not_whole_does_not_take_the_place_of_the_old(
    server: MemoryServer, inbox: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "SWEEP", 4)
    account = an_account()
    synced(account, opening=server)
    inbox.uidvalidity, inbox.lie, inbox.messages = 8, 1, {}
    inbox.add(*range(101, 107))
    assert synced(account, opening=server).outcome is RunOutcome.PARTIAL
    assert uids(account) == list(range(1, 11))
    inbox.lie = 0
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    with db.reading() as session:
        assert sorted(session.scalars(select(Message.uid))) == list(range(101, 107))  # the old ones were swept away


@both_databases
def test_numbering_that_changes_again_in_the_middle_mixes_nothing(server: MemoryServer, inbox: Kept) -> None:
    account = an_account()
    synced(account, opening=server)

    def renumber(word: str, batches: int) -> None:
        if word == "envelopes" and batches == 2:
            raise MailError(Category.NETWORK, "The connection to the server broke.")

    inbox.uidvalidity, inbox.messages = 8, {}
    inbox.add(*range(1, 7), subject="of the second")
    server.before, server.asked = renumber, []
    synced(account, opening=server)
    inbox.uidvalidity, inbox.messages = 9, {}
    inbox.add(*range(1, 5), subject="of the third")
    server.before = lambda word, batches: None
    run = synced(account, opening=server)
    assert (run.outcome, run.stored) == (RunOutcome.COMPLETE, 4)
    assert {m.subject for m in messages_of(account)} == {"of the third"}
    assert folder_of(account).generation == 2


def test_numbering_that_changes_between_two_openings_begins_the_folder_again(server: MemoryServer, inbox: Kept) -> None:
    inbox.silent = {3}

    def renumber(word: str, batches: int) -> None:
        if word == "examine INBOX" and batches:
            inbox.uidvalidity, inbox.silent = 8, set()

    server.before = renumber
    run = synced(account := an_account(), opening=server)
    assert (run.outcome, run.stored) == (RunOutcome.COMPLETE, 10)
    assert folder_of(account).uidvalidity == 8


def test_wish_for_new_mail_survives_a_new_numbering(server: MemoryServer, inbox: Kept) -> None:
    account = an_account(window=Window.NOW)
    synced(account, opening=server)
    inbox.add(11, received_at=db.now())
    assert synced(account, opening=server).stored == 1
    inbox.uidvalidity = 8
    assert synced(account, opening=server).stored == 1
    assert uids(account) == [11]


# Trouble of one folder, and of all.


def a_second_folder(server: MemoryServer) -> list[mail.Folder]:
    server.kept["Sent"] = Kept()
    server.kept["Sent"].add(1, 2)
    return [mail.Folder("INBOX", "INBOX", "/"), mail.Folder("Sent", "Sent", "/")]


@both_databases
def test_folder_that_is_refused_does_not_stop_the_others(server: MemoryServer, inbox: Kept) -> None:
    inbox.refuses = Refused(Category.PERMISSION, "The server does not permit this for this account.")
    account = an_account(folders=a_second_folder(server))
    run = synced(account, opening=server)
    assert (run.outcome, run.stored) == (RunOutcome.PARTIAL, 2)
    assert run.reason == "INBOX: The server does not permit this for this account."
    inbox.refuses = None
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert folder_of(account).trouble == ""


def test_server_that_says_too_much_too_fast_ends_the_run(server: MemoryServer, inbox: Kept) -> None:
    inbox.refuses = Refused(Category.THROTTLED, "The server limits how often or how much this account may be used.")
    run = synced(an_account(folders=a_second_folder(server)), opening=server)
    assert (run.outcome, run.category) == (RunOutcome.FAILED, Category.THROTTLED)
    assert "examine Sent" not in server.asked


def test_folder_that_breaks_the_connection_comes_last_next_time(server: MemoryServer, inbox: Kept) -> None:
    folders = [*a_second_folder(server), mail.Folder("Archive", "Archive", "/")]
    server.kept["Archive"] = Kept(refuses=MailError(Category.PROTOCOL, "The server answered nonsense."))
    account = an_account(folders=folders)
    assert synced(account, opening=server).outcome is RunOutcome.FAILED
    assert folder_of(account, "Sent").synced_at is None
    assert synced(account, opening=server).outcome is RunOutcome.FAILED
    assert folder_of(account, "Sent").is_complete


def test_folder_that_is_chosen_while_the_run_goes_on_is_read_too(server: MemoryServer) -> None:
    account = an_account(folders=a_second_folder(server))
    with db.transaction() as session:
        session.get(type(folder_of(account)), folder_of(account, "Sent").id).is_active = False

    def choose(word: str, batches: int) -> None:
        if word == "search":
            with db.transaction() as session:
                session.get(type(folder_of(account)), folder_of(account, "Sent").id).is_active = True

    server.before = choose
    assert synced(account, opening=server).stored == 12


def test_empty_list_of_folders_is_not_believed(server: MemoryServer) -> None:
    account = an_account()
    synced(account, opening=server)
    server.kept.clear()
    run = synced(account, opening=server)
    assert (run.outcome, run.category) == (RunOutcome.FAILED, Category.PROTOCOL)
    assert not folder_of(account).is_gone


def test_progress_can_be_watched(server: MemoryServer) -> None:
    account, seen = an_account(), []

    def watch(word: str, batches: int) -> None:
        folder = folder_of(account)
        if word == "envelopes":
            seen.append((folder.run_done, folder.run_total, folder.stored))

    server.before = watch
    run = a_run(account)
    perform(run.id, batch=4, opening=server)
    assert seen == [(0, 10, 0), (4, 10, 4), (8, 10, 8)]
    assert stored_run(run).outcome is RunOutcome.COMPLETE
