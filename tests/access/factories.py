"""Makers of access: who may use which account."""

from sqlalchemy.orm import Session

from mailadmin.access import slots
from mailadmin.access.models import Access
from mailadmin.access.service import Rights
from mailadmin.accounts.models import Account
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM


def give(session: Session, person: Person, account: Account, rights: Rights = Rights.SEND) -> Access:
    """Let `person` use `account`, in their lowest free slot."""
    return slots.give(session, person=person, account=account, rights=rights, actor=SYSTEM)
