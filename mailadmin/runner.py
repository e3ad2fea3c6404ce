"""The process that runs jobs, and the clock that starts what is due.

The runner forks a worker for each kind of work: lookups, tokens, and the tests for which somebody waits at a page;
usual syncs (as many workers as the settings say), first syncs, reading, deletions. So a lookup never stands behind a
test, a test behind a sync, nor a sync behind one that reads a mailbox for the first time. It starts them again when
they end, and itself does nothing but keep time: its lease "runner:..." says that it lives, and `clock` does what is
due. A database or queue that is away for a while is waited for. Whoever kills the runner kills its workers and their
jobs with it; what they were doing is taken up again because the database knows.
"""

import hashlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.context import ForkProcess
from types import FrameType

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import configure_mappers

from mailadmin import boot, db, leases, queue, schema
from mailadmin.clock import Clock
from mailadmin.config import Settings
from mailadmin.mail import catalogue, dial, known_providers
from mailadmin.mail.errors import MailError
from mailadmin.processes import Backoff, die_with_parent, leash_forks

PREFIX = "runner:"  # of the leases by which others see that runners live
LEASE_SECONDS = 30.0
TICK_SECONDS = 5.0
STEP_SECONDS = 0.1
GRACE_SECONDS = 10.0
POOL = 2  # connections to the database that a worker keeps; its threads borrow a few more for moments
JOB_MODULES = sorted({listed.path.rpartition(".")[0] for listed in queue.JOBS.values()})
# The workers by name. Who works for a page waits for nothing else; a long first sync keeps no usual one waiting.
LINES = {
    "lookup": [queue.Line.LOOKUP],
    "tokens": [queue.Line.TOKEN],
    "interactive": [queue.Line.INTERACTIVE],
    "first sync": [queue.Line.BULK],
    "deletion": [queue.Line.DELETION],
    "reading": [queue.Line.READING],
    "sending": [queue.Line.SENDING],
    "looking": [queue.Line.LOOKING],
}
# What RQ repeats while the queue is away, which the clock says once, and that there is nothing to stop at the end.
NOT_SAID = ("could not connect to Redis", "no horse found")
log = logging.getLogger(__name__)
_fork = multiprocessing.get_context("fork")


class Worker:
    """A forked process that takes jobs from some queues."""

    def __init__(self, name: str, lines: Sequence[queue.Line]) -> None:
        self.name = name
        self._lines = lines
        self._backoff = Backoff()
        self._process: ForkProcess | None = None
        self._started = 0.0
        self._again_at = 0.0

    def look_after(self) -> None:
        """Start the process, or start it again a little later each time, if it does not run."""
        if self._process is not None and self._process.is_alive():
            return
        if self._process is not None:
            wait = self._backoff.after(time.monotonic() - self._started)
            self._again_at = time.monotonic() + wait
            log.warning("The %s worker ended (%s) and starts again in %.1f s.", self.name, self._process.exitcode, wait)
            self._process = None
        if time.monotonic() >= self._again_at:
            self._start()

    def stop(self, *, until: float) -> None:
        """Wait for the process to end, `until` a point of the monotonic clock; then kill it."""
        if self._process is None:
            return
        self._process.join(max(0.0, until - time.monotonic()))
        if self._process.is_alive():
            log.warning("The %s worker did not stop in time and was killed.", self.name)
            self._process.kill()
            self._process.join()

    def terminate(self) -> None:
        """Ask the process to finish its job and end."""
        if self._process is not None:
            self._process.terminate()

    def _start(self) -> None:
        db.database().engine.dispose()  # An open connection must not cross the fork.
        self._process = _fork.Process(target=_work, args=(self._lines, os.getpid()), name=self.name)
        self._process.start()
        self._started = time.monotonic()


class Runner:
    """Looks after the workers and keeps time until it is told to stop."""

    def __init__(self) -> None:
        self._workers = [Worker(name, lines) for name, lines in lines_of(boot.settings()).items()]
        self._clock = Clock()
        self._lease: leases.Held | None = None
        self._is_stopping = False
        self._is_blocked = False
        self._next_tick = 0.0

    def run(self) -> None:
        """Everything, until a signal says stop."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        self._await_tables()
        while not self._is_stopping:
            for worker in self._workers:
                worker.look_after()
            if time.monotonic() >= self._next_tick:
                self._keep_time()
                self._next_tick = time.monotonic() + TICK_SECONDS
            time.sleep(STEP_SECONDS)
        self._end()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _await_tables(self) -> None:
        """Come back when the newest migration has run, or when it is time to stop."""
        patience = time.monotonic() + TICK_SECONDS
        while not self._is_stopping and not schema.is_ready(db.database().engine):
            if time.monotonic() > patience:
                log.warning("The database is not up to date, or away. Jobs wait for it; `mailadmin doctor` says more.")
                patience = float("inf")
            time.sleep(STEP_SECONDS)

    def _keep_time(self) -> None:
        try:
            self._show_life()
            self._clock.tick()
        except SQLAlchemyError as error:
            if not self._is_blocked:
                cause = error.orig if isinstance(error, DBAPIError) else error
                log.error("The database cannot be used (%s); the clock stands still until it can.", cause)
            self._is_blocked = True
        else:
            if self._is_blocked:
                log.warning("The database can be used again.")
            self._is_blocked = False

    def _show_life(self) -> None:
        with db.transaction() as session:
            if self._lease is None:
                freed = leases.break_dead(session)
                self._lease = leases.take(session, _lease_name(), seconds=LEASE_SECONDS)
                if freed:
                    log.info("Freed %d leases of processes that are gone.", freed)
                return
        try:
            with db.transaction() as session:
                leases.beat(session, self._lease, seconds=LEASE_SECONDS)
        except leases.LeaseLost:
            self._lease = None

    def _end(self) -> None:
        for worker in self._workers:
            worker.terminate()
        until = time.monotonic() + GRACE_SECONDS
        for worker in self._workers:
            worker.stop(until=until)
        try:
            self._clock.end()
            with db.transaction() as session:
                if self._lease is not None:
                    leases.release(session, self._lease)
        except SQLAlchemyError:
            log.warning("The database is away: this runner's leases run out by themselves.")


def lines_of(settings: Settings) -> dict[str, list[queue.Line]]:
    """The lines of each worker of a runner, by the worker's name."""
    syncing = {f"sync {number}": [queue.Line.SYNC] for number in range(1, settings.sync_workers + 1)}
    return {**LINES, **syncing}


def run(settings: Settings) -> None:
    """Be a runner of the installation that `settings` describe, until SIGTERM or SIGINT."""
    boot.start(settings, busy_seconds=30.0, pool_size=POOL)
    for module in JOB_MODULES:
        import_module(module)  # Before the fork: a job starts in milliseconds when nothing has to be read for it.
    configure_mappers()
    catalogue.rules()
    known_providers.everyone()
    with suppress(MailError):  # The tests will say it.
        dial.warm_up(settings.rules)
    Runner().run()


def _work(lines: Sequence[queue.Line], runner: int) -> None:
    """A worker's whole life, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(runner)
    leash_forks()
    logging.getLogger("rq.worker").addFilter(lambda record: not any(words in record.msg for words in NOT_SAID))
    try:
        queue.work(lines)
    except Exception as error:  # noqa: BLE001 - the edge of a process: the runner starts it again
        log.error("A worker gave up: %s", error)
        raise SystemExit(1) from None


def _lease_name() -> str:
    # The holder says in full who it is; the name only has to differ, and a host's name may be long.
    return PREFIX + hashlib.sha256(leases.this_process().encode()).hexdigest()[:16]
