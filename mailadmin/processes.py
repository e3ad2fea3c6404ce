"""How our processes hang together: a child ends with its parent, and what keeps ending is started again less often."""

import ctypes
import os
import signal
import sys
from dataclasses import dataclass

SUPERVISOR = "MAILADMIN_SUPERVISOR"  # in a child's environment: the process id of the `mailadmin up` that started it
SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `how` to this process as soon as `parent`, the process that started it, has ended.

    A program that this process turns into with exec keeps the arrangement; its own children do not inherit it. Only
    Linux can do this. The thread that started us has to live as long as its process: start children from the main one.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(SET_PDEATHSIG, int(how), 0, 0, 0)
    if os.getppid() != parent:  # It ended before the kernel knew of our wish.
        os.kill(os.getpid(), how)


def die_with_supervisor(how: signal.Signals = signal.SIGKILL) -> None:
    """The same for the `mailadmin up` that started this process; without one nothing happens."""
    supervisor = os.environ.pop(SUPERVISOR, "")
    if supervisor.isdecimal():
        die_with_parent(int(supervisor), how)


def leash_forks() -> None:
    """Have what this process forks from now on die with it. Forks of those forks look after themselves."""
    me, leashed = os.getpid(), False

    def leash() -> None:
        nonlocal leashed
        if not leashed:
            leashed = True
            die_with_parent(me)

    os.register_at_fork(after_in_child=leash)


@dataclass(slots=True)
class Backoff:
    """How long to wait before starting again what ended: 0.2 s doubling to 10 s; 30 good seconds begin it anew."""

    failures: int = 0

    def after(self, lived: float) -> float:
        """The seconds to wait after a process that lived for `lived` seconds."""
        if lived >= 30:
            self.failures = 0
        self.failures += 1
        return min(0.2 * 2.0 ** min(self.failures - 1, 10), 10.0)
