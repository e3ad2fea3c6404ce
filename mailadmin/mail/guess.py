"""Guesses what a text is about from how its words are spelt, where no rule of the catalogue hears anything particular.

A text is cut into pieces, four to six letters long, within its words: so forms of a word, and what is written
together, look alike. What its structure tells (clues.py) counts as a few pieces, and so do the class of a reply code
(RFC 5321, RFC 3463), the protocol, the provider's family and the way of signing in. Every piece that stands in several
of the labelled texts (tests/mail/texts.jsonl) has a weight for each category: above zero where it speaks for it, below
where it speaks against it. The sum of the weights says how likely whoever labels texts would accept a category.
`python -m tests.mail.weigh` makes the weights anew from the texts.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mailadmin.mail.clues import clues_of
from mailadmin.mail.errors import Category

FILE = Path(__file__).parent / "rules" / "weights.txt"
ALWAYS = "*"  # A piece of every text: how frequent a category is anyway.
HARMLESS = "harmless"
NAMES = (*(category.value for category in Category), HARMLESS)  # In the order of the weights of a piece.
AROUND = 0.3  # What is known besides the text, and every clue, counts as much as so many of its pieces together.
LOWEST, STEP = -6.6, 0.15  # The weight that the first sign of SIGNS stands for, and how much more each one does.
SIGNS = "".join(map(chr, range(33, 127)))
_LIKELY = 0.2  # A guess has to be this likely.
_FEWEST, _SHOWN = 2, 3  # Words that have to speak for a guess, and words that are shown.
_FAMILIAR = 0.75  # So much of a word has to have weights.
_READ = 1000  # Characters in which the words to show are looked for.
_SHORTEST, _LONGEST = 4, 6
_EMPTY = re.compile(r"the|and|for|are|was|were|ha[sd]|have|its|not|but|you|your|our|this|that|with|from|while|when")
_FIRST, _LAST = 80, 40  # Words of a long text that count: what happened stands at its ends.
_JOINED = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_NAMES = re.compile(r"\S+@\S+|\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|de|ru)\b")
_NUMBERS = re.compile(r"\d{4,}")
_WORD = re.compile(r"[^\W\d_]{3,}")
_REPLY = re.compile(r"(?<![\d.])[2345]\d\d(?![\d.])")
_STATUS = re.compile(r"(?<![\d.])([45])\.(\d)\.\d{1,3}(?![\d.])")


@dataclass(frozen=True, slots=True)
class Guess:
    """A category, how likely it is, and the words of the text that speak for it most."""

    category: Category
    likely: float
    words: tuple[str, ...]


def guess(
    text: str, *, where: str = "", family: str = "", method: str = "", found: str = "", trust: float = 0
) -> Guess | None:
    """What `text`, which has to be legible, is most likely about; None where no word of it tells anything else.

    `found` is the one of NAMES that a rule says, and `trust` how much that counts (in log-odds). That all is well is
    never guessed.
    """
    sums = _sums(text, circumstances(text, where, family, method))
    if found:
        sums[NAMES.index(found)] += trust
    best = max(range(len(NAMES)), key=sums.__getitem__)
    likely = 1 / (1 + math.exp(-sums[best]))
    if NAMES[best] in (found, HARMLESS) or likely < _LIKELY or len(words := _speaking(text, best)) < _FEWEST:
        return None
    return Guess(Category(NAMES[best]), likely, words)


def values(text: str, around: Iterable[str]) -> dict[str, float]:
    """The pieces of a legible text, and what is known `around` it, with how much each counts."""
    pieces = set(pieces_of(text))
    share = 1 / math.sqrt(max(1, len(pieces)))
    return dict.fromkeys(pieces, share) | dict.fromkeys(around, AROUND) | {ALWAYS: 1.0}


def pieces_of(text: str) -> Iterator[str]:
    """The pieces of a legible text; where a word begins or ends they have a space."""
    said = _NUMBERS.sub("0", _NAMES.sub(" ", _JOINED.sub(" ", text)).lower()).split()
    for word in {*said[:_FIRST], *said[_FIRST:][-_LAST:]}:
        padded = f" {word} "
        for length in range(_SHORTEST, min(_LONGEST, len(padded)) + 1):
            yield from (padded[start : start + length] for start in range(len(padded) - length + 1))
    yield from (f"{code[0]}xx" for code in _REPLY.findall(text))
    yield from (f"{major}.{subject}" for major, subject in _STATUS.findall(text))


def circumstances(text: str, where: str, family: str, method: str) -> tuple[str, ...]:
    """What is known besides the words of a legible text, as pieces with weights."""
    return f"in:{where}", f"at:{family}", f"by:{method}", f"in:{where} by:{method}", *clues_of(text, where)


def _sums(text: str, around: Iterable[str]) -> list[float]:
    """The log-odds of each of NAMES."""
    weights, sums = _weights(), [0.0] * len(NAMES)
    for piece, value in values(text, around).items():
        if row := weights.get(piece):
            for number, sign in enumerate(row):
                sums[number] += value * (LOWEST + STEP * (sign - ord(SIGNS[0])))
    return sums


def _speaking(text: str, best: int) -> tuple[str, ...]:
    """The words of `text` that speak most for the one of NAMES with the number `best`."""
    words = set(_WORD.findall(_NAMES.sub(" ", _JOINED.sub(" ", text)).lower()[:_READ]))
    anyway = _sums("", ())[best]
    speaks = {word: _sums(word, ())[best] - anyway for word in words if _is_known(word)}
    telling = sorted((word for word in speaks if speaks[word] > 0), key=lambda word: (-speaks[word], word))
    return tuple(telling[:_SHOWN])


def _is_known(word: str) -> bool:
    """Whether `word` tells anything, and was met before, as far as its pieces show."""
    pieces = set(pieces_of(word))
    return not _EMPTY.fullmatch(word) and len(pieces & _weights().keys()) >= _FAMILIAR * len(pieces)


@cache
def _weights() -> dict[str, bytes]:
    """The signs of every piece: one for each of NAMES, behind them the piece itself."""
    rows = FILE.read_text(encoding="utf-8").split("\n")
    return {row[len(NAMES) :]: row[: len(NAMES)].encode() for row in rows if row and not row.startswith("# ")}
