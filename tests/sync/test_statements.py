"""What a run asks the database, counted: seconds are chance on a busy machine, statements are not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest
from sqlalchemy import event, update

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail import types as mail
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Changes
from mailadmin.sync.models import Message, RunOutcome
from mailadmin.sync.run import Opening, perform
from tests.conftest import both_databases
from tests.sync.factories import Kept, MemoryServer, a_run, an_account, folder_of, messages_of, stored_run, synced

pytestmark = pytest.mark.usefixtures("booted")


@contextmanager
def asked_of_the_database() -> Iterator[list[str]]:
    """The statements that are sent meanwhile, with COMMIT where something may have been written."""
    engine, asked = db.database().engine, []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            asked.append(statement)

    def commit(_connection: Any) -> None:
        asked.append("COMMIT")

    listeners = ("before_cursor_execute", note), ("commit", commit)
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        yield asked
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)


def a_server(*folders: str, messages: Sequence[int] = range(1, 11)) -> MemoryServer:
    made = MemoryServer(**{name: Kept() for name in folders})
    for kept in made.kept.values():
        kept.add(*messages)
    made.tells_status = True
    return made


def the_account(server: MemoryServer, address: str = "billing@example.net") -> Account:
    return an_account(address, folders=[mail.Folder(name, name, "/") for name in server.kept])


def commits_of_a_first_run(address: str, server: MemoryServer) -> int:
    account = the_account(server, address)
    with asked_of_the_database() as asked:
        assert synced(account, batch=50, opening=server).outcome is RunOutcome.COMPLETE
    assert len(messages_of(account)) == 10
    return asked.count("COMMIT")


def test_a_run_without_news_asks_thirty_things_in_three_transactions_that_write() -> None:
    server = a_server("INBOX", "Sent", "Archive", "Projects", "Travel")
    account = the_account(server)
    synced(account, batch=50, opening=server)
    with db.transaction() as session:
        session.execute(update(Message).values(has_text=True))  # The server in memory has no texts.
    run = a_run(account)
    with asked_of_the_database() as asked:
        perform(run.id, opening=cast(Opening, server))
    assert stored_run(run).outcome is RunOutcome.COMPLETE
    assert asked.count("COMMIT") == 3
    assert len(asked) - asked.count("COMMIT") <= 30


@both_databases
def test_a_few_changes_are_stored_in_one_transaction() -> None:
    server = a_server("INBOX")
    inbox = server.kept["INBOX"]
    account = the_account(server)
    synced(account, batch=50, opening=server)
    with asked_of_the_database() as asked:
        synced(account, batch=50, opening=server)
    unchanged = asked.count("COMMIT")
    inbox.add(11, 12)
    del inbox.messages[3]
    inbox.touch()
    told = {uid: envelope.flags for uid, envelope in inbox.messages.items() if uid > 10}
    server.tells_changes = lambda kept, since: Changes(told, ((3, 3),))
    with asked_of_the_database() as asked:
        run = synced(account, batch=50, opening=server)
    assert (run.outcome, run.new, run.gone) == (RunOutcome.COMPLETE, 2, 1)
    beside = 2  # What is new is settled, and has its headings written.
    assert asked.count("COMMIT") == unchanged + 1 + beside


@both_databases
def test_each_folder_with_little_mail_is_one_transaction_of_a_first_run() -> None:
    one = commits_of_a_first_run("one@example.net", a_server("INBOX"))
    assert commits_of_a_first_run("three@example.net", a_server("INBOX", "Sent", "Archive")) == one + 2


@both_databases
def test_first_pass_that_breaks_off_leaves_the_folder_as_it_was() -> None:
    def hang_up(word: str, _: int) -> None:
        if word == "envelopes":
            raise MailError(Category.NETWORK, "The connection broke.")

    server = a_server("INBOX")
    server.before = hang_up
    account = the_account(server)
    assert synced(account, batch=50, opening=server).outcome is RunOutcome.FAILED
    folder = folder_of(account)
    assert (folder.uidvalidity, folder.is_complete, messages_of(account)) == (None, False, [])
    server.before = lambda word, count: None
    assert synced(account, batch=50, opening=server).outcome is RunOutcome.COMPLETE
    assert len(messages_of(account)) == 10
