"""Which folders an account has: what the server lists, what people decided about it, and how the two come together.

A folder may also be wished for: then it is a row with a role and `is_wished` until a run has created it (wished.py).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.connections.models import Check
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail import types as mail
from mailadmin.mail.imap_write import NAMES, usual_prefix
from mailadmin.mail.types import Role
from mailadmin.permissions import Actor
from mailadmin.sync.models import Folder, RoleSource
from mailadmin.text import t

OFF_AT_FIRST = {Role.JUNK, Role.TRASH}
MAPPED = (Role.INBOX, Role.SENT, Role.DRAFTS, Role.TRASH, Role.ARCHIVE, Role.JUNK)
_PLACES = {Role.INBOX: 0, Role.SENT: 1, Role.DRAFTS: 2, Role.ARCHIVE: 3, Role.TRASH: 7, Role.JUNK: 8}
PATH_LENGTH = 1000
_STRENGTH = {RoleSource.PERSON: 0, RoleSource.SERVER: 1, RoleSource.NAME: 2, None: 3}


@dataclass(frozen=True, slots=True)
class Seen:
    """A folder as a page shows it, stored or not yet; `id` is of its row."""

    path: str
    name: str
    delimiter: str = ""
    role: Role | None = None
    role_source: RoleSource | None = None
    locked: str = ""
    is_active: bool = False
    is_gone: bool = False
    messages: int | None = None
    id: int | None = None
    is_wished: bool = False
    trouble: str = ""
    object_id: str = ""


# How a list of the server and what is stored come together.


def merged(stored: Sequence[Seen], listed: Iterable[mail.Folder | Mapping[str, Any]]) -> list[Seen]:
    """What the account's folders are once the server has listed `listed`, in the order of `in_order`.

    A role that a person decided stays; else the server's word counts, else the name's. In the first list everything
    that holds mail is active but junk, trash, and what shows the mail of the other folders once more, as Gmail's All
    Mail does; what appears later starts inactive. What is not listed is gone, or still to be created.
    """
    known, is_first = {folder.path: folder for folder in stored}, not stored
    found: dict[str, Seen] = {}
    for entry in listed:
        folder = _read(entry)
        if folder is not None and folder.path not in found:
            old = known.get(folder.path)
            found[folder.path] = (
                _joined(old, folder) if old else replace(folder, is_active=folder.is_active and is_first)
            )
    absent = [folder for path, folder in known.items() if path not in found]
    gone = [folder if folder.is_wished else replace(folder, is_gone=True) for folder in absent]
    return in_order([*_one_of_each(found.values()), *gone])


def in_order(folders: Iterable[Seen]) -> list[Seen]:
    """`folders` as people expect them: the usual ones, then by path, then trash and junk, last what holds no mail."""
    usual, locked = 5, 9

    def place(folder: Seen) -> int:
        return locked if folder.locked else _PLACES.get(folder.role, usual) if folder.role else usual

    return sorted(folders, key=lambda folder: (place(folder), folder.path.casefold(), folder.path))


def _read(entry: mail.Folder | Mapping[str, Any]) -> Seen | None:
    """A folder of a list, active if it should be at first; None for one whose name cannot be stored as it is.

    Such a folder could not be opened either.
    """
    words = entry if isinstance(entry, Mapping) else {name: getattr(entry, name) for name in mail.Folder.__slots__}
    path = str(words["path"])
    if not is_storable(path):
        return None
    role, source = words.get("role") or None, words.get("role_source") or None
    locked = str(words.get("locked") or "")
    if not locked and not words.get("selectable", True):
        locked = t("Cannot be opened")
    is_wanted = not locked and role not in OFF_AT_FIRST and not words.get("is_virtual")
    return Seen(
        path="INBOX" if path.upper() == "INBOX" else path,  # RFC 3501 5.1: in any spelling it is the same.
        name=str(words.get("name") or path),
        delimiter=str(words.get("delimiter") or "")[:4],
        role=Role(role) if role else None,
        role_source=RoleSource(source) if role and source else None,
        locked=locked[:200],
        is_active=is_wanted,
        messages=words.get("messages"),
        object_id=str(words.get("object_id") or ""),
    )


def is_storable(path: str) -> bool:
    """Whether a folder can be stored under `path`, which a server has said."""
    return 0 < len(path) <= PATH_LENGTH and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in path)


def _joined(old: Seen, new: Seen) -> Seen:
    judge = old if old.role_source is RoleSource.PERSON else new
    return replace(
        new,
        role=judge.role,
        role_source=judge.role_source,
        is_active=old.is_active and not new.locked,
        messages=old.messages if new.messages is None else new.messages,
        id=old.id,
        object_id=new.object_id or old.object_id,
        trouble="" if old.is_wished else old.trouble,
    )


def _one_of_each(folders: Iterable[Seen]) -> list[Seen]:
    """`folders` with every role at most once: a person's word outweighs the server's, and that one a name."""
    folders = list(folders)
    holders: dict[Role, Seen] = {}
    for folder in sorted(folders, key=lambda f: (_STRENGTH[f.role_source], f.path)):
        if folder.role is not None:
            holders.setdefault(folder.role, folder)
    return [
        replace(folder, role=None, role_source=None) if folder.role and holders[folder.role] is not folder else folder
        for folder in folders
    ]


# What is stored.


def stored(session: Session, account_id: int) -> Sequence[Folder]:
    """The folders of an account that are stored, gone ones too, by path."""
    return session.scalars(select(Folder).where(Folder.account_id == account_id).order_by(Folder.path)).all()


def seen(session: Session, account: Account, check: Check | None) -> list[Seen]:
    """The folders to show: what is stored, together with the list of `check` if that is newer. Stores nothing."""
    rows = stored(session, account.id)
    known = [_seen(row) for row in rows]
    return merged(known, check.folders) if check and _is_news(rows, check) else in_order(known)


def adopt_folders(
    session: Session, *, account: Account, listed: Iterable[mail.Folder | Mapping[str, Any]]
) -> list[Folder]:
    """Store what the server lists, see `merged`, and answer the account's folders, gone ones too.

    Counts are taken over for folders that no sync has passed yet; after that the sync's own word is the better one.
    """
    rows = {row.path: row for row in stored(session, account.id)}
    moment = now()
    for folder in merged([_seen(row) for row in rows.values()], listed):
        row = rows.get(folder.path)
        if row is None:
            row = rows[folder.path] = Folder(account_id=account.id, path=folder.path)
            session.add(row)
        row.name, row.delimiter, row.locked = folder.name[:PATH_LENGTH], folder.delimiter, folder.locked
        row.role, row.role_source, row.object_id = folder.role, folder.role_source, folder.object_id
        row.is_active, row.is_gone, row.is_wished = folder.is_active, folder.is_gone, folder.is_wished
        if not folder.is_gone:
            row.listed_at = moment
        if row.synced_at is None:
            row.messages = folder.messages
    _note_sent(account, rows.values())
    session.flush()
    return list(rows.values())


def is_as_listed(rows: Iterable[Folder], listed: Iterable[mail.Folder]) -> bool:
    """Whether `rows`, all folders of an account, say what the server lists, so that nothing is left to adopt."""
    known = {row.path: _seen(row) for row in rows}
    return {folder.path: folder for folder in merged(list(known.values()), listed)} == known


def _note_sent(account: Account, rows: Iterable[Folder]) -> None:
    """Let the account know its Sent: what files copies stands on a lower floor than the folders."""
    sent = [row.path for row in rows if row.role is Role.SENT and not row.is_gone and not row.is_wished]
    account.sent_folder = sent[0] if sent else ""


def take_over(session: Session, *, account: Account, check: Check | None) -> dict[str, Folder]:
    """Store the list of `check` if it is newer than what is stored; the account's folders by path."""
    rows = stored(session, account.id)
    if check is not None and _is_news(rows, check):
        rows = adopt_folders(session, account=account, listed=check.folders)
    return {row.path: row for row in rows}


def listed_at(session: Session, account_id: int, check: Check | None) -> datetime | None:
    """When the list that `seen` shows was read from the server."""
    rows = stored(session, account_id)
    if check is not None and _is_news(rows, check):
        return check.finished_at
    return max((row.listed_at for row in rows), default=None)


def _is_news(rows: Sequence[Folder], check: Check) -> bool:
    newest: datetime | None = max((row.listed_at for row in rows), default=None)
    return bool(check.folders) and (newest is None or (check.finished_at or check.requested_at) > newest)


def _seen(row: Folder) -> Seen:
    return Seen(**{name: getattr(row, name) for name in Seen.__slots__})


# What people choose.


def choose_folders(
    session: Session,
    account: Account,
    *,
    active: set[int],
    roles: Mapping[Role, int | None],
    wished: Collection[Role] = (),
    actor: Actor,
) -> bool:
    """Sync the folders `active` and use those of `roles` for their purposes; answers whether anything changed.

    A role that is not in `roles` stays where it is; for one that is `wished` the next sync creates a folder, which is
    active. A sync that runs now reads folders that are added, too. Raises RuleBroken for folders that are locked or
    gone, for one folder with two purposes, and when nothing is left to sync.
    """
    new = _wish(session, account, wished)
    rows = {row.id: row for row in stored(session, account.id) if not row.is_gone}
    roles, active = {**roles, **new}, active | {new[role] for role in new if rows[new[role]].is_active}
    _check_choice(rows, active, roles)
    changed = _assign(session, account, rows, roles)
    for row in rows.values():
        if row.is_active != (row.id in active):
            row.is_active = row.id in active
            changed = True
        if row.is_wished and row.role is None and row.role_source is RoleSource.PERSON:  # See new_folders.py.
            _take_back(session, row)
    _note_sent(account, rows.values())
    if changed and account.is_set_up:
        account.next_sync_at = account.next_sync_at and now()
        activity.record(session, actor, f"changed the folders of {account.address}", account_id=account.id)
    session.flush()
    return changed


def _take_back(session: Session, row: Folder) -> None:
    """The folder is not wished for any more; what was read of one that was there before stays."""
    if row.uidvalidity is None:
        session.delete(row)
    else:
        row.is_wished, row.is_gone = False, True


def creatable(folders: Iterable[Seen]) -> dict[Role, str]:
    """The roles for which a folder could be created, and the path that it would have as far as the list tells."""
    present = [folder for folder in folders if not folder.is_gone]
    taken = {folder.path.casefold() for folder in present if not folder.is_wished}
    held = {folder.role for folder in present if not folder.is_wished}
    prefix = usual_prefix((folder.path, folder.delimiter) for folder in present if not folder.is_wished)
    free = {role: prefix + name for role, name in NAMES.items() if role not in held}
    return {role: path for role, path in free.items() if path.casefold() not in taken}


@dataclass(frozen=True, slots=True)
class Tally:
    """How many folders are `chosen` of `all` that could be, and how much mail they hold; None where nobody counted."""

    chosen: int
    all: int
    messages: int | None


def tally(folders: Iterable[Seen], active: Collection[str]) -> Tally:
    """What the choice of the paths `active` among `folders` comes to."""
    open_ones = [folder for folder in folders if not folder.is_gone and not folder.locked]
    chosen = [folder for folder in open_ones if folder.path in active]
    counts = [folder.messages for folder in chosen if folder.messages is not None]
    return Tally(len(chosen), len(open_ones), sum(counts) if counts else None)


def _wish(session: Session, account: Account, wished: Collection[Role]) -> dict[Role, int]:
    """The rows of the folders that are to be created, by role; new ones for new wishes. Raises RuleBroken."""
    rows = stored(session, account.id)
    known = {row.role: row for row in rows if row.is_wished}
    paths = creatable(map(_seen, rows))
    for role in wished:
        if role in known:
            continue
        if role not in paths:
            said = t("A folder “{name}” is on the server already. Choose it.", name=NAMES.get(role, role))
            raise RuleBroken(said, field=f"role_{role.value}")
        gone = next((row for row in rows if row.path == paths[role]), None)
        known[role] = row = gone or Folder(account_id=account.id, path=paths[role])
        row.name, row.is_wished, row.is_active, row.is_gone = NAMES[role], True, True, False
        row.delimiter = next((other.delimiter for other in rows if other.delimiter), "")
        session.add(row)
    session.flush()
    return {role: known[role].id for role in wished}


def _check_choice(rows: Mapping[int, Folder], active: set[int], roles: Mapping[Role, int | None]) -> None:
    if not active:
        raise RuleBroken(t("Tick at least one folder."), field="active")
    for folder_id in active:
        _check_folder(rows.get(folder_id), "active")
    taken: set[int] = set()
    for role, chosen in roles.items():
        if chosen is None:
            continue
        _check_folder(rows.get(chosen), f"role_{role.value}")
        if chosen in taken:
            said = t(
                "“{name}” is chosen for two purposes. Choose another folder for one of them.", name=rows[chosen].name
            )
            raise RuleBroken(said, field=f"role_{role.value}")
        taken.add(chosen)


def _check_folder(row: Folder | None, field: str) -> None:
    if row is None:
        raise RuleBroken(t("One of these folders is not on the server any more. Read the list again."), field=field)
    if row.locked:
        raise RuleBroken(t("“{name}” cannot be synced: {reason}.", name=row.name, reason=row.locked), field=field)


def _assign(session: Session, account: Account, rows: Mapping[int, Folder], roles: Mapping[Role, int | None]) -> bool:
    """Move the roles whose folder is another one now. Who loses a role by hand does not get it back by its name."""
    holders = {row.role: row for row in rows.values() if row.role is not None}
    held = {role: holders[role].id if role in holders else None for role in roles}
    moved = {role: chosen for role, chosen in roles.items() if chosen != held[role]}
    for row in stored(session, account.id):
        if row.role in moved:
            row.role, row.role_source = None, RoleSource.PERSON
    for role, chosen in moved.items():
        if chosen is not None:
            rows[chosen].role, rows[chosen].role_source = role, RoleSource.PERSON
    return bool(moved)
