"""Providers: their domains, their servers, and how their people sign in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction, Server, TLSMode, TLSVersion
from mailadmin.permissions import Actor
from mailadmin.providers.models import LoginFormat, Provider, ProviderDomain, ProviderServer, ServerRow
from mailadmin.providers.servers import (
    PROTOCOLS,
    TLS_WORDS,
    allowed_tls_modes,
    faults,
    host_of,
    parse_server,
)
from mailadmin.providers.servers import checked as checked_server
from mailadmin.providers.truststore import LARGEST as LARGEST_CERTIFICATES
from mailadmin.providers.truststore import Validity, as_pem, days_left, holds_private_key, validity
from mailadmin.providers.truststore import add as add_certificates
from mailadmin.providers.truststore import get as get_certificate
from mailadmin.providers.truststore import remove as remove_certificate
from mailadmin.text import t

__all__ = [
    "LARGEST_CERTIFICATES",
    "PROTOCOLS",
    "TLS_WORDS",
    "ProviderWish",
    "Validity",
    "add_certificates",
    "allowed_tls_modes",
    "as_pem",
    "checked_server",
    "days_left",
    "delete",
    "everyone",
    "faults",
    "find",
    "get",
    "get_certificate",
    "holds_private_key",
    "normalised_domain",
    "parse_server",
    "recognise",
    "remove_certificate",
    "save",
    "validity",
]

Row = TypeVar("Row", bound=ServerRow)
NAME_LENGTH = 120
DOMAINS = 1000
_LOWEST_TLS = "lowest TLS version"


@dataclass(frozen=True, slots=True)
class ProviderWish:
    """A provider as somebody wants it. `outgoing` None: its accounts only receive.

    `is_same_company` lets the stored passwords of its accounts go to new hosts.
    """

    name: str
    domains: tuple[str, ...]
    incoming: Server
    outgoing: Server | None = None
    login_format: LoginFormat = LoginFormat.ADDRESS
    minimum_tls: TLSVersion = TLSVersion.TLS_1_2
    is_same_company: bool = False


def get(session: Session, provider_id: int) -> Provider:
    """The provider `provider_id`. Raises NotFound."""
    provider = session.get(Provider, provider_id)
    if provider is None:
        raise NotFound(t("This provider does not exist any more."))
    return provider


def find(session: Session, name: str) -> Provider | None:
    """The provider called `name`, however it is capitalised."""
    return session.scalars(select(Provider).where(func.lower(Provider.name) == name.strip().lower())).first()


def everyone(session: Session) -> Sequence[Provider]:
    """All providers, by name."""
    return session.scalars(select(Provider).order_by(func.lower(Provider.name))).all()


def recognise(session: Session, address: str) -> Provider | None:
    """The provider to whose domains the e-mail address belongs."""
    try:
        domain = normalised_domain(address.rpartition("@")[2])
    except RuleBroken:
        return None
    return session.scalars(select(Provider).join(Provider.domains).where(ProviderDomain.domain == domain)).first()


def normalised_domain(text: str) -> str:
    """The mail domain in `text` as the DNS knows it: lower case, IDNA. Raises RuleBroken at the field `domains`."""
    typed = text.strip().removeprefix("@")
    try:
        domain = host_of(typed)
        if ":" in domain or domain.rpartition(".")[2].isdigit():
            raise RuleBroken("")
    except RuleBroken as broken:
        said = t("“{domain}” is not a domain. A right one is example.com.", domain=typed[:80])
        raise RuleBroken(said, field="domains") from broken
    return domain


def save(
    session: Session, *, provider: Provider | None = None, wish: ProviderWish, version: int | None = None, actor: Actor
) -> Provider:
    """Make `provider`, or a new one, what `wish` says.

    `version` is that of the provider as the administrator saw it. Raises RuleBroken at the field that has to change: at
    `version` when somebody else was faster, at `is_same_company` when passwords would go to a new host.
    """
    is_new = provider is None
    if provider is not None:
        _lock(session, provider, version)
    incoming = checked_server(wish.incoming, Direction.INCOMING)
    outgoing = wish.outgoing and checked_server(wish.outgoing, Direction.OUTGOING)
    name = _checked_name(session, wish.name, provider)
    domains = _checked_domains(session, wish.domains, provider)
    if provider is None:
        provider = Provider()
    elif not wish.is_same_company and _exposes_passwords(provider, incoming, outgoing):
        said = "The server changed. Tick this if the stored passwords may be sent there; if not, add a new provider."
        raise RuleBroken(t(said), field="is_same_company")
    before = _told(provider)
    provider.name, provider.login_format, provider.minimum_tls = name, wish.login_format, wish.minimum_tls
    _take_domains(provider, domains)
    put_server(provider.servers, ProviderServer, Direction.INCOMING, incoming)
    put_server(provider.servers, ProviderServer, Direction.OUTGOING, outgoing)
    after = _told(provider)
    if before == after:
        return provider
    provider.changed_at = now()  # Moves the version too, when only domains or servers changed.
    session.add(provider)
    _flush(session, name)
    _record(session, actor, name, before, after, is_new=is_new)
    return provider


def delete(session: Session, provider: Provider, *, actor: Actor) -> None:
    """Delete `provider` with its domains and servers. Raises RuleBroken while accounts use it."""
    try:
        with session.begin_nested():
            session.delete(provider)
            session.flush()
    except IntegrityError as error:
        said = t("Accounts use {name}. Move them to another provider or delete them first.", name=provider.name)
        raise RuleBroken(said) from error
    activity.record(session, actor, f"deleted the provider {provider.name}")


def _lock(session: Session, provider: Provider, version: int | None) -> None:
    # Two administrators may save at once: one after the other, and the second one sees the first one's version.
    current = session.scalar(select(Provider.version).where(Provider.id == provider.id).with_for_update())
    if current != version:
        said = t(
            "Somebody else changed this provider meanwhile. Look at it in another tab; to put your values in place of"
            " theirs, save again."
        )
        raise RuleBroken(said, field="version")


def _checked_name(session: Session, text: str, provider: Provider | None) -> str:
    name = text.strip()
    if not name:
        raise RuleBroken(t("Give the provider a name."), field="name")
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise RuleBroken(t("A name is one line of at most {n} characters.", n=NAME_LENGTH), field="name")
    other = find(session, name)
    if other is not None and other is not provider:
        raise RuleBroken(t("There is a provider called {name} already.", name=other.name), field="name")
    return name


def _checked_domains(session: Session, typed: Sequence[str], provider: Provider | None) -> list[str]:
    if len(typed) > DOMAINS:
        raise RuleBroken(t("A provider has at most {n} domains.", n=f"{DOMAINS:,}"), field="domains")
    domains = sorted({normalised_domain(text) for text in typed if text.strip()})
    query = select(ProviderDomain.domain, Provider).join(Provider).where(ProviderDomain.domain.in_(domains))
    for domain, other in session.execute(query):
        if other is not provider:
            raise RuleBroken(t("{domain} belongs to {name} already.", domain=domain, name=other.name), field="domains")
    return domains


def _exposes_passwords(provider: Provider, incoming: Server, outgoing: Server | None) -> bool:
    """Whether a server has a new host, or is without encryption now and was not before.

    The host for the other direction is a new one too: accounts may have a password of their own for sending.
    """
    was_encrypted = all(row.tls_mode is not TLSMode.NONE for row in provider.servers)
    for direction, server in ((Direction.INCOMING, incoming), (Direction.OUTGOING, outgoing)):
        if server is None:
            continue
        known = provider.server(direction) or provider.server(Direction.INCOMING)
        if known is None or known.host != server.host or (was_encrypted and server.tls_mode is TLSMode.NONE):
            return True
    return False


def _take_domains(provider: Provider, domains: Sequence[str]) -> None:
    kept = {row.domain: row for row in provider.domains}
    provider.domains[:] = [kept.get(domain) or ProviderDomain(domain=domain) for domain in domains]


def put_server(rows: list[Row], kind: type[Row], direction: Direction, server: Server | None) -> None:
    """Make `server` the one of `rows` for `direction`, in a row of `kind`; None takes it away."""
    row = next((row for row in rows if row.direction is direction), None)
    if server is None:
        if row is not None:
            rows.remove(row)
        return
    if row is None:
        row = kind()
        row.direction = direction
        rows.append(row)
    row.protocol, row.host, row.port, row.tls_mode = server.protocol, server.host, server.port, server.tls_mode


def _told(provider: Provider) -> dict[str, object]:
    """What the audit trail tells apart, by the words in which it is told; servers without how they are trusted."""
    servers = {row.direction: row.server for row in provider.servers}
    return {
        "name": provider.name,
        "domains": sorted(row.domain for row in provider.domains),
        "receiving server": servers.get(Direction.INCOMING),
        "sending server": servers.get(Direction.OUTGOING),
        "login format": provider.login_format,
        _LOWEST_TLS: provider.trust.minimum,
    }


def _record(
    session: Session, actor: Actor, name: str, before: dict[str, object], after: dict[str, object], *, is_new: bool
) -> None:
    was, is_now = str(before[_LOWEST_TLS]), str(after[_LOWEST_TLS])
    changed = [what for what in after if after[what] != before[what]]
    detail = ", ".join(f"{what}: {was} to {is_now}" if what == _LOWEST_TLS else what for what in changed)
    if is_new:
        activity.record(session, actor, f"added the provider {name}")
    else:
        activity.record(session, actor, f"changed the provider {name}", detail=detail)
    if is_now < min(was, TLSVersion.TLS_1_2):  # Old versions can be read by others: whoever looks for it finds it.
        activity.record(session, actor, f"lowered the lowest TLS version of the provider {name} from {was} to {is_now}")


def _flush(session: Session, name: str) -> None:
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:  # Somebody else was a moment faster; the unique columns have the last word.
        said = "Somebody else saved a provider called {name}, or with one of these domains, a moment ago."
        raise RuleBroken(t(said, name=name), field="name") from error
