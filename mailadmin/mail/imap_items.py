"""Cuts a FETCH answer into its items, in any order, with one level of brackets: all that is asked for in numbers.

IMAPClient's parser reads everything, ten times slower; what is too strange for this one is left to it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

Record = bytes | tuple[bytes, bytes]
Items = dict[bytes, Any]

_BEGIN = re.compile(rb"\d{1,20} (?=\()")
_LITERAL = re.compile(rb"~?\{\d{1,20}\+?\}$")
_TOKEN = re.compile(
    rb' *(?:([()])|"((?:[^"\\]++|\\.)*+)"|([A-Za-z][\w.-]*\[[^\]"]*\](?:<\d{1,20}>)?)|([^\s()"\[\]{}]+)) *', re.DOTALL
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_DEEPEST = 2


def read_items(records: Sequence[Record]) -> Items | None:
    """The items of one answer by upper-case name: numbers, bytes, None for NIL, or tuples; None if it is too strange.

    Flags keep their backslash. Of an item that comes twice the last counts.
    """
    lists: list[list[Any]] = [[]]  # one for each bracket that is open, and the answer as a whole
    for bracket, value in _tokens(records):
        if bracket == b"(" and len(lists) <= _DEEPEST:
            lists.append([])
        elif bracket == b")" and len(lists) > 1:
            last = tuple(lists.pop())
            lists[-1].append(last)
        elif bracket or len(lists) == 1:
            return None
        else:
            lists[-1].append(value)
    if len(lists) > 1 or len(lists[0]) != 1 or len(lists[0][0]) % 2:
        return None
    values = lists[0][0]
    if not all(isinstance(name, bytes) for name in values[::2]):
        return None
    return {name.upper(): value for name, value in zip(values[::2], values[1::2], strict=True)}


def _tokens(records: Sequence[Record]) -> Iterator[tuple[bytes, Any]]:
    """Brackets and values, in the order in which they stand; a bracket that opens nothing ends what is too strange."""
    for number, record in enumerate(records):
        text = record if isinstance(record, bytes) else _LITERAL.sub(b"", record[0])
        begin = _BEGIN.match(text)
        position = begin.end() if begin and number == 0 else 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                yield b"?", None
                return
            bracket, quoted, section, atom = match.groups()
            yield bracket, _ESCAPED.sub(rb"\1", quoted) if quoted is not None else section or _atom(atom)
            position = match.end()
        if isinstance(record, tuple):
            yield b"", record[1]


def _atom(atom: bytes | None) -> bytes | int | None:
    if atom is None or atom.upper() == b"NIL":
        return None
    return int(atom) if atom.isdigit() and len(atom) <= 20 else atom
