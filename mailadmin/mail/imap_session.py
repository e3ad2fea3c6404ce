"""The commands and answers of IMAP over a dialled connection: imaplib, with limits on what a server may send."""

import imaplib
from typing import Any, cast

from mailadmin.mail.dial import Connection
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap_errors import bad_answer, farewell, refusal
from mailadmin.mail.sasl import encoded

LONGEST_LINE = 1_000_000
LONGEST_LIST = 32_000_000  # One SEARCH answer holds every UID of a folder: about eight bytes each.
LONGEST_LITERAL = 4_000_000  # Literals of at most 64 KiB are asked for; some servers ignore how much was asked.


class Session(imaplib.IMAP4):
    """One IMAP session. Its methods raise MailError, imaplib's errors and OSError: call them inside `translated`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.longest_line = LONGEST_LINE
        self.secrets: tuple[str, ...] = ()
        super().__init__(connection.server.host, connection.server.port)

    def command(self, name: str, *args: str | bytes, signing_in: bool = False) -> bytes:
        """Send one command, wait for its end, return the text of the OK; the other answers wait to be taken.

        Raises Refused (a MailError) if the server says NO.
        """
        # Answers to earlier commands are of no use any more, except that the server says goodbye.
        bye = self.untagged_responses.get("BYE")
        self.untagged_responses.clear()
        if bye:
            self.untagged_responses["BYE"] = bye
        try:
            kind, data = self._simple_command(name, *args)
        except imaplib.IMAP4.error as error:
            if (said := bad_answer(error)) is None:
                raise
            raise refusal(said, signing_in=signing_in, secrets=self.secrets) from error
        text = data[-1] if data and isinstance(data[-1], bytes) else b""
        if kind != "OK":
            raise refusal(text, signing_in=signing_in, secrets=self.secrets)
        return text

    def take(self, name: str) -> list[Any]:
        """Return the untagged answers of that name to the last command, and forget them."""
        return self.untagged_responses.pop(name, [])

    def authenticate_plain(self, payload: bytes, *, initial: bool) -> None:
        """AUTHENTICATE PLAIN (RFC 3501 6.2.2), the payload within the command where `initial` (RFC 4959)."""
        answer = encoded(payload)
        if initial:
            self.command("AUTHENTICATE", "PLAIN", answer, signing_in=True)
        else:
            self._literal(_Once(answer).give)
            self.command("AUTHENTICATE", "PLAIN", signing_in=True)
        self.state = "AUTH"

    def log_in(self, username: str, password: str) -> None:
        """LOGIN (RFC 3501 6.2.3); a password beyond ASCII goes as a literal, for quoted strings have 7 bits."""
        if password.isascii():
            self.command("LOGIN", quoted(username), quoted(password), signing_in=True)
        else:
            self._literal(password.encode())
            self.command("LOGIN", quoted(username), signing_in=True)
        self.state = "AUTH"

    def encrypt(self) -> None:
        """STARTTLS (RFC 3501 6.2.1): encrypt, forget everything that was said before, ask for capabilities again."""
        self.starttls(ssl_context=_Handshake(self))

    def readline(self) -> bytes:
        line = cast(bytes, self.file.readline(self.longest_line + 1))
        if not line:
            self._check_bye()
            raise MailError(Category.NETWORK, "The server closed the connection.")
        if len(line) > self.longest_line:
            raise MailError(Category.PROTOCOL, "The server sent a line that is longer than any answer should be.")
        return line

    def read(self, size: int) -> bytes:
        if size > LONGEST_LITERAL:
            raise MailError(Category.PROTOCOL, "The server sent far more than was asked for.")
        data = cast(bytes, self.file.read(size))
        if len(data) < size:
            raise MailError(Category.NETWORK, "The server closed the connection in the middle of an answer.")
        return data

    def _literal(self, literal: Any) -> None:
        """Let the next command end with `literal`: bytes, or a method that answers a challenge."""
        self.literal = literal

    def _create_socket(self, timeout: float | None = None) -> Any:
        return self.connection.socket

    def _check_bye(self) -> None:
        if bye := self.untagged_responses.get("BYE"):
            raise farewell(bye[-1], self.secrets)

    def _log(self, line: object) -> None:
        """Keep nothing: imaplib would hold the last ten lines, passwords too."""


class _Once:
    """Answers the first challenge of a server, and cancels (RFC 3501 6.2.2) should it ask again."""

    def __init__(self, answer: str) -> None:
        self._answers = [b"*", answer.encode("ascii")]

    def give(self, challenge: bytes) -> bytes:
        return self._answers.pop() if len(self._answers) > 1 else self._answers[0]


class _Handshake:
    """Stands where imaplib expects an SSLContext, so that the handshake is dial's and imaplib starts a fresh buffer."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def wrap_socket(self, sock: object, server_hostname: str) -> Any:
        self._session.untagged_responses.clear()
        return self._session.connection.start_tls()


def quoted(text: str | bytes) -> bytes:
    """Return `text` as a quoted string (RFC 3501 4.3); the caller has refused CR, LF and NUL."""
    raw = text.encode() if isinstance(text, str) else text
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
