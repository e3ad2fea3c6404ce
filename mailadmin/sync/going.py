"""A sync run that goes on: the connection with its deadlines, and the one way in which it may write."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy import Table, bindparam, exists, select, update
from sqlalchemy.orm import Session

from mailadmin import db, leases
from mailadmin.accounts.models import Account, Health, Window
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.types import Changes, Folder, FolderState, Incoming
from mailadmin.organisation import service as organisation
from mailadmin.sync.models import ChangeState, PendingChange, RunKind, SyncRun
from mailadmin.text import t

LEASE_SECONDS = 120.0
STEP_SECONDS = 60.0  # what one answer of the server may take; less than half of the lease
BEAT_SECONDS = 20.0
WATCH_SECONDS = 5.0  # how long a server that says nothing keeps us from noticing that nobody wants this run any more


# Made once: each transaction of a run looks, and to write the statement takes longer than to execute it.
_WAITING = PendingChange.account_id == Account.id, PendingChange.state == ChangeState.WAITING
_AUDITED = SyncRun.account_id == Account.id, SyncRun.finished_at.is_(None), SyncRun.kind == RunKind.AUDIT
LOOK = select(
    Account.deleting_at,
    Account.health,
    Account.version,
    organisation.mail_is_used().label("is_used"),
    exists().where(*_WAITING).correlate(Account).label("is_asked"),
    exists().where(*_AUDITED).correlate(Account).label("is_audit"),
).where(Account.id == bindparam("of_account"))
_HOLD = LOOK.with_for_update(read=True, of=Account)
_RUNS: Table = SyncRun.__table__  # type: ignore[assignment]
_COUNTS = ("new", "changed", "gone", "pushed")
_COUNT = (
    update(_RUNS)
    .where(_RUNS.c.id == bindparam("of_run"))
    .values({name: _RUNS.c[name] + bindparam(f"more_{name}") for name in _COUNTS})
)

interruption = threading.Event()  # set while this process is told to end


class MustEnd(BaseException):
    """The process has to end: the run stays open, and another process goes on with it."""


class Stopped(Exception):
    """Somebody wants this run to stop; `at_once` says that the next one is due now."""

    def __init__(self, reason: str, *, at_once: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_once = at_once


class FolderTrouble(Exception):
    """One folder cannot be read; the others can. The text is a sentence."""


class Timed(Incoming, Protocol):
    """A connection whose deadline can be set anew for every step, and that may be able to tell what changed."""

    deadline: Deadline

    def survey(self) -> tuple[list[Folder], dict[str, FolderState]]:
        """All folders, and by path the state of those of which the server tells it unopened."""

    def look_ahead(self, uids: Sequence[int]) -> None:
        """The messages that will be asked for after those of the next call of `envelopes`."""

    def changes(self, since: int) -> Changes | None:
        """What changed in the open folder since the HIGHESTMODSEQ `since`; None where the server cannot tell."""


def key_of(window: Window, since: datetime | None) -> str:
    """A window, and its far end, as a text."""
    return f"{window.value} {since.isoformat()}" if since else window.value


@dataclass(slots=True)
class Going:
    """What a run knows while it goes on.

    `version` is the account's when the run began; `batch` is how many messages are asked for at once.
    """

    run_id: int
    account_id: int
    version: int
    window: Window
    since: datetime | None
    held: leases.Held
    batch: int
    ends: Deadline
    incoming: Timed | None = None
    told: set[int] = field(default_factory=set)  # the changes of people that the server was told, see push.py
    again: set[int] = field(default_factory=set)  # folders that have to be read once more because of them
    littered: set[int] = field(default_factory=set)  # folders with rows of generations that nobody sees, see closing.py
    is_asked: bool = False  # whether such changes waited when the account was last looked at
    is_audit: bool = False  # whether the run was an audit then; somebody may ask for one while it goes on
    looked_at: float = field(default_factory=time.monotonic)  # when they were last looked for in the middle of work
    _beat_at: float = field(default_factory=time.monotonic)
    _session: Session | None = None  # of the transaction that goes on
    _counted: Counter[str] = field(default_factory=Counter)  # in this transaction

    @property
    def window_key(self) -> str:
        """The window as a text, to notice that it was changed."""
        return key_of(self.window, self.since)

    def step(self) -> Timed:
        """The connection, with time for one more question. Raises Stopped, LeaseLost."""
        if self.ends.is_over:
            raise Stopped(t("There is so much to read that it takes several runs; the next one goes on."), at_once=True)
        if time.monotonic() - self._beat_at > BEAT_SECONDS:
            with self.writing():
                pass
        assert self.incoming is not None
        seconds = min(STEP_SECONDS, self.ends.left())
        self.incoming.deadline = Deadline(seconds, watch=self.watch, every=WATCH_SECONDS)
        return self.incoming

    def watch(self) -> None:
        """Look, in the middle of waiting for the server, whether this run is still wanted. Raises Stopped."""
        with db.reading() as session:
            self.look(session)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed only if the lease is still ours and nobody wants us to stop.

        The beat comes first and keeps the lease's row locked until the commit, so nobody can take it in between; the
        account's row is locked against changes for the same time. Within another one it is a part of that, which spares
        small differences all of this; nobody talks to the server meanwhile. Raises LeaseLost, Stopped; then nothing is
        written.
        """
        if self._session is not None:
            yield self._session
            return
        with db.transaction() as session:
            leases.beat(session, self.held, seconds=LEASE_SECONDS)
            self.look(session, holds=True)
            self._session, self._counted = session, Counter()
            try:
                yield session
                if self._counted.total():
                    more = {f"more_{name}": self._counted[name] for name in _COUNTS}
                    session.connection().execute(_COUNT, more | {"of_run": self.run_id})
            finally:
                self._session = None
        self._beat_at = time.monotonic()

    def count(self, *, new: int = 0, changed: int = 0, gone: int = 0, pushed: int = 0) -> None:
        """Add to what the run has done, in the transaction that goes on: at its end they are stored together."""
        assert self._session is not None
        self._counted.update(new=new, changed=changed, gone=gone, pushed=pushed)

    def look(self, session: Session, *, holds: bool = False) -> None:
        """Whether the company and the account still want this run; `holds` the account as it is until the commit.

        And what else somebody may have asked for meanwhile. Raises Stopped.
        """
        if interruption.is_set():
            raise MustEnd
        query = _HOLD if holds else LOOK
        account = session.connection().execute(query, {"of_account": self.account_id}).one_or_none()
        if account is not None and not account.is_used:
            raise Stopped(organisation.why_off(), at_once=True)
        if account is None or account.deleting_at is not None:
            raise Stopped(t("The account is being deleted."))
        if account.health is Health.PAUSED:
            raise Stopped(t("The account was paused."))
        if account.version != self.version:
            raise Stopped(t("The settings were changed meanwhile. The sync starts anew with them."), at_once=True)
        self.is_asked, self.is_audit = bool(account.is_asked), bool(account.is_audit)
