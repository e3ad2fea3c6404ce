"""Holds the connections that wait (mail/imap_idle.py), thousands in one thread, and says what happened on them.

How it works. A selector tells which sockets have something to say; a heap of moments tells which connection has to be
renewed, or owes an answer for too long. Nothing here waits for a single server, talks to the database, or knows what an
account is: connections have numbers.
"""

import heapq
import random
import selectors
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from mailadmin.mail.deadline import out_of_time
from mailadmin.mail.errors import MailError
from mailadmin.mail.imap_idle import Idle

RENEW_SECONDS = (24 * 60.0, 28 * 60.0)  # RFC 2177 3: before half an hour; by chance, so that not all come at once
ANSWER_SECONDS = 60.0


@dataclass(slots=True)
class Heard:
    """What happened: where something `moved`, and why connections were `lost`."""

    moved: set[int] = field(default_factory=set)
    lost: dict[int, MailError] = field(default_factory=dict)


class Board:
    """The connections by number. Only `wake` may be called by other threads."""

    def __init__(self, *, renew: tuple[float, float] = RENEW_SECONDS, answer: float = ANSWER_SECONDS) -> None:
        """`renew` is from when to when a connection is renewed, `answer` how long one may take to answer: seconds."""
        self._renew, self._answer = renew, answer
        self._idles: dict[int, tuple[int, Idle]] = {}  # with a serial number of ours
        self._moments: list[tuple[float, int, int]] = []  # when to look, the serial number, the number
        self._fresh: list[int] = []  # of which something may have been read already
        self._serial = 0
        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._alarm, selectors.EVENT_READ, 0)

    def __len__(self) -> int:
        return len(self._idles)

    def __contains__(self, number: int) -> bool:
        return number in self._idles

    def add(self, number: int, idle: Idle) -> None:
        """Watch `idle` from now on; the number is above zero and not in use."""
        self._serial += 1
        self._idles[number] = self._serial, idle
        self._selector.register(idle.fileno(), selectors.EVENT_READ, number)
        heapq.heappush(self._moments, (time.monotonic() + self._answer, self._serial, number))
        self._fresh.append(number)

    def drop(self, number: int) -> None:
        """End the connection of that number, if there is one."""
        _, idle = self._idles.pop(number, (0, None))
        if idle is not None:
            with suppress(KeyError, ValueError, OSError):
                self._selector.unregister(idle.fileno())
            idle.close()

    def wake(self) -> None:
        """Let `turn` come back at once."""
        with suppress(OSError):  # It is full of wishes to come back, or closed.
            self._bell.send(b"!")

    def turn(self, seconds: float) -> Heard:
        """What happens within `seconds`; comes back with the first."""
        heard = Heard()
        fresh, self._fresh = self._fresh, []
        for number in fresh:
            self._receive(number, heard)
        if heard.moved or heard.lost:
            seconds = 0.0
        for key, _ in self._selector.select(min(seconds, self._until_next())):
            if key.data:
                self._receive(key.data, heard)
            else:
                with suppress(BlockingIOError):
                    self._alarm.recv(4096)
        self._keep_time(heard)
        for number in heard.lost:
            self.drop(number)
        return heard

    def close(self) -> None:
        """End all connections."""
        for number in list(self._idles):
            self.drop(number)
        self._selector.close()
        self._alarm.close()
        self._bell.close()

    def _receive(self, number: int, heard: Heard) -> None:
        _, idle = self._idles.get(number, (0, None))
        if idle is None or number in heard.lost:
            return
        try:
            if idle.receive():
                heard.moved.add(number)
        except MailError as error:
            heard.lost[number] = error

    def _until_next(self) -> float:
        return max(0.0, self._moments[0][0] - time.monotonic()) if self._moments else 3600.0

    def _keep_time(self, heard: Heard) -> None:
        """Renew what has waited for long, and give up what owes an answer."""
        moment = time.monotonic()
        while self._moments and self._moments[0][0] <= moment:
            _, serial, number = heapq.heappop(self._moments)
            current, idle = self._idles.get(number, (0, None))
            if idle is None or current != serial or number in heard.lost:
                continue
            try:
                after = self._next(idle, moment)
            except MailError as error:
                heard.lost[number] = error
            else:
                heapq.heappush(self._moments, (moment + after, serial, number))

    def _next(self, idle: Idle, moment: float) -> float:
        """In how many seconds to look at `idle` again. Raises MailError."""
        if idle.owes_since:
            left = idle.owes_since + self._answer - moment
            if left <= 0:
                raise out_of_time()
            return left
        least, most = self._renew
        due = idle.idle_since + least - moment
        if due > 0:
            return due + random.uniform(0, most - least)  # noqa: S311
        idle.renew()
        return self._answer
