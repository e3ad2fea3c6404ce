"""What a row of the table of scenarios is, and short ways to write one."""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName, TLSMode, Trust
from tests.servers.crowd import Part
from tests.servers.hostile import Deed, Script, speak_imap, speak_pop3, speak_smtp

PASSES = None  # Stands among the expected categories where a test may pass.
Expected = Category | None | Set[Category | None]
SPEAK = {ServerProtocol.IMAP: speak_imap, ServerProtocol.POP3: speak_pop3, ServerProtocol.SMTP: speak_smtp}


@dataclass(frozen=True)
class Scenario:
    """A server that misbehaves, and how its test must end: in one of the categories `expected`, at one of `stages`.

    `mode` and `trust` are how we dial it; `tls` is its kind of encryption, from the first byte on if `implicit`.
    """

    name: str
    protocol: ServerProtocol
    mode: TLSMode
    script: Script
    expected: frozenset[Category | None]
    stages: frozenset[StageName]
    tls: str = "good"
    implicit: bool = True
    trust: Trust = field(default_factory=Trust)

    @property
    def direction(self) -> Direction:
        """Receiving or sending."""
        return Direction.OUTGOING if self.protocol is ServerProtocol.SMTP else Direction.INCOMING

    @property
    def part(self) -> Part:
        """The server's part."""
        return Part(SPEAK[self.protocol], self.script, self.tls, self.implicit)

    def server(self, port: int) -> Server:
        """Where it is dialled."""
        return Server(self.protocol, "127.0.0.1", port, self.mode, self.trust)


def imap(name: str, expected: Expected, stage: str, script: dict[str, Deed], **more: Any) -> Scenario:
    """An IMAP server. `stage` is where the test may end: names with `or` in between, or nothing if it passes."""
    return _scenario(ServerProtocol.IMAP, name, expected, stage, script, **more)


def pop3(name: str, expected: Expected, stage: str, script: dict[str, Deed], **more: Any) -> Scenario:
    """A POP3 server."""
    return _scenario(ServerProtocol.POP3, name, expected, stage, script, **more)


def smtp(name: str, expected: Expected, stage: str, script: dict[str, Deed], **more: Any) -> Scenario:
    """An SMTP server."""
    return _scenario(ServerProtocol.SMTP, name, expected, stage, script, **more)


def _scenario(
    protocol: ServerProtocol, name: str, expected: Expected, stage: str, script: dict[str, Deed], **more: Any
) -> Scenario:
    mode = TLSMode(str(more.pop("mode", "implicit")))
    implicit = bool(more.pop("implicit", mode is TLSMode.IMPLICIT))
    categories = frozenset(expected if isinstance(expected, Set) else {expected})
    stages = frozenset(map(StageName, stage.split(" or "))) if stage else frozenset()
    words = f"{protocol} {mode}: {name}"
    return Scenario(words, protocol, mode, script, categories, stages, implicit=implicit, **more)
