"""The beginning of a run: which folders there are, and which of them did not change and need not be opened.

One question for all of them. What it tells is compared with the facts that each folder kept of its last complete pass,
see quick.py; a folder of which it tells less than everything is opened.
"""

from collections.abc import Mapping

from sqlalchemy.orm import Session, lazyload

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import FolderState
from mailadmin.sync import quick, rows
from mailadmin.sync.folders import adopt_folders
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder
from mailadmin.sync.renames import follow_renames
from mailadmin.sync.wished import create_wished
from mailadmin.text import t


def survey(going: Going) -> set[int]:
    """Notice folders that have come, gone or been renamed, and create those that people wish for.

    Answers the ids of the folders in which nothing has changed; for them the pass is over. Raises MailError.
    """
    listed, states = going.step().survey()
    if not listed:
        raise MailError(Category.PROTOCOL, t("The server lists no folders, not even an inbox."))
    if create_wished(going, listed):
        listed, states = going.step().survey()
    follow_renames(going, listed, states)
    with going.writing() as session:
        account = session.get(Account, going.account_id, options=[lazyload("*")])
        if account is None:
            return set()
        return _settled(session, going, adopt_folders(session, account=account, listed=listed), states)


def _settled(session: Session, going: Going, folders: list[Folder], states: Mapping[str, FolderState]) -> set[int]:
    """The ids of those of `folders` that `states` show unchanged, after their rows say so."""
    known = {"INBOX" if path.upper() == "INBOX" else path: state for path, state in states.items()}
    active = [row for row in folders if row.is_active and not row.is_gone and not row.is_wished and row.path in known]
    unchanged = [row for row in active if quick.is_unchanged(going, row, known[row.path])]
    left = rows.with_leftovers(session, unchanged)
    done = [row for row in unchanged if row.id not in left]
    for row in done:
        row.synced_at, row.trouble, row.run_total, row.run_done = db.now(), "", 0, 0
    return {row.id for row in done}
