"""Read-only queries that look across domains, for the lists and the overview."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Row, case, func, literal, or_, select
from sqlalchemy.orm import Session

from mailadmin import leases, queue
from mailadmin.accounts.models import Account, Health
from mailadmin.db import now
from mailadmin.mail.types import Role
from mailadmin.people.models import Person
from mailadmin.providers.models import Provider, ProviderDomain
from mailadmin.sync import overlay
from mailadmin.sync.models import ChangeState, Folder, PendingChange

_WORDS = 10
ATTENTION = (Health.UNREACHABLE, Health.NEEDS_ATTENTION)


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


_trouble = or_(Account.health.in_(ATTENTION), Account.outgoing_health.in_(ATTENTION))
_running = Account.running_since.is_not(None)
_is_partial = Account.incomplete != ""
AT_WORK = Account.is_set_up & (Account.health != Health.PAUSED)
TABS = {
    "all": Account.id.is_not(None),
    "connected": AT_WORK & ~_trouble & ~_running & ~_is_partial,
    "partial": AT_WORK & ~_trouble & ~_running & _is_partial,
    "syncing": AT_WORK & ~_trouble & _running,
    "attention": AT_WORK & _trouble,
    "paused": Account.is_set_up & (Account.health == Health.PAUSED),
    "unfinished": ~Account.is_set_up,
}
TAB = case(*((rule, name) for name, rule in TABS.items() if name != "all"))  # each account stands in one
# By the columns of ix_account_state, in its order: both databases count along that index and sort nothing. It does not
# know which accounts are complete; those that are not are few, and counted by themselves.
_broad = {name: rule for name, rule in TABS.items() if name not in ("all", "partial")}
_broad["connected"] = AT_WORK & ~_trouble & ~_running
_kinds = (
    select(case(*((rule, name) for name, rule in _broad.items())).label("tab"), func.count().label("number"))
    .where(Account.deleting_at.is_(None))
    .group_by(Account.health, Account.outgoing_health, Account.is_set_up, Account.running_since)
    .subquery()
)
_partial = select(literal("partial"), func.count()).where(Account.deleting_at.is_(None), TABS["partial"])
_counted = select(_kinds.c.tab, func.sum(_kinds.c.number)).group_by(_kinds.c.tab).union_all(_partial)


def tallies(session: Session) -> dict[str, int]:
    """All live accounts, by what the tabs call them: all, connected, syncing, attention, ..."""
    found = {tab: int(number) for tab, number in session.execute(_counted)}
    found["connected"] = found.get("connected", 0) - found["partial"]
    return {name: found.get(name, 0) if name != "all" else sum(found.values()) for name in TABS}


def provider_count(session: Session) -> int:
    """How many providers there are."""
    return session.scalar(select(func.count(Provider.id))) or 0


def folder_count(session: Session, account_id: int) -> int:
    """How many folders of an account there are on its server."""
    return session.scalar(select(func.count(Folder.id)).where(Folder.account_id == account_id, ~Folder.is_gone)) or 0


def people_count(session: Session) -> int:
    """How many people can sign in."""
    return session.scalar(select(func.count()).select_from(Person).where(Person.deactivated_at.is_(None))) or 0


def provider_names(session: Session) -> Sequence[Row[int, str]]:
    """Id and name of all providers, by name."""
    return session.execute(select(Provider.id, Provider.name).order_by(func.lower(Provider.name))).all()


def accounts_at(session: Session, provider: Provider) -> int:
    """How many live accounts use `provider`."""
    live = select(func.count()).where(Account.provider_id == provider.id, Account.deleting_at.is_(None))
    return session.scalar(live) or 0


def holding(session: Session, provider: Provider, *, shown: int = 5) -> tuple[Sequence[Account], int]:
    """The first accounts that hold `provider`, by address, and how many do; also those that are being deleted."""
    at = select(Account).where(Account.provider_id == provider.id)
    first = session.scalars(at.order_by(Account.address, Account.id).limit(shown)).unique().all()
    return first, session.scalar(select(func.count()).where(Account.provider_id == provider.id)) or 0


def providers(session: Session, words: str = "") -> Sequence[Row[Provider, int]]:
    """The providers whose name or domain holds `words`, with the number of live accounts at each; by name."""
    used = (
        select(Account.provider_id, func.count().label("n"))
        .where(Account.deleting_at.is_(None))
        .group_by(Account.provider_id)
        .subquery()
    )
    query = select(Provider, func.coalesce(used.c.n, 0)).outerjoin(used, used.c.provider_id == Provider.id)
    for word in words.lower().split()[:_WORDS]:
        named = func.lower(Provider.name).contains(word, autoescape=True)
        query = query.where(named | Provider.domains.any(ProviderDomain.domain.contains(word, autoescape=True)))
    return session.execute(query.order_by(func.lower(Provider.name))).all()


def unread(session: Session, account_ids: Sequence[int]) -> dict[int, int]:
    """How many unread messages are in the inboxes of these accounts, with what people moved and no server knows yet."""
    inboxes = select(Folder.account_id, Folder.id, Folder.unread).where(
        Folder.account_id.in_(account_ids), Folder.role == Role.INBOX, Folder.is_active, Folder.is_gone.is_(False)
    )
    found = session.execute(inboxes).all()
    waiting = select(PendingChange.account_id).where(
        PendingChange.account_id.in_(account_ids), PendingChange.state == ChangeState.WAITING
    )
    shifts = {id_: overlay.unread_shift(session, id_) for id_ in set(session.scalars(waiting))}
    return {id_: max(0, number + shifts.get(id_, {}).get(folder_id, 0)) for id_, folder_id, number in found}
