"""The catalogue: every category is answered, and what our libraries really say meets the rule made for it."""

import pytest

from mailadmin.connections.diagnosis import catalogue, diagnose
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName, TLSMode

SERVER = Server(ServerProtocol.IMAP, "mail.example.org", 993, TLSMode.IMPLICIT)
SAMPLES = [
    ("dns-unknown", "dns", "dns", "There is no server named x; check the spelling.", True),
    ("dns-no-answer", "dns", "dns", "No name server said in time where x is.", False),
    ("refused-port", "refused", "tcp", "The machine answers, but nothing listens on port 993.", False),
    ("timeout-connect", "timeout", "tcp", "The machine did not answer on port 993.", False),
    ("timeout-encryption", "timeout", "tls", "The server did not answer in time.", False),
    ("timeout-greeting", "timeout", "greeting", "The server did not answer in time.", False),
    ("timeout", "timeout", "sign-in", "The server did not answer in time.", False),
    ("network-no-way", "network", "tcp", "The network has no way to the server.", False),
    ("network-hung-up", "network", "greeting", "The server closed the connection.", False),
    ("tls-expired", "tls", "tls", "The certificate of the server has expired; renew it.", True),
    ("tls-not-yet-valid", "tls", "tls", "The certificate of the server is not yet valid.", True),
    ("tls-self-signed", "tls", "tls", "The certificate of the server is self-signed.", True),
    ("tls-wrong-name", "tls", "tls", "The certificate of the server is not for mail.example.org.", True),
    ("tls-too-old", "tls", "tls", "The server offers only encryption that is no longer safe.", True),
    ("tls-preauth", "tls", "tls", "The server skips encryption by saying that we are signed in.", True),
    ("tls", "tls", "tls", "Encryption with the server could not be agreed.", False),
    ("protocol-greeting", "protocol", "greeting", "The server answered in a way that is not IMAP.", False),
    ("protocol", "protocol", "folders", "The server did not do what was asked.", False),
    ("auth-expired", "auth", "sign-in", "The server says that the password has expired.", True),
    ("auth-browser", "auth", "sign-in", "The server wants somebody to sign in with a browser first.", True),
    ("auth-not-let-in", "auth", "sign-in", "The password is right, but the server does not.", True),
    ("auth-app-password", "auth", "sign-in", "It may want an app password.", True),
    ("auth-refused", "auth", "sign-in", "The server refused the user name or the password.", True),
    ("throttled", "throttled", "sign-in", "The server limits how often.", False),
    ("broken-off", "unavailable", "sign-in", "The test broke off.", False),
    ("permission-folders", "permission", "folders", "Not permitted.", True),
    ("policy-never", "policy", "dns", "Such addresses are never dialled, see MAILADMIN_ALLOWED_NETWORKS.", True),
    ("policy-port", "policy", "dns", "Port 25: MAILADMIN_ALLOWED_PORTS or MAILADMIN_ALLOWED_NETWORKS.", True),
    ("policy-network", "policy", "dns", "Allow it in MAILADMIN_ALLOWED_NETWORKS.", True),
    ("policy-plaintext", "policy", "dns", "Or set MAILADMIN_ALLOW_PLAINTEXT.", True),
    ("policy-encrypt", "policy", "sign-in", "The server wants encryption before it lets anybody in.", True),
    ("unsupported-starttls", "unsupported", "tls", "The server does not offer STARTTLS on this port.", True),
    ("unsupported-no-sign-in", "unsupported", "sign-in", "The server offers no sign-in on this port.", True),
    ("unsupported-passwords", "unsupported", "sign-in", "The server does not accept passwords.", True),
    ("config-address", "config", "dns", "A port is a whole number.", True),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "category", "stage", "said", "permanent"), SAMPLES, ids=[s[0] for s in SAMPLES])
def test_what_the_library_says_meets_its_rule(rule: str, category: str, stage: str, said: str, permanent: bool) -> None:
    error = MailError(Category(category), said, permanent=permanent)
    assert diagnose(error, direction=Direction.INCOMING, stage=StageName(stage), server=SERVER)["rule"] == rule


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("direction", list(Direction))
def test_every_category_is_answered_also_without_a_stage_or_server(category: Category, direction: Direction) -> None:
    found = diagnose(MailError(category, "What the library says."), direction=direction)
    assert found["category"] == category
    assert found["title"]
    assert found["cause"]
    assert found["action"]


@pytest.mark.parametrize("rule", catalogue(), ids=[rule.id for rule in catalogue()])
def test_every_rule_fills_all_its_words_and_speaks_plainly(rule) -> None:
    stage = min(rule.stages, default=None)
    words = {"host": "h", "port": 1, "protocol": "IMAP", "direction": "d", "user": "u", "other_user": "o"}
    words |= {"address": "a", "tls_port": 993, "starttls_port": 143, "said": "s"}
    for sentence in (rule.title, rule.cause, *rule.action):
        assert "{" not in sentence.format(**words)
        assert "!" not in sentence
    assert not rule.title.endswith(".")
    assert all(sentence.endswith(".") for sentence in rule.action)
    assert stage is None or stage in StageName


def test_ids_are_unique_and_the_last_rule_of_a_category_takes_everything() -> None:
    rules = catalogue()
    assert len({rule.id for rule in rules}) == len(rules)
    last = {rule.category: rule for rule in rules}
    assert set(last) == set(Category)
    for rule in last.values():
        assert (rule.stages, rule.said, rule.heard, rule.permanent, rule.direction) == (
            frozenset(),
            None,
            None,
            None,
            None,
        )


def test_a_refused_address_suggests_the_part_before_the_at() -> None:
    error = MailError(Category.AUTH, "The server refused the user name or the password.", detail="NO no")
    found = diagnose(
        error, direction=Direction.INCOMING, server=SERVER, user_name="wim@example.org", address="wim@example.org"
    )
    assert "try wim." in found["action"][1]
    assert found["server_text"] == "NO no"


def test_braces_of_a_server_do_no_harm() -> None:
    found = diagnose(MailError(Category.PROTOCOL, "It said {host!r}"), direction=Direction.OUTGOING)
    assert "{host!r}" in found["cause"]
