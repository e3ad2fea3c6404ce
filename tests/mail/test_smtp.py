"""SMTP against a real server over implicit TLS and STARTTLS, and against servers that misbehave."""

from email.message import EmailMessage
from email.policy import SMTP as POLICY
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
    session = open_smtp(smtp("127.0.0.1", server.port, mode), rules, Deadline(20), report)
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
        open_smtp(smtp("127.0.0.1", server.port, "starttls"), rules, Deadline(3))


def test_starttls_that_is_not_offered_ends_before_the_password(tmp_path: Path) -> None:
    with Sink(tmp_path, "none") as server, pytest.raises(MailError, match="STARTTLS") as raised:
        sign_in(server, "starttls")
    assert raised.value.category is Category.UNSUPPORTED
    assert server.sign_ins == 0


def test_a_certificate_that_is_not_trusted_ends_it(tmp_path: Path) -> None:
    with Sink(tmp_path, "implicit") as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "implicit"), Rules(networks=LOOPBACK), Deadline(20))
    assert raised.value.category is Category.TLS


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        (b"535 5.7.8 no\r\n", Category.AUTH),
        (b"534 5.7.9 application-specific password required\r\n", Category.AUTH),
        (b"530 5.7.0 must issue STARTTLS first\r\n", Category.CONFIG),
        (b"538 5.7.11 encryption required\r\n", Category.CONFIG),
        (b"454 4.7.0 temporary authentication failure\r\n", Category.UNAVAILABLE),
        (b"454 4.7.0 too many login attempts\r\n", Category.THROTTLED),
        (b"421 4.3.2 closing\r\n", Category.UNAVAILABLE),
        (b"504 5.5.4 unrecognised\r\n", Category.CONFIG),
        (b"what?\r\n", Category.PROTOCOL),
    ],
)
def test_an_answer_to_the_sign_in_is_understood(answer: bytes, category: Category) -> None:
    script = {"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "AUTH": answer, "quit": b"221 bye\r\n"}
    with Listener(smtp_script(script, [])) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
        with pytest.raises(MailError) as raised:
            session.sign_in(WIM)
        session.close()
    assert raised.value.category is category


def test_the_password_never_comes_back_in_an_error() -> None:
    script = {"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "AUTH": b"535 password is wrong\r\n", "quit": b"221 bye\r\n"}
    with Listener(smtp_script(script, [])) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
        with pytest.raises(MailError) as raised:
            session.sign_in(WIM)
        session.close()
    assert raised.value.detail == "535 *** is wrong"


@pytest.mark.parametrize("how", [Password("wim\r\nRCPT", "x"), Password("wim", "x\0y")])
def test_a_credential_that_could_end_a_command_is_never_sent(how: Password) -> None:
    heard: list[str] = []
    script = {"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "quit": b"221 bye\r\n"}
    with Listener(smtp_script(script, heard)) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
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
        (say(b"* OK IMAP secret banner\r\n"), Category.CONFIG),
        (say(b"SSH-2.0-OpenSSH secret banner\r\n"), Category.PROTOCOL),
        (say(b"200 NNTP secret banner\r\n"), Category.PROTOCOL),
        (say(b"220-secret\r\n" * 101), Category.PROTOCOL),
        (say(b"554 5.7.1 blocked\r\n"), Category.POLICY),
        (say(b"421 4.7.0 too many connections\r\n"), Category.THROTTLED),
    ],
)
def test_a_greeting_that_is_none_is_refused_in_time(behaviour, category: Category) -> None:
    with Listener(behaviour) as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(0.5 if category is Category.TIMEOUT else 20))
    assert raised.value.category is category
    assert "secret" not in raised.value.message + raised.value.detail


def a_letter(subject: str = "Test", to: str = "ada@example.org") -> EmailMessage:
    letter = EmailMessage(policy=POLICY)
    letter["From"], letter["To"], letter["Subject"] = "wim@example.org", to, subject
    letter["Bcc"] = "somebody@example.org"
    letter.set_content("Grüße\n.\nQUIT\n")
    return letter


def test_a_message_goes_to_one_recipient_whatever_its_header_says(tmp_path: Path) -> None:
    with Sink(tmp_path, "implicit") as server:
        rules = Rules(networks=LOOPBACK, ca_file=str(server.ca_file))
        session = open_smtp(smtp("127.0.0.1", server.port, "implicit"), rules, Deadline(20))
        session.sign_in(WIM)
        session.send(a_letter(to="x@example.org, y@example.org"), "wim@example.org", "ada@example.org")
        session.close()
    ((sender, recipients, content),) = server.messages
    assert (sender, recipients) == ("wim@example.org", ["ada@example.org"])
    assert b"somebody@" not in content
    assert content.replace(b"\r\n", b"\n").count(b"\n.\nQUIT\n") == 1


@pytest.mark.parametrize("bad", ["a@b\r\nDATA", "a@b>\tSIZE=1", "a@b> RCPT", "<a@b", "a\0@b"])
def test_an_address_that_could_end_a_command_is_never_sent(bad: str) -> None:
    heard: list[str] = []
    with Listener(smtp_script({"ehlo": b"250 hi\r\n", "quit": b"221 bye\r\n"}, heard)) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
        for sender, recipient in ((bad, "a@b.example"), ("a@b.example", bad)):
            with pytest.raises(MailError) as raised:
                session.send(a_letter(), sender, recipient)
            assert raised.value.category is Category.CONFIG
        session.close()
    assert heard[1:] in ([], ["quit"])


def test_a_header_cannot_hold_a_line_break() -> None:
    with pytest.raises(ValueError, match="linefeed or carriage return"):
        a_letter("Test\r\nBcc: everybody@example.org")


SENDING = {"ehlo": b"250 hi\r\n", "mail": b"250 ok\r\n", "rset": b"250 ok\r\n", "quit": b"221 bye\r\n"}


@pytest.mark.parametrize(
    ("script", "category"),
    [
        ({"mail": b"530 5.7.0 Authentication required\r\n"}, {Category.CONFIG, Category.PERMISSION}),
        ({"mail": b"553 5.7.1 Sender address rejected: not owned by user\r\n"}, {Category.PERMISSION}),
        ({"rcpt": b"550 5.1.1 User unknown\r\n"}, {Category.CONFIG, Category.POLICY}),
        ({"rcpt": b"451 4.7.1 Greylisted, try again later\r\n"}, {Category.UNAVAILABLE}),
        ({"rcpt": b"250 ok\r\n", "data": b"554 5.7.1 rejected as spam\r\n"}, {Category.POLICY}),
        ({"rcpt": b"what?\r\n"}, {Category.PROTOCOL}),
        ({"rcpt": b"421 4.3.2 closing\r\n"}, {Category.UNAVAILABLE}),
    ],
)
def test_a_refused_message_is_understood(script: dict[str, bytes], category: set[Category]) -> None:
    with Listener(smtp_script(script | {k: v for k, v in SENDING.items() if k not in script}, [])) as server:
        session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
        with pytest.raises(MailError) as raised:
            session.send(a_letter(), "wim@example.org", "ada@example.org")
        session.close()
    assert raised.value.category in category


def test_an_address_beyond_ascii_needs_a_server_that_takes_it() -> None:
    for extension, arrives in ((b"8BITMIME", False), (b"SMTPUTF8", True)):
        heard: list[str] = []
        script = SENDING | {"ehlo": b"250-hi\r\n250 " + extension + b"\r\n", "rcpt": b"550 5.1.1 unknown\r\n"}
        with Listener(smtp_script(script, heard)) as server:
            session = open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
            with pytest.raises(MailError) as raised:
                session.send(a_letter(), "wim@example.org", "jürgen@example.org")
            session.close()
        assert (raised.value.code == "unsupported-letters") is not arrives
        assert ("rcpt TO:<jürgen@example.org>".lower() in [line.lower() for line in heard]) is arrives


def test_the_stages_tell_what_was_learned(tmp_path: Path, stages: list[Stage]) -> None:
    with Sink(tmp_path, "starttls") as server:
        sign_in(server, "starttls", stages=stages)
    facts = {stage.name: stage.facts for stage in stages if stage.outcome is StageOutcome.PASSED}
    assert facts[StageName.GREETING]["text"].startswith("220 ")
    assert facts[StageName.SIGN_IN]["mechanism"] == "PLAIN"
    assert {"SIZE", "8BITMIME"} <= set(facts[StageName.SIGN_IN]["capabilities"])


@pytest.mark.parametrize("hello", [b"500 unknown", b"530 Please login with USER and PASS", b"502 secret"])
def test_a_greeting_of_another_kind_of_server_is_never_shown(hello: bytes, stages: list[Stage]) -> None:
    script = {"ehlo": hello + b"\r\n", "helo": hello + b"\r\n"}
    behaviour = smtp_script(script, [], b"220 FTP server secret banner\r\n")
    with Listener(behaviour) as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20), stages.append)
    assert raised.value.category is Category.PROTOCOL
    assert raised.value.detail == ""
    assert "text" not in stages[-1].facts


@pytest.mark.parametrize("answer", [b"\xff\0?\r\n", b"\r\n", b"99 x\r\n", b"250\xff\r\n", b"250-a\r\nb\r\n"])
def test_nonsense_for_a_hello_is_said_to_be_none_of_the_protocol(answer: bytes) -> None:
    with Listener(smtp_script({"ehlo": answer}, [])) as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
    assert raised.value.category is Category.PROTOCOL


def test_a_password_at_the_cut_of_a_greeting_leaves_nothing_behind(stages: list[Stage]) -> None:
    script = {"ehlo": b"250 hi\r\n", "quit": b"221 bye\r\n"}
    greeting = b"220 " + b"x" * 490 + b"correct-horse-battery\r\n"
    secrets = ("correct-horse-battery",)
    with Listener(smtp_script(script, [], greeting)) as server:
        where = smtp("127.0.0.1", server.port, "none")
        open_smtp(where, PLAIN, Deadline(20), stages.append, secrets=secrets).close()
    assert stages[-1].facts["text"] == "220 " + "x" * 490 + "***"
