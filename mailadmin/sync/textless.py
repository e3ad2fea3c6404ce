"""Which messages wait for their texts, see texts.py: asked at the end of every run, and mostly none does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Integer,
    String,
    Table,
    TextClause,
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
    known = _FOLDERS.c
    query = select(known.id, known.path, known.generation, known.uidvalidity)
    found = session.execute(query.where(known.account_id == account_id, IS_SYNCED, some_wait(_engine_of(session))))
    return sorted((Place(*row) for row in found), key=lambda place: (place.path != "INBOX", place.path.casefold()))


def waiting(session: Session, place: Place) -> Sequence[Any]:
    """Id and UID of the messages of a folder that wait for their text, the newest first."""
    query = _of(session, place, _ID.label("id"), _UID)
    return session.execute(query.order_by(*_NEWEST).limit(_MOST_AT_ONCE)).all()


def rowless(session: Session, place: Place, *, limit: int) -> Sequence[int]:
    """The ids of up to `limit` of those of which not even the heading is stored."""
    has_none = ~exists().where(_TEXTS.c.message_id == _ID)
    return session.scalars(_of(session, place, _ID).where(has_none).limit(limit)).all()


def some_wait(engine: str) -> ColumnElement[bool]:
    """Whether any message waits, in a query of folders."""
    known = _FOLDERS.c
    return exists().select_from(place_of(engine)).where(*_waits(known.id, known.generation)).correlate(_FOLDERS)


def place_of(engine: str, index: str = "textless") -> TextClause:
    """The messages by one of their partial indexes: SQLite might look at the whole folder instead."""
    return text(f"message INDEXED BY ix_message_{index}" if engine == "sqlite" else "message")


def _of(session: Session, place: Place, *columns: ColumnElement[int]) -> Any:
    messages = place_of(_engine_of(session))
    return select(*columns).select_from(messages).where(*_waits(place.id, place.generation))


def _waits(folder_id: Any, generation: Any) -> tuple[Any, ...]:
    """The rule for messages that wait for their text, in a query of `place_of`."""
    mine = column("folder_id", Integer) == folder_id, literal_column("message.generation", Integer) == generation
    return *mine, text("NOT has_text"), column("unreadable", String) == ""


def _engine_of(session: Session) -> str:
    return session.get_bind().dialect.name
