"""However much a server sends, it is cut off early and costs little memory."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import Imap, open_imap
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Rules
from tests.mail.conftest import LOOPBACK, WIM, imap, smtp
from tests.servers.silent import Behaviour, Listener, imap_script, smtp_script

PLAIN = Rules(networks=LOOPBACK, plaintext=True)
BUDGET = 20_000_000
MEGABYTES = 1024 * 1024


def after_list(flood: Callable[[], bytes]) -> Behaviour:
    """An IMAP server that answers LIST with whatever `flood` makes, again and again."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        client.sendall(b"* OK ready\r\n")
        with client.makefile("rb") as lines:
            for line in lines:
                tag, command = line.split()[:2]
                if command == b"CAPABILITY":
                    client.sendall(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")
                elif command == b"LOGIN":
                    client.sendall(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
                elif command == b"LIST":
                    while not over.is_set():
                        client.sendall(flood())

    return behave


def most_memory() -> int:
    """The most that this process had in memory so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def signed_in(port: int) -> Imap:
    session = open_imap(imap("127.0.0.1", port, "none"), PLAIN, Deadline(20), budget=BUDGET)
    session.sign_in(WIM)
    return session


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(lambda: b"* X\r\n" * 1000, id="many short lines"),
        pytest.param(lambda: b'* LIST () "/" x\r\n' * 1000, id="many folders"),
        pytest.param(lambda: b"x" * 65536, id="one endless line"),
        pytest.param(lambda: b"* LIST " + b"(" * 999_000 + b"\r\n", id="deep nesting"),
        pytest.param(lambda: b"* LIST () {999999}\r\n" + b"x" * 999_999, id="large literals"),
        pytest.param(lambda: b"* LIST () {999999999999}\r\n", id="an impossible literal"),
        pytest.param(lambda: b"+ go on\r\n" * 1000, id="endless permission to go on"),
    ],
)
def test_a_flood_is_cut_off_and_costs_little_memory(flood: Callable[[], bytes]) -> None:
    with Listener(after_list(flood)) as server:
        session = signed_in(server.port)
        Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
        before = most_memory()
        with pytest.raises(MailError) as raised:
            session.folders()
        peak = most_memory() - before
        session.close()
    assert raised.value.category is Category.PROTOCOL
    assert raised.value.code == "protocol-flood"
    print(peak / MEGABYTES)
    assert peak < 60 * MEGABYTES


def test_nesting_that_is_too_deep_spoils_only_itself() -> None:
    script = {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1\r\n", b"TAG OK done\r\n"),
        "LOGIN": (b"TAG OK in\r\n",),
        "LIST": (b"* LIST " + b"(" * 900_000 + b"\r\n", b'* LIST () "/" INBOX\r\n', b"TAG OK done\r\n"),
    }
    with Listener(imap_script(script, [])) as server:
        session = signed_in(server.port)
        assert [folder.path for folder in session.folders(counts=False)] == ["INBOX"]
        session.close()


def test_a_server_that_will_not_count_is_not_asked_for_every_folder() -> None:
    heard: list[str] = []
    script = {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1\r\n", b"TAG OK done\r\n"),
        "LOGIN": (b"TAG OK in\r\n",),
        "LIST": (*(b'* LIST () "/" box%d\r\n' % number for number in range(200)), b"TAG OK done\r\n"),
        "STATUS": (b"TAG NO not allowed\r\n",),
    }
    with Listener(imap_script(script, heard)) as server:
        session = signed_in(server.port)
        assert len(session.folders()) == 200
        session.close()
    assert sum(line.startswith("STATUS") for line in heard) == 20


def test_flags_of_a_very_large_folder_are_asked_for_in_parts() -> None:
    heard: list[str] = []
    script = {
        "CAPABILITY": (b"* CAPABILITY IMAP4rev1\r\n", b"TAG OK done\r\n"),
        "LOGIN": (b"TAG OK in\r\n",),
        "EXAMINE": (b"* 250000 EXISTS\r\n", b"TAG OK [UIDVALIDITY 1] done\r\n"),
        "FETCH 1:": (b"* 1 FETCH (UID 7 FLAGS (\\Seen))\r\n", b"TAG OK done\r\n"),
        "FETCH": (b"* 200001 FETCH (UID 300000 FLAGS ())\r\n", b"TAG OK done\r\n"),
    }
    with Listener(imap_script(script, heard)) as server:
        session = signed_in(server.port)
        session.examine("INBOX")
        assert session.flags() == {7: {"\\Seen"}, 300000: frozenset()}
        session.close()
    fetches = [line for line in heard if line.startswith("FETCH")]
    assert fetches == ["FETCH 1:100000 (UID FLAGS)", "FETCH 100001:200000 (UID FLAGS)", "FETCH 200001:* (UID FLAGS)"]


@pytest.mark.parametrize(
    ("mode", "flood"),
    [
        ("starttls", b"x" * 20_000),
        ("starttls", b"* CAPABILITY IMAP4rev1\r\n" * 101),
        ("none", b"* CAPABILITY IMAP4rev1\r\n" * 101),
    ],
)
def test_before_the_sign_in_little_is_read(mode: str, flood: bytes) -> None:
    script = {"CAPABILITY": (flood, b"\r\nTAG OK done\r\n")}
    with Listener(imap_script(script, [])) as server, pytest.raises(MailError) as raised:
        open_imap(imap("127.0.0.1", server.port, mode), PLAIN, Deadline(20))
    assert raised.value.code == "protocol-flood"


def test_an_endless_hello_is_cut_off() -> None:
    with Listener(smtp_script({"ehlo": b"250-X\r\n" * 101}, [])) as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20))
    assert raised.value.code == "protocol-flood"


def test_the_budget_of_bytes_counts_the_whole_session() -> None:
    script = {"ehlo": b"250-hi\r\n250 " + b"x" * 600 + b"\r\n"}
    with Listener(smtp_script(script, [])) as server, pytest.raises(MailError) as raised:
        open_smtp(smtp("127.0.0.1", server.port, "none"), PLAIN, Deadline(20), budget=500)
    assert raised.value.code == "protocol-flood"
