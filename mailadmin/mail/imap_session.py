"""The commands and answers of IMAP over a dialled connection: imaplib, with limits on what a server may send."""

import imaplib
import re
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BufferedReader
from typing import IO, Any, cast

from mailadmin.mail import sasl
from mailadmin.mail.answers import (
    MOST_GREETING_LINES,
    Answers,
    Refused,
    check_silence,
    hung_up,
    nonsense,
    not_begun,
    not_offered,
    stranger,
)
from mailadmin.mail.deadline import Deadline, too_much
from mailadmin.mail.dial import Connection
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.sign_in import Dialogue
from mailadmin.mail.types import ServerProtocol, SignIn, StageName, TLSMode

LONGEST_LINE = 1_000_000
LONGEST_PLAIN_LINE = 16_000  # before STARTTLS, where every byte is read by itself
LONGEST_LIST = 32_000_000  # One SEARCH answer holds every UID of a folder: about eight bytes each.
LONGEST_LITERAL = 4_000_000  # Literals of at most 64 KiB are asked for; some servers ignore how much was asked.
MOST_LINES = 200_000  # in answer to one command
_LONGEST_INITIAL = 8000  # of the 8192 bytes that a command may have (RFC 7162 4)
_GOODBYE_SECONDS = 1.0
_BUFFER = 65_536  # a few records of TLS
_FETCH = re.compile(rb"\* (\d{1,10} )FETCH (?=\()")
_LITERAL = re.compile(rb"\{(\d{1,20})\}$")
_BARE = re.compile(rb"\w+ (OK|NO|BAD)\r\n")


class Session(imaplib.IMAP4):
    """One IMAP session. Its methods raise MailError and OSError and whatever broken answers cause: see `translated`."""

    def __init__(self, connection: Connection, secrets: tuple[str, ...] = ()) -> None:
        self.connection = connection
        self.answers = Answers(connection.server, secrets)
        self._is_plain = connection.server.tls_mode is TLSMode.STARTTLS
        self.longest_line = LONGEST_PLAIN_LINE if self._is_plain else LONGEST_LINE
        self._most_lines = MOST_GREETING_LINES
        self._first_line, self._lines_left = b"", MOST_GREETING_LINES
        self._given_back = b""
        self._ahead: tuple[bytes, tuple[str | bytes, ...]] | None = None
        try:
            super().__init__(connection.server.host, connection.server.port)
        except imaplib.IMAP4.error as error:
            self._check_bye()
            raise stranger(ServerProtocol.IMAP, self._first_line) from error

    def command(self, name: str, *args: str | bytes) -> bytes:
        """Send one command, wait for its end, return the text of the OK; the other answers wait to be taken.

        Raises Refused (a MailError) if the server says NO or BAD.
        """
        try:
            return self._ended(self._begun_ahead(name, *args) or self._command(name, *args))
        except imaplib.IMAP4.error as error:
            raise nonsense(ServerProtocol.IMAP) from error

    def commands(self, asked: Sequence[tuple[str, ...]]) -> list[Refused | None]:
        """Send the commands `asked` at once, and wait for the ends of all; for each whether, and why, it was refused.

        None may need what another brings, and all answers wait to be taken together, in any order. They have to be few
        and short: a server that answers the first before it has read the last would otherwise wait for us for ever.
        """
        found: list[Refused | None] = []
        try:
            self._begun_ahead()
            for tag in [self._command(*each) for each in asked]:
                try:
                    self._ended(tag)
                except Refused as refused:
                    found.append(refused)
                else:
                    found.append(None)
        except imaplib.IMAP4.error as error:
            raise nonsense(ServerProtocol.IMAP) from error
        return found

    def _begun_ahead(self, *wanted: str | bytes) -> bytes | None:
        """The tag of the command `wanted` if it was sent ahead; what else was is read to its end and forgotten."""
        ahead, self._ahead = self._ahead, None
        self._forget_answers()
        if ahead is None or ahead[1] == wanted:
            return ahead[0] if ahead else None
        self._command_complete("", ahead[0])
        self._forget_answers()
        return None

    def _forget_answers(self) -> None:
        """Answers to earlier commands are of no use any more, except that the server says goodbye."""
        self.untagged_responses = {key: data for key, data in self.untagged_responses.items() if key == "BYE"}
        self._lines_left = self._most_lines

    def _ended(self, tag: bytes) -> bytes:
        """The text with which a command ended well. Raises Refused."""
        kind, data = self._command_complete("", tag)
        text = data[-1] if data and isinstance(data[-1], bytes) else b""
        if kind != "OK":
            beside = [*self.take("NO"), *self.take("BAD"), *self.untagged_responses.get("BYE", ())]
            raise self.answers.refused(text, bad=kind == "BAD", beside=beside)
        return text

    def send_ahead(self, name: str, *args: str | bytes) -> None:
        """Send the command that comes next, so that the server works on it meanwhile; `command` then reads the answer.

        If another one comes next after all, the answer is thrown away.
        """
        try:
            self._ahead = (self._command(name, *args), (name, *args))
        except imaplib.IMAP4.error as error:
            raise nonsense(ServerProtocol.IMAP) from error

    def take(self, name: str) -> list[Any]:
        """Return the untagged answers of that name to the last command, and forget them."""
        return self.untagged_responses.pop(name, [])

    def refresh_capabilities(self, *, told: bool = False) -> None:
        """Learn what the server offers (RFC 3501 6.1.1); where it `told` so within its last answer, without asking."""
        offers = self.take("CAPABILITY") if told else []
        if not offers:
            self.command("CAPABILITY")
            offers = self.take("CAPABILITY")
        self.capabilities = (
            tuple(dict.fromkeys(offers[-1].decode("ascii", "replace").upper().split())) if offers else ()
        )

    def authenticate_by(self, exchange: sasl.Exchange, how: SignIn) -> None:
        """Sign in by `exchange` (RFC 3501 6.2.2), its beginning within the command where the server permits (RFC 4959).

        LOGIN (RFC 3501 6.2.3) sends a password beyond ASCII as a literal, for quoted strings have 7 bits.
        """
        dialogue = Dialogue(exchange, self.answers, room=_LONGEST_INITIAL if "SASL-IR" in self.capabilities else 0)
        if exchange.name == sasl.IMAP_LOGIN and how.secret.isascii():
            self.command("LOGIN", quoted(how.username), quoted(how.secret))
        elif exchange.name == sasl.IMAP_LOGIN:
            self.literal_follows(how.secret.encode())
            self.command("LOGIN", quoted(how.username))
        else:
            self.literal_follows(_Conversation(dialogue).give)
            self.command("AUTHENTICATE", *dialogue.command)
        dialogue.finish()
        self.state = "AUTH"
        self._most_lines = MOST_LINES

    def encrypt(self) -> None:
        """STARTTLS (RFC 3501 6.2.1): encrypt, or stop before anything worth stealing is sent.

        Everything that was said before is forgotten, and capabilities are asked for again.
        """
        try:
            self._ask_to_encrypt()
        except MailError:
            with self.connection.stages.stage(StageName.TLS):
                raise
        self.untagged_responses, self.capabilities = {}, ()
        self.longest_line = LONGEST_LINE
        self.sock = self.connection.start_tls()
        self.file = cast(IO[bytes], self.sock.makefile("rb", buffering=_BUFFER))
        self.refresh_capabilities()

    def _ask_to_encrypt(self) -> None:
        if self.state != "NONAUTH":
            # RFC 9051 11.1: PREAUTH makes STARTTLS impossible, so it is what an attacker in the middle would send.
            sentence = "The server skips encryption by saying that we are signed in already; nothing more was sent."
            raise MailError(Category.TLS, sentence, permanent=True, code="tls-preauth")
        if "STARTTLS" not in self.capabilities:
            raise not_offered()
        try:
            self.command("STARTTLS")
        except Refused as refused:
            raise not_begun(refused, permanent=False) from refused
        check_silence(self.connection)

    def say_goodbye(self) -> None:
        """LOGOUT (RFC 3501 6.1.3); what the server answers is of no interest."""
        with suppress(imaplib.IMAP4.error):
            self.logout()

    def let_go(self) -> bytes:
        """Leave the socket to somebody else: what was read from it and not looked at. We read nothing any more."""
        unread = self._given_back
        self.connection.socket.deadline = None  # It would make the socket wait again.
        self.connection.socket.setblocking(False)
        with suppress(ssl.SSLWantReadError, BlockingIOError):
            while chunk := cast(BufferedReader, self.file).read1(_BUFFER):
                unread += chunk
        self.file.close()
        return unread

    def readline(self) -> bytes:
        if self._given_back:
            line, self._given_back = self._given_back, b""
            return line
        try:
            line = cast(bytes, self.file.readline(self.longest_line + 1))
        except (MailError, OSError):
            self._check_bye()
            raise
        self._first_line = self._first_line or line[:200]
        if len(line) < 20 and _BARE.fullmatch(line):
            line = line[:-2] + b" \r\n"  # Some servers leave out the text that belongs there (RFC 3501 7.1).
        self._lines_left -= 1
        if len(line) > self.longest_line or self._lines_left < 0:
            raise too_much()
        if not line.endswith(b"\n"):
            self._check_bye()
            raise hung_up()
        return line

    def read(self, size: int) -> bytes:
        if size > LONGEST_LITERAL:
            raise too_much()
        data = cast(bytes, self.file.read(size))
        if len(data) < size:
            raise hung_up("The server closed the connection in the middle of an answer.")
        return data

    def send(self, data: Any) -> None:
        with suppress(OSError):  # What the server said before it hung up can still be read, and says more.
            self.sock.sendall(data)

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        self.host, self.port = host, port
        self.sock = self.connection.socket
        # Nothing may be read ahead of the handshake: what lies in a buffer would be taken for encrypted later.
        self.file = cast(IO[bytes], self.sock.makefile("rb", buffering=1 if self._is_plain else _BUFFER))

    def literal_follows(self, literal: bytes | Callable[[bytes], bytes]) -> None:
        """Let the next command end with `literal`: bytes, or a method that answers a challenge."""
        self.literal = cast(Any, literal)

    def _get_capabilities(self) -> None:
        self.refresh_capabilities()

    def _get_response(self) -> Any:
        """Like imaplib's, with a short way for FETCH (RFC 3501 7.4.2), of which there are more than of all others."""
        line = self.readline()
        match = _FETCH.match(line)
        if match is None or not line.endswith(b"\r\n"):
            self._given_back = line
            return super()._get_response()  # type: ignore[misc]
        found: list[Any] = self.untagged_responses.setdefault("FETCH", [])
        said = match[1] + line[match.end() : -2]
        while said.endswith(b"}") and (literal := _LITERAL.search(said)):
            found.append((said, self.read(int(literal[1]))))
            said = self.readline()[:-2]
        found.append(said)
        return said

    def _command_complete(self, name: str, tag: bytes) -> tuple[str, list[Any]]:
        """Like imaplib's, but BAD is an answer as good as NO, and the answer counts even after a BYE."""
        while (result := self.tagged_commands[tag]) is None:
            self._get_response()
        del self.tagged_commands[tag]
        return cast(tuple[str, list[Any]], result)

    def _append_untagged(self, typ: str, dat: Any) -> None:
        if typ == "BYE" and "BYE" not in self.untagged_responses:
            # The answer to the command may still come, but not for long.
            self.connection.deadline = Deadline(min(_GOODBYE_SECONDS, self.connection.deadline.left()))
        self.untagged_responses.setdefault(typ, []).append(b"" if dat is None else dat)

    def _check_bye(self) -> None:
        if bye := self.untagged_responses.get("BYE"):
            raise self.answers.farewell(bye[-1])

    def _log(self, line: object) -> None:
        """Keep nothing: imaplib would hold the last ten lines, passwords too."""


class _Conversation:
    """Answers the challenges of a server; once there is nothing left to say it gives up (RFC 3501 6.2.2)."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue

    def give(self, challenge: bytes) -> bytes:
        said = self._dialogue.answer(challenge or b"")
        return b"*" if said is None else said.encode()


def quoted(text: str | bytes) -> bytes:
    """Return `text` as a quoted string (RFC 3501 4.3); the caller has refused CR, LF and NUL."""
    raw = text.encode() if isinstance(text, str) else text
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
