"""Whose turn it is to be looked at, and the threads that look; see looking.py.

Each server in turn gets an account looked at, as long as it has not too many connections of ours. One that has not
answered yet, or keeps somebody waiting, is unsure: it gets two, and all of these together half of the threads. So those
that answer are looked at however many others are silent, and a server of which nothing is known yet waits at most until
others have run out of time. A server that was quick and becomes slow keeps the threads that it has until then.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue

from mailadmin.mail.errors import Category
from mailadmin.sync import claims
from mailadmin.sync.going import MustEnd
from mailadmin.sync.lookable import Due, Look
from mailadmin.sync.looked import Looked

AT_ONCE = 128  # looks
MOST_UNSURE = AT_ONCE // 2  # of them at servers that are slow, or have not answered yet
MOST_AT_ONE = claims.MOST_AT_ONE  # at one server, beside as many runs
MOST_AT_SLOW = claims.MOST_AT_SLOW
SLOW_SECONDS = 3.0
GATHER_SECONDS = 0.1  # What ends within it is given out together,
MOST_TOGETHER = 50  # up to so many.
AHEAD = 48  # accounts of one server that wait for a thread
MOST_HELD = 300  # accounts that are looked at or wait for a thread
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

    @property
    def servers(self) -> list[str]:
        """Where they are, by who is the longest overdue."""
        return [*self._due]

    def next(self, room: int, rooms: Mapping[str, int]) -> list[int]:
        """Who is to be taken now, `room` at most, and of each server as many as it has room for."""
        chosen: list[int] = []
        servers = deque((server, rooms[server]) for server in self._due)
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
        self._held: dict[int, Look] = {}  # by account, until what came of it is written
        self._going: dict[int, tuple[str, float]] = {}  # by account, at which server, since when
        self._lanes: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._came: SimpleQueue[Looked | str] = SimpleQueue()  # what looks found, and the servers of lanes that ended

    @property
    def held(self) -> list[Look]:
        """What was added and is not forgotten yet."""
        return [*self._held.values()]

    def room(self) -> int:
        """How many accounts more can be added."""
        return MOST_HELD - len(self._held)

    def rooms(self, servers: Collection[str]) -> dict[str, int]:
        """How many accounts more of each server can be added: where it is quick, some that wait for a thread.

        There nobody is added while enough wait, so that there are many to be read together. Of the unsure ones each
        first gets one, those in front before the others.
        """
        slow, held = self._slow(), Counter(look.server for look in self._held.values())
        left = MOST_UNSURE - sum(min(held[server], MOST_AT_SLOW) for server in held if self._is_unsure(server, slow))
        rooms = dict.fromkeys(servers, 0)
        unsure = [server for server in servers if self._is_unsure(server, slow)]
        for most in range(1, MOST_AT_SLOW + 1):
            for server in unsure:
                if left > 0 and held[server] + rooms[server] < most:
                    rooms[server] += 1
                    left -= 1
        for server in rooms.keys() - set(unsure):
            waiting = len(self._ready.get(server, ()))
            rooms[server] = AHEAD - waiting if waiting <= AHEAD // 4 else 0
        return rooms

    def add(self, looks: Collection[Look]) -> None:
        """Look at these accounts as soon as there is a thread for them."""
        for look in looks:
            self._held[look.account_id] = look
            self._ready.setdefault(look.server, deque()).append(look)
        self.fill()

    def fill(self) -> None:
        """Begin lanes where accounts wait and the server may have more of them, first where there is none."""
        slow = self._slow()
        unsure = {server for server in self._ready.keys() | self._lanes if self._is_unsure(server, slow)}
        waiting = {server: len(looks) for server, looks in self._ready.items() if looks}
        turns = deque(sorted(waiting, key=lambda server: self._lanes[server]))
        left = MOST_UNSURE - sum(min(self._lanes[server], MOST_AT_SLOW) for server in unsure)
        while turns and self._lanes.total() < AT_ONCE:
            server = turns.popleft()
            most = min(MOST_AT_SLOW, self._lanes[server] + left) if server in unsure else MOST_AT_ONE
            if waiting[server] > 0 and self._lanes[server] < most:
                self._lanes[server] += 1
                waiting[server] -= 1
                left -= server in unsure
                self._threads.submit(self._lane, server)
                turns.append(server)

    def take_back(self) -> list[Look]:
        """The accounts that wait at servers that have become slow, or do not let in any more: it would be for long."""
        slow = self._slow()
        looks: list[Look] = []
        for server, ready in self._ready.items():
            if server in slow or (server not in self._answered and len(ready) > MOST_AT_SLOW):
                with suppress(LookupError):  # Lanes take from the same end.
                    while True:
                        looks.append(ready.popleft())
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
            if one.error is None:
                self._answered.add(one.look.server)
            elif one.error.category not in (Category.AUTH, Category.OAUTH):
                self._answered.discard(one.look.server)
        return found

    def forget(self, found: Collection[Looked]) -> None:
        """What came of these looks is written."""
        for one in found:
            del self._held[one.look.account_id]

    def close(self, *, wait_for_all: bool) -> None:
        """End the threads; those that are not waited for begin nothing more."""
        if not wait_for_all:
            for ready in self._ready.values():
                ready.clear()
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
        return MOST_AT_SLOW if self._is_unsure(server, self._slow()) else MOST_AT_ONE

    def _is_unsure(self, server: str, slow: Collection[str]) -> bool:
        return server in slow or server not in self._answered

    def _slow(self) -> set[str]:
        """The servers that keep somebody waiting."""
        late = time.monotonic() - SLOW_SECONDS
        return {server for server, since in [*self._going.values()] if since < late}
