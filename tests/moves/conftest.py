"""The provider with real servers, and accounts there that still have passwords."""

import pytest

from tests.moves.fleet import Fleet
from tests.oauth.conftest import harbour, running_harbour, settings  # noqa: F401
from tests.oauth.harbour import Harbour


@pytest.fixture
def fleet(harbour: Harbour) -> Fleet:  # noqa: F811
    """Use it beside `booted` or `ada_at`."""
    return Fleet(harbour)
