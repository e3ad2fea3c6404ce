"""`mailadmin detect`: where mail lives and who says so, with a database and without."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailadmin import boot, db
from mailadmin.cli import main
from mailadmin.config import Settings
from tests.accounts.factories import a_provider
from tests.conftest import SECRET_KEY
from tests.servers.town import Town


@pytest.fixture
def environment(town: Town, tmp_path: Any) -> dict[str, str]:
    return town.environment() | {"HOME": str(tmp_path), "MAILADMIN_DATA": ""}


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(main, ["detect", *arguments], env=environment, catch_exceptions=False)


def told(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(environment, "--json", *arguments).stdout)
    return answer


def test_people_read_the_servers_and_what_was_asked(environment: dict[str, str], town: Town) -> None:
    town.add_autoconfig("read.test", name="Read Mail", imap=("imap.read.test", 993), smtp=("smtp.read.test", 465))
    result = run(environment, "ada@read.test")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[:4] == [
        "autoconfig: Read Mail, autoconfig.read.test",
        "  imap:imap.read.test:993:implicit",
        "  smtp:smtp.read.test:465:implicit",
        "  Signs in as the address, by password.",
    ]
    assert "  autoconfig found  https://autoconfig.read.test/mail/config-v1.1.xml" in lines
    assert "ada" not in "".join(town.web.requests)


def test_programs_get_one_object(environment: dict[str, str], town: Town) -> None:
    town.add("object.test", mx="aspmx.l.google.com")
    answer = told(environment, "object.test")
    assert list(answer) == ["domain", "problem", "gateway", "findings", "advice", "attempts"]
    finding, advice, attempt = answer["findings"][0], answer["advice"][0], answer["attempts"][0]
    assert list(finding) == ["source", "detail", "name", "known", "servers", "login", "methods"]
    assert (finding["source"], finding["known"], finding["methods"][0]) == ("mx", "google", "oauth")
    assert list(advice) == ["tone", "title", "text", "url", "label"]
    assert list(attempt) == ["source", "asked", "found", "problem"]


def test_a_known_domain_comes_with_advice(environment: dict[str, str]) -> None:
    lines = run(environment, "gmail.com").stdout
    assert "Google needs an app password or its own sign-in." in lines


def test_nothing_found_exits_with_1(environment: dict[str, str]) -> None:
    result = run(environment, "nowhere.test")
    assert result.exit_code == 1
    assert result.stdout.startswith("There is no domain called nowhere.test.\n")


def test_a_mail_filter_is_told(environment: dict[str, str], town: Town) -> None:
    town.add("filter.test", mx="mx1.hc123-45.eu.iphmx.com")
    result = run(environment, "filter.test")
    assert result.exit_code == 1
    assert result.stdout.startswith("A mail filter stands before the mailboxes: Cisco")


@pytest.mark.parametrize("typed", ["not a domain", "ada@", "@", ""])
def test_what_is_no_domain_is_wrong_usage(environment: dict[str, str], typed: str) -> None:
    assert run(environment, typed).exit_code == 2


def test_a_wrong_setting_is_named(environment: dict[str, str]) -> None:
    result = run(environment | {"MAILADMIN_DNS": "ns.example.com"}, "x.test")
    assert (result.exit_code, "MAILADMIN_DNS" in result.stderr) == (1, True)


def test_our_own_providers_come_first(environment: dict[str, str], booted: Settings, town: Town) -> None:
    with db.transaction() as session:
        a_provider(session, name="Harbour Mail", domains=("own.test",))
    wired = {"DATABASE_URL": booted.database_url, "REDIS_URL": "unix:///nowhere/v.sock", "SECRET_KEY": SECRET_KEY}
    answer = told(environment | wired, "ada@own.test")
    boot.start(booted)
    assert [(one["source"], one["name"]) for one in answer["findings"]] == [("provider", "Harbour Mail")]
    assert answer["findings"][0]["servers"] == [
        "imap:imap.example.net:993:implicit",
        "smtp:smtp.example.net:465:implicit",
    ]
    assert answer["attempts"] == []
    assert not [question for question in town.names.heard if "own.test" in question]
