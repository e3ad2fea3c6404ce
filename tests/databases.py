"""Real databases for the tests: a throw-away PostgreSQL cluster, and SQLite files."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mailadmin import db
from mailadmin.config import ROOT
from tests.ports import free_port

ROOMY_BYTES = 4 * 1024**3


def scratch(prefix: str) -> Path:
    """A new folder for a database: in memory where there is much, since what a disk would keep is thrown away."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOMY_BYTES
    return Path(tempfile.mkdtemp(prefix=prefix, dir=memory if roomy else None))


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server that lives as long as the block; the value is its URL."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    folder = scratch("pg-")
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    initdb = [programs / "initdb", "-D", folder / "data", "-U", "mailadmin", "-A", "trust", "-E", "UTF8"]
    subprocess.run(
        [*initdb, "--no-sync", "--locale=C.UTF-8"], check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user
    )
    port = free_port()
    settings = ["listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off", "full_page_writes=off"]
    options = [part for setting in settings for part in ("-c", setting)]
    command = [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", str(folder), *options]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, **as_user)
    url = f"postgresql+psycopg://mailadmin@127.0.0.1:{port}/postgres"
    try:
        _await(url)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _await(url: str) -> None:
    engine = sa.create_engine(url)
    end = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
            break
        except sa.exc.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    engine.dispose()


@contextmanager
def engines_kept(urls: Container[str]) -> Iterator[None]:
    """Give these databases one engine each: whoever opens one again need not compile every query again."""
    connect, kept = db.connect, cache(db.connect)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "connect", lambda url, **how: (kept if url in urls else connect)(url, **how))
        yield


def make_tables(url: str) -> None:
    """All tables of all packages."""
    for path in sorted((ROOT / "mailadmin").glob("*/models.py")):
        import_module(f"mailadmin.{path.parent.name}.models")
    engine = db.connect(url)
    db.Base.metadata.create_all(engine)
    engine.dispose()


def empty(engine: sa.Engine) -> None:
    """Delete all rows."""
    tables = reversed(db.Base.metadata.sorted_tables)
    with engine.begin() as connection:
        for table in tables:
            connection.execute(table.delete())


def new_database(server_url: str, name: str) -> str:
    """An empty database on the server; the value is its URL."""
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    return server_url.rpartition("/")[0] + f"/{name}"
