"""Many scripted servers in one process of their own, which tells in the end what every client sent.

A process of their own, because connection tests are forked: a thread of ours in the middle of a handshake would leave
OpenSSL's locks taken in the child.
"""

import importlib
import json
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.servers.encryption import Encryption
from tests.servers.hostile import Over, Peer, Script, Speak


@dataclass(frozen=True)
class Part:
    """One server of the crowd: its language, its script, and its encryption, from the first byte if `implicit`."""

    speak: Speak
    script: Script
    tls: str = "good"
    implicit: bool = True


@dataclass(frozen=True)
class Told:
    """What all clients of one server sent: before encryption, after it, and the commands that sign in."""

    connections: int = 0
    plain: bytes = b""
    inside: bytes = b""
    sign_ins: tuple[str, ...] = ()


class Crowd:
    """Plays `table`, the name "module:function" of what returns {name: Part}. `ports` are theirs, `ca_file` is trusted.

    `close` returns what each of them heard.
    """

    def __init__(self, table: str, folder: Path) -> None:
        self.ca_file = folder / "ca.pem"
        command = [sys.executable, "-m", __name__, table, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        told = self._process.stdout.readline()
        assert told, "the servers did not start; they say why on standard error"
        self.ports: dict[str, int] = json.loads(told)

    def close(self) -> dict[str, Told]:
        """End all servers; by name what they heard."""
        out, _ = self._process.communicate("\n", timeout=120)
        return {name: _told(one) for name, one in json.loads(out).items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def _told(one: dict[str, Any]) -> Told:
    return Told(
        one["connections"],
        one["plain"].encode("latin-1"),
        one["inside"].encode("latin-1"),
        tuple(one["sign_ins"]),
    )


class _House:
    """The process itself: one thread accepts, and every client has a thread."""

    def __init__(self, parts: Mapping[str, Part], folder: Path) -> None:
        self._parts, self._encryption = parts, Encryption(folder)
        self._over = threading.Event()
        self._peers: dict[str, list[Peer]] = {name: [] for name in parts}
        self._selector = selectors.DefaultSelector()
        self.ports: dict[str, int] = {}
        for name in parts:
            listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self.ports[name] = listener.getsockname()[1]
            self._selector.register(listener, selectors.EVENT_READ, name)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._over.is_set():
            for key, _ in self._selector.select(0.2):
                assert isinstance(key.fileobj, socket.socket)
                client, _ = key.fileobj.accept()
                part = self._parts[key.data]
                peer = Peer(client, self._encryption.context(part.tls), self._over)
                self._peers[key.data].append(peer)
                threading.Thread(target=self._talk, args=(peer, part), daemon=True).start()

    def _talk(self, peer: Peer, part: Part) -> None:
        script = dict(part.script)
        if part.implicit:
            script.setdefault("tls", Peer.encrypt)
        with suppress(Over, OSError, ValueError):
            part.speak(peer, script)
        peer.close()

    def end(self) -> dict[str, Any]:
        """Stop, and tell what was heard."""
        self._over.set()
        return {name: self._sum(peers) for name, peers in self._peers.items()}

    def _sum(self, peers: list[Peer]) -> dict[str, Any]:
        return {
            "connections": len(peers),
            "plain": b"".join(peer.heard.plain for peer in peers).decode("latin-1"),
            "inside": b"".join(peer.heard.inside for peer in peers).decode("latin-1"),
            "sign_ins": [name for peer in peers for name in peer.heard.sign_ins],
        }


def _main() -> None:
    module, _, function = sys.argv[1].partition(":")
    house = _House(getattr(importlib.import_module(module), function)(), Path(sys.argv[2]))
    print(json.dumps(house.ports), flush=True)
    sys.stdin.readline()  # A line, or the end of whoever started us.
    print(json.dumps(house.end()), flush=True)


if __name__ == "__main__":
    _main()
