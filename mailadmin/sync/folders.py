"""Which folders an account has: what the server lists, what people decided about it, and how the two come together."""

from collections.abc import Iterable, Mapping, Sequence
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
from mailadmin.mail.types import Role
from mailadmin.permissions import Actor
from mailadmin.sync.models import Folder, RoleSource
from mailadmin.text import t

OFF_AT_FIRST = {Role.JUNK, Role.TRASH}
MAPPED = (Role.INBOX, Role.SENT, Role.DRAFTS, Role.TRASH, Role.JUNK, Role.ARCHIVE)
PATH_LENGTH = 1000
_STRENGTH = {RoleSource.PERSON: 0, RoleSource.SERVER: 1, RoleSource.NAME: 2, None: 3}


@dataclass(frozen=True, slots=True)
class Seen:
    """A folder as a page shows it, stored or not yet."""

    path: str
    name: str
    delimiter: str = ""
    role: Role | None = None
    role_source: RoleSource | None = None
    locked: str = ""
    is_active: bool = False
    is_gone: bool = False
    messages: int | None = None


# How a list of the server and what is stored come together.


def merged(stored: Sequence[Seen], listed: Iterable[mail.Folder | Mapping[str, Any]]) -> list[Seen]:
    """What the account's folders are once the server has listed `listed`, the inbox first and then by path.

    A role that a person decided stays; else the server's word counts, else the name's. In the first list everything
    that holds mail is active but junk and trash; what appears later starts inactive. What is not listed is gone.
    """
    known = {folder.path: folder for folder in stored}
    found: dict[str, Seen] = {}
    for entry in listed:
        folder = _read(entry)
        if folder is not None and folder.path not in found:
            found[folder.path] = _joined(known.get(folder.path), folder, is_first=not stored)
    gone = [replace(folder, is_gone=True) for path, folder in known.items() if path not in found]
    return in_order([*_one_of_each(found.values()), *gone])


def in_order(folders: Iterable[Seen]) -> list[Seen]:
    """`folders` as people expect them: the inbox, then those with a role, then by path."""
    places = {role: place for place, role in enumerate(MAPPED)}
    return sorted(folders, key=lambda f: (places.get(f.role, 9) if f.role else 10, f.path.casefold(), f.path))


def _read(entry: mail.Folder | Mapping[str, Any]) -> Seen | None:
    """A folder of a list; None for one whose name cannot be stored as it is, for then it could not be opened either."""
    words = entry if isinstance(entry, Mapping) else {name: getattr(entry, name) for name in mail.Folder.__slots__}
    path = str(words["path"])
    if not path or len(path) > PATH_LENGTH or _is_unstorable(path):
        return None
    role, source = words.get("role") or None, words.get("role_source") or None
    locked = str(words.get("locked") or "")
    if not locked and not words.get("selectable", True):
        locked = t("Cannot be opened")
    return Seen(
        path="INBOX" if path.upper() == "INBOX" else path,  # RFC 3501 5.1: in any spelling it is the same.
        name=str(words.get("name") or path),
        delimiter=str(words.get("delimiter") or "")[:4],
        role=Role(role) if role else None,
        role_source=RoleSource(source) if role and source else None,
        locked=locked[:200],
        messages=words.get("messages"),
    )


def _is_unstorable(text: str) -> bool:
    return any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def _joined(old: Seen | None, new: Seen, *, is_first: bool) -> Seen:
    if old is None:
        return replace(new, is_active=is_first and not new.locked and new.role not in OFF_AT_FIRST)
    judge = old if old.role_source is RoleSource.PERSON else new
    return replace(
        new,
        role=judge.role,
        role_source=judge.role_source,
        is_active=old.is_active and not new.locked,
        messages=old.messages if new.messages is None else new.messages,
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
        row.role, row.role_source = folder.role, folder.role_source
        row.is_active, row.is_gone = folder.is_active, folder.is_gone
        if not folder.is_gone:
            row.listed_at = moment
        if row.synced_at is None:
            row.messages = folder.messages
    session.flush()
    return list(rows.values())


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
    session: Session, account: Account, *, active: set[int], roles: Mapping[Role, int | None], actor: Actor
) -> bool:
    """Sync the folders `active` and use those of `roles` for their purposes; answers whether anything changed.

    A role that is not in `roles` stays where it is. A sync that runs now reads folders that are added, too. Raises
    RuleBroken for folders that are locked or gone, for one folder with two purposes, and when nothing is left to sync.
    """
    rows = {row.id: row for row in stored(session, account.id) if not row.is_gone}
    _check_choice(rows, active, roles)
    changed = _assign(session, account, rows, roles)
    for row in rows.values():
        if row.is_active != (row.id in active):
            row.is_active = row.id in active
            changed = True
    if changed and account.is_set_up:
        account.next_sync_at = account.next_sync_at and now()
        activity.record(session, actor, f"changed the folders of {account.address}", account_id=account.id)
    session.flush()
    return changed


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
