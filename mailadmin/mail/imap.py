"""Reads mail over IMAP (RFC 3501) without leaving a trace."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import date
from typing import Any

from imapclient import imap_utf7

from mailadmin.mail import dial, sasl, sign_in
from mailadmin.mail.answers import Refused, translated
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.imap_changes import OF_ONE_REQUEST, parse, parse_fetch
from mailadmin.mail.imap_fetch import (
    HIGHEST_UID,
    REFUSED,
    UNREADABLE,
    Batch,
    envelope_items,
    read_envelopes,
    read_flags,
    uid_set,
)
from mailadmin.mail.imap_folders import (
    MOST_MESSAGES,
    Listed,
    read_ids,
    read_list,
    read_quota,
    read_states,
    read_status,
    status_items,
)
from mailadmin.mail.imap_idle import Idling
from mailadmin.mail.imap_session import LONGEST_LINE, LONGEST_LIST, Session, quoted
from mailadmin.mail.imap_text import Reading
from mailadmin.mail.imap_write import MONTHS, Writing
from mailadmin.mail.scrub import scrub
from mailadmin.mail.special_use import one_of_each
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

_TELLING = (
    "IDLE", "CONDSTORE", "QRESYNC", "SPECIAL-USE", "UIDPLUS", "MOVE", "COMPRESS=DEFLATE", "OBJECTID", "LIST-STATUS",
    "UTF8=ACCEPT", "QUOTA",
)  # fmt: skip
_MAIL_ARRIVES = (Role.INBOX, Role.JUNK)
_MOST_REFUSALS = 20  # A server that will not count its folders is not asked for every one of them.
_FLAGS_AT_ONCE = 100_000


def open_imap(
    server: Server,
    rules: Rules,
    deadline: Deadline,
    report: Report | None = None,
    direction: Direction = Direction.INCOMING,
    *,
    budget: int = dial.BUDGET,
    secrets: tuple[str, ...] = (),
) -> "Imap":
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
            passing.facts = {"text": scrub(session.welcome, secrets)}
        if server.tls_mode is TLSMode.STARTTLS:
            with _translated():
                session.encrypt()
        return Imap(connection, session)


def _translated() -> AbstractContextManager[None]:
    return translated(ServerProtocol.IMAP)


class Imap(Writing, Idling, Reading):
    """A greeted IMAP session; implements `Incoming`. Not for use by two threads at once."""

    def __init__(self, connection: dial.Connection, session: Session) -> None:
        self._connection = connection
        self._session = session
        self._stages = connection.stages
        self._raw_names: dict[str, bytes] = {}
        self._places: list[str] = []
        self._messages = 0
        self._next: list[int] = []

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server offers (RFC 3501 6.1.1), in upper case: what it said last."""
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
            if session.state != "NONAUTH":
                raise sign_in.anybody()
            exchange = self._best(how)
            passing.detail = exchange.name
            passing.facts = {"mechanism": exchange.name}
            session.answers.expect(how)
            with _translated():
                introduced = self._introduce()
                session.authenticate_by(exchange, how)
                # Offers change with the sign-in (RFC 3501 6.2.3); many servers tell them unasked, within the OK.
                session.refresh_capabilities(told=True)
                if not introduced:
                    self._introduce()
                self._accept_utf8()
            offers = self.capabilities
            passing.facts["capabilities"] = [name.partition("=DEFLATE")[0] for name in _TELLING if name in offers]

    def _best(self, how: SignIn) -> sasl.Exchange:
        said = [name for name in self._session.capabilities if name.startswith(("AUTH=", "LOGINDISABLED"))]
        ways = {name.removeprefix("AUTH=") for name in said}
        ways |= set() if "LOGINDISABLED" in said else {sasl.IMAP_LOGIN}
        return sign_in.choose(ways, how, self._connection.server, said=said)

    def _introduce(self) -> bool:
        """Whether the server was told our name (RFC 2971), as some want before they open folders; once is enough."""
        if "ID" not in self.capabilities:
            return False
        with suppress(Refused):
            self._session.command("ID", '("name" "mailadmin")')
        return True

    def _accept_utf8(self) -> None:
        """Take names as UTF-8 from a server that has no others (RFC 9755 3); elsewhere modified UTF-7 is understood."""
        if "UTF8=ONLY" in self.capabilities:
            self._session.command("ENABLE", "UTF8=ACCEPT")
            self._speaks_utf8 = True

    def folders(self, *, counts: bool = True) -> list[Folder]:
        """All folders, with their roles, and with message counts if `counts`. Raises MailError.

        One round trip where the server offers LIST-STATUS (RFC 5819), else one more for each folder.
        """
        with self._stages.stage(StageName.FOLDERS) as passing, _translated():
            with_status = counts and "LIST-STATUS" in self.capabilities
            listed = self._list("STATUS (MESSAGES UNSEEN)" if with_status else "")
            numbers = read_status(self._session.take("STATUS"), parse)
            if counts and not with_status:
                numbers = self._count(listed)
            found = self._known([_counted(entry, numbers.get(entry.raw, {})) for entry in listed], listed)
            passing.detail = f"{len(found):,} folders" if len(found) != 1 else "1 folder"
            passing.facts = {"folders": len(found)} | (self._amounts(found) if counts else {})
        return found

    def survey(self) -> tuple[list[Folder], dict[str, FolderState]]:
        """All folders, and by path the state of those of which the server tells it unopened (RFC 5819, RFC 7162).

        With the object ids of folders, where there are any (RFC 8474). One round trip. Raises MailError.
        """
        self._is_following = True
        items = status_items(self.capabilities)
        with _translated():
            listed = self._list(f"STATUS ({items})" if items else "")
            told = self._session.take("STATUS")
            states, ids = read_states(listed, told, parse), read_ids(told, parse)
        found = [replace(entry.folder, object_id=ids.get(entry.raw, "")) for entry in listed]
        return self._known(found, listed), states

    def _known(self, folders: list[Folder], listed: list[Listed]) -> list[Folder]:
        """`folders`, each role once; their names are kept as the server writes them."""
        self._raw_names = {entry.folder.path: entry.raw for entry in listed}
        found = one_of_each(folders)
        self._places = [folder.path for role in _MAIL_ARRIVES for folder in found if folder.role is role]
        return found

    def _amounts(self, folders: list[Folder]) -> dict[str, Any]:
        """How much mail there is and how much room for it (RFC 9208), as far as the server tells."""
        amounts: dict[str, Any] = {}
        if known := [folder for folder in folders if folder.messages is not None]:
            amounts["messages"] = sum(folder.messages or 0 for folder in known)
            amounts["unseen"] = sum(folder.unseen or 0 for folder in known)
        if "QUOTA" in self.capabilities:
            with suppress(Refused):
                self._session.command("GETQUOTAROOT", "INBOX")
                if quota := read_quota(self._session.take("QUOTA"), parse):
                    amounts["quota"] = quota
        return amounts

    def _list(self, status: str = "") -> list[Listed]:
        """LIST of everything, with what can be had beside it; a server that stumbles over that is asked plainly."""
        wanted = ["SPECIAL-USE"] if "SPECIAL-USE" in self.capabilities else []
        wanted += [status] if status else []
        extended = bool(status) or (bool(wanted) and "LIST-EXTENDED" in self.capabilities)
        try:
            self._session.command("LIST", '""', '"*"', *(("RETURN", f"({' '.join(wanted)})") if extended else ()))
        except Refused:
            if not extended:
                raise
            self._session.command("LIST", '""', '"*"')
        return read_list(self._session.take("LIST"), parse, bytes.decode if self._speaks_utf8 else imap_utf7.decode)

    def _count(self, listed: list[Listed]) -> dict[bytes, Any]:
        """The counts of all folders, one by one; nothing for those where the server refuses to tell."""
        numbers: dict[bytes, Any] = {}
        refusals = 0
        for entry in listed:
            if entry.folder.locked:
                continue
            try:
                self._session.command("STATUS", quoted(entry.raw), "(MESSAGES UNSEEN)")
                numbers |= read_status(self._session.take("STATUS"), parse)
            except Refused:
                refusals += 1
                if refusals == _MOST_REFUSALS:
                    break
        return numbers

    def examine(self, path: str) -> FolderState:
        """Open `path` for reading only (RFC 3501 6.3.2); the folder of all later calls. Raises MailError.

        `uidvalidity` is 0 where the server, against the rules, does not tell it.
        """
        raw = self._raw(path)
        session = self._session
        session.is_readonly = True
        with _translated():
            self._prepare_to_follow()
            try:
                session.command("EXAMINE", quoted(raw), *(["(CONDSTORE)"] if self._counts_changes else []))
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
        self._messages = state.messages
        return state

    def search(self, since: date | None = None) -> list[int]:
        """UIDs in the open folder, ascending; with `since` only those received on that day or later.

        The server compares INTERNALDATE without its time and zone (RFC 3501 6.4.4). Raises MailError.
        """
        wanted = f"SINCE {since.day}-{MONTHS[since.month - 1]}-{since.year:04}" if since else "ALL"
        with _translated():
            if since is None and (found := self._all_uids()) is not None:
                return found
            self._session.longest_line = LONGEST_LIST
            try:
                self._session.command("UID", "SEARCH", wanted)
            finally:
                self._session.longest_line = LONGEST_LINE
            return self._found()

    def flags(self) -> dict[int, frozenset[str]]:
        """Flags of every message in the open folder, by UID, without \\Recent. Raises MailError."""
        found: dict[int, frozenset[str]] = {}
        if not self._messages:
            return found  # Some servers call the set 1:* an error where there is no message.
        with _translated():
            if self._messages <= _FLAGS_AT_ONCE:
                self._session.command("UID", "FETCH", "1:*", "(UID FLAGS)")
                return read_flags(self._session.take("FETCH"), parse_fetch)
            for first in range(1, self._messages + 1, _FLAGS_AT_ONCE):
                # By position: without one that moves in between, for FETCH is no moment to expunge (RFC 3501 7.4.1).
                last = first + _FLAGS_AT_ONCE - 1
                self._session.command("FETCH", f"{first}:{last if last < self._messages else '*'}", "(UID FLAGS)")
                found |= read_flags(self._session.take("FETCH"), parse_fetch)
        return found

    def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
        """The messages of `uids` (at most 500 or so) that still exist, in any order, with one command.

        A message that cannot be read is asked for once more by itself, and then comes as unreadable.
        Raises MailError.
        """
        asked = sorted({uid for uid in uids if 0 < uid <= HIGHEST_UID})
        if not asked:
            return
        ahead, self._next = self._next, []
        batch, whole = self._fetch(asked, ahead)
        yield from batch.messages.values()
        if whole and not batch.broken:
            return
        for uid in asked:
            if uid not in batch.messages:
                alone, delivered = self._fetch([uid]) if len(asked) > 1 else (batch, whole)
                yield from alone.messages.values()
                if not alone.messages and (alone.broken or not delivered):
                    yield Envelope(uid=uid, unreadable=UNREADABLE if alone.broken else REFUSED)

    def look_ahead(self, uids: Sequence[int]) -> None:
        """Have the server work on `uids` as soon as it has delivered those of the next call of `envelopes`."""
        self._next = sorted({uid for uid in uids if 0 < uid <= HIGHEST_UID})

    def _fetch(self, uids: list[int], ahead: list[int] | None = None) -> tuple[Batch, bool]:
        """What the server delivers of `uids`, and whether it says that this is all; the next question is `ahead`."""
        items = envelope_items(self.capabilities)
        with _translated():
            whole = True
            try:
                self._session.command("UID", "FETCH", uid_set(uids), items)
            except Refused as refused:
                # One damaged message makes some servers refuse the whole batch. A limit is no such case.
                if refused.category not in OF_ONE_REQUEST:
                    raise
                whole = False
            answers = self._session.take("FETCH")
            if ahead:
                self._session.send_ahead("UID", "FETCH", uid_set(ahead), items)
        return read_envelopes(answers, frozenset(uids), parse_fetch), whole

    def find(self, message_id: str) -> str | None:
        """The path of the folder, the inbox or the one for junk, that holds the message `message_id`, or None.

        Looks afresh each time, and only reads. Raises MailError.
        """
        if not self._places:
            with _translated():
                listed = one_of_each([entry.folder for entry in self._list()])
            self._places = [folder.path for role in _MAIL_ARRIVES for folder in listed if folder.role is role]
        for path in self._places or ["INBOX"]:
            with suppress(Refused):
                if self.holds(path, message_id):
                    return path
        return None

    def holds(self, path: str, message_id: str) -> bool:
        """Whether the folder `path` has the message `message_id` now; opens it, and only reads. Raises MailError."""
        wanted = quoted(dial.guard(message_id, "Message-ID"))
        if not self.examine(path).messages:
            return False
        with _translated():
            self._session.command("UID", "SEARCH", "HEADER", "Message-ID", wanted)
            return bool(self._found())

    def _found(self) -> list[int]:
        """The UIDs of the last search, ascending."""
        answers = [answer for answer in self._session.take("SEARCH") if isinstance(answer, bytes)]
        numbers = {int(word) for answer in answers for word in answer.partition(b"(")[0].split() if _is_uid(word)}
        return sorted(uid for uid in numbers if 0 < uid <= HIGHEST_UID)

    def close(self) -> None:
        """End the session; never raises, and waits at most a second for the server's goodbye."""
        with suppress(MailError), _translated():
            self.deadline = Deadline(min(1.0, self.deadline.left()))
            self._session.say_goodbye()
        self._connection.close()


def _counted(entry: Listed, numbers: Any) -> Folder:
    return replace(entry.folder, messages=numbers.get(b"MESSAGES"), unseen=numbers.get(b"UNSEEN"))


def _is_uid(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 10
