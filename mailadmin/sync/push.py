"""Tells the server what people did here: before a run reads, between its folders, and at its end.

How it works. What waits is taken in the order in which it was asked for, one change of each message at a time, and what
is alike (folder, kind, flags, target) goes into one command, see telling.py. Before a change is told, a transaction
notes the try; after it, another notes the end and lets the rows follow (followed.py). So a run may be killed anywhere,
and the next one tells again what has no end yet.

Why nothing is lost or doubled by telling twice. Flags and deletions are the same however often they are told. A message
that was tried before and is not in its folder any more was moved. Where a move is a copy and a deletion, because the
server knows no MOVE, a second try first looks in the target for the copy: a message of the same size, INTERNALDATE and
Message-ID; if there is one, only the deletion is left to do. An APPEND is looked for by its Message-ID. Messages are
only removed by UID EXPUNGE, which names them; without it they stay on the server, marked as deleted, and are not shown.

Who wins. The server. A message that is not there any more, or was numbered anew, is not what the person saw; one that
somebody else deleted gets no flag; one whose flags somebody else changed is not deleted for good. Flags that different
people set do not contradict each other and are all kept. What is refused is undone here and stays as a row with a
reason until the person has seen it. What the server only refuses for now waits for the next run, a few times.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

from sqlalchemy import select, update

from mailadmin import db
from mailadmin.sync import followed
from mailadmin.sync.changes import distrust
from mailadmin.sync.going import Going
from mailadmin.sync.models import ChangeKind, ChangeState, Folder, PendingChange
from mailadmin.sync.telling import Batch, Writable, tell
from mailadmin.sync.told import MOST_TRIES, End
from mailadmin.text import t

AT_ONCE = 500
LOOK_SECONDS = 1.0


class Interrupted(Exception):
    """Somebody waits for the server to be told of something; what is being done can go on after that."""


def give_way(going: Going) -> None:
    """In the middle of long work: let what waits be told first. Raises Interrupted, once a second at most."""
    if time.monotonic() - going.looked_at < LOOK_SECONDS or not isinstance(going.incoming, Writable):
        return
    going.looked_at = time.monotonic()
    if any(True for _ in _batches(going)):
        raise Interrupted


def between(going: Going, work: Callable[[Going], None]) -> None:
    """Do `work`, which gives way and goes on where it was, and tell the server in between what people ask for."""
    while True:
        try:
            return work(going)
        except Interrupted:
            going.again |= push(going)


def push(going: Going) -> set[int]:
    """Tell the server what waits, as far as this run has not tried; the ids of folders that have to be read for it.

    Raises MailError for what ends the conversation, Stopped and LeaseLost.
    """
    again, going.again = going.again, set()
    if not isinstance(going.incoming, Writable):
        return again
    while batches := list(_batches(going)):
        for batch in batches:
            going.told |= {change.id for change in batch.changes}
            if _begin(batch):
                _give_up(batch)
                if batch.by_uid or (batch.kind is ChangeKind.APPEND and not batch.ends):
                    tell(batch)
                again |= _finish(batch)
    return again


def _batches(going: Going) -> Iterator[Batch]:
    """What comes next: of each message its first change that waits, if this run has not tried it.

    Nothing is read for it if nothing waited when the account was last looked at, as each transaction of a run does.
    """
    if not going.is_asked:
        return
    with db.reading() as session:
        query = select(PendingChange).where(
            PendingChange.account_id == going.account_id, PendingChange.state == ChangeState.WAITING
        )
        waiting = session.scalars(query.order_by(PendingChange.id)).all()
        ids = {id_ for change in waiting for id_ in (change.folder_id, change.target_id) if id_}
        folders = {row.id: row for row in session.scalars(select(Folder).where(Folder.id.in_(ids)))}
    first: dict[object, PendingChange] = {}
    for change in waiting:
        place = (change.folder_id, change.generation, change.uid) if change.uid else change.id
        first.setdefault(place, change)
    ready = [c for c in first.values() if c.id not in going.told and not _waits_for_a_folder(c, folders)]
    ready.sort(key=_likeness)
    for _, alike in groupby(ready, key=_likeness):
        changes = sorted(alike, key=lambda change: change.uid or change.id)
        for start in range(0, len(changes), AT_ONCE):
            some = changes[start : start + AT_ONCE]
            target = folders.get(some[0].target_id or 0)
            yield Batch(going, folders[some[0].folder_id], target, some)


def _likeness(change: PendingChange) -> tuple[object, ...]:
    # What was tried in vain goes by itself: it may be what makes the server hang up.
    alone = change.id if change.kind is ChangeKind.APPEND or change.tries > 1 else 0
    return (
        change.folder_id,
        change.generation,
        change.kind,
        change.added,
        change.removed,
        change.target_id or 0,
        alone,
    )


def _waits_for_a_folder(change: PendingChange, folders: Mapping[int, Folder]) -> bool:
    """Whether a folder has to be created first, and it was not refused yet."""
    rows = [folders[id_] for id_ in (change.folder_id, change.target_id or 0) if id_ in folders]
    return any(row.is_wished and not row.trouble for row in rows)


def _begin(batch: Batch) -> bool:
    """Note the try of those that still wait; False if none does."""
    with batch.going.writing() as session:
        ids = [change.id for change in batch.changes]
        still = set(
            session.scalars(
                select(PendingChange.id)
                .where(PendingChange.id.in_(ids), PendingChange.state == ChangeState.WAITING)
                .with_for_update()
            )
        )
        statement = update(PendingChange).where(PendingChange.id.in_(still)).values(tries=PendingChange.tries + 1)
        session.execute(statement.execution_options(synchronize_session=False))
    batch.changes = [change for change in batch.changes if change.id in still]
    return bool(batch.changes)


def _give_up(batch: Batch) -> None:
    """What broke the conversation each time is not told once more."""
    for change in batch.changes:
        if change.tries >= MOST_TRIES:
            said = t("The connection broke each time when the server was told. Nothing is told any more.")
            batch.ends[change.id] = End.refused(said)


def _finish(batch: Batch) -> set[int]:
    """Note the ends and let the rows follow; the ids of folders that have to be read for it."""
    with batch.going.writing() as session:
        ids = [change.id for change in batch.changes]
        query = select(PendingChange).where(PendingChange.id.in_(ids), PendingChange.state == ChangeState.WAITING)
        found = session.scalars(query.with_for_update()).all()
        ends = {change.id: batch.ends[change.id] for change in found if change.id in batch.ends}
        followed.note_ends(session, found, ends)
        batch.going.count(pushed=sum(end.is_done for end in ends.values()))
        if batch.kind is ChangeKind.FLAGS or batch.flags:
            followed.take_flags(session, batch.folder, batch.changes[0].generation, batch.flags)
        done = [change for change in found if change.id in ends and ends[change.id].is_gone]
        again = followed.leave(session, batch.folder, batch.target, done, batch.placed)
        refused = [change for change in found if change.state is ChangeState.REFUSED]
        if refused:
            distrust(session, [batch.folder.id])
            again.add(batch.folder.id)
        if batch.kind is ChangeKind.APPEND:
            again.add(batch.folder.id)
        return again
