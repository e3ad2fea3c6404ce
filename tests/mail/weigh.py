"""Makes mailadmin/mail/rules/weights.txt from the labelled texts: `python -m tests.mail.weigh`, a minute.

One logistic regression for each category: does whoever labelled the text accept it? Words of fewer texts than FEWEST
have no weight, and small weights are left out, so that the file stays small and nothing hangs on a single text. Pairs
of words, stems and pieces of words were tried: they fit the labelled texts better, and texts never seen before worse.
"""

import json
import math
from collections import Counter
from pathlib import Path

from mailadmin.mail import catalogue, guess
from mailadmin.mail.families import family_in
from mailadmin.mail.legible import legible

HERE = Path(__file__).parent
FILES = ("server_texts.jsonl", "texts.jsonl")
FEWEST = 4
ROUNDS, PACE, SHRINK = 40, 0.4, 3.0
HEADING = f"# Made by `python -m tests.mail.weigh`; see mailadmin/mail/guess.py. {' '.join(guess.NAMES)}\n"


def labelled() -> list[tuple[list[str], set[str]]]:
    """The words and the accepted categories of every labelled text."""
    texts = [json.loads(line) for file in FILES for line in (HERE / file).read_text(encoding="utf-8").splitlines()]
    return [(_words(text), set(text["category"])) for text in texts]


def _words(text: dict[str, str]) -> list[str]:
    heard = legible(text["text"])
    family = "" if text["provider"] in ("other", "unknown") else text["provider"]
    method = "" if text["auth"] == "none" else text["auth"]
    where = text["where"] or catalogue.layer_in(heard)
    around = guess.circumstances(where, family or family_in(heard), method)
    return [guess.ALWAYS, *around, *sorted(guess.words_of(heard))]


def weigh(texts: list[tuple[list[str], set[str]]]) -> dict[str, list[float]]:
    """A weight of every frequent word for every one of guess.NAMES, by steps down the slope (AdaGrad)."""
    texts_with = Counter(word for words, _ in texts for word in words)
    frequent = [([word for word in words if texts_with[word] >= FEWEST], names) for words, names in texts]
    weights = {word: [0.0] * len(guess.NAMES) for words, _ in frequent for word in words}
    for number, name in enumerate(guess.NAMES):
        row = _of_one(name, frequent)
        for word, weight in row.items():
            weights[word][number] = weight
    return weights


def _of_one(name: str, texts: list[tuple[list[str], set[str]]]) -> dict[str, float]:
    weights = dict.fromkeys((word for words, _ in texts for word in words), 0.0)
    steepness = dict.fromkeys(weights, 1e-9)
    for _ in range(ROUNDS):
        slope = {word: SHRINK * weight for word, weight in weights.items()}
        for words, names in texts:
            wrong = 1 / (1 + math.exp(-sum([weights[word] for word in words]))) - (name in names)
            for word in words:
                slope[word] += wrong
        for word, change in slope.items():
            steepness[word] += change * change
            weights[word] -= PACE * change / math.sqrt(steepness[word])
    return weights


def written(weights: dict[str, list[float]]) -> str:
    """The file: one word a line, and behind it its weights in tenths."""
    rows = {word: [round(10 * weight) for weight in row] for word, row in sorted(weights.items())}
    return HEADING + "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in rows.items() if any(row))


if __name__ == "__main__":
    guess.FILE.write_text(written(weigh(labelled())), encoding="utf-8")
