"""Real processes for tests: `mailadmin` as people start it, and what is left of it."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from redis import Redis
from redis.exceptions import RedisError

from mailadmin.config import ROOT
from tests.ports import free_port

T = TypeVar("T")
COMMAND = [sys.executable, "-m", "mailadmin"]


def eventually(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """What `condition` answers as soon as that is true. Fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, f"still not so after {seconds:.0f} s"
        time.sleep(0.02)
    return answer


def environment(**variables: str) -> dict[str, str]:
    """An environment in which nothing but `variables` speaks of mailadmin."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`mailadmin` with `arguments`, to its end."""
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(**variables), capture_output=True, text=True, timeout=120
    )


def start(*arguments: str, log: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """`mailadmin` with `arguments` in the background; what it says is added to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [*COMMAND, *arguments], env=environment(**variables), stdout=out, stderr=out, start_new_session=True
        )


def processes(variable: str) -> dict[int, str]:
    """The command lines of all processes that have `variable` ("NAME=value") in their environment."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:  # It ended while we looked.
            continue
    return {pid: line for pid, line in found.items() if line}


class Installation:
    """`mailadmin up` on a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.log = folder / "log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **variables: str) -> None:
        """Start it with these settings, and come back when the console answers and says so."""
        before = self.said().count("is ready")
        self.process = start(
            "up", "--port", str(self.port), "--data", str(self.folder), log=self.log, variables=variables
        )
        eventually(lambda: self.said().count("is ready") > before or self.process.poll() is not None, 180)
        assert self.is_running(), self.said()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def status(self, path: str = "/healthz") -> int:
        """The status with which the console answers at `path`; 0 when it does not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def children(self) -> dict[int, str]:
        """All processes below the supervisor, by id. Valkey overwrites its environment, so it is asked who it is."""
        queue = Redis(unix_socket_path=str(self.folder / "queue.sock"), retry=None)
        found = processes(f"MAILADMIN_DATA={self.folder}")
        with suppress(RedisError):
            found[queue.info("server")["process_id"]] = "valkey-server"
        queue.close()
        return found

    def child(self, name: str) -> int:
        """The process id of the "web", "runner", "watcher" or "queue" that the supervisor started, or 0."""
        marks = {
            "web": "mailadmin web",
            "runner": "mailadmin runner",
            "watcher": "mailadmin watcher",
            "queue": "valkey-server",
        }
        found = [pid for pid, line in self.children().items() if marks[name] in line]
        return min(found, key=_born, default=0)

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def _born(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return sys.maxsize
