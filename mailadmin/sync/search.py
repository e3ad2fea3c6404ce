"""Finds messages by words: in subject, sender, recipients and text, as whole words, the last one also by its beginning.

The words of all rows of MessageText are in an index (FTS5 on SQLite, GIN on PostgreSQL). A rare word has few hits:
these are all looked at and sorted. A common one has so many that looking at all of them takes longer than a person
waits; its newest hits are among the newest messages, of which more are asked until there are enough. Where that leads
too far back, because the word is common elsewhere, all hits are looked at after all. A message without a row, because
the run that stored it goes on, is found by parts of subject and sender among the newest.

On PostgreSQL the index knows the account and the id of each text beside its words. So neither what other accounts hold
is looked at nor any text read again: its words are found more slowly than the index says a thousand times whether they
are there.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    and_,
    column,
    func,
    literal,
    literal_column,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from mailadmin.sync.models import Message, MessageText

MOST = 1000  # hits that are listed
MOST_WORDS = 10
RARE = 8000  # hits that are all looked at, on SQLite
STRETCH = 200  # messages that are asked first for a common word; then as many as it takes by what was found
FURTHEST = 10_000  # messages that are asked for a common word; beyond them to look at all hits is quicker
UNWRITTEN = 2000  # messages without text, looked through for those without a row
NEWEST = (Message.received_at.desc().nulls_last(), Message.uid.desc(), Message.id.desc())
_PLACE: tuple[Any, ...] = (Message.id, Message.received_at, Message.uid)
_WORDS = table("message_words", column("rowid", Integer))
_ACCOUNT: ColumnElement[Any] = literal_column("ARRAY[message_words_account]")
_ID: ColumnElement[Any] = literal_column("ARRAY[message_id]")
_SIMPLE: ColumnElement[str] = literal_column("'simple'")
_BLANK: ColumnElement[str] = literal_column("' '")
_PIECE = re.compile(r"\w+")
Newest = Callable[[int], list[int]]  # the ids of the newest messages in question, so many of them
Among = Callable[[Sequence[int]], Collection[int]]  # which of these are hits


@dataclass(frozen=True, slots=True)
class Hits:
    """The newest hits, as many as were needed, and how many there are; `are_more`: at least so many."""

    ids: list[int]
    total: int
    are_more: bool = False


def find(
    session: Session,
    words: str,
    rule: ColumnElement[bool],
    newest: Newest,
    *,
    account_id: int,
    need: int,
    furthest: int | None = None,
) -> Hits:
    """The newest `need` messages that hold all of `words` and obey `rule`; of more than `MOST` the newest of them.

    All that obey `rule` are of the account; `newest` knows them, and is not asked for many more than `furthest`.
    """
    wanted, need, furthest = words.split()[:MOST_WORDS], min(need, MOST), furthest or FURTHEST
    if not any(_PIECE.search(word) for word in wanted):
        hits = Hits([], 0)
    elif session.get_bind().dialect.name == "sqlite":
        hits = _in_sqlite(session, wanted, rule, newest, need, furthest)
    else:
        with _by_index(session):
            hits = _in_postgresql(session, _Index(wanted, account_id), rule, newest, need, furthest)
    late = _unwritten(session, wanted, rule) if wanted else []
    if not late:
        return hits
    query = select(Message.id).where(Message.id.in_({*hits.ids, *late})).order_by(*NEWEST).limit(need)
    return Hits(list(session.scalars(query)), min(MOST, hits.total + len(late)), hits.are_more)


def _among_newest(newest: Newest, among: Among, *, need: int, furthest: int) -> tuple[list[int], bool] | None:
    """The newest hits of a common word, at least `need` if there are so many, and whether these are all.

    None if, as it looks, that takes more of the newest messages than `furthest`.
    """
    hits: list[int] = []
    seen, wanted = 0, STRETCH
    while wanted <= furthest:
        stretch = newest(wanted)
        fresh = stretch[seen:]
        found = among(fresh) if fresh else ()
        hits += [each for each in fresh if each in found]
        if len(hits) >= need or len(stretch) < wanted:
            return hits, len(stretch) < wanted
        if not hits:
            return None
        seen, wanted = wanted, max(2 * wanted, wanted * need * 5 // (4 * len(hits)))
    return None


def _is_beginning(word: str) -> bool:
    """Whether `word`, the last one, is also looked for as a beginning: a letter begins too many words to mean one."""
    pieces = _PIECE.findall(word)
    return bool(pieces) and (len(pieces[-1]) > 1 or not pieces[-1].isascii())


# SQLite.


def _in_sqlite(
    session: Session, words: Sequence[str], rule: ColumnElement[bool], newest: Newest, need: int, furthest: int
) -> Hits:
    match = text("message_words MATCH :words").bindparams(words=_for_sqlite(words))
    matches = select(_WORDS.c.rowid).where(match)
    count = session.scalar(select(func.count()).select_from(matches.limit(RARE + 1).subquery())) or 0

    def among(ids: Sequence[int]) -> set[int]:
        # FTS5 would look for each id by itself, but is quick with a range; ids of one time are near each other.
        near = matches.where(_WORDS.c.rowid.between(min(ids), max(ids)))
        return set(session.scalars(near)).intersection(ids)

    if count > RARE and (found := _among_newest(newest, among, need=need + 1, furthest=furthest)):
        hits, are_all = found
        total = min(MOST, len(hits)) if are_all else MOST
        return Hits(hits[:need], total, not are_all or len(hits) > MOST)
    every = select(Message.id).where(Message.id.in_(matches), rule).order_by(*NEWEST).limit(MOST + 1)
    hits = list(session.scalars(every)) if count else []
    return Hits(hits[:need], min(MOST, len(hits)), len(hits) > MOST)


def _for_sqlite(words: Sequence[str]) -> str:
    """A query of FTS5: each word a phrase of its pieces, the last one a beginning."""
    phrases = ['"' + " ".join(_PIECE.findall(word)) + '"' for word in words if _PIECE.search(word)]
    return " AND ".join(phrases) + (" *" if _is_beginning(words[-1]) else "")


# PostgreSQL.

# What the planner would choose instead reads texts, or all messages of a folder; and what does not fit into the memory
# of a bitmap is read, too.
_PLANS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "work_mem": "'64MB'",
}


@contextmanager
def _by_index(session: Session) -> Iterator[None]:
    """Let PostgreSQL ask its index of words, and for each hit the message."""
    session.execute(text("; ".join(f"SET LOCAL {name} = {value}" for name, value in _PLANS.items())))
    yield
    session.execute(text("; ".join(f"SET LOCAL {name} TO DEFAULT" for name in _PLANS)))


class _Index:
    """The hits of some words in an account, as the index has them: each condition as it stands there, to the letter."""

    def __init__(self, words: Sequence[str], account_id: int) -> None:
        vector = func.to_tsvector(_SIMPLE, MessageText.heading + _BLANK + MessageText.text)
        self._match = vector.op("@@")(func.to_tsquery(_SIMPLE, _for_postgresql(words)))
        self._account = _ACCOUNT.op("&&")(literal([account_id], ARRAY(Integer)))

    def all(self, rule: ColumnElement[bool]) -> Select[Any]:
        """What obeys `rule`, and what puts it in order."""
        hits = select(MessageText.message_id).where(self._account, self._match)
        return _obeying(rule, hits.cte("hits").prefix_with("MATERIALIZED"))

    def among(self, ids: Sequence[int]) -> Select[int]:
        """What is among `ids`."""
        one_of = _ID.op("&&")(literal(list(ids), ARRAY(BigInteger)))
        return select(MessageText.message_id).where(one_of, self._match)


def _obeying(rule: ColumnElement[bool], hits: CTE) -> Select[Any]:
    return select(*_PLACE).join(hits, hits.c.message_id == Message.id).where(rule)


def _in_postgresql(
    session: Session, index: _Index, rule: ColumnElement[bool], newest: Newest, need: int, furthest: int
) -> Hits:
    some = index.all(rule).limit(MOST + 1).subquery()
    in_order = some.c.received_at.desc().nulls_last(), some.c.uid.desc(), some.c.id.desc()
    hits = list(session.scalars(select(some.c.id).order_by(*in_order)))
    if len(hits) <= MOST:
        return Hits(hits[:need], len(hits))

    def among(ids: Sequence[int]) -> set[int]:
        return set(session.scalars(index.among(ids)))

    if found := _among_newest(newest, among, need=need, furthest=furthest):
        hits, _ = found
    else:
        hits = list(session.scalars(index.all(rule).order_by(*NEWEST).limit(need)))
    return Hits(hits[:need], MOST, are_more=True)


def _for_postgresql(words: Sequence[str]) -> str:
    """A query for to_tsquery: each word as it stands (an address is one word there), or all of its pieces."""
    last = [word for word in words if _PIECE.search(word)][-1]
    asked = []
    for word in words:
        pieces = _PIECE.findall(word)
        mark = ":*" if word is last and word is words[-1] and _is_beginning(word) else ""
        together = " & ".join(f"'{piece}'{mark if piece is pieces[-1] else ''}" for piece in pieces)
        if len(pieces) > 1:
            whole = word.replace("\\", " ").replace("'", " ").strip()
            asked.append(f"('{whole}'{mark} | ({together}))")
        elif pieces:
            asked.append(together)
    return " & ".join(asked)


# Messages without a row.


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
