"""The test message: sent once, to one address, with nothing in it that somebody typed but that address."""

import email
import email.policy

import pytest

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import message, service
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.message import Parcel
from mailadmin.connections.models import Check
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.permissions import SYSTEM
from tests.connections.conftest import Servers
from tests.connections.factories import an_account, begin_with, stored
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import Sink

pytestmark = pytest.mark.usefixtures("booted")


def ask(account: Account, recipient: str = "wim@example.org", *, awaits: bool = False) -> Check:
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        return service.request_message(session, account=found, recipient=recipient, awaits=awaits, actor=SYSTEM)


def after_message(account: Account, recipient: str = "wim@example.org", *, awaits: bool = False) -> Check:
    check = ask(account, recipient, awaits=awaits)
    drain_checks()
    return stored(check)


def stage(check: Check, name: str) -> dict[str, object]:
    return next(stage for stage in check.stages if stage["name"] == name)


def delivering(sink: Sink, dovecot: Dovecot) -> None:
    """Let what `sink` is sent arrive in the mailbox of wim, as a mail server does."""
    keep = sink.messages.append

    class Mailbox(list):  # type: ignore[type-arg]
        def append(self, sent: tuple[str, list[str], bytes]) -> None:
            keep(sent)
            dovecot.deliver([sent[2]])

    sink.messages = Mailbox()


def test_it_goes_to_the_address_that_was_typed(servers: Servers) -> None:
    servers.smtp.messages.clear()
    check = after_message(an_account(servers.imap, servers.outgoing), "olga@example.com")
    assert check.outcome == "passed", check.diagnosis
    assert stage(check, "message")["outcome"] == "passed"
    [(sender, recipients, raw)] = servers.smtp.messages
    assert (sender, recipients) == ("wim@example.org", ["olga@example.com"])
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert (read["From"], read["To"], read["Auto-Submitted"]) == (sender, "olga@example.com", "auto-generated")
    assert read["Message-ID"].endswith("@example.org>")


def test_its_arrival_is_waited_for_and_timed() -> None:
    with Dovecot() as dovecot, Sink(dovecot.folder / "home", "implicit") as sink:
        trusted = dovecot.folder / "trusted.pem"
        trusted.write_bytes(dovecot.ca_file.read_bytes() + sink.ca_file.read_bytes())
        begin_with(ca_file=str(trusted))
        delivering(sink, dovecot)
        imap = Server(ServerProtocol.IMAP, "localhost", dovecot.ports["imaps"], TLSMode.IMPLICIT)
        smtp = Server(ServerProtocol.SMTP, "localhost", sink.port, TLSMode.IMPLICIT)
        check = after_message(an_account(imap, smtp), awaits=True)
    assert check.outcome == "passed", check.diagnosis
    facts = stage(check, "arrival")["facts"]
    assert facts["folder"] == "INBOX"
    assert facts["seconds"] < message.ARRIVAL_SECONDS


def test_one_that_does_not_arrive_is_told_and_blames_nobody(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailadmin.connections.probe.ARRIVAL_SECONDS", 4.0)
    account = an_account(servers.imap, servers.outgoing)
    check = after_message(account, awaits=True)
    assert (check.outcome, check.category) == ("failed", "timeout")
    assert check.diagnosis
    assert check.diagnosis["rule"] == "message-late"
    assert check.account
    assert (check.account.health, check.account.outgoing_health) == (Health.HEALTHY, Health.HEALTHY)


def test_the_arrival_at_another_address_is_not_waited_for(servers: Servers) -> None:
    check = after_message(an_account(servers.imap, servers.outgoing), "olga@example.com", awaits=True)
    assert not check.awaits
    assert check.outcome == "passed"


@pytest.mark.parametrize(
    "recipient",
    ["", "nobody", "a@b@c", "olga@example.com\r\nBcc: x@example.com", "olga@example.com, x@example.com", "a\0@b.c"],
)
def test_what_is_no_address_is_refused_at_its_field(recipient: str, servers: Servers) -> None:
    with pytest.raises(RuleBroken) as raised:
        ask(an_account(servers.imap, servers.outgoing), recipient)
    assert raised.value.field == "recipient"


def test_an_account_that_only_receives_sends_none(servers: Servers) -> None:
    with pytest.raises(RuleBroken):
        ask(an_account(servers.imap))


def test_while_a_test_runs_no_message_is_sent(servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing)
    ask(account)
    with pytest.raises(RuleBroken, match="running"):
        ask(account)


@pytest.mark.parametrize("sender", ["wim@example.org\r\nBcc: x@example.com", "wim@example.org\nSubject: mine"])
def test_no_header_can_be_injected(sender: str) -> None:
    with pytest.raises(ValueError, match=r"linefeed|CR|LF|newline"):
        message.written(Parcel(sender, "olga@example.com"))
