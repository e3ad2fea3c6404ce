"""A real Dovecot, a server for sending that does what a test wants, and a worker who may send as a mailbox there."""

import dataclasses
import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest

from mailadmin import db
from mailadmin.config import Settings
from mailadmin.sync import telling
from mailadmin.writing import sending
from tests.access.factories import give
from tests.servers.dovecot import Dovecot
from tests.servers.post import Post
from tests.sync.factories import Box
from tests.writing.factories import Desk, a_worker, smtp_of

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot({f"w{n}@example.org": "password" for n in range(1, 200)}) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, dovecot: Dovecot) -> Settings:
    """The installation of all tests, which also trusts our servers."""
    return dataclasses.replace(settings, rules=dataclasses.replace(settings.rules, ca_file=str(dovecot.ca_file)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers here file no copies of their own, and nobody has to wait to learn that a job ends."""
    monkeypatch.setattr(telling, "FILED_AFTER", timedelta(0))
    monkeypatch.setattr(sending, "WATCH_SECONDS", 0.1)


@pytest.fixture
def post(dovecot: Dovecot) -> Iterator[Post]:
    with Post(dovecot.authority) as server:
        yield server


@pytest.fixture
def desk(booted: Settings, dovecot: Dovecot, post: Post) -> Desk:
    """Wim, who may send as a shared mailbox of which nothing was synced yet."""
    box = Box(dovecot, f"w{next(_numbers)}@example.org")
    account = box.account("Sent", outgoing=smtp_of(post), name="Sales")
    with db.transaction() as session:
        person = a_worker(session)
        give(session, person, account)
    return Desk(person, account, box, post)
