"""Whether anything is left to do for accounts whether or not something has changed on their servers.

Of all other accounts the server alone decides: where it shows nothing new, there is nothing to do.
"""

import functools
from collections.abc import Collection
from typing import Any

from sqlalchemy import Integer, bindparam, column, exists, literal_column, or_, select, text
from sqlalchemy.orm import Session

from mailadmin.sync.models import ChangeState, Folder, Message, PendingChange

_FOLDERS: Any = Folder.__table__
_FOLDER = _FOLDERS.c
_MESSAGES: Any = Message.__table__
_CHANGE: Any = PendingChange.__table__.c
_IDS: Any = bindparam("ids", expanding=True)
_OF_THE_FOLDER = column("folder_id", Integer) == _FOLDER.id
_GENERATION = literal_column("message.generation", Integer)
_UNTOLD = select(_CHANGE.account_id).where(_CHANGE.account_id.in_(_IDS), _CHANGE.state == ChangeState.WAITING)


def restless(session: Session, account_ids: Collection[int]) -> set[int]:
    """Those of the accounts for which something waits here, with two statements for all.

    A change that the server has to be told, a folder that is to be created, a message that is not settled or waits for
    its text, or rows of a generation that nobody sees and nobody reads.
    """
    connection, ids = session.connection(), {"ids": list(account_ids)}
    untold = connection.execute(_UNTOLD, ids).scalars()
    return {*untold, *connection.execute(_unfinished(connection.dialect.name), ids).scalars()}


@functools.cache
def _unfinished(engine: str) -> Any:
    """Which accounts have folders in which something is left to do."""
    is_synced = _FOLDER.is_active & _FOLDER.is_gone.is_(False)
    of_the_folder = select(_MESSAGES.c.id).where(_MESSAGES.c.folder_id == _FOLDER.id).correlate(_FOLDERS)
    # Leftovers, see rows.py. Of a folder that is being read into a new generation nobody says that it is complete.
    older = of_the_folder.where(_MESSAGES.c.generation < _FOLDER.generation).exists()
    newer = of_the_folder.where(_MESSAGES.c.generation > _FOLDER.generation).exists()
    is_textless = text("NOT has_text"), _FOLDER.generation == _GENERATION, column("unreadable") == ""
    waits = or_(
        _FOLDER.is_wished,
        _any(engine, "unsettled", text("NOT is_settled")),
        is_synced & or_(_any(engine, "textless", *is_textless), older, newer),
    )
    return select(_FOLDER.account_id).where(_FOLDER.account_id.in_(_IDS), waits).distinct()


def _any(engine: str, index: str, *rules: Any) -> Any:
    """Whether any message of the folder keeps to `rules`, by a partial index that SQLite would not choose by itself."""
    place = text(f"message INDEXED BY ix_message_{index}" if engine == "sqlite" else "message")
    return exists().select_from(place).where(_OF_THE_FOLDER, *rules).correlate(_FOLDERS)
