"""The one account through which this console itself writes e-mail, if somebody chose one."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, AccountServer, Credential, Kind
from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.permissions import Actor
from mailadmin.providers.models import ProviderServer
from mailadmin.text import t

MOST_OFFERED = 500


def sender(session: Session) -> Account | None:
    """The account through which the console writes."""
    query = select(Account).where(Account.is_system_mail, Account.deleting_at.is_(None))
    return session.scalars(query).unique().one_or_none()


def possible_senders(session: Session) -> Sequence[Account]:
    """The accounts that could be it, by address: set up, with something to send by, and nobody's own."""
    query = select(Account).where(*_MAY).order_by(Account.address).limit(MOST_OFFERED)
    return session.scalars(query).unique().all()


def choose_sender(session: Session, account_id: int | None, *, actor: Actor) -> bool:
    """Write through the account `account_id` from now on, None: not at all. Says whether that is a change.

    Raises RuleBroken at the field `sender` if it cannot be.
    """
    before = sender(session)
    if (before.id if before else None) == account_id:
        return False
    chosen = None
    if account_id is not None:
        chosen = session.scalars(select(Account).where(Account.id == account_id, *_MAY)).unique().one_or_none()
        if chosen is None:
            raise RuleBroken(t("This account cannot send any more. Choose another."), field="sender")
    # One statement for those that are it: the unique index must not see two.
    session.execute(update(Account).where(Account.is_system_mail).values(is_system_mail=False))
    if chosen is not None:
        session.execute(update(Account).where(Account.id == chosen.id).values(is_system_mail=True))
    what = f"chose {chosen.address} for e-mail from this console" if chosen else "chose to send no e-mail from here"
    activity.record(session, actor, what, account_id=chosen.id if chosen else None)
    session.flush()
    return True


_own = select(AccountServer.id).where(
    AccountServer.account_id == Account.id, AccountServer.direction == Direction.OUTGOING
)
_providers = select(ProviderServer.id).where(
    ProviderServer.provider_id == Account.provider_id, ProviderServer.direction == Direction.OUTGOING
)
_MAY = (
    Account.is_set_up,
    Account.deleting_at.is_(None),
    Account.kind != Kind.PERSONAL,
    _own.exists() | _providers.exists(),
    select(Credential.id).where(Credential.account_id == Account.id).exists(),
)
