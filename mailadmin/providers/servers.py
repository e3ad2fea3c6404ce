"""The rules for one server as somebody writes it down: host, port, protocol, TLS mode. It opens no connection."""

import ipaddress
import re
from contextlib import suppress

from mailadmin import boot
from mailadmin.errors import RuleBroken
from mailadmin.mail.addresses import check_host, check_port, judge
from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode
from mailadmin.text import t

PROTOCOLS = {Direction.INCOMING: ServerProtocol.IMAP, Direction.OUTGOING: ServerProtocol.SMTP}
TLS_WORDS = {TLSMode.IMPLICIT: "SSL/TLS", TLSMode.STARTTLS: "STARTTLS", TLSMode.NONE: "None (not safe)"}
_PORTS_OF = {"IMAP": (993, 143), "POP3": (995, 110), "SMTP": (465, 587, 25, 2525)}
_USUAL = {ServerProtocol.IMAP: "993 or 143", ServerProtocol.SMTP: "465 or 587"}
_WRITTEN = re.compile(r"(?P<protocol>[^:]*):(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[^:]*):(?P<tls>[^:]*)")


def allowed_tls_modes() -> list[TLSMode]:
    """The TLS modes that this installation allows: no encryption only with MAILADMIN_ALLOW_PLAINTEXT."""
    return [mode for mode in TLSMode if mode is not TLSMode.NONE or boot.settings().rules.plaintext]


def host_of(text: str) -> str:
    """The host in `text` as it is dialled. Raises RuleBroken with what would be right, without a field."""
    try:
        return check_host(text)
    except ValueError as error:
        raise RuleBroken(str(error)) from error


def port_of(value: int | str, protocol: ServerProtocol) -> int:
    """The port in `value`. Raises RuleBroken, without a field, if it is none or if another protocol uses it."""
    try:
        port = check_port(value)
    except ValueError as error:
        raise RuleBroken(str(error)) from error
    name = protocol.upper()
    other = next((user for user, ports in _PORTS_OF.items() if port in ports and user != name), None)
    if other:
        said = t(
            "{port} is for {other}. {name} uses {usual}.", port=port, other=other, name=name, usual=_USUAL[protocol]
        )
        raise RuleBroken(said)
    return port


def is_dialled(host: str, port: int) -> None:
    """Return if the installation may dial `host`; a name is judged when it is resolved. Raises RuleBroken, no field."""
    with suppress(ValueError):
        try:
            judge(ipaddress.ip_address(host), port, boot.settings().rules)
        except MailError as error:
            raise RuleBroken(error.message) from error


def faults(direction: Direction, *, host: str, port: int | str, tls_mode: TLSMode) -> list[RuleBroken]:
    """What keeps this from being a server for `direction`: at most one RuleBroken for each of its three fields.

    The fields are `incoming_host`, `incoming_port` and `incoming_tls_mode` (or `outgoing_...`).
    """
    found: dict[str, str] = {}
    name, number = None, None
    try:
        name = host_of(host)
    except RuleBroken as broken:
        found["host"] = broken.message
    try:
        number = port_of(port, PROTOCOLS[direction])
    except RuleBroken as broken:
        found["port"] = broken.message
    if name is not None and number is not None:
        try:
            is_dialled(name, number)
        except RuleBroken as broken:
            found["host"] = broken.message
    if tls_mode not in allowed_tls_modes():
        found["tls_mode"] = t("Connections without encryption are not allowed here. Choose TLS or STARTTLS.")
    return [RuleBroken(message, field=f"{direction}_{part}") for part, message in found.items()]


def checked(server: Server, direction: Direction) -> Server:
    """`server` with its host as it is dialled. Raises RuleBroken as `faults` says, and for a wrong protocol."""
    protocol = PROTOCOLS[direction]
    if server.protocol is not protocol:
        wrong, right = server.protocol.upper(), protocol.upper()
        what = t("receiving") if direction is Direction.INCOMING else t("sending")
        said = t("{wrong} is not for {what}, {right} is.", wrong=wrong, what=what, right=right)
        raise RuleBroken(said, field=f"{direction}_host")
    for broken in faults(direction, host=server.host, port=server.port, tls_mode=server.tls_mode):
        raise broken
    return Server(protocol, host_of(server.host), server.port, server.tls_mode)


def parse_server(text: str) -> Server:
    """The server written as `imap:mail.example.com:993:implicit` or `smtp:[::1]:587:starttls`.

    Raises RuleBroken that says which part cannot be read. Whether such a server makes sense or is allowed is another
    matter: `checked` says that, and a test finds out.
    """
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise RuleBroken(
            t("Write a server as PROTOCOL:HOST:PORT:TLSMODE, for example imap:mail.example.com:993:implicit.")
        )
    if match["protocol"].lower() not in set(ServerProtocol):
        raise RuleBroken(t("“{word}” is not a protocol; write imap or smtp.", word=match["protocol"]))
    if match["tls"].lower() not in set(TLSMode):
        raise RuleBroken(t("“{word}” is not a TLS mode; write implicit, starttls or none.", word=match["tls"]))
    protocol = ServerProtocol(match["protocol"].lower())
    try:
        port = check_port(match["port"])
    except ValueError as error:
        raise RuleBroken(str(error)) from error
    return Server(protocol, host_of(match["host"]), port, TLSMode(match["tls"].lower()))
