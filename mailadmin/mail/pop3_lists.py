"""Reads the answers of POP3 that count, measure and name messages (RFC 1939 5 and 7), whatever a server says."""

import hashlib
import re
from collections.abc import Iterable

LONGEST_NAME = 70
_STAT = re.compile(rb"(\d{1,10})(?:[ \t]+\d{1,20})?(?:[ \t].*)?", re.DOTALL)
_SIZE = re.compile(rb"[ \t]*(\d{1,10})[ \t]+(\d{1,18})(?:[ \t].*)?", re.DOTALL)
_NAMED = re.compile(rb"[ \t]*(\d{1,10})[ \t]+(.*?)[ \t]*", re.DOTALL)
_PROPER = re.compile(rb"[\x21-\x7e]{1,70}")


def read_stat(text: bytes) -> int | None:
    """Return the number of messages in the answer to STAT, or None for what is no such answer."""
    match = _STAT.fullmatch(text.strip())
    return int(match[1]) if match else None


def read_listing(lines: Iterable[bytes]) -> dict[int, int]:
    """Return the sizes in bytes by number, of the lines of LIST; others are left out, and of two the first counts."""
    found: dict[int, int] = {}
    for match in filter(None, map(_SIZE.fullmatch, lines)):
        if number := int(match[1]):
            found.setdefault(number, int(match[2]))
    return found


def read_names(lines: Iterable[bytes]) -> dict[int, str]:
    """Return the names by number, in the order of the lines of UIDL; others are left out, and of two the first counts.

    A name has at most 70 characters of ASCII: another one is replaced by its SHA-256, so that none is lost.
    """
    found: dict[int, str] = {}
    for match in filter(None, map(_NAMED.fullmatch, lines)):
        if (number := int(match[1])) and match[2]:
            found.setdefault(number, _name(match[2]))
    return found


def _name(raw: bytes) -> str:
    return raw.decode("ascii") if _PROPER.fullmatch(raw) else f"#{hashlib.sha256(raw).hexdigest()}"
