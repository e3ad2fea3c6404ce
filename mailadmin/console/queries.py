"""Read-only queries that look across domains, for the lists and the overview."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.orm import Session

from mailadmin import leases, queue
from mailadmin.accounts.models import Account, Health
from mailadmin.accounts.service import state_of
from mailadmin.db import now
from mailadmin.providers.models import Provider

PAGE = 50
ATTENTION = (Health.UNREACHABLE, Health.NEEDS_ATTENTION)
WORDS = 10


@dataclass(frozen=True, slots=True)
class Vitals:
    """Whether background work goes on: `runners` alive, jobs `waiting` (None: no queue), a `clock` that ticks.

    `silent` is how many runners ended without a word while work was there.
    """

    runners: int
    silent: int
    waiting: int | None
    clock: bool

    @property
    def tone(self) -> str:
        """How it looks on the page."""
        is_well = self.runners and not self.silent and self.waiting is not None and self.clock
        return "ok" if is_well else "bad"


def vitals(session: Session) -> Vitals:
    """The pulse of the runners, the queue and the clock."""
    counted, moment = queue.waiting(), now()
    waiting = None if counted is None else sum(counted.values())
    runners = leases.not_given_back(session, "runner:")
    alive = sum(runner.expires_at > moment for runner in runners)
    return Vitals(
        runners=alive,
        silent=len(runners) - alive if waiting or not alive else 0,
        waiting=waiting,
        clock=bool(leases.held_now(session, "clock")),
    )


def tallies(session: Session) -> dict[str, int]:
    """Accounts by what the tabs call them: all, connected, syncing, attention, paused, unfinished."""
    live = Account.deleting_at.is_(None)
    filters = {name: rule for name, rule in TABS.items() if name != "all"}
    row = session.execute(
        select(func.count(), *(func.count().filter(rule) for rule in filters.values())).select_from(Account).where(live)
    ).one()
    return dict(zip(["all", *filters], row, strict=True))


_trouble = or_(Account.health.in_(ATTENTION), Account.outgoing_health.in_(ATTENTION))
_running = Account.running_since.is_not(None)
AT_WORK = Account.is_set_up & (Account.health != Health.PAUSED)
TABS = {
    "all": Account.id.is_not(None),
    "connected": AT_WORK & ~_trouble & ~_running,
    "syncing": AT_WORK & ~_trouble & _running,
    "attention": AT_WORK & _trouble,
    "paused": Account.is_set_up & (Account.health == Health.PAUSED),
    "unfinished": ~Account.is_set_up,
}


def accounts(*, tab: str = "all", words: str = "", provider_id: int | None = None) -> Select[Account]:
    """The live accounts in a tab, at a provider, whose address or name holds `words`; by address."""
    query = select(Account).where(Account.deleting_at.is_(None), TABS.get(tab, TABS["all"]))
    if provider_id is not None:
        query = query.where(Account.provider_id == provider_id)
    for word in words.lower().split()[:WORDS]:
        holds = [func.lower(column).contains(word, autoescape=True) for column in (Account.address, Account.name)]
        query = query.where(or_(*holds))
    return query.order_by(Account.address, Account.id)


def page_of(session: Session, query: Select[Account], page: int) -> tuple[Sequence[Account], int, int]:
    """The accounts on `page` (from 1), how many there are in all, and the page: one beyond the last is the last.

    The ids are chosen first, then the rows joined.
    """
    total = session.scalar(select(func.count()).select_from(query.with_only_columns(Account.id).subquery())) or 0
    page = min(max(page, 1), max(1, -(-total // PAGE)))
    ids = query.with_only_columns(Account.id).limit(PAGE).offset((page - 1) * PAGE)
    rows = select(Account).where(Account.id.in_(ids)).order_by(Account.address, Account.id)
    return session.scalars(rows).unique().all(), total, page


def states(rows: Sequence[Account]) -> dict[int, str]:
    """The state of each account, by id."""
    return {account.id: state_of(account) for account in rows}


def provider_count(session: Session) -> int:
    """How many providers there are."""
    return session.scalar(select(func.count(Provider.id))) or 0


def providers(session: Session) -> Sequence[Row[Provider, int]]:
    """All providers with the number of live accounts at each, by name."""
    used = (
        select(Account.provider_id, func.count().label("n"))
        .where(Account.deleting_at.is_(None))
        .group_by(Account.provider_id)
        .subquery()
    )
    return session.execute(
        select(Provider, func.coalesce(used.c.n, 0))
        .outerjoin(used, used.c.provider_id == Provider.id)
        .order_by(func.lower(Provider.name))
    ).all()
