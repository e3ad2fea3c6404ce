"""Who may read which mail, and what they may do with it: the one way to an account's rows of mail."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.orm.interfaces import ORMOption

from mailadmin.access.models import Access
from mailadmin.accounts.models import Account, Kind
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import teams
from mailadmin.people.models import Person, TeamMember
from mailadmin.people.staff import is_full
from mailadmin.permissions import PersonRole
from mailadmin.text import t


class NotYours(NotFound):
    """There is no such mailbox, or it is not for this person; `account_id` is what was asked for."""

    def __init__(self, message: str, *, account_id: int) -> None:
        super().__init__(message)
        self.account_id = account_id


class Rights(StrEnum):
    """What somebody may do with the mail of an account; each includes the one before."""

    READ = "read"
    WRITE = "write"  # change it: read or unread, flag, move, delete
    SEND = "send"  # as the account


def visible_accounts(person: Person) -> Select[Account]:
    """The live accounts whose mail `person` may read: those given to them, those of their teams, and their own.

    Nothing else leads to mail: every query for messages or folders on a page starts from here. Administrators are no
    exception, but they go on reading what is theirs while the company does not use its mail, when workers see nothing.
    """
    live = select(Account).where(Account.deleting_at.is_(None))
    if not person.is_active:
        return live.where(false())
    if person.role is PersonRole.ADMINISTRATOR:
        return live.where(_is_read_by(person.id))
    return live.where(_is_read_by(person.id), organisation.mail_is_used())


def readers(session: Session, account: Account) -> Sequence[Person]:
    """The people who may read the mail of `account`, by name: those whose `visible_accounts` hold it."""
    found = _readers(session, account)
    return session.scalars(found.order_by(Person.name, Person.id)).unique().all()


def count_readers(session: Session, account: Account) -> int:
    """How many people may read the mail of `account`."""
    counted = _readers(session, account).with_only_columns(func.count(Person.id))
    return session.scalar(counted) or 0


def get_visible(session: Session, person: Person, account_id: int, *options: ORMOption) -> Account:
    """The account `account_id` if `person` may read its mail. Raises NotYours, also when it exists for others."""
    query = visible_accounts(person).where(Account.id == account_id).options(*options)
    account = session.scalars(query).unique().one_or_none()
    if account is None:
        said = t("There is no such mailbox, or it is not yours.")
        if person.role is PersonRole.WORKER and not organisation.uses_mail(session):
            said = t("Your organisation does not use integrated e-mail at the moment. No mail is lost.")
        raise NotYours(said, account_id=account_id)
    return account


def rights(session: Session, person: Person, account: Account) -> Rights | None:
    """What `person` may do with the mail of `account`; None: not even read it.

    Whoever has it through a team or owns it may do everything; otherwise the slot decides.
    """
    seen = session.scalar(visible_accounts(person).where(Account.id == account.id).with_only_columns(Account.id))
    if seen is None:
        return None
    if account.kind is Kind.PERSONAL or (account.kind is Kind.TEAM and _is_member(session, person, account)):
        return Rights.SEND
    slot = session.scalars(_slot(person, account)).one_or_none()
    return rights_of(slot) if slot else None


def check_gift(session: Session, account: Account, *, kind: Kind, owner_id: int | None, team: str, by: Person) -> None:
    """Raise RuleBroken if `by`, who may not do everything, is about to let themselves read the mail of `account`.

    It is about to be of `kind`, of this owner or the team of this name. Who manages accounts sees to them, not into
    them.
    """
    if is_full(by) or not account.is_set_up or rights(session, by, account) is not None:
        return
    said = t("You would read its mail then. Somebody who is an administrator for everything can change this.")
    if kind is Kind.PERSONAL and owner_id == by.id:
        raise RuleBroken(said, field="owner_id")
    mine = {each.name.casefold() for each in teams.of_people(session, [by.id])[by.id]}
    if kind is Kind.TEAM and " ".join(team.split()).casefold() in mine:
        raise RuleBroken(said, field="team")


def rights_of(slot: Access) -> Rights:
    """What a slot allows."""
    if slot.may_send:
        return Rights.SEND
    return Rights.WRITE if slot.may_write else Rights.READ


def may_write(session: Session, person: Person, account: Account) -> bool:
    """Whether `person` may change the mail of `account`: read or unread, flag, move, delete."""
    return rights(session, person, account) in (Rights.WRITE, Rights.SEND)


def may_send(session: Session, person: Person, account: Account) -> bool:
    """Whether `person` may send as `account`."""
    return rights(session, person, account) is Rights.SEND


def sendable_accounts(person: Person) -> Select[Account]:
    """The accounts as which `person` may send: what `may_send` says of one, for all of them in one query."""
    slots = select(Access.account_id).where(Access.person_id == person.id, Access.may_send)
    everything = or_(Account.kind == Kind.PERSONAL, _is_of_team(person.id))
    return visible_accounts(person).where(or_(everything, Account.id.in_(slots)))


def get_writable(session: Session, person: Person, account_id: int) -> Account:
    """The account `account_id` for somebody who changes its mail.

    Raises NotFound if `person` may not read it, and RuleBroken if they may, but not more.
    """
    account = get_visible(session, person, account_id)
    if not may_write(session, person, account):
        raise RuleBroken(t("You may read the mail of {address}, but not change it.", address=account.address))
    return account


def get_sendable(session: Session, person: Person, account_id: int) -> Account:
    """The account `account_id` for somebody who sends as it.

    Raises NotFound if `person` may not read it, and RuleBroken if they may, but not send.
    """
    account = get_visible(session, person, account_id)
    if not may_send(session, person, account):
        raise RuleBroken(t("You may read the mail of {address}, but not send as it.", address=account.address))
    return account


def mailboxes(session: Session, person: Person) -> Sequence[tuple[int, str]]:
    """Id and address of all accounts that `person` may open, in their order: the starred one, the slots, the others."""
    slot = and_(Access.account_id == Account.id, Access.person_id == person.id)
    order = (Access.is_primary.desc().nulls_last(), Access.position.nulls_last(), Account.address)
    query = visible_accounts(person).outerjoin(Access, slot).where(Account.is_set_up).order_by(*order)
    return [(id_, address) for id_, address in session.execute(query.with_only_columns(Account.id, Account.address))]


def primary(session: Session, person: Person) -> Account | None:
    """The account that `person` sees first and writes from first, if there is one they may read."""
    starred = visible_accounts(person).join(Access, Access.account_id == Account.id)
    return session.scalars(starred.where(Access.person_id == person.id, Access.is_primary)).unique().one_or_none()


def _is_read_by(person_id: int | InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """The rule, for a query of accounts: personal mail is its owner's alone, whatever else stands in a table."""
    given = select(Access.account_id).where(Access.person_id == person_id)
    return or_(
        and_(Account.kind == Kind.PERSONAL, Account.owner_id == person_id),
        and_(Account.kind != Kind.PERSONAL, Account.id.in_(given)),
        _is_of_team(person_id),
    )


def _is_of_team(person_id: int | InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    teams = select(TeamMember.team_id).where(TeamMember.person_id == person_id)
    return and_(Account.kind == Kind.TEAM, Account.team_id.in_(teams))


def _readers(session: Session, account: Account) -> Select[Person]:
    reading = select(Person).join(Account, Account.id == account.id).where(_is_read_by(Person.id))
    active = reading.where(Person.deactivated_at.is_(None), Account.deleting_at.is_(None))
    return active if organisation.uses_mail(session) else active.where(Person.role == PersonRole.ADMINISTRATOR)


def _is_member(session: Session, person: Person, account: Account) -> bool:
    return account.team_id is not None and session.get(TeamMember, (account.team_id, person.id)) is not None


def _slot(person: Person, account: Account) -> Select[Access]:
    return select(Access).where(Access.person_id == person.id, Access.account_id == account.id)
