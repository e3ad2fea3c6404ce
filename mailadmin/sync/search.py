"""Finds messages by words: in subject, sender, recipients and text, as whole words, the last one also by its beginning.

The words of all rows of MessageText are in an index (FTS5 on SQLite, GIN on PostgreSQL). A rare word has few hits:
these are all looked at and sorted. A common one has so many that looking at all of them takes longer than a person
waits; its newest hits are among the newest messages, of which more and more are asked until there are enough. A message
without a row, because the run that stored it goes on, is found by parts of subject and sender among the newest.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Integer, Select, and_, column, func, literal_column, or_, select, table, text
from sqlalchemy.orm import Session

from mailadmin.sync.models import Message, MessageText

MOST = 1000  # hits that are listed
MOST_WORDS = 10
RARE = 8000  # hits that are all looked at
STRETCH = 200  # messages that are asked first for a common word; then four times as many, and so on
UNWRITTEN = 2000  # messages without text, looked through for those without a row
NEWEST = (Message.received_at.desc().nulls_last(), Message.uid.desc(), Message.id.desc())
PIECE = 500  # messages of one question
_WORDS = table("message_words", column("rowid", Integer))
_SIMPLE: ColumnElement[str] = literal_column("'simple'")
_BLANK: ColumnElement[str] = literal_column("' '")
_PIECE = re.compile(r"\w+")
Newest = Callable[[int], list[int]]  # the ids of the newest messages in question, so many of them


@dataclass(frozen=True, slots=True)
class Hits:
    """The newest hits, as many as were needed, and how many there are; `are_more`: at least so many."""

    ids: list[int]
    total: int
    are_more: bool = False


def find(session: Session, words: str, rule: ColumnElement[bool], newest: Newest, *, need: int) -> Hits:
    """The newest `need` messages that hold all of `words` and obey `rule`; of more than `MOST` the newest of them.

    `newest` knows the messages that obey `rule`.
    """
    wanted = words.split()[:MOST_WORDS]
    with _by_index(session):
        hits = _indexed(session, wanted, rule, newest, min(need, MOST))
    late = _unwritten(session, wanted, rule) if wanted else []
    if not late:
        return hits
    query = select(Message.id).where(Message.id.in_({*hits.ids, *late})).order_by(*NEWEST).limit(need)
    return Hits(list(session.scalars(query)), min(MOST, hits.total + len(late)), hits.are_more)


@contextmanager
def _by_index(session: Session) -> Iterator[None]:
    """Keep PostgreSQL from reading texts where it believes that a common word is found sooner without its index."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(text("SET LOCAL enable_seqscan = off"))
    yield
    if session.get_bind().dialect.name != "sqlite":
        session.execute(text("SET LOCAL enable_seqscan = on"))


def _indexed(session: Session, words: Sequence[str], rule: ColumnElement[bool], newest: Newest, need: int) -> Hits:
    matches = _matches(session, words)
    if matches is None:
        return Hits([], 0)
    some = matches.limit(RARE + 1).subquery()
    count = session.scalar(select(func.count()).select_from(some)) or 0
    if count > RARE:
        return _common(session, matches, newest, need)
    among = select(Message.id).where(Message.id.in_(matches), rule).order_by(*NEWEST).limit(MOST + 1)
    found = list(session.scalars(among)) if count else []
    return Hits(found[:need], min(MOST, len(found)), len(found) > MOST)


def _common(session: Session, matches: Select[int], newest: Newest, need: int) -> Hits:
    """The newest hits of a common word."""
    hits: list[int] = []
    seen, wanted = 0, STRETCH
    while True:
        stretch = newest(wanted)
        for start in range(seen, len(stretch), PIECE):
            piece = stretch[start : start + PIECE]
            among = _among(session, matches, piece)
            hits += [each for each in piece if each in among]
            if len(hits) > need:
                return Hits(hits[:need], MOST, are_more=True)
        if len(stretch) < wanted:
            return Hits(hits[:need], min(MOST, len(hits)), len(hits) > MOST)
        seen, wanted = len(stretch), 4 * wanted


def _among(session: Session, matches: Select[int], ids: Collection[int]) -> set[int]:
    """Those of `matches` that are among `ids`.

    FTS5 would look for each id by itself, but is quick with a range; what is listed together has ids near each other.
    """
    row_id = matches.selected_columns[0]
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    near = row_id.between(min(ids), max(ids)) if is_sqlite else row_id.in_(ids)
    return set(session.scalars(matches.where(near))).intersection(ids)


def _matches(session: Session, words: Sequence[str]) -> Select[int] | None:
    """The ids of all messages that hold `words`, in no order; None where there is nothing to look for."""
    if not any(_PIECE.search(word) for word in words):
        return None
    if session.get_bind().dialect.name == "sqlite":
        match = text("message_words MATCH :words").bindparams(words=_for_sqlite(words))
        return select(_WORDS.c.rowid).where(match)
    # As the index has it, to the letter.
    vector = func.to_tsvector(_SIMPLE, MessageText.heading + _BLANK + MessageText.text)
    return select(MessageText.message_id).where(vector.op("@@")(func.to_tsquery(_SIMPLE, _for_postgresql(words))))


def _for_sqlite(words: Sequence[str]) -> str:
    """A query of FTS5: each word a phrase of its pieces, the last one a beginning."""
    phrases = ['"' + " ".join(_PIECE.findall(word)) + '"' for word in words if _PIECE.search(word)]
    return " AND ".join(phrases) + (" *" if _PIECE.search(words[-1]) else "")


def _for_postgresql(words: Sequence[str]) -> str:
    """A query for to_tsquery: each word as it stands (an address is one word there), or all of its pieces."""
    last = [word for word in words if _PIECE.search(word)][-1]
    asked = []
    for word in words:
        pieces = _PIECE.findall(word)
        mark = ":*" if word is last and word is words[-1] else ""
        together = " & ".join(f"'{piece}'{mark if piece is pieces[-1] else ''}" for piece in pieces)
        if len(pieces) > 1:
            whole = word.replace("\\", " ").replace("'", " ").strip()
            asked.append(f"('{whole}'{mark} | ({together}))")
        elif pieces:
            asked.append(together)
    return " & ".join(asked)


def _unwritten(session: Session, words: Sequence[str], rule: ColumnElement[bool]) -> list[int]:
    """The last stored messages without a row whose subject or sender holds all of `words`, or parts of words."""
    has_row = select(MessageText.message_id).where(MessageText.message_id == Message.id).exists()
    last = select(Message.id).where(text("NOT has_text"), rule).order_by(Message.id.desc()).limit(UNWRITTEN)
    query = select(Message.id).where(Message.id.in_(last.scalar_subquery()), ~has_row, and_(*map(_holds, words)))
    return list(session.scalars(query.order_by(*NEWEST).limit(MOST)))


def _holds(word: str) -> ColumnElement[bool]:
    """Whether subject or sender holds `word`, in upper or lower case; % and _ stand for themselves."""
    # SQLite only knows the case of ASCII letters, so other words are looked for as they are usually written.
    spellings = {word.lower()} if word.isascii() else {word.lower(), word.upper(), word.capitalize(), word}
    columns = (Message.subject, Message.from_name, Message.from_address)
    return or_(*(func.lower(c).contains(s, autoescape=True) for c in columns for s in spellings))
