"""SMTP against a real server over implicit TLS and STARTTLS, and against servers that misbehave."""

from pathlib import Path

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Password, Rules, Stage, StageName, StageOutcome
from tests.mail.conftest import LOOPBACK, WIM, smtp
from tests.servers.silent import Listener, drip, hang_up, say, silence, smtp_script
from tests.servers.smtp import Sink

PLAIN = Rules(networks=LOOPBACK, plaintext=True)


def sign_in(server: Sink, mode: str, how: Password = WIM, stages: list[Stage] | None = None) -> None:
    rules = Rules(networks=LOOPBACK, plaintext=True, ca_file=str(server.ca_file))
    report = stages.append if stages is not None else None
    session = open_smtp(smtp("127.0.0.1", server.port, mode), rules, Deadline(5), report)
    try:
        session.sign_in(how)
    finally:
        session.close()


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
@pytest.mark.parametrize("without", [(), ("PLAIN",)])
def test_signing_in_sends_no_message(tmp_path: Path, stages: list[Stage], mode: str, without: tuple[str, ...]) -> None:
    with Sink(tmp_path, mode, without=without) as server:
        sign_in(server, mode, stages=stages)
    assert server.sign_ins == 1
    assert server.messages == []
    assert (stages[-1].name, stages[-1].outcome) == (StageName.SIGN_IN, StageOutcome.PASSED)


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_a_wrong_password_is_tried_once(tmp_path: Path, mode: str) -> None:
    with Sink(tmp_path, mode) as server, pytest.raises(MailError, match="refused the user name") as raised:
        sign_in(server, mode, Password("wim@example.org", "wrong"))
    assert (raised.value.category, raised.value.permanent) == (Category.AUTH, True)
    assert server.sign_ins == 1


def test_a_server_without_any_sign_in_is_told_apart(tmp_path: Path) -> None:
    with (
        Sink(tmp_path, "implicit", offers_auth=False) as server,
        pytest.raises(MailError, match="no sign-in") as raised,
    ):
        sign_in(server, "implicit")
    assert raised.value.category is Category.UNSUPPORTED


def test_tls_on_a_port_that_begins_in_plain_text_is_explained(tmp_path: Path) -> None:
    with Sink(tmp_path, "starttls") as server, pytest.raises(MailError, match="choose STARTTLS or port 465"):
        sign_in(server, "implicit")


def test_starttls_on_a_port_that_begins_with_tls_is_explained(tmp_path: Path) -> None:
    rules = Rules(networks=LOOPBACK)
    with Sink(tmp_path, "implicit") as server, pytest.raises(MailError, match="encrypted from the first byte"):
        open_smtp(smtp("127.0.0.1", server.port, "starttls"), rules, Deadline(0.8))


def test_starttls_that_is_not_offered_ends_before_the_password(tmp_path: Path) -> None:
    with Sink(tmp_path, "none") as server, pytest.raises(MailError, match="STARTTLS") as raised:
        sign_in(server, "starttls")
    assert raised.value.category is Category.UNSUPPORTED
    assert server.sign_ins == 0


def test_a_certificate_that_is_not_trusted_ends_it(tmp_path: Path) -> None:
    with Sink(tmp_path, "implicit") as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "implicit"), Rules(networks=LOOPBACK), Deadline(5))
    assert raised.value.category is Category.TLS


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (b"535 5.7.8 no\r\n", Category.AUTH),
        (b"534 5.7.9 application-specific password required\r\n", Category.AUTH),
        (b"530 5.7.0 must issue STARTTLS first\r\n", Category.POLICY),
        (b"538 5.7.11 encryption required\r\n", Category.POLICY),
        (b"454 4.7.0 temporary authentication failure\r\n", Category.UNAVAILABLE),
        (b"454 4.7.0 too many login attempts\r\n", Category.THROTTLED),
        (b"421 4.3.2 closing\r\n", Category.UNAVAILABLE),
        (b"504 5.5.4 unrecognised\r\n", Category.UNSUPPORTED),
        (b"what?\r\n", Category.PROTOCOL),
    ],
)
def test_an_answer_to_the_sign_in_is_understood(answer: bytes, category: Category) -> None:
    script = {"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "AUTH": answer, "quit": b"221 bye\r\n"}
    with Listener(smtp_script(script, [])) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(2))
        with pytest.raises(MailError) as raised:
            session.sign_in(WIM)
        session.close()
    assert raised.value.category is category


def test_the_password_never_comes_back_in_an_error() -> None:
    script = {"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "AUTH": b"535 password is wrong\r\n", "quit": b"221 bye\r\n"}
    with Listener(smtp_script(script, [])) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(2))
        with pytest.raises(MailError) as raised:
            session.sign_in(WIM)
        session.close()
    assert raised.value.detail == "535 *** is wrong"


@pytest.mark.parametrize("how", [Password("wim\r\nRCPT", "x"), Password("wim", "x\0y")])
def test_a_credential_that_could_end_a_command_is_never_sent(how: Password) -> None:
    heard: list[str] = []
    script = {"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "quit": b"221 bye\r\n"}
    with Listener(smtp_script(script, heard)) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(2))
        with pytest.raises(MailError) as raised:
            session.sign_in(how)
        session.close()
    assert raised.value.category is Category.CONFIG
    assert not any(line.startswith("AUTH") for line in heard)


@pytest.mark.parametrize(
    ("behaviour", "category"),
    [
        (silence, Category.TIMEOUT),
        (drip(b"220 " + b"x" * 1000, 0.05), Category.TIMEOUT),
        (hang_up, Category.NETWORK),
        (say(b"* OK IMAP secret banner\r\n"), Category.PROTOCOL),
        (say(b"554 5.7.1 blocked\r\n"), Category.POLICY),
        (say(b"421 4.7.0 too many connections\r\n"), Category.THROTTLED),
    ],
)
def test_a_greeting_that_is_none_is_refused_in_time(behaviour, category: Category) -> None:
    with Listener(behaviour) as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(0.5))
    assert raised.value.category is category
    assert "secret" not in raised.value.message + raised.value.detail
