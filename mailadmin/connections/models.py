"""Connection tests and what came of them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account, Draft
from mailadmin.db import Base, now, words
from mailadmin.mail.errors import Category
from mailadmin.oauth.models import Attempt


class CheckOutcome(StrEnum):
    """How a connection test ended."""

    PASSED = "passed"
    FAILED = "failed"


class Check(Base):
    """One connection test, of an account or of a draft. Open until `finished_at`; an account has at most one open.

    `servers` and `users` say by direction what was tested, the former as commands write them. `message_to` is where a
    test message was asked to go, `awaits` whether its arrival is waited for. `user_name` is tried in place of the
    account's. `attempt` has the OAuth tokens that are tested before the account takes them; `renewed`: a token was
    refused and the test is done again with a new one, once. `in_turn` is one of many that were asked for together: they
    are done politely, few at a time per host.
    `stages` is a list of {direction, name, outcome, ms, detail, facts} in the order of happening (mail.types.Stage);
    `diagnosis` is what diagnosis.py makes, or None; `folders` is what the server listed, kept until somebody chooses.
    """

    __tablename__ = "connection_check"
    __table_args__ = (
        Index(
            "uq_connection_check_open",
            "account_id",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    account: Mapped[Account | None] = relationship()
    account_version: Mapped[int] = mapped_column(default=0)
    draft_id: Mapped[int | None] = mapped_column(ForeignKey("draft.id", ondelete="SET NULL"))
    draft: Mapped[Draft | None] = relationship()
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("oauth_attempt.id", ondelete="SET NULL"), index=True)
    attempt: Mapped[Attempt | None] = relationship()
    renewed: Mapped[bool] = mapped_column(default=False)
    address: Mapped[str] = mapped_column(String(254), default="")
    servers: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    users: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    user_name: Mapped[str] = mapped_column(String(254), default="")
    message_to: Mapped[str] = mapped_column(String(254), default="")
    awaits: Mapped[bool] = mapped_column(default=False)
    in_turn: Mapped[bool] = mapped_column(default=False)
    requested_by: Mapped[str] = mapped_column(String(200))
    requested_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None] = mapped_column(index=True)
    outcome: Mapped[CheckOutcome | None] = mapped_column(words(CheckOutcome))
    category: Mapped[Category | None] = mapped_column(words(Category))
    seconds: Mapped[float | None]
    stages: Mapped[list[Any]] = mapped_column(JSON, default=list)
    diagnosis: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    folders: Mapped[list[Any]] = mapped_column(JSON, default=list)


class UnprovedTest(Base):
    """One test of a server that had not let the account in before: who, where, when. For limits.py."""

    __tablename__ = "unproved_test"

    id: Mapped[int] = mapped_column(primary_key=True)
    tested_by: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(253), index=True)
    tested_at: Mapped[datetime] = mapped_column(default=now, index=True)


class FailingHost(Base):
    """A mail server that has let nobody in since `failing_since`: how often it was tried, and when it may be again."""

    __tablename__ = "failing_host"

    host: Mapped[str] = mapped_column(String(260), primary_key=True)  # name:port
    failing_since: Mapped[datetime] = mapped_column(default=now)
    failures: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")
