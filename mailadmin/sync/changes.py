"""What people ask for: read, flagged, answered, another folder, deleted, a new folder, a copy in Sent.

Each wish is done here at once and kept as a row until a run has told the server (push.py). Whoever changes rows of mail
locks the account first, as every transaction of a run does (going.py), so a run never stores what the server said
before over what a person did meanwhile. Wishes that have not been told yet are changed rather than followed by others:
read and unread again is nothing, and a message that is moved on goes straight to its last place.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session, lazyload

from mailadmin.accounts.models import Account, Health
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Role, ServerProtocol
from mailadmin.organisation import service as organisation
from mailadmin.permissions import Actor
from mailadmin.sync import rows
from mailadmin.sync.models import ChangeKind, ChangeState, Folder, Message, PendingChange, SyncRun
from mailadmin.sync.new_folders import wish_role
from mailadmin.sync.overlay import going_to, merged, undone
from mailadmin.sync.service import request_run
from mailadmin.text import t

MOST_AT_ONCE = 500
LARGEST_COPY = 50_000_000  # bytes of a message that waits to be filed
DONE_FOR, REFUSED_FOR = timedelta(days=1), timedelta(days=30)
_CHANGE: Any = PendingChange.__table__.c
_UNTRIED = (
    select(_CHANGE.id)
    .where(_CHANGE.account_id == bindparam("of_account"), _CHANGE.state == ChangeState.WAITING, _CHANGE.tries == 0)
    .limit(1)
)
FLAGS = {"read": "\\Seen", "flagged": "\\Flagged", "answered": "\\Answered"}


def why_not(account: Account) -> str:
    """Why nothing of this account can be changed, as a sentence; empty where it can."""
    if account.protocol is ServerProtocol.POP3:
        return t("This account is read over POP3, which knows no folders and no flags: nothing can be changed there.")
    return ""


# What people do to messages.


def mark(
    session: Session, account: Account, *, messages: Collection[int], flag: str, is_set: bool, actor: Actor
) -> int:
    """Set or clear `flag`, a name of `FLAGS`; answers how many of `messages` had it otherwise. Raises RuleBroken."""
    found = _chosen(session, account, messages)
    word = FLAGS[flag]
    changed = [m for m in found if (word.lower() in m.flags.lower().split()) != is_set]
    earlier = _not_told(session, changed, ChangeKind.FLAGS)
    for message in changed:
        wish = _wish(account, message, ChangeKind.FLAGS, actor)
        wish.added, wish.removed = (word, "") if is_set else ("", word)
        text = merged(message.flags, wish)
        old = earlier.get(message.id)
        if old is None:
            session.add(wish)
        elif _is_nothing(_joined(old, wish)):
            session.delete(old)
        rows.update_flags(session, message.folder_id, message.generation, {message.uid: text})
        if flag == "read":
            _count_unread(session, message.folder_id, -1 if is_set else 1)
    session.flush()
    session.expire_all()
    return len(changed)


def _joined(old: PendingChange, new: PendingChange) -> PendingChange:
    """`old`, which the server has not been told, with `new` after it; what they undo of each other is left out."""
    added, removed = set(old.added.split()), set(old.removed.split())
    more, less = set(new.added.split()), set(new.removed.split())
    old.added = " ".join(sorted((added | (more - removed)) - less))
    old.removed = " ".join(sorted((removed | (less - added)) - more))
    return old


def _is_nothing(wish: PendingChange) -> bool:
    return not wish.added and not wish.removed


def move(session: Session, account: Account, *, messages: Collection[int], target_id: int, actor: Actor) -> int:
    """Have the `messages` moved to a folder of the account; answers how many were elsewhere. Raises RuleBroken."""
    found = _chosen(session, account, messages)
    target = session.get(Folder, target_id)
    if target is None or target.account_id != account.id or target.is_gone:
        raise RuleBroken(t("This folder is not on the server any more. Choose another one."))
    if target.locked:
        raise RuleBroken(t("“{name}” holds no mail. Choose another folder.", name=target.name))
    return _move(session, account, found, target, actor)


def _move(session: Session, account: Account, found: Sequence[Message], target: Folder, actor: Actor) -> int:
    leaving = going_to(session, [message.id for message in found])
    moved = 0
    for message in found:
        wish = leaving.get(message.id)
        if target.id == (wish.target_id if wish else message.folder_id):
            continue
        moved += 1
        if wish is not None and wish.tries == 0:
            wish.kind, wish.target_id = ChangeKind.MOVE, target.id
            if target.id == message.folder_id:
                session.delete(wish)
        else:
            wish = _wish(account, message, ChangeKind.MOVE, actor)
            wish.target_id = target.id
            session.add(wish)
    session.flush()
    return moved


def remove(session: Session, account: Account, *, messages: Collection[int], actor: Actor) -> int:
    """Have the `messages` moved to Trash, which the next run creates if there is none. Raises RuleBroken.

    What is there already stays: see `destroy`.
    """
    found = _chosen(session, account, messages)
    trash = _trash(session, account) or wish_role(session, account, Role.TRASH)
    return _move(session, account, found, trash, actor)


def in_trash(session: Session, account: Account, messages: Collection[int]) -> list[Message]:
    """Those of `messages` that are in Trash, or on their way there: what `remove` would not change."""
    trash = _trash(session, account)
    found = _found(session, account, messages)
    leaving = going_to(session, [message.id for message in found])
    places = {m.id: leaving[m.id].target_id if m.id in leaving else m.folder_id for m in found}
    return [message for message in found if trash is not None and places[message.id] == trash.id]


def destroy(session: Session, account: Account, *, messages: Collection[int], actor: Actor) -> int:
    """Have `messages` deleted for good. Raises RuleBroken unless all of them are in Trash."""
    found = _chosen(session, account, messages)
    if {m.id for m in in_trash(session, account, messages)} != {m.id for m in found}:
        raise RuleBroken(t("Only what is in Trash can be deleted for good."))
    leaving = going_to(session, [message.id for message in found])
    for message in found:
        wish = leaving.get(message.id)
        if wish is not None and wish.tries == 0:
            wish.kind, wish.target_id = ChangeKind.DELETE, None
        else:
            session.add(_wish(account, message, ChangeKind.DELETE, actor))
    what = "a message" if len(found) == 1 else f"{len(found)} messages"
    activity.record(session, actor, f"deleted {what} of {account.address} for good", account_id=account.id)
    session.flush()
    return len(found)


def file_copy(
    session: Session,
    account: Account,
    *,
    folder: Folder,
    content: bytes,
    subject: str,
    actor: Actor,
    unless_there: bool = False,
) -> None:
    """Have `content`, a whole message with CRLF, put into `folder` as read. Raises RuleBroken if it is too large.

    `unless_there`: if the server, or somebody else, has put one of this Message-ID there, that is enough.
    """
    if len(content) > LARGEST_COPY:
        raise RuleBroken(t("This message is too large to be filed later."))
    wish = PendingChange(account_id=account.id, folder_id=folder.id, kind=ChangeKind.APPEND, content=content)
    wish.subject, wish.person_id, wish.requested_by = subject[:998], actor.person_id, actor.name
    wish.target_id = folder.id if unless_there else None  # where a copy is looked for first
    session.add(wish)
    session.flush()


def _chosen(session: Session, account: Account, messages: Collection[int]) -> Sequence[Message]:
    """The `messages`, with the account locked against runs that write. Raises RuleBroken."""
    if why := why_not(account):
        raise RuleBroken(why)
    if len(messages) > MOST_AT_ONCE:
        raise RuleBroken(t("At most {n} messages can be changed at once.", n=MOST_AT_ONCE))
    lock(session, account.id)
    found = _found(session, account, messages)
    if not found:
        raise RuleBroken(t("Tick a message first.") if not messages else t("This message is not here any more."))
    return found


def lock(session: Session, account_id: int) -> None:
    """Keep runs of the account from writing until the end of this transaction."""
    session.get(Account, account_id, options=[lazyload("*")], with_for_update={"of": Account}, populate_existing=True)


def _found(session: Session, account: Account, messages: Collection[int]) -> Sequence[Message]:
    query = select(Message).join(Folder, Folder.id == Message.folder_id)
    is_seen = Folder.account_id == account.id, Message.generation == Folder.generation, Folder.is_gone.is_(False)
    return session.scalars(query.where(*is_seen, Message.id.in_(messages)).order_by(Message.id)).all()


def _wish(account: Account, message: Message, kind: ChangeKind, actor: Actor) -> PendingChange:
    return PendingChange(
        account_id=account.id,
        folder_id=message.folder_id,
        message_id=message.id,
        generation=message.generation,
        uid=message.uid,
        kind=kind,
        added="",
        removed="",
        subject=message.subject,
        person_id=actor.person_id,
        requested_by=actor.name,
    )


def _not_told(session: Session, messages: Sequence[Message], kind: ChangeKind) -> dict[int, PendingChange]:
    """By message, the last wish of that kind of which no run has tried to tell the server."""
    query = select(PendingChange).where(
        PendingChange.message_id.in_([message.id for message in messages]),
        PendingChange.state == ChangeState.WAITING,
        PendingChange.kind == kind,
        PendingChange.tries == 0,
    )
    return {c.message_id: c for c in session.scalars(query.order_by(PendingChange.id)) if c.message_id}


def _trash(session: Session, account: Account) -> Folder | None:
    held = Folder.account_id == account.id, Folder.role == Role.TRASH, Folder.is_gone.is_(False)
    return session.scalars(select(Folder).where(*held).order_by(Folder.id)).first()


def _count_unread(session: Session, folder_id: int, more: int) -> None:
    statement = update(Folder).where(Folder.id == folder_id).values(unread=Folder.unread + more)
    session.execute(statement.execution_options(synchronize_session=False))


# How the server learns of it.


def hurry(session: Session, account: Account, *, requested_by: str) -> SyncRun | None:
    """The run that will tell the server, to be rung for after the commit; None where it has to wait.

    It waits while the account is paused, needs attention or cannot be reached: a click is no reason to knock again.
    """
    may_run = account.is_set_up and account.health in (Health.NEW, Health.HEALTHY) and account.deleting_at is None
    if not may_run or not organisation.uses_mail(session):
        return None
    return request_run(session, account=account, requested_by=requested_by)


def go_on(session: Session, account: Account) -> None:
    """At the end of a run: make the next one due at once if somebody asked for something that it could not tell."""
    is_well = account.health in (Health.NEW, Health.HEALTHY) and account.next_sync_at is not None
    if is_well and session.connection().execute(_UNTRIED, {"of_account": account.id}).first() is not None:
        account.next_sync_at = now()


# What is told to people.


def waiting(session: Session, account_id: int) -> Sequence[PendingChange]:
    """What the server has not been told yet, the oldest first."""
    query = select(PendingChange).where(PendingChange.account_id == account_id)
    return session.scalars(query.where(PendingChange.state == ChangeState.WAITING).order_by(PendingChange.id)).all()


def untold(session: Session, account_id: int, *, person_id: int | None) -> Sequence[PendingChange]:
    """What the person asked for and did not get, or not quite, and was not told about yet; the newest first."""
    query = select(PendingChange).where(
        PendingChange.account_id == account_id,
        PendingChange.person_id == person_id,
        PendingChange.state != ChangeState.WAITING,
        PendingChange.reason != "",
        PendingChange.told_at.is_(None),
    )
    return session.scalars(query.order_by(PendingChange.id.desc())).all()


def dismiss(session: Session, account_id: int, *, person_id: int, up_to: int) -> None:
    """Note that the person has seen what `untold` said, up to the change `up_to`."""
    for change in untold(session, account_id, person_id=person_id):
        if change.id <= up_to:
            change.told_at = now()
    session.flush()


def take_back(session: Session, account: Account, *, changes: Collection[int]) -> int:
    """Undo those of `changes` that wait, the last first; answers how many. Raises NotFound if none does any more.

    What a run was about to tell may have reached the server; then the next comparison brings it back here.
    """
    lock(session, account.id)
    query = select(PendingChange).where(PendingChange.account_id == account.id, PendingChange.id.in_(changes))
    found = session.scalars(query.where(PendingChange.state == ChangeState.WAITING).order_by(PendingChange.id.desc()))
    mine = found.all()
    if not mine:
        raise NotFound(t("The server knows of this already, so it cannot be taken back here."))
    for change in mine:
        undo(session, change)
        session.delete(change)
    session.flush()
    session.expire_all()
    return len(mine)


def undo(session: Session, change: PendingChange) -> None:
    """Let the row be as if `change` had never been asked for; the folder is compared in full by the next pass."""
    message = session.get(Message, change.message_id) if change.message_id else None
    if change.kind is ChangeKind.FLAGS and message is not None:
        text = undone(message.flags, change)
        was_read = message.is_read
        rows.update_flags(session, message.folder_id, message.generation, {message.uid: text})
        session.refresh(message)
        if message.is_read != was_read:
            _count_unread(session, message.folder_id, 1 if was_read else -1)
    distrust(session, [change.folder_id])


def distrust(session: Session, folder_ids: Iterable[int]) -> None:
    """Have folders compared in full by their next pass: what the server said last is not what is stored."""
    statement = update(Folder).where(Folder.id.in_(list(folder_ids))).values(modseq=None)
    session.execute(statement.execution_options(synchronize_session=False))


def summary(changes: Sequence[PendingChange]) -> list[tuple[str, int]]:
    """The sentences of `changes` with how many of them say it, in their order."""
    said = [change.reason for change in changes]
    return [(reason, len(list(same))) for reason, same in groupby(sorted(said, key=said.index))]


def forget_old(session: Session) -> None:
    """Delete what is done and told: after a day, and what was refused after a month, told or not."""
    moment = now()
    is_over = (
        PendingChange.state == ChangeState.DONE,
        PendingChange.reason == "",
        PendingChange.finished_at < moment - DONE_FOR,
    )
    is_told = PendingChange.state != ChangeState.WAITING, PendingChange.told_at < moment - DONE_FOR
    is_stale = PendingChange.state != ChangeState.WAITING, PendingChange.finished_at < moment - REFUSED_FOR
    for rule in (is_over, is_told, is_stale):
        session.execute(delete(PendingChange).where(*rule).execution_options(synchronize_session=False))
