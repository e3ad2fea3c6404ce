"""What people write: messages that are drafts, wait to be sent or were sent, their files, and templates."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.db import Base, now, words
from mailadmin.people.models import Person
from mailadmin.sync.models import BigId, Message


class Intent(StrEnum):
    """Why somebody writes."""

    NEW = "new"
    REPLY = "reply"
    FORWARD = "forward"


class Progress(StrEnum):
    """How far an outgoing message is."""

    DRAFT = "draft"  # also one that a server refused: then there is a problem
    WAITING = "waiting"  # to be sent, or sent once more
    UNCLEAR = "unclear"  # the server had it and did not say whether it took it; a person decides
    SENT = "sent"


class OutgoingMessage(Base):
    """A message that `person` writes as `account`.

    `to`, `cc` and `bcc` are as they were typed. `about_id` is the message that is answered or forwarded; what is needed
    of it is copied: `in_reply_to` (a Message-ID), `refers_to` (Message-IDs, the oldest first, separated by spaces) and
    `quoted`, which goes below the text where `quotes` is set. `message_id` is chosen when the message is first sent and
    stays, so that a copy can be recognised. `started_at` marks the job that sends it; `handed_over_at` is when that was
    about to send the end of the content: who dies after that does not know whether it was taken. `version` grows with
    every change, so that of two windows the second is told.
    """

    __tablename__ = "outgoing_message"
    __table_args__ = (
        Index("ix_outgoing_message_person_id_progress", "person_id", "progress"),
        Index("ix_outgoing_message_account_id_progress", "account_id", "progress"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    account: Mapped[Account] = relationship()
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"))
    person: Mapped[Person] = relationship()
    intent: Mapped[Intent] = mapped_column(words(Intent), default=Intent.NEW)
    about_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("message.id", ondelete="SET NULL"), index=True)
    about: Mapped[Message | None] = relationship()
    to: Mapped[str] = mapped_column(Text, default="")
    cc: Mapped[str] = mapped_column(Text, default="")
    bcc: Mapped[str] = mapped_column(Text, default="")
    subject: Mapped[str] = mapped_column(String(998), default="")
    text: Mapped[str] = mapped_column(Text, default="")
    quoted: Mapped[str] = mapped_column(Text, default="")
    quotes: Mapped[bool] = mapped_column(default=True)
    in_reply_to: Mapped[str] = mapped_column(String(998), default="")
    refers_to: Mapped[str] = mapped_column(Text, default="")
    message_id: Mapped[str] = mapped_column(String(998), default="")
    progress: Mapped[Progress] = mapped_column(words(Progress), default=Progress.DRAFT)
    problem: Mapped[str] = mapped_column(Text, default="")  # why it was not sent, a sentence for the person
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[int] = mapped_column(default=1)
    wanted_at: Mapped[datetime | None]  # when the person said: send
    next_try_at: Mapped[datetime | None] = mapped_column(index=True)  # None: not to be sent by itself
    started_at: Mapped[datetime | None]
    handed_over_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(index=True)


class OutgoingFile(Base):
    """A file of an outgoing message. Without `content` it is a file of the message that is forwarded, the one at
    `place`, which is fetched from the server when the message is sent."""

    __tablename__ = "outgoing_file"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    outgoing_id: Mapped[int] = mapped_column(BigId, ForeignKey("outgoing_message.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(255), default="application/octet-stream")
    size: Mapped[int] = mapped_column(BigInteger)  # bytes
    place: Mapped[int | None]
    content: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)


class MailTemplate(Base):
    """A text that people of the organisation begin a message with; {name}, {team}, {account} and {contact} are
    replaced when it is put in."""

    __tablename__ = "mail_template"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    subject: Mapped[str] = mapped_column(String(200), default="")
    text: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(default=now)
