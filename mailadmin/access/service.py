"""Who may read which mail: the one way to an account's rows of mail."""

from sqlalchemy import Select, false, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.errors import NotFound
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from mailadmin.text import t


def visible_accounts(person: Person) -> Select[Account]:
    """The accounts whose mail `person` may read.

    Nothing else leads to mail: every query for messages or folders on a page starts from here. Until access is built,
    administrators see all live accounts and everybody else none; then it will be the accounts a person is assigned to.
    """
    live = select(Account).where(Account.deleting_at.is_(None))
    return live if person.role is PersonRole.ADMINISTRATOR and person.is_active else live.where(false())


def get_visible(session: Session, person: Person, account_id: int) -> Account:
    """The account `account_id` if `person` may read its mail. Raises NotFound, also when it exists for others."""
    account = session.scalars(visible_accounts(person).where(Account.id == account_id)).unique().one_or_none()
    if account is None:
        raise NotFound(t("There is no such mailbox, or it is not yours."))
    return account
