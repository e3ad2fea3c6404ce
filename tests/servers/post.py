"""An SMTP server over TLS that does its work properly, or whatever a test wants at some step."""

import base64
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Self

from tests.servers.certificates import Authority
from tests.servers.silent import Listener

Deed = bytes | Callable[[], bytes]


class HungUp(OSError):
    """The server closes the connection."""


def hang_up() -> bytes:
    """Close the connection in place of an answer."""
    raise HungUp


class Post:
    """A server on 127.0.0.1 for which `authority` vouches. `messages` are (sender, recipients, content).

    `does` has, by step, what is answered there in place of the usual, one time after the other: `auth`, `mail`, `rcpt`,
    `rcpt <address>`, `data`, `content` (before any of it is read), `dot`, `rset`. `heard` are the commands, `sign_ins`
    counts. With `dot` a message counts as taken unless the deed says 4 or 5, or raises: `given` are those whose final
    dot arrived.
    """

    def __init__(self, authority: Authority, *, extensions: tuple[str, ...] = ("8BITMIME", "SMTPUTF8")) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("post"))
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.given: list[bytes] = []
        self.heard: list[str] = []
        self.sign_ins: list[str] = []
        self.connections = 0
        self.does: defaultdict[str, list[Deed]] = defaultdict(list)
        self.over = threading.Event()
        self._extensions = extensions
        self._listener = Listener(self._talk, context=context)
        self.port = self._listener.port

    def __enter__(self) -> Self:
        self._listener.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self.over.set()
        self._listener.__exit__(*args)

    def silence(self) -> bytes:
        """Say nothing until the test is over."""
        self.over.wait(30)
        raise HungUp

    def _talk(self, client: socket.socket, over: threading.Event) -> None:
        self.connections += 1
        client.settimeout(30)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # What is not read stays with the client.
        client.sendall(b"220 post.example ESMTP\r\n")
        with client.makefile("rb") as lines:
            _Talk(self, client, lines.readline).go_on()

    def answer(self, step: str, usual: bytes) -> bytes:
        """What is said at `step`."""
        deed = self.does[step].pop(0) if self.does[step] else usual
        return deed if isinstance(deed, bytes) else deed()

    def offers(self) -> bytes:
        """What is said to EHLO."""
        lines = ["post.example", "AUTH PLAIN XOAUTH2", *self._extensions]
        return b"".join(
            b"250%s%s\r\n" % (b" " if n == len(lines) else b"-", w.encode()) for n, w in enumerate(lines, 1)
        )


class _Talk:
    def __init__(self, post: Post, client: socket.socket, read: Callable[[], bytes]) -> None:
        self._post, self._client, self._read = post, client, read
        self._sender, self._recipients = "", list[str]()

    def go_on(self) -> None:
        while line := self._read():
            command = line.decode("utf-8").rstrip("\r\n")
            self._post.heard.append(command)
            word = command.split(" ")[0].lower()
            if word == "quit":
                self._client.sendall(b"221 bye\r\n")
                return
            said = getattr(self, f"_{word}", lambda _: b"500 unknown\r\n")(command)
            self._client.sendall(said)

    def _ehlo(self, _: str) -> bytes:
        return self._post.offers()

    def _auth(self, command: str) -> bytes:
        said = base64.b64decode(command.split(" ")[2]).decode()
        self._post.sign_ins.append(said)
        return self._post.answer("auth", b"235 welcome\r\n")

    def _mail(self, command: str) -> bytes:
        said = self._post.answer("mail", b"250 ok\r\n")
        self._sender, self._recipients = command.partition("<")[2].partition(">")[0], []
        return said

    def _rcpt(self, command: str) -> bytes:
        recipient = command.partition("<")[2].partition(">")[0]
        step = f"rcpt {recipient}"
        said = self._post.answer(step if self._post.does[step] else "rcpt", b"250 ok\r\n")
        if said.startswith(b"2"):
            self._recipients.append(recipient)
        return said

    def _rset(self, _: str) -> bytes:
        self._recipients = []
        return self._post.answer("rset", b"250 ok\r\n")

    def _data(self, _: str) -> bytes:
        said = self._post.answer("data", b"354 go on\r\n")
        if not said.startswith(b"3"):
            return said
        self._client.sendall(said)
        if self._post.does["content"]:
            self._post.answer("content", b"")
        lines = []
        while (line := self._read()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        if not line:
            raise HungUp  # The client went away before the end: nobody takes the message.
        content = b"".join(lines)
        self._post.given.append(content)
        said = self._post.answer("dot", b"250 2.0.0 taken\r\n")
        if said.startswith(b"2"):
            self._post.messages.append((self._sender, self._recipients, content))
        return said
