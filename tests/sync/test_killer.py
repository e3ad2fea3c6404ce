"""A sync that is killed again and again, at any moment, while the mailbox changes: nothing lost, nothing doubled."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import func, select

from mailadmin import db, leases
from mailadmin.accounts.models import Account
from mailadmin.config import Settings
from mailadmin.sync import service
from mailadmin.sync.models import Folder, Message, RunKind, RunOutcome, SyncRun
from mailadmin.sync.run import perform
from tests.conftest import SECRET_KEY, both_databases
from tests.real import eventually
from tests.sync.factories import Box, account_now, flags_of, folder_of, messages_of, stored_run
from tests.sync.zygote import Zygote

FOLDERS = ("INBOX", "Archive", "Archive/2025")
_SUBJECT = re.compile(rb"UID (\d+).*?Subject: ([^\r\n]+)", re.DOTALL)


@pytest.fixture
def zygote(booted: Settings) -> Iterator[Zygote]:
    made = Zygote(
        {
            "DATABASE_URL": booted.database_url,
            "REDIS_URL": booted.redis_url,
            "SECRET_KEY": SECRET_KEY,
            "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
            "MAILADMIN_CA_FILE": str(booted.rules.ca_file),
        }
    )
    yield made
    made.close()


def subjects(box: Box, folder: str) -> dict[int, str]:
    """The subject of every message by UID, read by another library."""
    with box.dovecot.session(box.user) as session:
        session.select(f'"{folder}"', readonly=True)
        _, data = session.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    found = (_SUBJECT.search(b" ".join(part)) for part in data if isinstance(part, tuple))
    return {int(match[1]): match[2].decode() for match in found if match}


def renumber(box: Box, folder: str) -> None:
    """Let the server lose what it knows of the folder, as after a restored backup: all UIDs are others, and mixed."""
    maildir = box.dovecot.maildir(box.user, folder)
    for file in maildir.glob("dovecot*"):
        if file.name != "dovecot-uidvalidity":
            with suppress(FileNotFoundError):
                file.unlink()


def disturb(box: Box, chance: random.Random) -> None:
    """What other programs do to a mailbox: new mail, flags, expunges, in any of the folders."""
    folder = chance.choice(FOLDERS)
    box.deliver(chance.randrange(1, 12), folder=folder)
    with box.dovecot.session(box.user) as session:
        session.select(f'"{folder}"')
        uids = session.uid("SEARCH", "ALL")[1][0].split()
        if len(uids) > 60:
            some = chance.sample(uids, 8)
            session.uid("STORE", b",".join(some[:4]).decode(), "+FLAGS", "(\\Flagged \\Seen)")
            session.uid("STORE", b",".join(some[4:]).decode(), "+FLAGS", "\\Deleted")
            session.expunge()


def kill_again_and_again(
    box: Box, zygote: Zygote, account: Account, *, kills: int, renumbered: int, seconds: float
) -> None:
    """Sync, and kill whoever does at a random moment, `kills` times, while the mailbox changes."""
    chance = random.Random(2026)
    moments = set(chance.sample(range(kills), renumbered))
    killed, end = 0, time.monotonic() + seconds
    while killed < kills:
        assert time.monotonic() < end, f"only {killed} kills in {seconds:.0f} s"
        pid = zygote.sync(account.id, batch=chance.choice((3, 10, 40)))
        began = time.monotonic()
        if killed in moments:
            moments.discard(killed)
            renumber(box, chance.choice(FOLDERS))
        if killed % 2:
            disturb(box, chance)
        time.sleep(max(0.0, chance.uniform(0.0, 0.12) - (time.monotonic() - began)))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        killed += zygote.status() == -signal.SIGKILL
    assert not moments


def kill_in_the_middle(box: Box, zygote: Zygote, account: Account) -> None:
    """Kill a sync when it has read a part of a folder and not all of it; nothing else happens before the next one.

    On a busy machine one may have ended before we look: then there is another.
    """
    status = 0
    while status != -signal.SIGKILL:
        box.deliver(60)
        pid = zygote.sync(account.id, batch=3)
        eventually(lambda pid=pid: is_in_the_middle(account) or not lives(pid))  # type: ignore[misc]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = zygote.status()


def is_in_the_middle(account: Account) -> bool:
    folder = folder_of(account)
    return 0 < (folder.run_done or 0) < (folder.run_total or 0)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def audit(account: Account) -> SyncRun:
    """Runs until one was an audit from its beginning, after whatever a kill has left open."""
    while True:
        with db.transaction() as session:
            leases.break_dead(session)
            found = session.get_one(Account, account.id)
            run = service.request_run(session, account=found, requested_by="Ada", kind=RunKind.AUDIT)
        perform(run.id)
        if (ended := stored_run(run)).found is not None:
            return ended


def assert_exact(box: Box, account: Account) -> None:
    """An audit finds nothing, and every folder has the messages of the server, each once and with its own content."""
    run, total = audit(account), 0
    assert (run.outcome, run.found) == (RunOutcome.COMPLETE, [])
    assert account_now(account).audit_agrees
    for folder in FOLDERS:
        on_server, rows = box.flags(folder), messages_of(account, folder)
        assert flags_of(account, folder) == on_server
        assert len(rows) == len(on_server)
        assert {row.uid: row.subject for row in rows} == subjects(box, folder)
        total += len(rows)
    with db.reading() as session:
        mine = select(Folder.id).where(Folder.account_id == account.id)
        assert session.scalar(select(func.count()).where(Message.folder_id.in_(mine))) == total
        assert session.scalar(select(func.count()).where(SyncRun.finished_at.is_(None))) == 0


def prepared(box: Box, *counts: int) -> Account:
    for folder in FOLDERS[1:]:
        box.dovecot.create(folder, box.user)
    for folder, count in zip(FOLDERS, counts, strict=True):
        box.deliver(count, folder=folder)
    return box.account(*FOLDERS[1:])


@both_databases
def test_sync_killed_a_few_times_stores_exactly_what_the_server_has(booted: Settings, box: Box, zygote: Zygote) -> None:
    account = prepared(box, 150, 60, 30)
    kill_again_and_again(box, zygote, account, kills=6, renumbered=2, seconds=120)
    kill_in_the_middle(box, zygote, account)
    assert_exact(box, account)


@pytest.mark.slow
@both_databases
def test_sync_killed_a_hundred_times_while_folders_are_renumbered_stores_exactly_what_the_server_has(
    booted: Settings, box: Box, zygote: Zygote
) -> None:
    account = prepared(box, 900, 400, 200)
    kill_again_and_again(box, zygote, account, kills=100, renumbered=20, seconds=300)
    kill_in_the_middle(box, zygote, account)
    assert_exact(box, account)
