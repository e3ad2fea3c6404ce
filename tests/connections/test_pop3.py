"""The connection test of a POP3 account: what it does at a real server, and what the page and the command say of it."""

import json
from dataclasses import replace

import pytest

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.connections import history, repair
from mailadmin.connections.timeline import timeline
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from tests.connections.conftest import Servers
from tests.connections.factories import after_test, an_account, begin_with
from tests.connections.test_command import Command, check  # noqa: F401
from tests.connections.test_message import after_message, delivering, stage
from tests.pages import Browser
from tests.servers.dovecot import Dovecot
from tests.servers.silent import Listener
from tests.servers.silent import smtp_script as script
from tests.servers.smtp import Sink

pytestmark = pytest.mark.usefixtures("booted")


def pop3(dovecot: Dovecot, mode: TLSMode = TLSMode.IMPLICIT) -> Server:
    if mode is TLSMode.IMPLICIT:
        return Server(ServerProtocol.POP3, "localhost", dovecot.ports["pop3s"], mode)
    return Server(ServerProtocol.POP3, "127.0.0.2", dovecot.ports["pop3"], mode)


@pytest.mark.parametrize("mode", [TLSMode.IMPLICIT, TLSMode.STARTTLS])
def test_it_passes_and_the_page_counts_messages_and_no_folders(
    servers: Servers, ada_at: Browser, mode: TLSMode
) -> None:
    account = an_account(pop3(servers.dovecot, mode), servers.outgoing)
    test = after_test(account)
    assert test.outcome == "passed", test.diagnosis
    [inbox] = test.folders
    assert (inbox["path"], inbox["role"], inbox["messages"]) == ("INBOX", "inbox", 3)
    [count] = [line for line in timeline(test).sides[0].lines if line.what == "Count messages"]
    assert (count.tone, count.detail) == ("ok", "3 messages")
    words = ada_at.get(f"/accounts/{account.id}/connection").words()
    assert "Count messages" in words
    assert "tells messages apart" in words
    again = after_test(account)
    assert [past.changes for past in history.history([again, test])] == [[], []]


def test_a_wrong_password_is_tried_once(servers: Servers) -> None:
    test = after_test(an_account(pop3(servers.dovecot), servers.outgoing, password="wrong"))
    assert (test.outcome, test.category) == ("failed", "auth")
    assert stage(test, "folders")["outcome"] == "skipped"


def test_another_door_of_the_same_server_is_found_and_offered(servers: Servers) -> None:
    account = an_account(replace(pop3(servers.dovecot), tls_mode=TLSMode.STARTTLS))
    test = after_test(account)
    assert test.category == "tls"
    with db.reading() as session:
        [[offer]] = repair.offers(accounts.get(session, account.id), test).values()
    assert offer.label == f"Use port {servers.dovecot.ports['pop3s']} with SSL/TLS"


def test_the_arrival_of_a_message_is_seen_by_a_session_of_its_own() -> None:
    with Dovecot() as dovecot, Sink(dovecot.folder / "home", "implicit") as sink:
        trusted = dovecot.folder / "trusted.pem"
        trusted.write_bytes(dovecot.ca_file.read_bytes() + sink.ca_file.read_bytes())
        begin_with(ca_file=str(trusted))
        delivering(sink, dovecot)
        smtp = Server(ServerProtocol.SMTP, "localhost", sink.port, TLSMode.IMPLICIT)
        test = after_message(an_account(pop3(dovecot), smtp), awaits=True)
    assert test.outcome == "passed", test.diagnosis
    assert stage(test, "arrival")["facts"]["folder"] == "INBOX"  # type: ignore[index]
    assert "no folders" in str(stage(test, "copy")["detail"])


def test_where_sign_ins_need_pauses_the_arrival_is_not_looked_for(servers: Servers) -> None:
    heard: list[str] = []
    answers = {
        "CAPA": b"+OK\r\nUSER\r\nUIDL\r\nLOGIN-DELAY 900\r\n.\r\n",
        "USER": b"+OK\r\n",
        "PASS": b"+OK\r\n",
        "STAT": b"+OK 0 0\r\n",
        "QUIT": b"+OK\r\n",
    }
    begin_with(plaintext=True)
    with Listener(script(answers, heard, b"+OK\r\n")) as slow:
        server = Server(ServerProtocol.POP3, "127.0.0.1", slow.port, TLSMode.NONE)
        test = after_message(an_account(server, servers.outgoing), awaits=True)
    assert test.outcome == "passed", test.diagnosis
    assert stage(test, "arrival")["outcome"] == "skipped"
    [line] = [line for line in timeline(test).sides[1].lines if line.what == "Send a test message"]
    assert line.detail.endswith("because the server wants pauses between sign-ins")
    assert sum(word.startswith("PASS") for word in heard) == 1


def test_the_command_tests_pop3(check: Command, servers: Servers) -> None:  # noqa: F811
    result = check("--incoming", str(pop3(servers.dovecot)), "--json", ca=servers.ca_file)
    told = json.loads(result.stdout)
    assert result.exit_code == 0, told
    assert [folder["path"] for folder in told["folders"]] == ["INBOX"]
    wrong = check("--outgoing", str(pop3(servers.dovecot)), ca=servers.ca_file)
    assert (wrong.exit_code, "is not for" in wrong.output) == (2, True)
