"""Providers with their domains and servers."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.db import Base, now, words
from mailadmin.mail.types import (
    Direction,
    LoginFormat,
    Server,
    ServerProtocol,
    ServiceType,
    SignInMethod,
    TLSMode,
    TLSVersion,
    Trust,
)

__all__ = ["LoginFormat", "Provider", "ProviderCertificate", "ProviderDomain", "ProviderServer", "ServerRow"]


class Provider(Base):
    """An organisation that runs mail servers.

    One from the built-in catalogue (mail/known_providers.py) has its `catalogue_key`, and in `catalogue_copy` what the
    catalogue said when it was last followed: where the row still says the same, it follows; what a person changed
    stays. `files_sent`: its servers file a copy of what is sent by themselves. `most_connections` are the connections
    that it allows to one account at once, `least_minutes` is the shortest time between two syncs that it likes; None:
    not known.
    """

    __tablename__ = "provider"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    service_type: Mapped[ServiceType] = mapped_column(words(ServiceType), default=ServiceType.OTHER)
    methods: Mapped[str] = mapped_column(String(60), default=SignInMethod.PASSWORD.value)  # separated by commas
    files_sent: Mapped[bool] = mapped_column(default=False)
    most_connections: Mapped[int | None]
    least_minutes: Mapped[int | None]
    catalogue_key: Mapped[str | None] = mapped_column(String(40), unique=True)
    catalogue_copy: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    login_format: Mapped[LoginFormat] = mapped_column(words(LoginFormat), default=LoginFormat.ADDRESS)
    minimum_tls: Mapped[TLSVersion] = mapped_column(words(TLSVersion), default=TLSVersion.TLS_1_2)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    domains: Mapped[list["ProviderDomain"]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", order_by="ProviderDomain.domain", passive_deletes=True
    )
    servers: Mapped[list["ProviderServer"]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", passive_deletes=True
    )

    certificates: Mapped[list["ProviderCertificate"]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", order_by="ProviderCertificate.id", passive_deletes=True
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    @property
    def trust(self) -> Trust:
        """How the certificates of this provider's servers are judged."""
        return Trust(self.minimum_tls or TLSVersion.TLS_1_2, "".join(row.pem for row in self.certificates))

    @property
    def sign_in_methods(self) -> frozenset[SignInMethod]:
        """How accounts here may sign in."""
        return frozenset(SignInMethod(word) for word in (self.methods or "").split(",") if word)

    def server(self, direction: Direction, protocol: ServerProtocol | None = None) -> Server | None:
        """Where mail of this provider comes in or goes out, or None where it has no such server.

        With `protocol` only a server that speaks it; without, IMAP comes before POP3.
        """
        found = [row for row in self.servers if row.direction == direction and protocol in (None, row.protocol)]
        found.sort(key=lambda row: row.protocol)
        return replace(found[0].server, trust=self.trust) if found else None


class ProviderDomain(Base):
    """A mail domain by which addresses are recognised; it belongs to one provider."""

    __tablename__ = "provider_domain"

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id", ondelete="CASCADE"), index=True)
    domain: Mapped[str] = mapped_column(String(253), unique=True)  # lower case, IDNA


class ProviderCertificate(Base):
    """A certificate of a provider's truststore: an authority's or a server's. `sha256` in hexadecimal digits."""

    __tablename__ = "provider_certificate"
    __table_args__ = (UniqueConstraint("provider_id", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id", ondelete="CASCADE"))
    pem: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(String(500))
    issuer: Mapped[str] = mapped_column(String(500))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    sha256: Mapped[str] = mapped_column(String(64))
    added_at: Mapped[datetime] = mapped_column(default=now)
    added_by: Mapped[str] = mapped_column(String(200))


class ServerRow:
    """The columns of a table of servers."""

    id: Mapped[int] = mapped_column(primary_key=True)
    direction: Mapped[Direction] = mapped_column(words(Direction))
    protocol: Mapped[ServerProtocol] = mapped_column(words(ServerProtocol))
    host: Mapped[str] = mapped_column(String(253))
    port: Mapped[int]
    tls_mode: Mapped[TLSMode] = mapped_column(words(TLSMode))

    @property
    def server(self) -> Server:
        """This row as a value, without anybody's truststore or pin."""
        return Server(self.protocol, self.host, self.port, self.tls_mode)


class ProviderServer(ServerRow, Base):
    """One of a provider's servers."""

    __tablename__ = "provider_server"
    __table_args__ = (
        UniqueConstraint("provider_id", "protocol"),
        CheckConstraint("port between 1 and 65535", name="port"),
    )

    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id", ondelete="CASCADE"))
