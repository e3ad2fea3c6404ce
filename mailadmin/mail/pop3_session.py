"""The commands and answers of POP3 (RFC 1939) over a dialled connection, with limits on what a server may send.

A line ends with CRLF, and an answer of many lines with a line that is nothing but a dot. What a message holds decides
neither: an LF alone ends no line, so that a letter with a dot between two of them cannot end its own answer, and have
its next words taken for the server's. Only a server that ends its own words with LF alone is taken at that.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from mailadmin.mail import sasl
from mailadmin.mail.answers import Answers, Refused, check_silence, hung_up, nonsense, not_begun, not_offered, stranger
from mailadmin.mail.deadline import too_much
from mailadmin.mail.dial import Connection
from mailadmin.mail.errors import MailError
from mailadmin.mail.sign_in import Dialogue
from mailadmin.mail.types import ServerProtocol, SignIn, StageName, TLSMode

LONGEST_LINE = 8192  # of the server's own words; RFC 2449 4 allows 512 bytes
LONGEST_PIECE = 65_536  # of a line within a message
LONGEST_HEADER = 65_536
MOST_CAPABILITIES = 500
MOST_MESSAGES = 500_000  # in one mailbox, whose every message has a line in each of two answers
_STATUS = re.compile(rb"(\+OK|-ERR)(?:[ \t]+(.*?))?[ \t]*\r?\n", re.DOTALL | re.IGNORECASE)
_CHALLENGE = re.compile(rb"\+(?: (.*))?\r?\n", re.DOTALL)


class Session:
    """One POP3 session. Its methods raise MailError and OSError and whatever broken answers cause: see `translated`.

    `capabilities` are what the server said last (RFC 2449), by name in upper case with their arguments.
    """

    def __init__(self, connection: Connection, secrets: tuple[str, ...] = ()) -> None:
        self.connection = connection
        self.answers = Answers(connection.server, secrets)
        self.capabilities: dict[str, tuple[str, ...]] = {}
        # Nothing may be read ahead of the handshake: what lies in a buffer would be taken for encrypted later.
        self._file = self._opened(buffered=connection.server.tls_mode is not TLSMode.STARTTLS)
        self._has_bare_ends = False

    def greet(self) -> bytes:
        """Read the greeting and return its text."""
        line = self._line()
        match = _STATUS.fullmatch(line)
        if match is None:
            raise stranger(ServerProtocol.POP3, line)
        if match[1].upper() == b"+OK":
            return match[2] or b""
        raise self.answers.farewell(match[2] or b"")

    def refresh_capabilities(self) -> None:
        """Ask what the server offers (RFC 2449 5); one that does not know the question offers what it did before."""
        try:
            self.command("CAPA")
        except Refused:
            return
        told: dict[str, tuple[str, ...]] = {}
        for line in self.lines(MOST_CAPABILITIES):
            name, *words = line.decode("ascii", "replace").upper().split() or [""]
            told[name] = (*told.get(name, ()), *words)
        self.capabilities = told

    def encrypt(self) -> None:
        """STLS (RFC 2595 4): encrypt, or stop before anything worth stealing is sent.

        Everything that was said before is forgotten, and capabilities are asked for again.
        """
        try:
            self._ask_to_encrypt()
        except MailError:
            with self.connection.stages.stage(StageName.TLS):
                raise
        self.capabilities = {}
        self.connection.start_tls()
        self._file = self._opened(buffered=True)
        self.refresh_capabilities()

    def _ask_to_encrypt(self) -> None:
        if "STLS" not in self.capabilities:
            raise not_offered()
        try:
            self.command("STLS")
        except Refused as refused:
            raise not_begun(refused, permanent=False) from refused
        check_silence(self.connection)

    def authenticate_by(self, exchange: sasl.Exchange, how: SignIn) -> None:
        """Sign in by `exchange`: AUTH (RFC 5034), or USER and PASS (RFC 1939 7)."""
        dialogue = Dialogue(exchange, self.answers)
        if exchange.name == sasl.POP3_USER:
            self.command("USER", how.username)
            self.command("PASS", how.secret)
        else:
            self._converse(dialogue)
        dialogue.finish()

    def _converse(self, dialogue: Dialogue) -> None:
        """AUTH without an initial response; `*` gives up.

        Servers older than RFC 5034 know none, a token is longer than a command may be (RFC 2449 4: 255 bytes), and
        Microsoft ends the session over one.
        """
        self.send("AUTH", *dialogue.command)
        line = self._line()
        while match := _CHALLENGE.fullmatch(line):
            said = dialogue.answer(match[1] or b"")
            self.send("*" if said is None else said)
            if said is None and not self.answers.challenge:
                raise nonsense(ServerProtocol.POP3)  # Whatever comes now says nothing about the password.
            line = self._line()
        self._status(line)

    def command(self, *words: str) -> bytes:
        """Send one command and return the text of +OK. Raises Refused (a MailError) for -ERR."""
        self.send(*words)
        return self.status()

    def send(self, *words: str) -> None:
        """Send a command, or several with CRLF between; the caller has refused CR, LF and NUL in what people typed."""
        with suppress(OSError):  # What the server said before it hung up can still be read, and says more.
            self.connection.socket.sendall(" ".join(words).encode() + b"\r\n")

    def status(self) -> bytes:
        """Read the status line of an answer; return the text of +OK. Raises Refused for -ERR."""
        return self._status(self._line())

    def _status(self, line: bytes) -> bytes:
        match = _STATUS.fullmatch(line)
        if match is None:
            raise nonsense(ServerProtocol.POP3)
        text = match[2] or b""
        if match[1].upper() != b"+OK":
            raise self.answers.refused(text)
        return text

    def lines(self, most: int) -> Iterator[bytes]:
        """The lines of an answer, at most `most`, without their ends; to be read to the last one."""
        for count, (is_begin, piece) in enumerate(self._pieces(LONGEST_LINE), 1):
            if not is_begin or count > most:
                raise too_much()
            yield piece.rstrip(b"\r\n")

    def header(self) -> bytes:
        """The first 64 KiB of the header of the message that is the answer; all the rest is read and dropped."""
        kept, is_header = bytearray(), True
        for is_begin, piece in self._pieces(LONGEST_PIECE):
            is_header = is_header and not (is_begin and piece in (b"\r\n", b"\n"))
            if is_header and len(kept) < LONGEST_HEADER:
                kept += piece
        return bytes(kept[:LONGEST_HEADER])

    def message(self, most: int) -> bytes:
        """The first `most` bytes of the message that is the answer; all the rest is read and dropped."""
        kept = bytearray()
        for _, piece in self._pieces(LONGEST_PIECE):
            if len(kept) < most:
                kept += piece
        return bytes(kept[:most])

    def _pieces(self, longest: int) -> Iterator[tuple[bool, bytes]]:
        """The answer up to its end (RFC 1939 3), line by line, long lines in pieces of at most `longest` bytes.

        Beside each piece stands whether a line begins with it; the dot before a dot is taken away.
        """
        end = b".\n" if self._has_bare_ends else b".\r\n"
        tail, is_begin, follows_end = b"\n", True, True
        while piece := self._file.readline(longest):
            if follows_end and piece == end:
                return
            tail = (tail + piece[-2:])[-2:]
            yield is_begin, piece[1:] if follows_end and piece.startswith(b".") else piece
            is_begin = tail.endswith(b"\n")
            follows_end = tail == b"\r\n" or (is_begin and self._has_bare_ends)
        raise hung_up("The server closed the connection in the middle of an answer.")

    def _line(self) -> bytes:
        line = self._file.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise too_much()
        if not line.endswith(b"\n"):
            raise hung_up()
        self._has_bare_ends = not line.endswith(b"\r\n")
        return line

    def _opened(self, *, buffered: bool) -> BinaryIO:
        return self.connection.socket.makefile("rb", buffering=-1 if buffered else 1)
