"""The command `check`, from its arguments to what it prints."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailadmin import boot, db
from mailadmin.cli import main
from mailadmin.config import Settings
from mailadmin.connections.models import Check
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service as providers
from mailadmin.providers.service import ProviderWish
from tests.conftest import SECRET_KEY
from tests.connections.conftest import Servers
from tests.connections.factories import an_account

Command = Callable[..., Result]


@pytest.fixture
def check(booted: Settings) -> Iterator[Command]:
    """The command with these arguments and this password, where the queue server is away."""
    environment = {
        "DATABASE_URL": booted.database_url,
        "REDIS_URL": "unix:///nowhere/v.sock",
        "SECRET_KEY": SECRET_KEY,
        "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8",
        "MAILADMIN_DATA": "",
    }

    def call(*arguments: str, password: str = "password", ca: Path | None = None, **changes: str) -> Result:
        trusting = ["--ca", str(ca)] if ca else []
        command = ["check", "--address", "wim@example.org", "--secret-stdin", *trusting, *arguments]
        return CliRunner(env=environment | changes).invoke(main, command, input=password + "\n")

    yield call
    boot.start(booted)


def test_it_prints_what_it_promises(check: Command, servers: Servers) -> None:
    result = check("--incoming", str(servers.imap), "--outgoing", str(servers.outgoing), "--json", ca=servers.ca_file)
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert list(told) == ["outcome", "category", "seconds", "stages", "diagnosis", "folders"]
    assert (told["outcome"], told["category"], told["diagnosis"]) == ("passed", None, None)
    assert list(told["stages"][0]) == ["direction", "name", "outcome", "ms", "detail", "facts"]
    assert [s["name"] for s in told["stages"]][:6] == ["dns", "tcp", "tls", "greeting", "sign-in", "folders"]
    assert list(told["folders"][0]) == ["path", "name", "role", "role_source", "selectable", "messages"]


def test_a_refused_password_exits_with_1_and_a_diagnosis(check: Command, servers: Servers) -> None:
    result = check("--incoming", str(servers.imap), "--json", password="wrong", ca=servers.ca_file)
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (told["outcome"], told["category"]) == ("failed", "auth")
    assert list(told["diagnosis"])[:5] == ["rule", "title", "cause", "action", "server_text"]


def test_in_words_it_says_each_step_and_what_to_do(check: Command, servers: Servers) -> None:
    result = check("--incoming", str(servers.imap))
    assert result.exit_code == 1
    assert "incoming  tls       FAILED" in result.stdout
    assert "comes from an unknown authority" in result.stdout
    assert "  1. " in result.stdout


def test_nothing_is_stored(check: Command, servers: Servers) -> None:
    check("--incoming", str(servers.imap))
    with db.reading() as session:
        assert session.query(Check).count() == 0


def test_the_provider_of_the_domain_says_where(check: Command, servers: Servers) -> None:
    with db.transaction() as session:
        wish = ProviderWish(name="Harbour", domains=("example.org",), servers=(servers.imap, servers.outgoing))
        providers.save(session, wish=wish, actor=SYSTEM)
    assert check("--json", ca=servers.ca_file).exit_code == 0


def test_a_saved_account_says_where(check: Command, servers: Servers) -> None:
    an_account(servers.imap)
    assert check("--json", ca=servers.ca_file).exit_code == 0


def test_it_works_without_any_table(check: Command, servers: Servers, tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path / 'empty.db'}"
    where = ("--incoming", str(servers.imap))
    assert check(*where, "--json", ca=servers.ca_file, DATABASE_URL=empty).exit_code == 0
    assert check("--json", DATABASE_URL=empty).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "No saved account and no provider"),
        (("--incoming", "mail.example.com"), "--incoming: Write a server as"),
        (("--incoming", "smtp:mail.example.com:465:implicit"), "SMTP is not for incoming"),
        (("--address", "wim"), "An address has a name"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_sentence(check: Command, arguments: tuple[str, ...], sentence: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_the_password_comes_from_standard_input_only(check: Command) -> None:
    assert check(password="").exit_code == 2
