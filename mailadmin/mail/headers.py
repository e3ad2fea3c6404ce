"""Reads the few header fields that a list of messages shows, from bytes that anybody may have written; never raises.

A first sync spends much of its time here. So what is ASCII, printable and short, which is nearly everything, takes
short ways that come to the same, and what was read of senders and recipients is remembered, for they come again.
"""

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

from mailadmin.mail.charsets import decode
from mailadmin.mail.scrub import visible
from mailadmin.mail.words import decoded

# What a list shows, and what tells people from machines: see Heading.is_bulk.
FIELDS = (
    *("FROM", "TO", "CC", "SUBJECT", "DATE", "MESSAGE-ID"),
    *("LIST-ID", "LIST-UNSUBSCRIBE", "PRECEDENCE", "AUTO-SUBMITTED"),
)
SUBJECT_LENGTH = 998  # The longest line of a message (RFC 5322 2.1.1).
RECIPIENTS = 50
_ADDRESS_LENGTH = 320  # RFC 3696 section 3: 64 for the local part, @, 255 for the domain.
_RAW_LENGTH = 65_536
_REMEMBERED_LENGTH = 500  # of a list of mailboxes that may come again

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_PLAIN_MAILBOX = re.compile(r'\s*(?:"([^"\\]*)"|([^"<>(),:;@\\]*))\s*<([^<>\s"(),:;\\]*)>\s*')
_BARE_MAILBOX = re.compile(r'\s*([^\s<>"(),:;\\]+@[^\s<>"(),:;\\]+)\s*')
_SPECIAL = re.compile(r'["\\():;]')  # what else than a comma has a meaning in a list of mailboxes
_QUOTED = re.compile(r"\\(.)", re.DOTALL)
_DATE = re.compile(r"(?:[A-Za-z]{3},)? ?(\d\d?) ([A-Za-z]{3}) (\d{4}) (\d\d):(\d\d)(?::(\d\d))? ([+-])(\d\d)(\d\d)\b")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, 1)}
_USUAL = {name.title(): name.lower() for name in FIELDS} | {"Message-ID": "message-id", "Message-Id": "message-id"}
_BLANKS = " \t\n\r\v\f"  # those of ASCII
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2101, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Heading:
    """What a list shows of a message's header; what was absent or unreadable is empty, or None for the dates.

    `received_at` is what the topmost server wrote (Received, RFC 5321 4.4), where that is among the fields.
    `recipients` are names and addresses of To and Cc, at most 50. `is_bulk`: it went to a list (RFC 2919, 2369), or a
    machine wrote it (RFC 3834).
    """

    subject: str = ""
    from_name: str = ""
    from_address: str = ""
    to: str = ""
    message_id: str = ""
    sent_at: datetime | None = None
    received_at: datetime | None = None
    recipients: tuple[tuple[str, str], ...] = ()
    is_bulk: bool = False


def read_heading(raw: bytes) -> Heading:
    """Return the fields of `raw`, header lines as they stand in a message (RFC 5322 2.2). Never raises.

    Texts have no NUL, no lone surrogate and no invisible control; the subject has at most 998 characters, `to` at most
    50 recipients and how many more there were; times are aware and lie in 1970..2100, or are None.
    """
    fields = _split(raw[:_RAW_LENGTH])
    name, address = _sender(fields.get("from", ""))
    written_to, to = _recipients(fields.get("to", ""), RECIPIENTS)
    copied_to = _recipients(fields.get("cc", ""), RECIPIENTS - len(written_to))[0] if "cc" in fields else ()
    return Heading(
        subject=_shown(decoded(fields.get("subject", "")), SUBJECT_LENGTH),
        from_name=name,
        from_address=address,
        to=to,
        message_id=_shown(fields.get("message-id", ""), SUBJECT_LENGTH),
        sent_at=read_date(fields.get("date", "")),
        received_at=read_date(fields.get("received", "").rpartition(";")[2].strip()),
        recipients=written_to + copied_to,
        is_bulk=_is_bulk(fields),
    )


def _is_bulk(fields: dict[str, str]) -> bool:
    if "list-id" in fields or "list-unsubscribe" in fields:
        return True
    is_automatic = fields.get("auto-submitted", "no").partition(";")[0].strip().lower() != "no"
    return is_automatic or fields.get("precedence", "").strip().lower() in ("bulk", "list", "junk")


def read_date(text: str) -> datetime | None:
    """Return a date of RFC 5322 3.3, however badly written, as an aware time of 1970..2100, or None. Never raises."""
    try:
        moment = _strict_date(text) or _loose_date(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment is not None and _EARLIEST <= moment < _LATEST else None


def _strict_date(text: str) -> datetime | None:
    """The way nearly all dates are written, read quickly."""
    match = _DATE.match(text)
    month = MONTHS.get(match[2].lower()) if match else None
    if match is None or month is None:
        return None
    # A leap second is a second that datetime does not know.
    second = min(int(match[6] or 0), 59)
    at = zone(match[7], match[8], match[9])
    return datetime(int(match[3]), month, int(match[1]), int(match[4]), int(match[5]), second, tzinfo=at)


@functools.lru_cache(maxsize=256)
def zone(sign: str | bytes, hours: str | bytes, minutes: str | bytes) -> timezone:
    """A zone as a date names it (RFC 5322 3.3). Raises ValueError for one of a day or more."""
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign in ("-", b"-") else offset)


def _loose_date(text: str) -> datetime | None:
    parts = parsedate_tz(text[:200])
    if parts is None:
        return None
    return datetime(*parts[:5], min(parts[5], 59), tzinfo=timezone(timedelta(seconds=parts[9] or 0)))


def _split(raw: bytes) -> dict[str, str]:
    """The fields by lower-case name, unfolded (RFC 5322 2.2.3); of a field that is repeated, the first."""
    fields: dict[str, str] = {}
    if raw.isascii():
        unfolded = raw.decode("ascii").replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", "\t")
        for text in unfolded.replace("\r", "\n").split("\n"):
            name, colon, value = text.partition(":")
            if colon:
                name = _USUAL.get(name) or name.strip(_BLANKS).lower()
                if name not in fields:
                    fields[name] = value.strip()
        return fields
    for line in _FOLD.sub(b"", raw).replace(b"\r", b"\n").split(b"\n"):
        before, mark, after = line.partition(b":")
        name = before.decode("latin_1").strip(_BLANKS).lower()
        if mark and name not in fields:
            fields[name] = (after.decode("ascii") if after.isascii() else decode(after)).strip()
    return fields


def _shown(text: str, longest: int) -> str:
    """`text` on one line, made safe to store and show, and cut."""
    if text.isprintable() and "  " not in text:  # No other blank than the space is printable, and nothing invisible.
        return text.strip(" ")[:longest]
    return visible(" ".join(text.replace("\0", "").split()))[:longest]


def _sender(text: str) -> tuple[str, str]:
    """The name and the address of the first mailbox in `text` as they can be shown."""
    return _known_sender(text) if len(text) <= _REMEMBERED_LENGTH else _read_sender(text)


def _read_sender(text: str) -> tuple[str, str]:
    found, _ = _mailboxes(text, 1)
    name, address = found[0] if found else ("", "")
    return _shown(name, SUBJECT_LENGTH), _shown(address, _ADDRESS_LENGTH)


def _recipients(text: str, most: int) -> tuple[tuple[tuple[str, str], ...], str]:
    """The first `most` recipients as names and addresses that can be shown, and all of them on one line."""
    if not text:
        return (), ""
    return _known_recipients(text, most) if len(text) <= _REMEMBERED_LENGTH else _read_recipients(text, most)


def _read_recipients(text: str, most: int) -> tuple[tuple[tuple[str, str], ...], str]:
    found, more = _mailboxes(text, most)
    shown = tuple((_shown(name, _ADDRESS_LENGTH), _shown(address, _ADDRESS_LENGTH)) for name, address in found)
    written = (f"{name} <{address}>" if name and address else name or address for name, address in shown)
    on_one_line = ", ".join(mailbox[:_ADDRESS_LENGTH] for mailbox in written)
    return shown, on_one_line + (f" and {more:,} more" if more else "")


_known_sender = functools.lru_cache(maxsize=2048)(_read_sender)
_known_recipients = functools.lru_cache(maxsize=2048)(_read_recipients)


def _mailboxes(text: str, most: int) -> tuple[list[tuple[str, str]], int]:
    """The first `most` mailboxes of a list (RFC 5322 3.4) as name and address, and the number of the others."""
    if match := _PLAIN_MAILBOX.fullmatch(text):
        return [(decoded(match[1] or match[2] or "").strip(), match[3])], 0
    if match := _BARE_MAILBOX.fullmatch(text):
        return [("", match[1])], 0
    found: list[tuple[str, str]] = []
    more = 0
    for part in _parts(text) if _SPECIAL.search(text) else filter(str.strip, text.split(",")):
        if len(found) >= most:
            more += 1
        elif (mailbox := _known_mailbox(part) if len(part) <= _REMEMBERED_LENGTH else _mailbox(part)) != ("", ""):
            found.append(mailbox)
    return found, more


def _parts(text: str) -> list[str]:
    """`text` cut at the commas and semicolons that separate mailboxes; the names of groups are dropped."""
    parts: list[str] = []
    begin, quoted, angled, depth, skip = 0, False, False, 0, False
    for position, char in enumerate(text):
        if skip or char == "\\":
            skip = not skip
        elif char == '"' and not depth:
            quoted = not quoted
        elif quoted:
            continue
        elif char in "()":
            depth = max(0, depth + (1 if char == "(" else -1))
        elif depth:
            continue
        elif char in "<>":
            angled = char == "<"
        elif char in ",;" or (char == ":" and not angled):
            if char != ":":
                parts.append(text[begin:position])
            begin, angled = position + 1, False
    return [part for part in (*parts, text[begin:]) if part.strip()]


def _mailbox(text: str) -> tuple[str, str]:
    """One mailbox, however broken: the name decoded, the address as it stands."""
    before, angle, rest = text.rpartition("<")
    if angle:
        return _name(before), rest.partition(">")[0].strip()
    address, _, comment = text.partition("(")
    if "@" in address:
        # Some write a name and an address without the angle brackets between which it belongs.
        *words, last = address.split()
        return _name(comment.strip().removesuffix(")") or " ".join(words)), last
    return _name(text), ""


_known_mailbox = functools.lru_cache(maxsize=4096)(_mailbox)


def _name(text: str) -> str:
    """A display name (RFC 5322 3.4) without its quotes and with its words decoded."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return decoded(_QUOTED.sub(r"\1", text)).strip()
