"""Reads the files in which domains say where their mail lives: Thunderbird's autoconfig, version 1.1.

The format: https://www.ietf.org/archive/id/draft-ietf-mailmaint-autoconfig-03.html. Anybody may write such a file, so
it has no entities and no document type, few levels and short values, and only servers that make sense are taken from
it. What is left out is said in a sentence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from xml.etree.ElementTree import Element, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from mailadmin.mail.addresses import check_host, check_port
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import LoginFormat, Server, ServerProtocol, SignInMethod, TLSMode

_LONGEST = 253  # characters of a value: a host name is the longest that makes sense
_LONGEST_NAME = 120
_DEEPEST = 20  # levels of elements; the format has four
_MOST_SERVERS = 20
_MOST_PROBLEMS = 3
_USERS = {
    "%EMAILADDRESS%": LoginFormat.ADDRESS,
    "%EMAILLOCALPART%@%EMAILDOMAIN%": LoginFormat.ADDRESS,
    "%EMAILLOCALPART%": LoginFormat.LOCAL_PART,
}
_MODES = {"SSL": TLSMode.IMPLICIT, "STARTTLS": TLSMode.STARTTLS, "PLAIN": TLSMode.NONE}
_METHODS = {
    "oauth2": SignInMethod.OAUTH,
    "password-cleartext": SignInMethod.PASSWORD,
    "password-encrypted": SignInMethod.PASSWORD,
    "plain": SignInMethod.PASSWORD,  # the older words for the two
    "secure": SignInMethod.PASSWORD,
}
_PORTS = {
    ServerProtocol.IMAP: frozenset({143, 993}),
    ServerProtocol.POP3: frozenset({110, 995}),
    ServerProtocol.SMTP: frozenset({25, 465, 587, 2525}),
}
_WEB_PAGE = re.compile(rb"\s*(<!doctype\s+html|<html)\b", re.IGNORECASE)


class Unreadable(Exception):
    """A file is not what it should be; the message is one plain sentence."""


@dataclass
class Config:
    """What a file says. `problems` are sentences about what of it was left out; `login` is that of the best server."""

    name: str = ""
    servers: list[Server] = field(default_factory=list)
    login: LoginFormat = LoginFormat.ADDRESS
    methods: list[SignInMethod] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(data: bytes, domain: str, *, plaintext: bool = False) -> Config:
    """Return what the file `data` says about addresses at `domain`; servers without encryption only with `plaintext`.

    Servers for receiving come first, IMAP before POP3, otherwise in the order of the file. Raises Unreadable.
    """
    config = Config()
    found: list[tuple[Server, LoginFormat, list[SignInMethod]]] = []
    provider = _parse(data).find("emailProvider")
    if provider is None:
        raise Unreadable("The file names no mail provider.")
    config.name = scrub(_text(provider, "displayName"))[:_LONGEST_NAME]
    for element in _servers(provider):
        try:
            found.append((_server(element, domain, plaintext), _login(element), _methods(element)))
        except ValueError as error:
            if len(config.problems) < _MOST_PROBLEMS and str(error) not in config.problems:
                config.problems.append(str(error))
    found.sort(key=lambda one: list(ServerProtocol).index(one[0].protocol))
    for server, login, methods in found:
        if not config.servers:
            config.login = login
        if server.protocol is not ServerProtocol.SMTP or not config.methods:
            config.methods += [method for method in methods if method not in config.methods]
        if server not in config.servers:
            config.servers.append(server)
    config.methods.sort(key=list(SignInMethod).index)
    return config


def wrong_port(protocol: ServerProtocol, port: int) -> str:
    """Why `port` cannot be one for `protocol`, or nothing: the usual port of another one is a mistake."""
    other = next((user for user, ports in _PORTS.items() if port in ports and user is not protocol), None)
    return f"Port {port} is for {other.upper()}, not for {protocol.upper()}." if other else ""


class _Builder(TreeBuilder):
    """Builds a tree that is not too deep."""

    _depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable("The file has far too many levels.")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:
        self._depth -= 1
        return super().end(tag)


def _parse(data: bytes) -> Element:
    if _WEB_PAGE.match(data.removeprefix(b"\xef\xbb\xbf")):
        raise Unreadable("The answer is a web page, not a configuration file.")
    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(data)
        root = parser.close()
    except DefusedXmlException as error:
        raise Unreadable("The file declares a document type or entities, which are not read.") from error
    except (SyntaxError, ValueError, LookupError) as error:  # SyntaxError is that of XML; the others are encodings.
        raise Unreadable("The file is not well-formed XML.") from error
    if root is None or root.tag != "clientConfig":
        raise Unreadable("The answer is XML, but not a configuration file for mail programs.")
    return cast(Element, root)


def _servers(provider: Element) -> Iterator[Element]:
    """The elements that describe servers we could use."""
    kinds = {("incomingServer", "imap"), ("incomingServer", "pop3"), ("outgoingServer", "smtp")}
    fitting = [one for one in provider if (one.tag, one.get("type", "").lower()) in kinds]
    return iter(fitting[:_MOST_SERVERS])


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _server(element: Element, domain: str, plaintext: bool) -> Server:
    """The server that `element` describes. Raises ValueError with a sentence if it cannot be used."""
    protocol = ServerProtocol(element.get("type", "").lower())
    written = _text(element, "hostname")
    if len(written) > _LONGEST:
        raise ValueError(f"The name of the {protocol.upper()} server is far too long.")
    try:
        host = check_host(written.replace("%EMAILDOMAIN%", domain))
    except ValueError:
        shown = f"“{scrub(written)[:80]}” is not the name of a server."
        raise ValueError(shown if written else f"The {protocol.upper()} server has no name.") from None
    try:
        port = check_port(_text(element, "port"))
    except ValueError:
        raise ValueError(f"The port of {host} is not a number from 1 to 65535.") from None
    if why := wrong_port(protocol, port):
        raise ValueError(f"{host}: {why}")
    mode = _MODES.get(_text(element, "socketType").upper())
    if mode is None:
        raise ValueError(f"{host}: it is not said how the connection is encrypted.")
    if mode is TLSMode.NONE and not plaintext:
        raise ValueError(f"{host} is offered without encryption only, which is not allowed here.")
    return Server(protocol, host, port, mode)


def _login(element: Element) -> LoginFormat:
    written = _text(element, "username")
    return _USERS.get(written, LoginFormat.BY_HAND) if written else LoginFormat.ADDRESS


def _methods(element: Element) -> list[SignInMethod]:
    """The ways to sign in that we know of. Raises ValueError with a sentence if there are others only."""
    named = [(one.text or "").strip() for one in element.findall("authentication")]
    known = [_METHODS[name.lower()] for name in named if name.lower() in _METHODS]
    if named and not known:
        host, ways = scrub(_text(element, "hostname"))[:80], scrub(", ".join(named))[:80]
        raise ValueError(f"{host} signs in by “{ways}” only, which is not possible here.")
    return list(dict.fromkeys(known)) or [SignInMethod.PASSWORD]
