"""Read-only queries for the pages of contacts. Contacts come from mail, so what leads to them is who may read which."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session, contains_eager

from mailadmin.access.service import visible_accounts
from mailadmin.accounts.models import Account
from mailadmin.console.paging import Paged, counted_ids
from mailadmin.console.typed_words import holds, words
from mailadmin.contacts import service as contacts
from mailadmin.contacts.models import Contact
from mailadmin.errors import NotFound
from mailadmin.mail.types import Role
from mailadmin.people.models import Person
from mailadmin.permissions import Permission
from mailadmin.sync import copies
from mailadmin.sync.models import Folder, Message, MessageContact
from mailadmin.text import t

LONGEST_SEARCH = 200
_NAMED = (Contact.name == "", func.lower(Contact.name), Contact.address, Contact.id)
ORDERS: dict[str, tuple[Any, ...]] = {
    "name": _NAMED,
    "address": (Contact.address, Contact.id),
    "new": (Contact.created_at, Contact.id),
}
_DOWN = {"new"}  # the newest first


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages there are with a contact, copies counted once, and when the last one came."""

    number: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found(Paged):
    """One page of contacts: `total` of those that were searched for; `is_empty`: the person may see none at all."""

    rows: Sequence[Contact]
    tallies: dict[int, Tally]
    total: int
    page: int
    is_empty: bool = False


def find(session: Session, person: Person, *, typed: str, page: int, order: str = "name") -> Found:
    """The contacts that `person` may see whose name or address holds the words, in `order`, a key of ORDERS.

    By name, those without one come last. A page beyond the last is the last.
    """
    mine = _visible(session, person).with_only_columns(Contact.id)
    query = mine.where(*(holds(word, Contact.address, Contact.name) for word in words(typed)))
    ids, total, page = counted_ids(session, query, ORDERS[order], page=page, down=order in _DOWN)
    shown = select(Contact).outerjoin(Contact.account).options(contains_eager(Contact.account).lazyload("*"))
    rows = {row.id: row for row in session.scalars(shown.where(Contact.id.in_(ids))).unique()} if ids else {}
    is_empty = not total and not session.scalar(select(mine.exists()))
    return Found([rows[id_] for id_ in ids if id_ in rows], _tallies(session, person, ids), total, page, is_empty)


def _tallies(session: Session, person: Person, ids: Sequence[int]) -> dict[int, Tally]:
    """What there is of mail that `person` may read with each of the contacts `ids`."""
    may_read = in_accounts(visible_accounts(person))
    query = (
        select(MessageContact.contact_id, func.count(), func.max(Message.received_at))
        .join(Message, Message.id == MessageContact.message_id)
        .where(MessageContact.contact_id.in_(ids), may_read(Message), copies.shown_once(may_read))
        .group_by(MessageContact.contact_id)
    )
    return {id_: Tally(number, last_at) for id_, number, last_at in session.execute(query)} if ids else {}


def in_accounts(accounts: Select[Account] | Sequence[int]) -> copies.Rule:
    """The rule for messages of these accounts, a query or their ids, that people should see, see copies.py.

    Those in junk are never among them.
    """
    ids = accounts.with_only_columns(Account.id) if isinstance(accounts, Select) else accounts
    shown = (
        Folder.account_id.in_(ids),
        Folder.is_active,
        Folder.is_gone.is_(False),
        or_(Folder.role.is_(None), Folder.role != Role.JUNK),
    )
    folders = select(Folder.id, Folder.generation).where(*shown)
    return lambda message: tuple_(message.folder_id, message.generation).in_(folders)


def get_visible(session: Session, person: Person, contact_id: int) -> Contact:
    """The contact `contact_id` if `person` may see it. Raises NotFound, also when it exists for others."""
    found = session.scalars(_visible(session, person).where(Contact.id == contact_id)).one_or_none()
    if found is None:
        raise NotFound(t("This contact does not exist any more."))
    return found


def _visible(session: Session, person: Person) -> Select[Contact]:
    """Whom `person` may see: whoever was met in an account that they read, or has mail there.

    Those of accounts that were deleted are nobody's, so they are left to whoever looks after the console.
    """
    ids = session.scalars(visible_accounts(person).with_only_columns(Account.id)).all()
    rule = contacts.visible_to(person.id, ids)
    if not person.may(Permission.SEE_CONSOLE):
        rule = rule & Contact.account_id.is_not(None)
    may_read = in_accounts(ids)
    mail = and_(MessageContact.contact_id == Contact.id, MessageContact.message_id == Message.id, may_read(Message))
    has_mail = exists().where(mail).correlate(Contact) & ~contacts.is_private_to_another(person.id)
    return select(Contact).where(or_(rule, has_mail))
