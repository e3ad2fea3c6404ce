"""The job that sends what people wrote."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError

from mailadmin import boot, db, leases, queue
from mailadmin.errors import MailAdminError
from mailadmin.leases import Held, LeaseLost
from mailadmin.mail.errors import MailError
from mailadmin.mail.smtp import Unanswered
from mailadmin.mail.types import Bearer
from mailadmin.oauth import service as oauth
from mailadmin.sync import claims
from mailadmin.sync.models import SyncRun
from mailadmin.writing import composing, forwarding, outbox
from mailadmin.writing.composing import Composed
from mailadmin.writing.models import OutgoingMessage
from mailadmin.writing.outbox import Failure, Withdrawn, Work
from mailadmin.writing.sending import Conversation

AT_ONCE = 16  # accounts
TAKING_SECONDS = 1200.0  # Then a new job goes on, so that this one ends within its time at the queue.
LOOK_SECONDS = 1.0
BEAT_SECONDS = 10.0
# Making a message, and filing its copy, takes as much memory as the message is large; waiting for servers does not.
_heavy = threading.Lock()
log = logging.getLogger(__name__)


class Stopped(Exception):
    """The job has to end."""


class _Stop:
    """When the threads of a job have to end."""

    def __init__(self) -> None:
        self._is_over, self._until = threading.Event(), time.monotonic() + TAKING_SECONDS

    def now(self) -> None:
        """At once."""
        self._is_over.set()

    def check(self) -> None:
        """Raises Stopped if it is time."""
        if self._is_over.is_set():
            raise Stopped

    def is_time_left(self) -> bool:
        """Whether another message may be begun."""
        return not self._is_over.is_set() and not self.is_late

    @property
    def is_late(self) -> bool:
        """Whether a new job goes on."""
        return time.monotonic() >= self._until


def drain_outgoing() -> None:
    """Send what is due, for many accounts at once, and end when nothing is.

    Repeatable: one job works for an account at a time, by a lease; a message whose job died is sent by the next one, or
    called unclear if the server may have taken it (see outbox.py).
    """
    stop, beat_at = _Stop(), time.monotonic() + BEAT_SECONDS
    going: dict[Future[None], Held] = {}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            while True:
                if stop.is_time_left():
                    for held in _claim(AT_ONCE - len(going)):
                        going[threads.submit(_work_for, held, stop)] = held
                if not going:
                    break
                for done in wait(going, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done:
                    del going[done]
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + BEAT_SECONDS
                    with db.transaction() as session:
                        leases.beat_all(session, list(going.values()), seconds=outbox.LEASE_SECONDS)
        finally:
            stop.now()  # When the queue ends us, nobody hands over a message any more.
    if stop.is_late:
        queue.ring("outgoing")


def _claim(free: int) -> list[Held]:
    if free <= 0:
        return []
    with db.reading() as session:
        due = outbox.due_accounts(session, limit=free)
    found = []
    for account_id in due:
        with db.transaction() as session:
            held = leases.take(session, f"{outbox.PREFIX}{account_id}", seconds=outbox.LEASE_SECONDS)
        if held is not None:
            found.append(held)
    return found


def _work_for(held: Held, stop: "_Stop") -> None:
    """Everything that is due for one account; whatever goes wrong, the lease is given back."""
    try:
        _send_all(held, stop)
    except LeaseLost:
        log.warning("Somebody else sends for %s now.", held.name)
        return
    except Stopped:
        pass  # What was begun is taken up by the next job.
    except Exception:
        log.exception("Sending broke off (%s).", held.name)
        with suppress(LeaseLost, SQLAlchemyError), db.transaction() as session:
            outbox.give_up_on(session, held)
    with suppress(SQLAlchemyError), db.transaction() as session:
        leases.release(session, held)


def _send_all(held: Held, stop: "_Stop") -> None:
    conversation = Conversation(boot.settings().rules, stop.check)
    try:
        while stop.is_time_left():
            with db.transaction() as session:
                work = outbox.take(session, held)
            if work is None:
                return
            with _composing(work) as composed:
                if composed is not None:
                    _send(held, work, composed, conversation, stop)
    finally:
        conversation.close()


@contextmanager
def _composing(work: Work) -> Iterator[Composed | None]:
    """The message of `work`, or None if it cannot be made, which is noted then."""
    composed = None
    try:
        forwarding.fetch(work.outgoing_id)
        with _heavy, db.reading() as session:
            outgoing = session.get(OutgoingMessage, work.outgoing_id)
            composed = composing.compose(session, outgoing) if outgoing else None
    except MailAdminError as error:
        permanent = not isinstance(error, forwarding.FilesMissing) or error.permanent
        with db.transaction() as session:
            outbox.note_trouble(session, work, error.message, permanent=permanent)
    try:
        yield composed
    finally:
        if composed is not None:
            composed.close()


def _send(held: Held, work: Work, composed: Composed, conversation: Conversation, stop: "_Stop") -> None:
    def before_end() -> None:
        stop.check()
        with db.transaction(lasts=True) as session:
            outbox.hand_over(session, held, work)

    run: SyncRun | None = None
    try:
        failure = conversation.send(_with_token(work), composed, before_end)
        if failure is None:
            run = _note_sent(work, composed)
    except MailError as error:  # There is no token; or nobody knows.
        failure = Failure(error, of_account=True)
        if isinstance(error, Unanswered):
            failure = None
            with db.transaction() as session:
                run = outbox.note_unclear(session, work)
    except (Stopped, Withdrawn) as error:
        with db.transaction() as session:
            outbox.note_withdrawn(session, work, problem=getattr(error, "problem", ""))
        if isinstance(error, Stopped):
            raise
        return
    if failure is not None:
        with db.transaction() as session:
            outbox.note_failure(session, work, failure)
    if run is not None:
        with db.reading() as session:
            job = claims.jobs_of(session, [run.id])[run.id]
        queue.ring(job, run.id)


def _with_token(work: Work) -> Work:
    """`work` with a token that is good for some minutes, if the account signs in with one.

    Raises MailError, or Withdrawn if the account was changed meanwhile, and has nothing to sign in with.
    """
    if not isinstance(work.leg.how, Bearer):
        return work
    try:
        oauth.make_fresh(work.account_id, boot.settings().rules)
        with db.reading() as session:
            return replace(work, leg=outbox.renewed(session, work))
    except MailAdminError as error:
        raise Withdrawn(error.message) from error


def _note_sent(work: Work, composed: Composed) -> SyncRun | None:
    """Write down that it was sent, before all; what follows from that may fail."""
    try:
        with _heavy, db.transaction() as session:
            return outbox.note_sent(session, work, composed.copy)
    except Exception:
        log.exception("What follows from sending message %s was not done.", work.outgoing_id)
        with db.transaction() as session:
            return outbox.note_sent(session, work, None)
