"""Creates on the server the folders that people wished for, before a run reads anything.

It may run twice: a folder that is there already is found by the list that comes next. A server that refuses leaves the
wish and says why; the run goes on, ends partial, and the next one tries again until the wish is taken back.
"""

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.mail.answers import Refused
from mailadmin.mail.types import Folder as Listed
from mailadmin.mail.types import Role
from mailadmin.sync.folders import is_storable
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder, PendingChange
from mailadmin.text import t


@runtime_checkable
class _Creating(Protocol):
    """A connection that can create folders: see mail/imap_write.py."""

    def create(self, path: str, role: Role | None = None) -> None: ...

    def place_for(self, name: str, listed: Sequence[Listed]) -> str: ...


def create_wished(going: Going, listed: Sequence[Listed]) -> bool:
    """Create what is wished for and not among `listed`; answers whether the list has to be read again.

    Raises MailError for what ends the conversation, Stopped and LeaseLost.
    """
    with db.reading() as session:
        query = select(Folder).where(Folder.account_id == going.account_id, Folder.is_wished)
        wished = session.scalars(query.order_by(Folder.path)).all()
    there = {folder.path for folder in listed}
    created = False
    for folder in wished:
        if folder.path not in there and isinstance(going.step(), _Creating):
            created = _created(going, folder, listed) or created
    return created


def _created(going: Going, folder: Folder, listed: Sequence[Listed]) -> bool:
    incoming = cast(_Creating, going.step())
    try:
        path = folder.path if _has_place(folder) else incoming.place_for(folder.name, listed)
        if not is_storable(path):
            _note(going, folder, t("The folder could not be created: the server wants a path that is none."))
            return False
        if path not in {other.path for other in listed}:
            incoming.create(path, folder.role)
    except Refused as refused:
        _note(going, folder, t("The folder could not be created: {why}", why=refused.detail or refused.message))
        return False
    _move(going, folder, path)
    return True


def _note(going: Going, folder: Folder, trouble: str) -> None:
    with going.writing() as session:
        row = session.get(Folder, folder.id)
        if row is not None:
            row.trouble, row.is_complete, row.synced_at = trouble, False, db.now()


def _move(going: Going, folder: Folder, path: str) -> None:
    """Let the row have the `path` under which the server will list the folder; a row that has it already takes over."""
    with going.writing() as session:
        row = session.get(Folder, folder.id)
        if row is None:  # The wish was taken back meanwhile; the new folder is found as any other.
            return
        same = Folder.account_id == row.account_id, Folder.path == path, Folder.id != row.id
        other = session.scalars(select(Folder).where(*same)).one_or_none()
        if other is not None:
            other.role, other.role_source, other.is_active = row.role, row.role_source, True
            _redirect(session, row, other)
            session.delete(row)
        else:
            row.path, row.trouble = path, ""


def _has_place(folder: Folder) -> bool:
    """Whether somebody said within which other folder it is to be."""
    return folder.role is None and bool(folder.delimiter) and folder.delimiter in folder.path


def _redirect(session: Session, row: Folder, other: Folder) -> None:
    """Let messages that were to be moved to the folder `row`, or copied into it, go to `other`."""
    for column in (PendingChange.target_id, PendingChange.folder_id):
        session.execute(update(PendingChange).where(column == row.id).values({column: other.id}))
    session.flush()
