"""What was learned about a mail domain: answers, where they come from, and everything that was tried."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from mailadmin.mail.types import LoginFormat, Server, ServerProtocol, SignInMethod, TLSMode

ISPDB = "https://autoconfig.thunderbird.net/v1.1/"  # the public list


class Source(StrEnum):
    """Who says so; the order is that of our trust."""

    CATALOGUE = "catalogue"  # the domain is one of a known provider
    MX = "mx"  # its mail goes to a known provider
    AUTOCONFIG = "autoconfig"  # the domain's owner says so in a file
    SRV = "srv"  # or in the DNS (RFC 6186, 8314)
    ISPDB = "ispdb"  # Thunderbird's public list knows it
    PROBE = "probe"  # usual names that answered

    @property
    def rank(self) -> int:
        """Its place in the order of trust, 0 for the best."""
        return list(Source).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One complete answer: at least one server for receiving, unless the catalogue says that there is none.

    `known` is the key of the catalogue's entry, where it is that provider; `name` says whose servers they are; `detail`
    is the evidence in a few words, such as a host name. `servers`: best first, those for receiving before the others.
    """

    source: Source
    detail: str
    name: str = ""
    known: str = ""
    servers: tuple[Server, ...] = ()
    login: LoginFormat = LoginFormat.ADDRESS
    methods: tuple[SignInMethod, ...] = (SignInMethod.PASSWORD,)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One source and what it was asked: it `found` something, or `problem` says in plain sentences why it did not.

    Both may be: then `problem` says what of the answer was left out. With `timed_out` nobody answered in time.
    """

    source: Source
    asked: str
    found: bool = False
    problem: str = ""
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """All that was learned of `domain`: answers, best first, and everything that was tried, in the same order.

    `gateway` names the mail filter in front of the real host, where the MX is one; then somebody has to be asked.
    `problem` is a sentence about the domain as a whole: it does not exist, it takes no mail.
    """

    domain: str
    findings: tuple[Finding, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    gateway: str = ""
    problem: str = ""

    @property
    def best(self) -> Finding | None:
        """The answer of the most trusted source, or None."""
        return self.findings[0] if self.findings else None

    @property
    def is_incomplete(self) -> bool:
        """Whether nothing was found, and somebody who may know did not answer in time."""
        return not self.findings and any(attempt.timed_out for attempt in self.attempts)


def as_plain(discovery: Discovery) -> dict[str, Any]:
    """Return `discovery` as values that JSON knows; `from_plain` reads them."""
    plain = asdict(discovery)
    for finding in plain["findings"]:
        for server in finding["servers"]:
            del server["trust"]
    return plain


def from_plain(plain: Mapping[str, Any]) -> Discovery:
    """Return the discovery that `as_plain` wrote."""
    findings = [
        Finding(
            source=Source(values["source"]),
            detail=values["detail"],
            name=values["name"],
            known=values["known"],
            servers=tuple(_server(server) for server in values["servers"]),
            login=LoginFormat(values["login"]),
            methods=tuple(SignInMethod(method) for method in values["methods"]),
        )
        for values in plain["findings"]
    ]
    attempts = [Attempt(**{**values, "source": Source(values["source"])}) for values in plain["attempts"]]
    return Discovery(plain["domain"], tuple(findings), tuple(attempts), plain["gateway"], plain["problem"])


def _server(values: Mapping[str, Any]) -> Server:
    return Server(ServerProtocol(values["protocol"]), values["host"], values["port"], TLSMode(values["tls_mode"]))
