"""Reads the messages of an account for a page. Who may read them is decided before: see access.service."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, false, func, or_, select
from sqlalchemy.orm import Session

from mailadmin.errors import NotFound
from mailadmin.mail.types import Role
from mailadmin.sync.models import Folder, Message
from mailadmin.text import t

PAGE = 50
WORDS = 10
_ORDER = (Role.INBOX, Role.DRAFTS, Role.SENT, Role.ARCHIVE, Role.JUNK, Role.TRASH, Role.ALL)
_SHOWN = (
    Message.id,
    Message.folder_id,
    Message.uid,
    Message.subject,
    Message.from_name,
    Message.from_address,
    Message.sent_at,
    Message.received_at,
    Message.size,
    Message.is_read,
    Message.is_flagged,
    Message.is_answered,
    Message.is_draft,
    Message.unreadable,
)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of messages, newest first: `rows` on `page` (from 1) of `pages`, `total` in all."""

    rows: Sequence[Row[*tuple[Any, ...]]]
    total: int
    page: int

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


def chosen(found: Sequence[Folder], wanted: str) -> list[Folder]:
    """Those of `found` that `wanted` means: "all", a folder's id, or, when empty, the first one. Raises NotFound."""
    if wanted == "all":
        return list(found)
    if not wanted:
        return list(found[:1])
    one = [folder for folder in found if str(folder.id) == wanted]
    if not one:
        raise NotFound(t("This folder is not synced, or not on the server any more."))
    return one


def messages(session: Session, within: Sequence[Folder], *, words: str = "", page: int = 1) -> Listing:
    """The messages in the folders `within` whose subject or sender holds all of `words`; only what people should see.

    A folder that is being read anew shows its old generation until the new one is whole. A page beyond the last one is
    the last one. The ids are chosen first, by an index where there is one, and then the rows are fetched.
    """
    rule = and_(_visible(within), *(_holds(word) for word in words.split()[:WORDS]))
    total = session.scalar(select(func.count()).select_from(Message).where(rule)) or 0
    page = min(max(page, 1), max(1, -(-total // PAGE)))
    newest = (Message.received_at.desc().nulls_last(), Message.uid.desc(), Message.id.desc())
    ids = session.scalars(select(Message.id).where(rule).order_by(*newest).limit(PAGE).offset((page - 1) * PAGE)).all()
    rows = session.execute(select(*_SHOWN).where(Message.id.in_(ids)).order_by(*newest)).all() if ids else []
    return Listing(rows, total, page)


def _visible(within: Sequence[Folder]) -> ColumnElement[bool]:
    rules = [and_(Message.folder_id == folder.id, Message.generation == folder.generation) for folder in within]
    return or_(*rules) if rules else false()


def _holds(word: str) -> ColumnElement[bool]:
    """Whether subject or sender holds `word`, in upper or lower case; % and _ stand for themselves."""
    # SQLite only knows the case of ASCII letters, so other words are looked for as they are usually written.
    spellings = {word.lower()} if word.isascii() else {word.lower(), word.upper(), word.capitalize(), word}
    columns = (Message.subject, Message.from_name, Message.from_address)
    return or_(*(func.lower(c).contains(s, autoescape=True) for c in columns for s in spellings))
