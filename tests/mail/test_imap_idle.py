"""Waiting for a server's word: servers that follow a script. A real Dovecot is in tests/sync/test_watcher.py."""

import time
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import open_imap
from mailadmin.mail.imap_idle import Idle
from mailadmin.mail.types import Password, Rules, Server, ServerProtocol, TLSMode
from mailadmin.watching.board import Board, Heard
from tests.servers.silent import Listener, imap_script

Answers = dict[str, Sequence[bytes]]
LOOPBACK = ip_network("127.0.0.0/8")
PROPER: Answers = {
    "CAPABILITY": [b"* CAPABILITY IMAP4rev1 IDLE\r\nTAG OK done\r\n"],
    "LOGIN": [b"TAG OK in\r\n"],
    "EXAMINE": [b"* 3 EXISTS\r\n* OK [UIDVALIDITY 1] .\r\n* OK [UIDNEXT 4] .\r\nTAG OK open\r\n"],
    "IDLE": [b"+ idling\r\n"],
    "": [b"W1 OK done\r\n"],  # DONE, which has no tag
}


def idle_at(port: int) -> Idle:
    server = Server(ServerProtocol.IMAP, "127.0.0.1", port, TLSMode.NONE)
    rules = Rules(networks=(LOOPBACK,), ports=frozenset({port}), plaintext=True)
    imap = open_imap(server, rules, Deadline(60))
    imap.sign_in(Password("wim", "secret"))
    assert imap.can_idle
    imap.examine("INBOX")
    return imap.idle()


def heard(answers: Answers, heard_commands: list[str] | None = None, **board: float | tuple[float, float]) -> Heard:
    """What a board hears first of a server that answers so."""
    commands: list[str] = [] if heard_commands is None else heard_commands
    with Listener(imap_script({**PROPER, **answers}, commands)) as listener:
        watched = Board(**board)  # type: ignore[arg-type]
        watched.add(1, idle_at(listener.port))
        end = time.monotonic() + 60
        try:
            while time.monotonic() < end:
                said = watched.turn(0.1)
                if said.moved or said.lost:
                    return said
            raise AssertionError("nothing was heard")
        finally:
            watched.close()


@pytest.mark.parametrize(
    "news",
    [
        b"* 4 EXISTS\r\n",
        b"* 2 EXPUNGE\r\n",
        b"* 1 FETCH (FLAGS (\\Seen))\r\n",
        b"* VANISHED 1:3\r\n",
        b"* OK Still here\r\n* 4 exists\r\n",
    ],
)
def test_news_is_heard_however_it_is_said(news: bytes) -> None:
    said = heard({"IDLE": [b"+ idling\r\n", news]})
    assert (said.moved, said.lost) == ({1}, {})


@pytest.mark.parametrize(
    ("said", "category"),
    [
        (b"+ idling\r\n* BYE Too many connections\r\n", Category.THROTTLED),
        (b"+ idling\r\n* BYE server shuts down\r\n", Category.UNAVAILABLE),
        (b"+ idling\r\nW1 OK that is all\r\n", Category.UNAVAILABLE),
        (b"W1 NO [UNAVAILABLE] not now\r\n", Category.UNAVAILABLE),
        (b"W1 BAD what\r\n", Category.PROTOCOL),
        (b"W1 OK\r\n", Category.UNAVAILABLE),
        (b"+ idling\r\n* " + b"x" * 9000, Category.PROTOCOL),
    ],
)
def test_the_end_of_a_session_says_why(said: bytes, category: Category) -> None:
    lost = heard({"IDLE": [said]}).lost
    assert lost[1].category is category


def test_a_server_that_hangs_up_is_lost() -> None:
    assert heard({"IDLE": []}).lost[1].category is Category.NETWORK


def test_a_server_that_never_answers_is_lost() -> None:
    assert heard({"IDLE": [b"* OK one moment\r\n"]}, answer=0.3).lost[1].category is Category.TIMEOUT


def test_idle_is_ended_and_begun_again_before_its_time_is_over() -> None:
    commands: list[str] = []
    lost = heard({}, commands, renew=(0.1, 0.2), answer=2.0).lost
    assert commands[-4:] == ["IDLE", "DONE", "IDLE", "DONE"]
    assert lost[1].category is Category.TIMEOUT  # The second answer to DONE has the tag of the first.


def test_what_a_server_said_before_is_not_lost() -> None:
    early = PROPER["EXAMINE"][0] + b"* 4 EXISTS\r\n"
    assert heard({"EXAMINE": [early]}).moved == {1}


def test_a_session_that_was_let_go_is_closed_without_waiting() -> None:
    with Listener(imap_script(PROPER, [])) as listener:
        idle = idle_at(listener.port)
        idle.close()
        idle.close()
        with pytest.raises((MailError, OSError)):
            idle.receive()
