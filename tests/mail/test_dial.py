"""Connections: every stage can fail, says so, and never takes longer than its deadline."""

import socket
import threading

import pytest

from mailadmin.mail import dial
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Rules, Stage, StageName, StageOutcome
from tests.mail.conftest import LOOPBACK, imap, server_context
from tests.ports import free_port
from tests.servers.certificates import Authority
from tests.servers.silent import Listener, say, silence

INCOMING = Direction.INCOMING


def failed(stages: list[Stage]) -> list[StageName]:
    return [stage.name for stage in stages if stage.outcome is StageOutcome.FAILED]


def test_a_passed_stage_is_reported_when_it_begins_and_when_it_ends(stages: list[Stage]) -> None:
    rules = Rules(networks=LOOPBACK, plaintext=True)
    with Listener(silence) as server:
        dial.connect(imap("127.0.0.1", server.port, "none"), rules, Deadline(20), INCOMING, stages.append).close()
    assert [(stage.name, stage.outcome) for stage in stages] == [
        (StageName.DNS, StageOutcome.RUNNING),
        (StageName.DNS, StageOutcome.PASSED),
        (StageName.TCP, StageOutcome.RUNNING),
        (StageName.TCP, StageOutcome.PASSED),
        (StageName.TLS, StageOutcome.SKIPPED),
    ]


def test_a_port_where_nobody_listens_refuses(stages: list[Stage]) -> None:
    server = imap("127.0.0.1", free_port(), "implicit")
    with pytest.raises(MailError) as raised:
        dial.connect(server, Rules(networks=LOOPBACK), Deadline(20), INCOMING, stages.append)
    assert raised.value.category is Category.REFUSED
    assert not raised.value.permanent
    assert failed(stages) == [StageName.TCP]


def test_an_address_that_is_not_allowed_is_not_dialled(stages: list[Stage]) -> None:
    with pytest.raises(MailError, match="MAILADMIN_ALLOWED_NETWORKS") as raised:
        dial.connect(imap("127.0.0.1", 993, "implicit"), Rules(), Deadline(20), INCOMING, stages.append)
    assert raised.value.category is Category.POLICY
    assert failed(stages) == [StageName.DNS]


def test_plain_text_needs_the_permission_of_the_installation() -> None:
    with pytest.raises(MailError, match="encryption") as raised:
        dial.connect(imap("127.0.0.1", 143, "none"), Rules(networks=LOOPBACK), Deadline(20), INCOMING)
    assert raised.value.category is Category.POLICY


def test_a_host_with_odd_syntax_is_refused_before_it_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(MailError) as raised:
        dial.connect(imap("0x7f.1", 993, "implicit"), Rules(networks=LOOPBACK), Deadline(20), INCOMING)
    assert raised.value.category is Category.CONFIG


def answers(*addresses: str):
    return lambda *args, **kwargs: [(0, 0, 0, "", (address, 0)) for address in addresses]


def test_a_name_is_resolved_once_and_every_address_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, found = [], answers("10.0.0.1", "169.254.169.254")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: asked.append(a) or found())
    with pytest.raises(MailError) as raised:
        dial.connect(imap("mail.example.org", 993, "implicit"), Rules(), Deadline(20), INCOMING)
    assert raised.value.category is Category.POLICY
    assert len(asked) == 1


def test_of_several_addresses_only_the_allowed_ones_are_dialled_until_one_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answers("169.254.169.254", "10.0.0.1", "127.0.0.3", "127.0.0.1"))
    rules = Rules(networks=LOOPBACK, plaintext=True)
    with Listener(silence) as server:
        connection = dial.connect(imap("mail.example.org", server.port, "none"), rules, Deadline(20), INCOMING)
        connection.close()
    assert str(connection.address) == "127.0.0.1"


@pytest.mark.parametrize(("number", "permanent"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)])
def test_a_name_that_does_not_exist_is_a_permanent_error(
    monkeypatch: pytest.MonkeyPatch, number: int, permanent: bool
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(number, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(MailError) as raised:
        dial.connect(imap("mail.example.org", 993, "implicit"), Rules(), Deadline(20), INCOMING)
    assert (raised.value.category, raised.value.permanent) == (Category.DNS, permanent)


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: over.wait(30) and [])
    with pytest.raises(MailError) as raised:
        dial.connect(imap("mail.example.org", 993, "implicit"), Rules(), Deadline(0.2), INCOMING)
    over.set()
    assert raised.value.category is Category.DNS


def test_a_server_that_is_silent_at_the_handshake_costs_no_more_than_the_deadline(stages: list[Stage]) -> None:
    rules = Rules(networks=LOOPBACK)
    with Listener(silence) as server, pytest.raises(MailError) as raised:
        dial.connect(imap("127.0.0.1", server.port, "implicit"), rules, Deadline(1), INCOMING, stages.append)
    assert raised.value.category is Category.TIMEOUT
    assert failed(stages) == [StageName.TLS]


@pytest.mark.parametrize(
    ("hosts", "days", "words"),
    [
        (("mail.example.net",), (-1, 30), "not for 127.0.0.1"),
        (("127.0.0.1",), (-30, -1), "expired"),
        (("127.0.0.1",), (1, 30), "not yet valid"),
    ],
)
def test_a_wrong_certificate_is_a_permanent_error_that_says_what_is_wrong(
    authority: Authority, hosts: tuple[str, ...], days: tuple[int, int], words: str
) -> None:
    context = server_context(authority.issue("bad", hosts, days=days))
    rules = Rules(networks=LOOPBACK, ca_file=str(authority.ca_file))
    with Listener(silence, context=context) as server, pytest.raises(MailError, match=words) as raised:
        dial.connect(imap("127.0.0.1", server.port, "implicit"), rules, Deadline(20), INCOMING)
    assert (raised.value.category, raised.value.permanent) == (Category.TLS, True)


def test_a_certificate_of_an_unknown_authority_is_not_trusted(authority: Authority) -> None:
    context = server_context(authority.issue("good", ("127.0.0.1",)))
    with Listener(silence, context=context) as server, pytest.raises(MailError, match="authority") as raised:
        dial.connect(imap("127.0.0.1", server.port, "implicit"), Rules(networks=LOOPBACK), Deadline(20), INCOMING)
    assert raised.value.permanent


def test_a_file_of_authorities_that_cannot_be_read_is_named() -> None:
    rules = Rules(networks=LOOPBACK, ca_file="/nonexistent/ca.pem")
    with Listener(silence) as server, pytest.raises(MailError, match="MAILADMIN_CA_FILE") as raised:
        dial.connect(imap("127.0.0.1", server.port, "implicit"), rules, Deadline(20), INCOMING)
    assert raised.value.category is Category.CONFIG


def test_a_session_that_sends_more_than_its_budget_is_ended() -> None:
    rules = Rules(networks=LOOPBACK, plaintext=True)
    with Listener(say(b"x" * 5000)) as server:
        where = imap("127.0.0.1", server.port, "none")
        connection = dial.connect(where, rules, Deadline(20), INCOMING, budget=1000)
        with connection.socket.makefile("rb") as file, pytest.raises(MailError) as raised:
            file.read(5000)
        connection.close()
    assert raised.value.category is Category.PROTOCOL


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "a\r\nA1 LOGOUT", "a\ud800b"])
def test_a_value_that_could_end_a_command_is_never_sent(value: str) -> None:
    with pytest.raises(MailError, match="password") as raised:
        dial.guard(value, "password")
    assert raised.value.category is Category.CONFIG
    assert value not in str(raised.value)
