"""A name server for tests, over UDP and TCP, with a table of records and some bad habits."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.ports import free_port

Habit = Callable[[dns.message.Message], bytes | None]


class NameServer:
    """Answers on `address` (UDP and TCP at one port) from the records that `add` wrote; names without any are unknown.

    `*.harbour.test` is a wildcard. `habits` take the place of the proper answer: by name, or by name and type, a
    function that returns the bytes to send, or None for silence. `heard` are the questions, such as `harbour.test MX`.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.heard: list[str] = []
        self.habits: dict[str, Habit] = {}
        self._records: dict[tuple[str, str], list[str]] = {}
        self.address, self.port = address, free_port()
        self._tcp = socket.create_server((address, self.port))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, self.port))
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._serve_udp, self._serve_tcp)]

    def add(self, name: str, kind: str, *values: str) -> None:
        """Add records, in the text form of zone files."""
        self._records.setdefault((name, kind), []).extend(values)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        with suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        self._udp.sendto(b"", self._udp.getsockname())  # Wakes the thread that waits for a packet.
        for thread in self._threads:
            thread.join(5)
        self._tcp.close()
        self._udp.close()

    def _serve_udp(self) -> None:
        while True:
            packet, client = self._udp.recvfrom(65535)
            if not packet:
                return
            if (answer := self._answer(packet, most=512)) is not None:
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._tcp.accept()
                client.settimeout(5)
                with client, suppress(OSError):
                    packet = client.recv(65535)[2:]
                    if (answer := self._answer(packet, most=65535)) is not None:
                        client.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, packet: bytes, *, most: int) -> bytes | None:
        query = dns.message.from_wire(packet)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.heard.append(f"{name} {kind}")
        if habit := self.habits.get(name) or self.habits.get(f"{name} {kind}"):
            return habit(query)
        answer = dns.message.make_response(query)
        found = self._found(name, kind)
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found:
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, found))
        wire = answer.to_wire(max_size=65535)
        if len(wire) <= max(most, query.payload):
            return wire
        answer.answer.clear()
        answer.flags |= dns.flags.TC  # The client asks again over TCP.
        return answer.to_wire()

    def _found(self, name: str, kind: str) -> list[str] | None:
        """The values; empty if the name has others only, None if there is no such name."""
        for candidate in (name, f"*.{name.partition('.')[2]}"):
            if (candidate, kind) in self._records:
                return self._records[candidate, kind]
            if any(known == candidate for known, _ in self._records):
                return []
        # A name exists too if there is one below it (RFC 8020).
        return [] if any(known.endswith(f".{name}") for known, _ in self._records) else None


def silence(query: dns.message.Message) -> None:
    """Never answer."""


def failure(query: dns.message.Message) -> bytes:
    """Say that something is wrong with the server itself."""
    answer = dns.message.make_response(query)
    answer.set_rcode(dns.rcode.SERVFAIL)
    return answer.to_wire()


def nonsense(query: dns.message.Message) -> bytes:
    """Answer with bytes that mean nothing."""
    return query.to_wire()[:2] + b"\xff" * 40
