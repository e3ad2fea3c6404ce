"""Makers of outgoing messages."""

import email
import email.policy
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from mailadmin.sync.models import PendingChange
from mailadmin.writing import service
from mailadmin.writing.models import Intent, OutgoingMessage, Progress
from tests import factories
from tests.servers.post import Post
from tests.sync.factories import Box

LARGE = (("film.mp4", bytes(8_000_000)),)  # more than the buffers between us and a server hold
NORA = "Nora Feldt <nora@halden.example>"


def a_worker(session: Session, name: str = "Wim de Vries", email: str = "wim@example.com") -> Person:
    return factories.a_person(session, name=name, email=email, role=PersonRole.WORKER)


def smtp_of(post: Post) -> Server:
    return Server(ServerProtocol.SMTP, "localhost", post.port, TLSMode.IMPLICIT)


def typed(outgoing: OutgoingMessage, **fields: Any) -> dict[str, Any]:
    """What `service.save` takes: what the draft has, and what is typed now."""
    names = ("version", "account_id", "to", "cc", "bcc", "subject", "text", "quotes")
    return {name: getattr(outgoing, name) for name in names} | fields


def parsed(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[return-value]


def words_of(part: Any) -> str:
    """The text of a part, with simple line ends."""
    return str(part.get_content()).replace("\r\n", "\n")


@dataclass
class Desk:
    """Somebody who writes as an account, and the servers of that."""

    person: Person
    account: Account
    box: Box
    post: Post

    def draft(
        self, *, begun: dict[str, Any] | None = None, files: tuple[tuple[str, bytes], ...] = (), **fields: Any
    ) -> int:
        """A draft, by its id."""
        usual = {"to": NORA, "subject": "Quote", "text": "Dear Nora,\n\nhere it is.\n"}
        if begun and begun.get("intent") is not Intent.NEW:
            del usual["to"], usual["subject"]
            usual |= {"to": NORA} if begun["intent"] is Intent.FORWARD else {}
        with db.transaction() as session:
            person = session.get(Person, self.person.id)
            account = session.get(Account, self.account.id)
            assert person
            assert account
            outgoing = service.begin(session, person, account, **(begun or {}))
            for name, content in files:
                service.attach(session, outgoing, name=name, type="application/pdf", content=content)
            service.save(session, outgoing, **typed(outgoing, **usual | fields))
            return outgoing.id

    def send(self, outgoing_id: int) -> None:
        """What the button does."""
        with db.transaction() as session:
            service.send(session, self.now(session, outgoing_id))

    def sent(self, **fields: Any) -> int:
        """A message that waits to be sent, by its id."""
        outgoing_id = self.draft(**fields)
        self.send(outgoing_id)
        return outgoing_id

    def now(self, session: Session, outgoing_id: int) -> OutgoingMessage:
        found = session.get(OutgoingMessage, outgoing_id)
        assert found
        return found

    def row(self, outgoing_id: int) -> OutgoingMessage:
        """The message as the database has it now."""
        with db.reading() as session:
            return self.now(session, outgoing_id)

    def progress(self, outgoing_id: int) -> Progress:
        return self.row(outgoing_id).progress

    def make_due(self) -> None:
        """Let the time of the next try have come."""
        with db.transaction() as session:
            for outgoing in session.scalars(select(OutgoingMessage).where(OutgoingMessage.next_try_at.is_not(None))):
                outgoing.next_try_at = db.now() - timedelta(seconds=1)

    def wishes(self) -> list[PendingChange]:
        """What the server has to be told."""
        with db.reading() as session:
            mine = PendingChange.account_id == self.account.id
            return list(session.scalars(select(PendingChange).where(mine).order_by(PendingChange.id)))

    @property
    def only(self) -> EmailMessage:
        """The one message that the server has taken, as another library reads it."""
        ((_, _, raw),) = self.post.messages
        return parsed(raw)
