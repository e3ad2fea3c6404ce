"""The numbers of POP3 messages, against a server in memory that renames, repeats and lies."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from mailadmin import db
from mailadmin.accounts.models import Account, Window
from mailadmin.config import Settings
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Envelope, ServerProtocol
from mailadmin.permissions import SYSTEM
from mailadmin.sync import numbering, service
from mailadmin.sync.models import RunOutcome
from mailadmin.sync.run import perform
from tests.conftest import both_databases
from tests.sync.factories import (
    MemoryServer,
    a_run,
    account_now,
    an_account,
    folder_of,
    messages_of,
    stored_run,
    synced,
)
from tests.sync.pop_factories import INBOX, POP3, Drop, Visit, names_of, subjects


@pytest.fixture
def drop(booted: Settings) -> Drop:
    made = Drop()
    made.add(*range(1, 8))
    return made


@pytest.fixture
def account(drop: Drop) -> Account:
    return an_account(server=POP3, folders=[INBOX])


def test_numbers_ascend_in_the_order_of_the_list_and_newest_mail_is_read_first(drop: Drop, account: Account) -> None:
    synced(account, batch=3, opening=drop)
    assert drop.asked == [7, 6, 5, 4, 3, 2, 1]
    assert names_of(account) == {f"name{n}": n for n in range(1, 8)}
    assert all(message.is_read for message in messages_of(account))


def test_message_keeps_its_number_while_others_come_and_go(drop: Drop, account: Account) -> None:
    synced(account, opening=drop)
    del drop.mails["name1"], drop.mails["name7"]
    synced(account, opening=drop)
    drop.add(7, 8)  # The name of a message that is gone may come again.
    drop.asked.clear()
    synced(account, opening=drop)
    assert names_of(account) == {**{f"name{n}": n for n in range(2, 7)}, "name7": 8, "name8": 9}
    assert drop.asked == [7, 6]


@both_databases
@pytest.mark.parametrize("lie", [-2, 3])
def test_count_that_disagrees_with_the_list_deletes_nothing_and_is_never_healthy(
    drop: Drop, account: Account, lie: int
) -> None:
    synced(account, opening=drop)
    del drop.mails["name3"]
    drop.lie = lie
    run = synced(account, opening=drop)
    assert (run.outcome, run.gone, run.stored) == (RunOutcome.PARTIAL, 0, 7)
    assert "counts" in folder_of(account).trouble
    drop.lie = 0
    assert (synced(account, opening=drop).gone, len(messages_of(account))) == (1, 6)


def test_copies_under_one_name_are_followed_once_and_told(drop: Drop, account: Account) -> None:
    drop.rename = lambda name: {"name5": "name4", "name6": "name4"}.get(name, name)
    for n in (4, 5, 6):
        drop.mails[f"name{n}"] = replace(drop.mails[f"name{n}"], size=77)
    run = synced(account, opening=drop)
    assert (run.outcome, run.stored) == (RunOutcome.COMPLETE, 5)
    assert folder_of(account).trouble == "2 copies of other messages are left out."
    assert synced(account, opening=drop).new == 0


def test_different_messages_under_one_name_are_never_called_complete(drop: Drop, account: Account) -> None:
    drop.rename = lambda name: {"name5": "name4"}.get(name, name)
    run = synced(account, opening=drop)
    assert (run.outcome, run.stored) == (RunOutcome.PARTIAL, 6)
    assert "by one name" in folder_of(account).trouble


@both_databases
def test_server_that_renames_everything_at_every_visit_loses_and_doubles_nothing(drop: Drop, account: Account) -> None:
    drop.rename = lambda name: f"{name} at visit {drop.sessions}"
    for _ in range(3):
        run = synced(account, opening=drop)
        assert (run.outcome, run.stored) == (RunOutcome.COMPLETE, 7)
        assert subjects(account) == [f"Message {n}" for n in range(1, 8)]
    assert "by other names" in folder_of(account).trouble
    assert len(names_of(account)) == 7


def test_renamed_old_mail_does_not_become_new(drop: Drop) -> None:
    account = an_account(server=POP3, folders=[INBOX], window=Window.NOW)
    assert synced(account, opening=drop).stored == 0
    drop.rename = lambda name: f"{name}, moved"
    drop.add(8, received_at=db.now() + timedelta(minutes=1))
    synced(account, opening=drop)
    assert subjects(account) == ["Message 8"]


def test_list_that_is_empty_for_a_moment_brings_no_old_mail_back_as_new(drop: Drop) -> None:
    account = an_account(server=POP3, folders=[INBOX], window=Window.NOW)
    synced(account, opening=drop)
    drop.add(8, received_at=db.now() + timedelta(minutes=1))
    synced(account, opening=drop)
    kept, drop.mails = drop.mails, {}
    assert synced(account, opening=drop).gone == 1
    drop.mails = kept
    synced(account, opening=drop)
    assert subjects(account) == ["Message 8"]


def test_mailbox_that_another_program_empties_is_followed_without_a_remark(drop: Drop, account: Account) -> None:
    synced(account, opening=drop)
    drop.mails = {}
    drop.add(21, 22)
    synced(account, opening=drop)
    assert (subjects(account), folder_of(account).trouble) == (["Message 21", "Message 22"], "")


@both_databases
def test_kill_between_new_names_and_the_next_generation_keeps_the_window(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new life of the names is stored, and the process dies before the pass says which generation it reads."""
    account = an_account(server=POP3, folders=[INBOX], window=Window.NOW)
    synced(account, opening=drop)
    drop.rename = lambda name: f"{name}, moved"
    run = a_run(account)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mailadmin.sync.passes.begin", die)
        with pytest.raises(KeyboardInterrupt):
            perform(run.id, opening=drop)
    assert "name1, moved" in names_of(account)
    perform(run.id, opening=drop)
    assert (stored_run(run).outcome, stored_run(run).stored) == (RunOutcome.COMPLETE, 0)
    assert folder_of(account).uidvalidity == numbering.HIGHEST - 1


def test_message_that_is_listed_and_not_delivered_is_unreadable(drop: Drop, account: Account) -> None:
    drop.silent = {"name4"}
    assert synced(account, opening=drop).outcome is RunOutcome.COMPLETE
    assert [message.uid for message in messages_of(account) if message.unreadable] == [4]


def test_account_that_changes_its_protocol_is_read_anew(drop: Drop, account: Account) -> None:
    server = MemoryServer()
    server.kept["INBOX"].add(*range(3, 6), subject="By IMAP")
    imap = an_account("sales@example.net")
    synced(imap, opening=server)
    with db.transaction() as session:
        row = session.get(Account, imap.id)
        row.servers[0].protocol = ServerProtocol.POP3
        row.protocol = ServerProtocol.POP3
    synced(imap, opening=drop)
    assert subjects(imap) == [f"Message {n}" for n in range(1, 8)]
    assert folder_of(imap).uidvalidity == numbering.HIGHEST


@both_databases
def test_account_that_is_read_again_from_the_beginning_has_everything_once(drop: Drop, account: Account) -> None:
    synced(account, opening=drop)
    with db.transaction() as session:
        service.reinitialise(session, session.get(Account, account.id), actor=SYSTEM)
    drop.asked.clear()
    run = synced(account, opening=drop)
    assert (run.outcome, run.stored, drop.asked) == (RunOutcome.COMPLETE, 7, [7, 6, 5, 4, 3, 2, 1])
    assert (subjects(account), folder_of(account).trouble) == ([f"Message {n}" for n in range(1, 8)], "")


def test_mail_without_any_date_is_within_every_window(drop: Drop) -> None:
    drop.add(8, received_at=None)
    account = an_account(server=POP3, folders=[INBOX], window=Window.ONE_MONTH)
    synced(account, opening=drop)
    assert subjects(account) == ["Message 8"]


def test_mailbox_is_not_held_longer_than_a_few_minutes_at_a_time(
    drop: Drop, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Visit.envelopes

    def slowly(self: Visit, uids: Sequence[int]) -> Iterator[Envelope]:
        yield from read(self, uids)
        if len(drop.asked) == 3:
            monkeypatch.setattr(Deadline, "is_over", True)

    monkeypatch.setattr(Visit, "envelopes", slowly)
    run = synced(account, batch=3, opening=drop)
    monkeypatch.undo()
    assert (run.outcome, run.new) == (RunOutcome.PARTIAL, 3)
    assert account_now(account).next_sync_at <= db.now()
    assert synced(account, batch=3, opening=drop).new == 4
    assert drop.asked == [7, 6, 5, 4, 3, 2, 1]


def test_refusal_in_the_middle_ends_the_run_and_keeps_what_came(drop: Drop, account: Account) -> None:
    real = Visit.envelopes

    class Throttled(Visit):
        def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
            if drop.asked:
                raise MailError(Category.THROTTLED, "Too much.")
            return real(self, uids)

    run = synced(account, batch=3, opening=lambda leg: Throttled(drop))
    assert (run.outcome, run.category, run.new) == (RunOutcome.FAILED, Category.THROTTLED, 3)
    assert synced(account, opening=drop).new == 4
