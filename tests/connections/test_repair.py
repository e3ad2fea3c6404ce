"""What a diagnosis offers with one click: what was tried and worked, and nothing that sends a password anywhere new."""

import dataclasses

import pytest

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.connections import repair
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, Server, TLSMode
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import Secret
from tests.connections.conftest import Servers
from tests.connections.factories import after_test, an_account, begin_with, moved, stored
from tests.pages import Browser
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.usefixtures("booted")


def offered(account: Account, check: Check) -> dict[str, repair.Offer]:
    with db.reading() as session:
        found = repair.offers(accounts.get(session, account.id), stored(check))
    return {offer.label: offer for offers in found.values() for offer in offers}


def take(account: Account, check: Check, key: str) -> Check:
    """Click on the offer `key`, and wait for the test that follows."""
    with db.transaction() as session:
        made = repair.apply(session, accounts.get(session, account.id), stored(check), offer=key, actor=SYSTEM)
        check_id = made.id
    drain_checks()
    with db.reading() as session:
        return stored(session.get(Check, check_id))


def test_the_other_tls_mode_is_tried_and_then_offered_and_works(servers: Servers) -> None:
    account = an_account(moved(servers.imap, tls_mode=TLSMode.STARTTLS))
    failed = after_test(account)
    offers = offered(account, failed)
    port = servers.imap.port
    assert f"Use port {port} with SSL/TLS" in offers
    assert take(account, failed, offers[f"Use port {port} with SSL/TLS"].key).outcome == "passed"
    with db.reading() as session:
        assert str(accounts.server_of(accounts.get(session, account.id), Direction.INCOMING)) == str(servers.imap)


def test_less_encryption_is_never_offered(servers: Servers) -> None:
    begin_with(plaintext=True)
    account = an_account(moved(servers.imap, port=1))
    assert not [label for label in offered(account, after_test(account)) if "None" in label]


def test_a_name_in_the_certificate_leads_to_the_settings_because_the_password_goes_there(servers: Servers) -> None:
    with Dovecot(hosts=("localhost", "mail.example.org", "*.example.net")) as dovecot:
        begin_with(ca_file=str(dovecot.ca_file))
        account = an_account(Server(servers.imap.protocol, "127.0.0.1", dovecot.ports["imaps"], TLSMode.IMPLICIT))
        failed = after_test(account)
        offers = offered(account, failed)
        assert offers["Use localhost"].to_settings == "localhost"
        assert "Use mail.example.org" not in offers  # It was tried, and nobody is there.
        with pytest.raises(RuleBroken):
            take(account, failed, "incoming:0")


def test_a_certificate_can_be_pinned_and_then_only_that_one_is_accepted(servers: Servers) -> None:
    with Dovecot() as dovecot:
        account = an_account(Server(servers.imap.protocol, "localhost", dovecot.ports["imaps"], TLSMode.IMPLICIT))
        failed = after_test(account)
        assert (failed.category, failed.diagnosis["rule"]) == ("tls", "tls-unknown-authority")
        offer = offered(account, failed)["Pin this certificate…"]
        assert not offer.is_plain
        assert take(account, failed, offer.key).outcome == "passed"
        _new_certificate(dovecot)
        again = after_test(account)
        assert (again.outcome, again.diagnosis["rule"]) == ("failed", "tls-pin")
        assert again.diagnosis["certificate"]["sha256"] != failed.diagnosis["certificate"]["sha256"]
        removed = take(account, again, offered(account, again)["Remove the pin"].key)
        assert removed.diagnosis["rule"] == "tls-unknown-authority"


def test_without_its_pin_nothing_is_sent_to_a_self_signed_certificate(ada_at: Browser, servers: Servers) -> None:
    with Dovecot() as dovecot:
        account = an_account(Server(servers.imap.protocol, "localhost", dovecot.ports["imaps"], TLSMode.IMPLICIT))
        failed = after_test(account)
        assert take(account, failed, offered(account, failed)["Pin this certificate…"].key).outcome == "passed"
        signed_in = dovecot.log().count("Login:")
        assert signed_in
        path = f"/accounts/{account.id}/connection"
        assert "until one does, no password is sent" in ada_at.get(path).words()
        ada_at.post(f"{path}/unpin", {"direction": "incoming"})
        drain_checks()
        assert dovecot.log().count("Login:") == signed_in
        with db.reading() as session:
            newest = activity.of_account(session, account.id)
            assert any(row.detail == "no pin for receiving" for row in newest)


def _new_certificate(dovecot: Dovecot) -> None:
    dovecot.stop()
    dovecot.authority.issue("server")
    ports = dovecot.ports
    dovecot.start()
    # A fresh start takes fresh ports; the account follows.
    with db.transaction() as session:
        for account in accounts.all_live(session):
            for row in account.servers:
                row.port = dovecot.ports["imaps"] if row.port == ports["imaps"] else row.port


def test_a_pin_goes_when_the_host_changes(servers: Servers) -> None:
    account = an_account(servers.imap)
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        accounts.pin(session, found, direction=Direction.INCOMING, sha256="0" * 64, actor=SYSTEM)
        wish = accounts.AccountWish(
            address=found.address,
            incoming=moved(servers.imap, host="127.0.0.1"),
            login=accounts.Login(password=Secret("password")),
        )
        accounts.change(session, found, wish=wish, version=found.version, actor=SYSTEM)
        assert found.pin(Direction.INCOMING) == ""


def test_the_other_login_is_tried_when_asked_for_and_then_offered(servers: Servers) -> None:
    with Dovecot({"wim": "password"}) as dovecot:
        begin_with(ca_file=str(dovecot.ca_file))
        account = an_account(Server(servers.imap.protocol, "localhost", dovecot.ports["imaps"], TLSMode.IMPLICIT))
        failed = after_test(account)
        tried = take(account, failed, offered(account, failed)["Try signing in as wim"].key)
        assert (tried.outcome, tried.users) == ("passed", {"incoming": "wim"})
        with db.reading() as session:
            assert accounts.state_of(accounts.get(session, account.id)) == "draft"
            assert accounts.user_name(accounts.get(session, account.id), Direction.INCOMING) == "wim@example.org"
        assert take(account, tried, offered(account, tried)["Use the user name wim"].key).outcome == "passed"
        with db.reading() as session:
            assert accounts.user_name(accounts.get(session, account.id), Direction.INCOMING) == "wim"


def test_what_is_not_offered_cannot_be_taken(servers: Servers) -> None:
    account, other = an_account(moved(servers.imap, port=1)), an_account(servers.imap, address="olga@example.org")
    failed = after_test(account)
    for mine, key in ((account, "incoming:7"), (account, ""), (account, "incoming:pin"), (other, "incoming:0")):
        with pytest.raises(RuleBroken):
            take(mine, failed, key)


def test_nothing_is_offered_after_the_settings_changed(servers: Servers) -> None:
    account = an_account(moved(servers.imap, tls_mode=TLSMode.STARTTLS))
    failed = after_test(account)
    with db.transaction() as session:
        accounts.get(session, account.id).version += 1
    assert offered(account, failed) == {}


def test_a_repair_keeps_the_other_direction(servers: Servers) -> None:
    account = an_account(moved(servers.imap, tls_mode=TLSMode.STARTTLS), servers.outgoing)
    failed = after_test(account)
    label = f"Use port {servers.imap.port} with SSL/TLS"
    assert take(account, failed, offered(account, failed)[label].key).outcome == "passed"
    with db.reading() as session:
        used = accounts.server_of(accounts.get(session, account.id), Direction.OUTGOING)
        assert used
        assert dataclasses.replace(used) == servers.outgoing
