"""Takes a message apart that came whole, as POP3 has it, into the same parts that an IMAP server would tell of."""

from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from mailadmin.mail.charsets import decode
from mailadmin.mail.structure import DEEPEST, MOST_PARTS, Part, Value, read_structure

_BROKEN = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


def take_apart(raw: bytes) -> tuple[Part | None, dict[str, bytes]]:
    """The parts of `raw` and the content of each, as transferred, by its number. Never raises."""
    contents: dict[str, bytes] = {}
    try:
        message = BytesParser(policy=compat32).parsebytes(raw)
        told = _told(message, "", contents, 0)
    except _BROKEN:
        return None, {}
    return read_structure(told), contents


def _told(message: Message, number: str, contents: dict[str, bytes], depth: int) -> list[Value]:
    """What an IMAP server would say of `message` (RFC 3501 7.4.2)."""
    if depth > DEEPEST or len(contents) > MOST_PARTS:
        raise ValueError("too many parts")
    kind, _, subtype = message.get_content_type().partition("/")
    inside = message.get_payload()
    if kind == "multipart" and isinstance(inside, list):
        prefix = f"{number}." if number else ""
        parts: list[Value] = [
            _told(each, f"{prefix}{place}", contents, depth + 1) for place, each in enumerate(inside, 1)
        ]
        return [*parts, subtype.encode()]
    number = number or "1"
    contents[number] = _content(message)
    encoding = str(message.get("content-transfer-encoding", "7bit")).strip().lower().encode("utf-8", "replace")
    identifier = str(message.get("content-id", "")).encode("utf-8", "replace")
    size = str(len(contents[number])).encode()
    head = [kind.encode(), subtype.encode(), _pairs(message, "content-type"), identifier, None, encoding, size]
    disposition = str(message.get_content_disposition() or "").encode("utf-8", "replace")
    more: list[Value] = [disposition, _pairs(message, "content-disposition")]
    return [*head, None, more]


def _content(message: Message) -> bytes:
    inside = message.get_payload()
    if isinstance(inside, list):  # message/rfc822 is one part, like a file.
        return b"".join(each.as_bytes() for each in inside if isinstance(each, Message))
    return str(inside or "").encode("ascii", "surrogateescape")


def _pairs(message: Message, header: str) -> list[Value]:
    """The parameters of a header as a flat list; those in pieces (RFC 2231) are joined already."""
    flat: list[Value] = []
    for name, value in (message.get_params([], header) or [])[1:]:
        text = decode(value[2].encode("latin-1", "replace"), value[0] or "") if isinstance(value, tuple) else value
        flat += [name.encode("utf-8", "replace"), text.encode("utf-8", "surrogateescape")]
    return flat
