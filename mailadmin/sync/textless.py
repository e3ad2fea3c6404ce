"""Which messages wait for their texts, see texts.py: asked at the end of every run, and mostly none does."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    String,
    Table,
    TextClause,
    bindparam,
    column,
    exists,
    literal_column,
    select,
    text,
)
from sqlalchemy.orm import Session

from mailadmin.sync.models import Folder, MessageText

_MOST_AT_ONCE = 20_000  # messages of one folder and run
_FOLDERS: Table = Folder.__table__  # type: ignore[assignment]
_TEXTS: Table = MessageText.__table__  # type: ignore[assignment]
_ID: ColumnElement[int] = literal_column("message.id", Integer)
_UID: ColumnElement[int] = column("uid", Integer)
_NEWEST = column("received_at", DateTime).desc(), _UID.desc()
IS_SYNCED: ColumnElement[bool] = _FOLDERS.c.is_active & _FOLDERS.c.is_gone.is_(False)


class Place(NamedTuple):
    """A folder in which messages wait for their texts."""

    id: int
    path: str
    generation: int
    uidvalidity: int | None


def folders(session: Session, account_id: int) -> Sequence[Place]:
    """The folders of the account that are synced and in which a message waits for its text, the inbox first."""
    found = session.connection().execute(_with_waiting(_engine_of(session)), {"of_account": account_id})
    return sorted((Place(*row) for row in found), key=lambda place: (place.path != "INBOX", place.path.casefold()))


@functools.cache
def _with_waiting(engine: str) -> Any:
    known = _FOLDERS.c
    query = select(known.id, known.path, known.generation, known.uidvalidity)
    return query.where(known.account_id == bindparam("of_account"), IS_SYNCED, some_wait(engine))


def waiting(session: Session, place: Place) -> Sequence[Any]:
    """Id and UID of the messages of a folder that wait for their text, the newest first."""
    of_place = {"of_folder": place.id, "of_generation": place.generation}
    return session.connection().execute(_waiting(_engine_of(session)), of_place).all()


def rowless(session: Session, account_id: int, *, limit: int) -> Sequence[int]:
    """The ids of up to `limit` of those in the account of which not even the heading is stored."""
    asked = {"of_account": account_id, "most": limit}
    return session.connection().execute(_rowless(_engine_of(session)), asked).scalars().all()


@functools.cache
def _waiting(engine: str) -> Any:
    which = _waits(bindparam("of_folder", type_=Integer), bindparam("of_generation", type_=Integer))
    query = select(_ID.label("id"), _UID).select_from(place_of(engine)).where(*which)
    return query.order_by(*_NEWEST).limit(_MOST_AT_ONCE)


@functools.cache
def _rowless(engine: str) -> Any:
    known, has_row = _FOLDERS.c, exists().where(_TEXTS.c.message_id == _ID)
    query = select(_ID).select_from(_FOLDERS, place_of(engine)).where(*_waits(known.id, known.generation), ~has_row)
    return query.where(known.account_id == bindparam("of_account"), IS_SYNCED).limit(bindparam("most", type_=Integer))


def some_wait(engine: str) -> ColumnElement[bool]:
    """Whether any message waits, in a query of folders."""
    known = _FOLDERS.c
    return exists().select_from(place_of(engine)).where(*_waits(known.id, known.generation)).correlate(_FOLDERS)


def place_of(engine: str, index: str = "textless") -> TextClause:
    """The messages by one of their partial indexes: SQLite might look at the whole folder instead."""
    return text(f"message INDEXED BY ix_message_{index}" if engine == "sqlite" else "message")


def _waits(folder_id: Any, generation: Any) -> tuple[Any, ...]:
    """The rule for messages that wait for their text, in a query of `place_of`."""
    mine = column("folder_id", Integer) == folder_id, literal_column("message.generation", Integer) == generation
    return *mine, text("NOT has_text"), literal_column("message.unreadable", String) == ""


def _engine_of(session: Session) -> str:
    return session.get_bind().dialect.name
