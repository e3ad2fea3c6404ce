"""Fetches what messages are made of over IMAP: their structure, the beginnings of their parts, and stretches of files.

Only BODY.PEEK is used, so nothing is marked as read. What was asked for by size comes in pieces of that size; what a
server sends beyond it is dropped.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from mailadmin.mail.answers import Refused, translated
from mailadmin.mail.imap_changes import OF_ONE_REQUEST
from mailadmin.mail.imap_fetch import HIGHEST_UID, messages_in, uid_set
from mailadmin.mail.imap_session import Session
from mailadmin.mail.structure import Part, Value, read_items, read_structure, uid_of
from mailadmin.mail.types import ServerProtocol

Wanted = tuple[int, str]  # a UID and the number of a part


class Reading:
    """The part of an IMAP session that reads texts and files; `Imap` is made with it."""

    _session: Session

    def structures(self, uids: Iterable[int]) -> dict[int, Part | None]:
        """The parts of the messages `uids` of the open folder, by UID; None for one that cannot be read.

        A message that is not there any more is left out. Raises MailError.
        """
        answers = self._read(sorted({uid for uid in uids if 0 < uid <= HIGHEST_UID}), "(UID BODYSTRUCTURE)")
        return {uid: read_structure(items.get("BODYSTRUCTURE")) for uid, items in answers.items()}

    def previews(self, uids: Iterable[int]) -> dict[int, str]:
        """The beginnings of messages as the server has them ready (RFC 8970), by UID; nothing where it has none.

        Raises MailError.
        """
        if "PREVIEW" not in self._session.capabilities:
            return {}
        asked = sorted({uid for uid in uids if 0 < uid <= HIGHEST_UID})
        answers = self._read(asked, "(UID PREVIEW (LAZY))")
        texts = {uid: items.get("PREVIEW") for uid, items in answers.items()}
        return {uid: text.decode("utf-8", "replace") for uid, text in texts.items() if isinstance(text, bytes)}

    def contents(self, wanted: Sequence[Wanted], most: int) -> dict[Wanted, bytes]:
        """The first `most` bytes of each part of `wanted`, as transferred; what does not come is left out.

        One command for each number of a part, since most messages are made alike. Raises MailError.
        """
        by_number: dict[str, list[int]] = defaultdict(list)
        for uid, number in wanted:
            by_number[number].append(uid)
        found: dict[Wanted, bytes] = {}
        for number, uids in by_number.items():
            for uid, items in self._read(sorted(set(uids)), f"(UID BODY.PEEK[{number}]<0.{most}>)").items():
                if (content := _content(items)) is not None:
                    found[uid, number] = content[:most]
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
                if refused.category not in OF_ONE_REQUEST or not alone:
                    raise
                if len(uids) == 1:
                    return {}
                half = len(uids) // 2
                return {**self._read(uids[:half], items), **self._read(uids[half:], items)}
            return _by_uid(self._session.take("FETCH"), frozenset(uids))


def _by_uid(answers: Sequence[bytes | tuple[bytes, bytes]], asked: frozenset[int]) -> dict[int, Mapping[str, Value]]:
    found: dict[int, Mapping[str, Value]] = {}
    for records in messages_in(answers):
        try:
            items = read_items(records)
        except ValueError:
            items = {}
        uid = uid_of(items)
        if uid in asked and len(items) > 1:
            found.setdefault(uid, items)
    return found


def _content(items: Mapping[str, Value]) -> bytes | None:
    said = next((value for name, value in items.items() if name.startswith("BODY[")), None)
    return said if isinstance(said, bytes) else None
