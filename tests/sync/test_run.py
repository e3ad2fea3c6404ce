"""The sync of an account against a real Dovecot, on both databases: what is stored is what the server has."""

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from email.header import Header
from typing import Any

import pytest

from mailadmin import db, leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Health, Window
from mailadmin.mail.errors import Category
from mailadmin.permissions import SYSTEM
from mailadmin.sync.models import RunOutcome, SyncRun
from mailadmin.sync.run import open_incoming, perform
from tests.conftest import both_databases
from tests.sync.factories import (
    Box,
    a_run,
    account_now,
    change,
    flags_of,
    folder_of,
    messages_of,
    stored_run,
    synced,
)


def numbers(run: SyncRun) -> tuple[Any, ...]:
    return run.outcome, run.new, run.changed, run.gone, run.stored


@both_databases
def test_first_sync_stores_what_the_server_has(box: Box) -> None:
    box.deliver(8)
    box.deliver(2, flags="FS")
    account = box.account()
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 10, 0, 0, 10)
    assert flags_of(account) == box.flags()
    assert {m.subject for m in messages_of(account)} == {f"Message {n}" for n in range(1, 11)}
    now = account_now(account)
    assert (now.stored, now.running_since, now.health) == (10, None, Health.HEALTHY)
    assert now.synced_at
    assert now.next_sync_at > db.now() + timedelta(minutes=4)


@both_databases
def test_second_sync_follows_new_mail_flags_and_expunges(box: Box) -> None:
    box.deliver(7)
    account = box.account()
    synced(account)
    box.do(("STORE", "1:3", "+FLAGS", "(\\Seen \\Answered)"), ("STORE", "5,6", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
    box.deliver(4)
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 4, 3, 2, 9)
    assert flags_of(account) == box.flags()
    assert folder_of(account).unread == 6
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 0, 0, 0, 9)


@both_databases
def test_folder_that_was_deleted_and_made_anew_is_read_anew(box: Box) -> None:
    box.dovecot.create("Offers", box.user)
    box.deliver(5, folder="Offers")
    account = box.account("Offers")
    synced(account)
    before = folder_of(account, "Offers").uidvalidity
    with box.dovecot.session(box.user) as session:
        session.delete("Offers")
    box.dovecot.create("Offers", box.user)
    box.deliver(3, folder="Offers")
    assert numbers(synced(account))[::4] == (RunOutcome.COMPLETE, 3)
    folder = folder_of(account, "Offers")
    assert folder.uidvalidity != before
    assert (folder.generation, folder.next_generation, folder.stored) == (1, None, 3)
    assert flags_of(account, "Offers") == box.flags("Offers")


class Wrapped:
    """A real connection that calls `before` with the number of each batch."""

    def __init__(self, leg: Any, before: Any) -> None:
        object.__setattr__(self, "_real", open_incoming(leg))
        object.__setattr__(self, "_before", before)
        object.__setattr__(self, "_batches", 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)

    def envelopes(self, uids: Sequence[int]) -> Any:
        object.__setattr__(self, "_batches", self._batches + 1)
        self._before(self._batches)
        return self._real.envelopes(uids)


@both_databases
def test_run_that_is_killed_in_the_middle_is_resumed_without_loss_or_doubles(box: Box) -> None:
    box.deliver(20)
    account = box.account()
    run = a_run(account)

    def die(batch: int) -> None:
        if batch == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        perform(run.id, batch=3, opening=lambda leg: Wrapped(leg, die))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [m.uid for m in messages_of(account)] == list(range(12, 21))
    with db.transaction() as session:
        assert leases.break_dead(session) == 1
    perform(run.id, batch=3)
    assert numbers(stored_run(run)) == (RunOutcome.COMPLETE, 20, 0, 0, 20)
    assert flags_of(account) == box.flags()


@both_databases
def test_runner_that_lost_its_lease_writes_nothing_any_more(box: Box) -> None:
    box.deliver(9)
    account = box.account()
    run = a_run(account)

    def steal(batch: int) -> None:
        if batch == 2:
            with db.transaction() as session:
                lease = session.get(leases.Lease, f"sync:{account.id}")
                lease.holder, lease.fence = "another runner", lease.fence + 1

    perform(run.id, batch=3, opening=lambda leg: Wrapped(leg, steal))
    assert len(messages_of(account)) == 3
    assert stored_run(run).finished_at is None
    with db.reading() as session:
        assert session.get(leases.Lease, f"sync:{account.id}").holder == "another runner"


@both_databases
def test_two_runners_do_not_work_on_one_run(box: Box) -> None:
    box.deliver(4)
    account = box.account()
    run, inner = a_run(account), []

    def again(batch: int) -> None:
        if batch == 1:
            perform(run.id, opening=inner.append)

    perform(run.id, batch=2, opening=lambda leg: Wrapped(leg, again))
    assert inner == []
    assert numbers(stored_run(run)) == (RunOutcome.COMPLETE, 4, 0, 0, 4)


def test_run_that_has_ended_is_left_alone(box: Box) -> None:
    account = box.account()
    run = synced(account)
    perform(run.id)
    assert stored_run(run).finished_at == run.finished_at


@both_databases
def test_account_that_is_paused_in_the_middle_stops_before_the_next_batch(box: Box) -> None:
    box.deliver(9)
    account = box.account()

    def pause(batch: int) -> None:
        if batch == 2:
            with db.transaction() as session:
                accounts.pause(session, accounts.get(session, account.id), actor=SYSTEM)

    run = synced(account, opening=lambda leg: Wrapped(leg, pause))
    assert (run.outcome, run.stored, run.reason) == (RunOutcome.PARTIAL, 3, "The account was paused.")
    now = account_now(account)
    assert (now.health, now.next_sync_at, now.running_since) == (Health.PAUSED, None, None)


def test_account_whose_settings_change_in_the_middle_starts_anew_at_once(box: Box) -> None:
    box.deliver(9)
    account = box.account()
    run = synced(account, opening=lambda leg: Wrapped(leg, lambda n: change(account, name="Other") if n == 2 else None))
    assert (run.outcome, run.stored) == (RunOutcome.PARTIAL, 3)
    assert account_now(account).next_sync_at <= db.now()
    assert synced(account).stored == 9


def test_account_that_is_deleted_in_the_middle_gets_no_more_mail(box: Box) -> None:
    box.deliver(9)
    account = box.account()

    def delete(batch: int) -> None:
        if batch == 2:
            with db.transaction() as session:
                accounts.request_deletion(session, accounts.get(session, account.id), actor=SYSTEM)

    synced(account, opening=lambda leg: Wrapped(leg, delete))
    assert len(messages_of(account)) == 3


@both_databases
def test_window_is_kept_widened_and_narrowed(box: Box) -> None:
    now = db.now()
    for days in (200, 100, 45, 1):
        box.deliver(2, moment=now - timedelta(days=days))
    account = box.account(window=Window.ONE_MONTH)
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 2, 0, 0, 2)
    for window, new, stored, wanted in (
        (Window.THREE_MONTHS, 2, 4, 4),
        (Window.EVERYTHING, 4, 8, 8),
        (Window.ONE_MONTH, 0, 8, 2),
    ):
        change(account, window=window, since=accounts.window_start(window, now))
        assert numbers(synced(account)) == (RunOutcome.COMPLETE, new, 0, 0, stored)
        assert folder_of(account).wanted == wanted


def test_window_from_now_on_takes_what_arrived_between_the_wish_and_the_first_sync(box: Box) -> None:
    box.deliver(3, moment=db.now() - timedelta(hours=1))
    account = box.account(window=Window.NOW)
    box.deliver(2, moment=db.now() + timedelta(seconds=1))
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 2, 0, 0, 2)


@both_databases
def test_window_from_now_on_takes_what_arrives_after_the_first_sync(box: Box) -> None:
    box.deliver(3, moment=db.now() - timedelta(hours=1))
    account = box.account(window=Window.NOW)
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 0, 0, 0, 0)
    box.deliver(2)
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 2, 0, 0, 2)
    assert [m.uid for m in messages_of(account)] == [4, 5]


@both_databases
def test_monstrous_headers_are_stored_cut(box: Box) -> None:
    many = ", ".join(f"Person {n} <p{n}@example.org>" for n in range(5000))
    long_words = Header("ü" * 500_000, "utf-8").encode()
    raw = [
        f"From: a@example.org\r\nTo: {many}\r\n\r\n",
        f"Subject: {long_words}\r\nFrom: \0\r\n\r\n",
        "no header at all",
    ]
    box.dovecot.deliver([text.encode() for text in raw], user=box.user)
    account = box.account()
    assert numbers(synced(account)) == (RunOutcome.COMPLETE, 3, 0, 0, 3)
    to, subject = messages_of(account)[0].to, messages_of(account)[1].subject
    assert "and 4,950 more" in to or len(to) <= 65_536
    assert subject.startswith("üüü")
    assert len(subject) <= 998


@both_databases
def test_folder_that_vanished_is_marked_gone_and_comes_back(box: Box) -> None:
    box.deliver(2)
    box.dovecot.create("Offers", box.user)
    box.deliver(3, folder="Offers")
    account = box.account("Offers")
    assert synced(account).stored == 5
    there = box.dovecot.maildir(box.user, "Offers")
    aside = there.rename(there.with_name("aside"))
    assert numbers(synced(account))[::4] == (RunOutcome.COMPLETE, 2)
    assert folder_of(account, "Offers").is_gone
    aside.rename(there)
    assert numbers(synced(account))[::4] == (RunOutcome.COMPLETE, 5)


def test_refused_password_needs_attention_at_once(box: Box) -> None:
    account = box.account()
    box.dovecot.session(box.user).logout()
    wrong = type(box)(box.dovecot, "nobody@example.org").account()
    run = synced(wrong)
    assert (run.outcome, run.category) == (RunOutcome.FAILED, Category.AUTH)
    now = account_now(wrong)
    assert (now.health, now.next_sync_at, now.running_since) == (Health.NEEDS_ATTENTION, None, None)
    assert account_now(account).health is Health.NEW


def test_server_that_is_gone_is_tried_again_later(box: Box) -> None:
    account = box.account()
    with db.transaction() as session:
        accounts.get(session, account.id).servers[0].port = 1
    run = synced(account)
    assert run.category in (Category.REFUSED, Category.POLICY)
    assert account_now(account).next_sync_at is not None


@pytest.mark.parametrize("path", ["Größe", "A&B", 'Quo"te', "Deep/er/still"])
def test_folders_with_awkward_names_are_read(box: Box, path: str) -> None:
    from imapclient import imap_utf7

    box.dovecot.create(imap_utf7.encode(path).decode().replace('"', '\\"'), box.user)
    with box.dovecot.session(box.user) as session:
        name = imap_utf7.encode(path).decode().replace('"', '\\"')
        session.append(f'"{name}"', "", "", b"Subject: here\r\n\r\n")
    account = box.account(path)
    assert numbers(synced(account))[::4] == (RunOutcome.COMPLETE, 1)


def test_server_sees_no_trace_of_us(box: Box) -> None:
    box.deliver(3)
    before = box.flags()
    synced(box.account())
    assert box.flags() == before == {1: "", 2: "", 3: ""}
