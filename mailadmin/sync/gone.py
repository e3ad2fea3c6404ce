"""Forgets folders that have not been on the server for a month, with the mail that was read from them.

A folder that is gone may come back: while somebody moves a mailbox, or because a server was ill. So it is kept for a
while, with all that people chose for it.
"""

import time
from datetime import timedelta

from sqlalchemy import delete, select, update

from mailadmin import db
from mailadmin.sync import rows
from mailadmin.sync.models import Folder

KEPT = timedelta(days=30)
BATCH = 2000


def forget_gone_folders(*, seconds: float = 3.0) -> None:
    """Forget what has been gone for a month, in batches, until `seconds` are over; the next time goes on.

    May run twice, and be killed: a folder whose mail was deleted in part is not called complete, so should it come back
    in this moment everything is read again.
    """
    until = time.monotonic() + seconds
    is_old = Folder.is_gone, Folder.is_wished.is_(False), Folder.listed_at < db.now() - KEPT
    while time.monotonic() < until:
        with db.transaction() as session:
            old = session.scalars(select(Folder.id).where(*is_old).order_by(Folder.id).limit(100)).all()
            if not old:
                return
            quiet = {"synchronize_session": False}
            doubted = update(Folder).where(Folder.id.in_(old)).values(is_complete=False, modseq=None)
            session.execute(doubted.execution_options(**quiet))
            if rows.delete_some(session, old, limit=BATCH) < BATCH:
                session.execute(delete(Folder).where(Folder.id.in_(old), *is_old).execution_options(**quiet))
