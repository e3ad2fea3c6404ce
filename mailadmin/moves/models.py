"""Accounts on their way from passwords to OAuth."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.db import Base, now, words
from mailadmin.invites.models import Invite
from mailadmin.oauth.models import Attempt


class MoveWay(StrEnum):
    """Who gives the grant: an administrator who can sign in there, the owner by a link, or the organisation."""

    SIGN_IN = "sign in"
    OWNER = "owner"
    APPLICATION = "application"
    SERVICE_ACCOUNT = "service account"


class MoveState(StrEnum):
    """How far a move has come; only MOVED accounts sign in with OAuth."""

    PREPARED = "prepared"
    WAITING = "waiting"  # for the owner, or for somebody to sign in
    TESTING = "testing"
    FAILED = "failed"
    MOVED = "moved"
    ROLLED_BACK = "rolled back"


class Move(Base):
    """The move of one account. `reason` is why it failed, a sentence."""

    __tablename__ = "move"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), unique=True)
    account: Mapped[Account] = relationship()
    way: Mapped[MoveWay] = mapped_column(words(MoveWay))
    state: Mapped[MoveState] = mapped_column(words(MoveState), default=MoveState.PREPARED, index=True)
    reason: Mapped[str] = mapped_column(Text, default="")
    invite_id: Mapped[int | None] = mapped_column(ForeignKey("invite.id", ondelete="SET NULL"))
    invite: Mapped[Invite | None] = relationship()
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("oauth_attempt.id", ondelete="SET NULL"))
    attempt: Mapped[Attempt | None] = relationship()
    requested_by: Mapped[str] = mapped_column(String(200))
    requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("person.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    moved_at: Mapped[datetime | None]
