"""Fifty syncs that hang, at one server or at many, beside a healthy one: it ends within seconds."""

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from mailadmin import db, queue
from mailadmin.config import ROOT, Settings
from mailadmin.sync.models import RunOutcome, SyncRun
from tests.conftest import SECRET_KEY
from tests.hostile.table import ALL, HUNG
from tests.hostile.time_and_size import HANGING
from tests.real import eventually, start
from tests.servers.crowd import Crowd
from tests.servers.dovecot import Dovecot
from tests.sync.factories import Box, a_run, account_now, an_account, change, stored_run

MANY = 50
SECONDS = 20.0  # An attempt to open a server may take 25; a machine that runs many tests needs most of them.
EVERY = [scenario.name for scenario in HANGING if scenario.name.startswith("imap implicit: silence")]


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, crowd: Crowd, dovecot: Dovecot, tmp_path: Path) -> Settings:
    """An installation that trusts the hostile servers and the healthy one."""
    both = tmp_path / "both.pem"
    both.write_bytes(crowd.ca_file.read_bytes() + dovecot.ca_file.read_bytes())
    return dataclasses.replace(settings, rules=dataclasses.replace(settings.rules, ca_file=str(both)))


@pytest.fixture
def runner(booted: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real runner with two processes for syncs, as usual."""
    with db.database().engine.begin() as connection:
        MigrationContext.configure(connection).stamp(ScriptDirectory(str(ROOT / "migrations")), "head")
    variables = {
        "DATABASE_URL": booted.database_url,
        "REDIS_URL": booted.redis_url,
        "SECRET_KEY": SECRET_KEY,
        "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
        "MAILADMIN_CA_FILE": str(tmp_path / "both.pem"),
    }
    process = start("runner", log=tmp_path / "log", variables=variables)
    yield process
    process.terminate()
    process.wait(60)
    with db.database().engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))


def hung_runs(crowd: Crowd, names: list[str]) -> list[SyncRun]:
    """Fifty runs that will hang, rung for."""
    runs = []
    for number in range(MANY):
        server = ALL[names[number % len(names)]].server(crowd.ports[names[number % len(names)]])
        account = an_account(f"wim{number}@example.net", server=server)
        change(account, synced_at=db.now())
        runs.append(a_run(account))
        queue.ring("sync", runs[-1].id)
    return runs


def going() -> int:
    with db.reading() as session:
        open_ones = sa.select(SyncRun.id).where(SyncRun.finished_at.is_(None), SyncRun.started_at.is_not(None))
        return len(session.scalars(open_ones).all())


@pytest.mark.parametrize("names", [[HUNG], EVERY], ids=["at one server", "at many"])
def test_a_healthy_sync_ends_while_fifty_others_hang(
    crowd: Crowd, dovecot: Dovecot, runner: subprocess.Popen[bytes], names: list[str]
) -> None:
    box = Box(dovecot, "wim@example.org")
    healthy = box.account()
    change(healthy, synced_at=db.now())
    hung = hung_runs(crowd, names)
    eventually(lambda: going() >= 2)
    run = a_run(healthy)
    queue.ring("sync", run.id)
    eventually(lambda: stored_run(run).finished_at, SECONDS)
    assert stored_run(run).outcome is RunOutcome.COMPLETE
    assert account_now(healthy).audited_at or account_now(healthy).synced_at
    still = [each for each in hung if stored_run(each).finished_at is None]
    assert len(still) > MANY / 2
