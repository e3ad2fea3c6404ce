"""What owners of personal accounts let others see of their mail, on the page of a contact and nowhere else."""

from sqlalchemy import Select, false, select

from mailadmin.accounts.models import Account, Kind, Visibility
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole


def shown_accounts(person: Person) -> Select[Account]:
    """The live personal accounts of others of which their owners show something, see `Account.visibility`.

    How much is to be taken from the account, before anything of its mail gets into a page.
    """
    if not person.is_active:
        return select(Account).where(false())
    others = (
        Account.deleting_at.is_(None),
        Account.kind == Kind.PERSONAL,
        Account.visibility != Visibility.NOTHING,
        Account.owner_id.is_not(None),
        Account.owner_id != person.id,
    )
    shown = select(Account).where(*others)
    return shown if person.role is PersonRole.ADMINISTRATOR else shown.where(organisation.mail_is_used())
