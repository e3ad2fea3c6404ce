"""Fetches the texts of messages that were synced, newest first, for previews, reading and searching.

How it works. At the end of a run every message that has no row of MessageText gets one with its heading, by one
statement in the database: so all mail can be searched by subject, sender and recipients. Then, folder by folder and
for at most `SECONDS`, the structures of the newest messages without text are asked for, and after them the beginnings
of the parts that are read, as many as the organisation keeps. What is left is done by the next runs; what somebody
opens meanwhile is fetched at once, see reading.py.

What can go wrong. Nothing here makes a run fail: the folders were read before it. A server that refuses is asked again
by the next run; a message without a structure that makes sense has no text, and can still be saved as a file.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, Protocol, cast

from sqlalchemy import Row, Table, bindparam, func, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.mail import text_parts
from mailadmin.mail.answers import Refused
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.scrub import visible
from mailadmin.mail.structure import Part
from mailadmin.mail.text_parts import Choice, Text
from mailadmin.mail.whole import take_apart
from mailadmin.organisation import service as organisation
from mailadmin.sync import push
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder, Message, MessageText
from mailadmin.sync.numbering import Numbered

SECONDS = 20.0  # of one run
BATCH = 100  # messages
MOST_BYTES = 8_000_000  # of texts in memory at once
PREVIEW_BYTES = 2048  # of a text that is not kept
READING_TIME = timedelta(hours=1)  # for which is kept what is not to be kept
HEADINGS = 2000  # rows of one transaction
_MOST_AT_ONCE = 20_000  # messages of one folder and run
_LONGEST_WHOLE = 500_000  # bytes of a message of POP3 beyond its texts
_TEXTS: Table = MessageText.__table__  # type: ignore[assignment]
_MESSAGES: Table = Message.__table__  # type: ignore[assignment]
_TEXTLESS = text("NOT has_text")
log = logging.getLogger(__name__)


class Reads(Protocol):
    """A connection that reads texts: see mail/imap_text.py."""

    def structures(self, uids: Iterable[int]) -> dict[int, Part | None]:
        """The parts of messages, by UID."""

    def previews(self, uids: Iterable[int]) -> dict[int, str]:
        """What the server has ready as the beginning of messages."""

    def contents(self, wanted: Sequence[tuple[int, str]], most: int) -> dict[tuple[int, str], bytes]:
        """The beginnings of parts, by UID and number."""


class WholeMessages:
    """Reads texts where messages only come whole, as over POP3; what was read serves until the next structures."""

    def __init__(self, whole: Callable[[int, int], bytes | None], most: int) -> None:
        self._whole, self._most = whole, most + _LONGEST_WHOLE
        self._kept: dict[tuple[int, str], bytes] = {}

    def structures(self, uids: Iterable[int]) -> dict[int, Part | None]:
        """The parts of messages, by UID."""
        self._kept = {}
        found: dict[int, Part | None] = {}
        for uid in uids:
            raw = self._whole(uid, self._most)
            if raw is not None:
                found[uid], contents = take_apart(raw)
                self._kept |= {(uid, number): content[: self._most] for number, content in contents.items()}
        return found

    def previews(self, uids: Iterable[int]) -> dict[int, str]:
        """POP3 has none ready."""
        return {}

    def contents(self, wanted: Sequence[tuple[int, str]], most: int) -> dict[tuple[int, str], bytes]:
        """The beginnings of parts, of the messages that were asked for last."""
        return {key: self._kept[key][:most] for key in wanted if key in self._kept}


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of one message."""

    choice: Choice
    text: Text


# In a run.


def fetch(going: Going, *, seconds: float = SECONDS) -> None:
    """Fetch texts for `seconds` at most; see above. Raises Stopped and LeaseLost."""
    if going.ends.is_over:
        return
    until = Deadline(min(seconds, going.ends.left() / 2))
    with db.reading() as session:
        kept = organisation.text_kilobytes(session) * 1000
        folders = _folders(session, going.account_id)
    for folder in folders:
        _write_headings(going, folder)
    reads = reader(going, most=kept or PREVIEW_BYTES)
    if reads is None:
        return
    try:
        for folder in folders:
            if not until.is_over:
                _fetch_folder(going, folder, reads, kept, until)
    except MailError as error:
        log.info("The texts of account %s have to wait (%s).", going.account_id, error.category)


def reader(going: Going, *, most: int) -> Reads | None:
    """The connection of the run as one that reads texts; None for one that cannot."""
    if isinstance(going.incoming, Numbered):
        return WholeMessages(going.incoming.whole, most)
    return cast(Reads, going.incoming) if hasattr(going.incoming, "structures") else None


def _folders(session: Session, account_id: int) -> list[Folder]:
    query = select(Folder).where(Folder.account_id == account_id, Folder.is_active, Folder.is_gone.is_(False))
    return sorted(session.scalars(query), key=lambda folder: (folder.path != "INBOX", folder.path.casefold()))


def _fetch_folder(going: Going, folder: Folder, reads: Reads, kept: int, until: Deadline) -> None:
    """The texts of one folder, if the server lets us read it as it was when its messages were."""
    with db.reading() as session:
        waiting = _waiting(session, folder)
    if not waiting:
        return
    try:
        state = going.step().examine(folder.path)
        if state.uidvalidity and folder.uidvalidity not in (None, state.uidvalidity):
            return
        for start in range(0, len(waiting), BATCH):
            if until.is_over:
                return
            push.give_way(going)
            batch = waiting[start : start + BATCH]
            going.step()
            for ids, found in read_texts(reads, [row.uid for row in batch], kept, going.step):
                by_uid = {row.uid: row.id for row in batch}
                with going.writing() as session:
                    store(session, {by_uid[uid]: each for uid, each in zip(ids, found, strict=True)}, kept)
    except Refused as refused:
        log.info("The texts of folder %s have to wait (%s).", folder.id, refused.category)


def _waiting(session: Session, folder: Folder) -> Sequence[Row[int, int]]:
    query = select(Message.id, Message.uid).where(
        Message.folder_id == folder.id, Message.generation == folder.generation, _TEXTLESS, Message.unreadable == ""
    )
    return session.execute(query.order_by(Message.received_at.desc(), Message.uid.desc()).limit(_MOST_AT_ONCE)).all()


# What of a message is asked for.


def asked_bytes(kept: int) -> int:
    """How much of a part is asked for, as transferred, where `kept` characters are: base64 takes a third more."""
    return (kept or PREVIEW_BYTES) * 4 // 3 + 4


def read_texts(
    reads: Reads, uids: Sequence[int], kept: int, step: Callable[[], object]
) -> Iterator[tuple[list[int], list[Found]]]:
    """What can be read of the messages `uids` of the open folder, some at a time; `kept` 0: only previews.

    `step` is called before each question to the server. Raises MailError.
    """
    asked = asked_bytes(kept)
    choices = {uid: text_parts.choose(whole) for uid, whole in reads.structures(uids).items()}
    ready: Mapping[int, str] = {}
    if not kept:
        step()
        ready = reads.previews(uids)
    group: list[int] = []
    weight = 0
    for uid in sorted(choices, reverse=True):
        heavy = sum(min(part.size or asked, asked) for part in _needed(choices[uid], kept, uid in ready))
        if group and weight + heavy > MOST_BYTES:
            yield group, _read_group(reads, group, choices, kept, ready, step)
            group, weight = [], 0
        group.append(uid)
        weight += heavy
    if group:
        yield group, _read_group(reads, group, choices, kept, ready, step)


def _needed(choice: Choice, kept: int, is_ready: bool) -> list[Part]:
    return choice.texts if kept else [] if is_ready else choice.texts[:1]


def _read_group(
    reads: Reads,
    uids: list[int],
    choices: Mapping[int, Choice],
    kept: int,
    ready: Mapping[int, str],
    step: Callable[[], object],
) -> list[Found]:
    wanted = [(uid, part.number) for uid in uids for part in _needed(choices[uid], kept, uid in ready)]
    step()
    came = reads.contents(wanted, asked_bytes(kept)) if wanted else {}
    found = []
    for uid in uids:
        contents = {number: raw for (its, number), raw in came.items() if its == uid}
        made = text_parts.read(choices[uid], contents, most=kept or PREVIEW_BYTES, asked=asked_bytes(kept))
        if not kept:
            made = Text(preview=text_parts.preview(ready.get(uid, "")) or made.preview, is_cut=bool(choices[uid].texts))
        found.append(Found(choices[uid], made))
    return found


# Rows.


def _write_headings(going: Going, folder: Folder) -> None:
    """A row with its heading for every message of the folder that has none."""
    rowless = ~select(MessageText.message_id).where(MessageText.message_id == Message.id).exists()
    mine = Message.folder_id == folder.id, Message.generation == folder.generation, _TEXTLESS
    while True:
        with db.reading() as session:
            ids = session.scalars(select(Message.id).where(*mine, rowless).limit(HEADINGS)).all()
        if not ids:
            return
        with going.writing() as session:
            write_headings(session, ids)


def write_headings(session: Session, ids: Sequence[int]) -> None:
    """Rows with the headings of the messages `ids`; those that have a row are left as they are.

    Addresses stand there twice, whole and in words: PostgreSQL takes an address for one word.
    """
    words = func.replace(func.replace(func.replace(Message.from_address, "@", " "), ".", " "), "-", " ")
    columns = Message.subject, Message.from_name, Message.from_address, words, Message.to
    heading: Any = columns[0]
    for column in columns[1:]:
        heading = heading + literal(" ") + column
    has_row = select(MessageText.message_id).where(MessageText.message_id == Message.id).exists()
    empty, none = literal(""), literal([], _TEXTS.c.parts.type)
    rows = select(Message.id, heading, empty, empty, none, literal(False), _now())
    names = ["message_id", "heading", "text", "html", "parts", "is_cut", "fetched_at"]
    session.connection().execute(
        insert(_TEXTS).from_select(names, rows.where(Message.id.in_(ids), ~has_row), include_defaults=False)
    )


def _now() -> Any:
    return literal(db.now().astimezone(UTC), _TEXTS.c.fetched_at.type)


def store(session: Session, found: Mapping[int, Found], kept: int) -> None:
    """Store what was read, by the message's id; a message that is gone meanwhile is passed over."""
    # In one order everywhere, so that two transactions do not wait for each other.
    write_headings(session, sorted(found))
    parts = {message_id: list(text_parts.listed(found[message_id].choice)) for message_id in sorted(found)}
    if found and not _store_all(session, found, parts):
        for message_id in parts:
            _store_text(session, message_id, found[message_id].text, parts[message_id])
    values = [
        {
            "the_id": message_id,
            "the_preview": _clean(visible(each.text.preview))[:300],
            "the_files": bool(each.choice.files),
        }
        for message_id, each in sorted(found.items())
    ]
    if values:
        columns = {"preview": bindparam("the_preview"), "has_attachments": bindparam("the_files"), "has_text": True}
        changed = update(_MESSAGES).where(_MESSAGES.c.id == bindparam("the_id")).values(columns)
        session.connection().execute(changed, values)


def _store_all(session: Session, found: Mapping[int, Found], parts: Mapping[int, list[Any]]) -> bool:
    """All texts by one statement; False if one of them is too much for PostgreSQL, see `_store_text`."""
    names = ("text", "html", "parts", "is_cut", "fetched_at")
    values = [
        {"the_id": message_id} | _new_values(found[message_id].text, listed) for message_id, listed in parts.items()
    ]
    changed = update(_TEXTS).where(_TEXTS.c.message_id == bindparam("the_id"))
    try:
        with session.begin_nested():
            session.connection().execute(changed.values({name: bindparam(f"new_{name}") for name in names}), values)
    except DBAPIError as error:
        if not _is_too_much(error):
            raise
        return False
    return True


def _new_values(made: Text, parts: list[Any]) -> dict[str, Any]:
    return {
        "new_text": _clean(made.text),
        "new_html": _clean(made.html),
        "new_parts": parts,
        "new_is_cut": made.is_cut,
        "new_fetched_at": db.now(),
    }


def _is_too_much(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", "") == "54000"  # program_limit_exceeded


def _store_text(session: Session, message_id: int, made: Text, parts: list[Any]) -> None:
    """One text; PostgreSQL indexes at most a megabyte of different words, and what is more is cut."""
    words, html, is_cut = _clean(made.text), _clean(made.html), made.is_cut
    while True:
        values = {"text": words, "html": html, "parts": parts, "is_cut": is_cut, "fetched_at": db.now()}
        changed = update(_TEXTS).where(_TEXTS.c.message_id == message_id).values(values)
        try:
            with session.begin_nested():
                session.connection().execute(changed)
            return
        except DBAPIError as error:
            if len(words) < 1000 or not _is_too_much(error):
                raise
            words, is_cut = words[: len(words) // 2], True


def _clean(text: str) -> str:
    """`text` as both databases can store it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def forget_unkept(session: Session) -> None:
    """Where the organisation keeps no texts: forget those that were fetched for reading more than an hour ago."""
    if organisation.text_kilobytes(session):
        return
    old = (_TEXTS.c.fetched_at < db.now() - READING_TIME) & ((_TEXTS.c.text != "") | (_TEXTS.c.html != ""))
    session.connection().execute(update(_TEXTS).where(old).values(text="", html="", is_cut=True))
