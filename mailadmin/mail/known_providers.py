"""The built-in catalogue of providers: what is known of each before anybody tried, as data in `known/*.toml`.

Only `name`, `sources` and `checked` have to be there; what an entry does not say has the value in KnownProvider below.
    name, short     how it is called in lists, and in the middle of a sentence (where that differs)
    service         what runs there, a ServiceType
    domains         those whose addresses are its own: lower case, IDNA
    mx              patterns (of the whole host name, lower case) of the MX by which a company's domain is seen to be
                    hosted here; no host fits two entries
    servers         `imap:HOST:PORT:TLSMODE`, best first. In HOST may stand {domain}, the domain of the address, and any
                    named group of the MX pattern that fitted
    hosted_servers  the same for domains that are not its own, where those differ
    aliases         further names of its servers, which are recognised but not offered
    shares_with     the key of the entry to which servers that both name belong
    login           what its servers take as user name, a LoginFormat
    methods         ways to sign in, SignInMethod, best first. OAuth stands only where the provider has it for mail.
                    `app password` alone: nothing else gets in; beside `password`: for owners with two-step sign-in
    refused         since when a method is refused: {method, since, for}; `since` is an ISO date or month, `for` the
                    protocols if not all
    closed          why nobody else's programs get in; then there are neither servers nor methods
    switch_on       what the owner of a mailbox has to do first, one sentence
    remark          what else to know, at most two sentences
    help, app_password_help   the provider's own pages
    folders         folder names by role, for servers that do not tell roles
    files_sent      its servers file a copy of what is sent by themselves
    idle            false where IMAP IDLE is missing
    most_connections, least_minutes   how many connections to one mailbox, and how often, it likes
    oauth           its OAuth server; see known_oauth.py
    sources         where the facts come from: URLs, or a repository and path
    checked         the day on which they were compared with those
`known/gateways.toml` lists mail filters, which say nothing about who runs the mailboxes behind them.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from mailadmin.mail import known_oauth
from mailadmin.mail.known_oauth import KnownOAuth
from mailadmin.mail.types import LoginFormat, Role, Server, ServerProtocol, ServiceType, SignInMethod, TLSMode

_GATEWAYS = "gateways.toml"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A method that is refused `since` an ISO date or month; `protocols` empty: for all of them."""

    method: SignInMethod
    since: str
    protocols: tuple[ServerProtocol, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """One entry of the catalogue; see above for what its fields mean."""

    key: str
    name: str
    sources: tuple[str, ...]
    checked: date
    short_name: str = ""
    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    hosted_servers: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    shares_with: str = ""
    login: LoginFormat = LoginFormat.ADDRESS
    methods: tuple[SignInMethod, ...] = (SignInMethod.PASSWORD,)
    service_type: ServiceType = ServiceType.OTHER
    refused: tuple[Refusal, ...] = ()
    closed: str = ""
    switch_on: str = ""
    remark: str = ""
    help_url: str = ""
    app_password_url: str = ""
    folders: Mapping[Role, tuple[str, ...]] = field(default_factory=dict, hash=False)
    files_sent: bool = False
    has_idle: bool = True
    most_connections: int | None = None
    least_minutes: int | None = None
    oauth: KnownOAuth | None = None

    def servers_for(self, domain: str, groups: Mapping[str, str] | None = None) -> tuple[Server, ...]:
        """The servers for addresses at `domain`, best first; `groups` are those of the MX pattern that fitted.

        Servers whose host needs a group that is not there are left out.
        """
        is_own = not self.hosted_servers or domain in self.domains
        names = {**(groups or {}), "domain": domain}
        return tuple(
            _server(text.format_map(names))
            for text in (self.servers if is_own else self.hosted_servers)
            if set(_NAMES.findall(text)) <= set(names)
        )

    def refuses(self, method: SignInMethod, protocol: ServerProtocol | None = None) -> Refusal | None:
        """Since when `method` is refused (for `protocol`), or None."""
        fitting = (r for r in self.refused if r.method is method)
        return next((r for r in fitting if not r.protocols or protocol in (None, *r.protocols)), None)


_NAMES = re.compile(r"\{(\w+)\}")


def _server(text: str) -> Server:
    protocol, host, port, tls_mode = text.split(":")
    return Server(ServerProtocol(protocol), host, int(port), TLSMode(tls_mode))


@cache
def everyone() -> Mapping[str, KnownProvider]:
    """The whole catalogue by key, in the order of names."""
    found = [_entry(key, values) for name, data in _files() if name != _GATEWAYS for key, values in data.items()]
    return {entry.key: entry for entry in sorted(found, key=lambda entry: entry.name.casefold())}


def oauth_of(known: KnownProvider | None) -> KnownOAuth | None:
    """The OAuth server where `known` lets people sign in, its own or that of the entry that it is `like`."""
    if known is None or known.oauth is None or not known.oauth.like:
        return known.oauth if known else None
    return oauth_of(everyone().get(known.oauth.like))


def by_domain(domain: str) -> KnownProvider | None:
    """The provider whose own addresses end in `domain` (lower case, IDNA)."""
    return _domains().get(domain)


def by_mx(hosts: tuple[str, ...]) -> tuple[KnownProvider, str, dict[str, str]] | None:
    """The provider that takes in mail at the MX `hosts`, best first: it, the host, the groups of its pattern."""
    for host in map(_plain, hosts):
        for pattern, known in _patterns():
            if fit := pattern.fullmatch(host):
                return known, host, fit.groupdict()
    return None


def by_server_host(host: str) -> KnownProvider | None:
    """The provider whose incoming or outgoing server `host` is: `imap.gmail.com` leads to Google."""
    named, patterns = _hosts()
    host = _plain(host)
    return named.get(host) or next((known for pattern, known in patterns if pattern.fullmatch(host)), None)


def gateway_of(hosts: tuple[str, ...]) -> str:
    """The name of the mail filter among the MX `hosts`, or nothing."""
    return next((name for host in map(_plain, hosts) for pattern, name in _gateways() if pattern.fullmatch(host)), "")


def _plain(host: str) -> str:
    return host.lower().rstrip(".")


@cache
def _domains() -> Mapping[str, KnownProvider]:
    return {domain: known for known in everyone().values() for domain in known.domains}


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], KnownProvider], ...]:
    return tuple((re.compile(pattern), known) for known in everyone().values() for pattern in known.mx)


@cache
def _gateways() -> tuple[tuple[re.Pattern[str], str], ...]:
    entries = (entry for name, data in _files(_GATEWAYS) for entry in data["gateway"])
    return tuple((re.compile(pattern), entry["name"]) for entry in entries for pattern in entry["mx"])


@cache
def _hosts() -> tuple[Mapping[str, KnownProvider], tuple[tuple[re.Pattern[str], KnownProvider], ...]]:
    """Names of servers, and patterns of those whose names depend on the customer; of two entries the owner wins."""
    named: dict[str, KnownProvider] = {}
    patterns = []
    for known in sorted(everyone().values(), key=lambda known: bool(known.shares_with)):
        for host in server_hosts(known):
            if "{" in host:
                pattern = _NAMES.sub("[a-z0-9-]+", host.replace(".", r"\."))
                patterns.append((re.compile(pattern), known))
            else:
                named.setdefault(host, known)
    return named, tuple(patterns)


def server_hosts(known: KnownProvider) -> Iterator[str]:
    """All names of servers that lead to `known`, with the groups of its MX patterns left as they are."""
    yield from known.aliases
    for text in (*known.servers, *known.hosted_servers):
        host = text.split(":")[1]
        yield from (host.replace("{domain}", domain) for domain in known.domains) if "{domain}" in host else (host,)


def _files(only: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for file in (resources.files("mailadmin.mail") / "known").iterdir():
        if file.name.endswith(".toml") and only in ("", file.name):
            yield file.name, tomllib.loads(file.read_text(encoding="utf-8"))


def _refusal(values: dict[str, Any]) -> Refusal:
    protocols = tuple(ServerProtocol(protocol) for protocol in values.get("for", ()))
    return Refusal(SignInMethod(values["method"]), values["since"], protocols)


# How the words of a file become values; what is not here is taken as it stands.
_READ: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("domains", "mx", "servers", "hosted_servers", "aliases", "sources"), tuple),
    "login": LoginFormat,
    "methods": lambda words: tuple(map(SignInMethod, words)),
    "service_type": ServiceType,
    "refused": lambda rows: tuple(map(_refusal, rows)),
    "folders": lambda table: {Role(role): tuple(names) for role, names in table.items()},
    "oauth": known_oauth.read,
}
_FIELDS = {
    "short": "short_name",
    "service": "service_type",
    "help": "help_url",
    "app_password_help": "app_password_url",
    "idle": "has_idle",
}


def _entry(key: str, values: dict[str, Any]) -> KnownProvider:
    """The entry `key`. Raises TypeError for a field that nobody knows or a missing one, ValueError for a wrong word."""
    fields = {_FIELDS.get(name, name): value for name, value in values.items()}
    fields.setdefault("short_name", fields.get("name", ""))
    return KnownProvider(key=key, **{name: _READ.get(name, lambda value: value)(v) for name, v in fields.items()})
