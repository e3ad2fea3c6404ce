"""Reads mail over IMAP (RFC 3501) without leaving a trace; the only place that imports IMAPClient."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any

from imapclient import IMAPClient, imap_utf7
from imapclient.exceptions import IMAPClientError
from imapclient.response_parser import parse_fetch_response, parse_response

from mailadmin.mail import dial
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap_errors import Refused, translated
from mailadmin.mail.imap_fetch import (
    ENVELOPE_ITEMS,
    HIGHEST_UID,
    REFUSED,
    UNREADABLE,
    Batch,
    read_envelopes,
    read_flags,
    uid_set,
)
from mailadmin.mail.imap_folders import MOST_MESSAGES, Listed, read_list, read_status
from mailadmin.mail.imap_session import LONGEST_LINE, LONGEST_LIST, Session, quoted
from mailadmin.mail.sasl import plain
from mailadmin.mail.special_use import one_of_each
from mailadmin.mail.types import (
    Direction,
    Envelope,
    Folder,
    FolderState,
    Password,
    Report,
    Rules,
    Server,
    StageName,
    TLSMode,
)

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def open_imap(
    server: Server,
    rules: Rules,
    deadline: Deadline,
    report: Report | None = None,
    direction: Direction = Direction.INCOMING,
    *,
    budget: int = dial.BUDGET,
) -> "Imap":
    """Connect to `server` and return the greeted session, encrypted as its TLS mode says, not yet signed in.

    Reports the stages dns, tcp, tls and greeting (with STARTTLS the greeting comes before tls). `budget` is how many
    bytes the server may send in all. Raises MailError.
    """
    for name in ("imapclient", "imapclient.imaplib"):  # IMAPClient logs commands, and sign-ins are commands.
        logging.getLogger(name).setLevel(logging.WARNING)
    connection = dial.connect(server, rules, deadline, direction, report, budget=budget)
    try:
        with connection.stages.stage(StageName.GREETING), translated():
            if server.tls_mode is not TLSMode.IMPLICIT:
                connection.expect_plain_greeting()
            client = _Client(connection)
        if server.tls_mode is TLSMode.STARTTLS:
            with translated():
                _start_tls(client.session)
        return Imap(connection, client)
    except MailError:
        connection.close()
        raise


def _start_tls(session: Session) -> None:
    """Encrypt, or stop before anything worth stealing is sent."""
    if session.state != "NONAUTH":
        # RFC 9051 11.1: PREAUTH makes STARTTLS impossible, so it is what an attacker in the middle would send.
        sentence = "The server skips encryption by saying that we are signed in already; nothing more was sent."
        raise MailError(Category.TLS, sentence, permanent=True)
    if "STARTTLS" not in session.capabilities:
        sentence = "The server does not offer STARTTLS on this port, so nothing more was sent; try implicit TLS."
        raise MailError(Category.UNSUPPORTED, sentence)
    session.encrypt()


class _Client(IMAPClient):
    """IMAPClient on top of a connection that is already open."""

    def __init__(self, connection: dial.Connection) -> None:
        self._connection = connection
        super().__init__(connection.server.host, connection.server.port, ssl=False)
        self.normalise_times = False  # Otherwise dates come without their zone.
        self.session.debug = 0  # IMAPClient sets 5, which formats every line for its log.

    @property
    def session(self) -> Session:
        session: Session = self._imap
        return session

    def _create_IMAP4(self) -> Session:
        return Session(self._connection)

    def _set_read_timeout(self) -> None:
        """Leave the time-outs to the deadline."""


class Imap:
    """A greeted IMAP session; implements `Incoming`. Not for use by two threads at once."""

    def __init__(self, connection: dial.Connection, client: _Client) -> None:
        self._connection = connection
        self._session = client.session
        self._stages = connection.stages
        self._capabilities = frozenset(client.session.capabilities)
        self._raw_names: dict[str, bytes] = {}
        self._is_empty = False

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server offers (RFC 3501 6.1.1), in upper case: what it said last."""
        return self._capabilities

    @property
    def deadline(self) -> Deadline:
        """By when the conversation must be over; a long session sets a new one for each step."""
        return self._connection.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline) -> None:
        self._connection.deadline = deadline

    def sign_in(self, how: Password) -> None:
        """Sign in once: AUTHENTICATE PLAIN (RFC 4616) where offered, else LOGIN. Raises MailError.

        A refusal is never followed by another mechanism with the same password.
        """
        with self._stages.stage(StageName.SIGN_IN) as passing:
            user, password = dial.guard(how.username, "user name"), dial.guard(how.password, "password")
            session = self._session
            if session.state != "NONAUTH":
                sentence = "The server lets everybody in without a password, so the password cannot be checked."
                raise MailError(Category.UNSUPPORTED, sentence)
            session.secrets = (password,)
            with translated((password,), signing_in=True):
                if "AUTH=PLAIN" in self._capabilities:
                    passing.detail = "AUTHENTICATE PLAIN"
                    session.authenticate_plain(plain(user, password), initial="SASL-IR" in self._capabilities)
                elif "LOGINDISABLED" in self._capabilities:
                    sentence = "The server does not accept passwords here; it may want encryption or another method."
                    raise MailError(Category.UNSUPPORTED, sentence)
                else:
                    passing.detail = "LOGIN"
                    session.log_in(user, password)
                self._refresh_capabilities()
        if "ID" in self._capabilities:
            # Some providers only open folders for programs that give a name (RFC 2971). A refusal changes nothing.
            with suppress(MailError), translated():
                session.command("ID", '("name" "mailadmin")')

    def _refresh_capabilities(self) -> None:
        """Offers change with the sign-in (RFC 3501 6.2.3); many servers tell them unasked, within the OK."""
        told = self._session.take("CAPABILITY")
        if not told:
            self._session.command("CAPABILITY")
            told = self._session.take("CAPABILITY")
        self._capabilities = frozenset(told[-1].decode("ascii", "replace").upper().split()) if told else frozenset()

    def folders(self, *, counts: bool = True) -> list[Folder]:
        """All folders, with their roles, and with message counts if `counts`. Raises MailError.

        One round trip where the server offers LIST-STATUS (RFC 5819), else one more for each folder.
        """
        with self._stages.stage(StageName.FOLDERS) as passing, translated():
            with_status = counts and "LIST-STATUS" in self._capabilities
            listed = self._list(with_status)
            numbers = read_status(self._session.take("STATUS"), _parse)
            if counts and not with_status:
                for entry in listed:
                    numbers |= {} if entry.folder.locked else self._status(entry.raw)
            self._raw_names = {entry.folder.path: entry.raw for entry in listed}
            found = one_of_each([_counted(entry, numbers.get(entry.raw, {})) for entry in listed])
            passing.detail = f"{len(found):,} folders" if len(found) != 1 else "1 folder"
        return found

    def _list(self, with_status: bool) -> list[Listed]:
        """LIST of everything, with what can be had beside it; a server that stumbles over that is asked plainly."""
        wanted = ["SPECIAL-USE"] if "SPECIAL-USE" in self._capabilities else []
        wanted += ["STATUS (MESSAGES UNSEEN)"] if with_status else []
        extended = with_status or (bool(wanted) and "LIST-EXTENDED" in self._capabilities)
        try:
            self._session.command("LIST", '""', '"*"', *(("RETURN", f"({' '.join(wanted)})") if extended else ()))
        except Refused:
            if not extended:
                raise
            self._session.command("LIST", '""', '"*"')
        return read_list(self._session.take("LIST"), _parse, imap_utf7.decode)

    def _status(self, raw: bytes) -> dict[bytes, Any]:
        """The counts of one folder; nothing where the server refuses to tell."""
        with suppress(Refused):
            self._session.command("STATUS", quoted(raw), "(MESSAGES UNSEEN)")
            return dict(read_status(self._session.take("STATUS"), _parse))
        return {}

    def examine(self, path: str) -> FolderState:
        """Open `path` for reading only (RFC 3501 6.3.2); the folder of all later calls. Raises MailError.

        `uidvalidity` is 0 where the server, against the rules, does not tell it.
        """
        raw = self._raw_names.get(path) or imap_utf7.encode(dial.guard(path, "folder name"))
        session = self._session
        session.is_readonly = True
        condstore = not self._capabilities.isdisjoint({"CONDSTORE", "QRESYNC"})
        with translated():
            try:
                session.command("EXAMINE", quoted(raw), *(["(CONDSTORE)"] if condstore else []))
            except Refused:
                session.state = "AUTH"  # RFC 3501 6.3.1: after a refusal no folder is open.
                raise
            session.state = "SELECTED"
            state = FolderState(
                uidvalidity=self._number("UIDVALIDITY") or 0,
                uidnext=self._number("UIDNEXT"),
                messages=min(self._number("EXISTS") or 0, MOST_MESSAGES),
                modseq=self._number("HIGHESTMODSEQ"),
            )
        self._is_empty = state.messages == 0
        return state

    def _number(self, name: str) -> int | None:
        """The last number that the server told under `name`, if it is one that a database can hold."""
        told = self._session.take(name)
        text = told[-1] if told and isinstance(told[-1], bytes) else b""
        return int(text) if text.isdigit() and len(text) < 20 and 0 <= int(text) < 2**63 else None

    def search(self, since: date | None = None) -> list[int]:
        """UIDs in the open folder, ascending; with `since` only those received on that day or later.

        The server compares INTERNALDATE without its time and zone (RFC 3501 6.4.4). Raises MailError.
        """
        wanted = f"SINCE {since.day}-{_MONTHS[since.month - 1]}-{since.year:04}" if since else "ALL"
        with translated():
            self._session.longest_line = LONGEST_LIST
            try:
                self._session.command("UID", "SEARCH", wanted)
            finally:
                self._session.longest_line = LONGEST_LINE
            answers = [answer for answer in self._session.take("SEARCH") if isinstance(answer, bytes)]
            numbers = {int(word) for answer in answers for word in answer.partition(b"(")[0].split() if _is_uid(word)}
        return sorted(uid for uid in numbers if 0 < uid <= HIGHEST_UID)

    def flags(self) -> dict[int, frozenset[str]]:
        """Flags of every message in the open folder, by UID, without \\Recent. Raises MailError."""
        if self._is_empty:
            return {}  # Some servers call the set 1:* an error where there is no message.
        with translated():
            self._session.command("UID", "FETCH", "1:*", "(UID FLAGS)")
            return read_flags(self._session.take("FETCH"), _parse_fetch)

    def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
        """The messages of `uids` (at most 500 or so) that still exist, in any order, with one command.

        A message that cannot be read is asked for once more by itself, and then comes as unreadable.
        Raises MailError.
        """
        asked = sorted({uid for uid in uids if 0 < uid <= HIGHEST_UID})
        if not asked:
            return
        batch, whole = self._fetch(asked)
        yield from batch.messages.values()
        if whole and not batch.broken:
            return
        for uid in asked:
            if uid not in batch.messages:
                alone, delivered = self._fetch([uid]) if len(asked) > 1 else (batch, whole)
                yield from alone.messages.values()
                if not alone.messages and (alone.broken or not delivered):
                    yield Envelope(uid=uid, unreadable=UNREADABLE if alone.broken else REFUSED)

    def _fetch(self, uids: list[int]) -> tuple[Batch, bool]:
        """What the server delivers of `uids`, and whether it says that this is all."""
        with translated():
            whole = True
            try:
                self._session.command("UID", "FETCH", uid_set(uids), ENVELOPE_ITEMS)
            except Refused as refused:
                # One damaged message makes some servers refuse the whole batch. A limit is no such case.
                if refused.category not in (Category.PROTOCOL, Category.UNAVAILABLE):
                    raise
                whole = False
            return read_envelopes(self._session.take("FETCH"), frozenset(uids), _parse_fetch), whole

    def close(self) -> None:
        """End the session; never raises, and waits at most a second for the server's goodbye."""
        with suppress(MailError), translated():
            self.deadline = Deadline(min(1.0, self.deadline.left()))
            self._session.logout()
        self._connection.close()


def _counted(entry: Listed, numbers: Any) -> Folder:
    return replace(entry.folder, messages=numbers.get(b"MESSAGES"), unseen=numbers.get(b"UNSEEN"))


def _is_uid(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 10


def _parse_fetch(records: list[Any]) -> list[dict[bytes, Any]]:
    """The items of a FETCH answer, parsed by IMAPClient; keyed by sequence number, for UIDs must not be guessed.

    Raises ValueError.
    """
    try:
        return list(parse_fetch_response(records, normalise_times=False, uid_is_key=False).values())
    except IMAPClientError as error:
        raise ValueError("not a FETCH answer") from error


def _parse(records: list[Any]) -> tuple[Any, ...]:
    """Any other answer, parsed by IMAPClient. Raises ValueError."""
    try:
        return tuple(parse_response(records))
    except IMAPClientError as error:
        raise ValueError("not an answer of IMAP") from error
