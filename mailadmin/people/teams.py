"""Teams: people who share an account. Which accounts a team has, and who may join, is said in access/teams.py."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.people.models import Person, Team, TeamMember
from mailadmin.people.service import checked_name
from mailadmin.permissions import Actor
from mailadmin.text import t


def get(session: Session, team_id: int) -> Team:
    """The team `team_id`. Raises NotFound."""
    found = session.get(Team, team_id)
    if found is None:
        raise NotFound(t("This team does not exist any more."))
    return found


def create(session: Session, *, name: str, actor: Actor) -> Team:
    """A new team without members. Raises RuleBroken (field `name`) if the name is taken, however it is capitalised."""
    made = Team(name=_free_name(session, name))
    _store(session, made)
    activity.record(session, actor, f"made the team {made.name}", kind=ActivityKind.PEOPLE)
    return made


def rename(session: Session, team: Team, *, name: str, actor: Actor) -> None:
    """Call `team` by another name. Raises RuleBroken (field `name`) if it is taken."""
    before = team.name
    wanted = _free_name(session, name, beside=team)
    if wanted == before:
        return
    team.name = wanted
    _store(session, team)
    activity.record(session, actor, f"renamed the team {before}", detail=wanted, kind=ActivityKind.PEOPLE)


def delete(session: Session, team: Team, *, actor: Actor) -> None:
    """Dissolve `team`; the people stay. Its accounts have to be let go before, see access/teams.py."""
    session.delete(team)
    activity.record(session, actor, f"deleted the team {team.name}", kind=ActivityKind.PEOPLE)
    session.flush()


def members(session: Session, team: Team) -> Sequence[Person]:
    """The people in `team`, by name."""
    query = select(Person).join(TeamMember, TeamMember.person_id == Person.id).where(TeamMember.team_id == team.id)
    return session.scalars(query.order_by(Person.name, Person.id)).unique().all()


def sizes(session: Session) -> dict[int, int]:
    """How many people are in each team; a team without anybody is left out."""
    counted = select(TeamMember.team_id, func.count()).group_by(TeamMember.team_id)
    return dict(session.execute(counted).all())


def of_people(session: Session, person_ids: Sequence[int]) -> dict[int, list[Team]]:
    """The teams of each of these people, by name."""
    found: dict[int, list[Team]] = {id_: [] for id_ in person_ids}
    query = select(TeamMember.person_id, Team).join(Team, Team.id == TeamMember.team_id)
    for person_id, team in session.execute(query.where(TeamMember.person_id.in_(person_ids)).order_by(Team.name)):
        found[person_id].append(team)
    return found


def add_member(session: Session, team: Team, *, person: Person, actor: Actor) -> None:
    """Let `person` belong to `team`; nothing happens if they do. Who may join is asked before: access/teams.py."""
    if session.get(TeamMember, (team.id, person.id)) is not None:
        return
    try:
        with session.begin_nested():
            session.add(TeamMember(team_id=team.id, person_id=person.id))
    except IntegrityError:
        return  # Two clicks at once: the other one was quicker.
    activity.record(session, actor, f"put {person.name} into the team {team.name}", kind=ActivityKind.PEOPLE)
    session.flush()


def remove_member(session: Session, team: Team, *, person: Person, actor: Actor) -> None:
    """Let `person` belong to `team` no more; nothing happens if they do not."""
    member = session.get(TeamMember, (team.id, person.id))
    if member is None:
        return
    session.delete(member)
    activity.record(session, actor, f"took {person.name} out of the team {team.name}", kind=ActivityKind.PEOPLE)
    session.flush()


def _free_name(session: Session, name: str, *, beside: Team | None = None) -> str:
    wanted = checked_name(name, what=t("The name of the team"), field="name")
    # As Python knows capitals, which SQLite does not beyond ASCII; there are never many teams.
    for team in session.scalars(select(Team).order_by(func.length(Team.name))):
        if team is not beside and team.name.casefold() == wanted.casefold():
            raise _taken(wanted)
    return wanted


def _store(session: Session, team: Team) -> None:
    name = team.name
    try:
        with session.begin_nested():
            session.add(team)
            session.flush()
    except IntegrityError as error:
        raise _taken(name) from error


def _taken(name: str) -> RuleBroken:
    return RuleBroken(t("There is a team called {name} already.", name=name), field="name")
