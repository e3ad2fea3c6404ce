"""Changing the vault's key with `mailadmin vault`."""

from collections.abc import Callable
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from mailadmin import boot, db, sealed
from mailadmin.cli import main
from mailadmin.config import Settings
from mailadmin.sealed import SealedSecret, Secret
from mailadmin.vault import Vault, new_key
from tests.conftest import SECRET_KEY, both_databases

OLD, NEW = new_key(), new_key()
Keys = Callable[..., None]
pytestmark = both_databases


@pytest.fixture
def keys(booted: Settings, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Start over with these keys, as somebody who edits the environment and restarts does."""
    monkeypatch.setenv("DATABASE_URL", booted.database_url)
    monkeypatch.setenv("REDIS_URL", booted.redis_url)
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)

    def set_keys(*words: str) -> None:
        monkeypatch.setenv("MAILADMIN_KEYS", ",".join(words))

    return set_keys


def mailadmin(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def keep(*values: str) -> list[UUID]:
    with db.transaction() as session:
        return [sealed.keep(session, Secret(value), purpose="test") for value in values]


def test_rotation_seals_everything_anew_and_the_old_key_can_go(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "BATCH", 2)
    ids = keep("first lamp", "second lamp", "third lamp", "fourth lamp", "fifth lamp")
    keys(NEW, OLD)
    done = mailadmin("vault", "rotate")
    assert done.exit_code == 0, done.output
    assert "5 secrets: 5 sealed anew" in done.stdout
    assert "5 secrets: 0 sealed anew, 5 had the first key already" in mailadmin("vault", "rotate").stdout
    with db.reading() as session:
        only = Vault([bytes.fromhex(NEW)])
        rows = session.scalars(select(SealedSecret).where(SealedSecret.id.in_(ids))).all()
        opened = {only.open(row.sealed, context=row.id.bytes + b"test") for row in rows}
    assert opened == {"first lamp", "second lamp", "third lamp", "fourth lamp", "fifth lamp"}


def test_a_rotation_that_was_killed_goes_on(keys: Keys) -> None:
    keep("first lamp", "second lamp", "third lamp")
    keys(NEW)
    mailadmin("vault", "verify")  # boots with the new key
    with db.transaction() as session:
        assert sealed.look_through(session, renew=True, limit=2).renewed == 2
    assert "3 secrets: 1 sealed anew, 2 had the first key already" in mailadmin("vault", "rotate").stdout


def test_who_reads_meanwhile_with_both_keys_notices_nothing(keys: Keys) -> None:
    ids = keep("first lamp")
    keys(NEW, OLD)
    mailadmin("vault", "verify")
    with db.reading() as reader:
        assert sealed.reveal(reader, ids[0]).reveal() == "first lamp"
        mailadmin("vault", "rotate")
    with db.reading() as reader:
        assert sealed.reveal(reader, ids[0]).reveal() == "first lamp"


def test_verify_names_what_does_not_open_and_exits_1(keys: Keys) -> None:
    good, bad = keep("first lamp", "second lamp")
    assert "2 secrets, and every one opens." in mailadmin("vault", "verify").stdout
    with db.transaction() as session:
        row = session.get_one(SealedSecret, good)
        session.execute(update(SealedSecret).where(SealedSecret.id == bad).values(sealed=row.sealed))
    for command in ("verify", "rotate"):
        done = mailadmin("vault", command)
        assert done.exit_code == 1
        assert str(bad) in done.stderr
        assert str(good) not in done.stderr
    with db.reading() as session:
        assert sealed.reveal(session, good).reveal() == "first lamp"


def test_keys_that_are_weak_stop_every_command(keys: Keys) -> None:
    keys("00" * 32)
    done = mailadmin("vault", "verify")
    assert done.exit_code == 1
    assert "vault key" in done.stderr


def test_a_key_is_printed_that_can_be_used(keys: Keys, settings: Settings) -> None:
    printed = mailadmin("vault", "key").stdout.strip()
    keys(printed)
    keep("first lamp")
    assert mailadmin("vault", "rotate").exit_code == 0
    assert printed not in mailadmin("vault", "rotate").output
    boot.start(settings)
