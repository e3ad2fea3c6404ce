"""Which account a person may use: at most five, in numbered slots, which the table itself sees to."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.db import Base, now
from mailadmin.people.models import Person

SLOTS = 5


class Access(Base):
    """That `person` may read the mail of `account`; it stands at `position`, 1 to 5, which no other may take.

    `may_write`: change the mail (read, flag, move, delete). `may_send`: send as the account. `is_primary`: the account
    is shown first and used first for writing.
    """

    __tablename__ = "access"
    __table_args__ = (
        UniqueConstraint("person_id", "position"),
        UniqueConstraint("person_id", "account_id"),
        CheckConstraint(f"position between 1 and {SLOTS}", name="position"),
        Index(
            "uq_access_primary",
            "person_id",
            unique=True,
            sqlite_where=text("is_primary"),
            postgresql_where=text("is_primary"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"))
    person: Mapped[Person] = relationship()
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    account: Mapped[Account] = relationship()
    position: Mapped[int]
    may_write: Mapped[bool] = mapped_column(default=True)
    may_send: Mapped[bool] = mapped_column(default=True)
    is_primary: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)
