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
from tests.servers.dovecot import Dovecot
from tests.servers.oauth import OAuthServer
from tests.servers.smtp import Sink

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


def test_with_an_access_token_both_servers_let_us_in(check: Command, tmp_path: Path) -> None:
    with OAuthServer(tmp_path) as idp:
        idp.add_person("wim@example.org")
        token = idp.issue("wim@example.org").access
        with (
            Dovecot(introspection_url=idp.introspection_url) as dovecot,
            Sink(tmp_path, "implicit", introspection_url=idp.introspection_url) as sink,
        ):
            trusted = tmp_path / "trusted.pem"
            trusted.write_bytes(dovecot.ca_file.read_bytes() + sink.ca_file.read_bytes())
            where = Servers(dovecot, sink, trusted)
            arguments = (
                "--incoming",
                str(where.imap),
                "--outgoing",
                str(where.outgoing),
                "--method",
                "oauth",
                "--json",
            )
            passed = check(*arguments, password=token, ca=trusted)
            idp.expire(token)
            refused = check(*arguments, password=token, ca=trusted)
    assert passed.exit_code == 0, passed.output
    used = [stage["facts"]["mechanism"] for stage in json.loads(passed.stdout)["stages"] if stage["name"] == "sign-in"]
    assert used == ["OAUTHBEARER", "OAUTHBEARER"]
    told = json.loads(refused.stdout)
    assert (refused.exit_code, told["category"], told["diagnosis"]["rule"]) == (1, "oauth", "oauth_challenge")
    assert "invalid_token" in told["diagnosis"]["server_text"]
    assert token not in passed.output + refused.output


def test_a_server_without_oauth_says_so_to_whoever_has_a_token(check: Command, servers: Servers) -> None:
    result = check("--incoming", str(servers.imap), "--method", "oauth", password="token", ca=servers.ca_file)
    assert result.exit_code == 1
    assert "localhost does not take OAuth sign-in" in result.stdout
    assert "The server's own words: AUTH=PLAIN AUTH=LOGIN" in result.stdout


def test_the_password_comes_from_standard_input_only(check: Command) -> None:
    assert check(password="").exit_code == 2
    assert (
        "no access token" in check("--incoming", "imap:localhost:993:implicit", "--method", "oauth", password="").stderr
    )
