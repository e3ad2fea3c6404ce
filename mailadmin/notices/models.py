"""E-mail that we ourselves owe somebody."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from mailadmin.db import Base, now
from mailadmin.sealed import SealedSecret


class Notice(Base):
    """One e-mail to send through the account for system mail. Its text is sealed, since it may hold a link that opens
    something; it is forgotten once sent. `about` is whose it is, such as `invite:7`."""

    __tablename__ = "notice"

    id: Mapped[int] = mapped_column(primary_key=True)
    about: Mapped[str] = mapped_column(String(60), index=True)
    recipient: Mapped[str] = mapped_column(String(254))
    subject: Mapped[str] = mapped_column(String(200))
    text_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))
    wanted_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    next_try_at: Mapped[datetime | None] = mapped_column(index=True)  # None: sent, or given up
    tries: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    problem: Mapped[str] = mapped_column(Text, default="")  # a sentence for the administrator
