"""What a provider trusts decides whether its accounts connect: real servers, and tests of real accounts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.mail.errors import Category
from mailadmin.mail.types import TLSVersion
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from mailadmin.sealed import Secret
from tests.accounts.factories import a_provider, a_provider_wish, a_wish, imap, smtp
from tests.connections.factories import PASSWORD, after_test
from tests.servers.dovecot import Dovecot
from tests.servers.encryption import Encryption
from tests.servers.silent import Listener, imap_script
from tests.servers.smtp import Sink

pytestmark = pytest.mark.usefixtures("booted")
MINIMAL_IMAP = {
    "CAPABILITY": [b"* CAPABILITY IMAP4rev1\r\n", b"TAG OK done\r\n"],
    "LOGIN": [b"TAG OK welcome\r\n"],
    "LIST": [b'* LIST () "/" INBOX\r\n', b"TAG OK done\r\n"],
    "STATUS": [b"* STATUS INBOX (MESSAGES 0 UNSEEN 0)\r\n", b"TAG OK done\r\n"],
    "LOGOUT": [b"* BYE\r\n", b"TAG OK done\r\n"],
}


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as server:
        yield server


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    with Sink(tmp_path_factory.mktemp("smtp"), "implicit") as server:
        yield server


def an_account(port: int, sending_port: int | None = None, **wanted: Any) -> Account:
    """Wim's account at a provider whose servers listen on these ports of this machine."""
    outgoing = smtp("localhost", sending_port) if sending_port else None
    with db.transaction() as session:
        provider = a_provider(
            session, domains=("example.org",), incoming=imap("localhost", port), outgoing=outgoing, **wanted
        )
        wish = a_wish(address="wim@example.org", provider_id=provider.id, login=accounts.Login("", Secret(PASSWORD)))
        return accounts.create(session, wish=wish, actor=SYSTEM)


def trust(account: Account, *files: Path) -> list[int]:
    """Let the account's provider trust the certificates in `files`."""
    assert account.provider_id
    with db.transaction() as session:
        provider = service.get(session, account.provider_id)
        pem = "".join(file.read_text() for file in files)
        return [
            row.id for row in service.add_certificates(session, provider, pem=pem, has_passwords=False, actor=SYSTEM)
        ]


def rule(check: Check) -> str:
    assert check.outcome is CheckOutcome.FAILED
    assert check.category is Category.TLS
    assert check.diagnosis
    return str(check.diagnosis["rule"])


def tls_stages(check: Check) -> list[str]:
    return [stage["outcome"] for stage in check.stages if stage["name"] == "tls"]


def test_private_authority_opens_the_servers_of_its_provider_only_while_it_is_trusted(
    dovecot: Dovecot, sink: Sink
) -> None:
    account = an_account(dovecot.ports["imaps"], sink.port)
    assert rule(after_test(account)) == "tls-unknown-authority"
    assert sink.sign_ins == 0
    added = trust(account, dovecot.ca_file, sink.ca_file)
    assert after_test(account).outcome is CheckOutcome.PASSED
    with db.transaction() as session:
        provider = service.get(session, account.provider_id or 0)
        service.remove_certificate(session, provider, added[0], actor=SYSTEM)
    check = after_test(account)
    assert rule(check) == "tls-unknown-authority"
    assert tls_stages(check) == ["failed", "passed"]


def test_authority_of_one_provider_is_nothing_to_another(dovecot: Dovecot) -> None:
    trust(an_account(dovecot.ports["imaps"]), dovecot.ca_file)
    with db.transaction() as session:
        other = a_provider(session, name="Other", domains=(), incoming=imap("localhost", dovecot.ports["imaps"]))
        login = accounts.Login("wim@example.org", Secret(PASSWORD))
        wish = a_wish(address="jo@example.org", provider_id=other.id, login=login)
        stranger = accounts.create(session, wish=wish, actor=SYSTEM)
    assert rule(after_test(stranger)) == "tls-unknown-authority"


@pytest.mark.parametrize("kind", ["good", "self-signed"])
def test_certificate_of_the_server_itself_may_be_trusted(tmp_path: Path, kind: str) -> None:
    encryption = Encryption(tmp_path)
    with Listener(imap_script(MINIMAL_IMAP, []), context=encryption.context(kind)) as server:
        account = an_account(server.port)
        assert rule(after_test(account)) in {"tls-unknown-authority", "tls-self-signed"}
        [file] = tmp_path.rglob(f"{kind}.pem")
        trust(account, file)
        assert after_test(account).outcome is CheckOutcome.PASSED


def test_expired_certificate_in_the_truststore_still_refuses(tmp_path: Path) -> None:
    encryption = Encryption(tmp_path)
    with Listener(imap_script(MINIMAL_IMAP, []), context=encryption.context("expired")) as server:
        account = an_account(server.port)
        trust(account, tmp_path / "expired.pem")
        assert rule(after_test(account)) == "tls-expired"


def test_server_below_the_lowest_version_is_refused(tmp_path: Path) -> None:
    heard: list[str] = []
    encryption = Encryption(tmp_path)
    with Listener(imap_script(MINIMAL_IMAP, heard), context=encryption.context("only 1.2")) as server:
        account = an_account(server.port, minimum_tls=TLSVersion.TLS_1_3)
        trust(account, tmp_path / "ca.pem")
        assert rule(after_test(account)) == "tls-too-old"
        assert heard == []
        set_minimum(account, TLSVersion.TLS_1_2)
        assert after_test(account).outcome is CheckOutcome.PASSED


def test_old_server_is_reached_once_old_versions_are_allowed(tmp_path: Path) -> None:
    encryption = Encryption(tmp_path)
    with Listener(imap_script(MINIMAL_IMAP, []), context=encryption.context("only 1.0")) as server:
        account = an_account(server.port)
        trust(account, tmp_path / "ca.pem")
        assert rule(after_test(account)) == "tls-too-old"
        set_minimum(account, TLSVersion.TLS_1_0)
        check = after_test(account)
        assert check.outcome is CheckOutcome.PASSED
        assert [stage["facts"]["version"] for stage in check.stages if stage["name"] == "tls"] == ["1"]


def set_minimum(account: Account, minimum: TLSVersion) -> None:
    """Change the lowest TLS version of the account's provider and nothing else."""
    with db.transaction() as session:
        provider = service.get(session, account.provider_id or 0)
        port = provider.servers[0].port
        wish = a_provider_wish(
            domains=("example.org",), incoming=imap("localhost", port), outgoing=None, minimum_tls=minimum
        )
        service.save(session, provider=provider, wish=wish, version=provider.version, has_passwords=False, actor=SYSTEM)
