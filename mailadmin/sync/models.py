"""Folders, messages and sync runs.

A message is identified by folder, generation and UID. A generation is one life of a folder's UIDs: when the server
announces a new UIDVALIDITY the folder is read into the next generation, and people see the old one until it is whole.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.db import Base, now, words
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Role

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


class Message(Base):
    """What a list shows of one message. Times are aware; `received_at` is the server's INTERNALDATE."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("folder_id", "generation", "uid"),
        Index("ix_message_newest", "folder_id", "generation", "received_at", "uid"),
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
    sent_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    is_read: Mapped[bool] = mapped_column(default=False)
    is_flagged: Mapped[bool] = mapped_column(default=False)
    is_answered: Mapped[bool] = mapped_column(default=False)
    is_draft: Mapped[bool] = mapped_column(default=False)
    flags: Mapped[str] = mapped_column(Text, default="")  # all of them, sorted, separated by spaces
    unreadable: Mapped[str] = mapped_column(String(500), default="")


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


class SyncRun(Base):
    """One pass over an account. Open until `finished_at`; an account has at most one open."""

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
