"""A provider as somebody wants it, and how it becomes so: rules, the guard of stored passwords, the audit trail."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.types import LoginFormat, Server, ServerProtocol, ServiceType, SignInMethod, TLSMode, TLSVersion
from mailadmin.permissions import Actor
from mailadmin.providers import catalogue, domains
from mailadmin.providers.models import Provider
from mailadmin.providers.servers import direction_of, faults, host_of, put_servers
from mailadmin.text import t

NAME_LENGTH = 120
MOST_MINUTES = 24 * 60
_LOWEST_TLS = "lowest TLS version"


@dataclass(frozen=True, slots=True)
class ProviderWish:
    """A provider as somebody wants it. Of `servers` there is at most one for each protocol, and one for receiving.

    `catalogue_key` names the entry that a new one began as. `is_same_company` lets the stored passwords of its accounts
    go to new servers, or over connections that are less safe than before.
    """

    name: str
    domains: tuple[str, ...]
    servers: tuple[Server, ...]
    service_type: ServiceType = ServiceType.OTHER
    login_format: LoginFormat = LoginFormat.ADDRESS
    methods: frozenset[SignInMethod] = frozenset({SignInMethod.PASSWORD})
    minimum_tls: TLSVersion = TLSVersion.TLS_1_2
    files_sent: bool = False
    most_connections: int | None = None
    least_minutes: int | None = None
    catalogue_key: str = ""
    is_same_company: bool = False


def find(session: Session, name: str) -> Provider | None:
    """The provider called `name`, however it is capitalised."""
    with session.no_autoflush:
        return session.scalars(select(Provider).where(func.lower(Provider.name) == name.strip().lower())).first()


def wish_of(provider: Provider) -> ProviderWish:
    """`provider` as it is, for somebody who wants a part of it to be different."""
    return ProviderWish(
        name=provider.name,
        domains=tuple(row.domain for row in provider.domains),
        servers=tuple(row.server for row in provider.servers),
        service_type=provider.service_type,
        login_format=provider.login_format,
        methods=provider.sign_in_methods,
        minimum_tls=provider.minimum_tls,
        files_sent=provider.files_sent,
        most_connections=provider.most_connections,
        least_minutes=provider.least_minutes,
        catalogue_key=provider.catalogue_key or "",
    )


def save(
    session: Session,
    *,
    provider: Provider | None = None,
    wish: ProviderWish,
    version: int | None = None,
    has_passwords: bool = True,
    actor: Actor,
) -> Provider:
    """Make `provider`, or a new one, what `wish` says.

    `version` is that of the provider as the administrator saw it. `has_passwords`: accounts here have stored passwords,
    which this floor cannot know; see `hold`. Raises RuleBroken at the field that has to change: at `version` when
    somebody else was faster, at `is_same_company` when passwords would go to a new server or a less safe one.
    """
    is_new = provider is None
    if provider is not None:
        lock(session, provider, version)
    servers = checked_servers(wish.servers)
    name = _checked_name(session, wish.name, provider)
    wanted = domains.checked(session, wish.domains, provider)
    check_facts(wish)
    if provider is None:
        provider = _begun(session, wish.catalogue_key)
    elif has_passwords and not wish.is_same_company and (why := exposures(provider, servers, wish.minimum_tls)):
        raise _exposing(why)
    before = _told(provider)
    provider.name = name
    _take_facts(provider, wish)
    domains.put(provider, wanted)
    put_servers(provider, servers)
    after = _told(provider)
    if before == after:
        return provider
    provider.changed_at = now()  # Moves the version too, when only domains or servers changed.
    session.add(provider)
    flush(session, name)
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
    activity.record(session, actor, f"deleted the provider {provider.name}", kind=ActivityKind.PROVIDERS)


def lock(session: Session, provider: Provider, version: int | None) -> None:
    """Let two administrators who save at once go one after the other. Raises RuleBroken at `version` for the second."""
    current = session.scalar(select(Provider.version).where(Provider.id == provider.id).with_for_update())
    if current != version:
        said = t(
            "Somebody else changed this provider meanwhile. Look at it in another tab; to put your values in place of"
            " theirs, save again."
        )
        raise RuleBroken(said, field="version")


def hold(session: Session, provider: Provider) -> None:
    """Let nobody else change `provider`, or add an account to it, until the commit.

    Whoever asks whether passwords are stored there asks after this, or one may be stored between question and change.
    """
    session.execute(select(Provider.id).where(Provider.id == provider.id).with_for_update())


def exposures(provider: Provider, servers: Collection[Server], minimum: TLSVersion) -> list[str]:
    """Why stored passwords would be less safe with `servers` and `minimum` than they are at `provider` now.

    A server for a protocol that the provider did not have is a new door too, whatever its host.
    """
    known = {row.protocol: row.server for row in provider.servers}
    return [*_new_doors(known, servers), *_weaker(known, servers), *_older(provider, minimum)]


def _new_doors(known: dict[ServerProtocol, Server], servers: Collection[Server]) -> Iterator[str]:
    for server in servers:
        old = known.get(server.protocol)
        if old is None or (old.host, old.port) != (server.host, server.port):
            yield t("{host}, port {port}, is new.", host=server.host, port=server.port)


def _weaker(known: dict[ServerProtocol, Server], servers: Collection[Server]) -> Iterator[str]:
    for server in servers:
        before = known.get(server.protocol)
        was_safe = before.tls_mode is not TLSMode.NONE if before else TLSMode.NONE not in _modes(known.values())
        if server.tls_mode is TLSMode.NONE and was_safe:
            yield t("{host} would be reached without encryption.", host=server.host)


def _modes(servers: Collection[Server]) -> set[TLSMode]:
    return {server.tls_mode for server in servers}


def _older(provider: Provider, minimum: TLSVersion) -> Iterator[str]:
    if minimum < provider.minimum_tls:
        yield t("TLS {version} would be allowed.", version=minimum)


def _exposing(why: list[str]) -> RuleBroken:
    said = "{why} Tick this if the stored passwords may be sent there; if not, leave the servers as they were."
    return RuleBroken(t(said, why=" ".join(why)), field="is_same_company")


def _begun(session: Session, key: str) -> Provider:
    """A new provider; as the entry `key` of the catalogue, which can be begun once."""
    if not key:
        return Provider()
    known = known_providers.everyone().get(key)
    if known is None or not catalogue.can_be_shared(known):
        raise RuleBroken(t("The catalogue does not have this provider any more. Start empty."))
    other = catalogue.find(session, key)
    if other is not None:
        raise RuleBroken(t("{name} is here already.", name=other.name), field="name")
    return Provider(catalogue_key=key, catalogue_copy=catalogue.facts_of(known))


def checked_servers(servers: Collection[Server]) -> list[Server]:
    """`servers` as they are dialled. Raises RuleBroken at the field that has to change, such as `imap_host`."""
    kept = {}
    for server in servers:
        protocol = server.protocol
        for broken in faults(
            direction_of(protocol),
            host=server.host,
            port=server.port,
            tls_mode=server.tls_mode,
            protocol=protocol,
            prefix=protocol,
        ):
            raise broken
        if protocol in kept:
            said = t("A provider has one {protocol} server.", protocol=protocol.upper())
            raise RuleBroken(said, field=f"{protocol}_host")
        kept[protocol] = Server(protocol, host_of(server.host), server.port, server.tls_mode)
    if not kept.keys() - {ServerProtocol.SMTP}:
        raise RuleBroken(t("Enter an IMAP server or a POP3 server."), field="imap_host")
    return list(kept.values())


def named(text: str) -> str:
    """The name in `text`. Raises RuleBroken at the field `name`."""
    name = text.strip()
    if not name:
        raise RuleBroken(t("Give the provider a name."), field="name")
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise RuleBroken(t("A name is one line of at most {n} characters.", n=NAME_LENGTH), field="name")
    return name


def _checked_name(session: Session, text: str, provider: Provider | None) -> str:
    name = named(text)
    other = find(session, name)
    if other is not None and other is not provider:
        raise RuleBroken(t("There is a provider called {name} already.", name=other.name), field="name")
    return name


def check_facts(wish: ProviderWish) -> None:
    """Return if the facts beside name, domains and servers can be. Raises RuleBroken at their field."""
    if not wish.methods:
        raise RuleBroken(t("Tick at least one way to sign in."), field="methods")
    if wish.least_minutes is not None and not 1 <= wish.least_minutes <= MOST_MINUTES:
        said = t("A whole number of minutes from 1 to {n}, or nothing.", n=f"{MOST_MINUTES:,}")
        raise RuleBroken(said, field="least_minutes")
    if wish.most_connections is not None and not 1 <= wish.most_connections <= 1000:
        raise RuleBroken(t("A whole number of connections from 1 to 1,000."), field="most_connections")


def _take_facts(provider: Provider, wish: ProviderWish) -> None:
    provider.login_format, provider.minimum_tls = wish.login_format, wish.minimum_tls
    provider.service_type, provider.files_sent = wish.service_type, wish.files_sent
    provider.methods = ",".join(method for method in SignInMethod if method in wish.methods)
    provider.most_connections, provider.least_minutes = wish.most_connections, wish.least_minutes


def _told(provider: Provider) -> dict[str, object]:
    """What the audit trail tells apart, by the words in which it is told; servers without how they are trusted."""
    servers = {row.protocol: row.server for row in provider.servers}
    return {
        "name": provider.name,
        "domains": sorted(row.domain for row in provider.domains),
        **{f"{protocol.upper()} server": servers.get(protocol) for protocol in ServerProtocol},
        "service type": provider.service_type,
        "login format": provider.login_format,
        "sign-in methods": provider.sign_in_methods,
        "copies in Sent": provider.files_sent,
        "connections per account": provider.most_connections,
        "shortest time between syncs": provider.least_minutes,
        _LOWEST_TLS: provider.trust.minimum,
    }


def _record(
    session: Session, actor: Actor, name: str, before: dict[str, object], after: dict[str, object], *, is_new: bool
) -> None:
    was, is_now = str(before[_LOWEST_TLS]), str(after[_LOWEST_TLS])
    if is_new:
        activity.record(session, actor, f"added the provider {name}", kind=ActivityKind.PROVIDERS)
    else:
        detail = activity.difference(before, after)
        activity.record(session, actor, f"changed the provider {name}", detail=detail, kind=ActivityKind.PROVIDERS)
    if is_now < min(was, TLSVersion.TLS_1_2):  # Old versions can be read by others: whoever looks for it finds it.
        what = f"lowered the lowest TLS version of the provider {name} from {was} to {is_now}"
        activity.record(session, actor, what, kind=ActivityKind.PROVIDERS)


def flush(session: Session, name: str) -> None:
    """Write what changed of the provider called `name`. Raises RuleBroken if somebody else has its name or a domain."""
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:  # Somebody else was a moment faster; the unique columns have the last word.
        said = "Somebody else saved a provider called {name}, or with one of these domains, a moment ago."
        raise RuleBroken(t(said, name=name), field="name") from error
