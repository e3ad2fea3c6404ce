"""The accounts of teams: one for each, or several where the organisation wants that."""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Kind
from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import service as people
from mailadmin.people.models import Team
from mailadmin.permissions import Actor
from mailadmin.text import t


def of(session: Session, team_ids: Sequence[int]) -> dict[int, list[Account]]:
    """The live accounts of each of these teams, by address."""
    found: dict[int, list[Account]] = {id_: [] for id_ in team_ids}
    live = select(Account).where(Account.kind == Kind.TEAM, Account.deleting_at.is_(None))
    for account in session.scalars(live.where(Account.team_id.in_(team_ids)).order_by(Account.address)).unique():
        found[account.team_id or 0].append(account)
    return found


def for_account(session: Session, account: Account, *, name: str, kind: Kind) -> Team | None:
    """The team called `name`, a new one if need be, for an `account` that will be of `kind`; None without a name.

    What an account has it keeps, also where teams may only have one since. Raises RuleBroken (field `team`) if the team
    has its one account already; of two who come at once, one waits for the other.
    """
    if not name:
        return None
    with session.no_autoflush:  # The account is half changed.
        team = people.team(session, name)
        is_kept = account.kind is Kind.TEAM and account.team_id == team.id
        if kind is not Kind.TEAM or is_kept or team.id is None or organisation.teams_have_many_accounts(session):
            return team
        session.scalar(select(Team.id).where(Team.id == team.id).with_for_update())
        other = session.scalar(_others(team, account))
    if other is not None:
        said = t(
            "The team {name} has its account already: {address}. The settings of the organisation allow more than one.",
            name=team.name,
            address=other,
        )
        raise RuleBroken(said, field="team")
    return team


def let_go(session: Session, team: Team, *, actor: Actor) -> None:
    """Make the accounts of `team` shared ones, for its end; whoever was given a place in them keeps it."""
    rows = select(Account).where(Account.team_id == team.id).order_by(Account.id).with_for_update(of=Account)
    for account in session.scalars(rows.execution_options(populate_existing=True)).unique():
        if account.kind is Kind.TEAM:
            account.kind = Kind.SHARED
            what = f"made {account.address} a shared account"
            activity.record(session, actor, what, detail=f"the team {team.name} is no more", account_id=account.id)
        account.team = None
        account.version += 1
    session.flush()


def _others(team: Team, account: Account) -> Select[str]:
    live = select(Account.address).where(Account.deleting_at.is_(None), Account.kind == Kind.TEAM)
    others = live.where(Account.team_id == team.id)
    return others.where(Account.id != account.id).limit(1) if account.id is not None else others.limit(1)
