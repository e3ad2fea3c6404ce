"""Read-only queries for the pages of contacts. Contacts come from mail, so what leads to them is who may read which."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session, contains_eager

from mailadmin.access.service import visible_accounts
from mailadmin.accounts.models import Account
from mailadmin.console.paging import PAGE, Paged, within
from mailadmin.contacts import service as contacts
from mailadmin.contacts.models import Contact
from mailadmin.errors import NotFound
from mailadmin.mail.types import Role
from mailadmin.people.models import Person
from mailadmin.permissions import Permission
from mailadmin.sync import copies
from mailadmin.sync.models import Folder, Message, MessageContact
from mailadmin.text import t

MOST_WORDS, LONGEST_SEARCH = 10, 200
_NAMED = (Contact.name == "", func.lower(Contact.name), Contact.address)
ORDERS: dict[str, tuple[Any, ...]] = {
    "name": _NAMED,
    "address": (Contact.address,),
    "new": (Contact.created_at.desc(), Contact.id.desc()),
}


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages there are with a contact, copies counted once, and when the last one came."""

    number: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found(Paged):
    """One page of contacts: `total` of those that were searched for, `of_all` that the person may see."""

    rows: Sequence[Contact]
    tallies: dict[int, Tally]
    total: int
    of_all: int
    page: int


def find(session: Session, person: Person, *, words: str, page: int, order: str = "name") -> Found:
    """The contacts that `person` may see whose name or address holds all `words`, in `order`, a key of ORDERS.

    By name, those without one come last. A page beyond the last is the last.
    """
    mine = _visible(person)
    query = mine
    for word in words.lower().split()[:MOST_WORDS]:
        columns = (Contact.address, func.lower(Contact.name))
        query = query.where(or_(*(column.contains(word, autoescape=True) for column in columns)))
    total, of_all = _count(session, query), _count(session, mine)
    page = within(page, total)
    shown = query.outerjoin(Contact.account).options(contains_eager(Contact.account).lazyload("*"))
    ordered = shown.order_by(*ORDERS.get(order, _NAMED)).limit(PAGE).offset((page - 1) * PAGE)
    rows = session.scalars(ordered).unique().all()
    return Found(rows, _tallies(session, person, [row.id for row in rows]), total, of_all, page)


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


def in_accounts(accounts: Select[Account]) -> copies.Rule:
    """The rule for messages of these accounts that people should see, see copies.py; never those in junk."""
    ids = accounts.with_only_columns(Account.id)
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
    found = session.scalars(_visible(person).where(Contact.id == contact_id)).one_or_none()
    if found is None:
        raise NotFound(t("This contact does not exist any more."))
    return found


def _visible(person: Person) -> Select[Contact]:
    """Whom `person` may see: whoever was met in an account that they read, or has mail there.

    Those of accounts that were deleted are nobody's, so they are left to whoever looks after the console.
    """
    ids = visible_accounts(person).with_only_columns(Account.id)
    rule = contacts.visible_to(person.id, ids)
    if not person.may(Permission.SEE_CONSOLE):
        rule = rule & Contact.account_id.is_not(None)
    has_mail = _has_mail(person) & ~contacts.is_private_to_another(person.id)
    return select(Contact).where(or_(rule, has_mail))


def _has_mail(person: Person) -> ColumnElement[bool]:
    may_read = in_accounts(visible_accounts(person))
    mail = and_(MessageContact.contact_id == Contact.id, MessageContact.message_id == Message.id, may_read(Message))
    return exists().where(mail).correlate(Contact)


def _count(session: Session, query: Select[Contact]) -> int:
    return session.scalar(select(func.count()).select_from(query.with_only_columns(Contact.id).subquery())) or 0
