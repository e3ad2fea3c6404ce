"""The sync of a POP3 account against a real Dovecot."""

import os
import signal
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from mailadmin import db, leases
from mailadmin.accounts.models import Health, Window
from mailadmin.mail.types import Envelope
from mailadmin.sync import numbering
from mailadmin.sync.models import RunOutcome
from mailadmin.sync.run import open_incoming, perform
from tests.conftest import both_databases
from tests.servers.dovecot import a_message
from tests.sync.factories import Box, a_run, account_now, change, folder_of, messages_of, stored_run, synced
from tests.sync.pop_factories import PopBox, names_of, subjects


@pytest.fixture
def popbox(box: Box) -> PopBox:
    return PopBox(box.dovecot, box.user)


@both_databases
def test_first_sync_stores_what_the_server_has_and_leaves_it_as_it_was(popbox: PopBox) -> None:
    popbox.deliver(10)
    account = popbox.account()
    run = synced(account)
    assert (run.outcome, run.new, run.stored) == (RunOutcome.COMPLETE, 10, 10)
    assert subjects(account) == [f"Message {n}" for n in range(1, 11)]
    folder, now = folder_of(account), account_now(account)
    assert (folder.is_complete, folder.trouble, folder.messages, folder.unread) == (True, "", 10, 0)
    assert (now.health, now.stored) == (Health.HEALTHY, 10)
    assert popbox.flags() == dict.fromkeys(range(1, 11), "")


@both_databases
def test_second_sync_follows_what_came_and_what_went(popbox: PopBox) -> None:
    popbox.deliver(7)
    account = popbox.account()
    synced(account)
    popbox.do(("STORE", "2,5", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
    popbox.deliver(2)
    run = synced(account)
    assert (run.outcome, run.new, run.changed, run.gone, run.stored) == (RunOutcome.COMPLETE, 2, 0, 2, 7)
    assert set(subjects(account)) == popbox.subjects()
    assert sorted(names_of(account).values()) == [message.uid for message in messages_of(account)]
    assert synced(account).new == 0


@both_databases
def test_killed_run_is_resumed_without_loss_or_doubles(popbox: PopBox) -> None:
    popbox.deliver(14)
    account = popbox.account()
    run = a_run(account)

    def opening(leg: Any) -> Any:
        real = open_incoming(leg)
        envelopes, batches = real.envelopes, []

        def dying(uids: Sequence[int]) -> Iterator[Envelope]:
            batches.append(uids)
            if len(batches) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return envelopes(uids)

        real.envelopes = dying  # type: ignore[method-assign]
        return real

    if (child := os.fork()) == 0:
        perform(run.id, batch=3, opening=opening)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [message.uid for message in messages_of(account)] == list(range(6, 15))
    with db.transaction() as session:
        assert leases.break_dead(session) == 1
    popbox.deliver(1)
    perform(run.id, batch=3)
    assert (stored_run(run).outcome, stored_run(run).stored) == (RunOutcome.COMPLETE, 15)
    assert sorted(subjects(account)) == sorted(popbox.subjects())


def test_from_now_on_wants_nothing_that_was_there(popbox: PopBox) -> None:
    old = [a_message(n, moment=db.now() - timedelta(hours=2)) for n in range(101, 105)]
    popbox.dovecot.deliver(old, user=popbox.user)
    account = popbox.account(window=Window.NOW)
    assert synced(account).stored == 0
    popbox.deliver(2)
    assert (synced(account).new, len(messages_of(account))) == (2, 2)
    assert folder_of(account).is_complete


def test_window_of_months_reads_every_header_once(popbox: PopBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is the one in the topmost Received, whatever the sender's Date says."""
    received = (
        "Received: from a by b; {:%d %b %Y %H:%M:%S} +0000\r\nReceived: from c by d; 1 Jan 2001 00:00:00 +0000\r\n"
    )
    ages = (400, 1, 300, 20, 200)
    for n, days in enumerate(ages, 1):
        top = received.format(db.now() - timedelta(days=days)).encode()
        popbox.dovecot.append(top + a_message(n), user=popbox.user)
    account = popbox.account(window=Window.THREE_MONTHS)
    run = synced(account, batch=2)
    assert (run.outcome, subjects(account)) == (RunOutcome.COMPLETE, ["Message 2", "Message 4"])
    assert sorted(names_of(account).values()) == [-5, -3, -1, 2, 4]
    assert folder_of(account).messages == 5
    with monkeypatch.context() as patch:
        patch.setattr(numbering.Numbered, "envelopes", None)
        assert synced(account).outcome is RunOutcome.COMPLETE
    change(account, window=Window.EVERYTHING, since=None)
    assert synced(account).new == 3
    assert subjects(account) == [f"Message {n}" for n in range(1, 6)]
    assert min(names_of(account).values()) == 1
