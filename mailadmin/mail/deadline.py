"""An absolute point in time by which a conversation must be over, not a time-out that starts anew with every byte."""

import time

from mailadmin.mail.errors import Category, MailError


class Deadline:
    """The end of the time that a conversation may take, on the monotonic clock so that a clock jump moves nothing."""

    def __init__(self, seconds: float) -> None:
        """Set the end `seconds` (float, may be zero) from now."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, always above zero. Raises MailError (timeout) when the time is over."""
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise out_of_time()
        return seconds

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
