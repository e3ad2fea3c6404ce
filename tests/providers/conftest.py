"""An authority that nobody trusts yet, and a catalogue with one entry."""

from pathlib import Path

import pytest

from tests.providers.factories import Says, says
from tests.servers.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pem(authority: Authority) -> str:
    return authority.ca_file.read_text()


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Says:
    """The catalogue has Lakeside alone; calling it makes the next release."""
    change = says(monkeypatch)
    change()
    return change
