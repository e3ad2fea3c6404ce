"""Folders, messages and sync runs.

A message is identified by folder, generation and UID. A generation is one life of a folder's UIDs: when the server
announces a new UIDVALIDITY the folder is read into the next generation, and people see the old one until it is whole.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.contacts.models import Contact
from mailadmin.db import Base, now, words
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Role
from mailadmin.people.models import Person

BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only in a column of type INTEGER.


class RoleSource(StrEnum):
    """Who decided what a folder is for."""

    SERVER = "server"
    NAME = "name"
    PERSON = "person"


class Folder(Base):
    """A place for messages on the server.

    `generation` is what people see, for `uidvalidity`; while `next_generation` is set, a new one is being read for
    `next_uidvalidity`. `first_uid` is the first UID wanted by the window "from now on". `uidnext`, `modseq` and
    `messages` are the server's words at the end of the last pass: when they have not changed since a complete one, for
    the same `window`, there is nothing to do. `run_done` of `run_total` is the progress of the run that goes on.
    `listed_at` is when the server last named the folder. `is_wished`: a person wants it, and the next run creates it.
    `object_id` is the server's own name for the folder, which survives renaming (RFC 8474). `audit` is what the last
    audit found (see audit.py), at `audited_at`.
    """

    __tablename__ = "folder"
    __table_args__ = (UniqueConstraint("account_id", "path"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(String(1000))
    name: Mapped[str] = mapped_column(String(1000))
    delimiter: Mapped[str] = mapped_column(String(4), default="")
    role: Mapped[Role | None] = mapped_column(words(Role))
    role_source: Mapped[RoleSource | None] = mapped_column(words(RoleSource))
    locked: Mapped[str] = mapped_column(String(200), default="")  # why it cannot be synced, or empty
    is_active: Mapped[bool] = mapped_column(default=False)
    is_gone: Mapped[bool] = mapped_column(default=False)  # not on the server any more
    is_wished: Mapped[bool] = mapped_column(default=False)
    listed_at: Mapped[datetime] = mapped_column(default=now)

    generation: Mapped[int] = mapped_column(default=0)
    uidvalidity: Mapped[int | None] = mapped_column(BigInteger)
    next_generation: Mapped[int | None]
    next_uidvalidity: Mapped[int | None] = mapped_column(BigInteger)
    window: Mapped[str] = mapped_column(String(60), default="")  # which one the last pass was for, see passes.py
    first_uid: Mapped[int | None] = mapped_column(BigInteger)
    uidnext: Mapped[int | None] = mapped_column(BigInteger)
    modseq: Mapped[int | None] = mapped_column(BigInteger)
    messages: Mapped[int | None]  # the server's count
    stored: Mapped[int] = mapped_column(default=0)
    unread: Mapped[int] = mapped_column(default=0)
    unreadable: Mapped[int] = mapped_column(default=0)
    wanted: Mapped[int | None]  # messages of the server within the window, at the last pass
    is_complete: Mapped[bool] = mapped_column(default=False)  # stored what was wanted, for the window as it is now
    trouble: Mapped[str] = mapped_column(Text, default="")
    synced_at: Mapped[datetime | None]

    run_total: Mapped[int | None]
    run_done: Mapped[int] = mapped_column(default=0)

    object_id: Mapped[str] = mapped_column(String(255), default="")
    audited_at: Mapped[datetime | None]
    audit: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class Message(Base):
    """What a list shows of one message. Times are aware; `received_at` is the server's INTERNALDATE.

    `refers_to` are the ids of the messages that it answers, the oldest first, separated by spaces; `recipients` the
    addresses of To and Cc in lower case. `content_hash` is of the fields that no server changes: two messages with the
    same one are copies. `email_id` is the server's own name for a message in all its folders (RFC 8474, Gmail). A
    `thread_id` is the id of the message with which the conversation was met first. `is_settled`: its thread and its
    contacts are known, see settling.py. `has_text`: there is a row of MessageText, or there need not be one.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("folder_id", "generation", "uid"),
        Index("ix_message_newest", "folder_id", "generation", "received_at", "uid"),
        Index(
            "ix_message_unsettled",
            "folder_id",
            sqlite_where=text("NOT is_settled"),
            postgresql_where=text("NOT is_settled"),
        ),
        Index(
            "ix_message_textless",
            "folder_id",
            sqlite_where=text("NOT has_text"),
            postgresql_where=text("NOT has_text"),
        ),
        Index("ix_message_thread_id", "thread_id"),
        Index("ix_message_content_hash", "content_hash"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"))
    generation: Mapped[int]
    uid: Mapped[int] = mapped_column(BigInteger)
    message_id: Mapped[str] = mapped_column(String(998), default="")
    subject: Mapped[str] = mapped_column(String(998), default="")
    from_name: Mapped[str] = mapped_column(String(998), default="")
    from_address: Mapped[str] = mapped_column(String(998), default="")
    to: Mapped[str] = mapped_column(Text, default="")
    reply_to: Mapped[str] = mapped_column(Text, default="")  # empty: who wrote it
    sent_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    is_read: Mapped[bool] = mapped_column(default=False)
    is_flagged: Mapped[bool] = mapped_column(default=False)
    is_answered: Mapped[bool] = mapped_column(default=False)
    is_draft: Mapped[bool] = mapped_column(default=False)
    flags: Mapped[str] = mapped_column(Text, default="")  # all of them, sorted, separated by spaces
    unreadable: Mapped[str] = mapped_column(String(500), default="")

    refers_to: Mapped[str] = mapped_column(Text, default="")
    recipients: Mapped[str] = mapped_column(Text, default="")
    is_bulk: Mapped[bool] = mapped_column(default=False)
    content_hash: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    email_id: Mapped[str] = mapped_column(String(255), default="")
    labels: Mapped[str] = mapped_column(Text, default="")  # Gmail's, sorted, separated by line feeds
    thread_id: Mapped[int | None] = mapped_column(BigInteger)
    is_settled: Mapped[bool] = mapped_column(default=False)
    preview: Mapped[str] = mapped_column(String(300), default="")
    has_attachments: Mapped[bool] = mapped_column(default=False)
    has_text: Mapped[bool] = mapped_column(default=False)


class MessageText(Base):
    """The text of a message, for reading and for searching.

    `heading` is what is searched beside `text`: subject, sender, recipients. `html` is as it came, never shown
    unsanitised. `parts` lists the attachments: part number, name, type, encoding, size in bytes. `is_cut`: there was
    more than the organisation keeps; of a message without `has_text` it says that the text was asked for in vain since
    `fetched_at`.
    """

    __tablename__ = "message_text"

    message_id: Mapped[int] = mapped_column(BigId, ForeignKey("message.id", ondelete="CASCADE"), primary_key=True)
    heading: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text, default="")
    html: Mapped[str] = mapped_column(Text, default="")
    parts: Mapped[list[Any]] = mapped_column(JSON, default=list)
    is_cut: Mapped[bool] = mapped_column(default=False)
    fetched_at: Mapped[datetime] = mapped_column(default=now)


# Full-text search: a virtual table kept by triggers on SQLite (FTS5); on PostgreSQL an index, which knows the account
# beside the words, from a column that a trigger fills. The migrations do the same; search.py asks.
WORDS_ON_SQLITE = (
    "CREATE VIRTUAL TABLE message_words USING fts5(heading, text, content='message_text', content_rowid='message_id',"
    " tokenize='unicode61 remove_diacritics 2')",
    # By eights, not by fours, which is a fifth of the work of storing texts; a search is not slower for it.
    "INSERT INTO message_words (message_words, rank) VALUES ('automerge', 8)",
    "CREATE TRIGGER message_words_in AFTER INSERT ON message_text BEGIN"
    " INSERT INTO message_words (rowid, heading, text) VALUES (new.message_id, new.heading, new.text); END",
    "CREATE TRIGGER message_words_out AFTER DELETE ON message_text BEGIN"
    " INSERT INTO message_words (message_words, rowid, heading, text)"
    " VALUES ('delete', old.message_id, old.heading, old.text); END",
    "CREATE TRIGGER message_words_again AFTER UPDATE OF heading, text ON message_text BEGIN"
    " INSERT INTO message_words (message_words, rowid, heading, text)"
    " VALUES ('delete', old.message_id, old.heading, old.text);"
    " INSERT INTO message_words (rowid, heading, text) VALUES (new.message_id, new.heading, new.text); END",
)
WORDS_ON_POSTGRESQL = (
    "ALTER TABLE message_text ADD COLUMN message_words_account integer",
    "CREATE OR REPLACE FUNCTION message_words_account_of(message_id bigint) RETURNS integer LANGUAGE sql STABLE STRICT"
    " AS 'SELECT folder.account_id FROM message JOIN folder ON folder.id = message.folder_id WHERE message.id = $1'",
    "CREATE OR REPLACE FUNCTION message_words_in() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN NEW.message_words_account := message_words_account_of(NEW.message_id); RETURN NEW; END'",
    "CREATE TRIGGER message_words_in BEFORE INSERT ON message_text FOR EACH ROW EXECUTE FUNCTION message_words_in()",
    "CREATE INDEX ix_message_text_words ON message_text USING gin ((ARRAY[message_words_account]), (ARRAY[message_id]),"
    " to_tsvector('simple', heading || ' ' || text))",
)
_TEXTS: Table = MessageText.__table__  # type: ignore[assignment]
for _statement in WORDS_ON_SQLITE:
    event.listen(_TEXTS, "after_create", DDL(_statement).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]
for _statement in WORDS_ON_POSTGRESQL:
    event.listen(_TEXTS, "after_create", DDL(_statement).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]


class MessageName(Base):
    """To which conversation of an account a Message-ID belongs, met or only referred to; `name_hash` is of the id."""

    __tablename__ = "message_name"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    name_hash: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    thread_id: Mapped[int] = mapped_column(BigInteger, index=True)


class MessageContact(Base):
    """That a message is from or to a contact."""

    __tablename__ = "message_contact"

    message_id: Mapped[int] = mapped_column(BigId, ForeignKey("message.id", ondelete="CASCADE"), primary_key=True)
    contact_id: Mapped[int] = mapped_column(ForeignKey(Contact.id, ondelete="CASCADE"), primary_key=True, index=True)
    is_sender: Mapped[bool] = mapped_column(default=False)


class ChangeKind(StrEnum):
    """What a person wants done to a message, or to a folder, on the server."""

    FLAGS = "flags"
    MOVE = "move"
    DELETE = "delete"  # for good
    APPEND = "append"


class ChangeState(StrEnum):
    """How far a change has come; REFUSED keeps its reason until the person has seen it."""

    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"


class PendingChange(Base):
    """Something that a person did here and that the server has to be told; a run does so before it reads.

    `added` and `removed` are flags separated by spaces. `content` is the whole message of an APPEND, and `target_id`
    the folder in which a copy of it is looked for first. A change that the server contradicts is REFUSED with a
    `reason`, a sentence, and `told_at` is when the person has seen it.
    """

    __tablename__ = "pending_change"
    __table_args__ = (Index("ix_pending_change_account_id_state", "account_id", "state"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"), index=True)
    message_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("message.id", ondelete="SET NULL"), index=True)
    generation: Mapped[int] = mapped_column(default=0)
    uid: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[ChangeKind] = mapped_column(words(ChangeKind))
    added: Mapped[str] = mapped_column(String(500), default="")
    removed: Mapped[str] = mapped_column(String(500), default="")
    target_id: Mapped[int | None] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"), index=True)
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    subject: Mapped[str] = mapped_column(String(998), default="")  # to tell the person which message it was
    state: Mapped[ChangeState] = mapped_column(words(ChangeState), default=ChangeState.WAITING)
    reason: Mapped[str] = mapped_column(Text, default="")
    tries: Mapped[int] = mapped_column(default=0)
    person_id: Mapped[int | None] = mapped_column(ForeignKey(Person.id, ondelete="SET NULL"), index=True)
    requested_by: Mapped[str] = mapped_column(String(200), default="")
    requested_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    told_at: Mapped[datetime | None]


class PopMessage(Base):
    """The UID that we gave to a message of a POP3 server, which itself only has a name for it (RFC 1939, UIDL)."""

    __tablename__ = "pop_message"
    __table_args__ = (
        UniqueConstraint("folder_id", "uidl"),
        UniqueConstraint("folder_id", "uid"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folder.id", ondelete="CASCADE"))
    uidl: Mapped[str] = mapped_column(String(70))  # at most 70 characters, none of them beyond ASCII
    uid: Mapped[int] = mapped_column(BigInteger)


class RunOutcome(StrEnum):
    """How a sync run ended: everything that was wanted is stored, some of it, or it broke off."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


class RunKind(StrEnum):
    """What a run is for: the usual; every folder compared in full; only counting what a first one would bring."""

    USUAL = "usual"
    AUDIT = "audit"
    DRY = "dry"


class SyncRun(Base):
    """One pass over an account. Open until `finished_at`; an account has at most one open.

    `pushed` is how many changes of people were told to the server. `found` is what an audit or a dry run found, by
    folder: see audit.py and dry.py.
    """

    __tablename__ = "sync_run"
    __table_args__ = (
        Index(
            "uq_sync_run_open",
            "account_id",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index("ix_sync_run_account_id_requested_at", "account_id", "requested_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    account: Mapped[Account] = relationship()
    requested_by: Mapped[str] = mapped_column(String(200))
    requested_at: Mapped[datetime] = mapped_column(default=now)
    rung_at: Mapped[datetime | None]  # when a runner was last asked to take it
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    outcome: Mapped[RunOutcome | None] = mapped_column(words(RunOutcome))
    category: Mapped[Category | None] = mapped_column(words(Category))
    reason: Mapped[str] = mapped_column(Text, default="")
    server_text: Mapped[str] = mapped_column(Text, default="")
    diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # see connections.diagnosis
    new: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    gone: Mapped[int] = mapped_column(default=0)
    unreadable: Mapped[int] = mapped_column(default=0)
    stored: Mapped[int] = mapped_column(default=0)
    kind: Mapped[RunKind] = mapped_column(words(RunKind), default=RunKind.USUAL)
    pushed: Mapped[int] = mapped_column(default=0)
    found: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
