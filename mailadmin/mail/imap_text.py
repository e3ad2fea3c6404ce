"""Fetches what messages are made of over IMAP: their structure, the beginnings of their parts, and stretches of files.

Only BODY.PEEK is used, so nothing is marked as read. What was asked for by size comes in pieces of that size; what a
server sends beyond it is dropped.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mailadmin.mail.answers import Refused, translated
from mailadmin.mail.errors import Category
from mailadmin.mail.imap_changes import OF_ONE_REQUEST
from mailadmin.mail.imap_fetch import HIGHEST_UID, messages_in, uid_set
from mailadmin.mail.imap_items import Record
from mailadmin.mail.imap_session import Session
from mailadmin.mail.structure import Part, Value, read_items, read_structure, uid_of
from mailadmin.mail.types import ServerProtocol

_STRUCTURE = "(UID BODYSTRUCTURE)"
_AT_ONCE = 8  # commands
_MOST_REFUSED = 8  # messages, one after the other: then the server is busy, and not they are damaged
_PART = re.compile(rb"\d+ \(UID (\d{1,10}) BODY\[([\d.]+)\](?:<0>)? \{\d+\}")
_NUMBER = re.compile(r"BODY\[([\d.]*)\]")

Answers = Sequence[bytes | tuple[bytes, bytes]]
Wanted = tuple[int, str]  # a UID and the number of a part


class Reading:
    """The part of an IMAP session that reads texts and files; `Imap` is made with it."""

    _session: Session

    def structures(self, uids: Iterable[int]) -> dict[int, Part | None]:
        """The parts of the messages `uids` of the open folder, by UID; None for one that cannot be read.

        A message that is not there any more is left out. Raises MailError.
        """
        answers = self._read(_possible(uids), _STRUCTURE)
        return {uid: read_structure(items.get("BODYSTRUCTURE")) for uid, items in answers.items()}

    def structures_ahead(self, uids: Iterable[int]) -> None:
        """Have the server work on the structures of `uids`, which are the next that will be asked for."""
        if asked := _possible(uids):
            with translated(ServerProtocol.IMAP):
                self._session.send_ahead("UID", "FETCH", uid_set(asked), _STRUCTURE)

    def previews(self, uids: Iterable[int]) -> dict[int, str]:
        """The beginnings of messages as the server has them ready (RFC 8970), by UID; nothing where it has none.

        Raises MailError.
        """
        if "PREVIEW" not in self._session.capabilities:
            return {}
        answers = self._read(_possible(uids), "(UID PREVIEW (LAZY))")
        texts = {uid: items.get("PREVIEW") for uid, items in answers.items()}
        return {uid: text.decode("utf-8", "replace") for uid, text in texts.items() if isinstance(text, bytes)}

    def contents(self, wanted: Sequence[Wanted], most: int) -> dict[Wanted, bytes]:
        """The first `most` bytes of each part of `wanted`, as transferred; what does not come is left out.

        One command for each number of a part, since most messages are made alike, several at once. Raises MailError.
        """
        by_number: dict[str, set[int]] = defaultdict(set)
        for uid, number in wanted:
            by_number[number].add(uid)
        asked = [(sorted(uids), f"(UID BODY.PEEK[{number}]<0.{most}>)") for number, uids in by_number.items()]
        found: dict[Wanted, bytes] = {}
        for start in range(0, len(asked), _AT_ONCE):
            found |= self._contents(asked[start : start + _AT_ONCE])
        return {key: content[:most] for key, content in found.items() if key[0] in by_number[key[1]]}

    def _contents(self, asked: Sequence[tuple[Sequence[int], str]]) -> dict[Wanted, bytes]:
        """What comes of `asked`, UIDs and what is asked of them; what was refused is asked for once more, alone."""
        with translated(ServerProtocol.IMAP):
            refusals = self._session.commands([("UID", "FETCH", uid_set(uids), items) for uids, items in asked])
            found = dict(_parts_in(self._session.take("FETCH")))
            for (uids, items), refused in zip(asked, refusals, strict=True):
                if refused is not None:
                    found |= _parts_in(self._answers_alone(refused, uids, items, some_came=bool(found)))
        return found

    def stretch(self, uid: int, number: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` of one part, as transferred; with an empty `number` of the whole message.

        Shorter at the end of it, and empty beyond. Raises MailError.
        """
        answers = self._read([uid], f"(UID BODY.PEEK[{number}]<{start}.{length}>)", alone=False)
        return (_content(answers.get(uid, {})) or b"")[:length]

    def _read(self, uids: Sequence[int], items: str, *, alone: bool = True) -> dict[int, Mapping[str, Value]]:
        """The answers by UID. One damaged message makes some servers refuse all: then each is asked for `alone`."""
        if not uids:
            return {}
        with translated(ServerProtocol.IMAP):
            try:
                self._session.command("UID", "FETCH", uid_set(uids), items)
            except Refused as refused:
                if not alone:
                    raise
                return _by_uid(self._answers_alone(refused, uids, items), frozenset(uids))
            return _by_uid(self._session.take("FETCH"), frozenset(uids))

    def _answers_alone(
        self, refused: Refused, uids: Sequence[int], items: str, *, some_came: bool = False
    ) -> list[Any]:
        """What the server delivers of `uids`, all of which it has `refused` together, when it is asked for fewer.

        Nothing has come of anything (nor before, `some_came`), and of each it says that it is not available: it is left
        alone after a few.
        """
        if refused.category not in OF_ONE_REQUEST:
            raise refused
        found: list[Any] = []
        left, lost = _halves(uids), 0
        while left and (found or some_came or lost < _MOST_REFUSED):
            part = left.pop()
            try:
                self._session.command("UID", "FETCH", uid_set(part), items)
                found += self._session.take("FETCH")
            except Refused as again:
                if again.category not in OF_ONE_REQUEST:
                    raise
                left += _halves(part)
                lost += len(part) == 1 and again.category is Category.UNAVAILABLE
        return found


def _halves(uids: Sequence[int]) -> list[Sequence[int]]:
    """Both halves, that with the newest messages last; none of one message."""
    half = len(uids) // 2
    return [uids[:half], uids[half:]] if half else []


def _possible(uids: Iterable[int]) -> list[int]:
    return sorted({uid for uid in uids if 0 < uid <= HIGHEST_UID})


def _by_uid(answers: Answers, asked: frozenset[int]) -> dict[int, Mapping[str, Value]]:
    found: dict[int, Mapping[str, Value]] = {}
    for records in messages_in(answers):
        items = _items(records)
        uid = uid_of(items)
        if uid in asked and len(items) > 1:
            found.setdefault(uid, items)
    return found


def _items(records: Sequence[Record]) -> Mapping[str, Value]:
    try:
        return read_items(records)
    except ValueError:
        return {}


def _parts_in(answers: Answers) -> Iterator[tuple[Wanted, bytes]]:
    """The parts that came, whatever they are. Nearly all come in one form, which is read by one pattern."""
    for records in messages_in(answers):
        line, content = records[0] if isinstance(records[0], tuple) else (b"", b"")
        match = _PART.fullmatch(line) if records[1:] == [b")"] else None
        if match is not None:
            yield (int(match[1]), match[2].decode()), content
            continue
        items = _items(records)
        for name, value in items.items():
            if (number := _NUMBER.fullmatch(name)) and isinstance(value, bytes):
                yield (uid_of(items), number[1]), value


def _content(items: Mapping[str, Value]) -> bytes | None:
    said = next((value for name, value in items.items() if name.startswith("BODY[")), None)
    return said if isinstance(said, bytes) else None
