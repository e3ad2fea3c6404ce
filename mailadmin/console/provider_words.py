"""What is known of a provider, in the words of the pages."""

from typing import Any

from mailadmin.mail.advice import since_words
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import LoginFormat, Server, ServerProtocol, ServiceType, SignInMethod, TLSVersion
from mailadmin.providers import service
from mailadmin.text import t

LOGIN_WORDS = {
    LoginFormat.ADDRESS: "Whole address",
    LoginFormat.LOCAL_PART: "Part before the @",
    LoginFormat.WINDOWS: "Windows domain and name",
    LoginFormat.BY_HAND: "Typed by hand",
}
SERVICE_WORDS = {
    ServiceType.OTHER: "IMAP, POP3 and SMTP",
    ServiceType.GOOGLE: "Google",
    ServiceType.MICROSOFT: "Microsoft 365 or Outlook.com",
    ServiceType.EXCHANGE: "Exchange on own servers",
}
METHOD_WORDS = {
    SignInMethod.OAUTH: "OAuth",
    SignInMethod.APP_PASSWORD: "App password",
    SignInMethod.PASSWORD: "Password",
}
TLS_VERSIONS = {
    TLSVersion.TLS_1_2: "TLS 1.2",
    TLSVersion.TLS_1_3: "TLS 1.3",
    TLSVersion.TLS_1_1: "TLS 1.1 (old servers only)",
    TLSVersion.TLS_1_0: "TLS 1.0 (old servers only)",
}
FACT_WORDS = {
    "name": "Name",
    "domains": "Domains",
    "service_type": "Service",
    "servers": "Servers",
    "login_format": "Login format",
    "methods": "Sign-in methods",
    "files_sent": "Keeps copies of sent messages",
    "most_connections": "Connections per account",
    "least_minutes": "Minutes between syncs",
    "minimum_tls": "Lowest TLS version",
    "certificates": "Trusted certificates",
    "catalogue": "Link to the catalogue",
}
# The groups of fields on the page, with the facts that each holds.
GROUPS = {
    "name": {"name", "domains", "service_type"},
    "servers": {"servers", "login_format", "files_sent"},
    "methods": {"methods"},
    "limits": {"least_minutes", "most_connections"},
}
_DOMAINS_SHOWN = 5


def changed_groups(facts: frozenset[str]) -> set[str]:
    """The groups of fields that hold one of `facts`."""
    return {group for group, held in GROUPS.items() if held & facts}


def told(fact: str, here: Any, there: Any) -> list[tuple[str, str, str]]:
    """What becomes of `fact`, plain values as catalogue.facts_of has them: what it is about, before, and after.

    Servers are told one by one; of domains those that go and those that come.
    """
    label = t(FACT_WORDS[fact])
    if fact == "servers":
        before, after = _by_protocol(here), _by_protocol(there)
        protocols = [p for p in ServerProtocol if before.get(p) != after.get(p)]
        return [(p.upper(), _server(before.get(p)), _server(after.get(p))) for p in protocols]
    if fact == "domains":
        gone, come = sorted({*here} - {*there}), sorted({*there} - {*here})
        return [(label, _said(fact, gone) if gone else "", _said(fact, come) if come else "")]
    if fact in ("certificates", "catalogue"):
        return [(label, "", t("Changed"))]
    return [(label, _said(fact, here), _said(fact, there))]


def _by_protocol(servers: Any) -> dict[ServerProtocol, Server]:
    texts = servers.values() if isinstance(servers, dict) else servers or []
    return {server.protocol: server for server in map(service.parse_server, texts)}


def _said(fact: str, value: object) -> str:
    if value in (None, "", [], {}):
        return t("None")
    if isinstance(value, bool):
        return t("Yes") if value else t("No")
    if isinstance(value, list):
        words = [t(METHOD_WORDS[SignInMethod(one)]) for one in value] if fact == "methods" else value
        more = t(" and {n} more", n=len(words) - _DOMAINS_SHOWN) if len(words) > _DOMAINS_SHOWN else ""
        return ", ".join(words[:_DOMAINS_SHOWN]) + more
    if fact == "service_type":
        return t(SERVICE_WORDS[ServiceType(str(value))])
    return t(LOGIN_WORDS[LoginFormat(str(value))]) if fact == "login_format" else str(value)


def _server(server: Server | None) -> str:
    if server is None:
        return t("None")
    security = t(service.TLS_WORDS[server.tls_mode])
    return t("{host}, port {port}, {security}", host=server.host, port=server.port, security=security)


def method_hints(known: KnownProvider | None) -> dict[SignInMethod, str]:
    """What to know of each way to sign in, before somebody ticks it."""
    hints = {SignInMethod.OAUTH: t("The owner agrees at the provider, and no password is stored here. Recommended.")}
    if known is None:
        return hints
    for method in (SignInMethod.APP_PASSWORD, SignInMethod.PASSWORD):
        if refusal := known.refuses(method):
            since = since_words(refusal.since)
            hints[method] = t("{name} has refused these since {since}.", name=known.short_name, since=since)
    return hints
