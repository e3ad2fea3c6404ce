"""Gives the messages of a POP3 server lasting numbers, so that a pass can follow its inbox like a folder of IMAP.

How it works. POP3 knows a message by a name (UIDL, RFC 1939 7) and has numbers for one session only. Here every name
gets a UID, ascending in the order of the server's list, and keeps it in the table pop_message. What passes.py hears is
that of an IMAP server: UIDs, a UIDVALIDITY, a count. So batches, the window, completeness and what happens after a kill
are those of IMAP, and nothing has to be right twice.

UIDVALIDITY. Names last for ever, says the RFC. Where a whole list shares none with the one before, the server calls
everything by other names (it was moved, or does so at every visit), or another program has emptied the mailbox. Nobody
can tell which, and old mail must not be taken for new; so this is what a new UIDVALIDITY is for IMAP, and the folder is
read into the next generation. Ours count down from the highest number there is, where no IMAP server has its own: an
account may change its protocol. The new one is stored together with the new numbers, so a kill in between is harmless.
An empty list is believed as it stands, but the names of before are kept: some servers show one for a moment.

Names that are not unique. RFC 1939 lets two equal messages have one name: of those of one size the first is followed,
and the folder says how many were left out. If they differ in size, the server has mixed something up, and the folder is
never called complete.

The window. A POP3 server cannot search, and only a header says when a message came. Headers are read once, newest
first; of a message beyond a window of months only that is kept, as a UID below zero, and forgotten when the window
changes. "From now on" begins after what was there at the first look, as with IMAP; see passes.py.

What is not there. POP3 has no flags: nobody could say that a message was read here or elsewhere, so none is shown as
unread, or all of them would be for ever.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Protocol

from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Window
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.types import Changes, Envelope, Folder, FolderState, SignIn
from mailadmin.sync import rows
from mailadmin.sync.going import FolderTrouble, Going, Timed
from mailadmin.sync.models import Folder as Row
from mailadmin.sync.models import PopMessage
from mailadmin.text import t

TABLE: Table = PopMessage.__table__  # type: ignore[assignment]
HIGHEST = 2**32 - 1
_OURS = HIGHEST - 2**20  # Every UIDVALIDITY above it is one of ours.
_AT_ONCE = 50  # messages that have the time of one step; without PIPELINING each costs a round trip
_CHUNK = 500
_READ = frozenset({"\\Seen"})
_ALIKE = 0.8  # of the messages that we have: so many of one size each are no chance


class Naming(Timed, Protocol):
    """A POP3 session, see mail/pop3.py: `names` and `sizes` by number are what `examine` read last."""

    names: Mapping[int, str]
    sizes: Mapping[int, int]

    def whole(self, number: int, most: int) -> bytes | None:
        """About the first `most` bytes of a message, or None where it cannot be shown without marking it as read."""


class Numbered:
    """A POP3 session whose messages have UIDs that last; implements `Incoming`."""

    def __init__(self, going: Going, real: Naming) -> None:
        self._going, self._real = going, real
        self._numbers: dict[int, int] = {}  # by UID
        self._older: set[int] = set()  # beyond the window, as was found at an earlier visit
        self._left_out: set[int] = set()  # the same, found now
        self._state: FolderState | None = None

    @property
    def deadline(self) -> Deadline:
        """That of the connection."""
        return self._real.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._real.deadline = deadline

    def sign_in(self, how: SignIn) -> None:
        """Sign in once."""
        self._real.sign_in(how)

    def folders(self, *, counts: bool = True) -> list[Folder]:
        """The inbox."""
        return self._real.folders(counts=counts)

    def survey(self) -> tuple[list[Folder], dict[str, FolderState]]:
        """The inbox, of which nothing is known before its list was read."""
        return self.folders(counts=False), {}

    def look_ahead(self, uids: Sequence[int]) -> None:
        """POP3 asks for one after the other anyway."""

    def changes(self, since: int) -> Changes | None:
        """POP3 cannot tell."""
        return None

    def examine(self, path: str) -> FolderState:
        """Read the list of the inbox and give a UID to what has none. A list without fault holds for the session."""
        if self._state is None or self._state.messages != len(self._numbers):
            self._state = self._examined(path)
        return self._state

    def _examined(self, path: str) -> FolderState:
        counted = self._real.examine(path).messages
        numbers, copies = _by_name(self._real.names, self._real.sizes)
        mixed_up = len(self._real.names) - len(numbers) - copies
        with self._going.writing() as session:
            book = _Book(session, self._going, path, self._real.sizes)
            uids = book.agree(numbers, is_whole=counted == len(self._real.names))
            life, uidnext, remark = book.life, book.row.uidnext, book.remark
        self._numbers = {abs(uids[name]): number for name, number in numbers.items()}
        self._older = {-uids[name] for name in numbers if uids[name] < 0}
        if mixed_up:
            remark = t("The server calls different messages by one name (UIDL), so {n} cannot be read.", n=mixed_up)
        elif copies:
            remark = t("{n} copies of other messages are left out.", n=copies)
        return FolderState(life, uidnext, counted - copies, remark=remark)

    def search(self, since: date | None = None) -> list[int]:
        """The UIDs of all messages, ascending; with `since` not those that are known to be older than the window."""
        return sorted(self._numbers.keys() - (self._left_out if since is None else self._older))

    def flags(self) -> dict[int, frozenset[str]]:
        """Every message as read, by UID, but for those that turned out to be older than the window meanwhile."""
        return {uid: _READ for uid in self._numbers if uid not in self._left_out}

    def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
        """The messages of `uids` that are not older than the window."""
        for start in range(0, len(uids), _AT_ONCE):
            part = uids[start : start + _AT_ONCE]
            asked = {self._numbers[uid]: uid for uid in part if uid in self._numbers}
            self._going.step()  # Another question, with a time of its own.
            older = []
            for envelope in self._real.envelopes(list(asked)):
                found = replace(envelope, uid=asked[envelope.uid], flags=_READ)
                if self._is_older(found):
                    older.append(found.uid)
                else:
                    yield found
            self._leave_out(older)

    def _is_older(self, envelope: Envelope) -> bool:
        """By days and in the server's own zone, as IMAP compares (RFC 3501 6.4.4); what has no date is not."""
        going = self._going
        if going.since is None or going.window is Window.NOW or envelope.received_at is None:
            return False
        return envelope.received_at.date() < going.since.date()

    def _leave_out(self, older: Collection[int]) -> None:
        if older:
            with self._going.writing() as session:
                mine = TABLE.c.folder_id == _row(session, self._going).id
                flipped = update(TABLE).where(mine, TABLE.c.uid.in_(older)).values(uid=-TABLE.c.uid)
                session.connection().execute(flipped)
            self._left_out.update(older)

    def whole(self, uid: int, most: int) -> bytes | None:
        """About the first `most` bytes of a message; None where it is gone or cannot be shown unmarked."""
        self._going.step()
        return self._real.whole(self._numbers[uid], most) if uid in self._numbers else None

    def find(self, message_id: str) -> str | None:
        """Whether the message is among the newest."""
        return self._real.find(message_id)

    def close(self) -> None:
        """End the session."""
        self._real.close()


class _Book:
    """The names and UIDs of one folder, in one transaction."""

    def __init__(self, session: Session, going: Going, path: str, sizes: Mapping[int, int]) -> None:
        self._session, self._going, self._sizes = session, going, sizes
        self.row = _row(session, going, path)
        self.life, self.remark = _life(self.row) or 0, ""

    def agree(self, numbers: Mapping[str, int], *, is_whole: bool) -> dict[str, int]:
        """The UID of every name, below zero if it is beyond the window; new ones are stored, and gone ones forgotten.

        `numbers` are by name, in the server's order. Only where the list `is_whole` something can be gone.
        """
        known = self._known()
        is_other = bool(known and numbers) and known.keys().isdisjoint(numbers)
        if not self.life or is_other:
            self._begin_life(was_renamed=bool(self.life))
            known = {}
        elif self.row.window != self._going.window_key and any(uid < 0 for uid in known.values()):
            self._do(update(TABLE).where(self._mine, TABLE.c.uid < 0).values(uid=-TABLE.c.uid))
            known = {name: abs(uid) for name, uid in known.items()}
        if is_whole and numbers:
            gone = list(known.keys() - numbers.keys())
            for start in range(0, len(gone), _CHUNK):
                self._do(delete(TABLE).where(self._mine, TABLE.c.uidl.in_(gone[start : start + _CHUNK])))
        first = max([self.row.uidnext or 1, *(abs(uid) + 1 for uid in known.values())])
        fresh = {name: uid for uid, name in enumerate((n for n in numbers if n not in known), first)}
        if fresh:
            values = [{"folder_id": self.row.id, "uidl": name, "uid": uid} for name, uid in fresh.items()]
            self._session.connection().execute(insert(TABLE), values)
        self.row.uidnext = first + len(fresh)
        return known | fresh

    def _begin_life(self, *, was_renamed: bool) -> None:
        """Forget all numbers, under a UIDVALIDITY that the folder has not had."""
        if was_renamed and self._holds_the_same():
            self.remark = t(
                "The server calls its messages by other names than before (UIDL), so all of them are read again. If"
                " that happens at every sync, ask whoever runs the server."
            )
        self._do(delete(TABLE).where(self._mine))
        self.life = (self.life or HIGHEST + 1) - 1
        self.row.uidnext = 1
        if self.row.uidvalidity is not None:
            self.row.next_uidvalidity, self.row.next_generation = self.life, None

    def _holds_the_same(self) -> bool:
        """Whether the list looks like the mail that we have, message for message, though no name is the same."""
        stored = rows.sizes(self._session, self.row.id, self.row.generation)
        listed = set(self._sizes.values())
        return bool(stored) and sum(size in listed for size in stored) >= _ALIKE * len(stored)

    def _known(self) -> dict[str, int]:
        found = self._session.execute(select(TABLE.c.uidl, TABLE.c.uid).where(self._mine))
        return {row.uidl: row.uid for row in found}

    @property
    def _mine(self) -> Any:
        return TABLE.c.folder_id == self.row.id

    def _do(self, statement: Any) -> None:
        self._session.connection().execute(statement)


def _by_name(names: Mapping[int, str], sizes: Mapping[int, int]) -> tuple[dict[str, int], int]:
    """The number of each name, of several the first; and how many others are copies of it by their size."""
    numbers: dict[str, int] = {}
    copies = 0
    for number in sorted(names):
        first = numbers.setdefault(names[number], number)
        copies += first != number and sizes.get(first) == sizes.get(number)
    return numbers, copies


def _life(row: Row) -> int | None:
    """The UIDVALIDITY that we gave for the numbers that are stored, or None where they are void or there are none."""
    told = (row.next_uidvalidity, row.uidvalidity)
    return next((number for number in told if number is not None and number > _OURS), None)


def _row(session: Session, going: Going, path: str = "INBOX") -> Row:
    row = session.scalars(select(Row).where(Row.account_id == going.account_id, Row.path == path)).one_or_none()
    if row is None:
        raise FolderTrouble(t("The folder was removed."))
    return row
