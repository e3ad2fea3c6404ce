"""Who may read which mail: the one way to an account's rows of mail."""

from collections.abc import Sequence

from sqlalchemy import Select, false, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.errors import NotFound
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from mailadmin.text import t


def visible_accounts(person: Person) -> Select[Account]:
    """The accounts whose mail `person` may read.

    Nothing else leads to mail: every query for messages or folders on a page starts from here. Until access is built,
    administrators see all live accounts and everybody else none; then it will be the accounts a person is assigned to,
    as long as the company uses its mail.
    """
    live = select(Account).where(Account.deleting_at.is_(None))
    if person.role is PersonRole.ADMINISTRATOR and person.is_active:
        return live
    return live.where(organisation.mail_is_used(), false())


def readers(session: Session, account: Account) -> Sequence[Person]:
    """The people who may read the mail of `account`, by name: those whose `visible_accounts` hold it."""
    if account.deleting_at is not None:
        return []
    administrators = Person.role == PersonRole.ADMINISTRATOR, Person.deactivated_at.is_(None)
    return session.scalars(select(Person).where(*administrators).order_by(Person.name, Person.id)).all()


def get_visible(session: Session, person: Person, account_id: int) -> Account:
    """The account `account_id` if `person` may read its mail. Raises NotFound, also when it exists for others."""
    account = session.scalars(visible_accounts(person).where(Account.id == account_id)).unique().one_or_none()
    if account is None:
        if person.role is PersonRole.WORKER and not organisation.uses_mail(session):
            raise NotFound(t("Your organisation does not use integrated e-mail at the moment. No mail is lost."))
        raise NotFound(t("There is no such mailbox, or it is not yours."))
    return account
