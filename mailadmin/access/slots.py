"""The five places of a person: giving and taking accounts, their order, their rights, and the star.

A place is a number from 1 to 5, and the table knows no other (models.py): whoever comes sixth is refused by it, however
many ask at once. Places do not move when one becomes free. Changes for one person go one after the other, behind a lock
on the person's row, so that counting and choosing a free place are safe too, and so is what the table cannot count: the
accounts of teams, where the organisation wants them counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from mailadmin.access.models import SLOTS, Access
from mailadmin.access.service import Rights, rights_of
from mailadmin.accounts.models import Account, Kind
from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person, Team, TeamMember
from mailadmin.permissions import Actor, PersonRole
from mailadmin.text import t

RIGHTS_WORDS = {
    Rights.SEND: t("Read and send"),
    Rights.WRITE: t("Read and change"),
    Rights.READ: t("Read only"),
}


@dataclass(frozen=True, slots=True)
class Given:
    """What became of giving a whole team an account: who has it now, who had no place left, and who was left out."""

    now_have: Sequence[Person]
    full: Sequence[Person]
    left_out: Sequence[Person] = ()


def of(session: Session, person: Person) -> list[Access | None]:
    """The five places of `person` in order, None for a free one. An account that is being deleted is free."""
    filled = {slot.position: slot for slot in session.scalars(_filled(person)).unique()}
    return [filled.get(position) for position in range(1, SLOTS + 1)]


def of_account(session: Session, account: Account) -> Sequence[Access]:
    """The places in which `account` stands, by the names of the people."""
    query = select(Access).join(Person).where(Access.account_id == account.id).order_by(Person.name, Person.id)
    return session.scalars(query).unique().all()


def count(session: Session, person: Person) -> int:
    """How many of five are used: places, and the accounts of teams where the organisation counts them."""
    return counts(session, [person.id])[person.id]


def counts(session: Session, person_ids: Sequence[int], *, with_teams: bool | None = None) -> dict[int, int]:
    """`count` for several people at once; `with_teams` says it differently from the organisation."""
    found = dict.fromkeys(person_ids, 0)
    pairs = select(Access.person_id, Access.account_id).join(Account).where(Account.deleting_at.is_(None))
    used = pairs.where(Access.person_id.in_(person_ids))
    if organisation.team_accounts_use_slots(session) if with_teams is None else with_teams:
        through = select(TeamMember.person_id, Account.id).join(Account, Account.team_id == TeamMember.team_id)
        rules = Account.kind == Kind.TEAM, Account.deleting_at.is_(None), TeamMember.person_id.in_(person_ids)
        both = used.union(through.where(*rules)).subquery()  # Who has an account in both ways has it once.
    else:
        both = used.subquery()
    person_id = both.columns[0]
    for id_, number in session.execute(select(person_id, func.count()).group_by(person_id)):
        found[id_] = number
    return found


def give(session: Session, *, person: Person, account: Account, rights: Rights, actor: Actor) -> Access:
    """Put `account` into the lowest free place of `person`; the first one gets the star.

    Raises RuleBroken when the person has it already, is full or deactivated, and when the account is somebody's own.
    """
    person = lock(session, person)
    _check_kind(account)
    if not person.is_active:
        raise RuleBroken(t("{name} is deactivated and cannot be given accounts.", name=person.name))
    slots = _swept(session, person)
    if any(slot.account_id == account.id for slot in slots):
        raise RuleBroken(t("{name} uses {address} already.", name=person.name, address=account.address))
    free = [n for n in range(1, SLOTS + 1) if n not in {slot.position for slot in slots}]
    if not free:
        raise _full(person, account)
    _check_room(session, person, account)
    slot = Access(person_id=person.id, account_id=account.id, position=free[0])
    _allow(slot, rights)
    slot.is_primary = not any(other.is_primary for other in slots)
    try:
        with session.begin_nested():
            session.add(slot)
    except IntegrityError as error:  # Somebody who does not lock was quicker: the table decides.
        raise _full(person, account) from error
    what = f"gave {person.name} access to {account.address}"
    detail = f"{RIGHTS_WORDS[rights]}, place {slot.position} of {SLOTS}"
    activity.record(session, actor, what, detail=detail, account_id=account.id, kind=ActivityKind.ACCESS)
    session.flush()
    return slot


def give_team(
    session: Session, *, team: Team, account: Account, rights: Rights, actor: Actor, only_workers: bool = False
) -> Given:
    """Give `account` to everybody in `team` who has a place left, each for themselves; who had none is told.

    `only_workers` leaves administrators out, for whoever may not change them.
    """
    _check_kind(account)
    members = select(Person).join(TeamMember, TeamMember.person_id == Person.id).where(TeamMember.team_id == team.id)
    have = set(session.scalars(select(Access.person_id).where(Access.account_id == account.id)))
    given: list[Person] = []
    full: list[Person] = []
    left_out: list[Person] = []
    for person in session.scalars(members.where(Person.deactivated_at.is_(None)).order_by(Person.id)).unique():
        if person.id in have:
            continue
        if only_workers and person.role is not PersonRole.WORKER:
            left_out.append(person)
            continue
        try:
            give(session, person=person, account=account, rights=rights, actor=actor)
            given.append(person)
        except RuleBroken:
            full.append(person)
    return Given(given, full, left_out)


def take(session: Session, *, person: Person, account: Account, actor: Actor) -> None:
    """Free the place in which `account` stands; the others stay where they are, a star goes to the lowest of them.

    Whoever had it reads nothing more with the next click. Raises NotFound if the person does not have it.
    """
    person = lock(session, person)
    slot = _slot(session, person, account)
    session.delete(slot)
    session.flush()
    others = session.scalars(_filled(person)).unique().all()
    if slot.is_primary and others:
        others[0].is_primary = True
    what = f"took access to {account.address} from {person.name}"
    detail = f"place {slot.position} of {SLOTS}"
    activity.record(session, actor, what, detail=detail, account_id=account.id, kind=ActivityKind.ACCESS)
    session.flush()


def move(session: Session, *, person: Person, account: Account, position: int, actor: Actor) -> None:
    """Put `account` at `position`; what stood there takes its place. Raises RuleBroken unless that is 1 to 5."""
    if not 1 <= position <= SLOTS:
        raise RuleBroken(t("There are places 1 to {n}.", n=SLOTS))
    person = lock(session, person)
    slot = _slot(session, person, account)
    old = slot.position
    if old == position:
        return
    other = next((slot for slot in _swept(session, person) if slot.position == position), None)
    if other is None:
        slot.position = position
    else:  # No two rows may have one place, not even for a moment, and there is no sixth to step aside to.
        kept = {name: getattr(other, name) for name in _KEPT}
        session.delete(other)
        session.flush()
        slot.position = position
        session.flush()
        session.add(Access(**kept, person_id=person.id, position=old))
    what = f"moved {account.address} to place {position} of the accounts of {person.name}"
    activity.record(session, actor, what, detail=f"from place {old}", account_id=account.id, kind=ActivityKind.ACCESS)
    session.flush()


def make_primary(session: Session, *, person: Person, account: Account, actor: Actor) -> None:
    """Give the star to `account`, which the person has. Raises NotFound if they do not."""
    person = lock(session, person)
    slot = _slot(session, person, account)
    if slot.is_primary:
        return
    for other in session.scalars(select(Access).where(Access.person_id == person.id, Access.is_primary)).unique():
        other.is_primary = False
    session.flush()  # First away, then here: at most one may have it.
    slot.is_primary = True
    what = f"made {account.address} the primary account of {person.name}"
    activity.record(session, actor, what, account_id=account.id, kind=ActivityKind.ACCESS)
    session.flush()


def set_rights(session: Session, *, person: Person, account: Account, rights: Rights, actor: Actor) -> None:
    """Let `person` do this much with `account`, which they have. Raises NotFound if they do not."""
    person = lock(session, person)
    slot = _slot(session, person, account)
    before = rights_of(slot)
    if before is rights:
        return
    _allow(slot, rights)
    what = f"changed what {person.name} may do with {account.address}"
    detail = f"{RIGHTS_WORDS[rights]}, before: {RIGHTS_WORDS[before].lower()}"
    activity.record(session, actor, what, detail=detail, account_id=account.id, kind=ActivityKind.ACCESS)
    session.flush()


def lock(session: Session, person: Person) -> Person:
    """`person`, fresh: two changes for one person go one after the other, and the second sees what the first did."""
    session.flush()
    row = select(Person).where(Person.id == person.id).with_for_update(of=Person, key_share=True)
    found = session.scalars(row.execution_options(populate_existing=True)).unique().one_or_none()
    if found is None:
        raise NotFound(t("This person is not here any more."))
    return found


_KEPT = ("account_id", "may_write", "may_send", "is_primary", "created_at")


def _filled(person: Person) -> Select[Access]:
    alive = select(Access).join(Account).where(Account.deleting_at.is_(None), Access.person_id == person.id)
    return alive.order_by(Access.position).execution_options(populate_existing=True)


def _swept(session: Session, person: Person) -> Sequence[Access]:
    """The places of `person` in order, after those with accounts that are being deleted were given up."""
    every = select(Access).where(Access.person_id == person.id).options(joinedload(Access.account).lazyload("*"))
    rows = session.scalars(every.order_by(Access.position).execution_options(populate_existing=True)).unique().all()
    for slot in rows:
        if slot.account.deleting_at is not None:
            session.delete(slot)
    session.flush()
    return [slot for slot in rows if slot.account.deleting_at is None]


def _slot(session: Session, person: Person, account: Account) -> Access:
    found = session.scalars(_filled(person).where(Access.account_id == account.id)).unique().one_or_none()
    if found is None:
        raise NotFound(t("{name} does not use {address} any more.", name=person.name, address=account.address))
    return found


def _allow(slot: Access, rights: Rights) -> None:
    slot.may_write, slot.may_send = rights is not Rights.READ, rights is Rights.SEND


def _check_kind(account: Account) -> None:
    if account.deleting_at is not None:
        raise NotFound(t("This account does not exist any more."))
    if account.kind is Kind.PERSONAL:
        said = t("{address} is a personal account: only its owner reads it.", address=account.address)
        raise RuleBroken(said)


def _check_room(session: Session, person: Person, account: Account) -> None:
    """Raise RuleBroken if accounts of teams have used up the five; one that they have through a team counts once."""
    if not organisation.team_accounts_use_slots(session) or count(session, person) < SLOTS:
        return
    is_counted = account.kind is Kind.TEAM and account.team_id is not None
    if not is_counted or session.get(TeamMember, (account.team_id, person.id)) is None:
        raise _full(person, account)


def _full(person: Person, account: Account) -> RuleBroken:
    said = t(
        "{name} already uses five accounts. Give one of them back, then add {address}.",
        name=person.name,
        address=account.address,
    )
    return RuleBroken(said)
