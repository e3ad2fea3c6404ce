"""Reads mail over POP3 (RFC 1939), which knows one folder, no flags and no dates, without leaving a trace.

The maildrop stands still from sign-in to QUIT, and many servers let nobody else in meanwhile: sessions are to be short.
The numbers of messages hold for one session; a name (UIDL) holds for ever, as far as the server keeps its promise. So
the UIDs that come from here are numbers of this session, which its UIDVALIDITY of 0 says; who wants to know a message
again goes by `names`. Nothing is ever deleted: there is no DELE in here. Headers are read with TOP, which unlike RETR
marks nothing as read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, date, datetime

from mailadmin.mail import dial, sasl, sign_in
from mailadmin.mail.answers import Refused, nonsense, translated
from mailadmin.mail.deadline import Deadline, too_much
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.headers import read_heading
from mailadmin.mail.pop3_lists import read_listing, read_names, read_stat
from mailadmin.mail.pop3_session import MOST_MESSAGES, Session
from mailadmin.mail.pop3_text import Whole
from mailadmin.mail.scrub import scrub
from mailadmin.mail.types import (
    Direction,
    Envelope,
    Folder,
    FolderState,
    Report,
    Role,
    Rules,
    Server,
    ServerProtocol,
    SignIn,
    StageName,
    TLSMode,
)

INBOX = "INBOX"
_TELLING = ("UIDL", "TOP", "PIPELINING", "RESP-CODES", "UTF8", "LOGIN-DELAY", "EXPIRE")
_AT_ONCE = 50  # commands sent ahead of their answers, to servers that allow it (RFC 2449 6.6)
_LONGEST_WHOLE = 5_000_000  # bytes of a message that is read whole, because the server cannot show its header alone
_LOOKED_AT = 20  # messages among which a new one is looked for
_OF_ONE_MESSAGE = (Category.PROTOCOL, Category.UNAVAILABLE, Category.POLICY)


def open_pop3(
    server: Server,
    rules: Rules,
    deadline: Deadline,
    report: Report | None = None,
    direction: Direction = Direction.INCOMING,
    *,
    budget: int = dial.BUDGET,
    secrets: tuple[str, ...] = (),
) -> "Pop3":
    """Connect to `server` and return the greeted session, encrypted as its TLS mode says, not yet signed in.

    Reports the stages dns, tcp, tls and greeting (with STARTTLS the greeting comes before tls). `budget` is how many
    bytes the server may send in all, `secrets` never show in what it says (see `sasl.forms`). Raises MailError.
    """
    connection = dial.connect(server, rules, deadline, direction, report, budget=budget)
    with dial.closed_if_it_fails(connection):
        with connection.stages.stage(StageName.GREETING) as passing, _translated():
            if server.tls_mode is not TLSMode.IMPLICIT:
                connection.expect_plain_greeting()
            session = Session(connection, secrets)
            passing.facts = {"text": scrub(b"+OK " + session.greet(), secrets)}
            session.refresh_capabilities()
        if server.tls_mode is TLSMode.STARTTLS:
            with _translated():
                session.encrypt()
        return Pop3(connection, session)


def _translated() -> AbstractContextManager[None]:
    return translated(ServerProtocol.POP3)


class Pop3(Whole):
    """A greeted POP3 session; implements `Incoming`. Not for use by two threads at once.

    `names` are what `examine` read last: the server's name (UIDL) of each message by its number, in its order.
    """

    def __init__(self, connection: dial.Connection, session: Session) -> None:
        self._connection = connection
        self._session = session
        self._stages = connection.stages
        self.names: Mapping[int, str] = {}
        self.sizes: Mapping[int, int] = {}
        self._has_top: bool | None = None  # None: not known

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server offers (RFC 2449), in upper case and without arguments: what it said last."""
        return frozenset(self._session.capabilities)

    @property
    def deadline(self) -> Deadline:
        """By when the conversation must be over; a long session sets a new one for each step."""
        return self._connection.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._connection.deadline = deadline

    def sign_in(self, how: SignIn) -> None:
        """Sign in once, by the best way that both sides have. Raises MailError.

        A refusal is never followed by another mechanism with the same secret.
        """
        with self._stages.stage(StageName.SIGN_IN) as passing:
            session = self._session
            exchange = self._best(how)
            passing.detail = exchange.name
            passing.facts = {"mechanism": exchange.name}
            session.answers.expect(how)
            with _translated():
                if "UTF8" in session.capabilities:  # RFC 6856 2.1: only before the sign-in.
                    with suppress(Refused):
                        session.command("UTF8")
                session.authenticate_by(exchange, how)
                session.refresh_capabilities()  # Offers may change with the sign-in (RFC 2449 5).
            passing.facts["capabilities"] = [name for name in _TELLING if name in session.capabilities]

    def _best(self, how: SignIn) -> sasl.Exchange:
        """USER is offered by its name, and by servers that say nothing of signing in at all, as most old ones do."""
        offers = self._session.capabilities
        ways = set(offers.get("SASL", ()))
        ways |= {sasl.POP3_USER} if "USER" in offers or "SASL" not in offers else set()
        said = ["SASL", *offers["SASL"]] if "SASL" in offers else []
        return sign_in.choose(ways, how, self._connection.server, said=said)

    def folders(self, *, counts: bool = True) -> list[Folder]:
        """The inbox, which is all there is, with its count if `counts`.

        Raises MailError: unsupported where messages have no names, since nobody could tell new ones from old ones.
        """
        with self._stages.stage(StageName.FOLDERS) as passing, _translated():
            messages = self._count()
            self._check_names(messages)
            passing.detail = f"{messages:,} messages" if messages != 1 else "1 message"
            passing.facts = {"folders": 1} | ({"messages": messages} if counts else {})
        known = messages if counts else None
        return [Folder(INBOX, INBOX, "", role=Role.INBOX, role_source="server", messages=known)]

    def _check_names(self, messages: int) -> None:
        """UIDL is optional (RFC 1939 7): a server that does not say that it has it is asked for one name."""
        if "UIDL" in self.capabilities:
            return
        try:
            self._session.command("UIDL", *(["1"] if messages else []))
        except Refused as refused:
            raise _nameless(refused) from refused
        if not messages:
            list(self._session.lines(MOST_MESSAGES))

    def examine(self, path: str) -> FolderState:
        """Read what the inbox holds: numbers, sizes and names. Raises MailError.

        `uidvalidity` is 0, for UIDs are numbers of this session. `messages` is the server's count; where its three ways
        of counting disagree, it is one that differs from the number of `names`.
        """
        if path != INBOX:
            raise MailError(Category.CONFIG, "POP3 knows only the inbox.")
        with _translated():
            counted = self._count()
            self._session.command("LIST")
            self.sizes = read_listing(self._session.lines(MOST_MESSAGES))
            try:
                self._session.command("UIDL")
            except Refused as refused:
                raise _nameless(refused) from refused
            self.names = read_names(self._session.lines(MOST_MESSAGES))
        others = [count for count in (counted, len(self.sizes)) if count != len(self.names)]
        if not others and self.sizes.keys() != self.names.keys():
            others = [len(self.names) + 1]
        return FolderState(uidvalidity=0, uidnext=None, messages=others[0] if others else counted)

    def _count(self) -> int:
        """How many messages there are (STAT). Raises MailError, also for more than can be followed."""
        messages = read_stat(self._session.command("STAT"))
        if messages is None:
            raise nonsense(ServerProtocol.POP3)
        if messages > MOST_MESSAGES:
            raise too_much()
        return messages

    def search(self, since: date | None = None) -> list[int]:
        """The numbers of all messages, ascending: a server without dates cannot choose."""
        return sorted(self.names)

    def flags(self) -> dict[int, frozenset[str]]:
        """No flags for every message, by number."""
        return {number: frozenset() for number in self.names}

    def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
        """The messages of `uids` that `examine` saw, in that order; what the server refuses comes as unreadable.

        `received_at` is the time that the server itself put on top of the message, else the sender's Date, and never
        later than now. Raises MailError.
        """
        asked = [uid for uid in uids if uid in self.names]
        at_once = _AT_ONCE if "PIPELINING" in self.capabilities and "TOP" in self.capabilities else 1
        for start in range(0, len(asked), at_once):
            numbers = asked[start : start + at_once]
            with _translated():
                if at_once > 1:
                    self._session.send("\r\n".join(f"TOP {number} 0" for number in numbers))
                # All of them before the first is handed out: no answer may be left unread.
                found = [self._envelope(number, is_asked=at_once > 1) for number in numbers]
            yield from found

    def _envelope(self, number: int, *, is_asked: bool) -> Envelope:
        size = self.sizes.get(number, 0)
        try:
            header = self._header(number, size, is_asked=is_asked)
        except Refused as refused:
            # One damaged message is no reason to leave the others. A limit is no such case.
            if refused.category not in _OF_ONE_MESSAGE:
                raise
            return Envelope(number, size=size, unreadable="The server could not deliver this message.")
        if header is None:
            said = "The message is too large to be read whole, and this server cannot show its header alone (TOP)."
            return Envelope(number, size=size, unreadable=said)
        heading = read_heading(header)
        now = datetime.now(UTC)
        came = heading.received_at or heading.sent_at
        return Envelope(
            uid=number,
            received_at=min(came, now) if came else None,
            size=size,
            subject=heading.subject,
            from_name=heading.from_name,
            from_address=heading.from_address,
            to=heading.to,
            reply_to=heading.reply_to,
            message_id=heading.message_id,
            sent_at=heading.sent_at,
            recipients=heading.recipients,
            is_bulk=heading.is_bulk,
            refers_to=heading.refers_to,
            content_hash=heading.content_hash,
        )

    def _header(self, number: int, size: int, *, is_asked: bool) -> bytes | None:
        """The header of a message, by TOP, or from the whole of it where the server has no TOP (RFC 1939 7).

        None for one that is too large for that. Raises Refused.
        """
        if is_asked:
            self._session.status()
            return self._session.header()
        if self._has_top is None and self.capabilities and "TOP" not in self.capabilities:
            self._has_top = False
        if self._has_top is not False:
            try:
                self._session.command("TOP", str(number), "0")
                self._has_top = True
                return self._session.header()
            except Refused:
                if self._has_top or "TOP" in self.capabilities:
                    raise
        if size > _LONGEST_WHOLE:
            return None
        self._session.command("RETR", str(number))
        return self._session.header()

    def find(self, message_id: str) -> str | None:
        """The path of the inbox if the message `message_id` is among the newest there, or None. Raises MailError.

        What came after the sign-in is not seen: for a fresh look there has to be a new session.
        """
        self.examine(INBOX)
        newest = sorted(self.names, reverse=True)[:_LOOKED_AT]
        return INBOX if any(envelope.message_id == message_id for envelope in self.envelopes(newest)) else None

    def close(self) -> None:
        """End the session with QUIT; never raises, and waits at most a second for the server's goodbye."""
        with suppress(MailError), _translated():
            self.deadline = Deadline(1.0 if self.deadline.is_over else min(1.0, self.deadline.left()))
            self._session.command("QUIT")
        self._connection.close()


def _nameless(refused: Refused) -> MailError:
    """The error for a server that will not name its messages, unless it says that it cannot do so now."""
    if refused.category in (Category.UNAVAILABLE, Category.THROTTLED):
        return refused
    sentence = "The server gives its messages no names (UIDL), so new ones cannot be told from old ones."
    return MailError(Category.UNSUPPORTED, sentence, detail=refused.detail, code="unsupported-uidl")
