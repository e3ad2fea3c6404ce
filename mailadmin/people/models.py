"""People, teams, roles of one's own, how people prove who they are, and their sessions."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.db import Base, now, words
from mailadmin.permissions import BASE, ROLES, Permission, PersonRole
from mailadmin.sealed import SealedSecret


def initials(name: str) -> str:
    """The first letters of the first and the last word of `name`."""
    parts = name.split()
    return "".join(part[0] for part in (parts[:1] + parts[1:][-1:])).upper()


class CustomRole(Base):
    """A set of permissions with a name, for administrators who look after a part of the console."""

    __tablename__ = "custom_role"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    words: Mapped[str] = mapped_column("permissions", String(400), default="")  # separated by commas

    @property
    def permissions(self) -> frozenset[Permission]:
        """What it allows; words that no permission has any more are left out."""
        return frozenset(permission for permission in Permission if permission.value in self.words.split(","))


class Person(Base):
    """Somebody who signs in here.

    With `custom_role` an administrator may do what that allows and nothing else. `totp_id` is the sealed secret of an
    authenticator, which counts from `totp_since` on; codes up to `totp_step` are used up (RFC 6238 5.2). `issuer` and
    `subject` are who the person is at the organisation's own sign-in (OpenID Connect Core 5.7).
    """

    __tablename__ = "person"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(120))
    role: Mapped[PersonRole] = mapped_column(words(PersonRole))
    password_hash: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    deactivated_at: Mapped[datetime | None]
    custom_role_id: Mapped[int | None] = mapped_column(ForeignKey("custom_role.id"), index=True)
    custom_role: Mapped[CustomRole | None] = relationship(lazy="joined")
    seen_at: Mapped[datetime | None]
    time_zone: Mapped[str] = mapped_column(String(60), default="")  # IANA name; empty: UTC
    signature: Mapped[str] = mapped_column(Text, default="")
    totp_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))
    totp_since: Mapped[datetime | None]
    totp_step: Mapped[int] = mapped_column(BigInteger, default=0)
    issuer: Mapped[str | None] = mapped_column(String(500))
    subject: Mapped[str | None] = mapped_column(String(255))

    @property
    def initials(self) -> str:
        """Up to two letters for the round badge."""
        return initials(self.name)

    @property
    def is_active(self) -> bool:
        """Whether this person may sign in."""
        return self.deactivated_at is None

    @property
    def permissions(self) -> frozenset[Permission]:
        """What this person may do here; nothing when deactivated."""
        if not self.is_active:
            return frozenset()
        if self.role is PersonRole.ADMINISTRATOR and self.custom_role is not None:
            return self.custom_role.permissions | BASE
        return ROLES[self.role]

    def may(self, permission: Permission) -> bool:
        """Whether this person may do what `permission` stands for."""
        return permission in self.permissions


class Team(Base):
    """People who share an account."""

    __tablename__ = "team"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class TeamMember(Base):
    """That a person belongs to a team."""

    __tablename__ = "team_member"

    team_id: Mapped[int] = mapped_column(ForeignKey("team.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), primary_key=True, index=True)
    since: Mapped[datetime] = mapped_column(default=now)


class Passkey(Base):
    """A WebAuthn credential of a person: its id, its public key (COSE), and how often it has signed."""

    __tablename__ = "passkey"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    signed: Mapped[int] = mapped_column(BigInteger, default=0)
    transports: Mapped[str] = mapped_column(String(100), default="")
    name: Mapped[str] = mapped_column(String(60), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime | None]


class RecoveryCode(Base):
    """A code that stands in for a lost second factor, once; only its hash is kept."""

    __tablename__ = "recovery_code"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    used_at: Mapped[datetime | None]


class TicketPurpose(StrEnum):
    """What a ticket opens."""

    INVITE = "invite"  # choose the first password
    RESET = "reset"  # choose a new one
    SECOND_FACTOR = "second factor"  # the password was right
    PASSKEY = "passkey"  # a challenge that a passkey has to sign
    SINGLE_SIGN_ON = "single sign-on"  # the state of a sign-in elsewhere


class Ticket(Base):
    """Something that is good once and not for long: a link for a person, or a step of a sign-in. Only a hash is kept.

    `kept` is what the next step has to know, sealed.
    """

    __tablename__ = "ticket"

    id: Mapped[int] = mapped_column(primary_key=True)
    purpose: Mapped[TicketPurpose] = mapped_column(words(TicketPurpose))
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    kept_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))
    tries: Mapped[int] = mapped_column(default=0)
    made_by: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class SignInProvider(Base):
    """Where people of the organisation sign in instead of here (OpenID Connect); `key` stands in addresses.

    Only addresses of `domains` (separated by spaces) are let in. `adds_people`: whoever comes for the first time
    becomes a worker. With `proofs` (separated by spaces) a sign-in counts as one with a second factor only where `acr`
    or `amr` of the id token has one of them; without, it always does.
    """

    __tablename__ = "sign_in_provider"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    issuer: Mapped[str] = mapped_column(String(500), unique=True)
    client_id: Mapped[str] = mapped_column(String(255))
    secret_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))
    domains: Mapped[str] = mapped_column(Text, default="")
    proofs: Mapped[str] = mapped_column(Text, default="")
    adds_people: Mapped[bool] = mapped_column(default=False)
    is_on: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class SignIn(Base):
    """A session of a person in one browser. Only a hash of its token is kept; ending the row ends the session.

    `method` is how the person proved who they are: password, passkey, single sign-on.
    """

    __tablename__ = "sign_in"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), index=True)
    person: Mapped[Person] = relationship(lazy="joined")
    started_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    from_address: Mapped[str] = mapped_column(String(60), default="")
    browser: Mapped[str] = mapped_column(String(200), default="")
    method: Mapped[str] = mapped_column(String(20), default="password")
    has_second_factor: Mapped[bool] = mapped_column(default=False)


class SetupLink(Base):
    """A link that opens the first set-up, once; only a hash of its code is kept."""

    __tablename__ = "setup_link"

    id: Mapped[int] = mapped_column(primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
