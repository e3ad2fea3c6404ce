"""`mailadmin diagnose`: any text is explained, without settings, and whatever it contains."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailadmin.cli import main
from mailadmin.mail import catalogue

KEYS = ["rule", "category", "title", "cause", "sure", "action", "command", "links", "turn", "retry", "server_text"]


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["diagnose", *arguments], input=given, env={}, catch_exceptions=False)


def told(*arguments: str, given: str | bytes | None = None) -> dict[str, Any]:
    result = run("--json", *arguments, given=given)
    assert result.exit_code == 0
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_people_read_what_happened_and_what_to_do() -> None:
    lines = run("-ERR [IN-USE] mailbox locked, home").stdout.splitlines()
    assert lines[0] == "Somebody else is using the mailbox just now"
    assert lines[2].startswith("  1. ")
    assert lines[-1] == "Category unavailable, rule inuse."


def test_programs_get_one_object() -> None:
    answer = told("--protocol", "imap", "A1 NO [OVERQUOTA] Quota exceeded")
    assert list(answer) == KEYS
    assert (answer["rule"], answer["category"], answer["turn"], answer["retry"]) == (
        "overquota",
        "quota",
        "owner",
        "later",
    )
    assert answer["server_text"] == "A1 NO [OVERQUOTA] Quota exceeded"


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_text_comes_on_standard_input(arguments: tuple[str, ...]) -> None:
    assert told(*arguments, given=b"535 5.7.8 Error:\r\nauthentication failed\xff\n")["category"] == "auth"


def test_no_text_is_wrong_usage() -> None:
    assert run(given=" \n").exit_code == 2


def test_unknown_text_gets_an_honest_answer() -> None:
    answer = told("blub bla")
    assert (answer["rule"], answer["category"]) == ("unknown", "protocol")
    assert len(answer["action"]) >= 2


def test_harmless_text_is_no_failure() -> None:
    assert told("* BYE Autologout; idle for too long")["category"] == "harmless"


def test_control_characters_of_a_text_do_not_come_back() -> None:
    answer = told("535 \x1b[2J\u202enein")
    assert "\x1b" not in answer["server_text"]
    assert "\u202e" not in answer["server_text"]
    assert "\x1b" not in run("535 \x1b[2J").stdout


@pytest.mark.parametrize("provider", ["microsoft", "outlook", "outlook.office365.com", "Office365"])
def test_provider_is_a_family_or_a_host(provider: str) -> None:
    found = told("--protocol", "imap", "--provider", provider, "--method", "password", "A1 NO LOGIN failed.")
    rule = catalogue.rule(found["rule"])
    assert rule is not None
    assert rule.family == {"microsoft"}


@pytest.mark.parametrize(
    ("arguments", "text", "rule"),
    [
        (("--provider", "outlook.office365.com", "--protocol", "imap"), "A1 NO AUTHENTICATE failed.",
         "ms_oauth_refused"),
        (("--provider", "google", "--protocol", "smtp"), "535 5.7.8 Username and Password not accepted.",
         "google_smtp_bad_token"),
        (("--protocol", "imap"), "A1 NO wrong password", "oauth_token_refused"),
        (("--protocol", "pop3"), '[AUTH] Authentication failed. {"status": "invalid_token"}', "oauth_challenge"),
        (("--protocol", "smtp"), "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJtYWlsIn0=",
         "oauth_challenge"),
        (("--protocol", "imap"), "A1 NO [WEBALERT] Please sign in with a browser", "browser_first"),
    ],
)  # fmt: skip
def test_with_a_token_no_password_is_blamed(arguments: tuple[str, ...], text: str, rule: str) -> None:
    assert told(*arguments, "--method", "oauth", text)["rule"] == rule


def test_address_stands_in_the_command() -> None:
    text = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox"
    arguments = ("--protocol", "smtp", "--provider", "microsoft", text)
    assert "-Identity ada@example.com" in told("--address", "ada@example.com", *arguments)["command"]
    assert "-Identity ADDRESS" in told(*arguments)["command"]


def test_places_without_a_value_read_well() -> None:
    for rule in catalogue.rules():
        if rule.heard:
            words = json.dumps(told(rule.sample or "-"), ensure_ascii=False)
            assert "{" not in words.split('"server_text"')[0][1:], rule.id
            assert "port  " not in words, rule.id


def test_a_guess_is_called_one() -> None:
    said = "skipping invalid fetch ... missing required UNSEEN OK untagged response"
    answer = told("--protocol", "imap", said)
    assert not answer["sure"]
    assert answer["cause"].startswith("No rule fits these words well; because of ")
    assert "“missing”" in answer["cause"]
    assert "they probably mean this" in answer["cause"]
    assert run("--protocol", "imap", said).stdout.startswith("Probably: ")


def test_what_a_rule_knows_is_said_outright() -> None:
    answer = told("--protocol", "imap", "A1 NO [OVERQUOTA] Quota exceeded")
    assert answer["sure"]
    assert "probably" not in answer["cause"]


def test_what_nobody_knows_is_neither_sure_nor_probable() -> None:
    assert not told("blub bla")["sure"]
    assert not run("blub bla").stdout.startswith("Probably")
