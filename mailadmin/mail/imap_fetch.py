"""Reads what imaplib collected of FETCH answers, message by message, so that a poisonous one spoils only itself."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mailadmin.mail.headers import FIELDS, MONTHS, read_heading, zone
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import Envelope

Record = bytes | tuple[bytes, bytes]
Parser = Callable[[list[Any]], Iterable[Mapping[bytes, Any]]]

HIGHEST_UID = 2**32 - 1
ENVELOPE_ITEMS = f"(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS ({' '.join(FIELDS)})]<0.65536>)"
UNREADABLE = "The answer of the server for this message cannot be read."
REFUSED = "The server could not deliver this message."

_FLAGS = re.compile(rb"\d+ \((?:UID (\d+) FLAGS \(([^()]*)\)|FLAGS \(([^()]*)\) UID (\d+))(?: MODSEQ \(\d+\))?\)")
_RANGES = re.compile(rb"(?:\([^()]*\) ?)*(?:UID ?)?(?:ALL )?([\d:,]*)", re.IGNORECASE)
_ENVELOPE = re.compile(
    rb"\d+ \(UID (\d+) FLAGS \(([^()]*)\) INTERNALDATE \"([^\"]*)\" RFC822\.SIZE (\d+) "
    rb"BODY\[HEADER\.FIELDS \([^()]*\)\](?:<0>)? \{\d+\}"
)
_DATE = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_BROKEN_ANSWERS = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


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
    return _envelope(int(match[1]), _flags(match[2]), _internal_date(match[3]), int(match[4]), records[0][1])


def _slow(records: list[Record], parse: Parser) -> Envelope | None:
    """Any other answer; None if it is not one that was asked for, such as changed flags of some message."""
    for items in parse(records):
        uid = _uid(items)
        body = next((value for key, value in items.items() if key.startswith(b"BODY[HEADER")), b"")
        if not uid or b"RFC822.SIZE" not in items:
            continue
        received = items.get(b"INTERNALDATE")
        if isinstance(received, datetime) and received.tzinfo is None:
            received = received.replace(tzinfo=UTC)
        size = items[b"RFC822.SIZE"]
        return _envelope(
            uid, _flags_of(items.get(b"FLAGS", ())), received, size if isinstance(size, int) else 0, body or b""
        )
    return None


def _envelope(uid: int, flags: frozenset[str], received: datetime | None, size: int, header: bytes) -> Envelope:
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
        message_id=heading.message_id,
        sent_at=heading.sent_at,
        recipients=heading.recipients,
        is_bulk=heading.is_bulk,
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
    month = MONTHS.get(match[2].decode("ascii").lower()) if match else None
    if match is None or month is None:
        return None
    numbers = int(match[3]), month, int(match[1]), int(match[4]), int(match[5]), min(int(match[6]), 59)
    try:
        return datetime(*numbers, tzinfo=zone(match[7], match[8], match[9]))
    except ValueError:
        return None
