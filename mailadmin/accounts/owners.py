"""Whose personal accounts there are, and how they pass to somebody else when their owner leaves."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Kind, Visibility
from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.people.models import Person
from mailadmin.permissions import Actor
from mailadmin.text import t


def owned_by(session: Session, person: Person) -> Sequence[Account]:
    """The live personal accounts of `person`, by address."""
    mine = select(Account).where(
        Account.owner_id == person.id, Account.kind == Kind.PERSONAL, Account.deleting_at.is_(None)
    )
    return session.scalars(mine.order_by(Account.address)).unique().all()


def hand_over(session: Session, account: Account, *, heir: Person, actor: Actor) -> None:
    """Make the personal `account` that of `heir`, with all its mail. Raises RuleBroken (field `heir`)."""
    if not heir.is_active or heir.id == account.owner_id:
        raise RuleBroken(t("Choose somebody else who can sign in."), field="heir")
    account.owner, account.version = heir, account.version + 1
    account.visibility = Visibility.NOTHING  # What others may see the heir was not asked.
    session.flush()
    activity.record(session, actor, f"handed {account.address} over to {heir.name}", account_id=account.id)
