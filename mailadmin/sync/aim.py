"""Which generation of a folder a pass is about, and what it knows while it goes on; see passes.py."""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Table, update
from sqlalchemy.orm import Session

from mailadmin.mail.types import Envelope, FolderState
from mailadmin.sync import rows
from mailadmin.sync.going import FolderTrouble, Going
from mailadmin.sync.models import Folder
from mailadmin.text import t

_HIGHEST = 2**32 - 1
_FOLDERS: Table = Folder.__table__  # type: ignore[assignment]


class Renumbered(Exception):
    """The folder has another UIDVALIDITY than a moment ago."""


@dataclass(slots=True)
class Pass:
    """What a pass knows. `listing` is flags by UID, as the server has them; `stored` the same, as we had them."""

    going: Going
    folder: Folder
    state: FolderState
    generation: int
    first_uid: int | None
    is_whole: bool = False  # the list is as long as the server says that it must be
    listing: dict[int, str] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)
    stored: dict[int, str] = field(default_factory=dict)
    doubtful: dict[int, Envelope | None] = field(default_factory=dict)  # asked for, and not delivered readable
    before: tuple[int, int, int] | None = None  # the tally of what changes, where nothing else is looked at

    @property
    def is_successor(self) -> bool:
        """Whether this generation is still to take the place of the one that people see."""
        return self.generation != self.folder.generation


def opened(going: Going, path: str) -> FolderState:
    state = going.step().examine(path)
    if not 0 < state.uidvalidity <= _HIGHEST:
        raise FolderTrouble(t("The server does not say which numbering of messages it uses (UIDVALIDITY)."))
    uidnext = state.uidnext if state.uidnext and state.uidnext <= _HIGHEST else None
    return replace(state, uidnext=uidnext, modseq=state.modseq or None)


def reopened(this: Pass) -> FolderState:
    state = opened(this.going, this.folder.path)
    if state.uidvalidity != this.state.uidvalidity:
        raise Renumbered
    return state


def begin(going: Going, folder: Folder, state: FolderState) -> Pass:
    """Decide which generation is read, and store the decision."""
    with going.writing() as session:
        row = row_of(session, folder)
        if row.window != going.window_key:
            row.window, row.first_uid, row.is_complete = going.window_key, None, False
        generation = _aim(session, row, state.uidvalidity)
        row.run_total, row.run_done = None, 0
        return Pass(going, row, state, generation, row.first_uid)


def _aim(session: Session, row: Folder, uidvalidity: int) -> int:
    """The generation to read: the one that people see, the next one that was begun, or a new next one."""
    if row.uidvalidity is None:
        row.uidvalidity = uidvalidity
    if row.uidvalidity == uidvalidity:
        row.next_generation = row.next_uidvalidity = None
        return row.generation
    row.is_complete = False
    if row.next_generation is None or row.next_uidvalidity != uidvalidity:
        row.next_generation = rows.unused_generation(session, row.id, max(row.generation, row.next_generation or 0))
        row.next_uidvalidity, row.first_uid = uidvalidity, None
    return row.next_generation


def listed(going: Going) -> dict[int, str]:
    texts: dict[frozenset[str], str] = {}
    listing = {}
    for uid, flags in going.step().flags().items():
        if 0 < uid <= _HIGHEST:
            if flags not in texts:
                texts[flags] = rows.flag_text(flags)
            listing[uid] = texts[flags]
    return listing


def listed_uids(going: Going) -> list[int]:
    """The UIDs of all messages that the server lists, without impossible ones."""
    return [uid for uid in going.step().search() if 0 < uid <= _HIGHEST]


def change(session: Session, folder: Folder, **values: Any) -> None:
    """Give columns of the folder's row other values, or sums with what is there, in this transaction.

    Without the row itself, which `row_of` would read and compare. Raises FolderTrouble when it is gone.
    """
    done = session.connection().execute(update(_FOLDERS).where(_FOLDERS.c.id == folder.id).values(values))
    if not done.rowcount:
        raise _removed()


def row_of(session: Session, folder: Folder) -> Folder:
    """The folder's row in this transaction. Raises FolderTrouble when it is gone."""
    row = session.get(Folder, folder.id)
    if row is None:
        raise _removed()
    return row


def _removed() -> FolderTrouble:
    return FolderTrouble(t("The folder was removed."))
