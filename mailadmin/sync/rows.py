"""The rows of messages, written many at a time: Core statements, because objects would cost more than all the rest.

Nothing here commits, and nothing here knows a server. What comes in is cleaned once more at this last door: no NUL, no
lone surrogate, no number that a database cannot hold.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import Table, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import DataError, DBAPIError, StatementError
from sqlalchemy.orm import Session

from mailadmin.mail.types import Envelope
from mailadmin.sync.many import in_words, insert_missing, nothing_left_if_it_fails
from mailadmin.sync.models import Folder, Message
from mailadmin.text import t

TABLE: Table = Message.__table__  # type: ignore[assignment]
_FOLDER: Any = Folder.__table__.c
HIGHEST_UID = 2**32 - 1
LONGEST_FLAGS = 2000
LONGEST_TEXT = 65_536
_HIGHEST_SIZE = 2**63 - 1
_SYSTEM_FLAGS = {
    "is_read": "\\seen",
    "is_flagged": "\\flagged",
    "is_answered": "\\answered",
    "is_draft": "\\draft",
}
COLUMNS = (
    *("folder_id", "generation", "uid", "message_id", "subject", "from_name", "from_address", "to", "reply_to"),
    *("sent_at", "received_at", "size", *_SYSTEM_FLAGS, "flags", "unreadable"),
    *("refers_to", "recipients", "is_bulk", "content_hash", "email_id", "labels"),
    *("is_settled", "preview", "has_attachments", "has_text"),
)  # as the table has them, and `_row` too
Row = tuple[Any, ...]
# Made once, for to write a statement takes longer than to execute it for one batch.
_MINE = TABLE.c.folder_id == bindparam("of_folder"), TABLE.c.generation == bindparam("of_generation")
_ANY_OF = *_MINE, TABLE.c.uid.in_(bindparam("uids", expanding=True))
_UNREAD, _UNREADABLE = TABLE.c.is_read.is_(False), TABLE.c.unreadable != ""
_FLAGS = select(TABLE.c.uid, TABLE.c.flags).where(*_MINE)
_AMONG = select(TABLE.c.uid, TABLE.c.flags, TABLE.c.is_read, TABLE.c.unreadable).where(*_ANY_OF)
_SIZES = select(TABLE.c.size).where(*_MINE)
_COUNT = select(func.count()).select_from(TABLE).where(*_MINE)
_TALLY = select(func.count(), func.count().filter(_UNREAD), func.count().filter(_UNREADABLE)).where(*_MINE)
_TALLY_AMONG = _TALLY.where(_ANY_OF[-1])
_DELETE = delete(TABLE).where(*_ANY_OF)
_OLDER = TABLE.c.generation < _FOLDER.generation
_NEWER = TABLE.c.generation > func.coalesce(_FOLDER.next_generation, _FOLDER.generation)
_LITTERED = select(_FOLDER.id).where(
    _FOLDER.id.in_(bindparam("ids", expanding=True)),
    or_(*(select(TABLE.c.id).where(TABLE.c.folder_id == _FOLDER.id, rule).exists() for rule in (_OLDER, _NEWER))),
)
_COPY = 'COPY {} ("{}") FROM STDIN'.format(TABLE.name, '", "'.join(COLUMNS))
_FEWEST_COPIED = 20


def flag_text(flags: Iterable[str]) -> str:
    """`flags` as one text that is the same whenever the flags are; \\Recent is about the session and left out."""
    kept = sorted(flag for flag in set(flags) if flag.lower() != "\\recent")
    return _clean(" ".join(kept), LONGEST_FLAGS)


def stored_flags(session: Session, folder_id: int, generation: int) -> dict[int, str]:
    """The flags of every message that is stored, by UID."""
    rows = session.connection().execute(_FLAGS, _of(folder_id, generation))
    # Few combinations of flags exist, so one text serves many messages.
    shared: dict[str, str] = {}
    return {uid: shared.setdefault(flags, flags) for uid, flags in rows}


class Known(NamedTuple):
    """What a difference has to know of a message that is stored."""

    flags: str
    is_read: bool
    unreadable: str


def among(session: Session, folder_id: int, generation: int, uids: Sequence[int]) -> dict[int, Known]:
    """What is stored of `uids`, by UID."""
    found: dict[int, Known] = {}
    for part in _parts(uids):
        rows = session.connection().execute(_AMONG, _of(folder_id, generation) | {"uids": part})
        found.update((uid, Known(*known)) for uid, *known in rows)
    return found


def tally_among(session: Session, folder_id: int, generation: int, uids: Sequence[int]) -> tuple[int, int, int]:
    """How many of `uids` are stored, unread and unreadable."""
    sums = [0, 0, 0]
    for part in _parts(uids):
        counted = session.connection().execute(_TALLY_AMONG, _of(folder_id, generation) | {"uids": part}).one()
        sums = [old + more for old, more in zip(sums, counted, strict=True)]
    return sums[0], sums[1], sums[2]


def count(session: Session, folder_id: int, generation: int) -> int:
    """How many messages are stored; only the index is read for it."""
    return int(session.connection().execute(_COUNT, _of(folder_id, generation)).scalar_one())


def sizes(session: Session, folder_id: int, generation: int) -> list[int]:
    """The sizes of all messages that are stored."""
    return list(session.connection().execute(_SIZES, _of(folder_id, generation)).scalars())


def tally(session: Session, folder_id: int, generation: int) -> tuple[int, int, int]:
    """How many messages are stored, unread and unreadable."""
    total, unread, unreadable = session.connection().execute(_TALLY, _of(folder_id, generation)).one()
    return int(total), int(unread), int(unreadable)


def _of(folder_id: int, generation: int) -> dict[str, Any]:
    """What the statements above are told."""
    return {"of_folder": folder_id, "of_generation": generation}


def _parts(uids: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), size):
        yield uids[start : start + size]


def unused_generation(session: Session, folder_id: int, current: int) -> int:
    """A number that no row of the folder carries, not even one that waits to be swept away."""
    highest = session.scalar(select(func.max(TABLE.c.generation)).where(TABLE.c.folder_id == folder_id))
    return max(current, highest or 0) + 1


def insert(session: Session, folder_id: int, generation: int, envelopes: Sequence[Envelope]) -> None:
    """Store `envelopes`; one that is there already stays as it is, one that no column takes is stored as unreadable."""
    engine = session.get_bind().dialect.name
    moment = as_sqlite_text if engine == "sqlite" else _as_it_is
    rows = [_row(folder_id, generation, envelope, moment) for envelope in envelopes]
    is_copied = engine == "postgresql" and len(rows) >= _FEWEST_COPIED and _copied(session, rows)
    if not rows or is_copied or _inserted(session, rows):
        return
    for row, envelope in zip(rows, envelopes, strict=True):
        if not _inserted(session, [row]):
            bare = Envelope(uid=envelope.uid, unreadable=t("This message could not be stored."))
            _inserted(session, [_row(folder_id, generation, bare, moment)])


def _copied(session: Session, rows: list[Row]) -> bool:
    """Whether PostgreSQL took `rows` at once, in half the time; False if one is there already, or cannot be stored."""
    connection = session.connection()
    driver = cast(Any, connection.dialect).loaded_dbapi
    try:
        with (
            nothing_left_if_it_fails(session),
            cast(Any, connection.connection).cursor() as cursor,
            cursor.copy(_COPY) as copy,
        ):
            for row in rows:
                copy.write_row(row)
    except (driver.IntegrityError, driver.DataError):
        return False
    return True


def _inserted(session: Session, rows: list[Row]) -> bool:
    """Whether the database took `rows`; False for values that it cannot hold. Trouble of its own is raised."""
    try:
        with nothing_left_if_it_fails(session):
            insert_missing(session, TABLE, COLUMNS, rows)
    except StatementError as error:
        if isinstance(error, DBAPIError) and not isinstance(error, DataError):
            raise
        return False
    except OverflowError:  # SQLite's driver says it of a number.
        return False
    return True


def as_sqlite_text(moment: datetime) -> str:
    """As SQLAlchemy writes `moment`, which is in UTC: without the zone."""
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


def _as_it_is(moment: datetime) -> datetime:
    return moment


def update_flags(session: Session, folder_id: int, generation: int, flags: Mapping[int, str]) -> None:
    """Store new flags, by UID."""
    if flags:
        values = [(*_values_of(text), folder_id, generation, uid) for uid, text in flags.items()]
        session.connection().exec_driver_sql(_flagging(session.get_bind().dialect.name), values)


@functools.cache
def _flagging(engine: str) -> str:
    """The statement that stores the flags of one message, in the words of the driver."""
    names, keys = (*_SYSTEM_FLAGS, "flags"), ("folder_id", "generation", "uid")
    new = {name: bindparam(f"new_{name}", type_=TABLE.c[name].type) for name in names}
    which = [TABLE.c[name] == bindparam(f"the_{name}", type_=TABLE.c[name].type) for name in keys]
    order = (*(f"new_{name}" for name in names), *(f"the_{name}" for name in keys))
    return in_words(engine, update(TABLE).where(*which).values(new), order)


def delete_uids(session: Session, folder_id: int, generation: int, uids: Sequence[int]) -> None:
    """Forget messages by UID."""
    if uids:
        session.connection().execute(_DELETE, _of(folder_id, generation) | {"uids": uids})


def with_leftovers(session: Session, folders: Iterable[Folder]) -> set[int]:
    """The ids of those of `folders` of which rows wait to be swept away, of generations that nobody sees or reads.

    Only the ends of the index are looked at; what lies between two generations that are kept is found later.
    """
    ids = [folder.id for folder in folders]
    return set(session.connection().execute(_LITTERED, {"ids": ids}).scalars()) if ids else set()


def sweep(session: Session, folder_id: int, keep: set[int], *, limit: int) -> int:
    """Delete up to `limit` rows of other generations than `keep`; how many there were."""
    ids = select(TABLE.c.id).where(TABLE.c.folder_id == folder_id, TABLE.c.generation.not_in(keep)).limit(limit)
    return _delete(session, ids)


def delete_some(session: Session, folder_ids: Sequence[int], *, limit: int) -> int:
    """Delete up to `limit` messages of these folders, whatever their generation; how many there were."""
    return _delete(session, select(TABLE.c.id).where(TABLE.c.folder_id.in_(folder_ids)).limit(limit))


def _delete(session: Session, ids: Any) -> int:
    done = session.connection().execute(delete(TABLE).where(TABLE.c.id.in_(ids)))
    return int(done.rowcount)


# An envelope as a row.


def _row(folder_id: int, generation: int, envelope: Envelope, written: Callable[[datetime], Any]) -> Row:
    """The values of `COLUMNS`."""
    sent_at, received_at = _moment(envelope.sent_at), _moment(envelope.received_at)
    return (
        folder_id,
        generation,
        envelope.uid,
        _clean(envelope.message_id, 998),
        _clean(envelope.subject, 998),
        _clean(envelope.from_name, 998),
        _clean(envelope.from_address, 998),
        _clean(envelope.to, LONGEST_TEXT),
        _clean(envelope.reply_to, LONGEST_TEXT),
        written(sent_at) if sent_at else None,
        written(received_at) if received_at else None,
        min(max(envelope.size, 0), _HIGHEST_SIZE),
        *_flag_values(envelope.flags),
        _clean(envelope.unreadable, 500),
        _clean(" ".join(envelope.refers_to), LONGEST_TEXT),
        _addresses(envelope.recipients),
        envelope.is_bulk,
        envelope.content_hash,
        _clean(envelope.email_id, 255),
        _clean("\n".join(envelope.labels), LONGEST_TEXT),
        False,
        "",
        False,
        False,
    )


@functools.lru_cache(maxsize=2048)
def _addresses(recipients: tuple[tuple[str, str], ...]) -> str:
    """The addresses in lower case, each once; one with a blank in it is none."""
    lower = [address.lower() for _, address in recipients]
    return _clean(" ".join(dict.fromkeys(each for each in lower if each and " " not in each)), LONGEST_TEXT)


@functools.lru_cache(maxsize=1024)
def _values_of(text: str) -> tuple[Any, ...]:
    """What `text`, flags separated by spaces, says, as columns; system flags have no case (RFC 3501 2.3.2)."""
    flags = set(text.lower().split(" "))
    return (*(flag in flags for flag in _SYSTEM_FLAGS.values()), text)


@functools.lru_cache(maxsize=1024)
def _flag_values(flags: frozenset[str]) -> tuple[Any, ...]:
    """The same; few combinations exist."""
    return _values_of(flag_text(flags))


def _clean(text: str, longest: int) -> str:
    """`text` as both databases can store it, cut."""
    if not text:
        return text
    if "\0" in text:
        text = text.replace("\0", "")
    return text[:longest] if text.isascii() else text[:longest].encode("utf-8", "replace").decode()


def _moment(moment: datetime | None) -> datetime | None:
    """`moment` in UTC, or None for one without a zone or beyond the calendar."""
    if moment is None or moment.tzinfo is None:
        return None
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
