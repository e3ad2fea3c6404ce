"""Everything in misconfigurations.toml, set up against real servers: the right category, and what to do on the page.

All accounts are tested together by one job, as "Test all accounts" does it.
"""

import dataclasses
import http.server
import ssl
import threading
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.config import Settings
from mailadmin.connections import repair, service
from mailadmin.connections.jobs import drain_checks
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode, TLSVersion
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.providers.service import ProviderWish
from mailadmin.sealed import Secret
from tests.pages import Browser
from tests.ports import free_port
from tests.servers.certificates import Authority
from tests.servers.dovecot import Dovecot
from tests.servers.silent import Listener, silence
from tests.servers.smtp import Sink

CASES = tomllib.loads((Path(__file__).parent / "misconfigurations.toml").read_text(encoding="utf-8"))["case"]
CERTIFICATES = {"11": "expired", "12": "future", "13": "alone", "14": "stranger", "15": "other", "16": "named"}
APP_PASSWORD = (
    "Application-specific password required. Learn more at https://support.google.com/mail/?p=InvalidSecondFactor"
)
SWITCHED_OFF = (
    "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox."
    " Visit https://aka.ms/smtp_auth_disabled for more information."
)


@dataclass(frozen=True)
class House:
    """All servers: by name and door the port, and what an installation has to trust."""

    ports: dict[str, dict[str, int]]
    ca_file: Path

    def server(self, text: str, protocol: ServerProtocol) -> Server:
        """The server that a case names."""
        name, door, mode, *host = text.split()
        port = int(door) if door.isdigit() else self.ports[name][door]
        return Server(protocol, host[0] if host else "localhost", port, TLSMode(mode))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Every server that a case needs."""
    folder = tmp_path_factory.mktemp("house")
    with ExitStack() as stack:
        dovecots = {
            "dovecot": _with_certificates(),
            "bare": Dovecot({"wim": "password"}, extra="ssl = no\n"),
            "short": Dovecot({"wim": "password"}),
            "tokens": Dovecot(extra="auth_mechanisms = xoauth2 oauthbearer\n"),
            "narrow": Dovecot(connections=1),
            "shut": Dovecot({"shut@example.org": "password::::::nologin=y reason=disabled"}),
        }
        sinks = {
            "smtp": Sink(_new(folder, "a"), "implicit"),
            "smtp-starttls": Sink(_new(folder, "b"), "starttls"),
            "smtp-mute": Sink(_new(folder, "c"), "implicit", offers_auth=False),
            "smtp-stranger": Sink(_new(folder, "d"), "implicit", users={"olga@example.org": "other"}),
            "smtp-app-password": Sink(_new(folder, "e"), "implicit", refuses="534 5.7.9 " + APP_PASSWORD),
            "smtp-switched-off": Sink(_new(folder, "f"), "implicit", refuses="535 5.7.139 " + SWITCHED_OFF),
            "smtp-busy": Sink(_new(folder, "g"), "implicit", refuses="454 4.7.0 Temporary authentication failure"),
            "old": Sink(_new(folder, "h"), "implicit", newest=ssl.TLSVersion.TLSv1_2),
        }
        for server in (*dovecots.values(), *sinks.values()):
            stack.enter_context(server)
        stack.enter_context(dovecots["narrow"].session())  # Somebody's mail program.
        trusted = folder / "trusted.pem"
        trusted.write_bytes(b"".join(server.ca_file.read_bytes() for server in (*dovecots.values(), *sinks.values())))
        ports = {name: server.ports for name, server in dovecots.items()}
        ports |= {name: {"port": sink.port} for name, sink in sinks.items()}
        ports |= {"http": {"port": _http(stack)}, "closed": {"port": free_port()}}
        ports |= {"silent": {"port": stack.enter_context(Listener(silence)).port}}
        yield House(ports, trusted)


def _new(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _with_certificates() -> Dovecot:
    """A server that has another certificate at each of the addresses 127.0.0.11 to .16."""
    extra = "".join(
        f"local 127.0.0.{last} {{\n  ssl_cert = <FOLDER/{name}.pem\n  ssl_key = <FOLDER/{name}.key\n}}\n"
        for last, name in CERTIFICATES.items()
    )
    dovecot = Dovecot(listen=tuple(f"127.0.0.{last}" for last in CERTIFICATES), extra=extra)
    authority = dovecot.authority
    authority.issue("expired", ("127.0.0.11",), days=(-30, -1))
    authority.issue("future", ("127.0.0.12",), days=(1, 30))
    authority.issue_self_signed("alone", ("127.0.0.13",))
    Authority(dovecot.folder, "strange").issue("stranger", ("127.0.0.14",))
    authority.issue("other", ("localhost",))
    authority.issue("named", ("mail.example.org",))
    return dovecot


def _http(stack: ExitStack) -> int:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return server.server_port


@pytest.fixture
def settings(settings: Settings, house: House) -> Settings:
    """The installation of all tests, which also trusts our servers and gives a test ten seconds."""
    rules = dataclasses.replace(settings.rules, ca_file=str(house.ca_file))
    return dataclasses.replace(settings, rules=rules, check_seconds=10.0)


def test_there_are_thirty_and_no_two_are_the_same() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) >= 30


def test_every_misconfiguration_is_recognised_and_has_a_first_step(house: House, ada_at: Browser) -> None:
    made = [_an_account(number, case, house) for number, case in enumerate(CASES)]
    with db.transaction() as session:
        service.request_many(session, accounts_=accounts.all_live(session), actor=SYSTEM)
    drain_checks()
    wrong = [said for case, account_id in zip(CASES, made, strict=True) if (said := _judge(case, account_id, ada_at))]
    assert wrong == [], "\n" + "\n".join(wrong)


def test_a_right_one_passes(house: House) -> None:
    account_id = _an_account(0, {"outgoing": "smtp port implicit"}, house)
    with db.transaction() as session:
        service.request_check(session, account=accounts.get(session, account_id), actor=SYSTEM)
    drain_checks()
    with db.reading() as session:
        check = service.latest(session, account_id)
        assert check
        assert check.outcome == "passed", check.diagnosis


def _an_account(number: int, case: dict[str, Any], house: House) -> int:
    protocol = ServerProtocol(case.get("protocol", "imap"))
    wanted = {Direction.INCOMING: house.server(case.get("incoming", "dovecot imaps implicit"), protocol)}
    if "outgoing" in case:
        wanted[Direction.OUTGOING] = house.server(case["outgoing"], ServerProtocol.SMTP)
    login = Login(case.get("username", "wim@example.org"), Secret(case.get("password", "password")))
    with db.transaction() as session:
        wish = AccountWish(
            address=case.get("address", f"case{number}@example.org"),
            incoming=house.server("dovecot imaps implicit", ServerProtocol.IMAP),
            outgoing=house.server("smtp port implicit", ServerProtocol.SMTP) if "outgoing" in case else None,
            login=login,
        )
        account = accounts.create(session, wish=wish, actor=SYSTEM)
        if "minimum_tls" in case:
            account.provider = _provider(session, TLSVersion(case["minimum_tls"]), wish.incoming)
        for row in account.servers:  # Past the form, which would refuse some of them: rows may be older than its rules.
            server = wanted[row.direction]
            row.host, row.port, row.tls_mode = server.host, server.port, server.tls_mode
            row.protocol = server.protocol
        account.protocol = protocol
        return account.id


def _provider(session: Session, minimum: TLSVersion, incoming: Server | None) -> Provider:
    assert incoming
    wish = ProviderWish(name="Harbour Mail", domains=(), servers=(incoming,))
    provider = providers.save(session, wish=wish, actor=SYSTEM)
    provider.minimum_tls = minimum
    return provider


def _judge(case: dict[str, Any], account_id: int, browser: Browser) -> str:
    """What is wrong with the answer to `case`; nothing where it is right."""
    with db.reading() as session:
        account, check = accounts.get(session, account_id), service.latest(session, account_id)
        assert check
        diagnosis = check.diagnosis
        if diagnosis is None:
            return f"{case['name']}: passed"
        offers = [offer.label for list_ in repair.offers(account, check).values() for offer in list_]
    steps = [*offers[:1], diagnosis["action"][0], diagnosis["command"]]
    first = next((step for step in steps if case["first"] in step), "")
    expected = (case["category"], case.get("direction", "incoming"))
    if (diagnosis["category"], diagnosis["direction"]) != expected or not first:
        about = f"{diagnosis['category']} {diagnosis['direction']} {diagnosis['rule']} {steps}"
        return f"{case['name']}: {about} {diagnosis['server_text']}"
    page = browser.get(f"/accounts/{account_id}/connection")
    return "" if first in page.words() and diagnosis["title"] in page.words() else f"{case['name']}: not on the page"
