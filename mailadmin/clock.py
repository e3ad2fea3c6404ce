"""What happens by itself, and how often: due syncs, lost jobs, deletions, and sweeping up.

Every runner has a clock, but only the one with the lease "clock" ticks. A step asks the database what is due, commits,
and rings; so a tick may run twice, and what the queue lost is rung for again.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import or_, select
from sqlalchemy.exc import InterfaceError, OperationalError

from mailadmin import db, leases, queue
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.connections import hosts
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check
from mailadmin.invites import service as invites
from mailadmin.moves import service as moves
from mailadmin.notices import service as notices
from mailadmin.oauth import service as oauth
from mailadmin.organisation import service as organisation
from mailadmin.people import sessions, tickets
from mailadmin.sync import changes, claims, lookable, reading, retention, texts, watching
from mailadmin.sync import service as sync
from mailadmin.sync.gone import forget_gone_folders
from mailadmin.wizard import service as wizard
from mailadmin.writing import outbox
from mailadmin.writing import service as writing

LEASE_SECONDS = 20.0
MOST_DUE = 500  # accounts at one tick: 100 a second
CHECK_PATIENCE = timedelta(seconds=5)
SWEEP_SECONDS = 3600.0
log = logging.getLogger(__name__)


class Clock:
    """The clock of one runner."""

    def __init__(self) -> None:
        self._lease: leases.Held | None = None
        self._failing: set[str] = set()
        self._queue_is_away = False
        self._next_sweep = 0.0
        self._is_new = True
        self._had_a_break = False

    def tick(self) -> bool:
        """Do what is due and say True, if this clock leads. Raises SQLAlchemyError while the database is away."""
        if not self._leads():
            return False
        if self._queue_answers():
            for step in (set_up_accounts, self._catch_up, start_due_syncs, find_due_looks, find_lost_syncs):
                self._do(step)
            self._do(find_waiting_checks)
            self._do(find_waiting_lookups)
            self._do(find_dead_watchers)
            self._do(find_waiting_tokens)
            self._do(settle_invites)
            self._do(settle_moves)
            self._do(find_due_notices)
            self._do(find_due_outgoing)
            self._do(settle_outgoing)
            self._do(go_on_deleting, again=self._is_new)
            self._is_new = False
        if time.monotonic() >= self._next_sweep:
            self._do(sweep)
            self._do(retention.forget_in_silent_accounts)
            self._do(forget_gone_folders)
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
        return True

    def _catch_up(self) -> None:
        """After a time in which the company did not use its mail, let the accounts begin again one after the other."""
        with db.transaction() as session:
            uses_mail = organisation.uses_mail(session)
            if uses_mail and self._had_a_break:
                sync.catch_up(session)
        self._had_a_break = not uses_mail

    def end(self) -> None:
        """Let another clock lead at once."""
        if self._lease is not None:
            with db.transaction() as session:
                leases.release(session, self._lease)

    def _leads(self) -> bool:
        try:
            with db.transaction() as session:
                if self._lease is not None:
                    leases.beat(session, self._lease, seconds=LEASE_SECONDS)
                else:
                    self._lease = leases.take(session, "clock", seconds=LEASE_SECONDS)
        except leases.LeaseLost:
            self._lease = None
        return self._lease is not None

    def _queue_answers(self) -> bool:
        """Whether the queue can be rung; what is due stays due until it can."""
        is_away = queue.waiting() is None
        if is_away != self._queue_is_away:
            log.warning("The queue is away; what is due waits for it." if is_away else "The queue is back.")
        self._queue_is_away = is_away
        return not is_away

    def _do(self, step: Callable[..., None], **values: bool) -> None:
        """One step. When it fails the others go on, and the log says so once."""
        name = step.__name__.replace("_", " ").strip()
        try:
            step(**values)
        except (OperationalError, InterfaceError):
            raise  # The database is away, which stops all steps; the runner knows what to say.
        except Exception:
            if name not in self._failing:
                log.exception("The clock could not %s; it tries again at every tick.", name)
            self._failing.add(name)
        else:
            if name in self._failing:
                log.warning("The clock can %s again.", name)
            self._failing.discard(name)


def set_up_accounts() -> None:
    """Finish the set-up of imported accounts whose test has passed."""
    with db.transaction() as session:
        sync.set_up_waiting(session)


def start_due_syncs() -> None:
    """Have every account synced whose time has come and for which a look is not enough, or does not come."""
    with db.transaction() as session:
        runs = sync.request_due_runs(session, limit=MOST_DUE, rule=lookable.BY_RUN)
        due = claims.jobs_of(session, runs)
    for run_id, job in claims.enough(due).items():
        queue.ring(job, run_id)


def find_due_looks() -> None:
    """Ring for accounts that are due and need no more than a look, unless somebody looks already."""
    with db.reading() as session:
        are_due = lookable.are_due(session) and not leases.held_now(session, lookable.LEASE)
    rung = queue.waiting()
    if are_due and rung is not None and not rung[queue.Line.LOOKING]:
        queue.ring("look")


def find_lost_syncs() -> None:
    """Ring again for runs that nobody works on."""
    with db.transaction() as session:
        lost = sync.lost_runs(session)
        jobs = claims.jobs_of(session, [run.id for run in lost])
    for run in lost:
        # A run that was begun has a job that seems alive to the queue; one that was not may still wait in it.
        queue.ring(jobs[run.id], run.id, again=run.started_at is not None)


def find_dead_watchers() -> None:
    """Have accounts asked as often as others again whose watcher has died."""
    with db.transaction() as session:
        watching.forget_dead(session)


def find_waiting_checks() -> None:
    """Ring for checks that nobody took, or whose job died."""
    moment = db.now()
    lost_at = moment - timedelta(seconds=connections.LOST_SECONDS)
    with db.reading() as session:
        waiting = session.scalar(
            select(Check.id)
            .where(
                Check.finished_at.is_(None),
                or_(
                    Check.started_at.is_(None) & (Check.requested_at < moment - CHECK_PATIENCE),
                    Check.started_at < lost_at,
                ),
            )
            .limit(1)
        )
    rung = queue.waiting()
    if waiting is not None and rung is not None and not rung[queue.Line.INTERACTIVE]:
        queue.ring("check")


def find_waiting_lookups() -> None:
    """Ring for lookups that nobody took, or whose job died."""
    with db.reading() as session:
        are_waiting = wizard.are_waiting(session, longer_than=CHECK_PATIENCE)
    rung = queue.waiting()
    if are_waiting and rung is not None and not rung[queue.Line.LOOKUP]:
        queue.ring("detect")


def find_waiting_tokens() -> None:
    """Ring for tokens that nobody asked for yet, or whose job died."""
    with db.reading() as session:
        are_waiting = connections.are_tokens_waiting(session, longer_than=CHECK_PATIENCE)
    rung = queue.waiting()
    if are_waiting and rung is not None and not rung[queue.Line.TOKEN]:
        queue.ring("token")


def settle_invites() -> None:
    """End connect links whose owners have connected, and say what became of others."""
    with db.reading() as session:
        is_due = invites.is_due(session)
    if is_due:
        with db.transaction() as session:
            invites.settle_all(session)


def settle_moves() -> None:
    """Say what became of accounts that leave their passwords, and begin the next."""
    with db.reading() as session:
        is_due = moves.is_due(session)
    if is_due:
        with db.transaction() as session:
            rings = moves.settle(session)
        for job in rings:
            queue.ring(job)


def find_due_notices() -> None:
    """Ring for e-mail of our own that is to be sent, or sent again."""
    with db.reading() as session:
        are_due = notices.are_due(session)
    rung = queue.waiting()
    if are_due and rung is not None and not rung[queue.Line.LOOKUP]:
        queue.ring("notice")


def find_due_outgoing() -> None:
    """Ring for what people wrote and that is to be sent, or sent again."""
    with db.reading() as session:
        are_due = outbox.are_due(session)
    rung = queue.waiting()
    if are_due and rung is not None and not rung[queue.Line.SENDING]:
        queue.ring("outgoing")


def settle_outgoing() -> None:
    """Note which messages have arrived of which nobody knew whether they were sent."""
    with db.reading() as session:
        are_unclear = outbox.are_unclear(session)
    if are_unclear:
        with db.transaction() as session:
            runs = [run.id for run in outbox.settle_found(session)]
            jobs = claims.jobs_of(session, runs)
        for run_id, job in jobs.items():
            queue.ring(job, run_id)


def go_on_deleting(*, again: bool) -> None:
    """Ring for accounts that are being deleted; `again` when whoever did it before may have been killed."""
    with db.reading() as session:
        doomed = session.scalars(select(Account.id).where(Account.deleting_at.is_not(None)).limit(100)).all()
    for account_id in doomed:
        queue.ring("purge", account_id, again=again)


def sweep() -> None:
    """Delete what nobody needs any more: old runs, leases of former runners, sessions that ended long ago."""
    with db.transaction() as session:
        sync.forget_old_runs(session)
        changes.forget_old(session)
        reading.forget_files(session)
        texts.forget_unkept(session)
        for prefix in ("runner:", "watcher:", outbox.PREFIX):
            leases.forget(session, prefix=prefix, before=db.now() - timedelta(hours=1))
        hosts.forget_old(session, before=db.now() - timedelta(days=7))
        sessions.forget_old(session)
        tickets.forget_old(session)
        connections.forget_old_drafts(session)
        wizard.forget_old_lookups(session)
        oauth.forget_old_attempts(session)
        oauth.forget_orphans(session)
        oauth.destroy_old_passwords(session)
        oauth.want_idle(session)
        notices.forget_old(session)
        writing.forget_old(session)
        activity.forget_old(session, months=organisation.activity_months(session))
