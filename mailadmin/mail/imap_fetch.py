"""Reads what imaplib collected of FETCH answers, message by message, so that a poisonous one spoils only itself."""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from imapclient import imap_utf7

from mailadmin.mail.headers import FIELDS, MONTHS, read_heading, zone
from mailadmin.mail.imap_items import Record, read_items
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import Envelope

Parser = Callable[[list[Any]], Iterable[Mapping[bytes, Any]]]

HIGHEST_UID = 2**32 - 1
_ITEMS = f"(UID FLAGS INTERNALDATE RFC822.SIZE{{more}} BODY.PEEK[HEADER.FIELDS ({' '.join(FIELDS)})]<0.65536>)"
ENVELOPE_ITEMS = _ITEMS.format(more="")
_NAMES = (("OBJECTID", " EMAILID"), ("X-GM-EXT-1", " X-GM-MSGID X-GM-LABELS"))  # RFC 8474; Gmail's own
UNREADABLE = "The answer of the server for this message cannot be read."
REFUSED = "The server could not deliver this message."

_FLAGS = re.compile(rb"\d+ \((?:UID (\d+) FLAGS \(([^()]*)\)|FLAGS \(([^()]*)\) UID (\d+))(?: MODSEQ \(\d+\))?\)")
_RANGES = re.compile(rb"(?:\([^()]*\) ?)*(?:UID ?)?(?:ALL )?([\d:,]*)", re.IGNORECASE)
_ENVELOPE = re.compile(
    rb"\d+ \(UID (\d+) FLAGS \(([^()]*)\) INTERNALDATE \"([^\"]*)\" RFC822\.SIZE (\d+) "
    rb"(?:EMAILID \(([^()\s\"\\]*)\) )?BODY\[HEADER\.FIELDS \([^()]*\)\](?:<0>)? \{\d+\}"
)
_DATE = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_BROKEN_ANSWERS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def envelope_items(capabilities: Collection[str]) -> str:
    """What is asked of each message: what a list shows, and the server's own names for it where it has some."""
    return _ITEMS.format(more="".join(items for name, items in _NAMES if name in capabilities))


@dataclass(slots=True)
class Batch:
    """The messages of one answer by UID, and how many parts of it could not be read."""

    messages: dict[int, Envelope] = field(default_factory=dict)
    broken: int = 0


def uid_set(uids: Iterable[int]) -> str:
    """Return ascending `uids` as a sequence set with ranges (RFC 3501 section 9), for example `1:3,7`."""
    ranges: list[list[int]] = []
    for uid in uids:
        if ranges and uid == ranges[-1][1] + 1:
            ranges[-1][1] = uid
        else:
            ranges.append([uid, uid])
    return ",".join(f"{first}:{last}" if first != last else str(first) for first, last in ranges)


def read_ranges(data: Sequence[Record | None]) -> tuple[tuple[int, int], ...] | None:
    """Return the UIDs of ESEARCH (RFC 4731) or VANISHED (RFC 7162) answers as ranges; None if one makes no sense."""
    found: list[tuple[int, int]] = []
    for record in data:
        match = _RANGES.fullmatch(record) if isinstance(record, bytes) else None
        if match is None:
            return None
        for part in filter(None, match[1].split(b",")):
            first, _, last = part.partition(b":")
            pair = (int(first or 0), int(last or first or 0)) if len(part) <= 21 else (0, 0)
            if not all(0 < uid <= HIGHEST_UID for uid in pair):
                return None
            found.append((min(pair), max(pair)))
    return tuple(found)


def messages_in(data: Sequence[Record | None]) -> Iterator[list[Record]]:
    """Cut imaplib's list into the records of one answer each: literals are tuples, and a plain line ends an answer."""
    records: list[Record] = []
    for record in data:
        if record is None:
            continue
        records.append(record)
        if isinstance(record, bytes):
            yield records
            records = []
    if records:
        yield records


def read_flags(data: Sequence[Record | None], parse: Parser) -> dict[int, frozenset[str]]:
    """Return the flags by UID; answers without a UID or with an impossible one are left out."""
    found: dict[int, frozenset[str]] = {}
    for records in messages_in(data):
        match = _FLAGS.fullmatch(records[0]) if isinstance(records[0], bytes) else None
        if match:
            uid, flags = int(match[1] or match[4]), _flags(match[2] if match[1] else match[3])
            if 0 < uid <= HIGHEST_UID:
                found[uid] = flags
            continue
        for items in _parsed(records, parse):
            if b"FLAGS" in items and (uid := _uid(items)):
                found[uid] = _flags_of(items[b"FLAGS"])
    return found


def read_envelopes(data: Sequence[Record | None], asked: frozenset[int], parse: Parser) -> Batch:
    """Return the messages of `asked` that the answer holds; others, and repetitions of one, are dropped."""
    batch = Batch()
    for records in messages_in(data):
        try:
            envelope = _quick(records) or _slow(records, parse)
        except _BROKEN_ANSWERS:
            batch.broken += 1
            continue
        if envelope is not None and envelope.uid in asked:
            batch.messages.setdefault(envelope.uid, envelope)
    return batch


def _quick(records: list[Record]) -> Envelope | None:
    """An answer in the order in which it was asked for, which most servers keep; None for any other."""
    if len(records) != 2 or records[1] != b")" or not isinstance(records[0], tuple):
        return None
    match = _ENVELOPE.fullmatch(records[0][0])
    if match is None:
        return None
    uid, flags, received, size, email_id = match.groups()
    name = email_id.decode("ascii", "replace") if email_id else ""
    return _envelope(int(uid), _flags(flags), _internal_date(received), int(size), records[0][1], name)


def _slow(records: list[Record], parse: Parser) -> Envelope | None:
    """Any other answer; None if it is not one that was asked for, such as changed flags of some message."""
    items = read_items(records)
    for each in parse(records) if items is None else [items]:
        uid = _uid(each)
        body = next((value for key, value in each.items() if key.startswith(b"BODY[HEADER")), b"")
        if not uid or b"RFC822.SIZE" not in each:
            continue
        size, email_id = each[b"RFC822.SIZE"], each.get(b"EMAILID") or each.get(b"X-GM-MSGID")
        return _envelope(
            uid,
            _flags_of(each.get(b"FLAGS") or ()),
            _moment(each.get(b"INTERNALDATE")),
            size if isinstance(size, int) else 0,
            body or b"",
            _texts([email_id[0] if isinstance(email_id, tuple) else email_id])[0] if email_id else "",
            _texts(each.get(b"X-GM-LABELS") or (), decode=imap_utf7.decode),
        )
    return None


def _moment(received: object) -> datetime | None:
    if isinstance(received, bytes):
        return _internal_date(received)
    if isinstance(received, datetime):
        return received if received.tzinfo else received.replace(tzinfo=UTC)
    return None


def _texts(values: Iterable[object], decode: Callable[[bytes], str] = bytes.decode) -> tuple[str, ...]:
    """`values` as they can be shown, sorted."""
    found = set()
    for value in values:
        try:
            text = decode(value) if isinstance(value, bytes) else str(value)
        except _BROKEN_ANSWERS:
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
        found.add(visible(text))
    return tuple(sorted(found))


def _envelope(
    uid: int,
    flags: frozenset[str],
    received: datetime | None,
    size: int,
    header: object,
    email_id: str = "",
    labels: tuple[str, ...] = (),
) -> Envelope:
    heading = read_heading(header if isinstance(header, bytes) else b"")
    return Envelope(
        uid=uid,
        flags=flags,
        received_at=received if received is not None and 1970 <= received.year <= 2100 else None,
        size=size if 0 <= size < 2**63 else 0,
        subject=heading.subject,
        from_name=heading.from_name,
        from_address=heading.from_address,
        to=heading.to,
        reply_to=heading.reply_to,
        message_id=heading.message_id,
        sent_at=heading.sent_at,
        recipients=heading.recipients,
        is_bulk=heading.is_bulk,
        refers_to=heading.refers_to,
        content_hash=heading.content_hash,
        email_id=email_id,
        labels=labels,
    )


def _parsed(records: list[Record], parse: Parser) -> list[Mapping[bytes, Any]]:
    try:
        return list(parse(records))
    except _BROKEN_ANSWERS:
        return []


def _uid(items: Mapping[bytes, Any]) -> int:
    uid = items.get(b"UID")
    return uid if isinstance(uid, int) and 0 < uid <= HIGHEST_UID else 0


@functools.lru_cache(maxsize=1024)
def _flags(raw: bytes) -> frozenset[str]:
    """The flags between two brackets; few combinations exist, so one object serves many messages."""
    return _flags_of(raw.split())


def _flags_of(flags: Iterable[object]) -> frozenset[str]:
    """Flags as the server wrote them, without \\Recent, which is about the session and not the message."""
    texts = (flag.decode("utf-8", "replace") if isinstance(flag, bytes) else str(flag) for flag in flags)
    return frozenset(visible(text) for text in texts if text.lower() != "\\recent")


def _internal_date(raw: bytes) -> datetime | None:
    """A date-time of RFC 3501 section 9, or None for an impossible one."""
    match = _DATE.fullmatch(raw)
    if match is None:
        return None
    day, name, year, hour, minute, second, sign, hours, minutes = match.groups()
    month = MONTHS.get(name.decode().lower())
    if month is None:
        return None
    try:
        seconds = min(int(second), 59)
        return datetime(int(year), month, int(day), int(hour), int(minute), seconds, 0, zone(sign, hours, minutes))
    except ValueError:
        return None
