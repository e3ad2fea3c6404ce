"""Reads what imaplib collected of LIST and STATUS answers, folder by folder, and decides what each folder is for."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailadmin.mail.charsets import decode
from mailadmin.mail.imap_fetch import HIGHEST_UID, messages_in
from mailadmin.mail.imap_items import Record
from mailadmin.mail.scrub import visible
from mailadmin.mail.special_use import is_virtual, last_part, not_mail, role_of
from mailadmin.mail.types import Folder, FolderState

Parser = Callable[[list[Any]], Any]
Decoder = Callable[[bytes], str]

MOST_MESSAGES = 2**31 - 1  # in a folder; a server that says more than a database can count is not believed
_MOST = {b"UIDVALIDITY": HIGHEST_UID, b"UIDNEXT": HIGHEST_UID, b"HIGHESTMODSEQ": 2**63 - 1}  # RFC 7162 7
_STATE = (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ")
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")  # RFC 8474 7
# Answers as nearly all servers give them: names without a backslash or a literal.
_NAME = rb'(?:"([^"\\\r\n]*)"|([^\s"(){}\\%*]+))'
_LIST = re.compile(rb'\(([^()"{}]*)\) (?:"(?:\\(.)|([^"\\]))"|NIL) ' + _NAME)
_STATUS = re.compile(_NAME + rb' \(([^"{}]*)\) ?')
_ITEM = re.compile(rb"([A-Za-z]+) (?:(\d{1,20})|\(([^()]*)\)) ?")
_NOT_SELECTABLE = frozenset({"\\noselect", "\\nonexistent"})
_BROKEN_ANSWERS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def status_items(offers: Collection[str]) -> str:
    """What to ask of every folder beside its name, of a server that `offers` so much; nothing where that is no use."""
    if "LIST-STATUS" not in offers:
        return ""
    counts_changes = not {"CONDSTORE", "QRESYNC"}.isdisjoint(offers)
    items = ["MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ"] if counts_changes else []
    return " ".join([*items, "MAILBOXID"] if "OBJECTID" in offers else items)


@dataclass(frozen=True, slots=True)
class Listed:
    """A folder, and its name as bytes, exactly as the server writes it and wants to hear it."""

    raw: bytes
    folder: Folder


def read_list(data: Sequence[Record | None], parse: Parser, decode_name: Decoder) -> list[Listed]:
    """Return the folders of LIST answers (RFC 3501 7.2.2), each once; what cannot be a folder's name is left out."""
    found: dict[bytes, Listed] = {}
    for records in messages_in(data):
        try:
            attributes, delimiter, name = _plain_list(records) or parse(records)[:3]
            listed = _listed(attributes, delimiter, name, decode_name)
        except _BROKEN_ANSWERS:
            continue
        if listed is not None:
            found.setdefault(listed.raw, listed)
    return list(found.values())


def read_status(data: Sequence[Record | None], parse: Parser) -> dict[bytes, Mapping[bytes, int]]:
    """Return the numbers of STATUS answers (RFC 3501 7.2.4) by raw name and upper-case item, without absurd ones."""
    found: dict[bytes, Mapping[bytes, int]] = {}
    for records in messages_in(data):
        try:
            name, items = _status(records, parse)
            counts = {key: value for key, value in items if isinstance(value, int)}
            found[_atom(name)] = {
                key: value for key, value in counts.items() if 0 <= value <= _MOST.get(key, MOST_MESSAGES)
            }
        except _BROKEN_ANSWERS:
            continue
    return found


def read_ids(data: Sequence[Record | None], parse: Parser) -> dict[bytes, str]:
    """Return the MAILBOXIDs of STATUS answers (RFC 8474 4.3) by raw name; what cannot be one is left out."""
    found: dict[bytes, str] = {}
    for records in messages_in(data):
        try:
            name, items = _status(records, parse)
            for key, value in items:
                if key == b"MAILBOXID" and (match := _OBJECT_ID.fullmatch(_atom(value[0]))):
                    found[_atom(name)] = match[0].decode()
        except _BROKEN_ANSWERS:
            continue
    return found


def _plain_list(records: Sequence[Record]) -> tuple[list[bytes], bytes | None, bytes] | None:
    """Attributes, delimiter and name of a LIST answer as nearly all are; None for one that has to be parsed, slowly."""
    match = _LIST.fullmatch(records[0]) if len(records) == 1 and isinstance(records[0], bytes) else None
    return (match[1].split(), match[3] or match[2], _name(match[4], match[5])) if match else None


def _status(records: Sequence[Record], parse: Parser) -> tuple[object, list[tuple[bytes, Any]]]:
    """The name of a STATUS answer, and its items: numbers, or lists of what stood in brackets."""
    match = _STATUS.fullmatch(records[0]) if len(records) == 1 and isinstance(records[0], bytes) else None
    if match and not _ITEM.sub(b"", match[3]).strip():
        items = [(key.upper(), int(n) if n else of.split()) for key, n, of in _ITEM.findall(match[3])]
        return _name(match[1], match[2]), items
    name, told = parse(list(records))[:2]
    return name, [(key.upper(), value) for key, value in zip(told[::2], told[1::2], strict=False)]


def _name(quoted: bytes | None, atom: bytes) -> bytes:
    return atom if quoted is None else quoted


def read_states(listed: Iterable[Listed], data: Sequence[Record | None], parse: Parser) -> dict[str, FolderState]:
    """Return by path what STATUS answers tell of the folders in `listed`, of those of which they tell everything."""
    numbers, found = read_status(data, parse), {}
    for entry in listed:
        told = [numbers.get(entry.raw, {}).get(name, 0) for name in _STATE]
        messages = numbers.get(entry.raw, {}).get(b"MESSAGES")
        if all(told) and messages is not None:
            uidvalidity, uidnext, modseq = told
            found[entry.folder.path] = FolderState(uidvalidity, uidnext, messages, modseq)
    return found


def read_quota(data: Sequence[Record | None], parse: Parser) -> dict[str, int]:
    """Return the tightest limit for storage of QUOTA answers (RFC 9208 5.1): {used, limit} in KiB, or nothing."""
    found: list[tuple[int, int]] = []
    for records in messages_in(data):
        try:
            items = parse(records)[1]
            for name, used, limit in zip(items[::3], items[1::3], items[2::3], strict=False):
                if name.upper() == b"STORAGE" and 0 <= used < 2**63 and 0 < limit < 2**63:
                    found.append((used, limit))
        except _BROKEN_ANSWERS:
            continue
    if not found:
        return {}
    used, limit = min(found, key=lambda pair: pair[1] - pair[0])
    return {"used": used, "limit": limit}


def _listed(attributes: Sequence[bytes], delimiter: bytes | None, name: object, decode_name: Decoder) -> Listed | None:
    raw = _atom(name)
    path = decode_name(raw) if raw.isascii() else decode(raw)
    if not path or any(c in path for c in "\r\n\0") or any("\ud800" <= c <= "\udfff" for c in path):
        return None
    separator = decode(delimiter)[:1] if isinstance(delimiter, bytes) else ""
    flags = [decode(flag) for flag in attributes]
    role, source = role_of(flags, path, separator)
    selectable = not any(flag.lower() in _NOT_SELECTABLE for flag in flags)
    # A role from the server outweighs a name: somebody may keep mail in a folder that is called Journal.
    locked = ("" if role else not_mail(path, separator)) if selectable else "Holds other folders, not mail"
    if locked:
        role, source = None, ""
    # The path stays as it is, since it is sent back; the name is only read.
    name = visible(last_part(path, separator))
    folder = Folder(path, name, separator, selectable, role, source, locked, is_virtual=is_virtual(flags))
    return Listed(raw, folder)


def _atom(value: object) -> bytes:
    """An atom as the parser hands it over: bytes, or an int where it was nothing but digits, or None for NIL."""
    return value if isinstance(value, bytes) else str("NIL" if value is None else value).encode()
