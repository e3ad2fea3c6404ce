"""Read-only queries for the list of workers, a worker's page and the pickers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.orm import Session

from mailadmin.access import slots
from mailadmin.access.models import Access
from mailadmin.accounts.models import Account, Kind
from mailadmin.console.paging import Paged, counted_ids, ids_of, within
from mailadmin.console.typed_words import holds, words
from mailadmin.people import service as people_service
from mailadmin.people import teams
from mailadmin.people.models import Person, SignIn, Team, TeamMember
from mailadmin.permissions import PersonRole

PICKED = 20  # rows of a picker
_BY_NAME = (func.lower(Person.name), Person.id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the list shall show; as in its address."""

    q: str = ""
    role: str = ""
    team: str = ""
    page: int = 1

    def address(self, page: int | None = None) -> dict[str, str | int]:
        """The arguments of the address that shows it, or another page of it."""
        values: dict[str, str | int] = {"q": self.q, "role": self.role, "team": self.team, "page": page or self.page}
        return {name: value for name, value in values.items() if value and (name, value) != ("page", 1)}


@dataclass(frozen=True, slots=True)
class Row:
    """A person in the list."""

    person: Person
    teams: Sequence[Team]
    used: int
    primary: str
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Found(Paged):
    """One page of people: `total` of those that were searched for, `of_all` that there are."""

    rows: Sequence[Row]
    total: int
    of_all: int
    page: int


@dataclass(frozen=True, slots=True)
class Pick:
    """What a picker of people offers: those found, the teams found, and how many of five each person uses."""

    people: Sequence[Person] = ()
    teams: Sequence[tuple[Team, int, int]] = ()  # with how many members, and how many of these have access
    used: dict[int, int] = field(default_factory=dict)


def find(session: Session, wanted: Wanted) -> Found:
    """The people who are wanted, by name. A page beyond the last is the last."""
    query = select(Person.id).where(*_rules(session, wanted))
    of_all = session.scalar(select(func.count(Person.id))) or 0
    if wanted.q or wanted.role or wanted.team:
        ids, total, page = counted_ids(session, query, _BY_NAME, page=wanted.page)
    else:
        total, page = of_all, within(wanted.page, of_all)
        ids = ids_of(session, query, _BY_NAME, page=page, total=total)
    people = session.scalars(select(Person).where(Person.id.in_(ids)).order_by(*_BY_NAME)).unique().all()
    return Found(_rows(session, people), total, of_all, page)


def _rules(session: Session, wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.role in set(PersonRole):
        yield Person.role == PersonRole(wanted.role)
    if wanted.team.isdigit():
        yield Person.id.in_(_members([int(wanted.team)]))
    named = {team.id: team.name.lower() for team in people_service.teams(session)} if wanted.q else {}
    for word in words(wanted.q):
        own = holds(word, Person.name, Person.email)
        in_team = [id_ for id_, name in named.items() if word in name]
        yield or_(own, Person.id.in_(_members(in_team))) if in_team else own


def _members(team_ids: Sequence[int]) -> Select[int]:
    return select(TeamMember.person_id).where(TeamMember.team_id.in_(team_ids))


def pick_accounts(session: Session, person: Person, typed: str) -> Sequence[Account]:
    """The live accounts that `person` has no place for yet and whose address or name holds the words, by address.

    Personal ones are among them, so that whoever looks for one learns why it cannot be given.
    """
    has = exists().where(Access.account_id == Account.id, Access.person_id == person.id)
    query = select(Account.id).where(Account.deleting_at.is_(None), ~has)
    query = query.where(*(holds(word, Account.address, Account.name) for word in words(typed)))
    ids: list[int] = []
    for rule in (Account.kind != Kind.PERSONAL, Account.kind == Kind.PERSONAL):  # Each in the order of an index.
        ids += session.scalars(query.where(rule).order_by(Account.address).limit(PICKED - len(ids)))
    order = Account.kind == Kind.PERSONAL, Account.address
    return session.scalars(select(Account).where(Account.id.in_(ids)).order_by(*order)).unique().all()


def pick_people(session: Session, account: Account, typed: str) -> Pick:
    """Active people without a place for `account`, and teams some of whom have none, whose names hold the words."""
    has = exists().where(Access.account_id == account.id, Access.person_id == Person.id)
    query = select(Person.id).where(Person.deactivated_at.is_(None), ~has)
    query = query.where(*(holds(word, Person.name, Person.email) for word in words(typed)))
    ids = list(session.scalars(query.order_by(*_BY_NAME).limit(PICKED)))
    found = session.scalars(select(Person).where(Person.id.in_(ids)).order_by(*_BY_NAME)).unique().all()
    return Pick(found, _teams(session, account, typed) if words(typed) else (), slots.counts(session, ids))


def own_accounts(session: Session, person: Person) -> Sequence[Account]:
    """The personal accounts of `person`, by address."""
    own = Account.kind == Kind.PERSONAL, Account.owner_id == person.id, Account.deleting_at.is_(None)
    return session.scalars(select(Account).where(*own).order_by(Account.address)).unique().all()


def _teams(session: Session, account: Account, typed: str) -> Sequence[tuple[Team, int, int]]:
    has = exists().where(Access.account_id == account.id, Access.person_id == TeamMember.person_id)
    number, have = func.count(), func.count().filter(has)
    query = select(Team, number, have).join(TeamMember).join(Person, Person.id == TeamMember.person_id)
    query = query.where(Person.deactivated_at.is_(None))
    query = query.where(*(holds(word, Team.name) for word in words(typed)))
    return [(team, n, h) for team, n, h in session.execute(query.group_by(Team.id).having(number > have).limit(5))]


def _rows(session: Session, people: Sequence[Person]) -> Sequence[Row]:
    ids = [person.id for person in people]
    used, of_teams = slots.counts(session, ids), teams.of_people(session, ids)
    starred = select(Access.person_id, Account.address).join(Account, Account.id == Access.account_id)
    mine = starred.where(Access.is_primary, Access.person_id.in_(ids), Account.deleting_at.is_(None))
    primary = dict(session.execute(mine).all())
    unseen = [person.id for person in people if person.seen_at is None]
    seen = select(SignIn.person_id, func.max(SignIn.seen_at)).where(SignIn.person_id.in_(unseen))
    last = dict(session.execute(seen.group_by(SignIn.person_id)).all()) if unseen else {}
    return [Row(p, of_teams[p.id], used[p.id], primary.get(p.id, ""), p.seen_at or last.get(p.id)) for p in people]
