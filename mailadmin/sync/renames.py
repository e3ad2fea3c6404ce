"""Finds out which folders were only renamed on the server, so that they keep their messages and what people chose.

Where the server has a name of its own for each folder (OBJECTID, RFC 8474), that decides, whatever else has changed.
Elsewhere a folder that has gone and one that has come are the same if UIDVALIDITY, UIDNEXT and the number of messages
are, no other folder comes into question, and the newest messages are those that we have; the new folder is opened to
see that. UIDVALIDITY alone proves little: some servers have one number for all folders. What is doubtful is read anew.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.mail.answers import Refused
from mailadmin.mail.types import Envelope, FolderState
from mailadmin.mail.types import Folder as Listed
from mailadmin.sync.folders import PATH_LENGTH, is_storable, stored
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder, Message

LOOKED_AT = 5  # messages; distinct mail does not agree in all of them
MOST_OPENED = 20  # folders in one run

Facts = tuple[int | None, int | None, int | None]


def follow_renames(going: Going, listed: Sequence[Listed], states: Mapping[str, FolderState]) -> None:
    """Give the rows of folders that were renamed the paths that they have in `listed`. Raises MailError."""
    with db.reading() as session:
        rows = [row for row in stored(session, going.account_id) if not row.is_wished]
    known = {row.path for row in rows if row.uidvalidity is not None}  # Of the others only the name was ever seen.
    paths = [folder for folder in listed if is_storable(folder.path) and folder.path.upper() != "INBOX"]
    moves = by_id(rows, paths)
    new = [f for f in paths if f.path not in known and f.path not in moves.values() and f.selectable]
    there = {folder.path for folder in listed}
    gone = [row for row in rows if row.id not in moves and row.path not in there and row.path != "INBOX"]
    for row, path in by_likeness(gone, {f.path: states[f.path] for f in new if f.path in states}):
        if _holds_the_same(going, row, path):
            moves[row.id] = path
    if moves:
        with going.writing() as session:
            _move(session, going.account_id, moves)


def by_id(rows: Iterable[Folder], listed: Iterable[Listed]) -> dict[int, str]:
    """The new paths, by row, of folders whose object id stands at another path than before."""
    paths: dict[str, list[str]] = {}
    for folder in listed:
        if folder.object_id:
            paths.setdefault(folder.object_id, []).append(folder.path)
    sole = {name: found[0] for name, found in paths.items() if len(found) == 1}  # An id that comes twice is none.
    named = Counter(row.object_id for row in rows)
    return {
        row.id: sole[row.object_id]
        for row in rows
        if row.object_id in sole and sole[row.object_id] != row.path and named[row.object_id] == 1
    }


def by_likeness(gone: Iterable[Folder], new: Mapping[str, FolderState]) -> list[tuple[Folder, str]]:
    """Pairs of a folder that has gone and the path of one that has come, where no other comes into question."""
    rows: dict[Facts, list[Folder]] = {}
    for row in gone:
        if row.uidvalidity is not None and row.uidnext is not None and row.is_complete:
            rows.setdefault((row.uidvalidity, row.uidnext, row.messages), []).append(row)
    paths: dict[Facts, list[str]] = {}
    for path, state in new.items():
        paths.setdefault((state.uidvalidity, state.uidnext, state.messages), []).append(path)
    found = [(rows[facts][0], paths[facts][0]) for facts in rows if len(rows[facts]) == len(paths.get(facts, ())) == 1]
    return found[:MOST_OPENED]


def _holds_the_same(going: Going, row: Folder, path: str) -> bool:
    """Whether the newest messages of the folder `path` are those that we have of `row`; where there are none, yes."""
    with db.reading() as session:
        mine = Message.folder_id == row.id, Message.generation == row.generation, Message.unreadable == ""
        ours = session.scalars(select(Message).where(*mine).order_by(Message.uid.desc()).limit(LOOKED_AT)).all()
    if not ours:
        return not row.messages
    try:
        if going.step().examine(path).uidvalidity != row.uidvalidity:
            return False
        theirs = {envelope.uid: envelope for envelope in going.step().envelopes([message.uid for message in ours])}
    except Refused:
        return False
    return all(message.uid in theirs and _is_same(message, theirs[message.uid]) for message in ours)


def _is_same(ours: Message, theirs: Envelope) -> bool:
    same = ours.size == theirs.size and ours.received_at == theirs.received_at
    return same and ours.message_id == theirs.message_id and ours.subject == theirs.subject


def _move(session: Session, account_id: int, moves: Mapping[int, str]) -> None:
    """Store the new paths; folders may have changed places, and a row of a folder that is no more gives way."""
    rows = {row.path: row for row in stored(session, account_id)}
    moved = {row.id: row for row in rows.values() if row.id in moves}
    for row in moved.values():
        row.path = f"{row.id} is being renamed"
    session.flush()
    for id_, path in moves.items():
        other = rows.get(path)
        if other is None or other.id in moves:
            continue
        if other.uidvalidity is None:  # A list has told its name already, and perhaps somebody has chosen it.
            moved[id_].is_active |= other.is_active
            session.delete(other)
        else:
            other.path = f"{path[: PATH_LENGTH - 20]} ({other.id})"
            other.is_gone, other.object_id = True, ""
    session.flush()
    for id_, row in moved.items():
        row.path, row.is_gone = moves[id_], False
    session.flush()
