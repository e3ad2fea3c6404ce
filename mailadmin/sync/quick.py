"""What need not be looked at again, and why that can be believed.

At the end of a complete pass the folder keeps four facts of the server: UIDVALIDITY, UIDNEXT, the number of messages
and HIGHESTMODSEQ, as they were before that pass read anything. HIGHESTMODSEQ grows with every change (RFC 7162 3.1.1),
so if all four are still the same, nothing has changed since, and the folder need not even be opened where the server
tells them unasked. If only UIDVALIDITY is the same, the server can be asked what changed since: that is everything that
changed since before the pass, so perhaps too much, never too little.

What is believed is counted. The messages that the server calls new are those from UIDNEXT on; what it calls gone is
taken out of our rows; then there must be as many rows as it has messages. If there are not, or the server contradicts
itself or us, everything is compared in the same pass. Flags alone cannot be counted, and a server may be wrong about
all of this; so once a day everything is compared in full, whatever the facts say: see audit.py.

The facts are taken away before the first change is stored, or with it, and come back at the end. A pass that breaks off
in between is followed by one that compares everything, and the sums of the folder, which are only moved by differences
here, are counted again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session

from mailadmin.mail.types import Changes, FolderState
from mailadmin.sync import rows
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder

MOST_GONE = 5000  # UIDs that the server calls gone, most of which may never have been


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed: the UIDs of `new` messages, newest first, and `flags` that are others now, by UID.

    `stored` are the flags as we have them of all that changed or is gone; `before` is the tally of these rows.
    """

    new: Sequence[int]
    flags: dict[int, str]
    stored: dict[int, str]
    before: tuple[int, int, int]


class Aimed(Protocol):
    """Whoever looks at folders within a window, such as a run."""

    @property
    def window_key(self) -> str:
        """The window as a text, to notice that it was changed."""


def is_unchanged(aimed: Aimed, folder: Folder, state: FolderState) -> bool:
    """Whether the folder is as it was at the end of its last complete pass."""
    return is_known(aimed, folder) and facts(folder) == (
        state.uidvalidity,
        state.uidnext,
        state.messages,
        state.modseq,
    )


def is_known(aimed: Aimed, folder: Folder) -> bool:
    """Whether the folder holds what the server had at a moment of which we have all facts, for the window of today."""
    if not folder.is_complete or folder.next_generation is not None or folder.window != aimed.window_key:
        return False
    return None not in facts(folder)


def facts(folder: Folder) -> tuple[int | None, ...]:
    """What the server told of the folder before its last complete pass."""
    return folder.uidvalidity, folder.uidnext, folder.messages, folder.modseq


def changes(going: Going, folder: Folder, state: FolderState) -> Changes | None:
    """What the server says that changed since the facts of the folder, which is open; None if it has to be compared."""
    if not is_known(going, folder) or folder.uidvalidity != state.uidvalidity or not state.modseq:
        return None
    assert folder.modseq is not None
    assert folder.uidnext is not None
    if state.modseq < folder.modseq or state.uidnext is None or state.uidnext < folder.uidnext:
        return None  # What only grows has shrunk.
    return going.step().changes(folder.modseq)


def difference(session: Session, folder: Folder, state: FolderState, told: Changes) -> Difference | None:
    """What `told` means for our rows, where all mail is wanted; None if it contradicts them, or does not say enough.

    What arrived after `state` was told is left to the next pass.
    """
    assert folder.uidnext is not None
    assert state.uidnext is not None
    new = sorted((uid for uid in told.flags if folder.uidnext <= uid < state.uidnext), reverse=True)
    older = {uid: rows.flag_text(flags) for uid, flags in told.flags.items() if uid < folder.uidnext}
    stored = rows.among(session, folder.id, folder.generation, list(older))
    if len(stored) != len(older):
        return None
    gone: dict[int, rows.Known] = {}
    if told.gone is not None:
        candidates = _within(told.gone, folder.uidnext)
        if candidates is None:
            return None
        gone = rows.among(session, folder.id, folder.generation, candidates)
    if gone.keys() & told.flags.keys() or folder.stored + len(new) - len(gone) != state.messages:
        return None
    flags = {uid: text for uid, text in older.items() if stored[uid].flags != text}
    touched = {uid: stored[uid] for uid in flags} | gone
    unread = sum(not known.is_read for known in touched.values())
    unreadable = sum(known.unreadable != "" for known in touched.values())
    stored_flags = {uid: known.flags for uid, known in touched.items()}
    return Difference(new, flags, stored_flags, (len(touched), unread, unreadable))


def _within(ranges: Iterable[tuple[int, int]], end: int) -> list[int] | None:
    """The UIDs of `ranges` below `end`, or None if they are too many to look for one by one."""
    found: list[int] = []
    for first, last in ranges:
        if min(last, end - 1) - first >= MOST_GONE - len(found):
            return None
        found.extend(range(first, min(last, end - 1) + 1))
    return found
