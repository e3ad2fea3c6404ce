"""Mail accounts, their own servers, and their credentials."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.db import Base, now, words
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, LoginFormat, Server, ServerProtocol, SignInMethod, TLSMode
from mailadmin.people.models import Person, Team
from mailadmin.providers.models import Provider, ServerRow
from mailadmin.sealed import SealedSecret


class Kind(StrEnum):
    """Whose mail it is: anyone's who is given access, a team's, or one person's."""

    SHARED = "shared"
    TEAM = "team"
    PERSONAL = "personal"


class Health(StrEnum):
    """How a connection is; the ten states on screen are derived from it in `accounts.service.state_of`."""

    NEW = "new"
    HEALTHY = "healthy"
    UNREACHABLE = "unreachable"
    NEEDS_ATTENTION = "needs attention"
    PAUSED = "paused"


class Window(StrEnum):
    """How far back mail is synced."""

    NOW = "now"
    ONE_MONTH = "1m"
    THREE_MONTHS = "3m"
    SIX_MONTHS = "6m"
    EVERYTHING = "everything"


class SentCopies(StrEnum):
    """Whether a copy of what is sent is put into the folder Sent.

    AUTOMATIC does so unless the provider files it by itself or a copy is there already.
    """

    AUTOMATIC = "automatic"
    ALWAYS = "always"
    NEVER = "never"


class NewContacts(StrEnum):
    """Which addresses in the mail of an account become contacts."""

    NOBODY = "nobody"
    WRITTEN_TO = "written to"
    EVERYBODY = "everybody"


class Visibility(StrEnum):
    """What others see, on a contact's page, of the mail of a personal account."""

    NOTHING = "nothing"
    METADATA = "metadata"  # that there was mail, and when
    SUBJECT = "subject"
    EVERYTHING = "everything"


class Account(Base):
    """One mail account.

    `health` speaks of receiving, `outgoing_health` of sending. `since` is the far end of the sync window, fixed when
    the window was chosen; None means everything. `version` grows with every change by a person, so that the second of
    two administrators is told and a job notices that its settings are old. `wanted_folders` is for accounts that set
    themselves up once a test has passed: None means that a person chooses, empty the usual choice, else paths separated
    by "|". `waits_until` is how long its server, or its provider, wants to be left alone.
    """

    __tablename__ = "account"
    # One live account per address; one that is being deleted does not stand in the way of its successor.
    __table_args__ = (
        Index(
            "uq_account_address",
            "address",
            unique=True,
            sqlite_where=text("deleting_at IS NULL"),
            postgresql_where=text("deleting_at IS NULL"),
        ),
        Index(
            "uq_account_slug",
            "slug",
            unique=True,
            sqlite_where=text("deleting_at IS NULL"),
            postgresql_where=text("deleting_at IS NULL"),
        ),
        Index(  # For counting the states, which every page does.
            "ix_account_state",
            "health",
            "outgoing_health",
            "is_set_up",
            "running_since",
            sqlite_where=text("deleting_at IS NULL"),
            postgresql_where=text("deleting_at IS NULL"),
        ),
        Index(
            "ix_account_partial",
            "id",
            sqlite_where=text("incomplete != '' AND deleting_at IS NULL"),
            postgresql_where=text("incomplete != '' AND deleting_at IS NULL"),
        ),
        Index(
            "uq_account_primary",
            "is_primary",
            unique=True,
            sqlite_where=text("is_primary AND deleting_at IS NULL"),
            postgresql_where=text("is_primary AND deleting_at IS NULL"),
        ),
        Index(
            "uq_account_system_mail",
            "is_system_mail",
            unique=True,
            sqlite_where=text("is_system_mail AND deleting_at IS NULL"),
            postgresql_where=text("is_system_mail AND deleting_at IS NULL"),
        ),
        {"sqlite_autoincrement": True},  # The audit trail must never speak of another account with the same number.
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str | None] = mapped_column(String(60))  # the id that people give it: lower case, digits, hyphens
    address: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(120))
    kind: Mapped[Kind] = mapped_column(words(Kind), default=Kind.SHARED)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("person.id", ondelete="SET NULL"), index=True)
    owner: Mapped[Person | None] = relationship()
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id", ondelete="SET NULL"), index=True)
    team: Mapped[Team | None] = relationship()
    is_primary: Mapped[bool] = mapped_column(default=False)  # shown first, and first for writing
    is_system_mail: Mapped[bool] = mapped_column(default=False)  # the console writes through it
    asked_owner_at: Mapped[datetime | None]  # its owner has a connect link; written by invites
    notes: Mapped[str] = mapped_column(Text, default="")
    sender_address: Mapped[str] = mapped_column(String(254), default="")  # empty: the address itself
    sender_name: Mapped[str] = mapped_column(String(120), default="")
    reply_to: Mapped[str] = mapped_column(String(254), default="")
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("provider.id"), index=True)
    provider: Mapped[Provider | None] = relationship(lazy="joined")
    protocol: Mapped[ServerProtocol] = mapped_column(words(ServerProtocol), default=ServerProtocol.IMAP)  # receiving
    login_format: Mapped[LoginFormat | None] = mapped_column(words(LoginFormat))  # None: the provider's
    sent_copies: Mapped[SentCopies] = mapped_column(words(SentCopies), default=SentCopies.AUTOMATIC)
    sent_folder: Mapped[str] = mapped_column(String(1000), default="")  # path of the one in use; written by sync
    new_contacts: Mapped[NewContacts] = mapped_column(words(NewContacts), default=NewContacts.EVERYBODY)
    servers: Mapped[list["AccountServer"]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", passive_deletes=True
    )
    credentials: Mapped[list["Credential"]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", passive_deletes=True
    )

    window: Mapped[Window] = mapped_column(words(Window), default=Window.THREE_MONTHS)
    since: Mapped[datetime | None]
    sync_minutes: Mapped[int | None]  # None: the installation's default
    is_set_up: Mapped[bool] = mapped_column(default=False)  # folders were chosen; nothing is synced before
    wanted_folders: Mapped[str | None] = mapped_column(Text)  # see above
    next_sync_at: Mapped[datetime | None] = mapped_column(index=True)
    synced_at: Mapped[datetime | None]  # end of the last complete run
    stored: Mapped[int] = mapped_column(default=0)  # messages in the active folders, written by sync
    running_since: Mapped[datetime | None]  # written by sync
    incomplete: Mapped[str] = mapped_column(Text, default="")  # why less is stored than wanted; written by sync
    audited_at: Mapped[datetime | None]  # when a sync last compared everything with the server
    audit_agrees: Mapped[bool | None]  # whether all was equal afterwards; None: never audited
    watched_since: Mapped[datetime | None]  # the server tells a watcher of new mail; written by sync
    waits_until: Mapped[datetime | None]  # written by sync
    waits_reason: Mapped[str] = mapped_column(Text, default="")
    keep_months: Mapped[int | None]  # older mail is forgotten here, never on the server; None: nothing is
    visibility: Mapped[Visibility] = mapped_column(words(Visibility), default=Visibility.NOTHING)

    is_paused_by_owner: Mapped[bool] = mapped_column(default=False)  # then its owner may resume it, too
    health: Mapped[Health] = mapped_column(words(Health), default=Health.NEW, index=True)
    health_category: Mapped[Category | None] = mapped_column(words(Category))
    health_reason: Mapped[str] = mapped_column(Text, default="")
    health_since: Mapped[datetime] = mapped_column(default=now)
    failures: Mapped[int] = mapped_column(default=0)  # in a row, of scheduled runs
    outgoing_health: Mapped[Health] = mapped_column(words(Health), default=Health.NEW)
    outgoing_category: Mapped[Category | None] = mapped_column(words(Category))
    outgoing_reason: Mapped[str] = mapped_column(Text, default="")
    outgoing_since: Mapped[datetime | None]

    incoming_pin: Mapped[str] = mapped_column(String(64), default="")  # SHA-256 of the one certificate to accept
    outgoing_pin: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleting_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)

    @property
    def is_unencrypted(self) -> bool:
        """Whether mail or password of this account cross the network in plain text."""
        return any((server := self.server(d)) is not None and server.tls_mode is TLSMode.NONE for d in Direction)

    @property
    def method(self) -> SignInMethod | None:
        """How it signs in to receive; None while nothing is stored for that."""
        credential = self.credential(Direction.INCOMING)
        return credential.method if credential else None

    @property
    def is_legacy(self) -> bool:
        """Whether it signs in with a password where its provider offers OAuth."""
        if self.provider is None or self.method in (None, SignInMethod.OAUTH):
            return False
        return SignInMethod.OAUTH in self.provider.sign_in_methods

    def server(self, direction: Direction) -> Server | None:
        """The account's own server for `direction`, else its provider's, else None; without this account's pin."""
        own = self.own_server(direction)
        if own is not None or self.provider is None:
            return own
        return self.provider.server(direction, self.protocol if direction is Direction.INCOMING else None)

    def pin(self, direction: Direction) -> str:
        """The SHA-256 of the one certificate that is accepted for `direction`; empty: the usual rules."""
        return (self.incoming_pin if direction is Direction.INCOMING else self.outgoing_pin) or ""

    def own_server(self, direction: Direction) -> Server | None:
        """The server set for this account alone, or None where the provider's counts."""
        found = [row for row in self.servers if row.direction == direction]
        return found[0].server if found else None

    def credential(self, direction: Direction) -> "Credential | None":
        """The credential for `direction`; sending without one of its own uses that for receiving."""
        found = [row for row in self.credentials if row.direction == direction]
        if found:
            return found[0]
        return self.credential(Direction.INCOMING) if direction is Direction.OUTGOING else None


class AccountServer(ServerRow, Base):
    """A server that this account has instead of its provider's."""

    __tablename__ = "account_server"
    __table_args__ = (
        UniqueConstraint("account_id", "direction"),
        CheckConstraint("port between 1 and 65535", name="port"),
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))


class Credential(Base):
    """How an account signs in. An empty `username` follows the provider's login format."""

    __tablename__ = "credential"
    __table_args__ = (UniqueConstraint("account_id", "direction"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"))
    direction: Mapped[Direction] = mapped_column(words(Direction))
    method: Mapped[SignInMethod] = mapped_column(words(SignInMethod), default=SignInMethod.PASSWORD)
    username: Mapped[str] = mapped_column(String(254), default="")
    secret_id: Mapped[UUID] = mapped_column(ForeignKey(SealedSecret.id))
    changed_at: Mapped[datetime] = mapped_column(default=now)


class Draft(Base):
    """A connection that somebody wants to test before it is saved: what drafts.py sealed. It goes with its test."""

    __tablename__ = "draft"

    id: Mapped[int] = mapped_column(primary_key=True)
    secret_id: Mapped[UUID] = mapped_column(ForeignKey(SealedSecret.id))
    created_at: Mapped[datetime] = mapped_column(default=now)
