"""Which accounts one watcher looks after, how far it is with each, and whose turn it is to be opened."""

import heapq
import random
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mailadmin.accounts import service as accounts
from mailadmin.sync.watching import Stamp
from mailadmin.watching.opening import Opened

MOST_OPENING = 16  # accounts at once, one in each thread
MOST_AT_ONE = 4  # of them at one provider or server
STEADY_SECONDS = 300.0  # A connection that lasted so long was not refused: it is opened again soon.
SOON_SECONDS = (0.5, 10.0)


@dataclass(slots=True)
class Watched:
    """How far one account is; `serial` tells its present try from former ones."""

    stamp: Stamp
    serial: int
    failures: int = 0
    opened_at: float = 0.0
    is_opening: bool = False


class Roster:
    """The accounts by id. Who is due is opened in the order of being due, but few at a time at one server."""

    def __init__(self) -> None:
        self._all: dict[int, Watched] = {}
        self._due: list[tuple[float, int, int]] = []  # when, serial, account
        self._ready: dict[str, deque[tuple[int, int]]] = {}
        self._busy: Counter[str] = Counter()
        self._serial = 0

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, account_id: int) -> bool:
        return account_id in self._all

    def follow(self, wanted: Mapping[int, Stamp]) -> list[int]:
        """Look after exactly the accounts of `wanted`; those whose connections have to be ended.

        One that has another stamp than before is opened anew, at once.
        """
        ended = [id_ for id_, known in self._all.items() if wanted.get(id_) != known.stamp]
        for id_ in ended:
            del self._all[id_]
        for id_, stamp in wanted.items():
            if id_ not in self._all:
                self._serial += 1
                self._all[id_] = Watched(stamp, self._serial)
                self._again(id_, 0.0)
        return ended

    def turns(self, *, room: int) -> Iterator[tuple[int, Stamp]]:
        """The accounts to open now, where there is `room` for so many; each counts as being opened until `ended`."""
        most = min(MOST_OPENING, room)
        moment = time.monotonic()
        while self._due and self._due[0][0] <= moment:
            _, serial, id_ = heapq.heappop(self._due)
            if (known := self._all.get(id_)) is not None and known.serial == serial:
                self._ready.setdefault(known.stamp.group, deque()).append((id_, serial))
        for group in [*self._ready]:
            waiting = self._ready[group]
            while waiting and self._busy[group] < MOST_AT_ONE and self._busy.total() < most:
                id_, serial = waiting.popleft()
                known = self._all.get(id_)
                if known is not None and known.serial == serial and not known.is_opening:
                    known.is_opening = True
                    self._busy[group] += 1
                    yield id_, known.stamp
            if not waiting:
                del self._ready[group]
            else:
                self._ready[group] = self._ready.pop(group)  # The others come first next time.

    def next_due(self) -> float:
        """In how many seconds an account is due; many when none is."""
        if self._ready:
            return 0.05
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else 3600.0

    def ended(self, opened: Opened) -> bool:
        """Note how an opening went; whether the connection is still wanted."""
        self._busy[opened.stamp.group] -= 1
        known = self._all.get(opened.account_id)
        if known is None or known.stamp != opened.stamp:
            return False
        known.is_opening = False
        if opened.idle is not None:
            known.opened_at = time.monotonic()
            return True
        known.failures += 1
        usual = accounts.back_off(known.failures).total_seconds()
        self._again(opened.account_id, usual if opened.again is None else opened.again)
        return False

    def lost(self, account_id: int, seconds: float | None = None) -> None:
        """The connection has ended: open it again after `seconds`, or when that is polite."""
        known = self._all.get(account_id)
        if known is None:
            return
        if seconds is None and time.monotonic() - known.opened_at >= STEADY_SECONDS:
            known.failures = 0
            seconds = random.uniform(*SOON_SECONDS)  # noqa: S311
        elif seconds is None:
            known.failures += 1
            seconds = accounts.back_off(known.failures).total_seconds()
        self._again(account_id, seconds)

    def _again(self, account_id: int, seconds: float) -> None:
        known = self._all[account_id]
        heapq.heappush(self._due, (time.monotonic() + seconds, known.serial, account_id))
