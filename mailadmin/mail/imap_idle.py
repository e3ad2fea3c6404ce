"""Waits for a server to tell of new mail (IDLE, RFC 2177) with as little as that needs: a socket and a few bytes.

How it works. A session is opened, signed in and has a folder open like any other; then `Idling.idle` says IDLE, takes
the socket out of it and lets go of everything else, buffers above all: thousands of these wait in one process. From
then on nothing here ever blocks. Whoever holds an `Idle` watches its file descriptor, calls `receive` when there is
something to read, and `renew` before half an hour is over (RFC 2177 3), which ends IDLE and begins it anew.

What can go wrong. The server says BYE, hangs up, ends IDLE by itself, or floods us: `receive` raises MailError, and the
session is over. It says nothing at all where it owes an answer: `owes_since` tells, and whoever holds it decides when
that was too long.
"""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

from mailadmin.mail import dial
from mailadmin.mail.answers import Answers, hung_up, nonsense, translated
from mailadmin.mail.deadline import too_much
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap_session import Session
from mailadmin.mail.types import Server, ServerProtocol, TLSMode

LONGEST_LINE = 8000
BUDGET = 1_000_000  # bytes from one renewal to the next
_AT_ONCE = 16_384
_TAG = b"W"  # imaplib's tags begin with four letters, so an answer to one of them is never taken for one to us.
# RFC 3501 7.3, RFC 7162 3.2.10. What else a server says while we wait is not about the mail.
_MOVED = re.compile(rb"\* (\d{1,10} (EXISTS|EXPUNGE|FETCH\b.*)|VANISHED\b.*)", re.IGNORECASE | re.DOTALL)
_NOT_NOW = (ssl.SSLWantReadError, BlockingIOError)
# A connection through a firewall is forgotten after some minutes of silence: the kernel speaks up before.
_ALIVE = (("TCP_KEEPIDLE", 240), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 4))


class Idling:
    """The part of an IMAP session that can wait to be told; `Imap` is made with it."""

    _connection: dial.Connection
    _session: Session

    @property
    def can_idle(self) -> bool:
        """Whether the server tells of new mail by itself (RFC 2177)."""
        return "IDLE" in self._session.capabilities

    def idle(self) -> "Idle":
        """Wait from now on; a folder has to be open. The session itself is of no more use. Raises MailError."""
        with translated(ServerProtocol.IMAP):
            return Idle(self._connection, self._session.let_go())


class Idle:
    """A session that waits.

    `idle_since` is since when it does, `owes_since` since when the server owes an answer; monotonic clock, 0: not now.
    """

    __slots__ = ("_host", "_is_ending", "_number", "_port", "_socket", "_unread", "idle_since", "owes_since")

    def __init__(self, connection: dial.Connection, unread: bytes = b"") -> None:
        self._host, self._port = connection.server.host, connection.server.port
        self._socket = connection.socket
        self._socket.deadline = None
        self._socket.setblocking(False)
        _keep_alive(self._socket)
        self._number, self._unread, self._is_ending = 0, unread, False
        self.idle_since = self.owes_since = 0.0
        self._begin()

    def fileno(self) -> int:
        """The file descriptor to watch."""
        return self._socket.fileno()

    def receive(self) -> bool:
        """Take in what the server said, without waiting; whether something moved in the folder.

        Raises MailError when the session is over.
        """
        moved = False
        for line in self._lines():
            moved = self._hear(line) or moved
        return moved

    def renew(self) -> None:
        """End IDLE, so that it begins anew with the server's answer. Raises MailError."""
        if self.idle_since:
            self.idle_since, self._is_ending = 0.0, True
            self._say(b"DONE\r\n")

    def close(self) -> None:
        """End the session; never raises and never waits."""
        with suppress(MailError, OSError):
            if self.idle_since:
                self._socket.send(b"DONE\r\n")
        with suppress(OSError):
            self._socket.close()

    def _begin(self) -> None:
        self._number += 1
        self._is_ending = False
        self._socket.budget = BUDGET
        self._say(b"%b%d IDLE\r\n" % (_TAG, self._number))

    def _say(self, words: bytes) -> None:
        self.owes_since = time.monotonic()
        try:
            sent = self._socket.send(words)
        except OSError as error:
            raise hung_up() from error
        if sent < len(words):  # It has not taken in what we sent half an hour ago.
            raise hung_up()

    def _lines(self) -> Iterator[bytes]:
        """All whole lines that have arrived; what was said before the end is heard before MailError is raised."""
        while True:
            *lines, self._unread = self._unread.split(b"\n")
            yield from lines
            if len(self._unread) > LONGEST_LINE:
                raise too_much()
            try:
                data = self._socket.recv(_AT_ONCE)
            except _NOT_NOW:
                return
            except OSError as error:
                raise hung_up() from error
            if not data:
                raise hung_up()
            self._unread += data

    def _hear(self, line: bytes) -> bool:
        if line.startswith(b"+"):
            self.idle_since, self.owes_since = time.monotonic(), 0.0
        elif line.startswith(b"* BYE"):
            here = Server(ServerProtocol.IMAP, self._host, self._port, TLSMode.IMPLICIT)
            raise Answers(here).farewell(line[5:].strip())
        elif line.startswith(b"%b%d " % (_TAG, self._number)):
            self._end(line.split(None, 2)[1:])
        return _MOVED.match(line) is not None

    def _end(self, words: list[bytes]) -> None:
        """IDLE is over: as we wished, or not."""
        if not words or words[0].upper() not in (b"OK", b"NO", b"BAD"):
            raise nonsense(ServerProtocol.IMAP)
        if words[0].upper() != b"OK":
            here = Server(ServerProtocol.IMAP, self._host, self._port, TLSMode.IMPLICIT)
            raise Answers(here).refused(words[-1])
        if not self._is_ending:  # Nobody said DONE.
            raise MailError(Category.UNAVAILABLE, "The server stopped telling of new mail.")
        self._begin()


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in _ALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
