"""Entries of the audit trail."""

from datetime import datetime
from typing import NoReturn

from sqlalchemy import String, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from mailadmin.db import Base, now


class Activity(Base):
    """Who did what. Entries outlive the people and accounts they name, so they hold ids and names, not foreign keys."""

    __tablename__ = "activity"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now, index=True)
    person_id: Mapped[int | None]
    person_name: Mapped[str] = mapped_column(String(200))
    what: Mapped[str] = mapped_column(String(300))
    detail: Mapped[str] = mapped_column(Text, default="")
    account_id: Mapped[int | None] = mapped_column(index=True)
    from_address: Mapped[str] = mapped_column(String(60), default="")
    kind: Mapped[str] = mapped_column(String(20), default="", index=True)  # see service.py


def _refuse(*_: object) -> NoReturn:
    raise RuntimeError("An entry of the audit trail is not changed, and deleted by its age alone.")


for _what in ("before_update", "before_delete"):
    event.listen(Activity, _what, _refuse)
