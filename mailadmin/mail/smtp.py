"""Signs in to a server that sends mail (RFC 5321, RFC 6409), and sends a message through it when asked to."""

import ipaddress
import re
import smtplib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from copy import copy
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, cast

from mailadmin.mail import dial, sasl, sign_in
from mailadmin.mail.answers import (
    MOST_GREETING_LINES,
    Answers,
    broken,
    check_silence,
    nonsense,
    not_begun,
    not_offered,
    stranger,
    translated,
)
from mailadmin.mail.deadline import Deadline, too_much
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import Direction, Report, Rules, Server, ServerProtocol, SignIn, StageName, TLSMode

ANSWER_SECONDS = 600.0  # that a server may take to answer the end of a message (RFC 5321 4.5.3.2.6)
BUDGET = 1_000_000  # Greeting, EHLO and sign-in are a few hundred bytes.
_LONGEST_LINE = 8192
_LONGEST_INITIAL = 480  # of the 512 bytes that a command may have (RFC 4954 4)
_TELLING = ("SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "PIPELINING")
_UNANSWERED = "The server did not say whether it has taken the message."
_NOT_NOW = frozenset({Category.THROTTLED, Category.UNAVAILABLE})
_REPLY = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\r?\n", re.DOTALL)
# What programs that are no mail servers say to EHLO and HELO; FTP for one begins with 220 as well.
_UNKNOWN_COMMAND = frozenset({500, 502, 530})


class Unanswered(MailError):
    """The server has the whole message and did not say whether it takes it: it may arrive or not (RFC 1047)."""


class RecipientsRefused(MailError):
    """The server does not take some of the recipients, so nothing was sent to anybody.

    `refused` says of each why; `permanent` is whether any of them has to be changed.
    """

    def __init__(self, refused: Sequence[tuple[str, MailError]]) -> None:
        worst = next((error for _, error in refused if error.permanent), refused[0][1])
        super().__init__(worst.category, worst.message, detail=worst.detail, permanent=worst.permanent, code=worst.code)
        self.refused = refused


def open_smtp(
    server: Server,
    rules: Rules,
    deadline: Deadline,
    report: Report | None = None,
    *,
    budget: int = BUDGET,
    secrets: tuple[str, ...] = (),
) -> "Smtp":
    """Connect to `server` and return the greeted session, encrypted as its TLS mode says, not yet signed in.

    Reports the stages dns, tcp, tls and greeting (with STARTTLS the greeting comes before tls). `budget` is how many
    bytes the server may send in all, `secrets` never show in what it says (see `sasl.forms`). Raises MailError.
    """
    connection = dial.connect(server, rules, deadline, Direction.OUTGOING, report, budget=budget)
    try:
        with connection.stages.stage(StageName.GREETING) as passing, _translated():
            if server.tls_mode is not TLSMode.IMPLICIT:
                connection.expect_plain_greeting()
            session = _Session(connection, secrets)
            passing.facts = {"text": session.greet()}
        if server.tls_mode is TLSMode.STARTTLS:
            with _translated():
                session.encrypt()
        return Smtp(connection, session)
    except MailError:
        connection.close()
        raise


def _translated() -> AbstractContextManager[None]:
    return translated(ServerProtocol.SMTP)


class _Session(smtplib.SMTP):
    """smtplib on top of a connection that is already open, with limits on what a server may send."""

    def __init__(self, connection: dial.Connection, secrets: tuple[str, ...]) -> None:
        self.connection = connection
        self.answers = Answers(connection.server, secrets)
        self._first_line = b""
        self.is_within_message = False
        self._may_read_ahead = connection.server.tls_mode is not TLSMode.STARTTLS
        super().__init__(local_hostname=_own_name(connection))

    def greet(self) -> str:
        """Read the greeting, say EHLO (RFC 5321 4.1.1.1), and return the greeting, scrubbed."""
        number, text = self.connect(self.connection.server.host, self.connection.server.port)
        if number == -1:
            raise stranger(ServerProtocol.SMTP, self._first_line)
        if number != 220:
            raise self.answers.reply(number, text)
        self.say_hello()
        return scrub(b"220 " + text, self.answers.secrets)

    def say_hello(self) -> None:
        """Say EHLO, or HELO to servers that know no extensions; those cannot sign anybody in, and are told so later."""
        number, text = self.ehlo()
        if number not in (-1, 250, 421):
            number, text = self.helo()
        if number in _UNKNOWN_COMMAND:
            raise nonsense(ServerProtocol.SMTP)
        if number != 250:
            raise self.answers.reply(number, text)

    def encrypt(self) -> None:
        """STARTTLS (RFC 3207): encrypt, or stop before anything worth stealing is sent.

        Everything that was said before is forgotten, and EHLO is said again.
        """
        try:
            self._ask_to_encrypt()
        except MailError:
            with self.connection.stages.stage(StageName.TLS):
                raise
        self.sock = self.connection.start_tls()
        self.file, self._may_read_ahead = None, True
        self.ehlo_resp = self.helo_resp = None
        self.esmtp_features, self.does_esmtp = {}, False
        self.say_hello()

    def _ask_to_encrypt(self) -> None:
        if not self.has_extn("starttls"):
            raise not_offered()
        number, text = self.docmd("STARTTLS")
        if number != 220:
            raise not_begun(self.answers.reply(number, text), permanent=number >= 500)
        check_silence(self.connection)

    def authenticate_by(self, exchange: sasl.Exchange) -> None:
        """AUTH (RFC 4954), with its beginning within the command where that is short enough."""
        dialogue = sign_in.Dialogue(exchange, self.answers, room=_LONGEST_INITIAL)
        number, text = self.docmd("AUTH", " ".join(dialogue.command))
        while number == 334:
            said = dialogue.answer(text)
            number, text = self.docmd("*" if said is None else said)
        if number != 235:
            raise self.answers.reply(number, text)
        dialogue.finish()

    def ask(self, command: str, *, beyond_ascii: bool = False) -> None:
        """Say one command of sending a message. Raises MailError unless the server agrees."""
        self.command_encoding = "utf-8" if beyond_ascii else "ascii"
        number, text = self.docmd(command)
        if not 200 <= number <= 299 and not (number == 354 and command == "data"):
            raise self.refusal(number, text)

    def refusal(self, number: int, text: bytes) -> MailError:
        """What a reply means that refuses a message: 4 is for now, 5 for good, unless it says "not now" in words."""
        error = self.answers.reply(number, text)
        if 400 <= number <= 599:
            error.permanent = number >= 500 and error.category not in _NOT_NOW
        return error

    def hand_over(self, content: Iterable[bytes]) -> None:
        """DATA, and `content` but for the final dot (RFC 5321 4.5.2). Raises MailError if the connection breaks."""
        self.ask("data")
        self.is_within_message = True  # Whatever else was said before the dot would be part of the message.
        assert self.sock is not None
        try:
            for piece in _stuffed(content):
                self.sock.sendall(piece)
        except OSError as error:
            with suppress(smtplib.SMTPException):  # What the server said before it hung up says more.
                number, text = self.getreply()
                if 400 <= number <= 599:
                    raise self.refusal(number, text) from error
            raise broken(error) from error

    def end_message(self) -> None:
        """Send the final dot and read the answer. Raises Unanswered if there is none, otherwise MailError."""
        assert self.sock is not None
        try:
            self.sock.sendall(b".\r\n")
        except OSError as error:  # Not all of these bytes are on their way, so nobody can have taken the message.
            raise broken(error) from error
        try:
            number, text = self.getreply()
        except (MailError, OSError) as error:
            raise Unanswered(Category.TIMEOUT, _UNANSWERED, permanent=False) from error
        self.is_within_message = False
        if 400 <= number <= 599:
            raise self.refusal(number, text)
        if not 200 <= number <= 299:
            raise Unanswered(Category.PROTOCOL, _UNANSWERED, permanent=False)

    def send(self, s: Any) -> None:
        """Send what smtplib wants to, text or bytes."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("closed")
        with suppress(OSError):  # What the server said before it hung up can still be read, and says more.
            self.sock.sendall(s.encode(self.command_encoding) if isinstance(s, str) else s)

    def getreply(self) -> tuple[int, bytes]:
        """One reply (RFC 5321 4.2): its number, -1 if it is none, and its lines."""
        lines: list[bytes] = []
        while len(lines) < MOST_GREETING_LINES:
            match = _REPLY.fullmatch(self._line())
            if match is None:
                return -1, b"not a reply"  # An empty one means for smtplib that nobody is there.
            lines.append((match[3] or b"").strip())
            if match[2] != b"-":
                return int(match[1]), b"\n".join(lines)
        raise too_much()

    def _line(self) -> bytes:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("closed")
        if self.file is None:
            # Nothing may be read ahead of the handshake: what lies in a buffer would be taken for encrypted later.
            self.file = self.sock.makefile("rb", buffering=-1 if self._may_read_ahead else 1)
        try:
            line = cast(bytes, self.file.readline(_LONGEST_LINE + 1))
        except OSError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected("broken") from error  # The only end that smtplib reckons with.
        self._first_line = self._first_line or line[:200]
        if len(line) > _LONGEST_LINE:
            raise too_much()
        if not line.endswith(b"\n"):
            self.close()
            raise smtplib.SMTPServerDisconnected("closed")
        return line

    def _get_socket(self, host: str, port: int, timeout: float | None) -> Any:
        return self.connection.socket


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

    def sign_in(self, how: SignIn) -> None:
        """Sign in once (RFC 4954), by the best way that both sides have. Raises MailError.

        A refusal is never followed by another mechanism with the same secret.
        """
        with self._connection.stages.stage(StageName.SIGN_IN) as passing:
            exchange = self._best(how)
            passing.detail = f"AUTH {exchange.name}"
            offers = [name for name in _TELLING if self._session.has_extn(name)]
            passing.facts = {"mechanism": exchange.name, "capabilities": offers}
            self._session.answers.expect(how)
            with _translated():
                self._session.authenticate_by(exchange)

    def _best(self, how: SignIn) -> sasl.Exchange:
        ways = self._session.esmtp_features.get("auth", "").upper().split()
        if not ways:
            sentence = "The server offers no sign-in on this port; mail programs usually use port 465 or 587."
            raise MailError(Category.UNSUPPORTED, sentence, code="unsupported-no-sign-in")
        return sign_in.choose(ways, how, self._connection.server, said=["AUTH", *ways])

    def send(self, message: EmailMessage, sender: str, recipient: str) -> None:
        """Send `message` to `recipient` and to nobody else, whatever its header says. Raises MailError.

        Addresses beyond ASCII need a server with SMTPUTF8 (RFC 6531).
        """
        shown = copy(message)
        del shown["Bcc"]
        has_eight = self._session.has_extn("8bitmime")
        policy = SMTP.clone(cte_type="8bit" if has_eight else "7bit", utf8=not (sender + recipient).isascii())
        raw = shown.as_bytes(policy=policy)
        self.deliver([raw], size=len(raw), sender=sender, recipients=[recipient], seconds=self.deadline.left())

    def deliver(
        self,
        content: Iterable[bytes],
        *,
        size: int,
        sender: str,
        recipients: Sequence[str],
        beyond_ascii: bool = False,
        before_end: Callable[[], None] = lambda: None,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        """Send a message of `size` bytes to all `recipients`, or to none of them; then another one can follow.

        `content` has CRLF and lines of at most 998 bytes, and seven bits where the server has no 8BITMIME.
        `beyond_ascii`: its header has letters beyond ASCII, which takes a server with SMTPUTF8 (RFC 6531), as such
        addresses here do.
        `before_end` is called when the server has everything but the final dot, without which it must not take the
        message: what it raises is raised, and the connection is closed. The answer is awaited for `seconds`.

        Raises RecipientsRefused if one is refused, Unanswered if the answer to the final dot does not come, and any
        other MailError where the server has certainly not taken the message.
        """
        sender, recipients = _address(sender), [_address(recipient) for recipient in recipients]
        with _translated():
            self._introduce(sender, recipients, size, beyond_ascii=beyond_ascii)
            self._session.hand_over(content)
        before_end()
        self.deadline = Deadline(seconds)
        with _translated():
            self._session.end_message()

    def _introduce(self, sender: str, recipients: Sequence[str], size: int, *, beyond_ascii: bool) -> None:
        """MAIL and RCPT; who is refused is asked about to the last, so that a person learns of all at once."""
        session = self._session
        options = self._options(size, beyond_ascii=beyond_ascii or not "".join((sender, *recipients)).isascii())
        session.ask(" ".join([f"mail FROM:<{sender}>", *options]), beyond_ascii="SMTPUTF8" in options)
        refused: list[tuple[str, MailError]] = []
        for recipient in recipients:
            try:
                session.ask(f"rcpt TO:<{recipient}>", beyond_ascii="SMTPUTF8" in options)
            except MailError as error:
                if not error.detail or error.detail.startswith("421"):  # The connection ends, whoever is asked about.
                    raise
                refused.append((recipient, error))
        if refused:
            self.reset()
            raise RecipientsRefused(refused)

    def _options(self, size: int, *, beyond_ascii: bool) -> list[str]:
        session = self._session
        options = ["BODY=8BITMIME"] if session.has_extn("8bitmime") else []  # RFC 6152; seven bits are no other.
        if beyond_ascii:
            if not session.has_extn("smtputf8"):
                sentence = "The server takes no addresses with letters beyond A to Z."
                raise MailError(Category.UNSUPPORTED, sentence, code="unsupported-letters")
            options.append("SMTPUTF8")
        if session.has_extn("size"):  # RFC 1870
            most = session.esmtp_features["size"].strip()
            if most.isdecimal() and 0 < int(most) < size:
                sentence = f"The server takes messages up to {int(most) // 1000:,} KB; this one has {size // 1000:,}."
                raise MailError(Category.POLICY, sentence)
            options.append(f"SIZE={size}")
        return options

    def reset(self) -> None:
        """Let the server forget a message that it was told of (RFC 5321 4.1.1.5). Never raises."""
        with suppress(MailError), _translated():
            self._session.ask("rset")

    def close(self) -> None:
        """End the session; never raises, and waits at most a second for the server's goodbye."""
        if not self._session.is_within_message:
            with suppress(MailError), _translated():
                self.deadline = Deadline(min(1.0, self.deadline.left()))
                self._session.quit()
        self._connection.close()


def _stuffed(content: Iterable[bytes]) -> Iterator[bytes]:
    """`content` with the dots at the beginning of lines doubled (RFC 5321 4.5.2), and a line end at its end."""
    last = b"\r\n"
    for piece in content:
        if piece:
            first = b"." if last.endswith(b"\n") and piece.startswith(b".") else b""
            yield first + piece.replace(b"\n.", b"\n..")
            last = (last + piece)[-2:]
    if last != b"\r\n":
        yield b"\r\n"


def _address(address: str) -> str:
    """`address` if it can be put between the angle brackets of a command. Raises MailError (config)."""
    if any(c in dial.guard(address, "address") for c in "<> \t"):
        raise MailError(Category.CONFIG, "The address contains a character that cannot be sent.")
    return address


def _own_name(connection: dial.Connection) -> str:
    """How we introduce ourselves: an address literal (RFC 5321 4.1.3), for looking up our own name may take minutes."""
    own = ipaddress.ip_address(str(connection.socket.getsockname()[0]).partition("%")[0])
    return f"[{own}]" if own.version == 4 else f"[IPv6:{own}]"
