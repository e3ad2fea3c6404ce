"""Which accounts there are, and whose they can be."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.errors import NotFound
from mailadmin.people.models import Person
from mailadmin.providers.models import Provider
from mailadmin.text import t


def get(session: Session, account_id: int) -> Account:
    """The account `account_id`. Raises NotFound, also while it is being deleted."""
    account = session.get(Account, account_id)
    if account is None or account.deleting_at is not None:
        raise NotFound(t("This account does not exist any more."))
    return account


def find(session: Session, address: str) -> Account | None:
    """The live account with `address`, however it is capitalised."""
    live = select(Account).where(Account.deleting_at.is_(None))
    return session.scalars(live.where(Account.address == address.strip().lower())).unique().one_or_none()


def named(session: Session, text: str) -> Account | None:
    """The live account whose address or id is `text`, however it is capitalised."""
    live = select(Account).where(Account.deleting_at.is_(None), Account.slug == text.strip().lower())
    return find(session, text) or session.scalars(live).unique().one_or_none()


def all_live(session: Session) -> Sequence[Account]:
    """All accounts that are not being deleted, by address."""
    query = select(Account).where(Account.deleting_at.is_(None)).order_by(Account.address)
    return session.scalars(query).unique().all()


def primary(session: Session) -> Account | None:
    """The one account that comes first in lists and for writing, if somebody chose it."""
    query = select(Account).where(Account.is_primary, Account.deleting_at.is_(None))
    return session.scalars(query).unique().one_or_none()


def possible_owners(session: Session) -> Sequence[Person]:
    """The people whose personal account one can be, by name."""
    return session.scalars(select(Person).where(Person.deactivated_at.is_(None)).order_by(Person.name)).all()


def using(session: Session, provider: Provider) -> list[Account]:
    """The accounts at `provider`, by address; also those whose deletion has not ended, since they hold it too."""
    query = select(Account).where(Account.provider_id == provider.id).order_by(Account.address)
    return list(session.scalars(query).unique())
