"""`mailadmin providers` in the terminal, and the catalogue at `mailadmin migrate`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailadmin import db
from mailadmin.cli import main
from mailadmin.config import Settings
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from tests.accounts.factories import a_provider, an_account
from tests.conftest import SECRET_KEY
from tests.providers.factories import LAKESIDE, Says
from tests.providers.test_exchange import HARBOUR, a_file


@pytest.fixture(autouse=True)
def environment(booted: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", booted.database_url)
    monkeypatch.setenv("REDIS_URL", booted.redis_url)
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)


def mailadmin(*words: str, typed: bytes = b"") -> Result:
    return CliRunner().invoke(main, words, input=typed)


def names() -> list[str]:
    with db.reading() as session:
        return [provider.name for provider in service.everyone(session)]


def harbour(**wanted: Any) -> None:
    with db.transaction() as session:
        provider = a_provider(session, outgoing=None, **wanted)
        an_account(session, address="wim@example.net", provider_id=provider.id)


def test_what_was_exported_is_imported_elsewhere(tmp_path: Path) -> None:
    with db.transaction() as session:
        a_provider(session)
    file = tmp_path / "providers.json"
    assert mailadmin("providers", "export", str(file)).stdout == f"1 provider is in {file}.\n"
    assert mailadmin("providers", "export").stdout == file.read_text("utf-8")
    assert mailadmin("providers", "import", str(file)).stdout == "same: Harbour Mail\n"
    with db.transaction() as session:
        service.delete(session, service.everyone(session)[0], actor=SYSTEM)
    done = mailadmin("providers", "import", "-", "--json", typed=file.read_bytes())
    assert json.loads(done.stdout) == {"name": "Harbour Mail", "outcome": "new", "reasons": []}
    assert (done.exit_code, names()) == (0, ["Harbour Mail"])


def test_dry_run_does_nothing() -> None:
    done = mailadmin("providers", "import", "-", "--dry-run", typed=a_file(HARBOUR))
    assert (done.stdout, done.exit_code, names()) == ("new: Harbour Mail\n", 0, [])


def test_refused_entry_keeps_the_whole_file_out() -> None:
    done = mailadmin("providers", "import", "-", typed=a_file(HARBOUR, {"name": "Quay"}))
    assert (done.exit_code, names()) == (1, [])
    assert "refused: Quay “servers” is missing" in done.stdout
    assert done.stderr == "Nothing was imported: a file is taken whole or not at all.\n"


def test_stored_passwords_go_nowhere_new_without_a_word() -> None:
    harbour()
    moved = a_file({**HARBOUR, "servers": ["imap:new.example.net:993:implicit"]})
    done = mailadmin("providers", "import", "-", typed=moved)
    assert (done.exit_code, done.stderr) == (
        1,
        "Stored passwords would go there. Add --same-company if that is right.\n",
    )
    assert "new.example.net, port 993, is new." in done.stdout
    assert mailadmin("providers", "import", "-", "--same-company", typed=moved).exit_code == 0


def test_what_is_no_file_and_what_cannot_be_written_are_sentences(tmp_path: Path) -> None:
    done = mailadmin("providers", "import", "-", typed=b"[" * 100_000)
    assert (done.exit_code, done.stderr) == (1, "This file is nested too deeply to be a file of providers.\n")
    away = mailadmin("providers", "export", str(tmp_path / "no" / "file.json"))
    assert (away.exit_code, "cannot be written" in away.stderr) == (1, True)


def test_migrate_follows_the_catalogue(
    booted: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalogue: Says
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/own.db")
    assert mailadmin("migrate").exit_code == 0
    own = db.Database(f"sqlite:///{tmp_path}/own.db")
    with own.transaction() as session:
        service.adopt(session, LAKESIDE, domain="lake.example", actor=SYSTEM)
    catalogue(least_minutes=3)
    assert mailadmin("migrate").exit_code == 0
    with own.reading() as session:
        assert [provider.least_minutes for provider in service.everyone(session)] == [3]
    own.engine.dispose()
