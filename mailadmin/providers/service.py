"""Providers: their domains, their servers, and how their people sign in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import LoginFormat, ServiceType, SignInMethod
from mailadmin.permissions import Actor
from mailadmin.providers import domains
from mailadmin.providers.catalogue import Facts, adopt, can_be_shared, changed_here, facts_of
from mailadmin.providers.catalogue import find as find_known
from mailadmin.providers.catalogue import follow as follow_catalogue
from mailadmin.providers.catalogue import search as search_catalogue
from mailadmin.providers.domains import MOST as DOMAINS
from mailadmin.providers.domains import normalised as normalised_domain
from mailadmin.providers.domains import recognise
from mailadmin.providers.domains import sort_out as sort_out_domains
from mailadmin.providers.domains import split as split_domains
from mailadmin.providers.exchange import Plan, export
from mailadmin.providers.exchange import apply as apply_import
from mailadmin.providers.exchange import plan as plan_import
from mailadmin.providers.exchange_file import LARGEST as LARGEST_FILE
from mailadmin.providers.models import Provider
from mailadmin.providers.saving import MOST_MINUTES, NAME_LENGTH, ProviderWish, delete, find, hold, save, wish_of
from mailadmin.providers.servers import (
    PROTOCOLS,
    TLS_WORDS,
    allowed_tls_modes,
    direction_of,
    faults,
    given_port,
    mixed_up,
    parse_server,
    put_server,
    settled_port,
)
from mailadmin.providers.servers import checked as checked_server
from mailadmin.providers.truststore import LARGEST as LARGEST_CERTIFICATES
from mailadmin.providers.truststore import Validity, as_pem, days_left, holds_private_key, validity
from mailadmin.providers.truststore import add as add_certificates
from mailadmin.providers.truststore import get as get_certificate
from mailadmin.providers.truststore import remove as remove_certificate
from mailadmin.text import t

__all__ = [
    "DOMAINS",
    "LARGEST_CERTIFICATES",
    "LARGEST_FILE",
    "MOST_MINUTES",
    "NAME_LENGTH",
    "PROTOCOLS",
    "TLS_WORDS",
    "Plan",
    "ProviderWish",
    "Validity",
    "add_certificates",
    "adopt",
    "allowed_tls_modes",
    "apply_import",
    "as_pem",
    "can_be_shared",
    "changed_here",
    "checked_server",
    "days_left",
    "delete",
    "direction_of",
    "export",
    "facts_of",
    "faults",
    "find",
    "find_known",
    "follow_catalogue",
    "get_certificate",
    "given_port",
    "hold",
    "holds_private_key",
    "mixed_up",
    "normalised_domain",
    "parse_server",
    "plan_import",
    "put_server",
    "recognise",
    "remove_certificate",
    "save",
    "search_catalogue",
    "settled_port",
    "sort_out_domains",
    "split_domains",
    "validity",
    "wish_of",
]


def get(session: Session, provider_id: int) -> Provider:
    """The provider `provider_id`. Raises NotFound."""
    provider = session.get(Provider, provider_id)
    if provider is None:
        raise NotFound(t("This provider does not exist any more."))
    return provider


def everyone(session: Session) -> Sequence[Provider]:
    """All providers, by name."""
    return session.scalars(select(Provider).order_by(func.lower(Provider.name))).all()


def known(provider: Provider) -> KnownProvider | None:
    """The entry of the catalogue that `provider` comes from, where this release has it."""
    return known_providers.everyone().get(provider.catalogue_key or "")


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact in which a provider is not what the catalogue says; both as plain values, see catalogue.facts_of."""

    fact: str
    here: object
    there: object


def differences(session: Session, provider: Provider) -> list[Difference]:
    """What `reset` would change. Domains that the catalogue does not have stay, and those that another provider has."""
    entry = known(provider)
    if entry is None or not can_be_shared(entry):
        return []
    here, there = facts_of(provider), _reset_facts(session, provider, entry)
    return [Difference(fact, here[fact], there[fact]) for fact in there if here[fact] != there[fact]]


def reset(
    session: Session,
    provider: Provider,
    *,
    version: int | None,
    is_same_company: bool = False,
    has_passwords: bool = True,
    actor: Actor,
) -> Provider:
    """Make `provider` what the catalogue says again. Truststore and lowest TLS version stay, the catalogue has none.

    Raises RuleBroken as `save` does, and where the catalogue does not have it any more.
    """
    entry = known(provider)
    if entry is None or not can_be_shared(entry):
        raise RuleBroken(t("The catalogue does not have this provider any more."))
    facts = _reset_facts(session, provider, entry)
    wish = replace(
        wish_of(provider),
        name=facts["name"],
        domains=tuple(facts["domains"]),
        servers=tuple(parse_server(text) for text in facts["servers"].values()),
        service_type=ServiceType(facts["service_type"]),
        login_format=LoginFormat(facts["login_format"]),
        methods=frozenset(SignInMethod(method) for method in facts["methods"]),
        **{name: facts[name] for name in ("files_sent", "most_connections", "least_minutes")},
        is_same_company=is_same_company,
    )
    save(session, provider=provider, wish=wish, version=version, has_passwords=has_passwords, actor=actor)
    provider.catalogue_copy = facts_of(entry)
    session.flush()
    return provider


def _reset_facts(session: Session, provider: Provider, entry: KnownProvider) -> Facts:
    facts, here = facts_of(entry), {row.domain for row in provider.domains}
    taken = domains.owners(session, facts["domains"], beside=provider)
    other = find(session, facts["name"])
    name = provider.name if other is not None and other is not provider else facts["name"]
    return {**facts, "name": name, "domains": sorted(here | (set(facts["domains"]) - taken.keys()))}
