"""Which accounts the list shows: what its address asks for, as queries that read only what is shown.

One query counts all tabs, and with that the pages of the one that is open; one chooses the ids of a page; one reads
what is shown of them. State, encryption and sign-in are worked out by the database, so that filters, order and rows
cannot say different things.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from mailadmin.accounts.models import Account, AccountServer, Credential, Health, Kind
from mailadmin.accounts.service import state_column
from mailadmin.console import queries
from mailadmin.mail.types import Direction, ServiceType, SignInMethod, TLSMode
from mailadmin.people.models import Person, Team
from mailadmin.providers.models import Provider, ProviderServer

PAGE = 50
WORDS, FEW_WORDS = 10, 2  # of a search: so many count; up to so many are looked for in the rows themselves
OWN = "own"  # in place of a provider: accounts with servers of their own
LEGACY = "legacy"  # in place of a sign-in method: passwords where the provider offers OAuth
INCOMPLETE, UNENCRYPTED = "incomplete", "unencrypted"  # in place of a state
WORST_FIRST = ("refused", "signin", "setting", "unreachable", "draft", "paused", "syncing", "connected")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the list shall show, as its address says it: the words of the search, a tab, filters, an order, a page.

    `health` is a state on screen, INCOMPLETE or UNENCRYPTED; `provider` and `team` are ids, or OWN; a `sort` that
    begins with "-" is downwards. Empty means all.
    """

    q: str = ""
    state: str = "all"
    health: str = ""
    provider: str = ""
    kind: str = ""
    method: str = ""
    team: str = ""
    sort: str = "address"
    page: int = 1

    def address(self, **changes: Any) -> dict[str, Any]:
        """The arguments of the list's address after `changes`, which lead to the first page; only what is not usual."""
        changed = replace(self, page=1, **{k: v for k, v in changes.items() if k != "page"})
        usual = asdict(Wanted())
        wanted = asdict(replace(changed, page=changes.get("page", 1 if changes else self.page)))
        return {name: value for name, value in wanted.items() if value != usual[name]}

    def sorted_by(self, key: str) -> "Wanted":
        """The same list by `key`: the other way round if it is sorted by that already."""
        return replace(self, sort=f"-{key}" if self.sort == key else key, page=1)

    @property
    def filters(self) -> int:
        """How many filters are set, without the search and the tab."""
        return sum(bool(value) for value in (self.health, self.provider, self.kind, self.method, self.team))


@dataclass(frozen=True, slots=True)
class Listed:
    """One account as the list shows it. `reason` says what is wrong, `method` is how it signs in to receive."""

    id: int
    address: str
    name: str
    kind: Kind
    owner: str | None
    team: str | None
    provider: str | None
    service_type: ServiceType | None
    method: SignInMethod | None
    is_legacy: bool
    is_primary: bool
    is_set_up: bool
    is_unencrypted: bool
    state: str
    reason: str
    incomplete: str
    synced_at: datetime | None
    stored: int


@dataclass(frozen=True, slots=True)
class Found:
    """One page of the list: `rows` on `page` (from 1) of `pages`; `tallies` counts every tab with the same filters."""

    rows: Sequence[Listed]
    tallies: dict[str, int]
    total: int
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // PAGE))

    @property
    def first(self) -> int:
        """The number of the first row on this page, from 1."""
        return (self.page - 1) * PAGE + 1


def find(session: Session, wanted: Wanted) -> Found:
    """The page that is wanted; a page beyond the last one is the last one."""
    rules = _rules(wanted)
    tallies = queries.tallies(session, *rules)
    total = tallies[wanted.state]
    page = min(max(wanted.page, 1), max(1, -(-total // PAGE)))
    ids = _in_order(wanted).where(queries.TABS[wanted.state], *rules).limit(PAGE).offset((page - 1) * PAGE)
    return Found(_listed(session, session.scalars(ids).all() if total else []), tallies, total, page)


# What is asked for.


def _rules(wanted: Wanted) -> list[ColumnElement[bool]]:
    rules = [_holds(wanted.q.split()[:WORDS])] if wanted.q else []
    if wanted.health:
        rules.append(_is(wanted.health))
    if wanted.provider:
        rules.append(Account.provider_id == (None if wanted.provider == OWN else int(wanted.provider)))
    if wanted.kind:
        rules.append(Account.kind == Kind(wanted.kind))
    if wanted.method:
        rules.append(_signs_in(wanted.method))
    if wanted.team:
        rules.append(Account.team_id == int(wanted.team))
    return rules


def _holds(words: Sequence[str]) -> ColumnElement[bool]:
    """Whether address, name, id or sender hold every word, in upper or lower case; % and _ stand for themselves."""
    text: SQLColumnExpression[str] = Account.address
    for column in (Account.name, func.coalesce(Account.slug, ""), Account.sender_name, Account.sender_address):
        text = text + "\n" + column
    text = func.lower(text)
    if len(words) <= FEW_WORDS:  # A page by address is full soon, and the rest is not looked at.
        return and_(*(_matches(text, word) for word in words))
    # The offset keeps both databases from putting the text together anew for every word. Which accounts live is asked
    # outside: here it would lead SQLite to an index, and from there to every row on its own.
    texts = select(Account.id, text.label("text")).offset(0).subquery()
    return Account.id.in_(select(texts.c.id).where(*(_matches(texts.c.text, word) for word in words)))


def _matches(text: SQLColumnExpression[str], word: str) -> ColumnElement[bool]:
    # SQLite only knows the case of ASCII letters, so other words are looked for as they are usually written.
    usual = {word.lower()} if word.isascii() else {word.lower(), word.upper(), word.capitalize(), word}
    spellings = sorted({"".join(c.lower() if c.isascii() else c for c in spelling) for spelling in usual})
    return or_(*(text.contains(spelling, autoescape=True) for spelling in spellings))


def _is(health: str) -> ColumnElement[bool]:
    if health == UNENCRYPTED:
        return _among_the_unencrypted()
    if health == INCOMPLETE:
        return queries.AT_WORK & (Account.incomplete != "")
    return state_column() == health


def _unencrypted() -> ColumnElement[bool]:
    """Whether a server in use is not encrypted: one of the account's own, or its provider's where it has none."""
    own = AccountServer.account_id == Account.id
    instead = select(AccountServer.id).where(own, AccountServer.direction == ProviderServer.direction)
    providers = select(ProviderServer.id).where(
        ProviderServer.provider_id == Account.provider_id,
        ProviderServer.tls_mode == TLSMode.NONE,
        or_(ProviderServer.direction == Direction.OUTGOING, ProviderServer.protocol == Account.protocol),
        ~instead.correlate(Account, ProviderServer).exists(),
    )
    open_own = select(AccountServer.id).where(own, AccountServer.tls_mode == TLSMode.NONE)
    return or_(open_own.correlate(Account).exists(), providers.correlate(Account).exists())


def _among_the_unencrypted() -> ColumnElement[bool]:
    """The same as `_unencrypted` for all accounts together: one pass over the few open servers, not one per account."""
    other = aliased(Account)
    own = select(AccountServer.account_id).where(AccountServer.tls_mode == TLSMode.NONE)
    instead = (AccountServer.account_id == other.id) & (AccountServer.direction == ProviderServer.direction)
    providers = (
        select(other.id)
        .join(ProviderServer, ProviderServer.provider_id == other.provider_id)
        .outerjoin(AccountServer, instead)
        .where(
            ProviderServer.tls_mode == TLSMode.NONE,
            or_(ProviderServer.direction == Direction.OUTGOING, ProviderServer.protocol == other.protocol),
            AccountServer.id.is_(None),
        )
    )
    return Account.id.in_(own.union_all(providers))


_offers_oauth = Provider.methods.contains(SignInMethod.OAUTH.value)
_receives = Credential.direction == Direction.INCOMING


def _signs_in(method: str) -> ColumnElement[bool]:
    credentials = select(Credential.account_id).where(_receives)
    if method != LEGACY:
        return Account.id.in_(credentials.where(Credential.method == SignInMethod(method)))
    with_password = Account.id.in_(credentials.where(Credential.method != SignInMethod.OAUTH))
    return Account.provider_id.in_(select(Provider.id).where(_offers_oauth)) & with_password


# The order, and what is shown.


def _in_order(wanted: Wanted) -> Select[int]:
    """The ids of the live accounts in the order that is wanted; equal ones by address."""
    query = select(Account.id).where(Account.deleting_at.is_(None))
    keys: dict[str, SQLColumnExpression[Any]] = {
        "address": Account.address,
        "name": func.lower(Account.name),
        "state": case({state: rank for rank, state in enumerate(WORST_FIRST)}, value=state_column()),
        "synced": Account.synced_at,
        "provider": func.lower(Provider.name),
    }
    name = wanted.sort.removeprefix("-")
    if name == "provider":
        query = query.outerjoin(Account.provider)
    key, is_down = keys[name], wanted.sort != name
    ordered = key.desc() if is_down else key.asc()
    if name == "synced":  # Never is longer ago than any time.
        ordered = ordered.nulls_last() if is_down else ordered.nulls_first()
    elif name == "provider":
        ordered = ordered.nulls_last()
    return query.order_by(ordered) if name == "address" else query.order_by(ordered, Account.address)


def _listed(session: Session, ids: Sequence[int]) -> list[Listed]:
    """What is shown of the accounts `ids`, in their order."""
    query: Select[*tuple[Any, ...]] = (
        select(*(column.label(name) for name, column in _shown().items()))
        .select_from(Account)
        .outerjoin(Account.owner)
        .outerjoin(Account.team)
        .outerjoin(Account.provider)
        .outerjoin(Credential, (Credential.account_id == Account.id) & _receives)
        .where(Account.id.in_(ids))
    )
    found = {row.id: Listed(**row._mapping) for row in session.execute(query)}
    return [found[id_] for id_ in ids if id_ in found]


def _shown() -> dict[str, SQLColumnExpression[Any]]:
    """The columns of `Listed`, by their names."""
    reason = case(  # Of two the one that needs somebody.
        (
            (Account.health == Health.UNREACHABLE) & (Account.outgoing_health == Health.NEEDS_ATTENTION),
            Account.outgoing_reason,
        ),
        (Account.health.in_(queries.ATTENTION), Account.health_reason),
        (Account.outgoing_health.in_(queries.ATTENTION), Account.outgoing_reason),
        else_="",
    )
    return {
        "id": Account.id,
        "address": Account.address,
        "name": Account.name,
        "kind": Account.kind,
        "owner": Person.name,
        "team": Team.name,
        "provider": Provider.name,
        "service_type": Provider.service_type,
        "method": Credential.method,
        "is_legacy": func.coalesce(_offers_oauth & (Credential.method != SignInMethod.OAUTH), False),
        "is_primary": Account.is_primary,
        "is_set_up": Account.is_set_up,
        "is_unencrypted": _unencrypted(),
        "state": state_column(),
        "reason": reason,
        "incomplete": Account.incomplete,
        "synced_at": Account.synced_at,
        "stored": Account.stored,
    }


def elsewhere(session: Session, wanted: Wanted) -> int:
    """How many accounts the words of the search find without tab and filters."""
    return queries.tallies(session, *_rules(Wanted(q=wanted.q)))["all"]
