"""Tells a listener how far a connection got: one report when a stage begins and one when it ends."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Direction, Report, Stage, StageName, StageOutcome


class Passing:
    """What a running stage may still say about itself: `detail`, one plain phrase, and `facts`, see `Stage`."""

    def __init__(self) -> None:
        self.detail = ""
        self.facts: dict[str, Any] = {}


class Stages:
    """Reports the stages of one direction; without a listener it is silent."""

    def __init__(self, direction: Direction, report: Report | None) -> None:
        self._direction = direction
        self._report = report

    @property
    def has_listener(self) -> bool:
        """Whether anybody hears of facts, some of which cost time to find out."""
        return self._report is not None

    @contextmanager
    def stage(self, name: StageName) -> Iterator[Passing]:
        """Report `name` as running, then as passed, or as failed with the sentence of the MailError, which goes on."""
        self._say(Stage(self._direction, name, StageOutcome.RUNNING))
        passing, began = Passing(), time.monotonic()
        try:
            yield passing
        except MailError as error:
            self._say(Stage(self._direction, name, StageOutcome.FAILED, _ms_since(began), error.message, passing.facts))
            raise
        self._say(Stage(self._direction, name, StageOutcome.PASSED, _ms_since(began), passing.detail, passing.facts))

    def skip(self, name: StageName, why: str) -> None:
        """Report that `name` does not happen on this connection, and why in one phrase."""
        self._say(Stage(self._direction, name, StageOutcome.SKIPPED, 0.0, why))

    def _say(self, stage: Stage) -> None:
        if self._report is not None:
            self._report(stage)


def _ms_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
