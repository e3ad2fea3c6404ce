"""Looks for a message in a POP3 mailbox, which shows a session only what was there when it began."""

import time
from collections.abc import Collection

from mailadmin.accounts.service import Leg
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.pop3 import open_pop3
from mailadmin.mail.types import Rules
from mailadmin.text import t

PAUSE_SECONDS = 4.0  # between two sign-ins; servers dislike those that come too often
_NOT_NOW = (Category.THROTTLED, Category.UNAVAILABLE)


class Collector:
    """A mailbox whose password was accepted a moment ago; every look is a session of its own.

    `why_not` is the phrase that says why nobody can look, or empty.
    """

    def __init__(self, leg: Leg, rules: Rules, deadline: Deadline, offers: Collection[str]) -> None:
        self._leg, self._rules, self.deadline = leg, rules, deadline
        self.why_not = ""
        if "LOGIN-DELAY" in offers:  # RFC 2449 6.5
            self.why_not = t("Not looked for, because the server wants pauses between sign-ins")
        self._looked_at = 0.0

    def find(self, message_id: str) -> str | None:
        """The path of the inbox if the message is there, else None, also between two looks. Raises MailError.

        A server that wants no further sign-in just now is asked again after the next pause.
        """
        if self._looked_at and time.monotonic() - self._looked_at < PAUSE_SECONDS:
            return None
        try:
            pop3 = open_pop3(self._leg.server, self._rules, self.deadline)
            try:
                pop3.sign_in(self._leg.how)
                return pop3.find(message_id)
            finally:
                pop3.close()
        except MailError as error:
            if error.category not in _NOT_NOW:
                raise
            return None
        finally:
            self._looked_at = time.monotonic()

    def close(self) -> None:
        """Nothing is open between two looks."""
