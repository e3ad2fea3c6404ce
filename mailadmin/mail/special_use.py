"""Decides what a folder is for: by the server's attributes first, by its name where they are silent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from mailadmin.mail.folder_names import NAMES_OF_OTHER_THINGS, NAMES_OF_ROLES
from mailadmin.mail.types import Folder, Role

# RFC 6154 section 2; \Spam is what XLIST called it, \AllMail and \Starred come from there too.
_ATTRIBUTES = {
    "\\inbox": Role.INBOX,
    "\\sent": Role.SENT,
    "\\drafts": Role.DRAFTS,
    "\\trash": Role.TRASH,
    "\\junk": Role.JUNK,
    "\\spam": Role.JUNK,
    "\\archive": Role.ARCHIVE,
    "\\all": Role.ALL,
    "\\allmail": Role.ALL,
}

_VIRTUAL = {"\\all", "\\allmail", "\\flagged", "\\starred", "\\important"}  # RFC 6154 2, RFC 8457 3, XLIST

_Meaning = TypeVar("_Meaning")


def _table(lists: Mapping[_Meaning, str]) -> dict[str, _Meaning]:
    """Lists of names as one dictionary, so that a look-up costs the same however many languages there are."""
    return {_folded(name): meaning for meaning, names in lists.items() for name in names.split("|")}


def _folded(name: str) -> str:
    """A name as it is compared: case, blanks, hyphens and underscores do not matter."""
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())


_ROLE_OF_NAME = _table(NAMES_OF_ROLES)
_KIND_OF_NAME = _table(NAMES_OF_OTHER_THINGS)


def role_of(flags: Iterable[str], path: str, delimiter: str) -> tuple[Role | None, str]:
    """Return the role of a folder and who decided: `server` (RFC 6154), `name`, or nothing without a role.

    `flags` are the attributes of its LIST answer, `path` its decoded full name, `delimiter` one character or empty.
    """
    if path.upper() == "INBOX":
        return Role.INBOX, "server"  # RFC 3501 5.1: the name itself is reserved.
    for flag in flags:
        if role := _ATTRIBUTES.get(flag.lower()):
            return role, "server"
    role = _ROLE_OF_NAME.get(_folded(last_part(path, delimiter)))
    return (role, "name") if role else (None, "")


def is_virtual(flags: Iterable[str]) -> bool:
    """Whether a folder with the attributes `flags` shows what lies in others: all mail, the flagged, the important."""
    return not _VIRTUAL.isdisjoint(flag.lower() for flag in flags)


def last_part(path: str, delimiter: str) -> str:
    """Return the part of `path` after its last delimiter: what people call the folder."""
    return path.rpartition(delimiter)[2] or path if delimiter else path


def not_mail(path: str, delimiter: str) -> str:
    """Return why a folder named like this holds no mail, as a phrase, or an empty string if it may hold mail.

    Programs keep such folders at the top (or right below the inbox), so `Projects/Notes` is mail, and everything below
    `Calendar` is not.
    """
    kind = _KIND_OF_NAME.get(_folded(_below_inbox(path, delimiter).partition(delimiter)[0] if delimiter else path))
    return f"Holds {kind}, not mail" if kind else ""


def one_of_each(folders: Sequence[Folder]) -> list[Folder]:
    """Return `folders` with every role at most once by name, and not by name where the server gave it to another.

    Among several with a fitting name, the one highest in the tree wins, then the one listed first.
    """
    given = {folder.role for folder in folders if folder.role_source == "server"}
    best: dict[Role, Folder] = {}
    for folder in folders:
        if folder.role is None or folder.role_source != "name" or folder.role in given or folder.locked:
            continue
        if folder.role not in best or _depth(folder) < _depth(best[folder.role]):
            best[folder.role] = folder
    return [
        replace(folder, role=None, role_source="")
        if folder.role is not None and folder.role_source == "name" and best.get(folder.role) is not folder
        else folder
        for folder in folders
    ]


def _depth(folder: Folder) -> int:
    """How deep a folder lies."""
    return _below_inbox(folder.path, folder.delimiter).count(folder.delimiter) if folder.delimiter else 0


def _below_inbox(path: str, delimiter: str) -> str:
    """`path` without a leading INBOX: many servers keep all folders there, and they are not deeper for it."""
    inbox = "INBOX" + delimiter
    return path[len(inbox) :] if delimiter and path.upper().startswith(inbox) else path
