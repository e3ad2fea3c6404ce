"""Servers that speak IMAP, POP3 or SMTP well, except at the steps where a script makes them misbehave.

A script is a dictionary: a step of the conversation and the deed that takes its place. Steps are `accept` (before the
first byte), `tls` (in place of the handshake), `greeting`, `inside` (the first thing after the handshake of STARTTLS),
and the names of commands. What the script does not name is done properly. Everything that the client sends is kept.
"""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

SIGN_INS = {"AUTHENTICATE", "LOGIN", "AUTH", "PASS"}
_DO_NOT_LINGER = struct.pack("ii", 1, 0)


class Over(Exception):
    """The conversation has ended."""


@dataclass
class Heard:
    """What one client sent: before and after encryption, and with which commands it tried to sign in."""

    plain: bytearray = field(default_factory=bytearray)
    inside: bytearray = field(default_factory=bytearray)
    sign_ins: list[str] = field(default_factory=list)


class Peer:
    """One client, as a script sees it."""

    def __init__(self, client: socket.socket, context: ssl.SSLContext | None, over: threading.Event) -> None:
        self.socket, self.context, self.over = client, context, over
        self.heard = Heard()
        self.tag = ""
        self.line = b""  # The command that is being answered.
        self.is_encrypted = False
        self._beneath: socket.socket | None = None
        self._unread = b""

    def encrypt(self) -> None:
        """Do the server's part of the handshake."""
        assert self.context is not None
        self._beneath = self.socket.dup()
        self.socket = self.context.wrap_socket(self.socket, server_side=True)
        self.is_encrypted, self._unread = True, b""

    def send(self, data: bytes) -> None:
        """Send `data`, with TAG replaced by the tag of the command that is being answered."""
        self.socket.sendall(data.replace(b"TAG", self.tag.encode()))

    def send_beneath(self, data: bytes) -> None:
        """Send `data` as it stands, past the encryption."""
        (self._beneath or self.socket).sendall(data)

    def receive(self) -> bytes:
        """Whatever the client sends next. Raises Over when it has gone."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise Over
        (self.heard.inside if self.is_encrypted else self.heard.plain).extend(data)
        return data

    def read_line(self) -> bytes:
        """The client's next line without its end. Raises Over when it has gone."""
        while b"\n" not in self._unread:
            self._unread += self.receive()
        line, _, self._unread = self._unread.partition(b"\n")
        return line.rstrip(b"\r")

    def close(self, *, reset: bool = False) -> None:
        """Close the connection, with RST in place of FIN if `reset`."""
        for sock in (self._beneath, self.socket):
            if sock is not None:
                with suppress(OSError):
                    if reset:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DO_NOT_LINGER)
                    sock.close()


Deed = Callable[[Peer], None]
Script = Mapping[str, Deed]
Speak = Callable[[Peer, Script], None]


def say(text: bytes) -> Deed:
    """Answer with `text`; TAG in it becomes the tag of the command."""
    return lambda peer: peer.send(text)


def then(*deeds: Deed) -> Deed:
    """One deed after the other."""

    def do_all(peer: Peer) -> None:
        for deed in deeds:
            deed(peer)

    return do_all


def close(peer: Peer) -> None:
    """Hang up."""
    peer.close()
    raise Over


def reset(peer: Peer) -> None:
    """Hang up with RST."""
    peer.close(reset=True)
    raise Over


def silence(peer: Peer) -> None:
    """Listen and say nothing more."""
    while True:
        peer.receive()


def hear(peer: Peer) -> None:
    """Wait for the client's next bytes."""
    peer.receive()


def hello_then(deed: Deed) -> Deed:
    """Take the client's first bytes, a ClientHello perhaps, and then do `deed`."""
    return then(hear, deed)


def encrypt(peer: Peer) -> None:
    """Do the handshake."""
    peer.encrypt()


def drip(text: bytes, seconds: float = 2.0) -> Deed:
    """Send `text` byte by byte, one every `seconds`."""

    def do(peer: Peer) -> None:
        for position in range(len(text)):
            peer.send(text[position : position + 1])
            if peer.over.wait(seconds):
                raise Over

    return do


def again_and_again(text: bytes, seconds: float = 0.2) -> Deed:
    """Send `text`, whole lines of it, every `seconds` until the client has gone."""

    def do(peer: Peer) -> None:
        while not peer.over.wait(seconds):
            peer.send(text)

    return do


def flood(start: bytes, again: bytes) -> Deed:
    """Send `start`, and `again` as fast as it goes until the client has gone."""
    block = again * (-(-(1 << 16) // len(again)))

    def do(peer: Peer) -> None:
        peer.send(start)
        while not peer.over.is_set():
            peer.send(block)

    return do


def count_to(number: int, line: bytes, end: bytes) -> Deed:
    """Send `line` so many times, with %d replaced by a running number, and `end`."""

    def do(peer: Peer) -> None:
        for first in range(0, number, 5_000):
            peer.send(b"".join(line.replace(b"%d", b"%d" % n) for n in range(first, min(first + 5_000, number))))
        peer.send(end)

    return do


def challenge(text: bytes, *deeds: Deed) -> Deed:
    """Send the challenge `text`, take one line, and do `deeds`, whatever it was."""

    def do(peer: Peer) -> None:
        peer.send(text)
        peer.line += b" " + peer.read_line()
        then(*deeds)(peer)

    return do


def speak_imap(peer: Peer, script: Script) -> None:
    """Speak IMAP (RFC 3501) until the client leaves."""
    proper: dict[str, Deed] = {
        "greeting": say(b"* OK ready\r\n"),
        "CAPABILITY": _tell_capabilities,
        "STARTTLS": then(say(b"TAG OK go\r\n"), encrypt),
        "AUTHENTICATE": say(b"TAG OK [CAPABILITY IMAP4rev1] in\r\n"),
        "LOGIN": say(b"TAG OK [CAPABILITY IMAP4rev1] in\r\n"),
        "LIST": say(b'* LIST () "/" INBOX\r\nTAG OK done\r\n'),
        "STATUS": say(b"* STATUS INBOX (MESSAGES 3 UNSEEN 1)\r\nTAG OK done\r\n"),
        "LOGOUT": then(say(b"* BYE\r\nTAG OK done\r\n"), close),
    }
    _begin(peer, script, proper)
    while True:
        line = peer.read_line()
        tag, _, rest = line.partition(b" ")
        peer.tag = tag.decode("latin-1")
        _answer(peer, rest, script, proper, say(b"TAG BAD unknown\r\n"))


def speak_pop3(peer: Peer, script: Script) -> None:
    """Speak POP3 (RFC 1939) until the client leaves."""
    proper: dict[str, Deed] = {
        "greeting": say(b"+OK ready\r\n"),
        "CAPA": _tell_offers,
        "STLS": then(say(b"+OK go\r\n"), encrypt),
        "AUTH": challenge(b"+ \r\n", say(b"+OK in\r\n")),
        "USER": say(b"+OK\r\n"),
        "PASS": say(b"+OK in\r\n"),
        "STAT": say(b"+OK 3 300\r\n"),
        "UIDL": say(b"+OK 1 a\r\n"),
        "QUIT": then(say(b"+OK bye\r\n"), close),
    }
    _begin(peer, script, proper)
    while True:
        _answer(peer, peer.read_line(), script, proper, say(b"-ERR unknown\r\n"))


def speak_smtp(peer: Peer, script: Script) -> None:
    """Speak SMTP (RFC 5321) until the client leaves."""
    proper: dict[str, Deed] = {
        "greeting": say(b"220 ready\r\n"),
        "EHLO": _tell_extensions,
        "HELO": say(b"250 hello\r\n"),
        "STARTTLS": then(say(b"220 go\r\n"), encrypt),
        "AUTH": say(b"235 in\r\n"),
        "NOOP": say(b"250 OK\r\n"),
        "QUIT": then(say(b"221 bye\r\n"), close),
    }
    _begin(peer, script, proper)
    while True:
        _answer(peer, peer.read_line(), script, proper, say(b"500 unknown\r\n"))


def _begin(peer: Peer, script: Script, proper: Script) -> None:
    script.get("accept", lambda peer: None)(peer)
    if "tls" in script:
        script["tls"](peer)
    (script.get("greeting") or proper["greeting"])(peer)


def _answer(peer: Peer, line: bytes, script: Script, proper: Script, unknown: Deed) -> None:
    peer.line = line
    name = line.partition(b" ")[0].decode("latin-1").upper()
    if name in SIGN_INS:
        peer.heard.sign_ins.append(name)
    (script.get(name) or proper.get(name) or unknown)(peer)
    if name in ("STARTTLS", "STLS") and peer.is_encrypted and "inside" in script:
        script["inside"](peer)


def _tell_capabilities(peer: Peer) -> None:
    more = b" AUTH=PLAIN SASL-IR" if peer.is_encrypted else b" STARTTLS LOGINDISABLED"
    peer.send(b"* CAPABILITY IMAP4rev1" + more + b"\r\nTAG OK done\r\n")


def _tell_offers(peer: Peer) -> None:
    more = b"SASL PLAIN\r\nUSER\r\nTOP" if peer.is_encrypted else b"SASL\r\nSTLS"
    peer.send(b"+OK\r\nUIDL\r\n" + more + b"\r\n.\r\n")


def _tell_extensions(peer: Peer) -> None:
    peer.send(b"250-hello\r\n250 " + (b"AUTH PLAIN LOGIN" if peer.is_encrypted else b"STARTTLS") + b"\r\n")
