"""Fetches the texts of messages that were synced, newest first, for previews, reading and searching.

How it works. At the end of a run, folder by folder and for at most `SECONDS`, the structures of the newest messages
without text are asked for, and after them the beginnings of the parts that are read, as many as the organisation keeps;
while what came of one batch is read and stored, the server works on the structures of the next. A text is stored with
its heading, by one statement, for each change of a row is work for the index of words. Then every message that still
has no row of MessageText gets one with its heading: so all mail can be searched by subject, sender and recipients. What
is left is done by the next runs; what somebody opens meanwhile is fetched at once, see reading.py.

What can go wrong. Nothing here makes a run fail: the folders were read before it. A server that refuses is asked again
by the next run. Of a message of which nothing came, nobody can tell whether it is damaged or the server was busy: all
runs of a day ask for it again, and after that only whoever opens it. Until then its row is marked by `is_cut`, since
`fetched_at`. A message without a structure that makes sense has no text, and can still be saved as a file.
"""

import functools
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Any, Protocol, cast

from sqlalchemy import ColumnElement, Table, bindparam, func, insert, literal, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite
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
from mailadmin.sync import push, rows, textless
from mailadmin.sync.going import Going
from mailadmin.sync.many import in_words, nothing_left_if_it_fails, update_each
from mailadmin.sync.models import Message, MessageText
from mailadmin.sync.numbering import Numbered
from mailadmin.sync.textless import Place

SECONDS = 20.0  # of one run
BATCH = 250  # messages
MOST_BYTES = 4_000_000  # of texts in memory at once
PREVIEW_BYTES = 2048  # of a text that is not kept
READING_TIME = timedelta(hours=1)  # for which is kept what is not to be kept
HEADINGS = 2000  # rows of one transaction
ASKED_FOR = timedelta(days=1)  # a message of which nothing comes
_LONGEST_WHOLE = 500_000  # bytes of a message of POP3 beyond its texts
_TEXTS: Table = MessageText.__table__  # type: ignore[assignment]
_MESSAGES: Table = Message.__table__  # type: ignore[assignment]
_NEW = ("text", "html", "parts", "is_cut", "fetched_at")
_ROW = ["message_id", "heading", *_NEW]
log = logging.getLogger(__name__)


class Reads(Protocol):
    """A connection that reads texts: see mail/imap_text.py."""

    def structures(self, uids: Iterable[int]) -> dict[int, Part | None]:
        """The parts of messages, by UID."""

    def structures_ahead(self, uids: Iterable[int]) -> None:
        """Have the server work on the structures that will be asked for next."""

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

    def structures_ahead(self, uids: Iterable[int]) -> None:
        """POP3 does one thing after the other."""

    def previews(self, uids: Iterable[int]) -> dict[int, str]:
        """POP3 has none ready."""
        return {}

    def contents(self, wanted: Sequence[tuple[int, str]], most: int) -> dict[tuple[int, str], bytes]:
        """The beginnings of parts, of the messages that were asked for last."""
        return {key: self._kept[key][:most] for key in wanted if key in self._kept}


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of one message; `is_missing`: of what it has to read, nothing came."""

    choice: Choice
    text: Text
    is_missing: bool = False


_NOTHING = Found(Choice(), Text(is_cut=True), is_missing=True)


# In a run.


def fetch(going: Going, *, seconds: float = SECONDS) -> None:
    """Fetch texts for `seconds` at most; see above. Raises Stopped and LeaseLost."""
    if going.ends.is_over:
        return
    until = Deadline(min(seconds, going.ends.left() / 2))
    with db.reading() as session:
        folders = textless.folders(session, going.account_id)
        kept = organisation.text_kilobytes(session) * 1000 if folders else 0
    reads = reader(going, most=kept or PREVIEW_BYTES) if folders else None
    try:
        for folder in folders if reads else ():
            if reads and not until.is_over:
                _fetch_folder(going, folder, reads, kept, until)
    except MailError as error:
        log.info("The texts of account %s have to wait (%s).", going.account_id, error.category)
    if folders:
        _write_headings(going)


def reader(going: Going, *, most: int) -> Reads | None:
    """The connection of the run as one that reads texts; None for one that cannot."""
    if isinstance(going.incoming, Numbered):
        return WholeMessages(going.incoming.whole, most)
    return cast(Reads, going.incoming) if hasattr(going.incoming, "structures") else None


def _fetch_folder(going: Going, place: Place, reads: Reads, kept: int, until: Deadline) -> None:
    """The texts of one folder, if the server lets us read it as it was when its messages were."""
    with db.reading() as session:
        waiting = textless.waiting(session, place)
    try:
        state = going.step().examine(place.path)
        if state.uidvalidity and place.uidvalidity not in (None, state.uidvalidity):
            return
        batches = [waiting[start : start + BATCH] for start in range(0, len(waiting), BATCH)]
        for batch, following in zip(batches, [*batches[1:], ()], strict=True):
            if until.is_over:
                return
            push.give_way(going)
            going.step()
            ids, ahead = {row.uid: row.id for row in batch}, [row.uid for row in following]
            missing = dict.fromkeys(ids.values(), _NOTHING)
            for uids, found in read_texts(reads, list(ids), kept, going.step, ahead=ahead):
                came = {ids[uid]: each for uid, each in zip(uids, found, strict=True)}
                missing |= came
                with going.writing() as session:
                    store(session, {id_: each for id_, each in came.items() if not each.is_missing}, kept)
            _put_off(going, {id_: each for id_, each in missing.items() if each.is_missing}, kept)
    except Refused as refused:
        log.info("The texts of folder %s have to wait (%s).", place.id, refused.category)


# What of a message is asked for.


def asked_bytes(kept: int) -> int:
    """How much of a part is asked for, as transferred, where `kept` characters are: base64 takes a third more."""
    return (kept or PREVIEW_BYTES) * 4 // 3 + 4


def read_texts(
    reads: Reads, uids: Sequence[int], kept: int, step: Callable[[], object], *, ahead: Sequence[int] = ()
) -> Iterator[tuple[list[int], list[Found]]]:
    """What can be read of the messages `uids` of the open folder, some at a time; `kept` 0: only previews.

    `step` is called before each question to the server; `ahead` will be asked for after `uids`. Raises MailError.
    """
    asked = asked_bytes(kept)
    choices = {uid: text_parts.choose(whole) for uid, whole in reads.structures(uids).items()}
    ready: Mapping[int, str] = {}
    if not kept:
        step()
        ready = reads.previews(uids)
    groups: list[list[int]] = [[]]
    weight = 0
    for uid in sorted(choices, reverse=True):
        heavy = sum(min(part.size or asked, asked) for part in _needed(choices[uid], kept, uid in ready))
        if groups[-1] and weight + heavy > MOST_BYTES:
            groups.append([])
            weight = 0
        groups[-1].append(uid)
        weight += heavy
    for group in groups:
        wanted = [(uid, part.number) for uid in group for part in _needed(choices[uid], kept, uid in ready)]
        step()
        came = reads.contents(wanted, asked) if wanted else {}
        if group is groups[-1]:
            reads.structures_ahead(ahead)
        if group:
            yield group, _read_group(group, choices, kept, ready, came)


def _needed(choice: Choice, kept: int, is_ready: bool) -> list[Part]:
    return choice.texts if kept else [] if is_ready else choice.texts[:1]


def _read_group(
    uids: list[int],
    choices: Mapping[int, Choice],
    kept: int,
    ready: Mapping[int, str],
    came: Mapping[tuple[int, str], bytes],
) -> list[Found]:
    contents: dict[int, dict[str, bytes]] = defaultdict(dict)
    for (uid, number), raw in came.items():
        contents[uid][number] = raw
    found = []
    for uid in uids:
        wanted = _needed(choices[uid], kept, uid in ready)
        is_missing = not contents[uid] and any(part.size for part in wanted)
        made = text_parts.read(choices[uid], contents[uid], most=kept or PREVIEW_BYTES, asked=asked_bytes(kept))
        if not kept:
            made = Text(preview=text_parts.preview(ready.get(uid, "")) or made.preview, is_cut=bool(choices[uid].texts))
        found.append(Found(choices[uid], replace(made, is_cut=True) if is_missing else made, is_missing))
    return found


# Rows.


def _write_headings(going: Going) -> None:
    """A row with its heading for every message of the account that has none."""
    while True:
        with db.reading() as session:
            ids = textless.rowless(session, going.account_id, limit=HEADINGS)
        if not ids:
            return
        with going.writing() as session:
            write_headings(session, ids)


def write_headings(session: Session, ids: Sequence[int]) -> None:
    """Rows with the headings of the messages `ids`; those that have a row are left as they are."""
    has_row = select(MessageText.message_id).where(MessageText.message_id == Message.id).exists()
    empty, none = literal(""), literal([], _TEXTS.c.parts.type)
    new = select(Message.id, _heading(), empty, empty, none, literal(False), _now())
    session.connection().execute(
        insert(_TEXTS).from_select(_ROW, new.where(Message.id.in_(ids), ~has_row), include_defaults=False)
    )


def _heading() -> ColumnElement[str]:
    """Addresses stand there twice, whole and in words: PostgreSQL takes an address for one word."""
    blank: ColumnElement[str] = literal_column("' '")
    words: Any = Message.from_address
    for mark in "@.-":
        words = func.replace(words, literal_column(f"'{mark}'"), blank)
    first, *others = Message.subject, Message.from_name, Message.from_address, words, Message.to
    return functools.reduce(lambda heading, other: heading + blank + other, others, cast(Any, first))


def _now() -> Any:
    return literal(db.now().astimezone(UTC), _TEXTS.c.fetched_at.type)


def store(session: Session, found: Mapping[int, Found], kept: int) -> None:
    """Store what was read, by the message's id; a message that is gone meanwhile is passed over."""
    # In one order everywhere, so that two transactions do not wait for each other.
    parts = {message_id: list(text_parts.listed(found[message_id].choice)) for message_id in sorted(found)}
    if found and not _store_all(session, found, parts):
        write_headings(session, list(parts))
        for message_id in parts:
            _store_text(session, message_id, found[message_id].text, parts[message_id])
    shown = [
        (_clean(visible(found[message_id].text.preview))[:300], bool(found[message_id].choice.files), True, message_id)
        for message_id in parts
    ]
    update_each(session, _MESSAGES, ("preview", "has_attachments", "has_text"), shown)


def _put_off(going: Going, missing: Mapping[int, Found], kept: int) -> None:
    """Mark messages of which nothing came; of those marked for a day is stored what is known without their texts."""
    if not missing:
        return
    with going.writing() as session:
        write_headings(session, list(missing))
        marked = select(_TEXTS.c.message_id, _TEXTS.c.fetched_at).where(_TEXTS.c.message_id.in_(missing))
        since: dict[int, Any] = dict(session.execute(marked.where(_TEXTS.c.is_cut)).all())
        new = _TEXTS.c.message_id.in_(missing.keys() - since.keys())
        session.connection().execute(update(_TEXTS).where(new).values(is_cut=True, fetched_at=db.now()))
        old = db.now() - ASKED_FOR
        store(session, {id_: missing[id_] for id_, moment in since.items() if moment < old}, kept)


def _store_all(session: Session, found: Mapping[int, Found], parts: Mapping[int, list[Any]]) -> bool:
    """All texts by one statement; False if one of them is too much for PostgreSQL, see `_store_text`."""
    engine = session.get_bind().dialect.name
    moment = rows.as_sqlite_text(db.now()) if engine == "sqlite" else db.now()
    values = []
    for message_id, listed in parts.items():
        made = found[message_id].text
        new = _clean(made.text), _clean(made.html), json.dumps(listed), made.is_cut, moment
        values.append((*new, message_id))
    try:
        with nothing_left_if_it_fails(session):
            session.connection().exec_driver_sql(_storing(engine), values)
    except DBAPIError as error:
        if not _is_too_much(error):
            raise
        return False
    return True


@functools.cache
def _storing(engine: str) -> str:
    """The statement that stores a text, with its heading where there is none yet, in the words of the driver."""
    new = [bindparam(f"new_{name}", type_=_TEXTS.c[name].type) for name in _NEW]
    row = select(Message.id, _heading(), *new).where(Message.id == bindparam("the_id", type_=_MESSAGES.c.id.type))
    stored = (sqlite if engine == "sqlite" else postgresql).insert(_TEXTS)
    stored = stored.from_select(_ROW, row, include_defaults=False)
    changed = {name: stored.excluded[name] for name in _NEW}
    statement = stored.on_conflict_do_update(index_elements=["message_id"], set_=changed)
    return in_words(engine, statement, (*(f"new_{name}" for name in _NEW), "the_id"))


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
    text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def forget_unkept(session: Session) -> None:
    """Where the organisation keeps no texts: forget those that were fetched for reading more than an hour ago."""
    if organisation.text_kilobytes(session):
        return
    old = (_TEXTS.c.fetched_at < db.now() - READING_TIME) & ((_TEXTS.c.text != "") | (_TEXTS.c.html != ""))
    session.connection().execute(update(_TEXTS).where(old).values(text="", html="", is_cut=True))
