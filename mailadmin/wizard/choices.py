"""Who may run the mailbox behind an address: who was recognised or found, and everybody else there is to choose from.

Nothing here asks the network, and only `parts` writes: it makes a provider of the catalogue's entry that was chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.findings import Attempt, Discovery, Finding, Source
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import Direction, LoginFormat, Server, ServerProtocol, ServiceType, SignInMethod
from mailadmin.permissions import Actor
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.wizard import service

SAME = "same"  # as the account is already, or as the one that is copied
BY_HAND = {protocol.value: protocol for protocol in (ServerProtocol.IMAP, ServerProtocol.POP3)}
PATIENCE = timedelta(seconds=6)  # with a lookup, before something else is offered
OURS, BEFORE = "ours", "before"
_RECEIVING = (ServerProtocol.IMAP, ServerProtocol.POP3)
_SURE = (OURS, BEFORE, Source.CATALOGUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One answer. `key` comes back when it is chosen, `how` we know it is OURS, BEFORE or a Source."""

    key: str
    name: str
    how: str
    detail: str = ""
    servers: tuple[Server, ...] = ()
    provider: Provider | None = None
    known: KnownProvider | None = None
    login: LoginFormat = LoginFormat.ADDRESS
    methods: frozenset[SignInMethod] = frozenset({SignInMethod.PASSWORD})

    @property
    def service_type(self) -> ServiceType:
        """What runs there, for the picture beside the name."""
        row = self.provider or self.known
        return row.service_type if row else ServiceType.OTHER

    @property
    def hosts(self) -> list[str]:
        """The names of the server for receiving and of that for sending."""
        servers = (self.server(*_RECEIVING), self.server(ServerProtocol.SMTP))
        return list(dict.fromkeys(server.host for server in servers if server))

    def server(self, *protocols: ServerProtocol) -> Server | None:
        """The best server that speaks the first of `protocols` that any speaks."""
        fitting = (server for protocol in protocols for server in self.servers if server.protocol is protocol)
        return next(fitting, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known of a domain so far; without a domain nobody has asked yet."""

    domain: str = ""
    candidates: tuple[Candidate, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    gateway: str = ""
    problem: str = ""
    is_looking: bool = False
    is_slow: bool = False

    @property
    def is_unasked(self) -> bool:
        """Whether nobody has asked yet."""
        return not (self.candidates or self.attempts or self.problem or self.gateway or self.is_looking)

    @property
    def first(self) -> Candidate | None:
        """The best answer, if there is one."""
        return self.candidates[0] if self.candidates else None

    @property
    def closed(self) -> KnownProvider | None:
        """The provider that lets nobody's programs in, if it is one."""
        return self.first.known if self.first and self.first.known and self.first.known.closed else None

    @property
    def proposed(self) -> Candidate | None:
        """The answer to go on with unless somebody knows better."""
        return None if self.gateway or self.closed or self.is_looking else self.first

    @property
    def is_sure(self) -> bool:
        """Whether nobody has to look at the answer before it is taken."""
        return self.proposed is not None and self.proposed.how in _SURE

    def candidate(self, key: str) -> Candidate | None:
        """The answer with this key."""
        return next((one for one in self.candidates if one.key == key), None)


# What is known of an address.


def outlook(session: Session, address: str, *, base: Account | None = None) -> Outlook:
    """What is known of the domain of `address`, without asking anybody.

    `base` is the account itself, or the one that it is to be a copy of. The copied one's servers count for a domain
    that is no other provider's; the account's own only for its domain. Raises RuleBroken at `address`.
    """
    address = accounts.check_address(address)
    domain, who = _domain(address), service.recognised(session, address)
    seen = _known_by_now(session, domain, who)
    before = _before(base, domain, who) if base else None
    if before is None:
        return seen
    others = (one for one in seen.candidates if one.hosts != before.hosts)
    return replace(seen, candidates=(before, *others), gateway="", is_looking=False)


def _known_by_now(session: Session, domain: str, who: Provider | KnownProvider | None) -> Outlook:
    if isinstance(who, Provider):
        return Outlook(domain=domain, candidates=(_ours(who, domain),))
    if who is not None:
        return Outlook(domain=domain, candidates=(_entry(session, who, domain, Source.CATALOGUE, domain),))
    row = service.known_lookup(session, domain)
    if row is None:
        return Outlook(domain=domain)
    discovery = service.discovery_of(row)
    if discovery is None:
        return Outlook(domain=domain, is_looking=True, is_slow=now() - row.asked_at > PATIENCE)
    return _learned(session, domain, discovery)


def found_beside(session: Session, account: Account) -> list[Server]:
    """The other servers for receiving that were found together with the one that `account` took from there.

    What was found is known for an hour; asks no network.
    """
    own = account.own_server(Direction.INCOMING)
    seen = outlook(session, account.address) if own is not None else Outlook()
    for candidate in seen.candidates:
        if str(own) in map(str, candidate.servers):
            return [server for server in candidate.servers if server.protocol in _RECEIVING]
    return []


def known_of(account: Account) -> KnownProvider | None:
    """What the catalogue says of the provider where `account` is, by its row or else by the name of its server."""
    if account.provider is not None:
        return known_providers.everyone().get(account.provider.catalogue_key or "")
    server = account.own_server(Direction.INCOMING)
    return known_providers.by_server_host(server.host) if server else None


def _domain(address: str) -> str:
    return providers.normalised_domain(address.rpartition("@")[2])


def _learned(session: Session, domain: str, discovery: Discovery) -> Outlook:
    found: dict[str, Candidate] = {}
    for candidate in (_found(session, finding, domain) for finding in discovery.findings):
        if not any(candidate.hosts == other.hosts for other in found.values() if candidate.hosts):
            found.setdefault(candidate.key, candidate)
    return Outlook(
        domain=domain,
        candidates=tuple(found.values()),
        attempts=discovery.attempts,
        gateway=discovery.gateway,
        problem=discovery.problem,
    )


def _found(session: Session, finding: Finding, domain: str) -> Candidate:
    known = known_providers.everyone().get(finding.known)
    if known is not None:
        return _entry(session, known, domain, finding.source, finding.detail, finding.servers)
    return Candidate(
        key=finding.source.value,
        name=finding.name or domain,
        how=finding.source,
        detail=finding.detail,
        servers=finding.servers,
        login=finding.login,
        methods=frozenset(finding.methods),
    )


def _entry(
    session: Session, known: KnownProvider, domain: str, how: Source, detail: str, servers: tuple[Server, ...] = ()
) -> Candidate:
    rows = (row for row in providers.everyone(session) if row.catalogue_key == known.key)
    if row := next(rows, None):
        return replace(_ours(row, domain), key=f"known:{known.key}", how=how, detail=detail)
    return Candidate(
        key=f"known:{known.key}",
        name=known.name,
        how=how,
        detail=detail,
        servers=servers or known.servers_for(domain),
        known=known,
        login=known.login,
        methods=frozenset(known.methods),
    )


def _ours(provider: Provider, domain: str) -> Candidate:
    return Candidate(
        key=f"provider:{provider.id}",
        name=provider.name,
        how=OURS,
        detail=domain,
        servers=tuple(row.server for row in provider.servers),
        provider=provider,
        known=known_providers.everyone().get(provider.catalogue_key or ""),
        login=provider.login_format,
        methods=provider.sign_in_methods,
    )


def _before(base: Account, domain: str, who: object) -> Candidate | None:
    """`base` as an answer: for its own domain, and a copy for every domain that is nobody else's."""
    is_its_own = domain == _domain(base.address)
    if not is_its_own and (not base.is_set_up or (who is not None and who is not base.provider)):
        return None
    servers = tuple(server for d in Direction if (server := base.server(d)))
    name = base.provider.name if base.provider else servers[0].host if servers else t("Other server, by hand")
    return Candidate(
        key=SAME,
        name=name,
        how=BEFORE,
        detail=base.address,
        servers=servers,
        provider=base.provider,
        known=known_of(base),
        methods=base.provider.sign_in_methods if base.provider else frozenset({SignInMethod.PASSWORD}),
    )


# Everybody else, and the choice.


def everybody(session: Session, seen: Outlook) -> Iterator[tuple[str, str, str]]:
    """Whoever can be chosen: key, name and group; what was found stands first, in no group."""
    shown = {candidate.key for candidate in seen.candidates}
    rows = providers.everyone(session)
    taken = {candidate.provider.id for candidate in seen.candidates if candidate.provider}
    for candidate in seen.candidates:
        if not candidate.known or not candidate.known.closed:
            name = candidate.name
            same = [other for other in seen.candidates if other.name == name]
            yield candidate.key, f"{name} ({', '.join(candidate.hosts)})" if len(same) > 1 else name, ""
    for row in rows:
        if row.id not in taken:
            yield f"provider:{row.id}", row.name, t("Your providers")
    here = {row.catalogue_key for row in rows}
    for known in known_providers.everyone().values():
        if not known.closed and known.key not in here and f"known:{known.key}" not in shown:
            yield f"known:{known.key}", known.name, t("Providers that we know")
    for key, protocol in BY_HAND.items():
        yield key, t("Other server with {protocol}, by hand", protocol=protocol.upper()), t("By hand")


def behind_a_gateway(seen: Outlook) -> Iterator[tuple[str, str, str]]:
    """Who may host the mailboxes behind a mail filter: key, name and what is known of it."""
    for candidate in seen.candidates:
        yield candidate.key, candidate.name, t(" and ").join(candidate.hosts)
    shown = {candidate.key for candidate in seen.candidates}
    for kind in (ServiceType.GOOGLE, ServiceType.MICROSOFT):
        entries = [known for known in known_providers.everyone().values() if known.service_type is kind and known.mx]
        for known in entries[:1]:
            if f"known:{known.key}" not in shown:
                yield f"known:{known.key}", known.name, ""


def parts(session: Session, seen: Outlook, key: str, *, base: Account | None, actor: Actor) -> dict[str, Any]:
    """What the choice `key` makes of an AccountWish: provider or own servers, protocol, login format.

    Raises RuleBroken at `provider` for what cannot be chosen.
    """
    if key in BY_HAND:
        return _wished(protocol=BY_HAND[key])
    if key == SAME and base is not None:
        wish = accounts.wish_of(base)
        names = ("provider_id", "incoming", "outgoing", "protocol", "login_format")
        return {name: getattr(wish, name) for name in names}
    candidate = seen.candidate(key)
    kind, _, name = key.partition(":")
    if kind == "provider" and name.isdecimal() and len(name) < 10:
        return _at(providers.get(session, int(name)))
    known = known_providers.everyone().get(name) if kind == "known" else None
    if known and not known.closed and (provider := providers.adopt(session, known, domain=seen.domain, actor=actor)):
        return _at(provider)
    if known and candidate is None:
        candidate = _entry(session, known, seen.domain, Source.CATALOGUE, seen.domain)
    return _own(candidate)


def _at(provider: Provider) -> dict[str, Any]:
    has_imap = provider.server(Direction.INCOMING, ServerProtocol.IMAP) is not None
    return _wished(provider_id=provider.id, protocol=ServerProtocol.IMAP if has_imap else ServerProtocol.POP3)


def _own(candidate: Candidate | None) -> dict[str, Any]:
    if candidate is None or (candidate.known and candidate.known.closed):
        raise RuleBroken(t("Choose who runs the mailbox."), field="provider")
    incoming, outgoing = candidate.server(*_RECEIVING), candidate.server(ServerProtocol.SMTP)
    if incoming is None:
        said = t("The servers of {name} are not the same for everybody. Choose by hand.", name=candidate.name)
        raise RuleBroken(said, field="provider")
    login = candidate.login if candidate.login is not LoginFormat.ADDRESS else None
    return _wished(incoming=incoming, outgoing=outgoing, protocol=incoming.protocol, login_format=login)


def _wished(**values: Any) -> dict[str, Any]:
    return {"provider_id": None, "incoming": None, "outgoing": None, "login_format": None, **values}
