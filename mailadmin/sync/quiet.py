"""Whether anything is left to do for accounts whether or not something has changed on their servers.

Of all other accounts the server alone decides: where it shows nothing new, there is nothing to do.
"""

import functools
from collections.abc import Collection
from typing import Any

from sqlalchemy import Integer, bindparam, column, exists, or_, select, text
from sqlalchemy.orm import Session

from mailadmin.sync import retention, textless
from mailadmin.sync.models import ChangeState, Folder, Message, PendingChange

_FOLDERS: Any = Folder.__table__
_FOLDER = _FOLDERS.c
_MESSAGES: Any = Message.__table__
_CHANGE: Any = PendingChange.__table__.c
_IDS: Any = bindparam("ids", expanding=True)
_UNTOLD = select(_CHANGE.account_id).where(_CHANGE.account_id.in_(_IDS), _CHANGE.state == ChangeState.WAITING)


def restless(session: Session, account_ids: Collection[int]) -> set[int]:
    """Those of the accounts for which something waits here, with a few statements for all.

    A change that the server has to be told, a folder that is to be created, a message that is not settled or waits for
    its text, rows of a generation that nobody sees and nobody reads, or mail that is older than the account keeps it.
    """
    connection, ids = session.connection(), {"ids": list(account_ids)}
    untold = connection.execute(_UNTOLD, ids).scalars()
    return {*untold, *unfinished(session, account_ids), *retention.with_old_mail(session, account_ids)}


def unfinished(session: Session, account_ids: Collection[int]) -> set[int]:
    """Those of the accounts that have folders in which something is left to do, with one statement."""
    connection = session.connection()
    found = connection.execute(_unfinished(connection.dialect.name), {"ids": list(account_ids)})
    return set(found.scalars())


@functools.cache
def _unfinished(engine: str) -> Any:
    """Which accounts have folders in which something is left to do."""
    of_the_folder = select(_MESSAGES.c.id).where(_MESSAGES.c.folder_id == _FOLDER.id).correlate(_FOLDERS)
    # Leftovers, see rows.py. Of a folder that is being read into a new generation nobody says that it is complete.
    older = of_the_folder.where(_MESSAGES.c.generation < _FOLDER.generation).exists()
    newer = of_the_folder.where(_MESSAGES.c.generation > _FOLDER.generation).exists()
    unsettled = exists().select_from(textless.place_of(engine, "unsettled")).correlate(_FOLDERS)
    waits = or_(
        _FOLDER.is_wished,
        unsettled.where(column("folder_id", Integer) == _FOLDER.id, text("NOT is_settled")),
        textless.IS_SYNCED & or_(textless.some_wait(engine), older, newer),
    )
    return select(_FOLDER.account_id).where(_FOLDER.account_id.in_(_IDS), waits).distinct()
