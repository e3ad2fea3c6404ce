"""The jobs: a fault of ours is said, an interruption leaves the run open, and a deleted account leaves nothing."""

import copy
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import func, select

from mailadmin import db, leases, queue, sealed
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, AccountServer, Credential, Health
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check
from mailadmin.permissions import SYSTEM
from mailadmin.sync import jobs
from mailadmin.sync.going import interruption
from mailadmin.sync.models import Folder, Message, RunOutcome, SyncRun
from mailadmin.sync.run import perform
from tests.conftest import both_databases
from tests.sync.factories import (
    Kept,
    MemoryServer,
    a_run,
    account_now,
    an_account,
    messages_of,
    stored_run,
    synced,
)


@pytest.fixture
def server(booted: object) -> MemoryServer:
    inbox = Kept()
    inbox.add(*range(1, 11))
    return MemoryServer(INBOX=inbox)


def test_fault_of_ours_ends_the_run_and_blames_nobody(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(word: str, batches: int) -> None:
        raise ZeroDivisionError

    server.before = broken
    monkeypatch.setattr(jobs, "perform", lambda run_id: perform(run_id, opening=server))
    account = an_account()
    run = a_run(account)
    jobs.run_first_sync(run.id)
    ended = stored_run(run)
    assert (ended.outcome, ended.category) == (RunOutcome.FAILED, None)
    assert "Something broke on our side" in ended.reason
    now = account_now(account)
    assert (now.health, now.running_since) == (Health.NEW, None)
    assert now.next_sync_at > db.now()


class ShutDown(BaseException):
    """What a runner raises in a job when it is told to end."""


@pytest.fixture
def told_to_end() -> Iterator[Callable[[], None]]:
    """Tells this process to end, as a runner tells its jobs: by a signal, and so in the main thread."""

    def shut_down(_number: int, _frame: object) -> None:
        raise ShutDown

    before = signal.signal(signal.SIGUSR1, shut_down)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_shut_down_leaves_run_open_and_lease_free(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch, told_to_end: Callable[[], None]
) -> None:
    def end(word: str, batches: int) -> None:
        if batches == 2 and not interruption.is_set():
            told_to_end()
            assert interruption.wait(60)

    server.before = end
    monkeypatch.setattr(jobs, "perform", lambda run_id: perform(run_id, batch=4, opening=server))
    account = an_account()
    run = a_run(account)
    with pytest.raises(ShutDown):
        jobs.run_first_sync(run.id)
    assert stored_run(run).finished_at is None
    with db.reading() as session:
        assert leases.held_now(session, "sync:") == []
    server.before = lambda word, batches: None
    jobs.run_first_sync(run.id)
    assert stored_run(run).outcome is RunOutcome.COMPLETE
    assert len(messages_of(account)) == 10


@both_databases
def test_deleted_account_leaves_nothing_behind(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PURGE", 4)
    account, other = an_account(), an_account("other@example.net")
    synced(account, opening=server)
    synced(other, opening=server)
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        connections.request_check(session, account=found, actor=SYSTEM)
        accounts.request_deletion(session, found, actor=SYSTEM)
    jobs.purge(account.id)
    jobs.purge(account.id)
    with db.reading() as session:
        kept = {t: session.scalar(select(func.count()).select_from(t)) for t in (Message, Folder, SyncRun, Check)}
        assert kept == {Message: 10, Folder: 1, SyncRun: 1, Check: 0}
        mine = (Account, AccountServer, Credential, sealed.SealedSecret)
        assert [session.scalar(select(func.count()).select_from(t)) for t in mine] == [1, 1, 1, 1]
        assert session.get(leases.Lease, f"sync:{account.id}") is None


def test_one_job_does_all_runs_that_wait(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "perform", lambda run_id: perform(run_id, opening=lambda leg: copy.copy(server)))
    runs = [a_run(an_account(f"a{number}@example.net")) for number in range(4)]
    for run in runs:
        queue.ring("first sync", run.id)
    jobs.run_first_sync(runs[0].id)
    assert {stored_run(run).outcome for run in runs} == {RunOutcome.COMPLETE}
    waiting = queue.waiting()
    assert waiting is not None
    assert waiting[queue.Line.BULK] == 1  # The one that rang for the first is being done, as far as the queue knows.


def test_a_first_run_is_left_to_those_who_have_time(server: MemoryServer) -> None:
    run = a_run(an_account())
    jobs.run_sync(run.id)
    assert stored_run(run).started_at is None
    waiting = queue.waiting()
    assert waiting is not None
    assert waiting[queue.Line.BULK] == 1


def test_account_that_lives_is_not_purged(server: MemoryServer) -> None:
    account = an_account()
    synced(account, opening=server)
    jobs.purge(account.id)
    assert len(messages_of(account)) == 10
