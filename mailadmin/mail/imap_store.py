"""Changes messages over IMAP: flags, another folder, gone for good. Every command may be given twice.

Nothing here removes what it was not asked to remove: only UID EXPUNGE (RFC 4315) is used, which names its messages.
What a server says of the new places of messages is believed only where it fits what was asked.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from imapclient import imap_utf7

from mailadmin.mail import dial
from mailadmin.mail.answers import Refused, translated
from mailadmin.mail.imap_changes import Following, parse_fetch
from mailadmin.mail.imap_fetch import HIGHEST_UID, messages_in, read_flags, uid_set
from mailadmin.mail.imap_session import quoted
from mailadmin.mail.types import ServerProtocol

_COPIED = re.compile(rb"(\d{1,10}) ([\d:,]{1,200000}) ([\d:,]{1,200000})")
_MOST_EXPANDED = 100_000
_ALIKE_ITEMS = "(UID RFC822.SIZE INTERNALDATE)"


@dataclass(frozen=True, slots=True)
class Opened:
    """A folder that is open for changes. `permitted` are the flags that it keeps, in lower case; None: it does not say.

    `modseq` is its HIGHESTMODSEQ (RFC 7162) or None.
    """

    uidvalidity: int
    modseq: int | None = None
    is_read_only: bool = False
    permitted: frozenset[str] | None = None

    def keeps(self, flag: str) -> bool:
        """Whether the server will remember `flag` (RFC 3501 7.1, PERMANENTFLAGS)."""
        return self.permitted is None or flag.lower() in self.permitted


@dataclass(frozen=True, slots=True)
class Placed:
    """Where messages went: the new UID by the old one, within `uidvalidity`; without them the server did not tell."""

    uidvalidity: int = 0
    uids: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a copy of a message has in common with it: size in bytes, INTERNALDATE, and its Message-ID or nothing."""

    size: int
    received_at: datetime
    message_id: str = ""


class Storing(Following):
    """The part of an IMAP session that changes messages; `Imap` is made with it."""

    _raw_names: dict[str, bytes]
    _speaks_utf8 = False  # of folder names: else modified UTF-7 (RFC 3501 5.1.3)

    def select(self, path: str) -> Opened:
        """Open `path` for changes (RFC 3501 6.3.1); the folder of the calls below. Raises MailError."""
        session, raw = self._session, self._raw(path)
        session.is_readonly = True  # Whether it is, we say ourselves.
        self._is_following = True
        with translated(ServerProtocol.IMAP):
            self._prepare_to_follow()
            try:
                said = session.command("SELECT", quoted(raw), *(["(CONDSTORE)"] if self._counts_changes else []))
            except Refused:
                session.state = "AUTH"
                raise
            session.state = "SELECTED"
            told = session.take("PERMANENTFLAGS")
            flags = frozenset(told[-1].decode("ascii", "replace").lower().strip("()").split()) if told else None
            return Opened(
                uidvalidity=self._number("UIDVALIDITY") or 0,
                modseq=self._number("HIGHESTMODSEQ") or None,
                is_read_only=b"[READ-ONLY]" in said.upper() or bool(session.take("READ-ONLY")),
                permitted=flags,
            )

    def store(
        self, uids: Collection[int], *, added: str = "", removed: str = "", unchanged_since: int | None = None
    ) -> set[int]:
        """Add and remove flags, separated by spaces, of `uids`; those that are not there any more are passed over.

        Where the server counts changes, messages that were changed after the modification sequence `unchanged_since`
        are left as they are (RFC 7162 3.1.3): the answer is their UIDs. Raises MailError.
        """
        modified: set[int] = set()
        condition = [f"(UNCHANGEDSINCE {unchanged_since})"] if unchanged_since and self._counts_changes else []
        for sign, flags in (("+", added), ("-", removed)):
            left = sorted(set(uids) - modified)
            if flags and left:
                modified |= self._store(uid_set(left), *condition, f"{sign}FLAGS", f"({flags})") & set(left)
                condition = []  # Our own change was one, too.
        return modified

    def _store(self, *words: str) -> set[int]:
        with translated(ServerProtocol.IMAP):
            refused: Refused | None = None
            try:
                self._session.command("UID", "STORE", *words)
            except Refused as error:
                refused = error
            told = [text for text in self._session.take("MODIFIED") if isinstance(text, bytes)]
            if refused is not None and not told:  # RFC 7162 3.1.3: some servers say NO where others say OK.
                raise refused
            return {uid for text in told for uid in _expanded(text) or ()}

    def flags_of(self, uids: Collection[int]) -> dict[int, frozenset[str]]:
        """The flags of those of `uids` that are in the open folder now, without \\Recent. Raises MailError."""
        if not uids:
            return {}
        with translated(ServerProtocol.IMAP):
            self._session.command("UID", "FETCH", uid_set(sorted(uids)), "(UID FLAGS)")
            found = read_flags(self._session.take("FETCH"), parse_fetch)
        return {uid: flags for uid, flags in found.items() if uid in set(uids)}

    @property
    def can_move(self) -> bool:
        """Whether the server moves messages at one stroke (RFC 6851)."""
        return "MOVE" in self._session.capabilities

    def move(self, uids: Collection[int], path: str) -> Placed:
        """Move `uids` into the folder `path` (RFC 6851), which `can_move` has to offer. Raises MailError."""
        return self._placed("MOVE", uids, path)

    def copy(self, uids: Collection[int], path: str) -> Placed:
        """Copy `uids` into the folder `path`, all or none (RFC 3501 6.4.7). Raises MailError."""
        return self._placed("COPY", uids, path)

    def _placed(self, name: str, uids: Collection[int], path: str) -> Placed:
        with translated(ServerProtocol.IMAP):
            self._session.command("UID", name, uid_set(sorted(uids)), quoted(self._raw(path)))
            return read_placed(self._session.take("COPYUID"), set(uids))

    def expunge(self, uids: Collection[int]) -> bool:
        """Remove those of `uids` that are marked as deleted, and nothing else (RFC 4315 2.1).

        False where the server cannot do that: then they stay. Raises MailError.
        """
        if "UIDPLUS" not in self._session.capabilities:
            return False
        with translated(ServerProtocol.IMAP):
            self._session.command("UID", "EXPUNGE", uid_set(sorted(uids)))
        return True

    def likeness(self, uid: int, message_id: str = "") -> Likeness | None:
        """What a copy of the message `uid` of the open folder would look like; None if it is gone. Raises MailError."""
        with translated(ServerProtocol.IMAP):
            found = self._sizes([uid]).get(uid)
        return Likeness(*found, message_id) if found else None

    def find_alike(self, like: Likeness) -> list[int]:
        """The UIDs in the open folder of what must be copies of one message, ascending. Raises MailError.

        A copy has the same size, INTERNALDATE (RFC 3501 6.4.7) and Message-ID.
        """
        wanted = ["LARGER", str(like.size - 1), "SMALLER", str(like.size + 1)]
        if like.message_id.isascii() and like.message_id.isprintable() and like.message_id:
            wanted += ["HEADER", "Message-ID", quoted(like.message_id).decode()]
        with translated(ServerProtocol.IMAP):
            self._session.command("UID", "SEARCH", *wanted)
            answers = [answer for answer in self._session.take("SEARCH") if isinstance(answer, bytes)]
            words = b" ".join(answers).split()
            uids = sorted({int(word) for word in words if word.isdigit() and len(word) <= 10})
            facts = self._sizes(uids[:1000]) if uids else {}
        return sorted(uid for uid, fact in facts.items() if fact == (like.size, like.received_at))

    def _sizes(self, uids: Sequence[int]) -> dict[int, tuple[int, datetime]]:
        """Size and INTERNALDATE by UID."""
        self._session.command("UID", "FETCH", uid_set(uids), _ALIKE_ITEMS)
        found = {}
        for records in messages_in(self._session.take("FETCH")):
            with suppress(ValueError, TypeError, LookupError, AttributeError):
                for items in parse_fetch(records):
                    uid, size, moment = items[b"UID"], items[b"RFC822.SIZE"], items[b"INTERNALDATE"]
                    if uid in uids and isinstance(moment, datetime):
                        found[int(uid)] = int(size), moment
        return found

    def _raw(self, path: str) -> bytes:
        """The name of a folder as the server writes it, or wants to hear it."""
        encoded = str.encode if self._speaks_utf8 else imap_utf7.encode
        return self._raw_names.get(path) or bytes(encoded(dial.guard(path, "folder name")))

    def _number(self, name: str) -> int | None:
        """The last number that the server told under `name`, if it is one that a database can hold."""
        told = self._session.take(name)
        text = told[-1] if told and isinstance(told[-1], bytes) else b""
        return int(text) if text.isdigit() and len(text) < 20 and 0 <= int(text) < 2**63 else None


def read_placed(told: Iterable[Any], asked: Collection[int]) -> Placed:
    """What COPYUID answers (RFC 4315 3) say, if they say it of messages that were asked for, and each place once."""
    uidvalidity, places = 0, dict[int, int]()
    for text in told:
        match = _COPIED.fullmatch(text) if isinstance(text, bytes) else None
        old = _expanded(match[2]) if match else None
        new = _expanded(match[3]) if match else None
        if match is None or not old or not new or len(old) != len(new) or uidvalidity not in (0, int(match[1])):
            return Placed()
        uidvalidity = int(match[1])
        places |= dict(zip(old, new, strict=True))
    fits = places.keys() <= set(asked) and len(set(places.values())) == len(places)
    return Placed(uidvalidity, places) if fits and 0 < uidvalidity <= HIGHEST_UID else Placed()


def _expanded(text: bytes) -> list[int] | None:
    """The UIDs of a sequence set in its own order, or None where it makes no sense."""
    found: list[int] = []
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        pair = [int(number) if number.isdigit() and len(number) <= 10 else 0 for number in (first, last or first)]
        low, high = min(pair), max(pair)
        if low <= 0 or high > HIGHEST_UID or high - low >= _MOST_EXPANDED - len(found):
            return None
        found.extend(range(low, high + 1))
    return found if len(set(found)) == len(found) else None
