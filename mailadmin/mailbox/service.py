"""Reads the messages of an account for a page. Who may read them is decided before: see access.service."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, false, func, not_, or_, select
from sqlalchemy.orm import Session

from mailadmin.errors import NotFound
from mailadmin.mail.types import Role
from mailadmin.sync import copies, overlay, search, threads
from mailadmin.sync.models import Folder, Message
from mailadmin.sync.search import NEWEST
from mailadmin.text import t

PAGE = 50
FOLDERS = 500  # that are listed together
EVERYWHERE = 1000  # messages of all folders together that are listed; there is more in each folder
COUNTED = 5000  # messages of a folder up to which those that are not shown are left out of its number
_ORDER = (Role.INBOX, Role.DRAFTS, Role.SENT, Role.ARCHIVE, Role.JUNK, Role.TRASH, Role.ALL)
_SHOWN = (
    Message.id,
    Message.folder_id,
    Message.uid,
    Message.subject,
    Message.from_name,
    Message.from_address,
    Message.to,
    Message.sent_at,
    Message.received_at,
    Message.size,
    Message.is_read,
    Message.is_flagged,
    Message.is_answered,
    Message.is_draft,
    Message.unreadable,
    Message.preview,
    Message.has_attachments,
)
_PLACE = (Message.received_at, Message.uid, Message.id)
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of messages, newest first: `rows` on `page` (from 1) of `pages`, `total` in all.

    `are_more`: there are more than `total`, which cannot be reached by turning pages. `places` are the names of the
    folders in which each row lies, by its id, where several folders are listed.
    """

    rows: Sequence[Row[*tuple[Any, ...]]]
    total: int
    page: int
    are_more: bool = False
    places: dict[int, list[int]] = field(default_factory=dict)

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // PAGE))

    @property
    def first(self) -> int:
        """The number of the first row on this page, from 1."""
        return (self.page - 1) * PAGE + 1


def folders(session: Session, account_id: int) -> list[Folder]:
    """The folders of an account that are synced: those with a role first, the others by path."""
    rows = session.scalars(
        select(Folder).where(
            Folder.account_id == account_id, Folder.is_active, Folder.is_gone.is_(False), Folder.is_wished.is_(False)
        )
    )
    places = {role: place for place, role in enumerate(_ORDER)}
    return sorted(rows, key=lambda f: (places[f.role] if f.role else len(places), f.path.casefold()))


def unread(session: Session, account_id: int, found: Sequence[Folder]) -> dict[int, int]:
    """The number of unread messages of each folder, with what people have moved and the server does not know yet."""
    shift = overlay.unread_shift(session, account_id)
    return {folder.id: max(0, folder.unread + shift.get(folder.id, 0)) for folder in found}


def chosen(found: Sequence[Folder], wanted: str) -> list[Folder]:
    """Those of `found` that `wanted` means: "all", a folder's id, or, when empty, the first one. Raises NotFound."""
    if wanted == "all":
        return list(found[:FOLDERS])
    if not wanted:
        return list(found[:1])
    one = [folder for folder in found if str(folder.id) == wanted]
    if not one:
        raise NotFound(t("This folder is not synced, or not on the server any more."))
    return one


def messages(session: Session, within: Sequence[Folder], *, words: str = "", page: int = 1) -> Listing:
    """The messages in the folders `within` that hold all of `words`; only what people should see.

    A folder that is being read anew shows its old generation until the new one is whole. Of several folders a message
    is shown once, and the newest thousand. A page beyond the last one is the last one.
    """
    if not within:
        return Listing((), 0, 1)
    scope = _Scope(session, within)
    page = max(1, min(page, 100_000))
    if words:
        several = len(within) > 1  # Then some hits are copies of others, and the newest take longer to find.
        hits = search.find(
            session,
            words,
            scope.rule,
            scope.newest,
            account_id=within[0].account_id,
            need=page * PAGE * (2 if several else 1),
            furthest=search.FURTHEST // (4 if several else 1),
        )
        ids = scope.once(hits.ids)
        total, are_more = hits.total - (len(hits.ids) - len(ids)), hits.are_more
    else:
        total, are_more = scope.count()
        page = min(page, max(1, -(-total // PAGE)))
        last = min(page * PAGE, total)
        ids = scope.newest(PAGE, offset=(page - 1) * PAGE) if len(within) == 1 else scope.listed(last)
    if words or len(within) > 1:
        page = min(page, max(1, -(-min(total, len(ids)) // PAGE)))
        ids = ids[(page - 1) * PAGE : page * PAGE]
    rows = session.execute(select(*_SHOWN).where(Message.id.in_(ids)).order_by(*NEWEST)).all() if ids else []
    return Listing(rows, total, page, are_more, scope.places([row.id for row in rows]))


def _newest_first(row: Any) -> tuple[Any, ...]:
    return row.received_at is not None, row.received_at or _LONG_AGO, row.uid, row.id


class _Scope:
    """The messages in some folders that people should see.

    What is about to leave a folder, or to arrive in it, is asked for first: it is little, and nearly always nothing, so
    that the index by which messages are listed stays of use.
    """

    def __init__(self, session: Session, within: Sequence[Folder]) -> None:
        self._session, self._within = session, within
        account_id = within[0].account_id
        self._leaving = overlay.leaving(session, account_id)
        self._arriving = overlay.arriving(session, within)

    @property
    def rule(self) -> ColumnElement[bool]:
        """The rule for a query of Message."""
        here = and_(self._is_within(Message), *self._shown())
        return or_(here, Message.id.in_(self._arriving)) if self._arriving else here

    def once(self, ids: list[int]) -> list[int]:
        """`ids` without those that are copies of other messages in these folders."""
        if len(self._within) == 1 or not ids:
            return ids
        query = select(Message.id).where(Message.id.in_(ids), copies.shown_once(self._is_within))
        kept = set(self._session.scalars(query))
        return [each for each in ids if each in kept]

    def listed(self, limit: int) -> list[int]:
        """The ids of the newest messages of several folders, each message once."""
        wanted = limit
        while True:
            found = self.newest(wanted)
            ids = self.once(found)
            if len(ids) >= limit or len(found) < wanted:
                return ids[:limit]
            wanted *= 2

    def newest(self, limit: int, *, offset: int = 0) -> list[int]:
        """The ids of the newest messages: of one folder from `offset`, of several from the beginning."""
        if len(self._within) > 1:
            return [row.id for row in self._merged(limit)]
        skipped = 0 if self._arriving else offset
        found = self._of(self._within[0], limit + offset - skipped, skipped)
        if self._arriving:
            found = sorted([*found, *self._arrived()], key=_newest_first, reverse=True)
        begin = offset - skipped
        return list(dict.fromkeys(row.id for row in found))[begin : begin + limit]

    def _merged(self, limit: int) -> list[Any]:
        """The newest messages of several folders: of each twice its share, and more where all of that is among them."""
        share = 2 * limit // len(self._within) + 1
        found = {folder: self._of(folder, share, 0) for folder in self._within}
        while True:
            every = {row.id: row for rows in (self._arrived(), *found.values()) for row in rows}
            merged = sorted(every.values(), key=_newest_first, reverse=True)[:limit]
            share, taken, asked = min(limit, 2 * share), {row.id for row in merged}, share
            short = [folder for folder, rows in found.items() if asked <= len(rows) < limit and rows[-1].id in taken]
            if not short:
                return merged
            found |= {folder: self._of(folder, share, 0) for folder in short}

    def _arrived(self) -> Sequence[Any]:
        query = select(*_PLACE).where(Message.id.in_(self._arriving))
        return self._session.execute(query).all() if self._arriving else ()

    def _of(self, folder: Folder, limit: int, offset: int) -> list[Any]:
        """The newest messages of one folder; those without a date come last.

        They are asked for by themselves: PostgreSQL has them first in the index, and would sort everything.
        """
        here = Message.folder_id == folder.id, Message.generation == folder.generation, *self._shown()
        dated = select(*_PLACE).where(*here, Message.received_at.is_not(None))
        by_date = dated.order_by(Message.received_at.desc(), Message.uid.desc())
        found = list(self._session.execute(by_date.limit(limit).offset(offset)))
        if len(found) == limit:
            return found
        if not found and offset:
            offset -= self._session.scalar(select(func.count()).select_from(dated.subquery())) or 0
        undated = select(*_PLACE).where(*here, Message.received_at.is_(None)).order_by(Message.uid.desc())
        rest = undated.limit(limit - len(found)).offset(0 if found else max(0, offset))
        return [*found, *self._session.execute(rest)]

    def count(self) -> tuple[int, bool]:
        """How many messages are listed, and whether there are more than that.

        Of a large folder it is what the index has, with the few that are marked as deleted on the server.
        """
        if len(self._within) > 1:
            known = len(self.listed(EVERYWHERE + 1))
            return min(known, EVERYWHERE), known > EVERYWHERE
        counted = select(func.count()).select_from(Message)
        total = self._session.scalar(counted.where(self._is_within(Message))) or 0
        if total <= COUNTED:
            return self._session.scalar(counted.where(self.rule)) or 0, False
        return total - len(self._leaving) + len(self._arriving), False

    def places(self, ids: Sequence[int]) -> dict[int, list[int]]:
        """The folders in which messages lie, by id; nothing where only one is listed."""
        return copies.places(self._session, ids, self._is_within) if len(self._within) > 1 else {}

    def _is_within(self, message: Any) -> ColumnElement[bool]:
        return threads.within(self._within, message) if self._within else false()

    def _shown(self) -> list[ColumnElement[bool]]:
        marked = func.lower(Message.flags).contains("\\deleted", autoescape=True)
        return [not_(marked), *([Message.id.not_in(self._leaving)] if self._leaving else [])]
