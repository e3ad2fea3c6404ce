"""The runner with real processes, a real queue and a real database."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from mailadmin import db, leases, queue
from mailadmin.accounts.models import Account
from mailadmin.config import ROOT, Settings
from mailadmin.connections.models import Check
from mailadmin.permissions import SYSTEM
from mailadmin.runner import lines_of
from tests.accounts.factories import an_account, imap
from tests.conftest import SECRET_KEY
from tests.ports import free_port
from tests.real import eventually, processes, start

Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def migrated(booted: Settings) -> Iterator[None]:
    """The tables of the tests, passed off as migrated: a runner waits for that."""
    with db.database().engine.begin() as connection:
        MigrationContext.configure(connection).stamp(ScriptDirectory(str(ROOT / "migrations")), "head")
    yield
    with db.database().engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))


@pytest.fixture
def start_runner(booted: Settings, migrated: None, tmp_path: Path) -> Iterator[Start]:
    """Starts a runner; at the end nothing of it may be left."""
    started: list[subprocess.Popen[bytes]] = []
    variables = {
        "DATABASE_URL": booted.database_url,
        "REDIS_URL": booted.redis_url,
        "SECRET_KEY": SECRET_KEY,
        "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
        "MARK": str(tmp_path),
    }

    def run() -> subprocess.Popen[bytes]:
        started.append(start("runner", log=tmp_path / "log", variables=variables))
        return started[-1]

    yield run
    for process in started:
        process.terminate()
        process.wait(60)
    eventually(lambda: processes(f"MARK={tmp_path}") == {})


def alive() -> list[str]:
    """The runners that say that they live."""
    with db.reading() as session:
        return [lease.holder for lease in leases.held_now(session, "runner:")]


def test_a_rung_job_is_done(start_runner: Start) -> None:
    with db.transaction() as session:
        account = an_account(session, incoming=imap("127.0.0.1", free_port()), outgoing=None)
        check = Check(account_id=account.id, account_version=1, requested_by=SYSTEM.name, stages=[])
        session.add(check)
    start_runner()
    queue.ring("check")
    eventually(lambda: _category(check.id) == "refused")


def _category(check_id: int) -> str | None:
    with db.reading() as session:
        return session.scalar(sa.select(Check.category).where(Check.id == check_id))


def test_what_is_due_is_done_without_a_ring(start_runner: Start) -> None:
    with db.transaction() as session:
        an_account(session, deleting_at=db.now())
    start_runner()
    eventually(lambda: not _accounts())


def _accounts() -> list[int]:
    with db.reading() as session:
        return list(session.scalars(sa.select(Account.id)))


def test_a_function_that_is_not_listed_is_refused(start_runner: Start, tmp_path: Path) -> None:
    forged = Queue(queue.Line.SYNC, connection=queue.connection(), serializer=JSONSerializer)
    job = forged.enqueue_call("os.mkdir", args=[str(tmp_path / "proof")])
    start_runner()
    eventually(lambda: Job.fetch(job.id, connection=queue.connection(), serializer=JSONSerializer).is_failed)
    assert not (tmp_path / "proof").exists()


def test_workers_wait_for_jobs_and_listen_to_nobody_else(booted: Settings, start_runner: Start) -> None:
    number = str(queue.connection().client_info()["db"])
    start_runner()

    def clients() -> list[dict[str, str]]:
        return [client for client in queue.connection().client_list() if client["db"] == number]

    eventually(lambda: sum("b" in client["flags"] for client in clients()) == len(lines_of(booted)))
    assert {client["sub"] for client in clients()} == {"0"}  # Each would be one more connection.


def test_a_killed_runner_leaves_nothing_and_its_leases_are_freed(
    booted: Settings, start_runner: Start, tmp_path: Path
) -> None:
    killed = start_runner()
    eventually(lambda: len(processes(f"MARK={tmp_path}")) == 1 + len(lines_of(booted)) and alive())
    before = alive()
    killed.kill()
    killed.wait()
    eventually(lambda: processes(f"MARK={tmp_path}") == {})
    start_runner()
    eventually(lambda: alive() and not set(before) & set(alive()))


def test_a_killed_worker_is_replaced(booted: Settings, start_runner: Start, tmp_path: Path) -> None:
    runner = start_runner()
    workers = eventually(lambda: set(processes(f"MARK={tmp_path}")) - {runner.pid})
    eventually(lambda: len(set(processes(f"MARK={tmp_path}")) - {runner.pid}) == len(lines_of(booted)))
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(set(processes(f"MARK={tmp_path}")) - {runner.pid} - workers) == len(lines_of(booted)))


def test_a_queue_that_is_away_at_first_is_waited_for(start_runner: Start, booted: Settings, tmp_path: Path) -> None:
    socket = Path(booted.redis_url.removeprefix("unix://"))
    hidden = socket.rename(socket.with_name("hidden.sock"))
    try:
        start_runner()
        eventually(lambda: "The queue is away" in (tmp_path / "log").read_text())
    finally:
        hidden.rename(socket)
    with db.transaction() as session:
        an_account(session, deleting_at=db.now())
    eventually(lambda: not _accounts())
    said = (tmp_path / "log").read_text()
    assert said.count("The queue is away") == said.count("The queue is back") == 1


def test_a_runner_that_is_told_to_stop_says_that_it_is_gone(start_runner: Start, tmp_path: Path) -> None:
    runner = start_runner()
    eventually(alive)
    runner.terminate()
    assert runner.wait(60) == 0
    assert alive() == []
    assert "Traceback" not in (tmp_path / "log").read_text()
