"""Talks to the server about changes that are alike, so that each of them has an end: see push.py."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, cast, runtime_checkable

from sqlalchemy import select

from mailadmin import db
from mailadmin.db import now
from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category
from mailadmin.mail.imap_store import Likeness, Opened, Placed
from mailadmin.mail.types import FolderState
from mailadmin.sync import followed
from mailadmin.sync.going import Going
from mailadmin.sync.models import ChangeKind, Folder, Message, PendingChange
from mailadmin.sync.told import End, refusal
from mailadmin.text import t

_OF_THE_RUN = {Category.AUTH, Category.OAUTH, Category.THROTTLED}
_DELETED = "\\deleted"
FILED_AFTER = timedelta(seconds=2)
_LOOK_SECONDS = 0.3


@runtime_checkable
class Writable(Protocol):
    """A connection that can change messages: see mail/imap_store.py and mail/imap_write.py."""

    can_move: bool

    def examine(self, path: str) -> FolderState: ...

    def select(self, path: str) -> Opened: ...

    def store(
        self, uids: Collection[int], *, added: str = "", removed: str = "", unchanged_since: int | None = None
    ) -> set[int]: ...

    def flags_of(self, uids: Collection[int]) -> dict[int, frozenset[str]]: ...

    def move(self, uids: Collection[int], path: str) -> Placed: ...

    def copy(self, uids: Collection[int], path: str) -> Placed: ...

    def expunge(self, uids: Collection[int]) -> bool: ...

    def likeness(self, uid: int, message_id: str = "") -> Likeness | None: ...

    def find_alike(self, like: Likeness) -> list[int]: ...

    def holds(self, path: str, message_id: str) -> bool: ...

    def append(self, path: str, message: bytes, *, flags: Sequence[str], moment: datetime) -> int | None: ...


@dataclass(slots=True)
class Batch:
    """Changes that are alike. `folder` is where the messages are, `target` where they go."""

    going: Going
    folder: Folder
    target: Folder | None
    changes: list[PendingChange]
    ends: dict[int, End] = field(default_factory=dict)  # by change
    flags: dict[int, frozenset[str]] = field(default_factory=dict)  # by UID, as the server has them afterwards
    placed: Placed = field(default_factory=Placed)

    @property
    def kind(self) -> ChangeKind:
        """What all of them are."""
        return self.changes[0].kind

    @property
    def by_uid(self) -> dict[int, PendingChange]:
        """Those that have no end yet; each message is in a batch once."""
        return {change.uid: change for change in self.changes if change.uid and change.id not in self.ends}

    def end(self, uids: Collection[int], end: End) -> None:
        """That is the end of those of `uids` that have none yet."""
        for uid, change in self.by_uid.items():
            if uid in uids:
                self.ends[change.id] = end

    def step(self) -> Writable:
        """The connection, with time for one more question. Raises Stopped, LeaseLost."""
        return cast(Writable, self.going.step())


def tell(batch: Batch) -> None:
    """Talk to the server about one batch; whatever it refuses is an end, or none yet. Raises MailError otherwise."""
    try:
        if batch.kind is ChangeKind.APPEND:
            _append(batch)
        elif _is_open(batch):
            {ChangeKind.FLAGS: _flag, ChangeKind.MOVE: _move, ChangeKind.DELETE: _delete}[batch.kind](batch)
    except Refused as refused:
        if refused.category in _OF_THE_RUN:
            raise
        for change in batch.changes:
            if change.id not in batch.ends:
                batch.ends[change.id] = refusal(refused, change, batch.target or batch.folder)


def _is_open(batch: Batch) -> bool:
    """Open the folder, if it is the one that people saw and lets itself be changed; otherwise all has an end."""
    folder, said = batch.folder, ""
    for row in filter(None, (folder, batch.target)):
        if row.is_wished:
            said = row.trouble
        elif row.is_gone or row.locked:
            said = t("The folder “{name}” is not on the server any more.", name=row.name)
    generation = batch.changes[0].generation
    if not said:
        opened = batch.step().select(folder.path)
        if opened.uidvalidity != folder.uidvalidity or generation != folder.generation:
            said = t("The server has numbered the messages of “{name}” anew meanwhile.", name=folder.name)
        elif opened.is_read_only:
            said = t("The server only lets “{name}” be read.", name=folder.name)
        elif not all(opened.keeps(flag) for flag in (batch.changes[0].added + " " + batch.changes[0].removed).split()):
            said = t("The server does not keep this mark in “{name}”.", name=folder.name)
    if said:
        batch.end(list(batch.by_uid), End.refused(said))
    return not said


def _flag(batch: Batch) -> None:
    change, step = batch.changes[0], batch.step()
    uids = list(batch.by_uid)
    touched = step.store(uids, added=change.added, removed=change.removed, unchanged_since=batch.folder.modseq)
    if touched:  # Somebody else changed these, too.
        batch.flags = batch.step().flags_of(touched)
        deleted = {uid for uid, flags in batch.flags.items() if _is_deleted(flags)}
        batch.end(deleted, End.refused(t("Somebody else has deleted it meanwhile.")))
        left = touched & batch.flags.keys() - deleted
        if left:
            batch.step().store(left, added=change.added, removed=change.removed)
    batch.flags = batch.step().flags_of(uids)
    batch.end(set(uids) - batch.flags.keys(), End.refused(t("It is not on the server any more.")))
    wanted, unwanted = set(change.added.lower().split()), set(change.removed.lower().split())
    lower = {uid: {flag.lower() for flag in flags} for uid, flags in batch.flags.items()}
    batch.end({uid for uid, words in lower.items() if wanted <= words and not unwanted & words}, End.done())
    batch.end(lower, End.refused(t("The server did not keep the change.")))


def _is_deleted(flags: Collection[str]) -> bool:
    return any(flag.lower() == _DELETED for flag in flags)


def _move(batch: Batch) -> None:
    assert batch.target is not None
    present = _present(batch)
    if not present:
        return
    if batch.step().can_move:
        batch.placed = batch.step().move(present, batch.target.path)
        left = batch.step().flags_of(present).keys()
        batch.end(set(present) - left, End.done())
        batch.end(left, End.later(t("The server did not move it.")))
        return
    copied = _copies(batch, present)
    fresh = [uid for uid in present if uid not in copied]
    if fresh:
        placed = batch.step().copy(fresh, batch.target.path)
        # Whoever was not copied must not be deleted. A server that does not tell copies all that are there, or none.
        copied |= placed.uids if placed.uids else dict.fromkeys(fresh, 0)
        batch.placed = Placed(placed.uidvalidity, {uid: new for uid, new in copied.items() if new})
    batch.step().store(copied, added="\\Deleted")
    _expunge(batch, list(copied))


def _present(batch: Batch) -> list[int]:
    """The messages that are in the folder now. Those that are not and were tried before have arrived where they go."""
    present = batch.step().flags_of(list(batch.by_uid))
    for uid, change in batch.by_uid.items():
        if uid not in present:
            is_told = change.tries > 0
            batch.end([uid], End.done() if is_told else End.refused(t("It is not on the server any more.")))
    return sorted(present)


def _copies(batch: Batch, present: Sequence[int]) -> dict[int, int]:
    """The copies that an earlier try has left in the target, by the UID of what was copied; for most there was none."""
    assert batch.target is not None
    tried = [uid for uid in present if batch.by_uid[uid].tries > 0]
    if not tried:
        return {}
    names = _message_ids(batch, tried)
    likes = {uid: batch.step().likeness(uid, names.get(uid, "")) for uid in tried}
    batch.step().examine(batch.target.path)
    found: dict[int, int] = {}
    for uid, like in likes.items():
        alike = [new for new in batch.step().find_alike(like) if new not in found.values()] if like else []
        if alike:
            found[uid] = alike[-1]
    batch.step().select(batch.folder.path)
    return found


def _message_ids(batch: Batch, uids: Sequence[int]) -> dict[int, str]:
    ids = {batch.by_uid[uid].message_id: uid for uid in uids}
    with db.reading() as session:
        query = select(Message.id, Message.message_id).where(Message.id.in_([id_ for id_ in ids if id_]))
        return {ids[id_]: name for id_, name in session.execute(query)}


def _delete(batch: Batch) -> None:
    uids, base = list(batch.by_uid), _known_flags(batch)
    touched = batch.step().store(uids, added="\\Deleted", unchanged_since=batch.folder.modseq)
    if touched:
        now = batch.step().flags_of(touched)
        same = {uid for uid, flags in now.items() if _visible(flags) == _visible(base.get(uid, "").split())}
        said = t("Somebody else has changed it on the server meanwhile, so it was not deleted.")
        batch.end(now.keys() - same, End.refused(said))
        if same:
            batch.step().store(same, added="\\Deleted")
        uids = [uid for uid in uids if uid not in now or uid in same]
    if uids:
        _expunge(batch, uids)


def _known_flags(batch: Batch) -> dict[int, str]:
    ids = [change.message_id for change in batch.changes if change.message_id]
    with db.reading() as session:
        return dict(session.execute(select(Message.uid, Message.flags).where(Message.id.in_(ids))).all())


def _visible(flags: Collection[str]) -> set[str]:
    return {flag.lower() for flag in flags} - {"\\recent", _DELETED}


def _expunge(batch: Batch, uids: Sequence[int]) -> None:
    """Remove what is marked as deleted; where the server cannot remove single messages, they are not shown here."""
    if batch.step().expunge(uids):
        batch.end(uids, End.done())
        return
    batch.flags = batch.step().flags_of(uids)
    batch.end(set(uids) - batch.flags.keys(), End.done())
    said = t("The server cannot remove single messages. It is marked as deleted there, and not shown here any more.")
    batch.end(batch.flags.keys(), End.done(said))


def _append(batch: Batch) -> None:
    change, folder = batch.changes[0], batch.folder
    name = followed.message_id_of(change.content or b"")
    if name and (change.tries > 0 or change.target_id is not None) and _is_there(batch, name):
        batch.ends[change.id] = End.done()
        return
    moment = change.requested_at
    batch.step().append(folder.path, change.content or b"", flags=("\\Seen",), moment=moment)
    batch.ends[change.id] = End.done()


def _is_there(batch: Batch, message_id: str) -> bool:
    """Whether the folder has a copy; a server that files its own has a moment for it, from the wish on."""
    until = batch.changes[0].requested_at + FILED_AFTER
    while not (found := batch.step().holds(batch.folder.path, message_id)) and now() < until:
        time.sleep(_LOOK_SECONDS)
    return found
