"""Asks an IMAP server what changed, so that what did not change need not be read again.

Every answer here is a shortcut past one that is longer; where a server does not offer it, refuses it or answers
nonsense, the caller is told so and takes the long way.
"""

from contextlib import suppress
from typing import Any

from imapclient.exceptions import IMAPClientError
from imapclient.response_parser import parse_fetch_response, parse_response

from mailadmin.mail.answers import Refused, translated
from mailadmin.mail.errors import Category
from mailadmin.mail.imap_fetch import read_flags, read_ranges
from mailadmin.mail.imap_session import LONGEST_LINE, LONGEST_LIST, Session
from mailadmin.mail.types import Changes, ServerProtocol

OF_ONE_REQUEST = (Category.PROTOCOL, Category.UNAVAILABLE, Category.POLICY)  # what a refusal of one request may mean
_MOST_CHANGES = 150_000  # Each is a line, see MOST_LINES.


class Following:
    """The part of an IMAP session that tells what changed; `Imap` is made with it."""

    _session: Session
    _messages: int
    _is_following = False  # Whether `survey` was asked: what is opened after it is opened to see what changed.
    _tells_vanished: bool | None = None  # None: was not asked yet

    @property
    def _counts_changes(self) -> bool:
        """Whether the server has a HIGHESTMODSEQ for each folder (RFC 7162)."""
        return not {"CONDSTORE", "QRESYNC"}.isdisjoint(self._session.capabilities)

    def changes(self, since: int) -> Changes | None:
        """What changed in the open folder since the HIGHESTMODSEQ `since` (RFC 7162 3.1.4.1, 3.2.6), without \\Recent.

        None where the server cannot tell, or would tell too much at once. Raises MailError.
        """
        if not self._counts_changes or not 0 < self._messages <= _MOST_CHANGES:
            return None
        modifier = f"(CHANGEDSINCE {since}{' VANISHED' if self._tells_vanished else ''})"
        session = self._session
        with translated(ServerProtocol.IMAP):
            session.longest_line = LONGEST_LIST
            try:
                session.command("UID", "FETCH", "1:*", "(UID FLAGS)", modifier)
            except Refused as refused:
                if refused.category not in OF_ONE_REQUEST:
                    raise
                return None
            finally:
                session.longest_line = LONGEST_LINE
            vanished = read_ranges(session.take("VANISHED")) if self._tells_vanished else None
            return Changes(read_flags(session.take("FETCH"), parse_fetch), vanished)

    def _prepare_to_follow(self) -> None:
        """Have the server tell what is gone (RFC 7162 3.2.3): once, before a folder is opened (RFC 5161 3.1)."""
        if not self._is_following or self._tells_vanished is not None:
            return
        self._tells_vanished = False
        if {"QRESYNC", "ENABLE"}.issubset(self._session.capabilities) and self._session.state == "AUTH":
            with suppress(Refused):
                self._session.command("ENABLE", "QRESYNC")
                said = b" ".join(each for each in self._session.take("ENABLED") if isinstance(each, bytes))
                self._tells_vanished = b"QRESYNC" in said.upper().split()

    def _all_uids(self) -> list[int] | None:
        """The UIDs of the open folder as few ranges (RFC 4731 3.1); None where the server does not do that."""
        if "ESEARCH" not in self._session.capabilities or not self._messages:
            return None
        with suppress(Refused):
            self._session.command("UID", "SEARCH", "RETURN", "(ALL)", "ALL")
            ranges = read_ranges(self._session.take("ESEARCH"))
            if ranges and sum(last - first + 1 for first, last in ranges) <= 2 * self._messages:
                return sorted({uid for first, last in ranges for uid in range(first, last + 1)})
        return None


def parse_fetch(records: list[Any]) -> list[dict[bytes, Any]]:
    """The items of a FETCH answer, parsed by IMAPClient; keyed by sequence number, for UIDs must not be guessed.

    Raises ValueError.
    """
    try:
        return list(parse_fetch_response(records, normalise_times=False, uid_is_key=False).values())
    except IMAPClientError as error:
        raise ValueError("not a FETCH answer") from error


def parse(records: list[Any]) -> tuple[Any, ...]:
    """Any other answer, parsed by IMAPClient. Raises ValueError."""
    try:
        return tuple(parse_response(records))
    except IMAPClientError as error:
        raise ValueError("not an answer of IMAP") from error
