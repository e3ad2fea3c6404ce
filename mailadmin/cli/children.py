"""The child processes of `mailadmin up`: started, watched, started again, stopped; what they say gets their name."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

import click

from mailadmin.processes import SUPERVISOR, Backoff

COLOURS = {"web": "cyan", "runner": "green", "watcher": "blue", "queue": "magenta"}


class Child:
    """One child process, in a session of its own: Ctrl-C reaches the supervisor alone, which stops all in order."""

    def __init__(self, name: str, argv: Sequence[str], environ: Mapping[str, str], *, grace: float) -> None:
        self.name = name
        self.grace = grace
        self._argv = argv
        self._environ = {**environ, SUPERVISOR: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        self._backoff = Backoff()
        self._process: subprocess.Popen[str] | None = None
        self._started = 0.0
        self._again_at: float | None = None

    def start(self, *extra: str, pass_fds: Sequence[int] = ()) -> None:
        """Start the process, this time with `extra` arguments and open files `pass_fds`.

        Only from the main thread: the child dies with the thread that starts it.
        """
        self._process = subprocess.Popen(  # noqa: S603 - our own commands
            [*self._argv, *extra],
            pass_fds=pass_fds,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._started, self._again_at = time.monotonic(), None
        threading.Thread(target=self._repeat, args=[self._process.stdout], daemon=True).start()

    def is_running(self) -> bool:
        """Whether the process runs now."""
        return self._process is not None and self._process.poll() is None

    def look_after(self) -> None:
        """Start the process again, a little later each time, if it ended."""
        if self.is_running():
            return
        if self._again_at is None:
            wait = self._backoff.after(time.monotonic() - self._started)
            self._again_at = time.monotonic() + wait
            say(f"{self.name} ended by itself ({self._how_it_ended()}) and starts again in {wait:.1f} s.")
        elif time.monotonic() >= self._again_at:
            self.start()

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.is_running():
            assert self._process is not None
            self._process.terminate()

    def kill(self) -> None:
        """End the process and its group at once."""
        if self.is_running():
            assert self._process is not None
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _how_it_ended(self) -> str:
        code = self._process.returncode if self._process else 0
        return f"signal {-code}" if code < 0 else f"status {code}"

    def _repeat(self, stream: IO[str]) -> None:
        for line in stream:
            say(line.rstrip("\n"), name=self.name)


def say(text: str, *, name: str = "up") -> None:
    """One line on standard output under the name of who says it; in colour on a terminal."""
    label = click.style(f"{name:>7}", fg=COLOURS.get(name, "yellow"))
    with suppress(OSError):  # Nobody reads us any more: that is no reason to stop.
        click.echo(f"{label} | {text}", color=sys.stdout.isatty())


def stop(children: Sequence[Child], *, is_urgent: Callable[[], bool]) -> None:
    """End `children`: ask all, wait for each one's grace, then kill; kill at once when it becomes urgent."""
    for child in children:
        child.terminate()
    begun = time.monotonic()
    for child in children:
        while child.is_running() and not is_urgent() and time.monotonic() < begun + child.grace:
            time.sleep(0.05)
        if child.is_running():
            say(f"{child.name} did not stop in time and was killed.")
        child.kill()
