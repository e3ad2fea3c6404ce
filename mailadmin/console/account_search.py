"""Which accounts the list shows: what its address asks for, as queries that read only what is shown.

One query counts all tabs, and with that the pages of the one that is open; one chooses the ids of a page; one reads
what is shown of them. Where words or filters narrow the list, the first two are one, which reads every account once: to
put its text together and look for words in it is most of what a search costs. State, encryption and sign-in are worked
out by the database, so that filters, order and rows cannot say different things.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, SQLColumnExpression, case, func, or_, select, true
from sqlalchemy.orm import Session, aliased

from mailadmin.accounts.models import Account, AccountServer, Credential, Health, Kind
from mailadmin.accounts.service import state_column
from mailadmin.console import queries
from mailadmin.db import ascii_lower
from mailadmin.mail.types import Direction, ServiceType, SignInMethod, TLSMode
from mailadmin.people.models import Person, Team
from mailadmin.providers.models import Provider, ProviderServer

PAGE = 50
_MOST = 1_000_000_000  # more accounts than there are; what is beyond their last page is not asked for
WORDS = 10  # of a search: so many count
OWN = "own"  # in place of a provider: accounts with servers of their own
LEGACY = "legacy"  # in place of a sign-in method: passwords where the provider offers OAuth
UNENCRYPTED = "unencrypted"  # in place of a state
WORST_FIRST = (
    "refused", "signin", "setting", "unreachable", "waiting", "draft", "partial", "paused", "syncing", "connected",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the list shall show, as its address says it: the words of the search, a tab, filters, an order, a page.

    `health` is a state on screen or UNENCRYPTED; `provider` and `team` are ids, or OWN; a `sort` that
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

    @property
    def is_narrow(self) -> bool:
        """Whether words or filters leave accounts out, on every tab."""
        return bool(self.q or self.filters)


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
    asked_at: datetime | None
    incomplete: str
    waits_until: datetime | None
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
    if wanted.is_narrow:
        return _narrowed(session, wanted)
    tallies = queries.tallies(session)
    total = tallies[wanted.state]
    page = _within(wanted.page, total)
    ids = session.scalars(_everything(wanted, page)).all() if total else []
    return Found(_listed(session, ids), tallies, total, page)


def elsewhere(session: Session, wanted: Wanted) -> int:
    """How many accounts the words of the search find without tab and filters."""
    return session.scalar(select(func.count()).select_from(_found(Wanted(q=wanted.q)))) or 0


def _narrowed(session: Session, wanted: Wanted) -> Found:
    """The same where words or filters leave accounts out: how many pages there are shows when they are read."""
    page = _within(wanted.page, _MOST)
    tallies, ids = _counted(session, wanted, page)
    if tallies[wanted.state] and not ids:
        page = _within(page, tallies[wanted.state])
        tallies, ids = _counted(session, wanted, page)
    total = tallies[wanted.state]
    return Found(_listed(session, ids), tallies, total, _within(page, total))


def _within(page: int, total: int) -> int:
    return min(max(page, 1), max(1, -(-total // PAGE)))


# What is asked for.


def _everything(wanted: Wanted, page: int) -> Select[int]:
    """The ids of a page of all accounts; by address an index has them, and nothing else is read."""
    query = _from_accounts(select(Account.id), wanted).where(Account.deleting_at.is_(None), queries.TABS[wanted.state])
    return _paged(query.order_by(*_order(wanted, _key(wanted), Account.address)), page)


def _counted(session: Session, wanted: Wanted, page: int) -> tuple[dict[str, int], list[int]]:
    """How many accounts each tab has, and the ids of a page of the one that is open, in their order."""
    found = _found(wanted)
    counts = {tab: func.count() if tab == "all" else func.count().filter(found.c.tab == tab) for tab in queries.TABS}
    tallies = select(*(count.label(tab) for tab, count in counts.items())).select_from(found).subquery()
    rows = select(found.c.id, found.c.key, found.c.address)
    if wanted.state != "all":
        rows = rows.where(found.c.tab == wanted.state)
    chosen = _paged(rows.order_by(*_order(wanted, found.c.key, found.c.address)), page).subquery()
    both = select(chosen.c.id, *tallies.c).select_from(tallies.outerjoin(chosen, true()))
    answer = session.execute(both.order_by(*_order(wanted, chosen.c.key, chosen.c.address))).all()
    return dict(zip(counts, answer[0][1:], strict=True)), [id_ for id_, *_ in answer if id_ is not None]


def _found(wanted: Wanted) -> CTE:
    """The live accounts that keep the rules and hold the words: id, tab, and what puts them in order."""
    words = wanted.q.split()[:WORDS]
    columns = [Account.id, Account.address, Account.deleting_at, queries.TAB.label("tab"), _key(wanted).label("key")]
    if words:
        columns.append(_text(wanted.q).label("text"))
    query = select(*columns)
    # The offset keeps both databases from putting the text together anew for every word. Which accounts live is asked
    # outside: here it would lead SQLite to an index, and from there to every row on its own.
    read = _from_accounts(query, wanted).where(*_rules(wanted)).offset(0).subquery()
    live = select(read.c.id, read.c.address, read.c.tab, read.c.key).where(read.c.deleting_at.is_(None))
    return live.where(*(_matches(read.c.text, word) for word in words)).cte("found")


def _from_accounts(query: Select[*tuple[Any, ...]], wanted: Wanted) -> Select[*tuple[Any, ...]]:
    return query.outerjoin(Account.provider) if wanted.sort.removeprefix("-") == "provider" else query


def _paged(query: Select[*tuple[Any, ...]], page: int) -> Select[*tuple[Any, ...]]:
    return query.limit(PAGE).offset((page - 1) * PAGE)


def _rules(wanted: Wanted) -> list[ColumnElement[bool]]:
    rules = [_is(wanted.health)] if wanted.health else []
    if wanted.provider:
        rules.append(Account.provider_id == (None if wanted.provider == OWN else int(wanted.provider)))
    if wanted.kind:
        rules.append(Account.kind == Kind(wanted.kind))
    if wanted.method:
        rules.append(_signs_in(wanted.method))
    if wanted.team:
        rules.append(Account.team_id == int(wanted.team))
    return rules


def _text(q: str) -> ColumnElement[str]:
    """Address, name, id and sender, in lower case as far as `q` needs it; no word goes from one into the next."""
    text: SQLColumnExpression[str] = Account.address
    for column in (Account.name, func.coalesce(Account.slug, ""), Account.sender_name, Account.sender_address):
        text = text + "\n" + column
    return ascii_lower(text) if q.isascii() else func.lower(text)


def _matches(text: ColumnElement[str], word: str) -> ColumnElement[bool]:
    """Whether `text` holds `word`; % and _ stand for themselves."""
    # SQLite only knows the case of ASCII letters, so other words are looked for as they are usually written.
    usual = {word.lower()} if word.isascii() else {word.lower(), word.upper(), word.capitalize(), word}
    spellings = sorted({"".join(c.lower() if c.isascii() else c for c in spelling) for spelling in usual})
    return or_(*(text.contains(spelling, autoescape=True) for spelling in spellings))


def _is(health: str) -> ColumnElement[bool]:
    if health == UNENCRYPTED:
        return _among_the_unencrypted()
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
# Not a join: PostgreSQL would read all credentials for one page of accounts.
_method = select(Credential.method).where(Credential.account_id == Account.id, _receives).scalar_subquery()


def _signs_in(method: str) -> ColumnElement[bool]:
    credentials = select(Credential.account_id).where(_receives)
    if method != LEGACY:
        return Account.id.in_(credentials.where(Credential.method == SignInMethod(method)))
    with_password = Account.id.in_(credentials.where(Credential.method != SignInMethod.OAUTH))
    return Account.provider_id.in_(select(Provider.id).where(_offers_oauth)) & with_password


# The order, and what is shown.

_keys: dict[str, SQLColumnExpression[Any]] = {
    "address": Account.address,
    "name": func.lower(Account.name),
    "state": case({state: rank for rank, state in enumerate(WORST_FIRST)}, value=state_column()),
    "synced": Account.synced_at,
    "provider": func.lower(Provider.name),
}


def _key(wanted: Wanted) -> SQLColumnExpression[Any]:
    return _keys[wanted.sort.removeprefix("-")]


def _order(
    wanted: Wanted, key: SQLColumnExpression[Any], address: SQLColumnExpression[str]
) -> list[SQLColumnExpression[Any]]:
    """The order that is wanted, by `key`; equal ones by `address`."""
    name, is_down = wanted.sort.removeprefix("-"), wanted.sort.startswith("-")
    ordered = key.desc() if is_down else key.asc()
    if name == "address":
        return [ordered]
    if name == "synced":  # Never is longer ago than any time.
        ordered = ordered.nulls_last() if is_down else ordered.nulls_first()
    elif name == "provider":
        ordered = ordered.nulls_last()
    return [ordered, address]


def _listed(session: Session, ids: Sequence[int]) -> list[Listed]:
    """What is shown of the accounts `ids`, in their order."""
    rows = session.execute(_rows.where(Account.id.in_(ids))) if ids else ()
    found = {row.id: Listed(**row._mapping) for row in rows}
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
        "method": _method,
        "is_legacy": func.coalesce(_offers_oauth & (_method != SignInMethod.OAUTH), False),
        "is_primary": Account.is_primary,
        "is_set_up": Account.is_set_up,
        "is_unencrypted": _unencrypted(),
        "state": state_column(),
        "reason": reason,
        "asked_at": Account.asked_owner_at,
        "incomplete": Account.incomplete,
        "waits_until": Account.waits_until,
        "synced_at": Account.synced_at,
        "stored": Account.stored,
    }


_rows: Select[*tuple[Any, ...]] = (
    select(*(column.label(name) for name, column in _shown().items()))
    .select_from(Account)
    .outerjoin(Account.owner)
    .outerjoin(Account.team)
    .outerjoin(Account.provider)
)
