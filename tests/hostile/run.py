"""Runs scenarios as the job does: in children of one supervisor, many at once."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from mailadmin.accounts.service import Leg
from mailadmin.connections.children import Children
from mailadmin.connections.probe import Task
from mailadmin.connections.result import Failure, Result
from mailadmin.mail.types import Password, Rules, SignIn
from tests.hostile.scenario import Scenario
from tests.hostile.secret import PASSWORD, USER
from tests.servers.crowd import Crowd

LOOPBACK = (ip_network("127.0.0.0/8"),)
WIM = Password(USER, PASSWORD)


@dataclass(frozen=True)
class Outcome:
    """How the test of one scenario ended. `kib` is the most memory that its child had in use."""

    result: Result
    seconds: float
    kib: int

    @property
    def failure(self) -> Failure | None:
        """Why it failed, if it did."""
        return next(iter(self.result.failures.values()), None)

    def __str__(self) -> str:
        if self.failure is None:
            return f"passed after {self.seconds:.1f} s" if self.result.has_passed else "neither passed nor failed"
        error = self.failure.error
        about = f"{error.category} at {self.failure.stage} after {self.seconds:.1f} s"
        return f"{about}: {error.message} [{error.code}] {error.detail}"


def task_of(scenario: Scenario, port: int, how: SignIn = WIM) -> Task:
    """The test of an account whose only server is that of `scenario`."""
    return Task({scenario.direction: Leg(scenario.server(port), how)})


def run(
    scenarios: Iterable[Scenario], crowd: Crowd, *, seconds: float, at_once: int, how: SignIn = WIM
) -> dict[str, Outcome]:
    """Test all `scenarios`, `at_once` at a time, each for at most `seconds`; by name how they ended."""
    rules = Rules(networks=LOOPBACK, ca_file=str(crowd.ca_file))
    waiting, outcomes = list(scenarios), {}
    names: dict[int, tuple[str, float]] = {}
    with _measured() as memory, Children(rules, seconds) as children:
        while waiting or len(children):
            while waiting and len(children) < at_once:
                scenario = waiting.pop(0)
                task = task_of(scenario, crowd.ports[scenario.name], how)
                names[id(task)] = scenario.name, time.monotonic()
                children.start(task)
            for child in children.wait(0.5):
                if child.is_gone:
                    name, began = names[id(child.result.task)]
                    outcomes[name] = Outcome(child.result, time.monotonic() - began, memory[child.pid])
    return outcomes


@contextmanager
def _measured() -> Iterator[Mapping[int, int]]:
    """Make waiting for a child tell how much memory it had, in KiB by pid: the same call with one answer more."""
    memory: dict[int, int] = {}

    def wait(pid: int, options: int) -> tuple[int, int]:
        gone, status, usage = os.wait4(pid, options)
        memory[gone] = usage.ru_maxrss
        return gone, status

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "waitpid", wait)
        yield memory
