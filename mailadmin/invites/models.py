"""Connect links."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.connections.models import Check
from mailadmin.db import Base, now
from mailadmin.oauth.models import Attempt
from mailadmin.people.models import Person


class Invite(Base):
    """A one-time link for the owner of a mailbox. It is open until `ended_at`, and good until `expires_at`.

    `serial` is signed into the link and grows when it is sent again, so that older links are worth nothing; 0: there is
    no link, an owner who is signed in asks themselves (own.py). `tries`
    counts attempts to connect. It ends connected, refused or revoked, see `ending`. `asked_again_at`: its owner found
    it run out and asked for a new one.
    """

    __tablename__ = "invite"
    __table_args__ = (
        Index(
            "uq_invite_open",
            "account_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    account: Mapped[Account] = relationship()
    address: Mapped[str] = mapped_column(String(254))  # the account's when it was made; the link is good for no other
    send_to: Mapped[str] = mapped_column(String(254), default="")  # empty: an administrator hands the link over
    serial: Mapped[int] = mapped_column(default=1)
    invited_by_id: Mapped[int | None] = mapped_column(ForeignKey("person.id", ondelete="SET NULL"))
    invited_by: Mapped[Person | None] = relationship()
    invited_by_name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    asked_again_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ending: Mapped[str] = mapped_column(String(20), default="")  # connected, refused or revoked
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("oauth_attempt.id", ondelete="SET NULL"))
    attempt: Mapped[Attempt | None] = relationship()
    check_id: Mapped[int | None] = mapped_column(ForeignKey("connection_check.id", ondelete="SET NULL"))
    check: Mapped[Check | None] = relationship()
    problem: Mapped[str] = mapped_column(Text, default="")  # why the last try failed, a sentence
