"""Talks with many servers at once, each in a child process of its own, and ends every one of them in time.

Why processes. A server can hold a thread for as long as it likes, in code that is not ours; only the kernel ends a
process with certainty. A child says what it does as lines of JSON on a pipe, and is killed at its absolute deadline.
Should we ourselves be late, waiting for a locked database for example, the child's own alarm ends it.

A child may grow by a fixed amount of memory, whatever the server sends; the kernel refuses it more, and the child says
so by the status with which it ends.

A child is forked, since a fresh interpreter would cost more than the test. It inherits what we have open, and uses none
of it: files and sockets are closed without a word to those at their other end, nothing inherited is collected (an
object that still thinks it owns a closed file would close whatever got its number), and it leaves with `os._exit`.
"""

import gc
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, Self

from mailadmin.connections.probe import Message, Task, probe
from mailadmin.connections.result import Result, broke_off
from mailadmin.mail import catalogue, dial
from mailadmin.mail.deadline import too_much
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules
from mailadmin.processes import die_with_parent
from mailadmin.text import t

MOST = 64  # at once
LONGEST_SPEECH = 4_000_000  # bytes from one child: fifteen thousand folders, which is what a page can show
MOST_MEMORY = 90_000_000  # bytes that a child may take beyond what it was forked with
_FLOODED = 3  # the status of a child that wanted more
_PIPE = 3  # The number of the pipe in a child, after the three that every process has.
_LATE_SECONDS = 0.5


class Child:
    """One running test. `result` grows while the child talks; `is_gone` when it has been waited for.

    `was_stopped`: somebody ended all processes with SIGTERM, as platforms do, so the test is to be done again.
    """

    def __init__(self, pid: int, reader: int, task: Task, ends_at: float) -> None:
        self.pid, self.reader, self.ends_at = pid, reader, ends_at
        self.result = Result(task)
        self.is_gone = self.was_stopped = False
        self._unread, self._heard = b"", 0

    def listen(self) -> bool:
        """Take what the child said; False when it will say no more."""
        chunk = os.read(self.reader, 1 << 18)
        self._heard += len(chunk)
        if not chunk:
            return False
        if self._heard > LONGEST_SPEECH:
            self.bury(MailError(Category.PROTOCOL, t("The server lists far more folders than can be taken.")))
            return True
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            self.result.hear(json.loads(line))
        return True

    def bury(self, error: MailError | None = None) -> None:
        """Make sure that the child is gone, and close its result; `error` is why it had to go."""
        if self.is_gone:
            return
        if error:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.reader)
        _, status = os.waitpid(self.pid, 0)
        self.is_gone = True
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        self.was_stopped = ended_by == signal.SIGTERM and not self.result.is_over
        if not error and ended_by == signal.SIGALRM:
            error = too_late()
        if not error and os.WIFEXITED(status) and os.WEXITSTATUS(status) == _FLOODED:
            error = too_much()
        self.result.is_broken = not error and not self.result.is_over
        self.result.end(error)


def too_late() -> MailError:
    """The error for a test that did not end by itself."""
    return MailError(Category.TIMEOUT, t("The server did not answer in time."))


class Children:
    """All running tests of this process. `with` makes sure that none of them outlives the block."""

    def __init__(self, rules: Rules, seconds: float) -> None:
        self._rules, self._seconds = rules, seconds
        self._selector = selectors.DefaultSelector()
        self._running: list[Child] = []
        with suppress(MailError):  # The child will say it.
            # Loading the authorities takes longer than the rest of a test: once here instead of in every child.
            dial.warm_up(rules)
        catalogue.rules()  # A quarter of a second, too.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._running:
            child.bury(broke_off())
        self._selector.close()

    def __len__(self) -> int:
        return len(self._running)

    @property
    def tasks(self) -> list[Task]:
        """What is being tested."""
        return [child.result.task for child in self._running]

    def start(self, task: Task) -> None:
        """Begin the test `task` in a new child."""
        reader, writer = os.pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            # Python warns about forks of processes with threads. The child waits for no lock that a thread may hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _live(task, self._rules, self._seconds, writer, parent)
        os.close(writer)
        child = Child(pid, reader, task, time.monotonic() + self._seconds + task.waits)
        self._selector.register(reader, selectors.EVENT_READ, child)
        self._running.append(child)

    def wait(self, seconds: float) -> list[Child]:
        """The children that said something, ended or were ended, after at most `seconds`."""
        nearest = min((child.ends_at for child in self._running), default=0.0) - time.monotonic()
        moved: list[Child] = []
        for key, _ in self._selector.select(max(0.0, min(seconds, nearest))):
            child: Child = key.data
            moved.append(child)
            self._selector.unregister(key.fileobj)
            if not child.listen():
                child.bury()
            if not child.is_gone:
                self._selector.register(child.reader, selectors.EVENT_READ, child)
        for child in self._running:
            if not child.is_gone and child.ends_at <= time.monotonic():
                self._selector.unregister(child.reader)
                child.bury(too_late())
                moved += [] if child in moved else [child]
        self._running = [child for child in self._running if not child.is_gone]
        return moved


def _live(task: Task, rules: Rules, seconds: float, writer: int, parent: int) -> NoReturn:
    """The whole life of a child."""
    try:
        _prepare(seconds + task.waits, writer, parent)
        probe(task, rules, seconds, _say)
    except MemoryError:
        os._exit(_FLOODED)
    finally:
        # What a surprise says may hold the server's words or a password; where it happened never does.
        if surprise := sys.exception():
            where = "; ".join(f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(surprise.__traceback__)[-4:])
            with suppress(OSError):
                os.write(2, f"A connection test ended with {type(surprise).__name__} at {where}\n".encode())
        os._exit(1 if surprise else 0)


def _prepare(seconds: float, writer: int, parent: int) -> None:
    gc.freeze()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent(parent)
    signal.setitimer(signal.ITIMER_REAL, seconds + _LATE_SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory()
    os.dup2(writer, _PIPE)
    os.closerange(_PIPE + 1, os.sysconf("SC_OPEN_MAX"))


def _limit_memory() -> None:
    """Let this process take only so much more. Where nobody says how much it has, other limits have to do."""
    with suppress(OSError, ValueError):
        # Data, not addresses: the thread that asks for names reserves 72 MB of those and uses next to nothing.
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        most = pages * resource.getpagesize() + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _say(message: Message) -> None:
    line = json.dumps(message).encode() + b"\n"
    while line:
        line = line[os.write(_PIPE, line) :]
