"""Makes mailadmin/mail/rules/weights.txt from the labelled texts, in half a minute:

    uv run --with scikit-learn python -m tests.mail.weigh

One logistic regression for each category: does whoever labelled the text accept it? Pieces of fewer texts than FEWEST
have no weight, so that nothing hangs on a single text, and neither have those that tell too little of anything.
"""

import json
from collections import Counter
from pathlib import Path

from mailadmin.mail import catalogue, guess
from mailadmin.mail.families import family_in
from mailadmin.mail.legible import legible

HERE = Path(__file__).parent
FILES = ("server_texts.jsonl", "texts.jsonl")
FEWEST = 3
LOOSE = 4.0  # How freely a weight may grow.
TELLING = 0.3  # A piece needs a weight of this size for one category at least.
HEADING = f"# Made by `python -m tests.mail.weigh`; see mailadmin/mail/guess.py. {' '.join(guess.NAMES)}\n"

Text = tuple[dict[str, float], set[str]]
Weights = dict[str, list[float]]


def labelled() -> list[Text]:
    """The pieces and the accepted categories of every labelled text."""
    texts = [json.loads(line) for file in FILES for line in (HERE / file).read_text(encoding="utf-8").splitlines()]
    return [(values_of(text), set(text["category"])) for text in texts]


def values_of(text: dict[str, str]) -> dict[str, float]:
    """The pieces of one line of the file of texts."""
    heard = legible(text["text"])
    family = "" if text["provider"] in ("other", "unknown") else text["provider"]
    method = "" if text["auth"] == "none" else text["auth"]
    where = text["where"] or catalogue.layer_in(heard)
    return guess.values(heard, guess.circumstances(heard, where, family or family_in(heard), method))


def weigh(texts: list[Text]) -> Weights:
    """A weight of every frequent piece for each of guess.NAMES."""
    # No need of the project, only of whoever runs this.
    from sklearn.feature_extraction import DictVectorizer  # type: ignore[import-not-found]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-not-found]

    texts_with = Counter(piece for values, _ in texts for piece in values)
    frequent = {piece for piece, texts_of in texts_with.items() if texts_of >= FEWEST} - {guess.ALWAYS}
    columns = DictVectorizer()
    rows = columns.fit_transform(
        [{piece: values[piece] for piece in values if piece in frequent} for values, _ in texts]
    )
    rows.indices, rows.indptr = rows.indices.astype("int32"), rows.indptr.astype("int32")
    weights: Weights = {piece: [] for piece in (*columns.feature_names_, guess.ALWAYS)}
    for name in guess.NAMES:
        model = LogisticRegression(C=LOOSE, solver="liblinear", max_iter=300)
        model.fit(rows, [name in names for _, names in texts])
        for piece, weight in zip(columns.feature_names_, model.coef_[0], strict=True):
            weights[piece].append(weight)
        weights[guess.ALWAYS].append(model.intercept_[0])
    return {piece: row for piece, row in weights.items() if piece == guess.ALWAYS or max(map(abs, row)) >= TELLING}


def written(weights: Weights) -> str:
    """The file: on each line a sign for every one of guess.NAMES, then the piece."""
    return HEADING + "".join(f"{''.join(map(_sign, weights[piece]))}{piece}\n" for piece in sorted(weights))


def _sign(weight: float) -> str:
    number = round((weight - guess.LOWEST) / guess.STEP)
    return guess.SIGNS[max(0, min(number, len(guess.SIGNS) - 1))]


if __name__ == "__main__":
    guess.FILE.write_text(written(weigh(labelled())), encoding="utf-8")
