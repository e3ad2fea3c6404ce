"""Counts what a mailbox holds, for each window, and whom its mail would bring as contacts; stores nothing.

How it works. First every folder is opened and asked how many messages it has, in all and since the beginning of each
window; that costs the server little. Then the headers of the newest messages of each folder are read, as far as time
and `MOST` allow, for who becomes a contact stands nowhere else. Where a window holds more than was looked at, the
contacts are "at least", and the size is worked out from the messages that were looked at.

A POP3 server cannot search. Its newest messages are looked at, and each says itself when it came; if all of them are
within a window, that holds at least so many.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailadmin.accounts.models import NewContacts, Window
from mailadmin.contacts.service import People, Rule, brings_people, people_in
from mailadmin.mail.types import Envelope, Role
from mailadmin.sync.going import Timed

SAMPLE, MOST = 500, 4000  # headers that are looked at, of one folder and in all
BATCH = 100
SHOWN = 200  # folders that are kept one by one
WINDOWS = (Window.ONE_MONTH, Window.THREE_MONTHS, Window.SIX_MONTHS, Window.EVERYTHING)

Starts = Mapping[Window, datetime | None]
Newcomers = Callable[[NewContacts, People], set[str]]


@dataclass(slots=True)
class Counted:
    """One folder. `messages` by window; `newest` are at most SAMPLE UIDs of each; `sizes` of what was looked at.

    `least`: the windows that hold perhaps more. `total` messages are there in all, with a size of `whole` bytes where
    the server tells it.
    """

    path: str
    role: Role | None
    messages: dict[Window, int] = field(default_factory=dict)
    newest: dict[Window, list[int]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    least: set[Window] = field(default_factory=set)
    total: int = 0
    whole: int | None = None
    trouble: str = ""

    def looked_at(self, window: Window) -> list[int]:
        """The UIDs of the messages in `window` whose headers were read."""
        return [uid for uid in self.newest.get(window, ()) if uid in self.sizes]

    def is_known(self, window: Window) -> bool:
        """Whether every message in `window` was looked at."""
        return window not in self.least and len(self.looked_at(window)) == self.messages.get(window, 0)

    def size(self, window: Window) -> int | None:
        """How many bytes the messages in `window` have, worked out where only some were looked at; None: unknown."""
        count, some = self.messages.get(window, 0), self.looked_at(window) or list(self.sizes)
        if self._is_everything(window):
            return self.whole
        if not count:
            return 0
        return round(sum(self.sizes[uid] for uid in some) / len(some) * count) if some else None

    def is_size_known(self, window: Window) -> bool:
        """Whether `size` is exact."""
        return self._is_everything(window) or self.is_known(window)

    def _is_everything(self, window: Window) -> bool:
        """Whether the window holds all that is there, of which the server has told the size."""
        return self.whole is not None and self.messages.get(window) == self.total and window not in self.least

    def told(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "path": self.path,
            "role": self.role,
            "messages": {w.value: n for w, n in self.messages.items()},
            "least": sorted(w.value for w in self.least),
            "size": self.size(Window.EVERYTHING),
            "is_size_known": self.is_size_known(Window.EVERYTHING),
            "trouble": self.trouble,
        }


@dataclass(slots=True)
class Counting:
    """What was counted until now. `people` by what an account may want, and by window; `seconds` went into `read`."""

    starts: Starts
    rules: Mapping[NewContacts, Rule]
    chosen: int
    folders: list[Counted] = field(default_factory=list)
    people: dict[NewContacts, dict[Window, dict[str, tuple[str, str]]]] = field(default_factory=dict)
    read: int = 0
    seconds: float = 0.0

    def count(self, incoming: Timed, path: str, role: Role | None) -> Counted:
        """How many messages the folder holds in each window. Raises MailError."""
        found = Counted(path, role)
        self.folders.append(found)
        found.total = incoming.examine(path).messages
        everything = incoming.search() if found.total else []
        # Both protocols answer in the order in which messages came.
        counts: dict[datetime | None, tuple[int, list[int]]] = {None: (found.total, everything[-SAMPLE:])}
        sizes: Mapping[int, int] | None = getattr(incoming, "sizes", None)  # of a POP3 session
        if sizes is not None:
            found.whole = sum(sizes.values())
        for window in reversed(WINDOWS):  # The widest first: what is empty there is empty in all others.
            start = self.starts[window]
            if start not in counts and sizes is None:
                uids = incoming.search(start.date()) if start and min(n for n, _ in counts.values()) else []
                counts[start] = len(uids), uids[-SAMPLE:]
            found.messages[window], uids = counts.get(start, counts[None])
            found.newest[window] = uids
        return found

    def look(self, incoming: Callable[[], Timed], found: Counted, *, searches: bool) -> Iterable[None]:
        """Read the newest headers of the folder, a batch at a time; `searches`: the server can. Raises MailError."""
        letters: list[Envelope] = []
        wanted = sorted(found.newest[Window.EVERYTHING], reverse=True)[: max(MOST - self.read, 0)]
        if wanted:
            incoming().examine(found.path)
        for start in range(0, len(wanted), BATCH):
            asked, began = wanted[start : start + BATCH], time.monotonic()
            came = [e for e in incoming().envelopes(asked) if e.uid in set(asked)]
            self.seconds, self.read = self.seconds + time.monotonic() - began, self.read + len(came)
            found.sizes.update({e.uid: e.size for e in came})
            letters += came
            if not searches:
                self._date(found, letters)
            self._meet(found, letters if not searches else came)
            yield

    def _date(self, found: Counted, letters: Sequence[Envelope]) -> None:
        """Find out which messages are within which window by what they say themselves."""
        for window in WINDOWS:
            start = self.starts[window]
            if start is not None:
                within = [e.uid for e in letters if e.received_at and e.received_at >= start]
                found.newest[window], found.messages[window] = sorted(within), len(within)
                found.least.discard(window)
                if len(within) == len(letters) < found.total:
                    found.least.add(window)

    def _meet(self, found: Counted, letters: Sequence[Envelope]) -> None:
        for wants, rule in self.rules.items():
            for window in WINDOWS:
                uids = set(found.newest[window])
                within = [e for e in letters if e.uid in uids and not e.unreadable]
                people = self.people.setdefault(wants, {}).setdefault(window, {})
                for key, who in people_in(rule, found.role, within).items():
                    people.setdefault(key, who)

    def told(self, newcomers: Newcomers) -> list[dict[str, Any]]:
        """All of it as JSON: the sums first, then the folders; see dry.py. `newcomers` says who is new."""
        contacts: dict[str, dict[str, int]] = {}
        for wants, people in self.people.items():
            new = newcomers(wants, people[Window.EVERYTHING])
            contacts[wants.value] = {w.value: len(new & found.keys()) for w, found in people.items()}
        sums = {
            "folders": self.chosen,
            "counted": sum(1 for f in self.folders if f.messages or f.trouble),
            "messages": {w.value: sum(f.messages.get(w, 0) for f in self.folders) for w in WINDOWS},
            "sizes": {w.value: self._size(w) for w in WINDOWS},
            "sized": [w.value for w in WINDOWS if all(f.is_size_known(w) for f in self.folders)],
            "contacts": contacts,
            "least": {
                "messages": [w.value for w in WINDOWS if any(w in f.least for f in self.folders)],
                **{wants.value: self._unsure(rule) for wants, rule in self.rules.items()},
            },
            "read": self.read,
            "each": self.seconds / self.read if self.read else None,
        }
        return [sums, *(f.told() for f in self.folders[:SHOWN])]

    def _size(self, window: Window) -> int | None:
        sizes = [f.size(window) for f in self.folders]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def _unsure(self, rule: Rule) -> list[str]:
        """The windows in which there may be more people than were found."""
        counts = [f for f in self.folders if brings_people(rule, f.role)]
        is_partly = len([f for f in self.folders if f.messages]) < self.chosen
        return [w.value for w in WINDOWS if is_partly or any(not f.is_known(w) for f in counts)]
