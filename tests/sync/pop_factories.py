"""Makers for the tests of POP3: a mailbox on the real server, and a server in memory that renames, repeats and lies."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail import types as mail
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.types import Envelope, FolderState, Role, Server, ServerProtocol, TLSMode
from mailadmin.sync.models import PopMessage
from tests.sync.factories import NOON, Box, an_account, folder_of, messages_of

POP3 = Server(ServerProtocol.POP3, "pop.example.net", 995, TLSMode.IMPLICIT)
INBOX = mail.Folder("INBOX", "INBOX", "", role=Role.INBOX, role_source="server")


class PopBox(Box):
    """The same mail, collected with POP3."""

    def account(self, *more: str, **wanted: Any) -> Account:
        server = Server(ServerProtocol.POP3, "localhost", self.dovecot.ports["pop3s"], TLSMode.IMPLICIT)
        return an_account(self.user, server=server, folders=[INBOX], **wanted)

    def subjects(self) -> set[str]:
        """What the server has, by IMAP."""
        with self.dovecot.session(self.user) as session:
            session.select("INBOX", readonly=True)
            _, data = session.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return {part[1].decode().partition(": ")[2].strip() for part in data if isinstance(part, tuple)}


def subjects(account: Account) -> list[str]:
    """The subjects of what people see of the inbox, by UID."""
    return [message.subject for message in messages_of(account)]


def names_of(account: Account) -> dict[str, int]:
    """The stored UIDs by name."""
    with db.reading() as session:
        rows = session.scalars(select(PopMessage).where(PopMessage.folder_id == folder_of(account).id))
        return {row.uidl: row.uid for row in rows}


@dataclass
class Drop:
    """A POP3 server in memory: `mails` by name, in its order; what a session sees is what was there at its beginning.

    `rename` and `lie` change what it says of them; `asked` are the numbers of the headers that were asked for.
    """

    mails: dict[str, Envelope] = field(default_factory=dict)
    rename: Callable[[str], str] = lambda name: name
    lie: int = 0
    silent: set[str] = field(default_factory=set)
    asked: list[int] = field(default_factory=list)
    sessions: int = 0

    def add(self, *numbers: int, **wanted: Any) -> None:
        for n in numbers:
            usual = {"subject": f"Message {n}", "size": 1000 + n, "received_at": NOON + timedelta(minutes=n)}
            self.mails[f"name{n}"] = Envelope(n, **(usual | wanted))

    def __call__(self, leg: Any) -> "Visit":
        self.sessions += 1
        return Visit(self)


class Visit:
    """One session."""

    def __init__(self, drop: Drop) -> None:
        self.drop, self.deadline = drop, Deadline(60)
        self._mails = dict(enumerate(drop.mails.items(), 1))
        self.names = {number: drop.rename(name) for number, (name, _) in self._mails.items()}
        self.sizes = {number: envelope.size for number, (_, envelope) in self._mails.items()}

    def sign_in(self, how: mail.Password) -> None: ...

    def close(self) -> None: ...

    def folders(self, *, counts: bool = True) -> list[mail.Folder]:
        return [INBOX]

    def examine(self, path: str) -> FolderState:
        return FolderState(0, None, len(self._mails) + self.drop.lie)

    def whole(self, number: int, most: int) -> bytes | None:
        """These messages are only headers."""
        return None

    def envelopes(self, uids: Sequence[int]) -> Iterator[Envelope]:
        self.drop.asked += uids
        for number in uids:
            name, envelope = self._mails[number]
            if name not in self.drop.silent:
                yield replace(envelope, uid=number)
