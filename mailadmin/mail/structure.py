"""Reads what a server says of a message's parts (BODYSTRUCTURE, RFC 3501 7.4.2), however deep, broken or long it is.

How it works. An answer is cut into tokens, and these are put together to lists, both without recursion: neither a
message of ten thousand multiparts nor a server that sends only brackets can exhaust the stack. What is deeper than
`DEEPEST`, or has more tokens than `MOST_TOKENS`, is not read at all: the message is then one without known parts.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast
from urllib.parse import unquote_to_bytes

from mailadmin.mail.charsets import decode
from mailadmin.mail.imap_fetch import HIGHEST_UID
from mailadmin.mail.imap_items import Record
from mailadmin.mail.scrub import visible
from mailadmin.mail.words import decoded

DEEPEST = 60  # multiparts within multiparts
MOST_TOKENS = 50_000
MOST_PARTS = 500
LONGEST_NAME = 255
_LONGEST_WORD = 80
_LARGEST = 2**63 - 1
# Runs of plain characters are taken whole and never given back (`++`): one by one they would take thrice as long.
_TOKEN = re.compile(rb'([()])|"((?:[^"\\]++|\\.)*+)"|((?:[^\s()"\[]++|\[[^\]]{0,2000}\]|\[)++)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LITERAL_SIZE = re.compile(rb"~?\{\d+\+?\}$")
_CONTINUED = re.compile(r"(.+?)\*(\d{1,3})(\*?)")
_NEITHER = re.compile(r"[^a-z0-9.+_-]+")

Value = bytes | list["Value"] | None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message. `number` is how it is asked for (RFC 3501 6.4.5); `type` is like `text/plain`.

    `size` is in bytes as it is transferred, in `encoding`. `name` is a file's, empty for none; `cid` is how HTML refers
    to it. `children` are the parts of a multipart, of which nothing else but `type` and `number` is set.
    """

    number: str
    type: str
    charset: str = ""
    encoding: str = ""
    size: int = 0
    name: str = ""
    cid: str = ""
    disposition: str = ""
    is_flowed: bool = False
    children: tuple["Part", ...] = ()

    def leaves(self) -> Iterator["Part"]:
        """The parts that are no multiparts, in the order of the message."""
        if not self.type.startswith("multipart/"):
            yield self
        for child in self.children:
            yield from child.leaves()


def read_items(records: Sequence[Record]) -> dict[str, Value]:
    """The items of one FETCH answer by name in upper case, such as `UID` and `BODY[1]`, without what follows `<`.

    Raises ValueError for what is none, or too much.
    """
    items = next((value for value in _values(records) if isinstance(value, list)), None)
    if items is None:
        raise ValueError("not a FETCH answer")
    names = [name.decode("ascii", "replace").upper() for name in items[::2] if isinstance(name, bytes)]
    return {name.partition("<")[0]: value for name, value in zip(names, items[1::2], strict=False)}


def uid_of(items: Mapping[str, Value]) -> int:
    """The UID among `items`, or 0."""
    raw = items.get("UID")
    uid = int(raw) if isinstance(raw, bytes) and raw.isdigit() and len(raw) <= 10 else 0
    return uid if uid <= HIGHEST_UID else 0


def read_structure(value: Value) -> Part | None:
    """The parts that BODYSTRUCTURE tells; None where it makes no sense. Never raises."""
    if not isinstance(value, list) or not value:
        return None
    return _part(value, "", [MOST_PARTS], 0)


# Tokens and lists.


def _values(records: Sequence[Record]) -> list[Value]:
    """Brackets as lists, strings as bytes, NIL as None.

    Brackets that are missing are thought of, and those too many passed over. Raises ValueError for what is too much.
    """
    top: list[Value] = []
    stack, inner, left = [top], top, MOST_TOKENS
    for record in records:
        line, literal = record if isinstance(record, tuple) else (record, None)
        tokens = _tokens(line if literal is None else _LITERAL_SIZE.sub(b"", line), left)
        left -= len(tokens)
        for bracket, quoted, atom in tokens:
            if atom:
                inner.append(None if atom.upper() == b"NIL" else atom)
            elif not bracket:
                inner.append(_ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
            elif bracket == b"(":
                if len(stack) > 2 * DEEPEST + 10:
                    raise ValueError("too deep")
                inner = []
                stack[-1].append(inner)
                stack.append(inner)
            elif len(stack) > 1:
                stack.pop()
                inner = stack[-1]
        if literal is not None:
            inner.append(literal)
    return top


def _tokens(line: bytes, most: int) -> list[tuple[bytes, bytes, bytes]]:
    """The brackets, quoted strings and atoms of `line`. Raises ValueError if they are more than `most`."""
    if len(line) <= most:  # Then they cannot be more, and one call finds them all.
        return _TOKEN.findall(line)
    tokens = [match.groups(b"") for match in islice(_TOKEN.finditer(line), most + 1)]
    if len(tokens) > most:
        raise ValueError("too many tokens")
    return cast(list[tuple[bytes, bytes, bytes]], tokens)


# Parts.


def _part(value: list[Value], number: str, budget: list[int], depth: int) -> Part | None:
    budget[0] -= 1
    if budget[0] < 0 or depth > DEEPEST:
        return None
    if value and isinstance(value[0], list):
        return _multipart(value, number, budget, depth)
    if len(value) < 2:
        return None
    kind = f"{_word(value[0])}/{_word(value[1])}"
    params, (disposition, more) = _pairs(_at(value, 2)), _disposition(value, kind)
    name = _parameter(more, "filename") or _parameter(params, "name")
    return Part(
        number=number or "1",
        type=kind,
        charset=visible(params.get("charset", ""))[:60],
        encoding=_word(_at(value, 5)),
        size=_number(_at(value, 6)),
        name=(_shown_name(name) if name else "") or ("message.eml" if kind == "message/rfc822" else ""),
        cid=_text(_at(value, 3)).strip().removeprefix("<").removesuffix(">")[:LONGEST_NAME],
        disposition=disposition,
        is_flowed=params.get("format", "").lower() == "flowed",
    )


def _multipart(value: list[Value], number: str, budget: list[int], depth: int) -> Part:
    inner = [each for each in value if isinstance(each, list)]
    first_word = next((place for place, each in enumerate(value) if not isinstance(each, list)), len(value))
    children = []
    for place, each in enumerate(inner[:first_word], 1):
        child = _part(each, f"{number}.{place}" if number else str(place), budget, depth + 1)
        if child is not None:
            children.append(child)
    kind = _word(_at(value, first_word)) or "mixed"
    return Part(number=number, type=f"multipart/{kind}", children=tuple(children))


def _disposition(value: list[Value], kind: str) -> tuple[str, dict[str, str]]:
    """How the part is to be shown (RFC 2183); where it stands depends on the type, and not every server knows that."""
    usual = 9 if kind.startswith("text/") else 11 if kind == "message/rfc822" else 8
    for place in (usual, 8, 9, 10, 11):
        said = _at(value, place)
        if isinstance(said, list) and said and (word := _word(said[0])) in ("inline", "attachment"):
            return word, _pairs(_at(said, 1))
    return "", {}


def _at(value: list[Value], place: int) -> Value:
    return value[place] if place < len(value) else None


def _text(value: Value) -> str:
    if not isinstance(value, bytes):
        return ""
    return value.decode("ascii") if value.isascii() else decode(value)


def _word(value: Value) -> str:
    return _known_word(value[:_LONGEST_WORD]) if isinstance(value, bytes) else ""


@functools.lru_cache(maxsize=256)
def _known_word(raw: bytes) -> str:
    """Types, encodings and the like, of which few exist."""
    return _NEITHER.sub("", decode(raw).lower())


def _number(value: Value) -> int:
    """A size; what is none, or larger than a database can hold, is 0."""
    number = int(value) if isinstance(value, bytes) and value.isdigit() and len(value) < 20 else 0
    return number if number <= _LARGEST else 0


def _pairs(value: Value) -> dict[str, str]:
    """Parameters by name in lower case; of one that is repeated, the first."""
    found: dict[str, str] = {}
    if isinstance(value, list):
        for name, content in zip(value[::2], value[1::2], strict=False):
            if isinstance(name, bytes) and isinstance(content, bytes):
                found.setdefault(_text(name).lower()[:80], _text(content)[:4000])
    return found


def _parameter(pairs: Mapping[str, str], wanted: str) -> str:
    """The parameter `wanted`: in pieces or with a charset (RFC 2231), in encoded words, or plainly."""
    pieces: dict[int, tuple[str, bool]] = {}
    for name, value in pairs.items():
        if "*" not in name:
            continue
        match = _CONTINUED.fullmatch(name)
        if match and match[1] == wanted:
            pieces.setdefault(int(match[2]), (value, bool(match[3])))
    if pieces:
        return _joined(pieces)
    if (extended := pairs.get(f"{wanted}*")) is not None:
        return _joined({0: (extended, True)})
    return decoded(pairs.get(wanted, ""))


def _joined(pieces: Mapping[int, tuple[str, bool]]) -> str:
    """Pieces in their order; the first says the charset of those that are encoded (RFC 2231 4.1)."""
    raw, charset = b"", ""
    for place in sorted(pieces):
        text, is_encoded = pieces[place]
        if is_encoded and not raw and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        raw += unquote_to_bytes(text) if is_encoded else text.encode("utf-8", "replace")
    return decode(raw, charset)


def _shown_name(name: str) -> str:
    """A name as people may see it: one line, no path, nothing invisible."""
    last = re.split(r"[/\\]", " ".join(name.split()))[-1]
    return visible(last)[:LONGEST_NAME].strip(". ")
