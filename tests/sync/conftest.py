"""A real Dovecot with a fresh mailbox for every test, trusted by the installation under test."""

import dataclasses
import itertools
from collections.abc import Iterator

import pytest

from mailadmin.config import Settings
from tests.servers.dovecot import Dovecot
from tests.sync.factories import Box

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    users = {f"u{n}@example.org": "password" for n in range(1, 200)}
    with Dovecot(users) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, dovecot: Dovecot) -> Settings:
    """The installation of all tests, which also trusts our Dovecot."""
    return dataclasses.replace(settings, rules=dataclasses.replace(settings.rules, ca_file=str(dovecot.ca_file)))


@pytest.fixture
def box(booted: Settings, dovecot: Dovecot) -> Box:
    """An empty mailbox of its own on the Dovecot, without an account yet."""
    return Box(dovecot, f"u{next(_numbers)}@example.org")
