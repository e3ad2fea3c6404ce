"""Starting over: what was read of a folder, or of a whole account, is forgotten and read again from the server.

Nothing is deleted here. The folder's UIDVALIDITY is replaced by one that no server can have (RFC 3501 2.3.1.1: they are
above zero), so the next pass reads it into a new generation as if the server had renumbered it: people see the old list
until the new one is whole, whatever breaks off in between. Roles, choices, runs, tests and the activity stay.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.scrub import visible
from mailadmin.permissions import Actor
from mailadmin.sync.models import Folder
from mailadmin.text import t

NO_UIDVALIDITY = 0


def get_folder(session: Session, account: Account, folder_id: int) -> Folder:
    """The folder `folder_id` of `account`, if it is one that is synced. Raises NotFound."""
    folder = session.get(Folder, folder_id)
    if folder is None or folder.account_id != account.id or not _is_read(folder):
        raise NotFound(t("This folder is not synced, so there is nothing to read again."))
    return folder


def reinitialise(session: Session, account: Account, *, folder: Folder | None = None, actor: Actor) -> None:
    """Have `folder`, or all folders of `account` that are synced, read again from the beginning; ask for a run then.

    A run that goes on stops before its next batch, because the account gets a new version, and the next one follows at
    once; what it may still write belongs to the generation that is given up. Raises RuleBroken before the set-up ended.
    """
    session.flush()
    session.refresh(account, with_for_update={"of": Account})
    if not account.is_set_up:
        raise RuleBroken(t("This account is not set up yet, so nothing was read."))
    mine = (
        select(Folder)
        .where(Folder.account_id == account.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    wanted = [row for row in session.scalars(mine) if _is_read(row) and folder in (None, row)]
    for row in wanted:
        _forget(row)
    account.version += 1
    account.next_sync_at = account.next_sync_at and now()
    what = f"had {account.address} read again from the server"
    detail = visible(folder.path) if folder else "all folders"
    activity.record(session, actor, what, detail=detail, account_id=account.id)
    session.flush()


def _is_read(folder: Folder) -> bool:
    return folder.is_active and not folder.is_gone and not folder.is_wished


def _forget(folder: Folder) -> None:
    folder.is_complete = False
    if folder.uidvalidity is not None:
        folder.uidvalidity = NO_UIDVALIDITY
    if folder.next_uidvalidity is not None:
        folder.next_uidvalidity = NO_UIDVALIDITY  # What was begun is given up for a still newer generation.
