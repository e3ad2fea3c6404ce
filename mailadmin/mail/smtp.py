"""Signs in to a server that sends mail (RFC 5321, RFC 6409), and sends nothing through it."""

import ipaddress
import smtplib
import ssl
from contextlib import suppress
from typing import Any, cast

from mailadmin.mail import dial
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.sasl import encoded, login, plain
from mailadmin.mail.smtp_errors import nonsense, refusal, translated
from mailadmin.mail.types import Direction, Password, Report, Rules, Server, StageName, TLSMode

_BUDGET = 1_000_000  # Greeting, EHLO and sign-in are a few hundred bytes.


def open_smtp(server: Server, rules: Rules, deadline: Deadline, report: Report | None = None) -> "Smtp":
    """Connect to `server` and return the greeted session, encrypted as its TLS mode says, not yet signed in.

    Reports the stages dns, tcp, tls and greeting (with STARTTLS the greeting comes before tls). Raises MailError.
    """
    connection = dial.connect(server, rules, deadline, Direction.OUTGOING, report, budget=_BUDGET)
    try:
        with connection.stages.stage(StageName.GREETING), translated():
            if server.tls_mode is not TLSMode.IMPLICIT:
                connection.expect_plain_greeting()
            session = _Session(connection)
            session.greet()
        if server.tls_mode is TLSMode.STARTTLS:
            with translated():
                _start_tls(session)
        return Smtp(connection, session)
    except MailError:
        connection.close()
        raise


def _start_tls(session: "_Session") -> None:
    """Encrypt, or stop before anything worth stealing is sent; then everything said before is forgotten (RFC 3207)."""
    if not session.has_extn("starttls"):
        sentence = "The server does not offer STARTTLS on this port, so nothing more was sent; try implicit TLS."
        raise MailError(Category.UNSUPPORTED, sentence)
    session.starttls(context=cast(ssl.SSLContext, _Handshake(session.connection)))
    session.say_hello()


class _Session(smtplib.SMTP):
    """smtplib on top of a connection that is already open."""

    def __init__(self, connection: dial.Connection) -> None:
        self.connection = connection
        super().__init__(local_hostname=_own_name(connection))

    def greet(self) -> None:
        """Read the greeting and say EHLO (RFC 5321 4.1.1.1)."""
        code, text = self.connect(self.connection.server.host, self.connection.server.port)
        if code != 220:
            raise refusal(code, text)
        self.say_hello()

    def say_hello(self) -> None:
        """Say EHLO, or HELO to servers that know no extensions; those cannot sign anybody in, and are told so later."""
        code, text = self.ehlo()
        if code == -1:
            raise nonsense()
        if code == 421:
            raise refusal(code, text)
        if code != 250:
            code, text = self.helo()
            if code != 250:
                raise refusal(code, text)

    def _get_socket(self, host: str, port: int, timeout: float | None) -> Any:
        return self.connection.socket


class _Handshake:
    """Stands where smtplib expects an SSLContext, so that the handshake is dial's and smtplib starts a fresh buffer."""

    def __init__(self, connection: dial.Connection) -> None:
        self._connection = connection

    def wrap_socket(self, sock: object, server_hostname: str | None) -> Any:
        return self._connection.start_tls()


class Smtp:
    """A greeted SMTP session; implements `Outgoing`. Not for use by two threads at once."""

    def __init__(self, connection: dial.Connection, session: _Session) -> None:
        self._connection = connection
        self._session = session

    @property
    def deadline(self) -> Deadline:
        """By when the conversation must be over."""
        return self._connection.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._connection.deadline = deadline

    def sign_in(self, how: Password) -> None:
        """Sign in once (RFC 4954): AUTH PLAIN where offered, else AUTH LOGIN. Raises MailError.

        A refusal is never followed by another mechanism with the same password.
        """
        with self._connection.stages.stage(StageName.SIGN_IN) as passing:
            user, password = dial.guard(how.username, "user name"), dial.guard(how.password, "password")
            mechanisms = self._session.esmtp_features.get("auth", "").upper().split()
            with translated():
                if "PLAIN" in mechanisms:
                    passing.detail = "AUTH PLAIN"
                    code, text = self._plain(user, password)
                elif "LOGIN" in mechanisms:
                    passing.detail = "AUTH LOGIN"
                    code, text = self._login(user, password)
                elif mechanisms:
                    sentence = "The server does not accept passwords; it wants another way of signing in."
                    raise MailError(Category.UNSUPPORTED, sentence)
                else:
                    sentence = "The server offers no sign-in on this port; mail programs usually use port 465 or 587."
                    raise MailError(Category.UNSUPPORTED, sentence)
            if code != 235:
                raise refusal(code, text, (password,))

    def _plain(self, user: str, password: str) -> tuple[int, bytes]:
        answer = encoded(plain(user, password))
        code, text = self._session.docmd("AUTH", f"PLAIN {answer}")
        return self._session.docmd(answer) if code == 334 else (code, text)

    def _login(self, user: str, password: str) -> tuple[int, bytes]:
        code, text = self._session.docmd("AUTH", "LOGIN")
        for answer in login(user, password):
            if code != 334:
                break
            code, text = self._session.docmd(encoded(answer))
        return code, text

    def close(self) -> None:
        """End the session; never raises, and waits at most a second for the server's goodbye."""
        with suppress(MailError), translated():
            self.deadline = Deadline(min(1.0, self.deadline.left()))
            self._session.quit()
        self._connection.close()


def _own_name(connection: dial.Connection) -> str:
    """How we introduce ourselves: an address literal (RFC 5321 4.1.3), for looking up our own name may take minutes."""
    own = ipaddress.ip_address(str(connection.socket.getsockname()[0]).partition("%")[0])
    return f"[{own}]" if own.version == 4 else f"[IPv6:{own}]"
