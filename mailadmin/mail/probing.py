"""Tries the names that mail servers usually have, when nobody could say more: up to the greeting, never a sign-in.

What answers counts only if its certificate is valid for that very name and it greets as a mail server of the protocol
does: in a domain where every name exists (a wildcard in the DNS) a name alone means nothing.
"""

from concurrent.futures import ThreadPoolExecutor

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.incoming import open_incoming
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Rules, Server, ServerProtocol, TLSMode

# At most these connections: first all of the first row at once, then the second one if nothing there sends mail.
_FIRST = (
    (ServerProtocol.IMAP, "imap", 993, TLSMode.IMPLICIT),
    (ServerProtocol.IMAP, "mail", 993, TLSMode.IMPLICIT),
    (ServerProtocol.POP3, "mail", 995, TLSMode.IMPLICIT),
    (ServerProtocol.SMTP, "smtp", 465, TLSMode.IMPLICIT),
    (ServerProtocol.SMTP, "mail", 465, TLSMode.IMPLICIT),
)
_SECOND = (
    (ServerProtocol.SMTP, "smtp", 587, TLSMode.STARTTLS),
    (ServerProtocol.SMTP, "mail", 587, TLSMode.STARTTLS),
)
_BUDGET = 64 * 1024  # bytes of a greeting and what is offered


def ask(domain: str, rules: Rules, deadline: Deadline) -> list[Server]:
    """Return the servers of `domain` that greeted us, at most one for each protocol, those for receiving first."""
    found = _greeted(_FIRST, domain, rules, deadline)
    if found and not any(server.protocol is ServerProtocol.SMTP for server in found) and not deadline.is_over:
        found += _greeted(_SECOND, domain, rules, deadline)
    best = {server.protocol: server for server in reversed(found)}
    return sorted(best.values(), key=lambda server: list(ServerProtocol).index(server.protocol))


_Door = tuple[ServerProtocol, str, int, TLSMode]


def _greeted(doors: tuple[_Door, ...], domain: str, rules: Rules, deadline: Deadline) -> list[Server]:
    servers = [Server(protocol, f"{name}.{domain}", port, mode) for protocol, name, port, mode in doors]
    with ThreadPoolExecutor(len(servers)) as pool:
        futures = [pool.submit(_greets, server, rules, deadline) for server in servers]
    return [server for server, future in zip(servers, futures, strict=True) if future.result()]


def _greets(server: Server, rules: Rules, deadline: Deadline) -> bool:
    try:
        if server.protocol is ServerProtocol.SMTP:
            open_smtp(server, rules, deadline, budget=_BUDGET).close()
        else:
            open_incoming(server, rules, deadline, budget=_BUDGET).close()
    except MailError:
        return False
    return True
