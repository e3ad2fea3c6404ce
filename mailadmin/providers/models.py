"""Providers with their domains and servers."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mailadmin.db import Base, now, words
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode


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
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    domains: Mapped[list["ProviderDomain"]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", order_by="ProviderDomain.domain", passive_deletes=True
    )
    servers: Mapped[list["ProviderServer"]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", passive_deletes=True
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    def server(self, direction: Direction) -> Server | None:
        """Where mail of this provider comes in or goes out, or None where it has no such server."""
        found = [row for row in self.servers if row.direction == direction]
        return found[0].server if found else None


class ProviderDomain(Base):
    """A mail domain by which addresses are recognised; it belongs to one provider."""

    __tablename__ = "provider_domain"

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id", ondelete="CASCADE"), index=True)
    domain: Mapped[str] = mapped_column(String(253), unique=True)  # lower case, IDNA


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
        """This row as a value."""
        return Server(self.protocol, self.host, self.port, self.tls_mode)


class ProviderServer(ServerRow, Base):
    """One of a provider's servers."""

    __tablename__ = "provider_server"
    __table_args__ = (
        UniqueConstraint("provider_id", "direction"),
        CheckConstraint("port between 1 and 65535", name="port"),
    )

    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id", ondelete="CASCADE"))
