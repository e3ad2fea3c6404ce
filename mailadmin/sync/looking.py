"""Asks the servers of many accounts whether anything is new, and leaves no run where nothing is.

How it works. Most syncs find nothing. So an account that is whole (lookable.py) is only looked at when it is due: sign
in, one LIST-STATUS, compare with the facts that the last pass left of each folder, as a run does it (survey.py); where
the server does not tell a folder unopened, it is opened. Where nothing moved, the account was complete at the moment
when the look began, and that is noted for all that ended meanwhile in one transaction (looked.py). Whatever else there
is, is for a usual run: it is asked for, and comes by itself. One process looks at many accounts, in threads, for nearly
all of a look is waiting; only the thread that began it all talks to the database.

Who comes next. The database says who is due, once a second; from that list each server in turn gets an account looked
at (lanes.py).

Why it may run twice, or be killed anywhere. One process looks, which holds the lease "looking"; another comes back at
once. Each account is looked at under the lease of its syncs, so never beside a run or another look. Nothing is written
before the end, and then only under that lease and for the account as it was (looked.py). What was not written is due
still.

What can go wrong. The server lets us not in, or wants to be left alone: that ends like a run that met it, with the same
diagnosis, and a refused sign-in pauses the account at once. A refused token is renewed, and then a run tries. Whatever
else goes wrong after the sign-in (a folder that is refused, an answer that takes longer than a look may) is for a usual
run, and so is an account after a fault of ours.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from mailadmin import boot, db, leases, queue
from mailadmin.mail import names
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Bearer, FolderState
from mailadmin.mail.types import Folder as Listed
from mailadmin.oauth import service as oauth
from mailadmin.sync import claims, folders, lookable, looked, quick, renames
from mailadmin.sync.going import BEAT_SECONDS, LEASE_SECONDS, MustEnd, Timed, interruption
from mailadmin.sync.lanes import Lanes, Turns, Work
from mailadmin.sync.lookable import Look
from mailadmin.sync.looked import Guard, Looked
from mailadmin.sync.run import NOT_OF_THE_FOLDER, open_incoming
from mailadmin.sync.service import lease_name

TAKING_SECONDS = 3000.0  # Then another job goes on.
ASK_SECONDS = 20.0  # for what comes after the sign-in
BUDGET = 20_000_000  # bytes of one step of a look: the list of many thousand folders
LIST_SECONDS = 1.0  # from one look into the database to the next
REMEMBERED_SECONDS = 10.0  # where servers are
LISTED = 1000  # accounts that are known to be due
log = logging.getLogger(__name__)


class Looks:
    """The looks of one process, from who is due to what came of it; all of it in the thread that began."""

    def __init__(self, work: Work, guard: Guard, lease: leases.Held) -> None:
        self._turns, self._lanes, self._guard, self._lease = Turns(), Lanes(work), guard, lease
        self._list_at, self._beat_at = 0.0, time.monotonic() + BEAT_SECONDS

    def work(self) -> None:
        """Look at all that are due, until nobody is. When this process has to end, it gives back what it holds.

        Raises LeaseLost: another process looks.
        """
        until = time.monotonic() + TAKING_SECONDS
        is_over = False
        interruption.clear()
        try:
            while self._begin(time.monotonic() < until):
                found = self._lanes.came(LIST_SECONDS)
                if found:
                    runs = looked.note(found, self._guard)
                    self._lanes.forget(found)
                    _ring(runs)
                self._beat()
            is_over = True
        finally:
            if not is_over:
                interruption.set()  # And it stays so: the threads see it when they next wait.
            try:
                self._give_back(self._lanes.held)
            finally:
                self._lanes.close(wait_for_all=is_over)

    def _beat(self) -> None:
        if time.monotonic() >= self._beat_at:
            with db.transaction() as session:
                leases.beat(session, self._lease, seconds=LEASE_SECONDS)
            self._beat_at = time.monotonic() + BEAT_SECONDS

    def _begin(self, may_begin: bool) -> bool:
        """Take as many accounts as there is room for; whether anything goes on, or has its turn still to come."""
        if may_begin:
            if time.monotonic() >= self._list_at:
                self._list()
                self._give_back(self._lanes.take_back())
            chosen = self._turns.next(self._lanes.room(), self._lanes.rooms(self._turns.servers))
            if chosen:
                self._take(chosen)
            self._lanes.fill()
        return bool(self._lanes.held or (may_begin and self._turns))

    def _list(self) -> None:
        with db.reading() as session:
            due = lookable.due(session, limit=LISTED)
        self._list_at = time.monotonic() + LIST_SECONDS
        audits = [one.account_id for one in due if one.needs_audit]
        if audits:
            _ring(looked.request_audits(audits))
        busy = {look.account_id for look in self._lanes.held}
        self._turns.follow([one for one in due if not one.needs_audit], busy)

    def _take(self, account_ids: Sequence[int]) -> None:
        """Take the leases, read what is needed, and begin; who cannot be looked at gets a run, or is let go."""
        with db.transaction() as session:
            taken = leases.take_all(session, [lease_name(id_) for id_ in account_ids], seconds=LEASE_SECONDS)
        held = {id_: taken[lease_name(id_)] for id_ in account_ids if lease_name(id_) in taken}
        looks, unfit = _read(held, self._guard)
        self._lanes.add(looks)
        others = held.keys() - {look.account_id for look in looks}
        if others:
            _ring(looked.give_up([held[id_] for id_ in others], unfit=unfit))

    def _give_back(self, looks: Collection[Look]) -> None:
        if looks:
            _ring(looked.give_up([look.held for look in looks]))


def look_at(look: Look) -> Looked:
    """Ask the server of one account. Raises nothing that a server can cause."""
    try:
        return Looked(look, is_new=_is_new(look, open_incoming(look.leg, _watch, budget=BUDGET)))
    except MailError as error:
        if error.category is Category.OAUTH and isinstance(look.leg.how, Bearer):
            with suppress(MailError):  # The run says it.
                oauth.make_fresh(look.account_id, boot.settings().rules, refused=look.leg.how.token)
            return Looked(look, is_new=True)
        return Looked(look, error=error)


def _is_new(look: Look, incoming: Timed) -> bool:
    """Whether something is new, or only a run can tell. Raises MailError where that would say no more than this."""
    try:
        incoming.deadline = Deadline(ASK_SECONDS, watch=_watch, every=1.0)
        return not _is_unchanged(look, incoming)
    except MailError as error:
        if error.category in NOT_OF_THE_FOLDER:
            raise
        return True
    finally:
        incoming.close()


def _watch() -> None:
    if interruption.is_set():
        raise MustEnd


def _is_unchanged(look: Look, incoming: Timed) -> bool:
    """Whether the server lists the folders that we know, and has in each of them what it had. Raises MailError."""
    listed, states = incoming.survey()
    if not folders.is_as_listed(look.folders, listed) or _may_be_renamed(look, listed, states):
        return False
    known = {"INBOX" if path.upper() == "INBOX" else path: state for path, state in states.items()}
    if not all(quick.is_unchanged(look, f, known[f.path]) for f in look.active if f.path in known):
        return False
    return all(quick.is_unchanged(look, f, incoming.examine(f.path)) for f in look.active if f.path not in known)


def _may_be_renamed(look: Look, listed: Sequence[Listed], states: dict[str, FolderState]) -> bool:
    """Whether a folder that has gone may be there under another name, which a run would find out."""
    if not any(folder.is_gone for folder in look.folders):
        return False
    gone = [folder for folder in look.folders if folder.is_gone]
    return bool(renames.by_id(look.folders, listed) or renames.by_likeness(gone, states))


def look_around(work: Work = look_at, guard: Guard = looked.unguarded) -> None:
    """Have `work` done on all accounts that are due and need no more than that. Repeatable, see above.

    Returns at once while another process does it.
    """
    with db.transaction() as session:
        lease = leases.take(session, lookable.LEASE, seconds=LEASE_SECONDS)
    if lease is None:
        return
    try:
        with names.remembering(REMEMBERED_SECONDS):
            Looks(work, guard, lease).work()
    except leases.LeaseLost:
        log.warning("Somebody else has begun to look at accounts.")
    finally:
        with suppress(SQLAlchemyError), db.transaction() as session:
            leases.release(session, lease)


def _read(held: Mapping[int, leases.Held], guard: Guard) -> tuple[list[Look], list[int]]:
    """As `lookable.read`; for an account that a fault of ours keeps from being read, a look is not enough."""
    looks: list[Look] = []
    unfit: list[int] = []

    def read() -> None:
        with db.reading() as session:
            found = lookable.read(session, held)
        looks.extend(found[0])
        unfit.extend(found[1])

    if guard(held, read):
        return looks, unfit
    if len(held) == 1:
        return [], [*held]
    each = [_read({account_id: one}, guard) for account_id, one in held.items()]
    return [look for looks, _ in each for look in looks], [account_id for _, unfit in each for account_id in unfit]


def _ring(run_ids: Collection[int]) -> None:
    """Ring for runs, each by the job that does it."""
    if run_ids:
        with db.reading() as session:
            rings = claims.enough(claims.jobs_of(session, run_ids))
        for run_id, job in rings.items():
            queue.ring(job, run_id)
