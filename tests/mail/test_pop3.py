"""POP3 against a real Dovecot, and against servers that lie, stall or set traps within a message."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailadmin.mail import dial
from mailadmin.mail.answers import translated
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.pop3 import Pop3, open_pop3
from mailadmin.mail.pop3_lists import read_listing, read_names, read_stat
from mailadmin.mail.pop3_session import MOST_MESSAGES, Session
from mailadmin.mail.types import (
    Envelope,
    FolderState,
    Password,
    Role,
    Rules,
    Server,
    ServerProtocol,
    Stage,
    StageName,
    StageOutcome,
    TLSMode,
)
from tests.mail.conftest import LOOPBACK, WIM
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.silent import Listener
from tests.servers.silent import smtp_script as script

PLAIN = Rules(networks=LOOPBACK, plaintext=True)
BASE = {
    "CAPA": b"+OK\r\nUSER\r\nTOP\r\nUIDL\r\n.\r\n",
    "USER": b"+OK\r\n",
    "PASS": b"+OK in\r\n",
    "STAT": b"+OK 2 300\r\n",
    "LIST": b"+OK\r\n1 100\r\n2 200\r\n.\r\n",
    "UIDL 1": b"+OK 1 a\r\n",
    "UIDL": b"+OK\r\n1 a\r\n2 b\r\n.\r\n",
    "TOP 1": b"+OK\r\nSubject: One\r\n\r\n.\r\n",
    "TOP 2": b"+OK\r\nSubject: Two\r\n\r\n.\r\n",
    "QUIT": b"+OK bye\r\n",
}


def pop3(host: str, port: int, mode: str) -> Server:
    return Server(ServerProtocol.POP3, host, port, TLSMode(mode))


@contextmanager
def olga(dovecot: Dovecot, rules: Rules) -> Iterator[Pop3]:
    """Signed in to the Dovecot."""
    session = open_pop3(pop3("localhost", dovecot.ports["pop3s"], "implicit"), rules, Deadline(20))
    session.sign_in(Password("olga@example.org", "password"))
    yield session
    session.close()


def asked(answers: dict[str, bytes], *, heard: list[str] | None = None) -> tuple[FolderState, list[Envelope]]:
    """What `examine` and `envelopes` make of a server whose answers differ like this from proper ones."""
    with Listener(script(BASE | answers, heard if heard is not None else [], b"+OK ready\r\n")) as server:
        session = open_pop3(pop3("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
        try:
            session.sign_in(WIM)
            session.folders()
            state = session.examine("INBOX")
            return state, list(session.envelopes(session.search()))
        finally:
            session.close()


def failing(answers: dict[str, bytes], heard: list[str] | None = None) -> MailError:
    with pytest.raises(MailError) as raised:
        asked(answers, heard=heard)
    return raised.value


# A real server.


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_dovecot_lets_us_in_and_shows_its_inbox(dovecot: Dovecot, rules: Rules, stages: list[Stage], mode: str) -> None:
    where = ("localhost", "pop3s") if mode == "implicit" else ("127.0.0.2", "pop3")
    session = open_pop3(pop3(where[0], dovecot.ports[where[1]], mode), rules, Deadline(20), stages.append)
    session.sign_in(WIM)
    (inbox,) = session.folders()
    session.close()
    assert (inbox.path, inbox.role, inbox.role_source, inbox.selectable) == ("INBOX", Role.INBOX, "server", True)
    passed = [stage.name for stage in stages if stage.outcome is StageOutcome.PASSED]
    first = [StageName.TLS, StageName.GREETING] if mode == "implicit" else [StageName.GREETING, StageName.TLS]
    assert passed == [StageName.DNS, StageName.TCP, *first, StageName.SIGN_IN, StageName.FOLDERS]
    assert stages[-3].facts["mechanism"] == "PLAIN"
    assert {"UIDL", "TOP", "PIPELINING"} <= set(stages[-3].facts["capabilities"])


def test_a_wrong_password_is_refused_permanently_and_said_so(dovecot: Dovecot, rules: Rules) -> None:
    session = open_pop3(pop3("localhost", dovecot.ports["pop3s"], "implicit"), rules, Deadline(20))
    with pytest.raises(MailError) as raised:
        session.sign_in(Password("wim@example.org", "not the password"))
    session.close()
    assert (raised.value.category, raised.value.permanent) == (Category.AUTH, True)
    assert "[AUTH]" in raised.value.detail


def test_headers_come_with_the_time_of_arrival_and_nothing_is_marked(dovecot: Dovecot, rules: Rules) -> None:
    late = datetime.now(UTC) + timedelta(days=300)
    received = b"Received: from a by b;\r\n\tMon, 01 Jun 2026 10:00:00 +0200\r\n"
    received += b"Received: by c; 1 Jan 2001 00:00:00 +0000\r\n"
    messages = [
        received + a_message(801),
        a_message(802, moment=datetime(2026, 5, 1, tzinfo=UTC)),
        a_message(803, moment=late),
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n.\r\n..\r\n",
    ]
    for raw in messages:
        dovecot.append(raw, user="olga@example.org")
    with olga(dovecot, rules) as session:
        session.examine("INBOX")
        four = list(session.envelopes(session.search()[-4:]))
        assert session.find("<802@example.org>") == "INBOX"
        assert session.find("<899@example.org>") is None
    assert [e.subject for e in four] == ["Message 801", "Message 802", "Message 803", "Grüße"]
    assert four[0].received_at == datetime(2026, 6, 1, 8, tzinfo=UTC)
    assert four[1].received_at == datetime(2026, 5, 1, tzinfo=UTC)
    assert four[2].received_at
    assert four[2].received_at < late
    assert (four[2].sent_at or late).date() == late.date()
    assert four[3].received_at is None
    with dovecot.session("olga@example.org") as imap:
        imap.select("INBOX", readonly=True)
        assert imap.uid("SEARCH", "SEEN")[1] == [b""]


# What servers say wrongly.


@pytest.mark.parametrize(
    ("answers", "messages", "numbers"),
    [
        ({}, 2, [1, 2]),
        ({"STAT": b"+OK 3 300\r\n"}, 3, [1, 2]),
        ({"LIST": b"+OK\r\n1 100\r\n.\r\n"}, 1, [1, 2]),
        ({"LIST": b"+OK\r\n1 100\r\n3 100\r\n.\r\n"}, 3, [1, 2]),
        ({"UIDL": b"+OK\r\n1 a\r\n.\r\n"}, 2, [1]),
        ({"UIDL": b"+OK\r\n1 a\r\n1 b\r\n.\r\n"}, 2, [1]),
        ({"UIDL": b"+OK\r\n-1 a\r\n0 b\r\n2 c\r\n.\r\n"}, 2, [2]),
        ({"UIDL": b"+OK\r\n1\r\n2 \r\nx y\r\n.\r\n"}, 2, []),
        ({"STAT": b"+OK 0 0\r\n", "LIST": b"+OK\r\n.\r\n", "UIDL": b"+OK\r\n.\r\n"}, 0, []),
    ],
)
def test_counts_that_disagree_are_never_a_whole_list(
    answers: dict[str, bytes], messages: int, numbers: list[int]
) -> None:
    state, envelopes = asked(answers)
    assert (state.messages, [e.uid for e in envelopes]) == (messages, numbers)
    assert state.uidvalidity == 0  # Nobody may keep these numbers.


def test_names_that_are_too_long_or_odd_are_kept_apart() -> None:
    names = read_names([b"1 " + b"a" * 70, b"2 " + b"a" * 71, b"3 " + b"a" * 72, b"4 \xff b", b"5  x "])
    assert names[1] == "a" * 70
    assert names[5] == "x"
    assert len(set(names.values())) == 5
    assert all(len(name) <= 70 and name.isascii() for name in names.values())


def test_a_server_without_uidl_is_of_no_use_and_says_what_to_do() -> None:
    error = failing({"CAPA": b"+OK\r\nUSER\r\n.\r\n", "UIDL": b"-ERR unknown command\r\n"})
    assert (error.category, error.code, error.permanent) == (Category.UNSUPPORTED, "unsupported-uidl", True)


def test_a_server_without_top_is_read_whole_up_to_a_limit() -> None:
    heard: list[str] = []
    answers = {
        "CAPA": b"-ERR unknown\r\n",
        "TOP 1": b"-ERR unknown\r\n",
        "TOP 2": b"-ERR unknown\r\n",
        "LIST": b"+OK\r\n1 100\r\n2 900000000\r\n.\r\n",
        "RETR 1": b"+OK\r\nSubject: Whole\r\n\r\n..\r\nSubject: Body\r\n.\r\n",
    }
    _, (first, second) = asked(answers, heard=heard)
    assert (first.subject, first.unreadable) == ("Whole", "")
    assert "too large" in second.unreadable
    assert "RETR 2" not in heard


def test_a_message_that_is_refused_spoils_only_itself() -> None:
    _, (first, second) = asked({"TOP 1": b"-ERR no such message\r\n"})
    assert (bool(first.unreadable), first.size, second.subject) == (True, 100, "Two")


def test_a_limit_in_the_middle_ends_it() -> None:
    assert failing({"TOP 1": b"-ERR Too many commands, rate limit\r\n"}).category is Category.THROTTLED


def test_one_refusal_is_the_last_word_and_quit_comes_without_dele() -> None:
    heard: list[str] = []
    error = failing(
        {"CAPA": b"+OK\r\nSASL PLAIN LOGIN CRAM-MD5\r\nUSER\r\nUIDL\r\n.\r\n", "AUTH": b"-ERR no\r\n"}, heard
    )
    assert error.category is Category.AUTH
    assert heard == ["CAPA", "AUTH CRAM-MD5", "QUIT"]  # without encryption the digest is better than the password


@pytest.mark.parametrize("how", [Password("wim\r\nDELE 1", "x"), Password("wim", "x\r\nDELE 1"), Password("w\0", "x")])
def test_what_could_end_a_command_is_never_sent(how: Password) -> None:
    heard: list[str] = []
    with Listener(script(BASE, heard, b"+OK\r\n")) as server:
        session = open_pop3(pop3("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
        with pytest.raises(MailError) as raised:
            session.sign_in(how)
        session.close()
    assert raised.value.category is Category.CONFIG
    assert heard == ["CAPA", "QUIT"]


# The reader of answers.


def reader(raw: bytes) -> Session:
    """A session that has been told `raw`."""
    file = io.BytesIO(raw)
    sock = SimpleNamespace(makefile=lambda mode, buffering: file, sendall=lambda data: None)
    connection = SimpleNamespace(server=pop3("127.0.0.1", 995, "implicit"), socket=sock)
    session = Session(cast(dial.Connection, connection))
    cast(Any, session).rest = file
    return session


def stuffed(raw: bytes) -> bytes:
    """`raw` as a proper server sends it: a dot before each dot that begins a line, and one alone at the end."""
    return re.sub(rb"(\A|\r\n)\.", rb"\1..", raw) + (b"" if raw.endswith(b"\r\n") else b"\r\n") + b".\r\n"


@given(st.binary(max_size=40) | st.text(alphabet="a.\r\n:", max_size=60).map(str.encode))
@example(b"\n.\r\n+OK evil")
@example(b"a\n.\n+OK evil")
@example(b".\r\n")
@example(b"x" * 65_535 + b"\r\n.")
@example(b"x" * 65_534 + b"\r\n.\r\n")
def test_no_message_can_end_its_own_answer(raw: bytes) -> None:
    session = reader(b"+OK\r\n" + stuffed(raw) + b"+OK next\r\n")
    assert session.status() == b""
    session.header()
    assert session.status() == b"next"


@given(st.lists(st.text(alphabet="ab.: \t", min_size=1, max_size=12).map(str.encode), max_size=8))
def test_a_header_comes_out_as_it_went_in(lines: list[bytes]) -> None:
    header = b"".join(line + b"\r\n" for line in lines)
    session = reader(b"+OK\r\n" + stuffed(header + b"\r\nSubject: of the body\r\n"))
    session.status()
    assert session.header() == header


@given(st.binary(max_size=200))
def test_whatever_a_server_says_is_an_answer_or_a_mail_error(raw: bytes) -> None:
    for ask in (Session.greet, Session.status, Session.refresh_capabilities, Session.header):
        with suppress(MailError), translated(ServerProtocol.POP3):
            ask(reader(raw))
        with suppress(MailError), translated(ServerProtocol.POP3):
            ask(reader(b"+OK\r\n" + raw + b"\r\n.\r\n"))


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_lists_hold_nothing_but_numbers_sizes_and_names(lines: list[bytes]) -> None:
    assert all(0 < n < 10**10 and 0 <= size < 2**63 for n, size in read_listing(lines).items())
    assert all(0 < n < 10**10 and 1 <= len(name) <= 70 and name.isascii() for n, name in read_names(lines).items())
    assert all((read_stat(line) or 0) >= 0 for line in lines)


def test_a_list_without_end_is_cut_off() -> None:
    with pytest.raises(MailError) as raised:
        list(reader(b"1 a\r\n" * 20).lines(10))
    assert raised.value.code == "protocol-flood"
    error = failing({"STAT": b"+OK %d 0\r\n" % (MOST_MESSAGES + 1)})
    assert error.code == "protocol-flood"
