"""`mailadmin accounts audit`, and the button for the same on the account's page, against a real Dovecot."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete, select

from mailadmin import boot, db
from mailadmin.cli import audit as command
from mailadmin.sync.models import Message, RunKind, SyncRun
from tests.pages import Browser
from tests.sync.factories import Box, a_run, account_now, an_account, folder_of, synced


@pytest.fixture
def _booted_already(booted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailadmin.cli.settings", boot.settings)
    monkeypatch.setattr("mailadmin.boot.start", lambda settings, **options: None)


def audit(*arguments: str) -> Result:
    return CliRunner().invoke(command.audit, arguments)


def told(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[0])
    return found


@pytest.mark.usefixtures("_booted_already")
def test_command_prints_both_numbers_and_what_was_repaired(box: Box) -> None:
    box.deliver(4)
    account = box.account()
    synced(account, batch=50)
    with db.transaction() as session:
        session.execute(delete(Message).where(Message.folder_id == folder_of(account).id, Message.uid == 2))
    result = audit(box.user)
    assert result.exit_code == 0, result.output
    first, line = result.stdout.splitlines()
    assert first == f"{box.user}: agrees with the server"
    assert " ".join(line.split()) == (
        "INBOX server 4 / stored 4 / unreadable 0; found 1 missing, 0 too many, 0 with other flags, repaired"
    )
    again = told(audit("--all", "--json"))
    assert again["agrees"]
    assert again["folders"] == [
        {"folder": "INBOX", "server": 4, "stored": 4, "unreadable": 0, "missing": 0, "extra": 0, "flags": 0, "left": 0}
        | {"why": {}}
    ]


@pytest.mark.usefixtures("_booted_already")
def test_account_that_cannot_be_compared_is_exit_status_1(box: Box) -> None:
    box.deliver(1)
    box.account()
    an_account("broken@example.net")
    result = audit("--all")
    assert result.exit_code == 1
    assert "broken@example.net: " in result.stdout
    assert "  INBOX  not compared" in result.stdout
    assert f"{box.user}: agrees with the server" in result.stdout
    assert audit().exit_code == 2


def test_button_asks_for_an_audit_and_the_panel_shows_its_numbers(box: Box, ada_at: Browser) -> None:
    box.deliver(3)
    account = box.account()
    path = f"/accounts/{account.id}"
    assert "not yet; the next sync makes the first one" in ada_at.get(path).text
    a_run(account)
    answer = ada_at.post(f"{path}/audit")
    assert answer.status == 303
    with db.reading() as session:
        assert session.scalars(select(SyncRun.kind)).all() == [RunKind.AUDIT]
    run = synced(account, batch=50)
    assert run.found == []
    page = ada_at.get(path)
    assert "all equal" in page.text
    assert "on the server 3, stored 3, unreadable 0" in page.text
    assert account_now(account).audit_agrees
