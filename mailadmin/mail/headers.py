"""Reads the few header fields that a list of messages shows, from bytes that anybody may have written; never raises.

A first sync spends much of its time here. So what is ASCII, printable and short, which is nearly everything, takes
short ways that come to the same, and what was read of senders and recipients is remembered, for they come again.
"""

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from hashlib import blake2b

from mailadmin.mail.charsets import decode
from mailadmin.mail.scrub import visible
from mailadmin.mail.words import decoded

# What a list shows, what makes conversations, and what tells people from machines: see Heading.
FIELDS = (
    *("FROM", "REPLY-TO", "TO", "CC", "SUBJECT", "DATE", "MESSAGE-ID", "REFERENCES", "IN-REPLY-TO"),
    *("LIST-ID", "LIST-UNSUBSCRIBE", "PRECEDENCE", "AUTO-SUBMITTED"),
)
SUBJECT_LENGTH = 998  # The longest line of a message (RFC 5322 2.1.1).
RECIPIENTS = 50
REFERENCES = 20
_ADDRESS_LENGTH = 320  # RFC 3696 section 3: 64 for the local part, @, 255 for the domain.
_RAW_LENGTH = 65_536
_REMEMBERED_LENGTH = 500  # of a list of mailboxes that may come again

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_PLAIN_MAILBOX = re.compile(r'\s*"[^"\\]*"\s*<[^<>\s"(),:;\\]*>\s*')
_SPECIAL = re.compile(r'["\\():;]')  # what else than a comma has a meaning in a list of mailboxes
_QUOTED = re.compile(r"\\(.)", re.DOTALL)
_ID = re.compile(r"<[^<>\s]{1,996}>")
_DATE = re.compile(r"(?:[A-Za-z]{3},)? ?(\d\d?) ([A-Za-z]{3}) (\d{4}) (\d\d):(\d\d)(?::(\d\d))? ([+-])(\d\d)(\d\d)\b")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {form: n for n, name in enumerate(_MONTH_NAMES, 1) for form in (name, name.title())}
_USUAL = {name.title(): name.lower() for name in FIELDS} | {"Message-ID": "message-id", "Message-Id": "message-id"}
_BLANKS = " \t\n\r\v\f"  # those of ASCII
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2101, 1, 1, tzinfo=UTC)

_People = tuple[tuple[str, str], ...]  # names and addresses


@dataclass(slots=True)  # Not frozen: that would take longer than to read a date.
class Heading:
    """What a list shows of a message's header; what was absent or unreadable is empty, or None for the dates.

    `received_at` is what the topmost server wrote (Received, RFC 5321 4.4), where that is among the fields.
    `recipients` are names and addresses of To and Cc, at most 50. `reply_to` is as `to`, and empty where it says no
    more than From. `is_bulk`: it went to a list (RFC 2919, 2369), or a machine wrote it (RFC 3834). `refers_to` are the
    ids of References, then that of In-Reply-To (RFC 5322 3.6.4), the oldest first, at most 20. `content_hash` is of
    what no server changes when it takes a message over: id, instant, sender, recipients, subject; None where that tells
    messages not apart.
    """

    subject: str = ""
    from_name: str = ""
    from_address: str = ""
    to: str = ""
    reply_to: str = ""
    message_id: str = ""
    sent_at: datetime | None = None
    received_at: datetime | None = None
    recipients: tuple[tuple[str, str], ...] = ()
    is_bulk: bool = False
    refers_to: tuple[str, ...] = ()
    content_hash: bytes | None = None


def read_heading(raw: bytes) -> Heading:
    """Return the fields of `raw`, header lines as they stand in a message (RFC 5322 2.2). Never raises.

    Texts have no NUL, no lone surrogate and no invisible control; the subject has at most 998 characters, `to` at most
    50 recipients and how many more there were; times are aware and lie in 1970..2100, or are None.
    """
    fields = _split(raw[:_RAW_LENGTH])
    name, address = _sender(fields.get("from", ""))
    written_to, to = _recipients(fields.get("to", ""), RECIPIENTS)
    copied_to = _recipients(fields.get("cc", ""), RECIPIENTS - len(written_to))[0] if "cc" in fields else ()
    answers, reply_to = _recipients(fields.get("reply-to", ""), RECIPIENTS) if "reply-to" in fields else ((), "")
    subject = _shown(decoded(fields.get("subject", "")), SUBJECT_LENGTH)
    message_id, date = _shown(fields.get("message-id", ""), SUBJECT_LENGTH), fields.get("date", "")
    sent_at = read_date(date)
    when = str(sent_at.timestamp()) if sent_at else _shown(date, SUBJECT_LENGTH)
    return Heading(
        subject=subject,
        from_name=name,
        from_address=address,
        to=to,
        reply_to="" if [each for _, each in answers] == [address] else reply_to,
        message_id=message_id,
        sent_at=sent_at,
        received_at=read_date(fields["received"].rpartition(";")[2].strip()) if "received" in fields else None,
        recipients=written_to + copied_to,
        is_bulk=_is_bulk(fields),
        refers_to=_references(fields.get("references", ""), fields.get("in-reply-to", "")),
        content_hash=_hash(message_id, when, address or name, written_to, copied_to, subject),
    )


def _references(references: str, answered: str) -> tuple[str, ...]:
    """The ids that a message refers to; of too many the first, with which all began, and the last ones."""
    if not references and not answered:
        return ()
    ids = _ID.findall(references)
    ids += _ID.findall(answered)[:1]  # What follows the first one is an address rather than an id.
    found = list(dict.fromkeys(ids))
    if len(found) > REFERENCES:
        del found[1 : len(found) - REFERENCES + 1]
    return tuple(found)


def _hash(message_id: str, when: str, sender: str, to: _People, cc: _People, subject: str) -> bytes | None:
    """What two copies of a message have in common; None for one with neither an id nor a sender and a time."""
    if not message_id and not (when and sender):
        return None
    to_all = " ".join([address or name for name, address in to])
    cc_all = " ".join([address or name for name, address in cc])
    content = "\n".join((message_id, when, sender.lower(), to_all.lower(), cc_all.lower(), subject))
    return blake2b(content.encode("utf-8", "replace"), digest_size=16).digest()


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
    if moment is None or 1970 < moment.year < 2100:
        return moment
    return moment if _EARLIEST <= moment < _LATEST else None


def _strict_date(text: str) -> datetime | None:
    """The way nearly all dates are written, read quickly."""
    match = _DATE.match(text)
    if match is None:
        return None
    day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
    number = MONTHS.get(month) or MONTHS.get(month.lower())
    if number is None:
        return None
    # A leap second is a second that datetime does not know.
    seconds = min(int(second), 59) if second else 0
    return datetime(int(year), number, int(day), int(hour), int(minute), seconds, 0, zone(sign, hours, minutes))


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
    if not text or (
        text.isprintable() and "  " not in text
    ):  # No other blank than the space is printable, and nothing invisible.
        return text.strip(" ")[:longest]
    return visible(" ".join(text.replace("\0", "").split()))[:longest]


def _sender(text: str) -> tuple[str, str]:
    """The name and the address of the first mailbox in `text` as they can be shown."""
    return _known_sender(text) if len(text) <= _REMEMBERED_LENGTH else _read_sender(text)


def _read_sender(text: str) -> tuple[str, str]:
    found, _ = _mailboxes(text, 1)
    return (_shown(found[0][0], SUBJECT_LENGTH), _shown(found[0][1], _ADDRESS_LENGTH)) if found else ("", "")


def _recipients(text: str, most: int) -> tuple[_People, str]:
    """The first `most` recipients as names and addresses that can be shown, and all of them on one line."""
    if not text:
        return (), ""
    return _known_recipients(text, most) if len(text) <= _REMEMBERED_LENGTH else _read_recipients(text, most)


def _read_recipients(text: str, most: int) -> tuple[_People, str]:
    found, more = _mailboxes(text, most)
    on_one_line = ", ".join([mailbox[3] for mailbox in found])
    return tuple([mailbox[2] for mailbox in found]), on_one_line + (f" and {more:,} more" if more else "")


_known_sender = functools.lru_cache(maxsize=2048)(_read_sender)
_known_recipients = functools.lru_cache(maxsize=2048)(_read_recipients)

_Mailbox = tuple[str, str, tuple[str, str], str]  # name and address, the same as they are shown, on one line


def _mailboxes(text: str, most: int) -> tuple[list[_Mailbox], int]:
    """The first `most` mailboxes of a list (RFC 5322 3.4), and the number of the others."""
    found: list[_Mailbox] = []
    more = 0
    is_plain = not _SPECIAL.search(text)
    for part in text.split(",") if is_plain else [text] if _PLAIN_MAILBOX.fullmatch(text) else _parts(text):
        if len(found) >= most:
            more += 1 if part.strip() else 0
        elif mailbox := _known_mailbox(part) if len(part) <= _REMEMBERED_LENGTH else _mailbox(part):
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


def _mailbox(text: str) -> _Mailbox | None:
    """One mailbox, however broken: the name decoded, the address as it stands; None if there is neither."""
    name, address = _cut(text)
    if not name and not address:
        return None
    shown = _shown(name, _ADDRESS_LENGTH), _shown(address, _ADDRESS_LENGTH)
    written = f"{shown[0]} <{shown[1]}>" if shown[0] and shown[1] else shown[0] or shown[1]
    return name, address, shown, written[:_ADDRESS_LENGTH]


def _cut(text: str) -> tuple[str, str]:
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
