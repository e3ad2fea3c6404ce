"""Asks name servers: where a host is (A, AAAA), who takes in a domain's mail (MX), where its services are (SRV).

The resolver of the system finds hosts: it knows /etc/hosts and what else a machine is told. It has no deadline, so it
runs in a daemon thread, which may outlive us, and which nobody waits for longer than five seconds. Where the
installation names its own name servers they are asked in its place, except for names without a dot, such as
`localhost`, which only the machine itself knows. For MX and SRV there is dnspython, which keeps an absolute time over
UDP and TCP; it talks to the name servers of the system or of the installation and to nobody else.
"""

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver

from mailadmin.mail.addresses import IP, check_host
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules

SECONDS = 5.0  # for one question
NOT_OFFERED = "."  # the host that says "not here" (RFC 7505, RFC 2782)
MOST_RECORDS = 20  # in one answer; the best of them
_TRY_SECONDS = 1.0  # until the same question is asked again, for a packet may get lost
_PACKET = 1232  # bytes of an answer over UDP (what fits everywhere); a larger one comes over TCP


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One SRV record (RFC 2782). Sorted by the order in which clients try them, except that the heavier comes first."""

    priority: int
    lightness: int  # 65535 less the weight, so that the order is the right one
    host: str
    port: int


@contextmanager
def remembering(seconds: float) -> Iterator[None]:
    """Within, for the whole process, where a host is counts for `seconds`: thousands do not ask again and again.

    Failures are not remembered.
    """
    global _memory
    _memory = _Memory(seconds)
    try:
        yield
    finally:
        _memory = None


class _Memory:
    """Where hosts were, and until when that counts."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[tuple[str, Rules], tuple[float, list[IP]]] = {}

    def addresses(self, host: str, rules: Rules, deadline: Deadline) -> list[IP]:
        ends, found = self._known.get((host, rules), (0.0, []))
        if time.monotonic() >= ends:
            found = _asked(host, rules, deadline)
            self._known[host, rules] = time.monotonic() + self._seconds, found
        return found


_memory: _Memory | None = None


def addresses(host: str, rules: Rules, deadline: Deadline) -> list[IP]:
    """All addresses of `host`, at least one, in order of preference, without repetition. Raises MailError (dns)."""
    with suppress(ValueError):
        return [ipaddress.ip_address(host)]
    memory = _memory
    return memory.addresses(host, rules, deadline) if memory is not None else _asked(host, rules, deadline)


def _asked(host: str, rules: Rules, deadline: Deadline) -> list[IP]:
    if rules.name_servers and "." in host:
        return _of_the_installation(host, rules, deadline)
    return _of_the_system(host, deadline)


def mail_hosts(domain: str, rules: Rules, deadline: Deadline) -> tuple[str, ...]:
    """The MX hosts of `domain`, best first (RFC 5321 5.1); NOT_OFFERED alone where it takes no mail (RFC 7505).

    Raises MailError (dns); one that is permanent says that there is no such domain.
    """
    try:
        found = sorted((record.preference, _host(record.exchange)) for record in _ask(domain, "MX", rules, deadline))
    except _NoSuchName as error:
        sentence = f"There is no domain called {domain}."
        raise MailError(Category.DNS, sentence, permanent=True, code="dns-unknown") from error
    named = [host for _, host in found if host not in ("", NOT_OFFERED)]
    if not named and any(host == NOT_OFFERED for _, host in found):
        return (NOT_OFFERED,)
    return tuple(dict.fromkeys(named))[:MOST_RECORDS]


def services(service: str, domain: str, rules: Rules, deadline: Deadline) -> tuple[Service, ...]:
    """The SRV records of `service`, such as `_imaps`, at `domain`, best first; empty where there are none.

    The host is NOT_OFFERED where the domain says that it has no such service. Raises MailError (dns).
    """
    try:
        records = _ask(f"{service}._tcp.{domain}", "SRV", rules, deadline)
    except _NoSuchName:
        return ()
    found = {Service(r.priority, 65535 - r.weight, _host(r.target), r.port) for r in records}
    return tuple(sorted(one for one in found if one.host))[:MOST_RECORDS]


class _NoSuchName(Exception):
    """The name servers say that the name does not exist at all."""


def _ask(name: str, kind: str, rules: Rules, deadline: Deadline) -> Iterable[Any]:
    """The records of `kind` at `name`. Raises _NoSuchName, and MailError (dns) if nobody says."""
    lifetime = min(SECONDS, deadline.left())
    try:
        answer = _resolver(rules).resolve(
            f"{name}.", dns.rdatatype.RdataType[kind], lifetime=lifetime, raise_on_no_answer=False, search=False
        )
    except dns.resolver.NXDOMAIN as error:
        raise _NoSuchName(name) from error
    except dns.exception.Timeout as error:
        raise MailError(Category.DNS, f"No name server answered in time for {name}.") from error
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise MailError(Category.DNS, f"The name servers could not answer for {name}.") from error
    return answer.rrset or ()


def _resolver(rules: Rules) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=not rules.name_servers)
    if rules.name_servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in rules.name_servers]
    resolver.timeout = _TRY_SECONDS
    resolver.use_edns(0, 0, _PACKET)
    return resolver


def _host(name: Any) -> str:
    """The host that a record names: NOT_OFFERED for the root, nothing for what no host can be called."""
    text = str(name.to_text(omit_final_dot=True))
    if text in ("", "."):
        return NOT_OFFERED
    try:
        return check_host(text)
    except ValueError:
        return ""


def _of_the_installation(host: str, rules: Rules, deadline: Deadline) -> list[IP]:
    try:
        found = [record.address for record in _ask(host, "A", rules, deadline)]
        try:
            found += [record.address for record in _ask(host, "AAAA", rules, deadline)]
        except MailError:
            if not found:  # Some name servers never answer questions about IPv6.
                raise
    except _NoSuchName as error:
        raise _unknown_host(host) from error
    if not found:
        raise _unknown_host(host)
    return [ipaddress.ip_address(address) for address in dict.fromkeys(found)]


def _unknown_host(host: str) -> MailError:
    sentence = f"There is no server named {host}; check the spelling."
    return MailError(Category.DNS, sentence, permanent=True, code="dns-unknown")


def _of_the_system(host: str, deadline: Deadline) -> list[IP]:
    answers: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()
    threading.Thread(target=_ask_system, args=(host, answers), daemon=True, name="resolver").start()
    try:
        answer = answers.get(timeout=min(SECONDS, deadline.left()))
    except queue.Empty:
        raise MailError(Category.DNS, f"No name server said in time where {host} is.") from None
    if isinstance(answer, socket.gaierror) and answer.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
        raise _unknown_host(host) from answer
    if isinstance(answer, Exception):
        raise MailError(Category.DNS, f"The name servers could not say where {host} is.") from answer
    return [ipaddress.ip_address(text) for text in dict.fromkeys(answer)]


def _ask_system(host: str, answers: "queue.SimpleQueue[list[str] | OSError | UnicodeError]") -> None:
    """Put what the system's resolver says, or its error, into `answers`; runs in a thread of its own."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        answers.put(error)
    else:
        # A scope ("%eth0") belongs to link-local addresses, which are refused anyway.
        answers.put([str(entry[4][0]).partition("%")[0] for entry in found])
