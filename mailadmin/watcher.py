"""The process that is told by mail servers when there is news, and has the account synced at once.

It holds one connection for each account whose server has IDLE (mail/imap_idle.py), thousands in one thread
(watching/board.py); a few more threads open them (watching/opening.py), politely (watching/roster.py). Which accounts,
the database says, and every three seconds it is asked whether that has changed. Several watchers share the accounts by
leases (watching/shards.py). When something moves, a run is written and rung for: a burst of news makes one run, and
news that comes while a run goes on makes one more after it.

What can go wrong. A connection breaks, or its server falls silent: it is opened again, later each time it fails, and as
opening compares the inbox with what was stored, nothing that came meanwhile is missed. The database is away: the
connections stay, and what is to be written waits. The process is killed: its leases run out, or are broken by the next
watcher of the machine, and the accounts are asked as often as others until then.
"""

import ctypes
import logging
import queue as queues
import resource
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import FrameType

from sqlalchemy.exc import SQLAlchemyError

from mailadmin import boot, db, queue, schema
from mailadmin.config import Settings
from mailadmin.mail import catalogue, dial, known_providers
from mailadmin.mail.errors import MailError
from mailadmin.sync import watching
from mailadmin.watching.board import Board
from mailadmin.watching.opening import Opened, open_idle
from mailadmin.watching.roster import MOST_OPENING, Roster
from mailadmin.watching.shards import Shards

TURN_SECONDS = 0.5
LOOK_SECONDS = 3.0  # from one look at the database to the next
LIST_SECONDS = 60.0  # What only a longer look shows is noticed that late.
BEAT_SECONDS = 10.0
NOTE_SECONDS = 1.0
GATHER_SECONDS = 0.05  # News of one moment makes one run.
PAUSE_SECONDS = 1.0  # from one run of an account to the next for which it gives cause
AGAIN_SECONDS = 0.3  # until it is seen whether a run that goes on has ended, and later the longer it lasts
POOL = 3  # connections to the database
MOST_FILES, SPARE_FILES = 65_536, 300  # each connection is an open file
_ARENA_MAX = -8  # mallopt(3)
log = logging.getLogger(__name__)


class Watcher:
    """Everything that one process watches."""

    def __init__(self, board: Board | None = None, *, most: int = 10_000) -> None:
        """`most` connections are held at once."""
        self._board, self._most = Board() if board is None else board, most
        self._roster, self._shards = Roster(), Shards()
        self._threads = ThreadPoolExecutor(MOST_OPENING, thread_name_prefix="opening")
        self._opened: queues.SimpleQueue[tuple[int, watching.Stamp, Future[Opened]]] = queues.SimpleQueue()
        self._news: dict[int, float] = {}  # account: when a run may be asked for
        self._asked: dict[int, float] = {}  # account: when one was
        self._watched: set[int] = set()  # to be written down
        self._unwatched: set[int] = set()
        self._seen: object = None
        self._look_at = self._list_at = self._beat_at = self._note_at = 0.0
        self._is_stopping = self._is_blocked = False

    def run(self) -> None:
        """Everything, until a signal says stop."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        while not self._is_stopping and not schema.is_ready(db.database().engine):
            time.sleep(TURN_SECONDS / 5)
        while not self._is_stopping:
            self.turn()
        self.end()

    def turn(self, seconds: float = TURN_SECONDS) -> None:
        """Wait for news up to `seconds`, and do what is due."""
        heard = self._board.turn(min(seconds, self._until_due()))
        moment = time.monotonic()
        for id_ in heard.moved:
            self._note_news(id_, moment + GATHER_SECONDS)
        for id_, error in heard.lost.items():
            log.debug("Account %d is not watched any more: %s", id_, error)
            self._roster.lost(id_)
        self._take_opened()
        try:
            self._work(moment)
        except SQLAlchemyError as error:
            if not self._is_blocked:
                log.error("The database cannot be used (%s); news waits until it can.", type(error).__name__)
            self._is_blocked = True
        else:
            self._is_blocked = False
        for id_, stamp in self._roster.turns(room=self._most - len(self._board)):
            future = self._threads.submit(open_idle, id_, stamp)
            future.add_done_callback(lambda done, id_=id_, stamp=stamp: self._report(id_, stamp, done))  # type: ignore[misc]

    def end(self) -> None:
        """Let another watcher go on at once."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._board.close()
        try:
            with db.transaction() as session:
                self._shards.give_back(session)
        except SQLAlchemyError:
            log.warning("The database is away: this watcher's leases run out by themselves.")

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True
        self._board.wake()

    def _report(self, account_id: int, stamp: watching.Stamp, done: Future[Opened]) -> None:
        """In one of the threads: hand over what came of an opening."""
        self._opened.put((account_id, stamp, done))
        self._board.wake()

    def _until_due(self) -> float:
        moment = time.monotonic()
        news = min(self._news.values(), default=moment + TURN_SECONDS) - moment
        return max(0.0, min(news, self._roster.next_due()))

    def _work(self, moment: float) -> None:
        """What the database is needed for. Raises SQLAlchemyError."""
        if moment >= self._beat_at:
            self._beat_at = moment + BEAT_SECONDS
            before = self._shards.mine
            with db.transaction() as session:
                self._shards.keep(session)
            if self._shards.mine != before:
                self._seen = None
        if moment >= self._look_at:
            self._look_at = moment + LOOK_SECONDS
            self._follow(moment)
        if due := [id_ for id_, at in self._news.items() if at <= moment]:
            self._ask_for_runs(due, moment)
        if moment >= self._note_at and (self._watched or self._unwatched):
            self._note_at = moment + NOTE_SECONDS
            self._note()

    def _follow(self, moment: float) -> None:
        """Notice who is to be watched now."""
        with db.reading() as session:
            seen = watching.fingerprint(session)
            if seen == self._seen and moment < self._list_at:
                return
            wanted = watching.wanted(session, self._shards.mine)
        self._seen, self._list_at = seen, moment + LIST_SECONDS
        for id_ in self._roster.follow(wanted):
            if id_ in self._board:
                self._board.drop(id_)
            self._watched.discard(id_)
            self._unwatched.add(id_)
        self._asked = {id_: at for id_, at in self._asked.items() if at > moment - PAUSE_SECONDS}

    def _take_opened(self) -> None:
        with suppress(queues.Empty):
            while True:
                self._take_one(*self._opened.get_nowait())

    def _take_one(self, account_id: int, stamp: watching.Stamp, done: Future[Opened]) -> None:
        try:
            opened = done.result()
        except Exception as error:
            if not isinstance(error, SQLAlchemyError):
                log.exception("Opening account %d broke off.", account_id)
            opened = Opened(account_id, stamp)
        is_wanted = self._roster.ended(opened)
        if opened.idle is None:
            if account_id in self._roster and account_id not in self._board:
                self._unwatched.add(account_id)
            return
        if not is_wanted or account_id in self._board:
            opened.idle.close()
            return
        self._board.add(account_id, opened.idle)
        self._watched.add(account_id)
        self._unwatched.discard(account_id)
        if opened.is_behind:
            self._note_news(account_id, time.monotonic())

    def _note_news(self, account_id: int, at: float) -> None:
        if account_id in self._roster:
            soonest = self._asked.get(account_id, 0.0) + PAUSE_SECONDS
            self._news.setdefault(account_id, max(at, soonest))

    def _ask_for_runs(self, due: list[int], moment: float) -> None:
        """Have these accounts synced; those that are being synced a little later. Raises SQLAlchemyError."""
        with db.reading() as session:
            going = watching.going(session, due)
        for id_, age in going.items():
            self._news[id_] = moment + min(max(age / 4, AGAIN_SECONDS), PAUSE_SECONDS)
        free = [id_ for id_ in due if id_ not in going]
        if not free:
            return
        with db.transaction() as session:
            runs = watching.wake(session, free)
        for id_ in free:
            del self._news[id_]
            self._asked[id_] = moment
        for run_id in runs:
            queue.ring("sync", run_id)

    def _note(self) -> None:
        """Write down who is watched and who is not. Raises SQLAlchemyError; then it is tried again."""
        with db.transaction() as session:
            watching.note_watched(session, self._watched)
            watching.note_unwatched(session, self._unwatched)
        self._watched, self._unwatched = set(), set()


def run(settings: Settings) -> None:
    """Be a watcher of the installation that `settings` describe, until SIGTERM or SIGINT."""
    save_memory()
    boot.start(settings, busy_seconds=30.0, pool_size=POOL)
    catalogue.rules()
    known_providers.everyone()
    with suppress(MailError):  # Opening an account will say it.
        dial.warm_up(settings.rules)
    Watcher(most=room_for_files() - SPARE_FILES).run()


def room_for_files() -> int:
    """How many open files this process may have, after it has asked for all that it can get."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(most, MOST_FILES) if most != resource.RLIM_INFINITY else MOST_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def save_memory() -> None:
    """Have the threads share their memory: otherwise each keeps what its openings needed for a moment."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
