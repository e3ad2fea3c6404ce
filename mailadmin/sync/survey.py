"""The beginning of a run: which folders there are, and which of them did not change and need not be opened.

One question for all of them. Where the list is as it was, it is only noted that the server has told it. What it tells
of each folder is compared with the facts that this folder kept of its last complete pass, see quick.py; a folder of
which it tells less than everything is opened.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session, lazyload

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import FolderState
from mailadmin.sync import quick, rows
from mailadmin.sync.folders import adopt_folders, is_as_listed
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder
from mailadmin.sync.renames import follow_renames
from mailadmin.sync.wished import create_wished
from mailadmin.text import t

_FOLDERS: Table = Folder.__table__  # type: ignore[assignment]
# Made once, for every run asks this, and to write a statement takes longer than to execute it.
_STORED = select(_FOLDERS).where(_FOLDERS.c.account_id == bindparam("of_account"))
_LISTED = update(_FOLDERS).where(_FOLDERS.c.account_id == bindparam("of_account")).values(listed_at=bindparam("moment"))
_PASSED = (
    update(_FOLDERS)
    .where(_FOLDERS.c.id.in_(bindparam("ids", expanding=True)))
    .values(synced_at=bindparam("moment"), trouble="", run_total=0, run_done=0)
)


def survey(going: Going) -> set[int]:
    """Notice folders that have come, gone or been renamed, and create those that people wish for.

    Answers the ids of the folders in which nothing has changed; for them the pass is over. Raises MailError.
    """
    listed, states = going.step().survey()
    if not listed:
        raise MailError(Category.PROTOCOL, t("The server lists no folders, not even an inbox."))
    with going.writing() as session:
        stored: Any = session.connection().execute(_STORED, {"of_account": going.account_id}).all()
        if not any(row.is_wished or row.is_gone for row in stored) and is_as_listed(stored, listed):
            session.connection().execute(_LISTED, {"of_account": going.account_id, "moment": db.now()})
            return _settled(session, going, stored, states)
    if create_wished(going, listed):
        listed, states = going.step().survey()
    follow_renames(going, listed, states)
    with going.writing() as session:
        account = session.get(Account, going.account_id, options=[lazyload("*")])
        if account is None:
            return set()
        return _settled(session, going, adopt_folders(session, account=account, listed=listed), states)


def _settled(session: Session, going: Going, folders: Sequence[Folder], states: Mapping[str, FolderState]) -> set[int]:
    """The ids of those of `folders` that `states` show unchanged, after their rows say so."""
    known = {"INBOX" if path.upper() == "INBOX" else path: state for path, state in states.items()}
    active = [row for row in folders if row.is_active and not row.is_gone and not row.is_wished and row.path in known]
    unchanged = [row for row in active if quick.is_unchanged(going, row, known[row.path])]
    going.littered = rows.with_leftovers(session, [row for row in folders if row.is_active])
    ids = {row.id for row in unchanged} - going.littered
    if ids:
        session.connection().execute(_PASSED, {"ids": list(ids), "moment": db.now()})
    return ids
