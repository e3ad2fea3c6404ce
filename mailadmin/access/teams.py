"""Who may belong to a team: everybody, unless its accounts count among the five and somebody has no place left."""

from collections.abc import Collection, Sequence
from zlib import crc32

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.access import slots
from mailadmin.access.models import SLOTS
from mailadmin.accounts import teams as accounts
from mailadmin.accounts.models import Account, Kind
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import teams
from mailadmin.people.models import Person, Team, TeamMember
from mailadmin.permissions import Actor
from mailadmin.text import t

MOST_NAMED = 3
COUNTING = "team_accounts_use_slots"  # the field of the settings that turns it on


def join(session: Session, team: Team, *, person: Person, actor: Actor) -> None:
    """Put `person` into `team`. Raises RuleBroken if they are deactivated, or would use more than five accounts."""
    person = slots.lock(session, person)
    if not person.is_active:
        raise RuleBroken(t("{name} is deactivated and cannot join a team.", name=person.name))
    with session.begin_nested():  # Undone if too much comes of it.
        teams.add_member(session, team, person=person, actor=actor)
        if organisation.team_accounts_use_slots(session):
            _check(session, [person], t("in the team {name}", name=team.name))


def leave(session: Session, team: Team, *, person: Person, actor: Actor) -> None:
    """Take `person` out of `team`: with the next click they read nothing of its accounts, unless given otherwise."""
    person = slots.lock(session, person)
    teams.remove_member(session, team, person=person, actor=actor)


def set_teams(session: Session, *, person: Person, wanted: Collection[int], actor: Actor) -> None:
    """Let `person` belong to the teams `wanted` and to no other. Raises RuleBroken, see `join`, or NotFound."""
    present = {team.id: team for team in teams.of_people(session, [person.id])[person.id]}
    for team_id in sorted(present.keys() - set(wanted)):
        leave(session, present[team_id], person=person, actor=actor)
    for team_id in sorted(set(wanted) - present.keys()):
        join(session, teams.get(session, team_id), person=person, actor=actor)


def standing(session: Session, person: Person) -> int:
    """A number that is another one as soon as the role or the teams of `person` are: for forms that change them."""
    ids = sorted(team.id for team in teams.of_people(session, [person.id])[person.id])
    return crc32(repr((person.role.value, person.custom_role_id, ids)).encode())


def delete(session: Session, team: Team, *, actor: Actor) -> None:
    """Dissolve `team`: its accounts become shared ones, which nobody reads who was not given a place of their own."""
    accounts.let_go(session, team, actor=actor)
    teams.delete(session, team, actor=actor)


def accounts_through_teams(session: Session, person: Person) -> Sequence[Account]:
    """The accounts that `person` uses as a member of a team, by address."""
    query = select(Account).join(TeamMember, TeamMember.team_id == Account.team_id)
    mine = query.where(Account.kind == Kind.TEAM, Account.deleting_at.is_(None), TeamMember.person_id == person.id)
    return session.scalars(mine.order_by(Account.address)).unique().all()


def check_members(session: Session, account: Account) -> None:
    """Raise RuleBroken (field `team`) if somebody uses more than five now that `account` belongs to their team.

    For whoever has just changed that and not committed. The members are locked, so that nobody is given one meanwhile.
    """
    if account.kind is not Kind.TEAM or account.team_id is None or not organisation.team_accounts_use_slots(session):
        return
    mine = select(Person).join(TeamMember, TeamMember.person_id == Person.id)
    rows = mine.where(TeamMember.team_id == account.team_id).order_by(Person.id).with_for_update(of=Person)
    _check(session, session.scalars(rows).unique().all(), t("with {address}", address=account.address), field="team")


def check_counting(session: Session) -> None:
    """Raise RuleBroken if somebody would use more than five accounts, did those of teams count."""
    found = session.scalars(select(Person).join(TeamMember, TeamMember.person_id == Person.id).distinct()).unique()
    _check(session, sorted(found, key=lambda person: person.name), t("if accounts of teams counted"), field=COUNTING)


def _check(session: Session, asked: Sequence[Person], how: str, *, field: str | None = None) -> None:
    used = slots.counts(session, [person.id for person in asked], with_teams=True)
    over = [person for person in asked if used[person.id] > SLOTS]
    if over:
        raise RuleBroken(_said(over, how), field=field)


def _said(full: Sequence[Person], how: str) -> str:
    names = ", ".join(person.name for person in full[:MOST_NAMED])
    more = t(" and {n} more", n=len(full) - MOST_NAMED) if len(full) > MOST_NAMED else ""
    return t("{names} would use more than five accounts {how}. Take one back first.", names=names + more, how=how)
