"""What would have worked instead: tried after a failure, up to the greeting, so that no password goes anywhere."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from mailadmin.accounts.service import Leg
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.incoming import open_incoming
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.tls import STARTTLS_PORTS, TLS_PORTS
from mailadmin.mail.types import Direction, Rules, Server, ServerProtocol, TLSMode

Fix = dict[str, str]

_WRONG_DOOR = {Category.REFUSED, Category.TIMEOUT, Category.NETWORK, Category.PROTOCOL, Category.UNSUPPORTED}
_WRONG_DOOR_CODES = {
    *("tls-port-is-plain", "tls-port-is-encrypted", "tls-closed", "tls-promise-broken"),
    *("greet_pop_on_imap", "greet_imap_on_pop"),  # the server for the other protocol, mostly on the same machine
}
_ONE_TRY = 3.0  # seconds
_NAMES = 4
_BUDGET = 1_000_000  # bytes of a greeting and what is offered


def fixes(leg: Leg, direction: Direction, error: MailError, rules: Rules, deadline: Deadline) -> Iterator[Fix]:
    """The changes of server that were tried and greeted us: {direction, kind, server}.

    `kind` is "door" for another port or TLS mode of the same host, "name" for a name in the certificate that was shown.
    Never less encryption than before.
    """
    for kind, server in _candidates(leg.server, error):
        with suppress(MailError):
            _open(server, rules, Deadline(min(_ONE_TRY, deadline.left())))
            yield {"direction": direction.value, "kind": kind, "server": str(server)}
        if deadline.is_over:
            return


def _candidates(server: Server, error: MailError) -> Iterator[tuple[str, Server]]:
    if error.code == "tls-wrong-name" and error.certificate:
        named = [name for name in error.certificate["names"] if "*" not in name and name != server.host]
        yield from (("name", replace(server, host=name)) for name in named[:_NAMES])
    elif error.code in _WRONG_DOOR_CODES or error.category in _WRONG_DOOR:
        yield from _doors(server)


def _doors(server: Server) -> Iterator[tuple[str, Server]]:
    """The other usual ports of this protocol, and the other TLS mode at an unusual port."""
    usual = [(TLS_PORTS[server.protocol], TLSMode.IMPLICIT), (STARTTLS_PORTS[server.protocol], TLSMode.STARTTLS)]
    if server.port not in [port for port, _ in usual]:
        usual += [(server.port, mode) for mode in (TLSMode.IMPLICIT, TLSMode.STARTTLS)]
    for port, mode in usual:
        if (port, mode) != (server.port, server.tls_mode):
            yield "door", replace(server, port=port, tls_mode=mode)


def _open(server: Server, rules: Rules, deadline: Deadline) -> None:
    """Connect, encrypt and be greeted. Raises MailError."""
    if server.protocol is ServerProtocol.SMTP:
        open_smtp(server, rules, deadline).close()
    else:
        open_incoming(server, rules, deadline, budget=_BUDGET).close()
