"""Contacts: people outside whose addresses stand in the mail."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.db import Base, now


def key_of(address: str) -> str:
    """By what an address, given in lower case, is known as a contact: `ada+news@` and `ada@` are one."""
    name, _, domain = address.rpartition("@")
    return f"{name.partition('+')[0] or name}@{domain}"


def _key(context: DefaultExecutionContext) -> str:
    return key_of(context.get_current_parameters()["address"])  # type: ignore[no-untyped-call]


class Contact(Base):
    """An address that mail came from or went to. `account` is where it was met first.

    `key` is the address by which a contact is known: in lower case, without what follows a plus sign.
    """

    __tablename__ = "contact"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(254), unique=True, default=_key)
    address: Mapped[str] = mapped_column(String(254))  # lower case
    name: Mapped[str] = mapped_column(String(200), default="")
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id", ondelete="SET NULL"), index=True)
    account: Mapped[Account | None] = relationship()
    created_at: Mapped[datetime] = mapped_column(default=now)
