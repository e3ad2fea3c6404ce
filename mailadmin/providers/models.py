"""Providers with their domains and servers."""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.db import Base, now, words
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode, TLSVersion, Trust


class LoginFormat(StrEnum):
    """What a mail server wants as user name."""

    ADDRESS = "address"
    LOCAL_PART = "local part"
    BY_HAND = "by hand"


class Provider(Base):
    """An organisation that runs mail servers."""

    __tablename__ = "provider"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
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

    def server(self, direction: Direction) -> Server | None:
        """Where mail of this provider comes in or goes out, or None where it has no such server."""
        found = [row for row in self.servers if row.direction == direction]
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
        UniqueConstraint("provider_id", "direction"),
        CheckConstraint("port between 1 and 65535", name="port"),
    )

    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id", ondelete="CASCADE"))
