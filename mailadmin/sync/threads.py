"""Conversations: which messages of an account belong together, and what a page shows of one.

A message names itself (Message-ID) and those before it (References, In-Reply-To; RFC 5322 3.6.4). Whatever shares a
name belongs together, and nothing else does: two messages with the same subject are strangers. Each name that was met,
also one that was only referred to, is a row with its conversation, so it does not matter which message arrives first.
A message that names two conversations makes them one, and then the smaller is moved: so a message is moved at most as
often as its conversation can double, whatever somebody writes into References.

A conversation is known by a number made of the first name in it that was met. It is a number for one account; no two
conversations of an account have the same one, and none is given again to another conversation when mail is deleted.
"""

import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Row, Table, and_, delete, exists, false, func, or_, select, update
from sqlalchemy.orm import Session

from mailadmin.sync.many import insert_missing
from mailadmin.sync.models import Folder, Message, MessageName

TABLE: Table = Message.__table__  # type: ignore[assignment]
NAMES: Table = MessageName.__table__  # type: ignore[assignment]
MOST_NAMES = 32  # of one message: the first, with which all began, and the last ones
SHOWN = 50  # messages of a conversation on a page
_ID = re.compile(r"<[^<>\s]+>")
_AT_ONCE = 2000
_MOST_IN_MEMORY = 50_000


class Letter(Protocol):
    """What has to be known of a message; a row of the table will do."""

    @property
    def id(self) -> int: ...

    @property
    def message_id(self) -> str: ...

    @property
    def refers_to(self) -> str: ...


def names_of(message_id: str, refers_to: str) -> list[bytes]:
    """The hashes of the ids that a message names, the oldest first and its own last; at most `MOST_NAMES`."""
    ids = refers_to.split() if refers_to else []
    if message_id:
        match = _ID.search(message_id)
        ids.append(match[0] if match else message_id)
    if len(ids) > 1:
        ids = list(dict.fromkeys(ids))
        if len(ids) > MOST_NAMES:
            del ids[1 : len(ids) - MOST_NAMES + 1]
    return [blake2b(one.encode("utf-8", "replace"), digest_size=16).digest() for one in ids]


class Conversations:
    """The conversations of one account, for somebody who holds its lease.

    `is_new`: the account has none yet, so what this object does not know nobody knows.
    """

    def __init__(self, session: Session, account_id: int) -> None:
        self._account_id = account_id
        self.is_new = not session.scalar(select(exists().where(NAMES.c.account_id == account_id)))
        self._met: dict[bytes, int] = {}
        self._moved = _Joined()

    def assign(self, session: Session, letters: Sequence[Letter]) -> dict[int, int]:
        """The conversation of each of `letters` by its id; the names are stored, and what turns out to be one joined.

        May run twice: what was stored before is found again.
        """
        named = {letter.id: names_of(letter.message_id, letter.refers_to) for letter in letters}
        stored = self._stored(session, {name for names in named.values() for name in names})
        threads, joined = dict(stored), _Joined()
        found: dict[int, int] = {}
        for id_, names in named.items():
            known = [threads[name] for name in names if name in threads]
            thread = known[0] if known else _number(names)
            for other in known[1:]:
                if other != thread:
                    joined.join(thread, other)
            for name in names:
                threads.setdefault(name, thread)
            found[id_] = thread
        if joined.parents:
            final = self._settle(session, joined, set(stored.values()))
            found = {id_: final.get(thread, thread) for id_, thread in found.items()}
            threads = {name: final.get(thread, thread) for name, thread in threads.items()}
        self._store(session, {name: thread for name, thread in threads.items() if name not in stored})
        if self.is_new:
            self._met |= threads
            if len(self._met) > _MOST_IN_MEMORY:
                self.forget_what_was_met()
        return found

    def forget_what_was_met(self) -> None:
        """Ask the table again: a transaction was rolled back."""
        self.is_new, self._met, self._moved = False, {}, _Joined()

    def _stored(self, session: Session, names: Collection[bytes]) -> dict[bytes, int]:
        if self.is_new:
            return {name: self._moved.root(self._met[name]) for name in names if name in self._met}
        return _known(session, self._account_id, list(names))

    def _store(self, session: Session, threads: Mapping[bytes, int]) -> None:
        rows = [(self._account_id, name, thread) for name, thread in threads.items()]
        insert_missing(session, NAMES, ("account_id", "name_hash", "thread_id"), rows)

    def _settle(self, session: Session, joined: "_Joined", stored: set[int]) -> dict[int, int]:
        """What each of the conversations that were `joined` is called from now on; the rows are moved."""
        final: dict[int, int] = {}
        for group in joined.groups():
            old = group & stored
            winner = next(iter(old), min(group)) if len(old) < 2 else self._largest(session, old)
            final |= dict.fromkeys(group, winner)
            self._move(session, old - {winner}, winner)
        return final

    def _largest(self, session: Session, threads: set[int]) -> int:
        sizes = dict.fromkeys(sorted(threads), 0)
        mine = _in_account(self._account_id), NAMES.c.thread_id.in_(threads)
        mail = TABLE.c.folder_id.in_(self._folders()), TABLE.c.thread_id.in_(threads)
        for column, rule in ((NAMES.c.thread_id, mine), (TABLE.c.thread_id, mail)):
            for thread, number in session.execute(select(column, func.count()).where(*rule).group_by(column)):
                sizes[thread] += number
        return max(sizes, key=lambda thread: sizes[thread])

    def _move(self, session: Session, losers: set[int], winner: int) -> None:
        if not losers:
            return
        if self.is_new:
            for loser in losers:
                self._moved.join(winner, loser)
        mine = _in_account(self._account_id), NAMES.c.thread_id.in_(losers)
        session.connection().execute(update(NAMES).where(*mine).values(thread_id=winner))
        mail = TABLE.c.folder_id.in_(self._folders()), TABLE.c.thread_id.in_(losers)
        session.connection().execute(update(TABLE).where(*mail).values(thread_id=winner))

    def _folders(self) -> Any:
        return select(Folder.id).where(Folder.account_id == self._account_id)


def _in_account(account_id: int) -> ColumnElement[bool]:
    """The rule for names, which leaves the index on conversations to be used: SQLite would read all of the account."""
    return NAMES.c.account_id + 0 == account_id


def _known(session: Session, account_id: int, names: Sequence[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for start in range(0, len(names), _AT_ONCE):
        asked = NAMES.c.name_hash.in_(names[start : start + _AT_ONCE])
        query = select(NAMES.c.name_hash, NAMES.c.thread_id).where(NAMES.c.account_id == account_id, asked)
        found.update((bytes(name), thread) for name, thread in session.execute(query))
    return found


def _number(names: Sequence[bytes]) -> int:
    """The number of a conversation that begins with the first of `names`; any, where a message has none."""
    return int.from_bytes(names[0][:8]) >> 1 if names else secrets.randbits(63)


class _Joined:
    """Which conversations are one: a forest, in which the root stands for all (union-find)."""

    def __init__(self) -> None:
        self.parents: dict[int, int] = {}

    def root(self, thread: int) -> int:
        while (above := self.parents.get(thread, thread)) != thread:
            self.parents[thread] = self.parents.get(above, above)
            thread = above
        return thread

    def join(self, one: int, other: int) -> None:
        first, second = self.root(one), self.root(other)
        self.parents.setdefault(first, first)
        self.parents[second] = first

    def groups(self) -> list[set[int]]:
        found: dict[int, set[int]] = {}
        for thread in list(self.parents):
            found.setdefault(self.root(thread), set()).add(thread)
        return list(found.values())


def forget_unused(session: Session, account_id: int, threads: Collection[int]) -> None:
    """Forget the names of those of `threads` of which no message is left."""
    mine = select(Folder.id).where(Folder.account_id == account_id)
    left = exists().where(TABLE.c.thread_id == NAMES.c.thread_id, TABLE.c.folder_id.in_(mine)).correlate(NAMES)
    unused = _in_account(account_id), NAMES.c.thread_id.in_(threads), ~left
    session.connection().execute(delete(NAMES).where(*unused))


# What a page shows.


@dataclass(frozen=True, slots=True)
class Conversation:
    """The other messages of a conversation, the oldest first; `earlier` is how many more there are before those."""

    rows: Sequence[Row[*tuple[Any, ...]]]
    earlier: int


_COLUMNS = (
    Message.id,
    Message.folder_id,
    Message.message_id,
    Message.content_hash,
    Message.email_id,
    Message.subject,
    Message.from_name,
    Message.from_address,
    Message.received_at,
    Message.preview,
    Message.is_read,
    Message.is_draft,
    Message.has_attachments,
)


def of(session: Session, message: Message, visible: Iterable[Folder]) -> Conversation:
    """The other messages of the conversation of `message` in the folders `visible`, copies of one shown once.

    At most `SHOWN`, the newest; those before them are counted.
    """
    if message.thread_id is None:
        return Conversation((), 0)
    rule = and_(Message.thread_id == message.thread_id, Message.id != message.id, within(visible))
    newest = (Message.received_at.desc().nulls_last(), Message.id.desc())
    rows = session.execute(select(*_COLUMNS).where(rule).order_by(*newest).limit(4 * SHOWN)).all()
    total = session.scalar(select(func.count()).select_from(Message).where(rule)) or 0
    seen, others = {copy_key(message)}, []
    for row in rows:
        key = copy_key(row)
        if key not in seen:
            seen.add(key)
            others.append(row)
    shown = others[:SHOWN]
    earlier = len(others) - len(shown) + max(0, total - len(rows))
    return Conversation(shown[::-1], earlier)


def within(folders: Iterable[Folder], message: Any = Message) -> ColumnElement[bool]:
    """The rule for messages (or an alias of them) in `folders` that people should see."""
    rules = [and_(message.folder_id == one.id, message.generation == one.generation) for one in folders]
    return or_(*rules) if rules else false()


def copy_key(message: Any) -> tuple[Any, ...]:
    """What all copies of a message have in common, and nothing else has; see copies.py."""
    if message.content_hash is None or not (message.message_id or message.email_id):
        return ("alone", message.id)
    return (bytes(message.content_hash), message.message_id or message.email_id)
