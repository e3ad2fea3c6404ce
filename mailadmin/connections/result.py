"""What is known of a test while it runs and when it is over: pieced together from what its child said."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from mailadmin.connections.probe import Message, Task, planned
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Stage, StageName, StageOutcome
from mailadmin.text import t

_BEGUN = {StageOutcome.RUNNING, StageOutcome.FAILED}
_WHY_SKIPPED = {
    StageName.DNS: "Skipped, because the server was not found",
    StageName.TCP: "Skipped, because the server was not reached",
    StageName.TLS: "Skipped, because there was no encryption",
    StageName.GREETING: "Skipped, because the greeting failed",
    StageName.SIGN_IN: "Skipped, because signing in failed",
    StageName.FOLDERS: "Skipped, because the test had ended",
    StageName.MESSAGE: "Skipped, because the message could not be sent",
    StageName.COPY: "Skipped, because the test had ended",
    StageName.ARRIVAL: "Skipped, because the test had ended",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a direction failed, and in which stage; no stage when it never came to one."""

    error: MailError
    stage: StageName | None = None


def broke_off() -> MailError:
    """The error for a test that was ended from outside."""
    return MailError(Category.UNAVAILABLE, t("The test broke off."), code="broken-off")


@dataclass(slots=True)
class Result:
    """How a test went. `is_broken`: it was ended from outside, so nothing was learned about the account."""

    task: Task
    stages: dict[tuple[Direction, StageName], Stage] = field(default_factory=dict)
    failures: dict[Direction, Failure] = field(default_factory=dict)
    proved: set[Direction] = field(default_factory=set)
    folders: list[dict[str, Any]] = field(default_factory=list)
    fixes: list[dict[str, str]] = field(default_factory=list)
    is_over: bool = False
    is_broken: bool = False
    seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        why = t("Skipped, because there is nothing to sign in with")
        for direction, broken in self.task.broken.items():
            self.failures[direction] = Failure(broken.error, StageName.SIGN_IN)
            for name in planned(broken.server, direction):
                skipped = Stage(direction, name, StageOutcome.SKIPPED, 0.0, why)
                failed = Stage(direction, name, StageOutcome.FAILED, 0.0, broken.error.message)
                self.stages[direction, name] = failed if name is StageName.SIGN_IN else skipped

    @property
    def has_passed(self) -> bool:
        """Whether every connection of the account was proved to work."""
        return self.is_over and not self.failures and self.proved == set(self.task.legs)

    def stage_list(self) -> list[dict[str, Any]]:
        """The stages as the table and the commands keep them, in the order of happening."""
        return [asdict(stage) for stage in self.stages.values()]

    def hear(self, message: Message) -> None:
        """Take one message of the child, see `probe.probe`. Raises KeyError, TypeError or ValueError for nonsense."""
        if said := message.get("stage"):
            direction, name = Direction(said["direction"]), StageName(said["name"])
            outcome = StageOutcome(said["outcome"])
            facts = dict(said.get("facts", {}))
            stage = Stage(direction, name, outcome, float(said["ms"]), str(said["detail"]), facts)
            self.stages[direction, name] = stage
        elif said := message.get("error"):
            about = {name: said.get(name) for name in ("message", "detail", "permanent", "certificate")}
            about["code"] = said.get("code", "")
            self.fail(Direction(said["direction"]), MailError(Category(said["category"]), **about))
        elif said := message.get("proved"):
            self.proved.add(Direction(said))
        elif said := message.get("fix"):
            self.fixes.append(said)
        elif "folders" in message:
            self.folders = list(message["folders"])
        self.is_over = self.is_over or "end" in message

    def fail(self, direction: Direction, error: MailError) -> None:
        """`direction` ended with `error` in the stage that was running, else in the next; later ones are skipped."""
        at = self._where(direction)
        if at and self._outcome(direction, at) is not StageOutcome.FAILED:
            self.stages[direction, at] = Stage(direction, at, StageOutcome.FAILED, self._ms(), error.message)
        self.failures.setdefault(direction, Failure(error, at))
        ours = error.category in (Category.POLICY, Category.CONFIG)
        self._skip_rest(direction, t("Skipped, because an earlier step failed" if ours or not at else _WHY_SKIPPED[at]))

    def end(self, error: MailError | None = None) -> None:
        """The child has gone; `error` says why it came to no end. What it never began is skipped."""
        self.seconds = round(time.monotonic() - self._began, 3)
        if not self.is_over:
            self.is_over = True
            self.fail(self._unfinished(), error or broke_off())
            for direction in self.task.legs:
                self._skip_rest(direction, t("Skipped, because the test had ended"))

    def _unfinished(self) -> Direction:
        running = [d for (d, _), stage in self.stages.items() if stage.outcome is StageOutcome.RUNNING]
        left = [d for d in Direction if d in self.task.legs and d not in self.proved and d not in self.failures]
        return (running or left or [Direction.INCOMING])[-1 if running else 0]

    def _where(self, direction: Direction) -> StageName | None:
        if direction not in self.task.legs:
            return None
        order = self._planned(direction)
        begun = [name for name in order if self._outcome(direction, name) in _BEGUN]
        return (begun or [name for name in order if self._outcome(direction, name) is None] or order)[
            -1 if begun else 0
        ]

    def _planned(self, direction: Direction) -> list[StageName]:
        if direction not in self.task.legs:
            return []
        sends, waits = self.task.parcel is not None, self.task.waits > 0
        return planned(self.task.legs[direction].server, direction, sends=sends, waits=waits)

    def _outcome(self, direction: Direction, name: StageName) -> StageOutcome | None:
        stage = self.stages.get((direction, name))
        return stage.outcome if stage else None

    def _skip_rest(self, direction: Direction, why: str) -> None:
        for name in self._planned(direction):
            self.stages.setdefault((direction, name), Stage(direction, name, StageOutcome.SKIPPED, 0.0, why))

    def _ms(self) -> float:
        """How long the running stage has lasted: what is left of the whole when the ended stages are taken away."""
        ended = sum(stage.ms for stage in self.stages.values())
        return round(max((time.monotonic() - self._began) * 1000 - ended, 0.0), 1)
