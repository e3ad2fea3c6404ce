"""The servers of all scenarios, for tests that go through the database."""

import dataclasses
from collections.abc import Iterator

import pytest

from mailadmin.config import Settings
from tests.hostile.table import TABLE
from tests.servers.crowd import Crowd


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """All servers, in a process of their own."""
    with Crowd(TABLE, tmp_path_factory.mktemp("crowd")) as playing:
        yield playing


@pytest.fixture
def settings(settings: Settings, crowd: Crowd) -> Settings:
    """The installation of all tests, which also trusts these servers."""
    rules = dataclasses.replace(settings.rules, ca_file=str(crowd.ca_file))
    return dataclasses.replace(settings, rules=rules)
