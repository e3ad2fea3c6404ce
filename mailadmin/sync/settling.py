"""What is found out about messages after they are stored: their conversation, and the people in them.

How it works. A run stores messages as fast as it can and leaves `is_settled` false. Then it settles them, newest first:
for each batch one transaction finds the conversations (threads.py), makes the contacts that the account wants
(contacts), says which contacts a message is from or to, and sets `is_settled`. What one batch found out is remembered
for the next, for the same people and names come again.

Why it may run twice, or be killed anywhere. A batch is one transaction, and what is not settled is found by a partial
index, however it came there. Nothing is doubled: names, contacts and pairs have keys.

Older mail. Who becomes a contact today may have written before. What is about somebody to whom this account has just
written first is looked for at once among its older mail; contacts that other accounts made, once a day. When a rule
changes, `go_through_again` marks one message of each folder: a message that has a conversation and is not settled means
that the next run goes through all of the folder again, and is settled when that is done.
"""

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, bindparam, column, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.contacts import service as contacts
from mailadmin.contacts.models import Contact, key_of
from mailadmin.contacts.rules import were_written_to
from mailadmin.mail.types import Role
from mailadmin.sync import retention, textless
from mailadmin.sync.going import Going, Stopped
from mailadmin.sync.many import insert_missing, update_each
from mailadmin.sync.models import Folder, Message, MessageContact, RunKind, RunOutcome, SyncRun
from mailadmin.sync.threads import Conversations

TABLE: Table = Message.__table__  # type: ignore[assignment]
PAIRS: Table = MessageContact.__table__  # type: ignore[assignment]
BATCH = 1000
AT_ONCE = 20_000  # ids that are kept in memory
LOOKED_THROUGH = 5000  # messages that are read at once when older mail is looked through
MOST_NEW = 20_000  # contacts of a day whose older mail is looked for
DAY = 86_400
_SPREAD = 0.618034  # Multiples of it lie evenly within one (golden ratio), so each account has an hour of its own.
_COLUMNS = (
    TABLE.c.id,
    TABLE.c.folder_id,
    TABLE.c.message_id,
    TABLE.c.refers_to,
    TABLE.c.from_name,
    TABLE.c.from_address,
    TABLE.c.recipients,
    TABLE.c.to,
    TABLE.c.is_bulk,
)
_LAST = select(func.max(SyncRun.finished_at)).where(
    SyncRun.account_id == bindparam("of_account"),
    SyncRun.kind != RunKind.DRY,
    or_(SyncRun.outcome == RunOutcome.COMPLETE, SyncRun.outcome == RunOutcome.PARTIAL),
)


class _Letter(NamedTuple):
    """A message as contacts look at it."""

    from_name: str
    from_address: str
    recipients: Sequence[tuple[str, str]]
    is_bulk: bool


@dataclass(slots=True)
class _Settling:
    """What is known of an account while its messages are settled."""

    going: Going
    roles: dict[int, Role | None]
    rule: contacts.Rule | None
    conversations: Conversations
    keys: dict[str, str] = field(default_factory=dict)  # by address: the same few thousand come again
    ids: dict[str, int | None] = field(default_factory=dict)  # of contacts, by key
    written_to: set[str] = field(default_factory=set)  # keys of contacts that were made because we wrote to them

    def forget(self) -> None:
        """Ask the tables again: a transaction was rolled back."""
        self.ids.clear()
        self.conversations.forget_what_was_met()
        if self.rule:
            self.rule.met.clear()


def settle(going: Going) -> None:
    """Settle what is not settled of the account, forget what is not to be kept, and look through older mail; see above.

    Raises Stopped and LeaseLost; what was committed until then stays and is true.
    """
    with db.reading() as session:
        query = select(Folder.id, Folder.role).where(Folder.account_id == going.account_id)
        roles: dict[int, Role | None] = dict(session.execute(query).all())
        waiting = _waiting(session, roles)
        day = last_day(session, going.account_id)
    if waiting:
        this = _begun(going, roles)
        marked = _settle_new(this, waiting)
        if marked:
            _go_through(this, marked)
        if this.written_to:
            _look_through(this, this.written_to)
    if day is not None:
        _meet_others(going, roles, day)
    retention.forget_old(going)


def settle_what_was_read(going: Going) -> None:
    """As `settle`, at the end of a run that broke off, as long as somebody wants it. Raises LeaseLost."""
    with suppress(Stopped):
        settle(going)


def go_through_again(session: Session, account_ids: Collection[int] | None = None) -> None:
    """Have the contacts in all mail of these accounts (None: of all) found again by their next run; see above."""
    marked = (
        select(TABLE.c.id)
        .where(TABLE.c.folder_id == Folder.id, TABLE.c.generation == Folder.generation, TABLE.c.thread_id.is_not(None))
        .order_by(TABLE.c.received_at, TABLE.c.uid)
        .limit(1)
        .correlate(Folder)
        .scalar_subquery()
    )
    one_each = select(marked).where(Folder.is_active, Folder.is_gone.is_(False))
    if account_ids is not None:
        one_each = one_each.where(Folder.account_id.in_(account_ids))
    session.connection().execute(update(TABLE).where(TABLE.c.id.in_(one_each)).values(is_settled=False))


# New messages.


def _begun(going: Going, roles: dict[int, Role | None]) -> _Settling:
    with db.reading() as session:
        rule = contacts.rule_of(session, going.account_id)
        return _Settling(going, roles, rule, Conversations(session, going.account_id))


def _waiting(session: Session, folders: Collection[int]) -> Sequence[Any]:
    """Id, folder and conversation of what is not settled, newest first, at most `AT_ONCE`."""
    folder_id: ColumnElement[int] = column("folder_id")
    messages = textless.place_of(session.get_bind().dialect.name, "unsettled")
    columns: list[ColumnElement[int]] = [column("id"), folder_id, column("thread_id")]
    query = select(*columns).select_from(messages)
    query = query.where(folder_id.in_(folders), text("NOT is_settled"))
    query = query.order_by(column("received_at").desc().nulls_last(), column("id"))
    return session.execute(query.limit(AT_ONCE)).all()


def _settle_new(this: _Settling, rows: Sequence[Any]) -> dict[int, list[int]]:
    """Settle all messages that were never settled, first `rows`; the ids of the others by folder."""
    marked: dict[int, list[int]] = {}
    while True:
        new = [row.id for row in rows if row.thread_id is None]
        for row in rows:
            if row.thread_id is not None and row.id not in marked.setdefault(row.folder_id, []):
                marked[row.folder_id].append(row.id)
        for ids in _parts(new, BATCH):
            _in_one(this, functools.partial(_settle_batch, this, ids=ids))
        if len(rows) < AT_ONCE or not new:
            return marked
        with db.reading() as session:
            rows = _waiting(session, this.roles)


def _in_one(this: _Settling, work: Any) -> None:
    """Do `work` in one transaction; once more if a row that it relies on was deleted a moment ago."""
    try:
        with this.going.writing() as session:
            work(session)
    except IntegrityError:
        this.forget()
        with this.going.writing() as session:
            work(session)


def _settle_batch(this: _Settling, session: Session, *, ids: Sequence[int]) -> None:
    places = {id_: place for place, id_ in enumerate(ids)}
    rows = session.execute(select(*_COLUMNS).where(TABLE.c.id.in_(ids))).all()
    rows = sorted(rows, key=lambda row: places[row.id])
    threads = this.conversations.assign(session, rows)
    _meet(this, session, rows)
    _pair(session, _pairs(this, session, rows))
    update_each(session, TABLE, ("thread_id", "is_settled"), [(threads[row.id], True, row.id) for row in rows])


def _meet(this: _Settling, session: Session, rows: Iterable[Any]) -> None:
    """Make the contacts that the account wants of the people in `rows`."""
    if this.rule is None:
        return
    by_role: dict[Role | None, list[_Letter]] = {}
    for row in rows:
        role = this.roles[row.folder_id]
        wrote = were_written_to(this.rule, role, row.from_address.lower())
        recipients = _named(row.to, row.recipients) if wrote else ()
        by_role.setdefault(role, []).append(_Letter(row.from_name, row.from_address, recipients, row.is_bulk))
    for role, letters in by_role.items():
        new = contacts.meet(session, this.rule, role=role, letters=letters)
        if new:
            for key in new:
                this.ids.pop(key, None)
            if role not in (Role.INBOX, None):
                this.written_to |= new


def _named(to: str, recipients: str) -> list[tuple[str, str]]:
    """Names and addresses of `recipients`, as far as `to`, which is written for people, has the names."""
    names: dict[str, str] = {}
    before: list[str] = []
    for part in to.split(", ") if "<" in to else ():
        name, mark, address = part.rpartition(" <")
        if mark and address.endswith(">"):
            names[address[:-1].lower()] = ", ".join([*before, name])
            before = []
        else:
            before = [] if "@" in part else [*before, part]
    return [(names.get(address, ""), address) for address in recipients.split(" ") if address]


def _pairs(this: _Settling, session: Session, rows: Sequence[Any]) -> list[tuple[int, int, bool]]:
    """Which contacts the messages of `rows` are from or to; not those in junk, where a sender says nothing."""
    people = {row.id: _keys_in(this, row) for row in rows if this.roles[row.folder_id] is not Role.JUNK}
    unknown = {key for keys in people.values() for key in keys if key not in this.ids}
    if unknown:
        ids = contacts.known(session, unknown)
        this.ids.update((key, ids.get(key)) for key in unknown)
    found: list[tuple[int, int, bool]] = []
    for message_id, keys in people.items():
        sender, *others = [this.ids[key] for key in keys]
        if sender is not None:
            found.append((message_id, sender, True))
        found += [(message_id, each, False) for each in dict.fromkeys(others) if each not in (None, sender)]
    return found


def _keys_in(this: _Settling, row: Any) -> list[str]:
    """The keys of all addresses in a message, the sender's first."""
    addresses = [row.from_address.lower()]
    if row.recipients:
        addresses += row.recipients.split(" ")
    keys = this.keys
    for address in addresses:
        if address not in keys:
            keys[address] = key_of(address)
    return [keys[address] for address in addresses]


def _pair(session: Session, pairs: Sequence[tuple[int, int, bool]]) -> None:
    insert_missing(session, PAIRS, ("message_id", "contact_id", "is_sender"), pairs)


# Older mail.


def _go_through(this: _Settling, marked: dict[int, list[int]]) -> None:
    """Find the contacts in all mail of the folders of `marked`, whose messages are settled again at the end."""
    for folder_id, ids in marked.items():
        for part in _all_of(this.going, [folder_id], BATCH):
            _in_one(this, functools.partial(_meet_again, this, rows=part))
        with this.going.writing() as session:
            for some in _parts(ids, BATCH):
                session.connection().execute(update(TABLE).where(TABLE.c.id.in_(some)).values(is_settled=True))


def _meet_again(this: _Settling, session: Session, *, rows: Sequence[Any]) -> None:
    _meet(this, session, rows)
    _pair(session, _pairs(this, session, rows))


def _look_through(this: _Settling, keys: Collection[str]) -> None:
    """Find the messages of the account that are from or to the contacts `keys`."""
    with db.reading() as session:
        ids = contacts.known(session, keys)
    if not ids:
        return
    for rows in _all_of(this.going, list(this.roles), LOOKED_THROUGH):
        about = [row for row in rows if not ids.keys().isdisjoint(_keys_in(this, row))]
        for part in _parts(about, BATCH):
            _in_one(this, lambda session, part=part: _pair(session, _pairs(this, session, part)))


def _all_of(going: Going, folders: Sequence[int], size: int) -> Iterator[Sequence[Any]]:
    """All messages of `folders` that people see, `size` at a time; each part is read in a transaction of its own."""
    for folder_id in folders:
        last = 0
        while True:
            with db.reading() as session:
                generation = select(Folder.generation).where(Folder.id == folder_id).scalar_subquery()
                mine = TABLE.c.folder_id == folder_id, TABLE.c.generation == generation, TABLE.c.uid > last
                rows = session.execute(
                    select(*_COLUMNS, TABLE.c.uid).where(*mine).order_by(TABLE.c.uid).limit(size)
                ).all()
            if rows:
                last = rows[-1].uid
                yield rows
            if len(rows) < size:
                break


def last_day(session: Session, account_id: int) -> datetime | None:
    """When the account was last synced, if that was before the day that goes on, which has its own hour; else None."""
    last = session.scalar(_LAST, {"of_account": account_id})
    shift = account_id * _SPREAD % 1 * DAY
    is_over = last is not None and (last.timestamp() + shift) // DAY != (db.now().timestamp() + shift) // DAY
    return last if is_over else None


def _meet_others(going: Going, roles: dict[int, Role | None], day: datetime) -> None:
    """Find what this account has of the contacts that were made anywhere since the day before."""
    since = datetime.fromtimestamp(day.timestamp() - DAY, tz=day.tzinfo)
    with db.reading() as session:
        keys = session.scalars(select(Contact.key).where(Contact.created_at >= since).limit(MOST_NEW)).all()
    if keys:
        _look_through(_begun(going, roles), keys)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
