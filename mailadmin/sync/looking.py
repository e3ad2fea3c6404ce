"""Asks the servers of many accounts whether anything is new, and leaves no run where nothing is.

How it works. Most syncs find nothing. So an account that is whole (lookable.py) is only looked at when it is due: sign
in, one LIST-STATUS, compare with the facts that the last pass left of each folder, as a run does it (survey.py); where
the server does not tell a folder unopened, it is opened. Where nothing moved, the account was complete at the moment
when the look began, and that is noted for all that ended meanwhile in one transaction (looked.py). Whatever else there
is, is for a usual run: it is asked for, and comes by itself. One process looks at many accounts, in threads, for nearly
all of a look is waiting; only the thread that began it all talks to the database.

Who comes next. The database says who is due, once a second; from that list each server in turn gets an account looked
at, as long as it has not too many connections of ours (`Turns`). A server that has not answered yet, or has kept
somebody waiting, gets two, so that a hundred of them that are silent keep nobody else from being looked at.

Why it may run twice, or be killed anywhere. Each account is looked at under the lease of its syncs, so never beside a
run or another look. Nothing is written before the end, and then only under that lease and for the account as it was
(looked.py). What was not written is due still.

What can go wrong. The server lets us not in, or the connection breaks: that ends like a run that met it, with the same
diagnosis, and a refused sign-in pauses the account at once. A refused token is renewed, and then a run tries. After a
fault of ours the account has a usual run, which says so.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

from mailadmin import boot, db, leases, queue
from mailadmin.mail import names
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Bearer, FolderState
from mailadmin.mail.types import Folder as Listed
from mailadmin.oauth import service as oauth
from mailadmin.sync import claims, folders, lookable, looked, quick, renames
from mailadmin.sync.going import LEASE_SECONDS, MustEnd, Timed, interruption
from mailadmin.sync.lookable import Due, Look
from mailadmin.sync.looked import Looked
from mailadmin.sync.run import open_incoming
from mailadmin.sync.service import lease_name

TAKING_SECONDS = 3000.0  # Then another job goes on.
AT_ONCE = 128  # looks of this process
MOST_AT_ONE = claims.MOST_AT_ONE  # at one server, beside as many runs
MOST_AT_SLOW = claims.MOST_AT_SLOW
SLOW_SECONDS = 3.0
ASK_SECONDS = 20.0  # for what comes after the sign-in
LIST_SECONDS = 1.0  # from one look into the database to the next
GATHER_SECONDS = 0.1  # What ends within it is written together,
MOST_TOGETHER = 50  # up to so many.
AHEAD = 48  # accounts of one server that wait for a thread
MOST_HELD = 300  # accounts that are looked at or wait for a thread
REMEMBERED_SECONDS = 10.0  # where servers are
LISTED = 1000  # accounts that are known to be due
Work = Callable[[Look], Looked]


class Turns:
    """Whose turn it is, of those who are due: one account of each server after the other."""

    def __init__(self) -> None:
        self._due: dict[str, deque[int]] = {}

    def follow(self, due: Collection[Due], busy: Collection[int]) -> None:
        """Know of exactly those that are `due` and not `busy`, the longest overdue first."""
        self._due = {}
        for one in due:
            if one.account_id not in busy:
                self._due.setdefault(one.server, deque()).append(one.account_id)

    def next(self, room: int, room_at: Callable[[str], int]) -> list[int]:
        """Who is to be taken now, `room` at most, and of each server as many as there is room for."""
        chosen: list[int] = []
        servers = deque((server, room_at(server)) for server in self._due)
        while servers and len(chosen) < room:
            server, left = servers.popleft()
            if left > 0:
                chosen.append(self._due[server].popleft())
                if self._due[server]:
                    servers.append((server, left - 1))
                else:
                    del self._due[server]
        return chosen

    def __bool__(self) -> bool:
        return bool(self._due)


class Lanes:
    """The threads, each of which does `work` on the accounts of one server, one after the other."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="look")
        self._ready: dict[str, deque[Look]] = {}
        self._held: dict[int, Look] = {}  # by account, until what came of it is known here
        self._going: dict[int, tuple[str, float]] = {}  # by account, at which server, since when
        self._lanes: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._came: SimpleQueue[Looked | str] = SimpleQueue()  # what looks found, and the servers of lanes that ended

    @property
    def held(self) -> list[Look]:
        """What was added and of which nothing came yet."""
        return [*self._held.values()]

    def room(self) -> int:
        """How many accounts more can be added."""
        return MOST_HELD - len(self._held)

    def room_at(self, server: str) -> int:
        """How many accounts more of a server can be added: where it is quick, some that wait for a thread.

        Nobody is added while enough wait, so that there are many to be read together.
        """
        most, waiting = self._most(server), len(self._ready.get(server, ()))
        if most == MOST_AT_SLOW:
            return most - self._lanes[server] - waiting
        return AHEAD - waiting if waiting <= AHEAD // 4 else 0

    def add(self, looks: Collection[Look]) -> None:
        """Look at these accounts as soon as there is a thread for them."""
        for look in looks:
            self._held[look.account_id] = look
            self._ready.setdefault(look.server, deque()).append(look)
        self.fill()

    def fill(self) -> None:
        """Begin lanes where accounts wait and the server may have more of them."""
        for server in [*self._ready]:
            waiting = len(self._ready[server])
            while waiting > 0 and self._lanes[server] < self._most(server) and self._lanes.total() < AT_ONCE:
                self._lanes[server] += 1
                waiting -= 1
                self._threads.submit(self._lane, server)

    def take_back(self) -> list[Look]:
        """The accounts that wait at servers that have become slow, which would be for long."""
        slow = [server for server in self._ready if self._most(server) == MOST_AT_SLOW]
        looks = [look for server in slow for look in self._ready.pop(server)]
        for look in looks:
            del self._held[look.account_id]
        return looks

    def came(self, seconds: float) -> list[Looked]:
        """What looks found until now; waits for the first, and a little for more."""
        found: list[Looked] = []
        until = time.monotonic() + seconds
        while len(found) < MOST_TOGETHER:
            try:
                one = self._came.get(timeout=max(until - time.monotonic(), 0.0))
            except Empty:
                break
            if isinstance(one, str):
                self._lanes[one] -= 1
                continue
            if not found:
                until = time.monotonic() + GATHER_SECONDS
            found.append(one)
            del self._held[one.look.account_id]
            if one.error is None:
                self._answered.add(one.look.server)
            elif one.error.category not in (Category.AUTH, Category.OAUTH):
                self._answered.discard(one.look.server)
        return found

    def close(self, *, wait_for_all: bool) -> None:
        """End the threads."""
        self._threads.shutdown(wait=wait_for_all, cancel_futures=True)

    def _lane(self, server: str) -> None:
        try:
            while self._lanes[server] <= self._most(server):
                look = self._ready[server].popleft()
                self._going[look.account_id] = server, time.monotonic()
                came = Looked(look, is_new=True)  # unless it comes to an end
                try:
                    came = self._work(look)
                finally:
                    del self._going[look.account_id]
                    self._came.put(came)
        except (LookupError, MustEnd):
            pass  # None is left, or somebody has taken them back; or this process ends.
        finally:
            self._came.put(server)

    def _most(self, server: str) -> int:
        late = time.monotonic() - SLOW_SECONDS
        is_slow = any(where == server and since < late for where, since in [*self._going.values()])
        return MOST_AT_ONE if server in self._answered and not is_slow else MOST_AT_SLOW


class Looks:
    """The looks of one process, from who is due to what came of it; all of it in the thread that began."""

    def __init__(self, work: Work) -> None:
        self._turns, self._lanes = Turns(), Lanes(work)
        self._list_at = 0.0

    def work(self) -> None:
        """Look at all that are due, until nobody is. When this process has to end, it gives back what it holds."""
        until = time.monotonic() + TAKING_SECONDS
        is_over = False
        try:
            while self._begin(time.monotonic() < until):
                found = self._lanes.came(LIST_SECONDS)
                if found:
                    _ring(looked.note(found))
            is_over = True
        finally:
            if not is_over:
                interruption.set()
            try:
                self._give_back(self._lanes.held)
            finally:
                self._lanes.close(wait_for_all=is_over)
                interruption.clear()

    def _begin(self, may_begin: bool) -> bool:
        """Take as many accounts as there is room for; whether anything goes on, or has its turn still to come."""
        if may_begin:
            if time.monotonic() >= self._list_at:
                self._list()
                self._give_back(self._lanes.take_back())
            chosen = self._turns.next(self._lanes.room(), self._lanes.room_at)
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
        with db.reading() as session:
            looks, unfit = lookable.read(session, held)
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
        incoming = open_incoming(look.leg, _watch)
        try:
            incoming.deadline = Deadline(ASK_SECONDS, watch=_watch, every=1.0)
            return Looked(look, is_new=not _is_unchanged(look, incoming))
        finally:
            incoming.close()
    except MailError as error:
        if error.category is Category.OAUTH and isinstance(look.leg.how, Bearer):
            with suppress(MailError):  # The run says it.
                oauth.make_fresh(look.account_id, boot.settings().rules, refused=look.leg.how.token)
            return Looked(look, is_new=True)
        return Looked(look, error=error)


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


def look_around(work: Work = look_at) -> None:
    """Have `work` done on all accounts that are due and need no more than that. Repeatable, see above."""
    with names.remembering(REMEMBERED_SECONDS):
        Looks(work).work()


def _ring(run_ids: Collection[int]) -> None:
    """Ring for runs, each by the job that does it."""
    if run_ids:
        with db.reading() as session:
            rings = claims.enough(claims.jobs_of(session, run_ids))
        for run_id, job in rings.items():
            queue.ring(job, run_id)
