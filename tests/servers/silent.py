"""Servers that behave badly: silent, dripping, hanging up, talking nonsense, or following a script; one thread each."""

import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Self

Behaviour = Callable[[socket.socket, threading.Event], None]


class Listener:
    """Accepts on a free port of 127.0.0.1, or at `at`, and lets `behaviour` talk to each client in a thread of its own.

    `context` encrypts from the first byte. `received` is what all clients sent, as far as the behaviour read it.
    """

    def __init__(
        self, behaviour: Behaviour, *, context: ssl.SSLContext | None = None, at: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self._behaviour, self._context = behaviour, context
        self._socket = socket.create_server(at)
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clients: list[socket.socket] = []
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # Wakes a thread that waits for the client's next line.
        for thread in self._threads:
            thread.join(5)
        self._socket.close()

    def _begin(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                client, _ = self._socket.accept()
                self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(5)
        with suppress(OSError):
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            self._clients.append(client)
            self._behaviour(client, self._over)
        client.close()


def silence(client: socket.socket, over: threading.Event) -> None:
    """Say nothing until the test is over."""
    over.wait(30)


def hang_up(client: socket.socket, over: threading.Event) -> None:
    """Close at once."""


def drip(text: bytes, seconds: float) -> Behaviour:
    """Send `text` byte by byte, one every `seconds`, so that every single receive succeeds."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        for position in range(len(text)):
            client.sendall(text[position : position + 1])
            if over.wait(seconds):
                return

    return behave


def say(text: bytes) -> Behaviour:
    """Send `text`, then nothing."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        client.sendall(text)
        over.wait(30)

    return behave


def imap_script(
    answers: Mapping[str, Sequence[bytes]], heard: list[str], greeting: bytes = b"* OK ready\r\n"
) -> Behaviour:
    """Speak IMAP by a script: a command's line is looked up by its longest beginning among the keys of `answers`.

    Each line of an answer is sent as it stands, `TAG` replaced by the command's tag; what has no answer gets BAD, and
    an empty answer ends the connection. `heard` collects the commands.
    """

    def behave(client: socket.socket, over: threading.Event) -> None:
        client.sendall(greeting)
        with client.makefile("rb") as lines:
            for line in lines:
                tag, _, command = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
                heard.append(command or tag)
                keys = sorted((key for key in answers if command.startswith(key)), key=len)
                reply = answers[keys[-1]] if keys else (b"TAG BAD unknown\r\n",)
                if not reply:
                    return
                client.sendall(b"".join(part.replace(b"TAG", tag.encode()) for part in reply))
                if over.is_set():
                    return

    return behave


def smtp_script(answers: Mapping[str, bytes], heard: list[str], greeting: bytes = b"220 ready\r\n") -> Behaviour:
    """Speak SMTP by a script: each line is answered by the key of `answers` that it begins with, else with 500."""

    def behave(client: socket.socket, over: threading.Event) -> None:
        client.sendall(greeting)
        with client.makefile("rb") as lines:
            for line in lines:
                command = line.decode("utf-8", "replace").rstrip("\r\n")
                heard.append(command)
                key = next((key for key in answers if command.startswith(key)), None)
                client.sendall(answers[key] if key is not None else b"500 unknown\r\n")
                if over.is_set():
                    return

    return behave
