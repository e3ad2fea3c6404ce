"""Opens every connection to a mail server or a web site, and is the only place that opens a socket.

How it works. `connect` checks the host's spelling, resolves it once (names.py), judges every address it got, and dials
those that are allowed, one after the other, by address. The name is never resolved a second time, so a name that
changes its address between the check and the connection (DNS rebinding) gains nothing; the certificate is still
compared with the name that was typed. Whoever calls gets a `Connection`, whose socket protocol libraries may use like
any other.

Time. A time-out per read is worth nothing against a server that sends one byte every two seconds. The sockets here
carry a `Deadline`, an absolute point in time, and set their time-out to what is left of it before every single send
and receive. When it is over they raise MailError, which no library mistakes for one of its own errors.

Size. Sockets count what they receive, and stop at a budget of bytes for the session, or for each step of a long one.

Encryption. Certificates and names are always verified, and there is no setting to turn that off. A provider may have
authorities and a lowest version of TLS of its own; an account may pin one certificate, which is then compared before
anything is said. Plain text needs the permission of the installation. A port that speaks TLS where plain text was
expected never says a word and waits for us to begin; so when no greeting comes, `expect_plain_greeting` begins, once,
and knows then.

What can go wrong is said as a MailError with a stage reported as failed: dns, tcp or tls.

Web sites (a domain's own file about its mail servers, a provider's sign-in) are dialled under the same rules, always
encrypted, at port 443 or one that the installation allows; see https.py.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Protocol, TypeVar, cast

from mailadmin.mail import certificates, names, tls
from mailadmin.mail.addresses import IP, MAIL_PORTS, WEB_PORTS, check_host, check_port, judge
from mailadmin.mail.deadline import Deadline, out_of_time, too_much
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.stages import Stages
from mailadmin.mail.types import Direction, Report, Rules, Server, StageName, TLSMode, Trust

__all__ = [
    "Connection",
    "Deadline",
    "check_host",
    "check_port",
    "closed_if_it_fails",
    "connect",
    "connect_web",
    "guard",
]

CONNECT_SECONDS = 5.0  # Three tries of the kernel; the half where another address may answer (RFC 8305).
BUDGET = 200_000_000
_GREETING_SHARE = 0.6
Got = TypeVar("Got", int, bytes)
_DER = 2  # _ssl.ENCODING_DER


class _Closes(Protocol):
    def close(self) -> None: ...


@contextmanager
def closed_if_it_fails(opened: _Closes) -> Iterator[None]:
    """Close what was `opened` if the block raises anything, also what a deadline's `watch` raises meanwhile."""
    with ExitStack() as failing:
        failing.callback(opened.close)
        yield
        failing.pop_all()


def guard(value: str, what: str) -> str:
    """Return `value` if it can be sent inside a command; `what` names it in the sentence that says why not.

    Raises MailError (config) for CR, LF and NUL, and for text that UTF-8 cannot carry.
    """
    if any(c in value for c in "\r\n\0"):
        raise MailError(Category.CONFIG, f"The {what} contains a line break or a NUL character, which cannot be sent.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Not chained: the foreign error quotes the value, which may be a password.
        raise MailError(Category.CONFIG, f"The {what} contains characters that cannot be sent.") from None
    return value


class _Guarded(socket.socket):
    """A socket under a deadline and a budget of bytes; both classes below share it."""

    deadline: Deadline | None = None
    budget: int = BUDGET

    def arm(self) -> None:
        """Give the next system call the time that is left."""
        if self.deadline is not None:
            self.settimeout(self.deadline.left())

    def _awaited(self, receive: Callable[..., Got], *args: Any, **kwargs: Any) -> Got:
        """What `receive` gets; while the server is silent, whoever watches the deadline may end the waiting."""
        while True:
            self.settimeout(self.deadline.patience() if self.deadline is not None else self.gettimeout())
            try:
                return receive(*args, **kwargs)
            except TimeoutError:
                if self.deadline is None or self.deadline.is_over:
                    raise out_of_time() from None

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        got = self._awaited(super().recv_into, *args, **kwargs)
        self._count(got)
        return got

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        got = self._awaited(super().recv, *args, **kwargs)
        self._count(len(got))
        return got

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.arm()
        try:
            return super().send(*args, **kwargs)
        except TimeoutError:
            raise out_of_time() from None

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.arm()
        try:
            super().sendall(*args, **kwargs)
        except TimeoutError:
            raise out_of_time() from None

    def _count(self, got: int) -> None:
        self.budget -= got
        if self.budget < 0:
            raise too_much()


class _PlainSocket(_Guarded):
    """The socket before encryption."""


class _TLSSocket(_Guarded, ssl.SSLSocket):
    """The socket after it; `_Guarded` stands first, so every call is armed before `ssl` sees it."""

    def do_handshake(self, block: bool = False) -> None:
        self.arm()
        super().do_handshake(block)


def warm_up(rules: Rules) -> None:
    """Read the trusted certificates now (44 ms of CPU), so that processes forked afterwards share them."""
    tls.context(rules.ca_file, Trust(), _TLSSocket)


class Connection:
    """An open connection to a server. `address` is the one that was judged and dialled."""

    def __init__(
        self, sock: _PlainSocket, address: IP, server: Server, rules: Rules, deadline: Deadline, stages: Stages
    ) -> None:
        self.socket: _Guarded = sock
        self.server = server
        self.address = address
        self.stages = stages
        self._rules = rules
        self._deadline = deadline
        self._budget = sock.budget
        sock.deadline = deadline

    @property
    def deadline(self) -> Deadline:
        """By when the conversation must be over; with a new one, set between two steps, the budget begins anew too."""
        return self._deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._deadline = self.socket.deadline = deadline
        self.socket.budget = self._budget

    def start_tls(self) -> _Guarded:
        """Encrypt the connection, report the stage, and return the new socket. Raises MailError (tls, timeout)."""
        with self.stages.stage(StageName.TLS) as passing:
            wrapped = self._handshake()
            passing.detail = wrapped.version() or ""
            passing.facts = _facts(wrapped, self.server.trust) if self.stages.has_listener else {}
        return self.socket

    def _handshake(self) -> "_TLSSocket":
        """Replace the socket by an encrypted one whose certificate is trusted, and return it."""
        self.socket = wrapped = _wrapped(self.socket, self.server, self._rules)
        _shake_hands(wrapped, self.server)
        return wrapped

    def expect_plain_greeting(self) -> None:
        """Wait until the server says its first bytes in plain text.

        Raises MailError: tls if the port speaks TLS, network if it hangs up, timeout if it stays silent. Mail servers
        greet first (RFC 3501 7.1.1, RFC 5321 3.1), so after part of the time silence is answered with a handshake.
        """
        left = self.deadline.left()
        self.socket.settimeout(left * _GREETING_SHARE)
        try:
            first = socket.socket.recv(self.socket, 3, socket.MSG_PEEK)
        except TimeoutError:
            raise self._silence() from None
        except OSError as error:
            raise MailError(Category.NETWORK, "The connection to the server broke.") from error
        if not first:
            raise MailError(
                Category.NETWORK, "The server closed the connection without a greeting.", code="no-greeting"
            )
        if first[0] in (0x15, 0x16) and first[1:2] in (b"", b"\x03"):
            raise tls.is_tls(self.server)

    def _silence(self) -> MailError:
        """What the silence of a server means: no credential is sent, and the connection is of no more use."""
        try:
            self._handshake()
        except MailError as error:
            if error.code in ("tls-promise-broken", "tls-port-is-plain"):
                sentence = "This port waits for us to begin, as web servers do; mail servers greet first."
                return MailError(Category.PROTOCOL, sentence, code="protocol-greeting")
            if error.category is not Category.TLS or not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                return MailError(Category.TIMEOUT, "The server accepted the connection and then said nothing.")
        return tls.is_tls(self.server)

    def close(self) -> None:
        """Close the socket; never raises."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # Ends it even where a library still holds a file of the socket.
        with suppress(OSError):
            self.socket.close()


def connect(
    server: Server,
    rules: Rules,
    deadline: Deadline,
    direction: Direction,
    report: Report | None = None,
    *,
    budget: int = BUDGET,
) -> Connection:
    """Dial `server` and return the open connection, encrypted where its TLS mode is implicit.

    Reports the stages dns, tcp and tls. `budget` is how many bytes the server may send in the whole session. Raises
    MailError: config, policy, dns, refused, timeout, network or tls.
    """
    stages = Stages(direction, report)
    with stages.stage(StageName.DNS) as passing:
        _refuse_plaintext(server, rules)
        allowed = _allowed(server, rules, deadline, MAIL_PORTS)
        passing.detail = ", ".join(map(str, allowed[:4]))
        passing.facts = {"addresses": [str(address) for address in allowed[:4]]}
    with stages.stage(StageName.TCP) as passing:
        sock, address = _first_that_answers(allowed, server.port, deadline)
        passing.detail = f"{address}, port {server.port}"
        passing.facts = {"address": str(address)}
    sock.budget = budget
    connection = Connection(sock, address, server, rules, deadline, stages)
    if server.tls_mode is TLSMode.NONE:
        stages.skip(StageName.TLS, "This connection is not encrypted.")
    elif server.tls_mode is TLSMode.IMPLICIT:
        with closed_if_it_fails(connection):
            connection.start_tls()
    return connection


def connect_web(host: str, port: int, rules: Rules, deadline: Deadline, *, budget: int) -> ssl.SSLSocket:
    """Dial the web site `host` and return the encrypted socket, under `deadline` and a `budget` of bytes.

    Raises MailError: config, policy, dns, refused, timeout, network or tls.
    """
    site = tls.Site(host, port)
    plain, _ = _first_that_answers(_allowed(site, rules, deadline, WEB_PORTS), port, deadline)
    plain.deadline, plain.budget = deadline, budget
    with closed_if_it_fails(plain):
        wrapped = _wrapped(plain, site, rules)
    with closed_if_it_fails(wrapped):
        _shake_hands(wrapped, site)
    return wrapped


def _wrapped(plain: _Guarded, peer: tls.Peer, rules: Rules) -> _TLSSocket:
    """The encrypted socket in place of `plain`, before the handshake."""
    context = tls.context(rules.ca_file, peer.trust, _TLSSocket)
    try:
        wrapped = context.wrap_socket(plain, do_handshake_on_connect=False, server_hostname=peer.host)
    except (OSError, ValueError) as error:
        sentence = "The server closed the connection before encryption began."
        raise MailError(Category.TLS, sentence, code="tls-closed") from error
    made = cast(_TLSSocket, wrapped)  # The context makes this class, and the stubs do not know.
    made.deadline, made.budget = plain.deadline, plain.budget
    return made


def _shake_hands(wrapped: _TLSSocket, peer: tls.Peer) -> None:
    """Begin encryption with a `peer` whose certificate is trusted. Raises MailError (tls, timeout)."""
    try:
        wrapped.do_handshake()
    except TimeoutError:
        raise MailError(Category.TIMEOUT, "The server did not answer in time while encryption began.") from None
    except OSError as error:
        raise tls.explain(error, peer, _unverified_chain(wrapped)) from error
    tls.check_pin(peer.trust, wrapped.getpeercert(binary_form=True))


def _refuse_plaintext(server: Server, rules: Rules) -> None:
    if server.tls_mode is TLSMode.NONE and not rules.plaintext:
        raise MailError(
            Category.POLICY,
            "Connections without encryption are not allowed here; choose implicit TLS or STARTTLS, or set "
            "MAILADMIN_ALLOW_PLAINTEXT for the whole installation.",
            code="policy-plaintext",
        )


def _allowed(peer: tls.Peer, rules: Rules, deadline: Deadline, ports: frozenset[int]) -> list[IP]:
    """The addresses of `peer` that may be dialled; every one of them is judged. Raises MailError if there is none."""
    try:
        host, port = check_host(peer.host), check_port(peer.port)
    except ValueError as error:
        raise MailError(Category.CONFIG, str(error)) from error
    allowed, refusals = [], []
    for address in names.addresses(host, rules, deadline):
        try:
            judge(address, port, rules, ports)
            allowed.append(address)
        except MailError as refusal:
            refusals.append(refusal)
    if not allowed:
        raise refusals[0]
    return allowed


def _first_that_answers(allowed: list[IP], port: int, deadline: Deadline) -> tuple[_PlainSocket, IP]:
    """A connected socket to the first address that answers. Raises the MailError of the last one if none does."""
    trouble = MailError(Category.NETWORK, "The server could not be reached.")
    for position, address in enumerate(allowed):
        others = len(allowed) - position - 1
        share = min(CONNECT_SECONDS / 2 if others else CONNECT_SECONDS, deadline.left() / (others + 1))
        sock = _PlainSocket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            sock.settimeout(share)
            sock.connect((str(address), port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            trouble = _unreached(error, port)
            trouble.__cause__ = error
            continue
        return sock, address
    raise trouble


def _unreached(error: OSError, port: int) -> MailError:
    if isinstance(error, ConnectionRefusedError):
        return MailError(Category.REFUSED, f"The machine answers, but nothing listens on port {port}.")
    if isinstance(error, ConnectionError):
        sentence = "The server closed the connection as soon as it was opened."
        return MailError(Category.NETWORK, sentence, code="no-greeting")
    if isinstance(error, TimeoutError):
        return MailError(Category.TIMEOUT, f"The machine did not answer on port {port}; a firewall may be in between.")
    return MailError(Category.NETWORK, "The network has no way to the server.", detail=error.strerror or "")


def _facts(sock: _TLSSocket, trust: Trust) -> dict[str, Any]:
    """What is worth knowing of an encrypted connection."""
    shown = certificates.read(sock.getpeercert(binary_form=True) or b"")
    cipher = sock.cipher()
    return {
        "version": (sock.version() or "").removeprefix("TLSv"),
        "cipher": cipher[0] if cipher else "",
        "certificate": shown,
        "pinned": bool(trust.pin),
    }


def _unverified_chain(sock: ssl.SSLSocket) -> list[bytes]:
    """What the server showed before we refused it, in DER. Before Python 3.13 only the object underneath can tell."""
    try:
        if hasattr(sock, "get_unverified_chain"):
            return [bytes(der) for der in sock.get_unverified_chain()]
        below = cast(Any, sock)._sslobj
        return [one.public_bytes(_DER) for one in below.get_unverified_chain() or ()]
    except (OSError, ValueError, AttributeError):
        return []
