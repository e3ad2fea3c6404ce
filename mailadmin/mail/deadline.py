"""An absolute point in time by which a conversation must be over, not a time-out that starts anew with every byte."""

import time
from collections.abc import Callable

from mailadmin.mail.errors import Category, MailError


class Deadline:
    """The end of the time that a conversation may take, on the monotonic clock so that a clock jump moves nothing."""

    def __init__(self, seconds: float, *, watch: Callable[[], None] | None = None, every: float = 5.0) -> None:
        """Set the end `seconds` (float, may be zero) from now.

        While a server is waited for, `watch` is called `every` so many seconds; what it raises ends the waiting.
        """
        self._end = time.monotonic() + seconds
        self._watch, self._every = watch, every
        self._look_at = time.monotonic() + every

    def left(self) -> float:
        """Return the seconds that are left, always above zero. Raises MailError (timeout) when the time is over."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise out_of_time()
        return seconds

    def patience(self) -> float:
        """Return how long to wait for bytes before this is asked again: what is left, or less where somebody watches.

        Raises MailError (timeout) when the time is over, and what `watch` raises.
        """
        if self._watch is None:
            return self.left()
        if time.monotonic() >= self._look_at:
            self._watch()
            self._look_at = time.monotonic() + self._every
        return min(self.left(), max(self._look_at - time.monotonic(), 0.01))

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return self._end <= time.monotonic()


def too_much() -> MailError:
    """Return the one error that says that a server sends without end."""
    return MailError(Category.PROTOCOL, "The server sent far more than was asked for.", code="protocol-flood")


def out_of_time() -> MailError:
    """Return the one error that says that a server did not answer in time."""
    return MailError(Category.TIMEOUT, "The server did not answer in time.")
