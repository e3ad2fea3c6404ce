"""What the structure of a text tells, whatever its words: reply codes, status codes, names of exceptions and errors.

guess.py weighs these clues beside the pieces of words. Each is a short string that cannot be a piece of a word, for it
holds a capital letter.
"""

import math
import re
from collections.abc import Iterator

_MOST = 3  # Of each kind; what a log repeats tells no more.
_LONGEST_CLASS = 6  # Of a text's length, in powers of two.
_REPLY = re.compile(r"(?<![\d.:])[245]\d\d(?![\d.:])")
_STATUS = re.compile(r"(?<![\d.])[245]\.\d\.\d{1,3}(?![\d.])")
_VERDICT = re.compile(r"(?<![A-Za-z-])(NO|BAD|BYE|PREAUTH|-ERR)\b")
_RESPONSE_CODE = re.compile(r"\[([A-Z][A-Z/-]{2,30})[ \]]")
_EXCEPTION = re.compile(r"\b([A-Z]\w*(?:Error|Exception|Refused|Disconnected|Failure))\b")
_SYSTEM = re.compile(
    r"\b(E[A-Z]{4,}|WSAE[A-Z]+)\b|(?i:\berrno:? ?-?(\d+)|\bwinerror (\d+)|\bcode[\"']?[:=] ?[\"']?(\w+))"
)
_GRANT = re.compile(r"\b(invalid_\w+|unauthorized_\w+|access_denied|interaction_required|AADSTS\d+)\b")


def clues_of(text: str, where: str) -> Iterator[str]:
    """The clues in a legible text that was said in the protocol or layer `where`."""
    replies = list(dict.fromkeys(_REPLY.findall(text)))[:_MOST]
    verdicts = list(dict.fromkeys(_VERDICT.findall(text)))[:_MOST]
    yield from (f"R{reply}" for reply in replies)
    yield from (f"V{verdict}" for verdict in verdicts)
    yield from (f"V{verdict}@{where}" for verdict in verdicts)
    if replies:
        yield f"F{replies[0]}"
        yield f"F{replies[0]}@{where}"
    for status in _STATUS.findall(text)[:_MOST]:
        yield f"S{status}"
        yield f"S{status[:3]}"
    yield from (f"C{code}" for code in _RESPONSE_CODE.findall(text)[:_MOST])
    yield from (f"X{exception}" for exception in _EXCEPTION.findall(text)[:_MOST])
    yield from (f"E{name.lower()}" for names in _SYSTEM.findall(text)[:_MOST] for name in names if name)
    yield from (f"G{name}" for name in _GRANT.findall(text)[:_MOST])
    yield f"L{min(_LONGEST_CLASS, int(math.log2(1 + len(text.split()))))}"
