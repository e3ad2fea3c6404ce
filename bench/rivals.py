"""Whom we are measured against: mbsync (Debian's `isync`), and a reader that reads the same bytes and does nothing."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from mailadmin.mail.imap_fetch import ENVELOPE_ITEMS
from tests.servers.dovecot import Dovecot

WORD = "password"
_CONFIGURATION = """
FSync no

IMAPAccount bench
Host localhost
Port {port}
User {address}
Pass {word}
SSLType IMAPS
CertificateFile {ca_file}
PipelineDepth 50

IMAPStore far
Account bench

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim
MaxSize 1

Channel bench
Far :far:
Near :near:
Patterns *
Create Near
Expunge Near
Sync Pull
SyncState *
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took: wall seconds, and CPU seconds of the process that did it; how much of it came later."""

    seconds: float
    cpu: float
    later_seconds: float = 0.0
    later_cpu: float = 0.0

    def without_later(self) -> "Cost":
        """What it took until then."""
        return Cost(self.seconds - self.later_seconds, self.cpu - self.later_cpu)


class Mbsync:
    """mbsync with a maildir of its own. It stores headers only (MaxSize), and flushes nothing to the disk."""

    def __init__(self, server: Dovecot, address: str, folder: Path) -> None:
        self._folder, self._home = folder / "mbsync", {**os.environ, "HOME": str(folder)}
        self._command = [shutil.which("mbsync") or "mbsync", "-q", "-c", str(folder / "mbsyncrc"), "-a"]
        values = {"port": server.ports["imaps"], "ca_file": server.ca_file, "address": address, "word": WORD}
        (folder / "mbsyncrc").write_text(_CONFIGURATION.format(folder=self._folder, **values))
        self.forget()

    @staticmethod
    def is_installed() -> bool:
        """Whether there is one to be measured against."""
        return shutil.which("mbsync") is not None

    def forget(self) -> None:
        """Make the next sync the first one."""
        shutil.rmtree(self._folder, ignore_errors=True)
        (self._folder / "mail").mkdir(parents=True)

    def sync(self) -> Cost:
        """One run. Raises CalledProcessError."""
        began = time.perf_counter()
        process = subprocess.Popen(self._command, env=self._home, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, self._command)
        return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime)

    def holds(self) -> int:
        """How many messages it has."""
        return sum(1 for part in ("cur", "new") for _ in self._folder.glob(f"mail/**/{part}/*"))


def read_raw(server: Dovecot, address: str, folders: list[str], *, part: int = 0) -> tuple[Cost, int]:
    """Ask for what a first sync asks for, all at once in each folder, and read it; what it took, and how many bytes.

    With `part` also for the structure of each message and as many bytes of its first part.
    """
    asked = [ENVELOPE_ITEMS, *(["(UID BODYSTRUCTURE)", f"(UID BODY.PEEK[1]<0.{part}>)"] if part else [])]
    context = ssl.create_default_context(cafile=str(server.ca_file))
    began, used, total = time.perf_counter(), time.process_time(), 0
    plain = socket.create_connection(("localhost", server.ports["imaps"]))
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.recv(4096)
        total += _ask(sock, f'LOGIN "{address}" "{WORD}"')
        for folder in folders:
            total += _ask(sock, f'EXAMINE "{folder}"')
            total += sum(_ask(sock, f"UID FETCH 1:* {items}") for items in asked)
    return Cost(time.perf_counter() - began, time.process_time() - used), total


def _ask(sock: ssl.SSLSocket, command: str) -> int:
    """Send `command` and read until its end; how many bytes there were."""
    sock.sendall(f"T {command}\r\n".encode())
    buffer = bytearray(1 << 18)
    view, total, tail = memoryview(buffer), 0, b""
    while True:
        got = sock.recv_into(view)
        if not got:
            raise ConnectionError("The server hung up.")
        total += got
        tail = (tail + bytes(view[max(0, got - 2000) : got]))[-2000:]
        last = tail.rstrip(b"\r\n").rpartition(b"\r\n")[2]
        if tail.endswith(b"\r\n") and last.startswith(b"T "):
            assert last.startswith(b"T OK"), last
            return total
