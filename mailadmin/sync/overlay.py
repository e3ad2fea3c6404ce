"""What people changed here and the server does not know yet, laid over what it says.

A message whose flags were changed keeps ours until the server was told; one that was moved or deleted stays the row of
its old folder, where nobody sees it any more, and is shown where it goes. So what is stored can always be compared with
the server, and a change that is taken back or refused leaves no trace.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, bindparam, func, not_, select
from sqlalchemy.orm import Session

from mailadmin.sync.models import ChangeKind, ChangeState, Folder, Message, PendingChange
from mailadmin.sync.rows import flag_text

_FLAGS = (
    select(PendingChange)
    .where(
        PendingChange.folder_id == bindparam("of_folder"),
        PendingChange.generation == bindparam("of_generation"),
        PendingChange.state == ChangeState.WAITING,
        PendingChange.kind == ChangeKind.FLAGS,
    )
    .order_by(PendingChange.id)
)
_LEAVING = (ChangeKind.MOVE, ChangeKind.DELETE)


def merged(flags: str, change: PendingChange) -> str:
    """`flags`, a text as rows have it, after `change`; system flags have no case (RFC 3501 2.3.2)."""
    without = {flag.lower() for flag in (*change.removed.split(), *change.added.split())}
    return flag_text([*(f for f in flags.split() if f.lower() not in without), *change.added.split()])


def undone(flags: str, change: PendingChange) -> str:
    """`flags` as they were before `change`, which only says what was really changed."""
    return merged(flags, PendingChange(added=change.removed, removed=change.added))


def kept(session: Session, folder_id: int, generation: int, flags: Mapping[int, str]) -> dict[int, str]:
    """`flags`, the server's by UID, as they are to be stored: with what people changed and it was not told yet.

    To be called in the transaction that stores them, while the account is locked: see changes.py.
    """
    found = dict(flags)
    for change in session.scalars(_FLAGS, {"of_folder": folder_id, "of_generation": generation}):
        if change.uid in found:
            found[change.uid] = merged(found[change.uid], change)
    return found


def is_shown(account_id: int) -> ColumnElement[bool]:
    """Whether a message of the account is where its row says: not about to leave, not marked as deleted there."""
    leaving = select(PendingChange.message_id).where(
        PendingChange.account_id == account_id,
        PendingChange.state == ChangeState.WAITING,
        PendingChange.kind.in_(_LEAVING),
        PendingChange.message_id.is_not(None),
    )
    return Message.id.not_in(leaving) & not_(func.lower(Message.flags).contains("\\deleted", autoescape=True))


def is_arriving(folders: Iterable[Folder]) -> ColumnElement[bool]:
    """Whether a message is about to be moved to one of `folders`."""
    arriving = select(PendingChange.message_id).where(
        PendingChange.state == ChangeState.WAITING,
        PendingChange.kind == ChangeKind.MOVE,
        PendingChange.target_id.in_([folder.id for folder in folders]),
        PendingChange.message_id.is_not(None),
    )
    return Message.id.in_(arriving)


def leaving(session: Session, account_id: int) -> list[int]:
    """The ids of the messages of the account that are about to leave their folders."""
    query = select(PendingChange.message_id).where(
        PendingChange.account_id == account_id,
        PendingChange.state == ChangeState.WAITING,
        PendingChange.kind.in_(_LEAVING),
    )
    return [message_id for message_id in session.scalars(query) if message_id is not None]


def arriving(session: Session, folders: Iterable[Folder]) -> list[int]:
    """The ids of the messages that are about to be moved to one of `folders`."""
    query = select(PendingChange.message_id).where(
        PendingChange.state == ChangeState.WAITING,
        PendingChange.kind == ChangeKind.MOVE,
        PendingChange.target_id.in_([folder.id for folder in folders]),
    )
    return [message_id for message_id in session.scalars(query) if message_id is not None]


def going_to(session: Session, message_ids: Sequence[int]) -> dict[int, PendingChange]:
    """The change by which a message is about to leave its folder, for those of `message_ids` that are."""
    query = select(PendingChange).where(
        PendingChange.message_id.in_(message_ids),
        PendingChange.state == ChangeState.WAITING,
        PendingChange.kind.in_(_LEAVING),
    )
    return {change.message_id: change for change in session.scalars(query) if change.message_id}


def unread_shift(session: Session, account_id: int) -> dict[int, int]:
    """By folder, how many unread messages more or less there are than its row says, for what is about to move."""
    query = (
        select(PendingChange.folder_id, PendingChange.target_id)
        .join(Message, Message.id == PendingChange.message_id)
        .where(
            PendingChange.account_id == account_id,
            PendingChange.state == ChangeState.WAITING,
            PendingChange.kind.in_(_LEAVING),
            Message.is_read.is_(False),
        )
    )
    shift: dict[int, int] = {}
    for source, target in session.execute(query):
        shift[source] = shift.get(source, 0) - 1
        if target is not None:
            shift[target] = shift.get(target, 0) + 1
    return shift
