"""One server as somebody writes it down: host, port, protocol, TLS mode; its rules and its row. It dials nobody."""

import ipaddress
import re
from collections.abc import Collection
from contextlib import suppress
from typing import TypeVar

from mailadmin import boot
from mailadmin.errors import RuleBroken
from mailadmin.mail.addresses import check_host, check_port, judge
from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode
from mailadmin.providers.models import Provider, ProviderServer, ServerRow
from mailadmin.text import t

Row = TypeVar("Row", bound=ServerRow)
PROTOCOLS = {Direction.INCOMING: ServerProtocol.IMAP, Direction.OUTGOING: ServerProtocol.SMTP}  # the usual ones
_RIGHT = {Direction.INCOMING: (ServerProtocol.IMAP, ServerProtocol.POP3), Direction.OUTGOING: (ServerProtocol.SMTP,)}
TLS_WORDS = {TLSMode.IMPLICIT: "SSL/TLS", TLSMode.STARTTLS: "STARTTLS", TLSMode.NONE: "None (not safe)"}
_PORTS_OF = {"IMAP": (993, 143), "POP3": (995, 110), "SMTP": (465, 587, 25, 2525)}
_USUAL = {ServerProtocol.IMAP: "993 or 143", ServerProtocol.POP3: "995 or 110", ServerProtocol.SMTP: "465 or 587"}
_USUAL_PORT = {
    ServerProtocol.IMAP: {TLSMode.IMPLICIT: 993, TLSMode.STARTTLS: 143, TLSMode.NONE: 143},
    ServerProtocol.POP3: {TLSMode.IMPLICIT: 995, TLSMode.STARTTLS: 110, TLSMode.NONE: 110},
    ServerProtocol.SMTP: {TLSMode.IMPLICIT: 465, TLSMode.STARTTLS: 587, TLSMode.NONE: 25},
}
_WRITTEN = re.compile(r"(?P<protocol>[^:]*):(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[^:]*):(?P<tls>[^:]*)")


def direction_of(protocol: ServerProtocol) -> Direction:
    """What servers of `protocol` are for."""
    return Direction.OUTGOING if protocol is ServerProtocol.SMTP else Direction.INCOMING


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


def settled_port(protocol: ServerProtocol, tls_mode: TLSMode, typed: str) -> str:
    """The port for `tls_mode`, which was just chosen, where somebody sees it: `typed`, unless that is of another mode.

    587 without encryption and 25 with it are nobody's mistake; they stay.
    """
    is_mistaken = typed.strip() == str(_USUAL_PORT[protocol][_opposite(tls_mode)])
    return given_port(protocol, tls_mode, "" if is_mistaken else typed)


def given_port(protocol: ServerProtocol, tls_mode: TLSMode, typed: str) -> str:
    """The port that was `typed`, as it was; the usual one of `tls_mode` where none was."""
    return typed if typed.strip() else str(_USUAL_PORT[protocol][tls_mode])


def mixed_up(protocol: ServerProtocol, tls_mode: TLSMode, port: str, *, had: Server | None) -> str:
    """Why `port` and `tls_mode` can hardly be meant together, as a sentence; empty where they can be.

    What stands so already, in the server that somebody `had`, is meant as it is.
    """
    usual, opposite = _USUAL_PORT[protocol], _opposite(tls_mode)
    if port.strip() != str(usual[opposite]):
        return ""
    if had is not None and (had.protocol, had.port, had.tls_mode) == (protocol, usual[opposite], tls_mode):
        return ""
    return t(
        "{port} is for {other}, and {mode} uses {usual}. Change the port or the security.",
        port=usual[opposite],
        other=t(TLS_WORDS[opposite]),
        mode=t(TLS_WORDS[tls_mode]) if tls_mode is not TLSMode.NONE else t("a connection without encryption"),
        usual=usual[tls_mode],
    )


def _opposite(tls_mode: TLSMode) -> TLSMode:
    return TLSMode.STARTTLS if tls_mode is TLSMode.IMPLICIT else TLSMode.IMPLICIT


def is_dialled(host: str, port: int) -> None:
    """Return if the installation may dial `host`; a name is judged when it is resolved. Raises RuleBroken, no field."""
    with suppress(ValueError):
        try:
            judge(ipaddress.ip_address(host), port, boot.settings().rules)
        except MailError as error:
            raise RuleBroken(error.message) from error


def faults(
    direction: Direction,
    *,
    host: str,
    port: int | str,
    tls_mode: TLSMode,
    protocol: ServerProtocol | None = None,
    prefix: str = "",
) -> list[RuleBroken]:
    """What keeps this from being a server for `direction`: at most one RuleBroken for each of its three fields.

    It speaks `protocol`, else the usual one. The fields are `incoming_host`, `incoming_port`, `incoming_tls_mode` (or
    `outgoing_...`), with a `prefix` such as pop3 `pop3_host` and so on.
    """
    found: dict[str, str] = {}
    name, number = None, None
    try:
        name = host_of(host)
    except RuleBroken as broken:
        found["host"] = broken.message
    try:
        number = port_of(port, protocol or PROTOCOLS[direction])
    except RuleBroken as broken:
        found["port"] = broken.message
    if name is not None and number is not None:
        try:
            is_dialled(name, number)
        except RuleBroken as broken:
            found["host"] = broken.message
    if tls_mode not in allowed_tls_modes():
        found["tls_mode"] = t("Connections without encryption are not allowed here. Choose TLS or STARTTLS.")
    return [RuleBroken(message, field=f"{prefix or direction}_{part}") for part, message in found.items()]


def checked(server: Server, direction: Direction) -> Server:
    """`server` with its host as it is dialled. Raises RuleBroken as `faults` says, and for a wrong protocol."""
    protocol = server.protocol
    if protocol not in _RIGHT[direction]:
        wrong, right = protocol.upper(), PROTOCOLS[direction].upper()
        what = t("receiving") if direction is Direction.INCOMING else t("sending")
        said = t("{wrong} is not for {what}, {right} is.", wrong=wrong, what=what, right=right)
        raise RuleBroken(said, field=f"{direction}_host")
    for broken in faults(direction, host=server.host, port=server.port, tls_mode=server.tls_mode, protocol=protocol):
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
        raise RuleBroken(t("“{word}” is not a protocol; write imap, pop3 or smtp.", word=match["protocol"]))
    if match["tls"].lower() not in set(TLSMode):
        raise RuleBroken(t("“{word}” is not a TLS mode; write implicit, starttls or none.", word=match["tls"]))
    protocol = ServerProtocol(match["protocol"].lower())
    try:
        port = check_port(match["port"])
    except ValueError as error:
        raise RuleBroken(str(error)) from error
    return Server(protocol, host_of(match["host"]), port, TLSMode(match["tls"].lower()))


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
    _fill(row, server)


def put_servers(provider: Provider, servers: Collection[Server]) -> None:
    """Make `servers`, at most one for each protocol, the ones of `provider`."""
    kept = {row.protocol: row for row in provider.servers}
    wanted = {server.protocol: server for server in servers}
    for protocol, row in kept.items():
        if protocol not in wanted:
            provider.servers.remove(row)
    for protocol, server in wanted.items():
        if protocol not in kept:
            kept[protocol] = ProviderServer(direction=direction_of(protocol))
            provider.servers.append(kept[protocol])
        _fill(kept[protocol], server)


def _fill(row: ServerRow, server: Server) -> None:
    row.protocol, row.host, row.port, row.tls_mode = server.protocol, server.host, server.port, server.tls_mode
