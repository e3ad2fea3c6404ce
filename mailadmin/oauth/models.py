"""OAuth apps of providers, what was granted to accounts, and the attempts to get it."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.accounts.models import Account
from mailadmin.authorization import ClientAuth
from mailadmin.db import Base, now, words
from mailadmin.mail.errors import Category
from mailadmin.providers.models import Provider
from mailadmin.sealed import SealedSecret


class Cloud(StrEnum):
    """Which of Microsoft's clouds a tenant lives in."""

    GLOBAL = "global"
    US = "us government"
    US_DOD = "us defence"
    CHINA = "china"


class Publishing(StrEnum):
    """What Google says of an app: grants given while it is TESTING end after seven days."""

    UNKNOWN = "unknown"
    TESTING = "testing"
    PRODUCTION = "production"
    INTERNAL = "internal"


class GrantKind(StrEnum):
    """Who lets us in: the owner or a delegate by signing in, or the organisation for all of its mailboxes."""

    PERSON = "person"
    APPLICATION = "application"  # client credentials, RFC 6749 4.4
    SERVICE_ACCOUNT = "service account"  # JWT bearer, RFC 7523


class AttemptState(StrEnum):
    """How far an attempt to get a grant has come.

    WAITING for the browser to come back; ANSWERED: a job has to ask for tokens; GRANTED: tokens are in hand, and a
    connection test is running with them, or waits for an administrator to accept who signed in; DONE and REFUSED.
    """

    WAITING = "waiting"
    ANSWERED = "answered"
    GRANTED = "granted"
    DONE = "done"
    REFUSED = "refused"


class OAuthApp(Base):
    """Our registration at a provider (RFC 6749 2: client); one per provider.

    `{tenant}` in URLs stands for `tenant`. `scopes` (separated by blanks) are asked of people, `app_scopes` for
    mailboxes without a person. `parameters` are added to the authorization request, written like a query. An app signs
    in with `secret_id`, or with `key_id` and `certificate` (private_key_jwt); Google's service account has its own key
    in `service_key_id`. `verification` is what "Verify set-up" found, see verify.py; its mailbox steps use
    `verify_mailbox`.
    """

    __tablename__ = "oauth_app"

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id", ondelete="CASCADE"), unique=True)
    provider: Mapped[Provider] = relationship(lazy="joined")
    client_id: Mapped[str] = mapped_column(String(255), default="")
    client_auth: Mapped[ClientAuth] = mapped_column(words(ClientAuth), default=ClientAuth.POST)
    secret_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))
    secret_ends_on: Mapped[date | None]
    key_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))  # PEM
    certificate: Mapped[str] = mapped_column(Text, default="")  # PEM
    certificate_ends_at: Mapped[datetime | None]
    tenant: Mapped[str] = mapped_column(String(120), default="")
    cloud: Mapped[Cloud] = mapped_column(words(Cloud), default=Cloud.GLOBAL)
    publishing: Mapped[Publishing] = mapped_column(words(Publishing), default=Publishing.UNKNOWN)
    issuer: Mapped[str] = mapped_column(String(500), default="")
    authorize_url: Mapped[str] = mapped_column(String(500), default="")
    token_url: Mapped[str] = mapped_column(String(500), default="")
    jwks_url: Mapped[str] = mapped_column(String(500), default="")
    userinfo_url: Mapped[str] = mapped_column(String(500), default="")
    revocation_url: Mapped[str] = mapped_column(String(500), default="")
    scopes: Mapped[str] = mapped_column(Text, default="")
    app_scopes: Mapped[str] = mapped_column(Text, default="")
    parameters: Mapped[str] = mapped_column(Text, default="")
    service_account: Mapped[str] = mapped_column(String(254), default="")
    service_key_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))  # JSON as Google gives it
    verify_mailbox: Mapped[str] = mapped_column(String(254), default="")
    verify_wanted_at: Mapped[datetime | None]
    verify_started_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    verification: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Grant(Base):
    """What an account was granted; the access token itself is the secret of its credential for receiving.

    `identity` is the verified address of who signed in, which for a shared mailbox is a delegate. `expires_at` is the
    end of the access token. `wanted_at`: somebody waits for a new token. `failed_*` say why the last try gave none,
    empty after a success; `failed_permanent`: only a new consent, or a change of the app, can help.
    """

    __tablename__ = "oauth_grant"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), unique=True)
    account: Mapped[Account] = relationship()
    app_id: Mapped[int] = mapped_column(ForeignKey("oauth_app.id"), index=True)
    app: Mapped[OAuthApp] = relationship()
    kind: Mapped[GrantKind] = mapped_column(words(GrantKind), default=GrantKind.PERSON)
    identity: Mapped[str] = mapped_column(String(254), default="")
    is_delegate: Mapped[bool] = mapped_column(default=False)
    scopes: Mapped[str] = mapped_column(Text, default="")
    refresh_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))
    expires_at: Mapped[datetime | None]
    granted_at: Mapped[datetime] = mapped_column(default=now)
    refreshed_at: Mapped[datetime] = mapped_column(default=now)
    wanted_at: Mapped[datetime | None] = mapped_column(index=True)
    started_at: Mapped[datetime | None]  # by the job that asks for a token now
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    failed_at: Mapped[datetime | None]
    next_try_at: Mapped[datetime | None]
    failed_category: Mapped[Category | None] = mapped_column(words(Category))
    failed_permanent: Mapped[bool] = mapped_column(default=False)
    failed_code: Mapped[str] = mapped_column(String(80), default="")  # the rule that explains it
    failed_message: Mapped[str] = mapped_column(Text, default="")
    failed_detail: Mapped[str] = mapped_column(Text, default="")  # the provider's own words, scrubbed


class Attempt(Base):
    """One attempt to get a grant for an account. What it knows in secret is one sealed JSON object, see consent.py.

    `state_hash` and `binder_hash` (SHA-256) are of the one-time value that travels through the browser and of what the
    browser itself keeps. `came_from` says where the person goes on afterwards.
    """

    __tablename__ = "oauth_attempt"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    account: Mapped[Account] = relationship()
    app_id: Mapped[int] = mapped_column(ForeignKey("oauth_app.id", ondelete="CASCADE"), index=True)
    app: Mapped[OAuthApp] = relationship()
    kind: Mapped[GrantKind] = mapped_column(words(GrantKind), default=GrantKind.PERSON)
    state: Mapped[AttemptState] = mapped_column(words(AttemptState), default=AttemptState.WAITING, index=True)
    state_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32), unique=True)
    binder_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    redirect_uri: Mapped[str] = mapped_column(String(500), default="")
    came_from: Mapped[str] = mapped_column(String(20), default="")
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id", ondelete="SET NULL"))
    requested_by: Mapped[str] = mapped_column(String(200))
    from_address: Mapped[str] = mapped_column(String(60), default="")
    is_delegate: Mapped[bool] = mapped_column(default=False)  # an administrator said so
    secret_id: Mapped[UUID | None] = mapped_column(ForeignKey(SealedSecret.id))
    identity: Mapped[str] = mapped_column(String(254), default="")
    scopes: Mapped[str] = mapped_column(Text, default="")
    account_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    expires_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]  # by the job that asks for tokens now
    ended_at: Mapped[datetime | None]
    failed_category: Mapped[Category | None] = mapped_column(words(Category))
    failed_code: Mapped[str] = mapped_column(String(80), default="")
    failed_message: Mapped[str] = mapped_column(Text, default="")
    failed_detail: Mapped[str] = mapped_column(Text, default="")


class KeptPassword(Base):
    """The password with which an account signed in before it had OAuth; sealed, for the way back, until `ends_at`."""

    __tablename__ = "kept_password"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), unique=True)
    account: Mapped[Account] = relationship()
    secret_id: Mapped[UUID] = mapped_column(ForeignKey(SealedSecret.id))
    kept_at: Mapped[datetime] = mapped_column(default=now)
    ends_at: Mapped[datetime] = mapped_column(index=True)
