"""How our rows follow what the server did of the changes that it was told: see push.py."""

from collections.abc import Collection, Mapping, Sequence
from email.parser import BytesHeaderParser

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailadmin.db import now
from mailadmin.mail.imap_store import Placed
from mailadmin.sync import rows
from mailadmin.sync.changes import undo
from mailadmin.sync.models import ChangeKind, ChangeState, Folder, Message, PendingChange
from mailadmin.sync.overlay import kept
from mailadmin.sync.told import MOST_TRIES, End
from mailadmin.text import t


def message_id_of(content: bytes) -> str:
    """The Message-ID of a message of our own making, or nothing."""
    return str(BytesHeaderParser().parsebytes(content[:65_536]).get("Message-ID", "")).strip()


def note_ends(session: Session, changes: Sequence[PendingChange], ends: Mapping[int, End]) -> None:
    """Store how `changes` ended; what was refused is undone. One that was only put off too often is refused, too."""
    for change in changes:
        end = ends.get(change.id)
        if end is None:
            continue
        if end.state is ChangeState.WAITING and change.tries >= MOST_TRIES:
            end = End.refused(end.reason)
        change.reason = end.reason
        if end.state is ChangeState.WAITING:
            continue
        change.state, change.finished_at = end.state, now()
        if end.state is ChangeState.REFUSED:
            undo(session, change)
        else:
            change.content = None
    session.flush()


def take_flags(session: Session, folder: Folder, generation: int, flags: Mapping[int, Collection[str]]) -> None:
    """Store the server's flags by UID, with what still waits to be told."""
    before = rows.tally_among(session, folder.id, generation, list(flags))
    texts = {uid: rows.flag_text(words) for uid, words in flags.items()}
    rows.update_flags(session, folder.id, generation, kept(session, folder.id, generation, texts))
    after = rows.tally_among(session, folder.id, generation, list(flags))
    _count(session, folder.id, unread=after[1] - before[1])


def leave(
    session: Session, folder: Folder, target: Folder | None, changes: Sequence[PendingChange], placed: Placed
) -> set[int]:
    """Let the messages of `changes`, which left `folder`, be where they are now; answers what has to be read for it.

    Where the server told the new UIDs and the target is as we know it, the rows go along and nothing is read again.
    """
    moved = [change for change in changes if change.kind in (ChangeKind.MOVE, ChangeKind.DELETE) and change.uid]
    if not moved:
        return set()
    new = session.get(Folder, target.id) if target else None
    known = new is not None and new.uidvalidity == placed.uidvalidity and new.next_generation is None
    places = {uid: place for uid, place in placed.uids.items() if uid in {c.uid for c in moved}} if known else {}
    if new is not None and places:
        taken = rows.among(session, new.id, new.generation, list(places.values()))
        places = {uid: place for uid, place in places.items() if place not in taken} if new.is_active else {}
    generation, uids = moved[0].generation, [change.uid for change in moved if change.uid]
    stored, unread, unreadable = rows.tally_among(session, folder.id, generation, uids)
    _count(session, folder.id, stored=-stored, unread=-unread, unreadable=-unreadable)
    for change in moved:
        if change.uid and change.uid in places and new is not None:
            _settle(session, change, new, places[change.uid])
    left_behind = [uid for uid in uids if uid not in places]
    _void(session, [change for change in moved if change.uid in left_behind])
    rows.delete_uids(session, folder.id, generation, left_behind)
    if new is not None and places:
        _arrive(session, new, sorted(places.values()))
    return {new.id} if new is not None and left_behind and new.is_active else set()


def _settle(session: Session, change: PendingChange, target: Folder, uid: int) -> None:
    """Give the message of `change` its new place, also in what still waits to be told of it."""
    place = {"folder_id": target.id, "generation": target.generation, "uid": uid}
    old = Message.folder_id == change.folder_id, Message.generation == change.generation, Message.uid == change.uid
    session.execute(update(Message).where(*old).values(place).execution_options(synchronize_session=False))
    followers = PendingChange.message_id == change.message_id, PendingChange.state == ChangeState.WAITING
    waiting = update(PendingChange).where(*followers, PendingChange.id != change.id).values(place)
    session.execute(waiting.execution_options(synchronize_session=False))


def _void(session: Session, changes: Sequence[PendingChange]) -> None:
    """Refuse what still waits for messages whose new place the server did not tell."""
    ids = [change.message_id for change in changes if change.message_id]
    query = select(PendingChange).where(PendingChange.message_id.in_(ids), PendingChange.state == ChangeState.WAITING)
    reason = t("It was moved, and the server did not say where to. Look for it there and try again.")
    for change in session.scalars(query):
        change.state, change.reason, change.finished_at = ChangeState.REFUSED, reason, now()
    session.flush()


def _arrive(session: Session, target: Folder, uids: Sequence[int]) -> None:
    """Count the messages that came to `target`; if they are the next ones, its facts of the server know them, too."""
    stored, unread, unreadable = rows.tally_among(session, target.id, target.generation, uids)
    _count(session, target.id, stored=stored, unread=unread, unreadable=unreadable)
    session.refresh(target)
    if target.uidnext == uids[0] and uids[-1] - uids[0] + 1 == len(uids) and target.messages is not None:
        target.uidnext, target.messages = uids[-1] + 1, target.messages + len(uids)
    else:
        target.modseq = None  # The next pass compares everything.
    session.flush()


def _count(session: Session, folder_id: int, **more: int) -> None:
    values = {name: getattr(Folder, name) + number for name, number in more.items() if number}
    if values:
        statement = update(Folder).where(Folder.id == folder_id).values(values)
        session.execute(statement.execution_options(synchronize_session=False))
