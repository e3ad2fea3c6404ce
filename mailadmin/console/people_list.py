"""Read-only queries for the list of workers, a worker's page and the pickers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from mailadmin.access import slots
from mailadmin.access.models import Access
from mailadmin.accounts.models import Account, Kind
from mailadmin.console.paging import PAGE, Paged, within
from mailadmin.people import teams
from mailadmin.people.models import Person, SignIn, Team, TeamMember
from mailadmin.permissions import PersonRole

PICKED = 20  # rows of a picker
MOST_WORDS = 10


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
    query = select(Person).where(*(_holds(word, with_team=True) for word in _words(wanted.q)))
    if wanted.role in set(PersonRole):
        query = query.where(Person.role == PersonRole(wanted.role))
    if wanted.team.isdigit():
        query = query.where(_is_in(TeamMember.team_id == int(wanted.team)))
    total, of_all = _count(session, query), _count(session, select(Person))
    page = within(wanted.page, total)
    order = func.lower(Person.name), Person.id
    people = session.scalars(query.order_by(*order).limit(PAGE).offset((page - 1) * PAGE)).unique().all()
    return Found(_rows(session, people), total, of_all, page)


def pick_accounts(session: Session, person: Person, words: str) -> Sequence[Account]:
    """The live accounts that `person` has no place for yet and whose address or name holds all `words`, by address.

    Personal ones are among them, so that whoever looks for one learns why it cannot be given.
    """
    has = exists().where(Access.account_id == Account.id, Access.person_id == person.id)
    query = select(Account).where(Account.deleting_at.is_(None), ~has)
    for word in _words(words):
        query = query.where(_contains(word, Account.address, Account.name))
    order = Account.kind == Kind.PERSONAL, Account.address
    return session.scalars(query.order_by(*order).limit(PICKED)).unique().all()


def pick_people(session: Session, account: Account, words: str) -> Pick:
    """Active people without a place for `account`, and teams some of whom have none, whose names hold all `words`."""
    has = exists().where(Access.account_id == account.id, Access.person_id == Person.id)
    active = select(Person).where(Person.deactivated_at.is_(None), ~has)
    query = active.where(*(_holds(word, with_team=False) for word in _words(words)))
    people = session.scalars(query.order_by(func.lower(Person.name), Person.id).limit(PICKED)).unique().all()
    found = slots.counts(session, [person.id for person in people])
    return Pick(people, _teams(session, account, words) if words else (), found)


def own_accounts(session: Session, person: Person) -> Sequence[Account]:
    """The personal accounts of `person`, by address."""
    own = Account.kind == Kind.PERSONAL, Account.owner_id == person.id, Account.deleting_at.is_(None)
    return session.scalars(select(Account).where(*own).order_by(Account.address)).unique().all()


def _teams(session: Session, account: Account, words: str) -> Sequence[tuple[Team, int, int]]:
    has = exists().where(Access.account_id == account.id, Access.person_id == TeamMember.person_id)
    number, have = func.count(), func.count().filter(has)
    query = select(Team, number, have).join(TeamMember).join(Person, Person.id == TeamMember.person_id)
    query = query.where(Person.deactivated_at.is_(None))
    for word in _words(words):
        query = query.where(_contains(word, Team.name))
    return [(team, n, h) for team, n, h in session.execute(query.group_by(Team.id).having(number > have).limit(5))]


def _rows(session: Session, people: Sequence[Person]) -> Sequence[Row]:
    ids = [person.id for person in people]
    used, of_teams = slots.counts(session, ids), teams.of_people(session, ids)
    starred = select(Access.person_id, Account.address).join(Account, Account.id == Access.account_id)
    mine = starred.where(Access.is_primary, Access.person_id.in_(ids), Account.deleting_at.is_(None))
    primary = dict(session.execute(mine).all())
    seen = (
        select(SignIn.person_id, func.max(SignIn.seen_at)).where(SignIn.person_id.in_(ids)).group_by(SignIn.person_id)
    )
    last = dict(session.execute(seen).all())
    return [Row(p, of_teams[p.id], used[p.id], primary.get(p.id, ""), p.seen_at or last.get(p.id)) for p in people]


def _holds(word: str, *, with_team: bool) -> ColumnElement[bool]:
    own = _contains(word, Person.name, Person.email)
    return or_(own, _is_in(_contains(word, Team.name))) if with_team else own


def _contains(word: str, *columns: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    # SQLite only knows the case of ASCII letters, so other words are looked for as they are usually written.
    spellings = {word} if word.isascii() else {word, word.upper(), word.capitalize()}
    return or_(*(func.lower(c).contains(s, autoescape=True) for c in columns for s in spellings))


def _is_in(rule: ColumnElement[bool]) -> ColumnElement[bool]:
    member = and_(TeamMember.person_id == Person.id, TeamMember.team_id == Team.id, rule)
    return exists().where(member)


def _words(typed: str) -> list[str]:
    return typed.lower().split()[:MOST_WORDS]


def _count(session: Session, query: Select[Person]) -> int:
    return session.scalar(select(func.count()).select_from(query.with_only_columns(Person.id).subquery())) or 0
