"""What is made of a rule: its words are filled in, and no category is left without an answer."""

from dataclasses import replace

import pytest

from mailadmin.connections.diagnosis import diagnose
from mailadmin.mail import catalogue
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName, TLSMode

SERVER = Server(ServerProtocol.IMAP, "mail.example.org", 993, TLSMode.IMPLICIT)
GENERAL = [
    ("dns-no-answer", "dns", "dns", False),
    ("refused-port", "refused", "tcp", False),
    ("timeout-connect", "timeout", "tcp", False),
    ("timeout-encryption", "timeout", "tls", False),
    ("timeout-greeting", "timeout", "greeting", False),
    ("timeout-answer", "timeout", "sign-in", False),
    ("network-no-way", "network", "tcp", False),
    ("network-hung-up", "network", "greeting", False),
    ("tls", "tls", "tls", False),
    ("protocol-greeting", "protocol", "greeting", False),
    ("protocol", "protocol", "folders", False),
    ("auth-refused", "auth", "sign-in", True),
    ("throttled", "throttled", "sign-in", False),
    ("unavailable-now", "unavailable", "sign-in", False),
    ("quota", "quota", "folders", False),
    ("permission-folders", "permission", "folders", True),
    ("policy", "policy", "sign-in", True),
    ("unsupported-passwords", "unsupported", "sign-in", True),
    ("config-address", "config", "dns", True),
]


def test_where_an_app_signs_in_by_itself_no_owner_is_asked_to() -> None:
    error = MailError(Category.OAUTH, "No.", code="oauth_challenge", permanent=True)
    asked = diagnose(error, direction=Direction.INCOMING, server=SERVER, address="sales@example.org")
    alone = diagnose(error, direction=Direction.INCOMING, server=SERVER, address="sales@example.org", alone=True)
    assert (asked["turn"], alone["turn"]) == ("owner", "administrator")
    assert "owner" in " ".join(asked["action"])
    assert "owner" not in " ".join(alone["action"])
    assert "may open sales@example.org" in alone["action"][0]
    assert "Verify set-up" in alone["action"][1]


def test_what_an_administrator_can_mend_is_told_for_an_app_as_well() -> None:
    error = MailError(Category.OAUTH, "No.", code="oauth_invalid_client", permanent=True)
    told = [diagnose(error, direction=Direction.INCOMING, server=SERVER, alone=alone) for alone in (True, False)]
    assert told[0] == told[1]


@pytest.mark.parametrize(("rule", "category", "stage", "permanent"), GENERAL, ids=[row[0] for row in GENERAL])
def test_a_failure_without_a_code_meets_the_general_rule_of_its_stage(
    rule: str, category: str, stage: str, permanent: bool
) -> None:
    error = MailError(Category(category), "What we saw.", permanent=permanent)
    assert diagnose(error, direction=Direction.INCOMING, stage=StageName(stage), server=SERVER)["rule"] == rule


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("direction", list(Direction))
def test_every_category_is_answered_also_without_a_stage_or_server(category: Category, direction: Direction) -> None:
    found = diagnose(MailError(category, "What the library says."), direction=direction)
    assert found["category"] == category
    assert found["title"]
    assert found["cause"]
    assert found["action"]


def test_a_code_names_its_rule() -> None:
    error = MailError(Category.TLS, "It expired.", code="tls-expired", permanent=True)
    found = diagnose(error, direction=Direction.INCOMING, server=SERVER)
    assert (found["rule"], found["category"], found["turn"]) == ("tls-expired", "tls", "server")


def test_a_code_that_no_rule_has_is_answered_by_its_category() -> None:
    error = MailError(Category.TLS, "It expired.", code="no such rule")
    assert diagnose(error, direction=Direction.INCOMING)["rule"] == "tls"


def test_the_words_of_a_rule_are_filled_in() -> None:
    error = MailError(Category.REFUSED, "Nothing listens.")
    found = diagnose(error, direction=Direction.INCOMING, stage=StageName.TCP, server=SERVER, address="ada@example.org")
    assert found["title"] == "Nothing listens on port 993 of mail.example.org"


@pytest.mark.parametrize("rule", catalogue.rules(), ids=lambda rule: rule.id)
def test_no_rule_leaves_a_word_open(rule: catalogue.Rule) -> None:
    error = MailError(rule.category or Category.PROTOCOL, "What we saw.", code=rule.id)
    found = diagnose(error, direction=Direction.OUTGOING, server=SERVER, user_name="ada", address="ada@example.org")
    told = " ".join([found["title"], found["cause"], *found["action"], found["command"]])
    assert found["rule"] == rule.id
    assert not {"{host}", "{port}", "{address}", "{user}", "{said}", "{other_user}", "{protocol}"} & set(told.split())
    assert not found["title"].endswith(".")


def guessing(monkeypatch: pytest.MonkeyPatch, category: Category, likely: float = 0.9) -> None:
    """The words of every server point to `category`."""
    rule = replace(catalogue.general(category), guessed_by=("so", "much"), likely=likely)
    monkeypatch.setattr(catalogue, "find", lambda text, **_: rule)


@pytest.mark.parametrize("category", [Category.PROTOCOL, Category.AUTH, Category.UNAVAILABLE, Category.PERMISSION])
@pytest.mark.parametrize("permanent", [True, False])
def test_what_unknown_words_probably_mean_is_said_and_changes_nothing_else(
    monkeypatch: pytest.MonkeyPatch, category: Category, permanent: bool
) -> None:
    error = MailError(category, "The server refused.", permanent=permanent)
    plain = diagnose(error, direction=Direction.INCOMING, stage=StageName.SIGN_IN, server=SERVER)
    guessing(monkeypatch, Category.QUOTA)
    error.detail = "Words that nobody has heard."
    found = diagnose(error, direction=Direction.INCOMING, stage=StageName.SIGN_IN, server=SERVER)
    assert (plain["probably"], found["probably"]["category"]) == (None, "quota")
    assert found["cause"].startswith(plain["cause"])
    assert "words are not known to us. They probably mean" in found["cause"]
    assert found["probably"]["title"] in found["cause"]
    assert found["action"][0] == plain["action"][0]
    assert len(plain["action"]) <= len(found["action"]) <= 4
    deciding = ["rule", "category", "title", "turn", "retry", "command", "links", "stage"]
    assert {name: found[name] for name in deciding} == {name: plain[name] for name in deciding}
    assert (error.category, error.permanent) == (category, permanent)


def test_a_broad_rule_stands_and_what_else_its_words_may_mean_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    guessing(monkeypatch, Category.POLICY)
    error = MailError(Category.QUOTA, "Full.", detail="Over quota.", code="overquota", permanent=True)
    found = diagnose(error, direction=Direction.INCOMING, server=SERVER)
    assert (found["rule"], found["category"], found["probably"]["category"]) == ("overquota", "quota", "policy")
    assert "not known" not in found["cause"]
    assert "may also mean: mail.example.org has a rule" in found["cause"]


def test_what_is_hardly_likely_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    guessing(monkeypatch, Category.QUOTA, likely=0.4)
    error = MailError(Category.PROTOCOL, "The server refused.", detail="Words that nobody has heard.")
    assert diagnose(error, direction=Direction.INCOMING, server=SERVER)["probably"] is None


def test_what_a_rule_knows_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    guessing(monkeypatch, Category.POLICY)
    error = MailError(Category.QUOTA, "Full.", detail="Over quota.", code="graph_quota", permanent=True)
    assert diagnose(error, direction=Direction.INCOMING, server=SERVER)["probably"] is None


def test_with_a_token_no_password_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    guessing(monkeypatch, Category.AUTH)
    error = MailError(Category.OAUTH, "No.", detail="Words that nobody has heard.")
    assert diagnose(error, direction=Direction.INCOMING, server=SERVER)["probably"] is None


@pytest.mark.parametrize("detail", ["", "blub bla", "NO"])
def test_words_that_say_nothing_are_not_guessed(detail: str) -> None:
    error = MailError(Category.PROTOCOL, "The server refused.", detail=detail)
    assert diagnose(error, direction=Direction.INCOMING, server=SERVER)["probably"] is None
