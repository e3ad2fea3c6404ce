"""An authority that nobody trusts yet, for the tests of truststores."""

from pathlib import Path

import pytest

from tests.servers.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pem(authority: Authority) -> str:
    return authority.ca_file.read_text()
