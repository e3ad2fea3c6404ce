"""The company that uses this installation."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from mailadmin.db import Base


class Organisation(Base):
    """One row: settings for the whole company."""

    __tablename__ = "organisation"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    uses_mail: Mapped[bool] = mapped_column(default=True)  # False: nothing is synced, and workers see no mailboxes
