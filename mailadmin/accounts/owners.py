"""Personal accounts: whose there are, how somebody adds one of their own, and how they pass on when an owner leaves."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Kind, SentCopies, Visibility
from mailadmin.accounts.service import AccountWish
from mailadmin.accounts.visibility import change_visibility
from mailadmin.activity import service as activity
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.permissions import Actor, Permission
from mailadmin.text import t

MOST_OWN = 5  # of one person; administrators may give out more


def owned_by(session: Session, person: Person) -> Sequence[Account]:
    """The live personal accounts of `person`, by address."""
    return session.scalars(_of(person).order_by(Account.address)).unique().all()


def own_account(session: Session, person: Person, account_id: int) -> Account:
    """The live personal account `account_id` of `person`: where everything begins that owners do with theirs.

    Raises NotFound for everybody else, whatever they may do elsewhere, and whether or not there is such an account.
    """
    account = session.scalars(_of(person).where(Account.id == account_id)).unique().one_or_none()
    if account is None:
        raise NotFound(t("There is no such account, or it is not yours."))
    return account


def is_owned_by(account: Account, person: Person) -> bool:
    """Whether the personal `account` is that of `person`, who may still sign in."""
    return person.is_active and account.kind is Kind.PERSONAL and account.owner_id == person.id


def may_add(session: Session, person: Person) -> bool:
    """Whether `person` may add accounts of their own: the organisation lets workers, or they manage all accounts."""
    return person.may(Permission.MANAGE_ACCOUNTS) or organisation.workers_add_accounts(session)


def check_room(session: Session, person: Person) -> None:
    """Raise RuleBroken unless `person` may add one more account of their own.

    Until the commit nobody else adds one for them, so however many ask at once there are never more than MOST_OWN.
    """
    session.execute(select(Person.id).where(Person.id == person.id).with_for_update(key_share=True))
    if not may_add(session, person):
        raise RuleBroken(t("Your organisation leaves new accounts to its administrators. Ask one of them."))
    number = session.scalar(_of(person).with_only_columns(func.count(Account.id))) or 0
    if number >= MOST_OWN:
        raise RuleBroken(t("You have {n} accounts of your own, which is the most. Remove one first.", n=number))


def add(session: Session, person: Person, *, wish: AccountWish, actor: Actor) -> Account:
    """A new personal account of `person` as `wish` says, unfinished; it sets itself up once a test has passed.

    Raises RuleBroken, perhaps at `address`: nobody learns whose an address is that is here already.
    """
    check_room(session, person)
    other = service.find(session, wish.address)
    if other is not None and is_owned_by(other, person):
        raise RuleBroken(t("{address} is among your accounts already.", address=other.address), field="address")
    if other is not None:
        said = "{address} is connected here already. Ask an administrator if it should be yours."
        said = t(said, address=other.address)
        raise RuleBroken(said, field="address")
    own = replace(wish, kind=Kind.PERSONAL, owner_id=person.id, is_begun=True, wanted_folders="")
    return service.create(session, wish=own, actor=actor)


def change_own(
    session: Session,
    account: Account,
    *,
    person: Person,
    sender_name: str,
    sent_copies: SentCopies,
    visibility: Visibility,
    version: int,
    actor: Actor,
) -> None:
    """What `person` says of their own `account`: its name for recipients, copies in Sent, what others see of its mail.

    `version` is that of the account as they saw it. Raises RuleBroken as `service.change` does.
    """
    wish = replace(service.wish_of(account), sender_name=sender_name, sent_copies=sent_copies)
    service.change(session, account, wish=wish, version=version, actor=actor)
    change_visibility(session, account, visibility=visibility, person=person, actor=actor)


def may_resume(account: Account, person: Person) -> bool:
    """Whether `person` may end the pause of their own `account`: not if an administrator made it."""
    return account.is_paused_by_owner or person.may(Permission.MANAGE_ACCOUNTS)


def hand_over(session: Session, account: Account, *, heir: Person, actor: Actor) -> None:
    """Make the personal `account` that of `heir`, with all its mail. Raises RuleBroken (field `heir`)."""
    if not heir.is_active or heir.id == account.owner_id:
        raise RuleBroken(t("Choose somebody else who can sign in."), field="heir")
    account.owner, account.version = heir, account.version + 1
    account.visibility = Visibility.NOTHING  # What others may see the heir was not asked.
    session.flush()
    activity.record(session, actor, f"handed {account.address} over to {heir.name}", account_id=account.id)


def _of(person: Person) -> Select[Account]:
    mine = (Account.owner_id == person.id, Account.kind == Kind.PERSONAL, Account.deleting_at.is_(None))
    return select(Account).where(*mine)
