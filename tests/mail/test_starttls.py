"""STARTTLS means required: stripped, refused, injected or made impossible, it ends before anything is given away."""

import socket
import ssl
import threading
from collections.abc import Callable

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import Imap, open_imap
from mailadmin.mail.smtp import Smtp, open_smtp
from mailadmin.mail.types import Rules, Server, Stage, StageName, StageOutcome
from tests.mail.conftest import LOOPBACK, WIM, imap, server_context, smtp
from tests.servers.certificates import Authority
from tests.servers.silent import Listener, imap_script, silence, smtp_script

IMAP_OFFERS = {
    "CAPABILITY": (b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR\r\n", b"TAG OK done\r\n"),
    "LOGOUT": (b"* BYE\r\n", b"TAG OK done\r\n"),
}
SMTP_OFFERS = {"ehlo": b"250-hi\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n", "quit": b"221 bye\r\n"}


@pytest.fixture
def rules(authority: Authority) -> Rules:
    return Rules(networks=LOOPBACK, ca_file=str(authority.ca_file))


def opened(protocol: str, port: int, rules: Rules, stages: list[Stage]) -> Imap | Smtp:
    if protocol == "imap":
        return open_imap(imap("127.0.0.1", port, "starttls"), rules, Deadline(20), stages.append)
    return open_smtp(smtp("127.0.0.1", port, "starttls"), rules, Deadline(20), stages.append)


def refused_with(protocol: str, answer: bytes, rules: Rules, stages: list[Stage]) -> tuple[MailError, list[str]]:
    heard: list[str] = []
    if protocol == "imap":
        behaviour = imap_script(IMAP_OFFERS | {"STARTTLS": (answer,)}, heard)
    else:
        behaviour = smtp_script({"STARTTLS": answer} | SMTP_OFFERS, heard)
    with Listener(behaviour) as server, pytest.raises(MailError) as raised:
        opened(protocol, server.port, rules, stages)
    assert not any(word in line.upper() for line in heard for word in ("AUTH", "LOGIN"))
    assert (stages[-1].name, stages[-1].outcome) == (StageName.TLS, StageOutcome.FAILED)
    return raised.value, heard


@pytest.mark.parametrize(
    ("protocol", "answer", "category", "permanent"),
    [
        ("imap", b"TAG NO hm\r\n", Category.TLS, False),
        ("imap", b"TAG BAD what\r\n", Category.TLS, False),
        ("imap", b"TAG NO [UNAVAILABLE] later\r\n", Category.UNAVAILABLE, False),
        ("smtp", b"454 4.7.0 TLS not available\r\n", Category.UNAVAILABLE, False),
        ("smtp", b"501 no parameters\r\n", Category.TLS, True),
        ("smtp", b"502 unknown\r\n", Category.TLS, True),
    ],
)
def test_starttls_that_is_refused_ends_it(
    protocol: str, answer: bytes, category: Category, permanent: bool, rules: Rules, stages: list[Stage]
) -> None:
    error, _ = refused_with(protocol, answer, rules, stages)
    assert (error.category, error.permanent) == (category, permanent)


@pytest.mark.parametrize(
    ("protocol", "answer"),
    [
        ("imap", b"TAG OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"),
        ("imap", b"TAG OK go\r\n* PREAUTH welcome\r\n"),
        ("imap", b"TAG OK go\r\n\r\n"),
        ("imap", b"TAG OK go\r\nx"),
        ("smtp", b"220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n"),
        ("smtp", b"220 go\r\n235 in\r\n"),
        ("smtp", b"220 go\r\nx"),
    ],
)
def test_words_between_consent_and_handshake_are_an_attack(
    protocol: str, answer: bytes, rules: Rules, stages: list[Stage]
) -> None:
    error, _ = refused_with(protocol, answer, rules, stages)
    assert (error.category, error.code, error.permanent) == (Category.TLS, "tls-injected", True)


def test_words_that_come_during_the_handshake_are_no_tls(rules: Rules, stages: list[Stage]) -> None:
    def behave(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"220 ready\r\n")
        client.recv(100)
        client.sendall(b"250-hi\r\n250 STARTTLS\r\n")
        client.recv(100)
        client.sendall(b"220 go\r\n")
        client.recv(1)  # The first byte of the handshake.
        client.sendall(b"250-hi\r\n250 AUTH PLAIN\r\n")
        over.wait(60)

    with Listener(behave) as server, pytest.raises(MailError) as raised:
        opened("smtp", server.port, rules, stages)
    assert (raised.value.category, raised.value.code) == (Category.TLS, "tls-promise-broken")


@pytest.mark.parametrize("protocol", ["imap", "smtp"])
def test_starttls_that_is_taken_away_ends_it(protocol: str, rules: Rules, stages: list[Stage]) -> None:
    heard: list[str] = []
    behaviour = (
        imap_script(IMAP_OFFERS | {"CAPABILITY": (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", b"TAG OK done\r\n")}, heard)
        if protocol == "imap"
        else smtp_script({"ehlo": b"250-hi\r\n250 AUTH PLAIN\r\n", "quit": b"221 bye\r\n"}, heard)
    )
    with Listener(behaviour) as server, pytest.raises(MailError) as raised:
        opened(protocol, server.port, rules, stages)
    assert raised.value.code == "unsupported-starttls"
    assert not any(line.startswith(("AUTH", "LOGIN")) for line in heard)
    assert (stages[-1].name, stages[-1].outcome) == (StageName.TLS, StageOutcome.FAILED)


def test_preauth_is_no_way_around_encryption(rules: Rules, stages: list[Stage]) -> None:
    behaviour = imap_script(IMAP_OFFERS, [], b"* PREAUTH welcome\r\n")
    with Listener(behaviour) as server, pytest.raises(MailError) as raised:
        opened("imap", server.port, rules, stages)
    assert (raised.value.category, raised.value.code) == (Category.TLS, "tls-preauth")


def test_smtp_forgets_what_was_said_before_encryption(authority: Authority, rules: Rules, stages: list[Stage]) -> None:
    context = server_context(authority.issue("smtp", ("127.0.0.1",)))
    heard: list[bytes] = []

    def behave(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"220 ready\r\n")
        client.recv(100)
        client.sendall(b"250-hi\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n")
        client.recv(100)
        client.sendall(b"220 go\r\n")
        secure = context.wrap_socket(client, server_side=True)
        heard.append(secure.recv(100))
        secure.sendall(b"250 hi again\r\n")
        over.wait(60)

    with Listener(behave) as server:
        session = opened("smtp", server.port, rules, stages)
        with pytest.raises(MailError) as raised:
            session.sign_in(WIM)
    assert heard[0].startswith(b"ehlo ")
    assert raised.value.code == "unsupported-no-sign-in"


@pytest.mark.parametrize(("dial", "where"), [(open_imap, imap), (open_smtp, smtp)])
def test_a_server_that_wants_our_certificate_says_so_after_the_handshake(
    dial: Callable[..., object], where: Callable[..., Server], authority: Authority, rules: Rules
) -> None:
    context = server_context(authority.issue("wanting", ("127.0.0.1",)))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca_file)
    with Listener(silence, context=context) as server, pytest.raises(MailError) as raised:
        dial(where("127.0.0.1", server.port, "implicit"), rules, Deadline(20))
    assert (raised.value.category, raised.value.permanent) == (Category.TLS, True)
    assert raised.value.code == "tls_client_certificate"
