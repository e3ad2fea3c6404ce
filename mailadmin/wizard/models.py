"""What the network said about mail domains, kept for an hour."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from mailadmin.db import Base, now


class Lookup(Base):
    """One domain that somebody asks about. `found`: the `mail.discovery.Discovery` as plain values, once it ended."""

    __tablename__ = "lookup"

    domain: Mapped[str] = mapped_column(String(253), primary_key=True)  # lower case, IDNA
    asked_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    found: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
