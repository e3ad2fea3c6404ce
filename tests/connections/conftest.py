"""Real servers for the connection tests, trusted by the installation under test."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailadmin.config import Settings
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.smtp import Sink


@dataclass(frozen=True)
class Servers:
    """Where the real servers listen, and what to trust."""

    dovecot: Dovecot
    smtp: Sink
    ca_file: Path

    @property
    def imap(self) -> Server:
        return Server(ServerProtocol.IMAP, "localhost", self.dovecot.ports["imaps"], TLSMode.IMPLICIT)

    @property
    def imap_starttls(self) -> Server:
        return Server(ServerProtocol.IMAP, "127.0.0.2", self.dovecot.ports["imap"], TLSMode.STARTTLS)

    @property
    def outgoing(self) -> Server:
        return Server(ServerProtocol.SMTP, "localhost", self.smtp.port, TLSMode.IMPLICIT)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Dovecot with three messages, and an SMTP server."""
    folder = tmp_path_factory.mktemp("smtp")
    with Dovecot() as dovecot, Sink(folder, "implicit") as smtp:
        dovecot.deliver(a_message(n) for n in (1, 2, 3))
        trusted = folder / "trusted.pem"
        trusted.write_bytes(dovecot.ca_file.read_bytes() + smtp.ca_file.read_bytes())
        yield Servers(dovecot, smtp, trusted)


@pytest.fixture
def settings(settings: Settings, servers: Servers) -> Settings:
    """The installation of all tests, which also trusts our servers and gives a test five seconds."""
    rules = dataclasses.replace(settings.rules, ca_file=str(servers.ca_file))
    return dataclasses.replace(settings, rules=rules, check_seconds=8.0)
