"""Guesses what a text is about from its single words, where no rule of the catalogue hears anything particular in it.

Every word that stands in several of the labelled texts (tests/mail/texts.jsonl) has a weight for each category: above
zero where it speaks for it, below where it speaks against it. A reply code counts as a word, and so do its class
(RFC 5321, RFC 3463), the protocol, the provider's family and the way of signing in. The weights of a text's words are
added up, and the category with the highest sum is the guess, if it is likely enough. `python -m tests.mail.weigh`
makes the weights anew from the texts; they stand there in tenths.
"""

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mailadmin.mail.errors import Category

FILE = Path(__file__).parent / "rules" / "weights.txt"
ALWAYS = "*"  # A word of every text: how frequent a category is anyway.
HARMLESS = "harmless"
NAMES = (*(category.value for category in Category), HARMLESS)  # In the order of the weights of a word.
_LIKELY = 0.3  # A guess has to be this likely.
_FEWEST, _SHOWN = 2, 3  # Words that have to speak for a guess, and words that are shown.
_EMPTY = re.compile(r"the|and|for|are|was|were|ha[sd]|have|its|not|but|you|your|our|this|that|with|from|while|when")
_FIRST, _LAST = 80, 40  # Words of a long text that count: what happened stands at its ends.
_JOINED = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_NAMES = re.compile(r"\S+@\S+|\b\d{1,3}(?:\.\d{1,3}){3}\b|\b[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|de|ru)\b")
_NEGATED = re.compile(
    r"\b(ca|do|does|did|could|is|are|was|were|has|have|had|would|wo)n['’]?t\b|\bcannot\b", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+|\d[\d.]*\d|\d")
_REPLY = re.compile(r"(?<![\d.])[2345]\d\d(?![\d.])")
_STATUS = re.compile(r"(?<![\d.])([45])\.(\d)\.\d{1,3}(?![\d.])")


@dataclass(frozen=True, slots=True)
class Guess:
    """A category, how likely it is, and the words of the text that speak for it most."""

    category: Category
    likely: float
    words: tuple[str, ...]


def guess(
    text: str, *, where: str = "", family: str = "", method: str = "", against: str = "", margin: float = 0
) -> Guess | None:
    """What the words of `text`, which has to be legible, point to; None where they are too few or point nowhere.

    What speaks `against` it is the category that a rule found, one of NAMES: a guess has to be likelier by the `margin`
    (in log-odds).
    """
    weights = _weights()
    known = [word for word in sorted(words_of(text)) if word in weights]
    around = [word for word in (ALWAYS, *circumstances(where, family, method)) if word in weights]
    sums = [sum(column) for column in zip(*(weights[word] for word in (*known, *around)), strict=True)]
    best = max(range(len(NAMES)), key=sums.__getitem__)
    likely = 1 / (1 + math.exp(-sums[best]))
    rival = sums[NAMES.index(against)] + margin if against else -math.inf
    speaking = sorted((-weights[word][best], word) for word in known if _is_telling(word) and weights[word][best] > 0)
    if NAMES[best] == HARMLESS or likely < _LIKELY or sums[best] <= rival or len(speaking) < _FEWEST:
        return None
    return Guess(Category(NAMES[best]), likely, tuple(word for _, word in speaking[:_SHOWN]))


def words_of(text: str) -> set[str]:
    """The words of a legible text that have weights, among them the classes of its codes, such as 5xx and 5.7."""
    text = _NEGATED.sub(lambda found: "can not" if found[0].lower()[:2] == "ca" else f"{found[1]} not", text)
    said = _WORD.findall(_NAMES.sub(" ", _JOINED.sub(" ", text)).lower())
    words = {*said[:_FIRST], *said[_FIRST:][-_LAST:]}
    words |= {f"{code[0]}xx" for code in _REPLY.findall(text)}
    return words | {f"{major}.{subject}" for major, subject in _STATUS.findall(text)}


def circumstances(where: str, family: str, method: str) -> tuple[str, ...]:
    """What is known besides the text, as words with weights."""
    return f"in:{where}", f"at:{family}", f"by:{method}"


def _is_telling(word: str) -> bool:
    return word.isalpha() and len(word) > 2 and not _EMPTY.fullmatch(word)


@cache
def _weights() -> dict[str, list[float]]:
    rows = (line.split() for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("# "))
    return {word: [int(tenths) / 10 for tenths in row] for word, *row in rows}
