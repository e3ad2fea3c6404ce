"""Real servers for the tests of `mail/`, one of each for the whole run, and openers that know them."""

import ssl
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from mailadmin.mail.deadline import Deadline
from mailadmin.mail.imap import Imap, open_imap
from mailadmin.mail.types import Password, Rules, Server, ServerProtocol, Stage, TLSMode
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot, is_installed

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
WIM = Password("wim@example.org", "password")
USERS = dict.fromkeys(("wim@example.org", "ada@example.org", "olga@example.org", "mia@example.org"), "password")

OpenImap = Callable[..., Imap]


def imap(host: str, port: int, mode: str) -> Server:
    return Server(ServerProtocol.IMAP, host, port, TLSMode(mode))


def smtp(host: str, port: int, mode: str) -> Server:
    return Server(ServerProtocol.SMTP, host, port, TLSMode(mode))


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    if not is_installed():
        pytest.fail("Dovecot 2.3 is not installed: run tests/install.sh.")
    with Dovecot(USERS) as server:
        yield server


@pytest.fixture(scope="session")
def rules(dovecot: Dovecot) -> Rules:
    return Rules(networks=LOOPBACK, ca_file=str(dovecot.ca_file))


@pytest.fixture
def stages() -> list[Stage]:
    return []


@pytest.fixture
def connect(dovecot: Dovecot, rules: Rules, stages: list[Stage]) -> Iterator[OpenImap]:
    """Opens IMAP to the Dovecot, signed in as `user` unless that is empty."""
    opened: list[Imap] = []

    def open_it(mode: str = "implicit", user: str = "wim@example.org") -> Imap:
        where = ("localhost", "imaps", "implicit") if mode == "implicit" else ("127.0.0.2", "imap", mode)
        session = open_imap(imap(where[0], dovecot.ports[where[1]], where[2]), rules, Deadline(20), stages.append)
        opened.append(session)
        if user:
            session.sign_in(Password(user, "password"))
        return session

    yield open_it
    for session in opened:
        session.close()


@pytest.fixture
def scripted_rules() -> Rules:
    return Rules(networks=LOOPBACK, plaintext=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def server_context(files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context
