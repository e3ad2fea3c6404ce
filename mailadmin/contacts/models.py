"""Contacts: people outside whose addresses stand in the mail."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.db import Base, now


class Contact(Base):
    """An address that mail came from or went to. `account` is where it was met first."""

    __tablename__ = "contact"

    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(String(254), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(200), default="")
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    account: Mapped[Account | None] = relationship()
    created_at: Mapped[datetime] = mapped_column(default=now)
