"""Read-only queries for the list of contacts. Contacts come from mail, so what leads to them is who may read which."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from mailadmin.access.service import visible_accounts
from mailadmin.accounts.models import Account
from mailadmin.contacts import service as contacts
from mailadmin.contacts.models import Contact
from mailadmin.errors import NotFound
from mailadmin.people.models import Person
from mailadmin.text import t

PAGE = 50
MOST_WORDS, LONGEST_SEARCH = 10, 200


@dataclass(frozen=True, slots=True)
class Found:
    """One page of contacts: `total` of those that were searched for, `of_all` that the person may see."""

    rows: Sequence[Contact]
    total: int
    of_all: int
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // PAGE)

    @property
    def first(self) -> int:
        """The place of the first row."""
        return (self.page - 1) * PAGE + 1 if self.total else 0


def find(session: Session, person: Person, *, words: str, page: int) -> Found:
    """The contacts that `person` may see whose name or address holds all `words`, by name, those without one last.

    A page beyond the last is the last.
    """
    mine = _visible(person)
    query = mine
    for word in words.lower().split()[:MOST_WORDS]:
        columns = (Contact.address, func.lower(Contact.name))
        query = query.where(or_(*(column.contains(word, autoescape=True) for column in columns)))
    total, of_all = _count(session, query), _count(session, mine)
    page = min(max(page, 1), max(1, -(-total // PAGE)))
    order = (Contact.name == "", func.lower(Contact.name), Contact.address)
    shown = query.outerjoin(Contact.account).options(contains_eager(Contact.account).lazyload("*"))
    rows = session.scalars(shown.order_by(*order).limit(PAGE).offset((page - 1) * PAGE)).unique().all()
    return Found(rows, total, of_all, page)


def get_visible(session: Session, person: Person, contact_id: int) -> Contact:
    """The contact `contact_id` if `person` may see it. Raises NotFound, also when it exists for others."""
    found = session.scalars(_visible(person).where(Contact.id == contact_id)).one_or_none()
    if found is None:
        raise NotFound(t("This contact does not exist any more."))
    return found


def _visible(person: Person) -> Select[Contact]:
    return select(Contact).where(contacts.visible_to(person.id, visible_accounts(person).with_only_columns(Account.id)))


def _count(session: Session, query: Select[Contact]) -> int:
    return session.scalar(select(func.count()).select_from(query.with_only_columns(Contact.id).subquery())) or 0
