"""Which generation of a folder a pass is about, and what it knows while it goes on; see passes.py."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlalchemy import Table, Update, bindparam, select, update
from sqlalchemy.orm import Session

from mailadmin.mail.types import Envelope, FolderState
from mailadmin.sync import rows
from mailadmin.sync.going import FolderTrouble, Going
from mailadmin.sync.models import Folder
from mailadmin.text import t

_HIGHEST = 2**32 - 1
_FOLDERS: Table = Folder.__table__  # type: ignore[assignment]
_ROW = select(_FOLDERS).where(_FOLDERS.c.id == bindparam("of_folder"))
_NOTHING: Mapping[str, int] = {}


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


def begin(going: Going, folder: Folder, state: FolderState, total: int | None = None) -> Pass:
    """Decide which generation is read, and store the decision; `total` is how much there is to read, if it is known."""
    with going.writing() as session:
        row = row_of(session, folder.id)
        if row is None:
            raise _removed()
        aimed: dict[str, Any] = {"run_total": total, "run_done": 0, "first_uid": row.first_uid}
        if row.window != going.window_key:
            aimed |= {"window": going.window_key, "first_uid": None, "is_complete": False}
        aimed |= _aim(session, row, state.uidvalidity)
        change(session, row, **aimed)
        next_one = aimed.get("next_generation")
        generation = row.generation if next_one is None else next_one
        return Pass(going, row, state, generation, aimed["first_uid"])


def _aim(session: Session, row: Folder, uidvalidity: int) -> dict[str, Any]:
    """What says which generation to read: that which people see, the next one that was begun, or a new next one."""
    if row.uidvalidity in (None, uidvalidity):
        return {"uidvalidity": uidvalidity, "next_generation": None, "next_uidvalidity": None}
    if row.next_generation is not None and row.next_uidvalidity == uidvalidity:
        return {"is_complete": False, "next_generation": row.next_generation}
    unused = rows.unused_generation(session, row.id, max(row.generation, row.next_generation or 0))
    new = {"next_generation": unused, "next_uidvalidity": uidvalidity, "first_uid": None}
    return {"is_complete": False, **new}


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


def row_of(session: Session, folder_id: int) -> Folder | None:
    """The folder as it is in this transaction, to be read only; an object of the session would cost twice as much."""
    return cast(Folder | None, session.connection().execute(_ROW, {"of_folder": folder_id}).one_or_none())


def change(session: Session, folder: Folder, more: Mapping[str, int] = _NOTHING, /, **values: Any) -> None:
    """Give columns of the folder's row other values, or `more` than there is, in this transaction.

    Raises FolderTrouble when the row is gone.
    """
    new = {f"new_{name}": value for name, value in (*values.items(), *more.items())}
    done = session.connection().execute(_changing(tuple(values), tuple(more)), new | {"of_folder": folder.id})
    if not done.rowcount:
        raise _removed()


@functools.cache
def _changing(names: tuple[str, ...], sums: tuple[str, ...]) -> Update:
    """The statement that does it, for there are few and to write one takes longer than to execute it."""
    column = _FOLDERS.c
    values = {name: bindparam(f"new_{name}", type_=column[name].type) for name in (*names, *sums)}
    values |= {name: column[name] + values[name] for name in sums}  # type: ignore[misc]
    return update(_FOLDERS).where(column.id == bindparam("of_folder")).values(values)


def _removed() -> FolderTrouble:
    return FolderTrouble(t("The folder was removed."))
