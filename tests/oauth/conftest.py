"""A provider whose OAuth server and mail servers are real, for the tests that connect accounts to it."""

from collections.abc import Iterator

import pytest

from mailadmin.config import Settings
from tests.oauth.harbour import Harbour
from tests.oauth.house import House


@pytest.fixture(scope="session")
def running_harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    """The servers, for all tests."""
    with Harbour(tmp_path_factory.mktemp("harbour")) as running:
        yield running


@pytest.fixture
def harbour(running_harbour: Harbour) -> Harbour:
    """The servers as if nobody had used them; use it beside `booted_there`, `app` or `browser`."""
    running_harbour.fresh()
    return running_harbour


@pytest.fixture
def house(harbour: Harbour) -> House:
    """The same without a browser: for tests of what jobs do."""
    return House(harbour)


@pytest.fixture
def settings(settings: Settings, harbour: Harbour) -> Settings:
    """The installation of all tests, which trusts those servers and knows its own address."""
    return harbour.settings(settings)
