"""`mailadmin accounts sync`, as automation uses it."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailadmin import boot, db
from mailadmin.accounts.models import Health
from mailadmin.cli import sync as command
from mailadmin.sync.run import perform
from tests.sync.factories import Box, MemoryServer, a_run, an_account, change

KEYS = ["address", "outcome", "category", "new", "changed", "gone", "unreadable", "stored", "seconds"]


@pytest.fixture(autouse=True)
def _booted_already(booted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailadmin.cli.settings", boot.settings)
    monkeypatch.setattr("mailadmin.boot.start", lambda settings, **options: None)


def sync(*arguments: str) -> Result:
    return CliRunner().invoke(command.sync, arguments)


def objects(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_one_object_for_each_account(box: Box) -> None:
    box.deliver(3)
    box.account()
    result = sync(box.user, "--json")
    assert result.exit_code == 0, result.output
    (told,) = objects(result)
    assert list(told) == KEYS
    assert (told["address"], told["outcome"], told["new"], told["stored"]) == (box.user, "complete", 3, 3)


def test_words_for_people(box: Box) -> None:
    box.account()
    assert sync(box.user).stdout.startswith(f"{box.user}: complete, 0 new")


def test_failed_account_is_exit_status_1_and_the_others_are_done(box: Box) -> None:
    box.account()
    an_account("broken@example.net")
    result = sync("--all", "--json")
    assert result.exit_code == 1
    assert {told["address"]: told["outcome"] for told in objects(result)} == {
        box.user: "complete",
        "broken@example.net": "failed",
    }
    assert "broken@example.net: " in result.stderr


@pytest.mark.parametrize("arguments", [[], ["nobody@example.net"], ["--all", "a@example.net"]])
def test_wrong_usage_is_exit_status_2(booted: object, arguments: list[str]) -> None:
    assert sync(*arguments).exit_code == 2


def test_paused_account_fails_with_a_sentence(booted: object) -> None:
    account = an_account()
    change(account, health=Health.PAUSED)
    result = sync(account.address, "--json")
    assert (result.exit_code, objects(result)[0]["outcome"]) == (1, "failed")
    assert "paused" in result.stderr


def test_run_of_somebody_else_is_waited_for_and_followed_by_one_of_our_own(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = box.account()
    box.deliver(2)
    run = a_run(account)
    with db.transaction() as session:
        session.get(type(run), run.id).started_at = db.now()
    server, slept = MemoryServer(), []
    server.kept["INBOX"].add(1)

    def runner_is_busy(run_id: int) -> None:
        if slept or run_id != run.id:
            perform(run_id)

    monkeypatch.setattr(command, "perform", runner_is_busy)
    monkeypatch.setattr(command.time, "sleep", slept.append)
    (told,) = objects(sync(box.user, "--json"))
    assert (told["outcome"], told["stored"], len(slept)) == ("complete", 2, 1)
    with db.reading() as session:
        assert session.query(type(run)).count() == 2
