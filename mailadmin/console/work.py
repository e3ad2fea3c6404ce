"""Whether background work goes on: what every runner does, what waits and how long, and what is wrong with it.

Everything here is what the database knows; of the queue only whether it can be reached. A test that runs does not say
which runner does it, so where several machines have runners the tests stand in a line of their own.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from mailadmin import leases, queue
from mailadmin.accounts.models import Account, Health
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.console.times import lasting
from mailadmin.db import now
from mailadmin.organisation import service as organisation
from mailadmin.sync import service as sync
from mailadmin.sync.models import RunOutcome, SyncRun
from mailadmin.text import t

BEHIND_AFTER = timedelta(minutes=1)
ALARM_AFTER = timedelta(minutes=5)
MISSED_AFTER = timedelta(seconds=30)  # Work that waits so long was meant for a runner that fell silent.
NAMED = 2  # syncs of one machine that are told one by one
_NOBODY = timedelta(0)


class Alarm(StrEnum):
    """What somebody has to mend at once."""

    NONE = ""
    QUEUE = "queue"
    NO_RUNNER = "no-runner"
    SILENT = "silent"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the card: who, the things that they do now, and the colour of the dot."""

    name: str
    doing: tuple[str, ...]
    tone: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a runner, and how long the longest has waited; nothing waits when that is None."""

    tests: int
    syncs: int
    deletions: int
    longest: timedelta | None

    @property
    def number(self) -> int:
        """How many things wait."""
        return self.tests + self.syncs + self.deletions

    @property
    def words(self) -> str:
        """`2 tests, 10 syncs`, or that nothing waits."""
        parts = [
            (self.tests, t("1 test"), t("{n} tests", n=f"{self.tests:,}")),
            (self.syncs, t("1 sync"), t("{n} syncs", n=f"{self.syncs:,}")),
            (self.deletions, t("1 deletion"), t("{n} deletions", n=f"{self.deletions:,}")),
        ]
        return ", ".join(one if n == 1 else many for n, one, many in parts if n) or t("nothing")

    @property
    def longest_words(self) -> str:
        """How long the longest has waited."""
        return lasting(self.longest) if self.longest else t("none")


@dataclass(frozen=True, slots=True)
class Work:
    """Background work at one moment. `silent` names a runner that ended without a word, `silence` says for how long."""

    lines: tuple[Line, ...]
    alive: int
    silent: str
    silence: timedelta
    queue_answers: bool
    waiting: Waiting
    tick: timedelta | None  # how long ago the scheduler looked what is due; None: it does not run
    failed: int

    @property
    def alarm(self) -> Alarm:
        """The worst that is wrong."""
        longest = self.waiting.longest or _NOBODY
        if not self.queue_answers:
            return Alarm.QUEUE
        if self.silent and (not self.alive or longest > MISSED_AFTER):
            return Alarm.SILENT
        if not self.alive:
            return Alarm.NO_RUNNER
        return Alarm.LATE if longest > ALARM_AFTER else Alarm.NONE

    @property
    def pace(self) -> str:
        """keeping up, behind or stopped."""
        if not self.queue_answers or not self.alive:
            return "stopped"
        is_late = (self.waiting.longest or _NOBODY) > BEHIND_AFTER
        return "behind" if is_late or self.tick is None or self.alarm else "keeping up"

    @property
    def silence_words(self) -> str:
        """How long the silent runner has been silent."""
        return _roughly(self.silence)

    @property
    def tick_words(self) -> str:
        """When the scheduler last looked."""
        if self.tick is None:
            return t("stands still")
        return t("last tick {time} ago", time=lasting(self.tick))


def look(session: Session) -> Work:
    """How background work is now; at most eight queries, however many accounts and runners."""
    moment = now()
    runners = leases.not_given_back(session, "runner:")
    silent = sorted((r for r in runners if r.expires_at <= moment), key=lambda r: r.beat_at)
    alive = [r for r in runners if r.expires_at > moment]
    clock = leases.held_now(session, "clock")
    return Work(
        lines=(*_lines(session, alive, moment), *(_silent_line(runner, moment) for runner in silent)),
        alive=len(alive),
        silent=_name(silent[0]) if silent else "",
        silence=moment - silent[0].beat_at if silent else _NOBODY,
        queue_answers=queue.waiting() is not None,
        waiting=_waiting(session, moment),
        tick=moment - clock[0].beat_at if clock else None,
        failed=_failed_today(session, moment),
    )


# Who does what.


def _name(runner: leases.Lease) -> str:
    host = leases.host_of(runner.holder)
    return host if len(host) <= 24 else f"{host[:23]}…"


def _roughly(duration: timedelta) -> str:
    """In whole minutes from one on: nobody counts the seconds of what is broken."""
    minutes = duration // timedelta(minutes=1)
    return lasting(timedelta(minutes=minutes)) if minutes else lasting(duration)


def _silent_line(runner: leases.Lease, moment: datetime) -> Line:
    return Line(_name(runner), (t("silent for {time}", time=_roughly(moment - runner.beat_at)),), "bad")


def _lines(session: Session, alive: Sequence[leases.Lease], moment: datetime) -> list[Line]:
    """One line for each machine: its runners, what they sync, and the tests if they can be nobody else's."""
    syncs = _syncs(session, moment)
    number, began = session.execute(
        select(func.count(), func.min(Check.started_at)).where(
            Check.finished_at.is_(None), Check.started_at >= _oldest_job(moment)
        )
    ).one()
    tests = ""
    if began is not None:
        said = t("testing 1 connection") if number == 1 else t("testing {n} connections", n=f"{number:,}")
        tests = f"{said}, {lasting(moment - began)}"
    machines: dict[str, list[leases.Lease]] = defaultdict(list)
    for runner in sorted(alive, key=lambda r: (r.holder, r.name)):
        machines[leases.machine_of(runner.holder)].append(runner)
    found = []
    for machine, runners in machines.items():
        parts = [*syncs.pop(machine, []), *([tests] if tests and len(machines) == 1 else [])]
        found.append(_line(runners, parts, moment))
    # A command may sync as well, where no runner is.
    found += [Line(leases.host_of(machine), tuple(parts), "run") for machine, parts in syncs.items()]
    if tests and len(machines) != 1:
        found.append(Line(t("Tests"), (tests,), "run"))
    return found


def _oldest_job(moment: datetime) -> datetime:
    """What tests began before this have lost their job: none lives so long."""
    return moment - timedelta(seconds=queue.JOBS["check"].seconds)


def _line(runners: Sequence[leases.Lease], parts: Sequence[str], moment: datetime) -> Line:
    name = _name(runners[0])
    if len(runners) > 1:
        name = t("{name}, {n} runners", name=name, n=len(runners))
    seen = lasting(moment - max(runner.beat_at for runner in runners))
    return Line(name, tuple(parts) or (t("idle, seen {time} ago", time=seen),), "ok")


def _syncs(session: Session, moment: datetime) -> dict[str, list[str]]:
    """What is being synced, by machine, in words; the oldest first."""
    prefix = sync.lease_name(0).removesuffix("0")
    held = {int(lease.name.removeprefix(prefix)): lease for lease in leases.held_now(session, prefix)}
    addresses = session.execute(select(Account.id, Account.address).where(Account.id.in_(held))).all() if held else []
    by_machine: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for account_id, address in addresses:
        lease = held[account_id]
        by_machine[leases.machine_of(lease.holder)].append((lease.taken_at, address))
    return {machine: _told(sorted(found), moment) for machine, found in by_machine.items()}


def _told(found: Iterable[tuple[datetime, str]], moment: datetime) -> list[str]:
    said = [
        t("syncing {name}@…, {time}", name=address.partition("@")[0], time=lasting(moment - began))
        for began, address in found
    ]
    return said if len(said) <= NAMED else [*said[:NAMED], t("{n} more", n=len(said) - NAMED)]


# What waits, and what failed.


def _waiting(session: Session, moment: datetime) -> Waiting:
    asked = SyncRun.finished_at.is_(None) & SyncRun.started_at.is_(None)
    due = (
        Account.is_set_up
        & Account.deleting_at.is_(None)
        & Account.running_since.is_(None)
        & Account.health.not_in((Health.PAUSED, Health.NEEDS_ATTENTION))
        & (Account.next_sync_at <= moment)
        & organisation.mail_is_used()
    )
    also_asked = Account.id.in_(select(SyncRun.account_id).where(asked))
    syncs, overdue, deletions = session.execute(
        select(
            func.count().filter(or_(due, also_asked & Account.deleting_at.is_(None))),
            func.min(Account.next_sync_at).filter(due),
            func.count().filter(Account.deleting_at.is_not(None)),
        ).select_from(Account)
    ).one()
    lost = Check.started_at < _oldest_job(moment)
    waits = Check.finished_at.is_(None) & or_(Check.started_at.is_(None), lost)
    tests, tested, run = session.execute(
        select(
            func.count(),
            # Tests of many accounts together are done politely, a few at a time: they are meant to wait.
            func.min(Check.requested_at).filter(Check.in_turn.is_(False)),
            select(func.min(SyncRun.requested_at)).where(asked).scalar_subquery(),
        ).where(waits)
    ).one()
    began = min((at for at in (overdue, tested, run) if at is not None), default=None)
    return Waiting(tests, syncs, deletions, None if began is None else moment - began)


def _failed_today(session: Session, moment: datetime) -> int:
    """Sync runs and connection tests that failed since midnight, UTC."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    failed = SyncRun.finished_at >= midnight, SyncRun.outcome == RunOutcome.FAILED, sync.IS_SYNC
    runs = select(func.count()).where(*failed)
    tests = select(func.count()).where(Check.finished_at >= midnight, Check.outcome == CheckOutcome.FAILED)
    return int(session.scalar(select(runs.scalar_subquery() + tests.scalar_subquery())) or 0)
