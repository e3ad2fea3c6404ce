"""Reading again: whatever happened to our rows, afterwards they are what the server has, and nobody saw a gap."""

import json
import subprocess
import time
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activities
from mailadmin.config import Settings
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Role, Server, ServerProtocol, TLSMode
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service
from mailadmin.sync.models import Folder, Message, RoleSource, RunOutcome, SyncRun
from mailadmin.sync.run import perform
from tests.accounts import factories as accounts
from tests.conftest import SECRET_KEY, both_databases
from tests.real import COMMAND, environment, eventually
from tests.sync.factories import (
    Box,
    Kept,
    MemoryServer,
    a_run,
    account_now,
    an_account,
    flags_of,
    folder_of,
    messages_of,
    stored_run,
    synced,
)

pytestmark = pytest.mark.usefixtures("booted")


def variables(settings: Settings) -> dict[str, str]:
    """The environment of a process that works for the installation under test."""
    return environment(
        DATABASE_URL=settings.database_url,
        REDIS_URL=settings.redis_url,
        SECRET_KEY=SECRET_KEY,
        MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8",
        MAILADMIN_CA_FILE=str(settings.rules.ca_file),
    )


def last_words(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=120)
    return dict(json.loads(said))


def again(account: Account, path: str | None = None) -> None:
    with db.transaction() as session:
        found = session.get(Account, account.id)
        folder = service.get_folder(session, found, folder_of(account, path).id) if path else None
        service.reinitialise(session, found, folder=folder, actor=SYSTEM)


def subjects(account: Account, path: str = "INBOX") -> dict[int, str]:
    return {message.uid: message.subject for message in messages_of(account, path)}


def spoil(account: Account) -> None:
    """Delete and corrupt rows behind everybody's back."""
    inbox = folder_of(account).id
    with db.transaction() as session:
        session.execute(delete(Message).where(Message.folder_id == inbox, Message.uid.in_([2, 5])))
        session.execute(update(Message).where(Message.folder_id == inbox, Message.uid > 6).values(subject="spoilt"))


@both_databases
def test_rows_that_were_lost_or_spoilt_come_back_exactly(box: Box) -> None:
    box.deliver(10)
    box.deliver(4, folder="Sent")
    account = box.account("Sent")
    synced(account)
    before, ids = subjects(account), {m.id for m in messages_of(account, "Sent")}
    spoil(account)
    assert synced(account, batch=50).new == 0, "a usual run trusts its rows"
    again(account, "INBOX")
    run = synced(account)
    assert (run.outcome, run.new, run.stored) == (RunOutcome.COMPLETE, 10, 14)
    assert (subjects(account), flags_of(account)) == (before, box.flags())
    assert {m.id for m in messages_of(account, "Sent")} == ids, "the other folder was left alone"
    with db.reading() as session:
        left = session.scalars(select(Message.generation).where(Message.folder_id == folder_of(account).id)).all()
    assert set(left) == {folder_of(account).generation}, "the old rows were swept away"


def test_an_inbox_over_pop3_is_read_again_as_exactly(box: Box) -> None:
    box.deliver(10)
    pop3 = Server(ServerProtocol.POP3, "localhost", box.dovecot.ports["pop3s"], TLSMode.IMPLICIT)
    account = an_account(box.user, server=pop3)
    synced(account)
    before = subjects(account)
    spoil(account)
    again(account, "INBOX")
    assert (synced(account).new, synced(account).new) == (10, 0)
    assert sorted(subjects(account).values()) == sorted(before.values())


def test_all_folders_are_read_again_and_everything_decided_stays(box: Box) -> None:
    box.deliver(5)
    box.deliver(3, folder="Sent")
    account = box.account("Sent")
    synced(account)
    with db.transaction() as session:
        folder = session.get(Folder, folder_of(account, "Sent").id)
        folder.role, folder.role_source = Role.ARCHIVE, RoleSource.PERSON
    again(account)
    assert synced(account).new == 8
    assert (folder_of(account, "Sent").role, folder_of(account, "Sent").role_source) == (
        Role.ARCHIVE,
        RoleSource.PERSON,
    )
    assert not folder_of(account, "Drafts").is_active
    with db.reading() as session:
        assert session.query(SyncRun).count() == 2
        [entry] = [e for e in activities.of_account(session, account.id) if "read again" in e.what]
    assert (entry.what, entry.detail) == (f"had {box.user} read again from the server", "all folders")
    assert synced(account).new == 0, "once is enough"


def test_people_see_the_old_list_until_the_new_one_is_whole() -> None:
    inbox = Kept()
    inbox.add(*range(1, 11))
    server, account = MemoryServer(INBOX=inbox), an_account()
    synced(account, opening=server)
    again(account)
    server.asked.clear()
    seen: list[int] = []
    progress: list[tuple[int, int | None]] = []
    server.before = lambda word, batches: (
        seen.append(len(messages_of(account))),
        progress.append((folder_of(account).run_done, folder_of(account).run_total)),
    )
    synced(account, batch=4, opening=server)
    assert set(seen) == {10}
    assert (4, 10) in progress
    assert (8, 10) in progress


@both_databases
def test_a_run_that_goes_on_stops_and_the_next_one_reads_again() -> None:
    inbox = Kept()
    inbox.add(*range(1, 11))
    server, account = MemoryServer(INBOX=inbox), an_account()
    synced(account, opening=server)
    inbox.add(*range(11, 21))
    server.asked.clear()
    server.before = lambda word, batches: again(account) if batches == 2 and word == "envelopes" else None
    run = a_run(account)
    perform(run.id, batch=3, opening=server)
    ended = stored_run(run)
    assert (ended.outcome, ended.new) == (RunOutcome.PARTIAL, 3)
    assert "The settings were changed meanwhile" in ended.reason
    due_at = account_now(account).next_sync_at
    assert due_at
    assert due_at <= db.now(), "the next one comes at once"
    server.before = lambda word, batches: None
    assert synced(account, opening=server).new == 20
    assert sorted(subjects(account)) == list(range(1, 21))


def test_twice_in_the_middle_begins_twice() -> None:
    inbox = Kept()
    inbox.add(*range(1, 8))
    server, account = MemoryServer(INBOX=inbox), an_account()
    synced(account, opening=server)
    again(account)
    server.asked.clear()
    server.before = lambda word, batches: again(account) if batches == 2 and word == "envelopes" else None
    synced(account, opening=server)
    first = folder_of(account).next_generation
    server.before = lambda word, batches: None
    assert synced(account, opening=server).new == 7, "what the broken-off one had read does not count"
    assert first is not None
    assert folder_of(account).generation > first


def test_before_the_set_up_there_is_nothing_to_read_again() -> None:
    with db.transaction() as session, pytest.raises(RuleBroken, match="not set up"):
        service.reinitialise(session, accounts.an_account(session, is_set_up=False), actor=SYSTEM)


def killed_in_the_middle(settings: Settings, box: Box, account: Account) -> bool:
    """Begin to read the inbox again and kill that; False if it was done before we looked, on a busy machine."""
    process = subprocess.Popen(
        [*COMMAND, "accounts", "reinitialise", box.user.upper(), "inbox", "--json"],
        env=variables(settings),
        stdout=subprocess.PIPE,
    )

    def is_going_on() -> bool:
        return (folder_of(account).run_done or 0) > 0 and folder_of(account).next_generation is not None

    eventually(lambda: is_going_on() or process.poll() is not None)
    process.kill()
    process.communicate()
    return is_going_on()


def test_killed_in_the_middle_it_loses_nothing(booted: Settings, box: Box) -> None:
    box.deliver(1500)
    account = box.account()
    synced(account, batch=500)
    spoil(account)
    while not killed_in_the_middle(booted, box, account):
        spoil(account)
    assert len(messages_of(account)) == 1498, "people see what they saw"
    began = time.monotonic()
    again_process = subprocess.Popen(
        [*COMMAND, "accounts", "sync", box.user, "--json"], env=variables(booted), stdout=subprocess.PIPE
    )
    ended = last_words(again_process)
    assert (ended["outcome"], ended["stored"]) == ("complete", 1500), time.monotonic() - began
    assert ended["new"] <= 1500
    assert flags_of(account) == box.flags()
    assert "spoilt" not in subjects(account).values()


def test_the_command_says_which_folder_it_does_not_find(booted: Settings) -> None:
    an_account()
    command = [*COMMAND, "accounts", "reinitialise", "billing@example.net", "Nowhere"]
    process = subprocess.run(command, env=variables(booted), capture_output=True, text=True)
    assert process.returncode == 2
    assert "There is no folder “Nowhere” that is synced." in process.stderr
