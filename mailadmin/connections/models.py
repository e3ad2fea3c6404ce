"""Connection tests and what came of them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.db import Base, now, words
from mailadmin.mail.errors import Category


class CheckOutcome(StrEnum):
    """How a connection test ended."""

    PASSED = "passed"
    FAILED = "failed"


class Check(Base):
    """One connection test of an account. Open until `finished_at`; an account has at most one open.

    `stages` is a list of {direction, name, outcome, ms, detail} in the order of happening; `diagnosis` is {rule, title,
    cause, action (list of sentences), server_text, direction} or None; `folders` is what the server listed, kept until
    somebody chooses among them.
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
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    account: Mapped[Account] = relationship()
    account_version: Mapped[int]
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
