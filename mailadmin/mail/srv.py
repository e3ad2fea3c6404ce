"""What a domain says about its mail servers in the DNS: SRV records (RFC 6186, RFC 8314)."""

from concurrent.futures import ThreadPoolExecutor

from mailadmin.mail import names
from mailadmin.mail.autoconfig import wrong_port
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.names import NOT_OFFERED, Service
from mailadmin.mail.types import Rules, Server, ServerProtocol, TLSMode

# Implicit TLS stands before STARTTLS (RFC 8314 5.1), IMAP before POP3.
SERVICES = {
    "_imaps": (ServerProtocol.IMAP, TLSMode.IMPLICIT),
    "_imap": (ServerProtocol.IMAP, TLSMode.STARTTLS),
    "_pop3s": (ServerProtocol.POP3, TLSMode.IMPLICIT),
    "_pop3": (ServerProtocol.POP3, TLSMode.STARTTLS),
    "_submissions": (ServerProtocol.SMTP, TLSMode.IMPLICIT),
    "_submission": (ServerProtocol.SMTP, TLSMode.STARTTLS),
}
_IMPLICIT_PORTS = {993, 995, 465}  # Some domains name these under the older service; they are what they are.
_MOST_OF_EACH = 2


def ask(domain: str, rules: Rules, deadline: Deadline) -> tuple[list[Server], list[str]]:
    """Return the servers that `domain` names, best first, and sentences about what of its answers was left out.

    Raises MailError (dns) if nothing is known because a name server did not answer.
    """
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        futures = {service: pool.submit(names.services, service, domain, rules, deadline) for service in SERVICES}
    answers: dict[str, tuple[Service, ...]] = {}
    failure: MailError | None = None
    for service, future in futures.items():
        try:
            answers[service] = future.result()
        except MailError as error:
            failure = error
    servers, problems = read(answers)
    if failure is not None and not servers:
        raise failure
    return servers, problems


def read(answers: dict[str, tuple[Service, ...]]) -> tuple[list[Server], list[str]]:
    """Return the servers in `answers` (by service, each best first), and sentences about what was left out."""
    servers: list[Server] = []
    problems: list[str] = []
    for service, (protocol, mode) in SERVICES.items():
        offered = [one for one in answers.get(service, ()) if one.host != NOT_OFFERED]
        if answers.get(service) and not offered:
            problems.append(f"The domain says that it has no {service}.")
        for one in offered[:_MOST_OF_EACH]:
            why = "" if one.port else f"Port {one.port} is none."
            if why := why or wrong_port(protocol, one.port):
                problems.append(f"{service}: {why}")
                continue
            server = Server(protocol, one.host, one.port, TLSMode.IMPLICIT if one.port in _IMPLICIT_PORTS else mode)
            servers += [] if server in servers else [server]
    return servers, problems


def outsiders(servers: list[Server], domain: str) -> list[str]:
    """Return the hosts of `servers` that are not in `domain`."""
    hosts = dict.fromkeys(server.host for server in servers)
    return [host for host in hosts if host != domain and not host.endswith(f".{domain}")]
