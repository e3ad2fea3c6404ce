"""Providers that come from the built-in catalogue (mail/known_providers.py): made once, followed, changed, reset.

`catalogue_copy` is what the catalogue said of a provider when it was last followed. So there are three versions of each
fact: the row, the copy, and the catalogue of this release. Where row and copy agree nobody changed anything, and the
row follows; where they differ, a person has the last word. A server (host, port, TLS mode) is one fact. Domains are a
set: what the catalogue adds or drops is added or dropped, and what was added here stays.
"""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.db import now
from mailadmin.mail import known_providers
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import LoginFormat, ServerProtocol, ServiceType, SignInMethod
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.providers import domains as domain_rows
from mailadmin.providers.models import Provider
from mailadmin.providers.servers import parse_server, put_servers

Facts = dict[str, Any]
FACT_WORDS = {  # what the audit trail calls them
    "name": "name",
    "service_type": "service type",
    "domains": "domains",
    "servers": "servers",
    "login_format": "login format",
    "methods": "sign-in methods",
    "files_sent": "copies in Sent",
    "most_connections": "connections per account",
    "least_minutes": "shortest time between syncs",
}
_SINGLE = tuple(name for name in FACT_WORDS if name not in {"domains", "servers"})
_TRIES = 3


def search(text: str) -> list[KnownProvider]:
    """The entries that fit `text`, by name: one where it is a key, a name or a domain, else those that hold it."""
    words, entries = text.strip().casefold(), known_providers.everyone()
    for entry in entries.values():
        if words in (entry.key, entry.name.casefold(), entry.short_name.casefold(), *entry.domains):
            return [entry]
    return [e for e in entries.values() if words in e.name.casefold() or any(words in domain for domain in e.domains)]


def can_be_shared(known: KnownProvider) -> bool:
    """Whether one row can stand for the entry `known`: its servers are there, and the same for all its domains."""
    return any(not text.startswith("smtp:") for text in known.servers) and not any("{" in s for s in known.servers)


def _stands_for(known: KnownProvider, domain: str) -> bool:
    return can_be_shared(known) and (not known.hosted_servers or domain in known.domains)


def find(session: Session, key: str) -> Provider | None:
    """The provider that came from the entry `key`."""
    return session.scalars(select(Provider).where(Provider.catalogue_key == key)).first()


def adopt(session: Session, known: KnownProvider, *, domain: str, actor: Actor) -> Provider | None:
    """The provider for the entry `known`, made when it is first used, also by two people at once.

    Addresses at `domain` are recognised from now on, unless another provider has that domain. None where no row can
    stand for the entry, because its servers differ from domain to domain, because those of companies' own domains are
    not those of the provider's, or because nobody gets in: then an account needs servers of its own.
    """
    domain = domain_rows.normalised(domain)
    if not _stands_for(known, domain):
        return None
    for _ in range(_TRIES):
        try:
            with session.begin_nested():
                return _adopted(session, known, domain, actor)
        except IntegrityError:  # Somebody else made it, or took its name or a domain, a moment ago.
            continue
    raise RuntimeError(f"The provider {known.key} cannot be made.")


def _adopted(session: Session, known: KnownProvider, domain: str, actor: Actor) -> Provider:
    query = select(Provider).where(Provider.catalogue_key == known.key)
    provider = session.scalars(query.with_for_update().execution_options(populate_existing=True)).first()
    if provider is None:
        provider = Provider(name=_free_name(session, known.name), catalogue_key=known.key)
        facts = facts_of(known)
        provider.catalogue_copy = facts
        _put(session, provider, {name: value for name, value in facts.items() if name != "name"})
        session.add(provider)
        activity.record(
            session,
            actor,
            f"added the provider {provider.name}",
            detail="from the catalogue",
            kind=ActivityKind.PROVIDERS,
        )
    if domain not in {row.domain for row in provider.domains} and not domain_rows.owners(session, [domain]):
        domain_rows.put(provider, [domain, *(row.domain for row in provider.domains)])
        provider.changed_at = now()
        what = f"changed the provider {provider.name}"
        activity.record(session, actor, what, detail=f"domains: {domain} added", kind=ActivityKind.PROVIDERS)
    session.flush()
    return provider


def follow(session: Session) -> list[str]:
    """Let the providers follow the catalogue of this release; the names of those that changed.

    May be repeated: what was followed once is not followed again.
    """
    query = select(Provider).where(Provider.catalogue_key.is_not(None)).order_by(Provider.id).with_for_update()
    changed = []
    for provider in session.scalars(query.execution_options(populate_existing=True)):
        known = known_providers.everyone().get(provider.catalogue_key or "")
        if known is None or not can_be_shared(known):
            continue  # What is here goes on working.
        said, facts = provider.catalogue_copy or {}, facts_of(known)
        if said == facts:
            continue
        moved = _followed(session, provider, said, facts)
        provider.catalogue_copy = facts
        if moved:
            provider.changed_at = now()
            changed.append(provider.name)
            what = f"followed the catalogue with the provider {provider.name}"
            activity.record(
                session, SYSTEM, what, detail=", ".join(FACT_WORDS[name] for name in moved), kind=ActivityKind.PROVIDERS
            )
    session.flush()
    return changed


def _followed(session: Session, provider: Provider, said: Facts, facts: Facts) -> list[str]:
    """Give `provider` what the catalogue says now wherever it had what the catalogue `said`; the facts that moved."""
    before = facts_of(provider)
    wanted = {name: facts[name] for name in _SINGLE if before[name] == said.get(name)}
    wanted["servers"] = _merged(before["servers"], said.get("servers", {}), facts["servers"])
    old, new = set(said.get("domains", ())), set(facts["domains"])
    wanted["domains"] = sorted((set(before["domains"]) | (new - old)) - (old - new))
    if "name" in wanted and wanted["name"] != provider.name and _is_taken(session, wanted["name"]):
        del wanted["name"]
    _put(session, provider, wanted)
    after = facts_of(provider)
    return [name for name in FACT_WORDS if after[name] != before[name]]


def _merged(here: dict[str, str], said: dict[str, str], now_said: dict[str, str]) -> dict[str, str]:
    """Servers by protocol: what the catalogue says now where nobody changed what it `said`."""
    chosen = {p: (now_said if here.get(p) == said.get(p) else here).get(p) for p in ServerProtocol}
    servers = {protocol.value: server for protocol, server in chosen.items() if server}
    return servers if servers.keys() - {ServerProtocol.SMTP.value} else here  # One for receiving has to stay.


def changed_here(provider: Provider) -> frozenset[str]:
    """The facts of `provider` that a person changed, by name; of domains those count that the catalogue has too."""
    if provider.catalogue_copy is None:
        return frozenset()
    here, said = facts_of(provider), provider.catalogue_copy
    changed = {name for name in (*_SINGLE, "servers") if here[name] != said.get(name)}
    missing = set(said.get("domains", ())) - set(here["domains"])
    return frozenset(changed | {"domains"} if missing else changed)


def facts_of(source: Provider | KnownProvider) -> Facts:
    """What the catalogue has a word on, as plain values: in a provider's row, or in an entry.

    An entry's servers that differ from domain to domain are left out.
    """
    if isinstance(source, KnownProvider):
        servers, login = [parse_server(text) for text in source.servers if "{" not in text], source.login
        names, methods = list(source.domains), frozenset(source.methods)
    else:
        servers, login = [row.server for row in source.servers], source.login_format
        names, methods = [row.domain for row in source.domains], source.sign_in_methods
    best: dict[str, str] = {}
    for server in servers:  # The catalogue has the best one first.
        best.setdefault(server.protocol.value, str(server))
    return {
        "name": source.name,
        "service_type": source.service_type.value,
        "domains": sorted(names),
        "servers": {protocol.value: best[protocol] for protocol in ServerProtocol if protocol in best},
        "login_format": login.value,
        "methods": [method.value for method in SignInMethod if method in methods],
        "files_sent": source.files_sent,
        "most_connections": source.most_connections,
        "least_minutes": source.least_minutes,
    }


def _put(session: Session, provider: Provider, facts: Facts) -> None:
    """Write `facts`; domains that belong to another provider stay there."""
    for name in ("name", "files_sent", "most_connections", "least_minutes"):
        if name in facts:
            setattr(provider, name, facts[name])
    if "service_type" in facts:
        provider.service_type = ServiceType(facts["service_type"])
    if "login_format" in facts:
        provider.login_format = LoginFormat(facts["login_format"])
    if "methods" in facts:
        provider.methods = ",".join(facts["methods"])
    if "servers" in facts:
        put_servers(provider, [parse_server(text) for text in facts["servers"].values()])
    if "domains" in facts:
        taken = domain_rows.owners(session, facts["domains"], beside=provider)
        domain_rows.put(provider, [domain for domain in facts["domains"] if domain not in taken])


def _is_taken(session: Session, name: str) -> bool:
    with session.no_autoflush:
        return session.scalar(select(Provider.id).where(func.lower(Provider.name) == name.lower())) is not None


def _free_name(session: Session, name: str) -> str:
    """`name`, or with a number where a provider made by hand has it."""
    numbered = (name, *(f"{name} ({number})" for number in range(2, 1000)))
    return next(free for free in numbered if not _is_taken(session, free))
