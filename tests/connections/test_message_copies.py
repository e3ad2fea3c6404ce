"""The copy of the test message in Sent: once, in the right folder, and never a reason to call the message unsent."""

import email
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, SentCopies
from mailadmin.connections import copies
from mailadmin.connections.models import Check
from mailadmin.connections.timeline import timeline
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode
from mailadmin.permissions import SYSTEM
from tests.accounts import factories
from tests.connections.conftest import Servers
from tests.connections.factories import an_account, begin_with
from tests.connections.test_message import after_message, stage
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.smtp import Sink

pytestmark = pytest.mark.usefixtures("booted")
COURIER = """
namespace inbox {
  prefix = INBOX.
  separator = .
}
plugin {
  quota_rule = *:storage=4G:messages=3
}
"""
USERS = {"ann@example.org": "password", "bob@example.org": "password", "wim@example.org": "password"}


@pytest.fixture(scope="module")
def courier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A server whose folders are all below INBOX, without a Sent, and with room for three messages."""
    folder = tmp_path_factory.mktemp("courier")
    with Dovecot(USERS, special_use=False, extra=COURIER) as dovecot, Sink(folder, "implicit", users=USERS) as smtp:
        trusted = folder / "trusted.pem"
        trusted.write_bytes(dovecot.ca_file.read_bytes() + smtp.ca_file.read_bytes())
        yield Servers(dovecot, smtp, trusted)


def wishing(account: Account, **wanted: Any) -> Account:
    """`account` with another wish."""
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        wish = replace(accounts.wish_of(found), **wanted)
        accounts.change(session, found, wish=wish, version=found.version, actor=SYSTEM)
    return account


def an_account_of(servers: Servers, address: str = "wim@example.org", **wanted: Any) -> Account:
    return wishing(an_account(servers.imap, servers.outgoing, address=address), **wanted)


def kept(dovecot: Dovecot, user: str = "wim@example.org", folder: str = "Sent") -> list[tuple[bytes, bytes]]:
    """What is in a folder, as (what the server says of it, the message)."""
    with dovecot.session(user) as session:
        if session.select(f'"{folder}"', readonly=True)[0] != "OK":
            return []
        _, data = session.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
    return [part for part in data if isinstance(part, tuple)]


def emptied(dovecot: Dovecot, folder: str = "Sent") -> None:
    with dovecot.session() as session:
        if session.select(folder)[1] != [b"0"]:
            session.store("1:*", "+FLAGS", "\\Deleted")
            session.expunge()


def copy_line(check: Check) -> tuple[str, str]:
    [line] = [one for side in timeline(check).sides for one in side.lines if one.what == "Put a copy into Sent"]
    return line.tone, line.detail


def test_what_was_sent_is_put_into_sent_as_read(servers: Servers) -> None:
    emptied(servers.dovecot)
    servers.smtp.messages.clear()
    check = after_message(an_account_of(servers))
    assert check.outcome == "passed", check.diagnosis
    [(about, raw)] = kept(servers.dovecot)
    assert b"\\Seen" in about
    assert email.message_from_bytes(raw)["Message-ID"]
    assert raw == servers.smtp.messages[0][2]
    assert copy_line(check) == ("ok", "Put into Sent")


def test_one_that_the_server_files_a_moment_later_is_not_doubled(servers: Servers) -> None:
    emptied(servers.dovecot)
    keep = servers.smtp.messages

    class Filed(list):  # type: ignore[type-arg]
        def append(self, sent: tuple[str, list[str], bytes]) -> None:
            servers.dovecot.deliver([sent[2]], folder="Sent")

    servers.smtp.messages = Filed()
    check = after_message(an_account_of(servers))
    servers.smtp.messages = keep
    assert len(kept(servers.dovecot)) == 1
    assert copy_line(check) == ("ok", "Sent has one already, so none was added")


def test_always_adds_one_even_beside_another(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "FILED_SECONDS", 8.0)
    emptied(servers.dovecot)
    check = after_message(an_account_of(servers, sent_copies=SentCopies.ALWAYS))
    assert (check.outcome, len(kept(servers.dovecot))) == ("passed", 1)
    assert check.seconds is not None
    assert check.seconds < copies.FILED_SECONDS, "nothing was waited for"


def test_never_and_a_provider_that_files_by_itself_add_none(servers: Servers) -> None:
    emptied(servers.dovecot)
    never = after_message(an_account_of(servers, sent_copies=SentCopies.NEVER))
    assert never.outcome == "passed"
    assert copy_line(never) == ("off", "Skipped, because this account keeps no copies of what it sends")
    assert kept(servers.dovecot) == []


def test_a_provider_that_files_copies_itself_and_pop3_are_told_apart_in_words() -> None:
    with db.transaction() as session:
        provider = factories.a_provider(session)
        provider.files_sent = True
        account = factories.an_account(session, provider=provider)
        assert copies.filing_of(account).skipped == f"Skipped, because {provider.name} files a copy by itself"
        account.sent_copies = SentCopies.ALWAYS
        assert copies.filing_of(account) == copies.Filing(unless_there=False)
        account.protocol = ServerProtocol.POP3
        assert copies.filing_of(account).skipped == "Skipped, because POP3 knows no folders"


def test_the_folder_that_sync_knows_as_sent_comes_first(servers: Servers) -> None:
    emptied(servers.dovecot)
    servers.dovecot.create("Postausgang")
    account = an_account_of(servers)
    with db.transaction() as session:
        accounts.get(session, account.id).sent_folder = "Postausgang"
    check = after_message(account)
    assert stage(check, "copy")["facts"] == {"folder": "Postausgang"}
    assert len(kept(servers.dovecot, folder="Postausgang")) == 1
    with db.transaction() as session:
        accounts.get(session, account.id).sent_folder = "Gone meanwhile"
    assert stage(after_message(account), "copy")["facts"] == {"folder": "Sent"}


def test_without_a_sent_folder_one_is_made_where_the_server_keeps_folders(courier: Servers) -> None:
    begin_with(ca_file=str(courier.ca_file))
    check = after_message(an_account_of(courier, "ann@example.org"))
    assert check.outcome == "passed", check.diagnosis
    assert copy_line(check) == ("ok", "Put into INBOX.Sent, which is new")
    assert len(kept(courier.dovecot, "ann@example.org", "INBOX.Sent")) == 1
    with courier.dovecot.session("ann@example.org") as session:
        assert b"INBOX.Sent" in b" ".join(session.lsub()[1])


def test_a_full_mailbox_is_a_diagnosis_and_the_message_counts_as_sent(courier: Servers) -> None:
    begin_with(ca_file=str(courier.ca_file))
    courier.dovecot.deliver([a_message(n) for n in (1, 2, 3)], user="bob@example.org")
    check = after_message(an_account_of(courier, "bob@example.org"))
    assert (check.outcome, check.category) == ("failed", "quota")
    assert check.diagnosis
    assert (check.diagnosis["rule"], check.diagnosis["stage"]) == ("overquota", "copy")
    assert stage(check, "message")["outcome"] == "passed"
    told = timeline(check)
    assert (told.title, told.lede) == (
        "The copy could not be put into Sent",
        "The message was sent. Only its copy is missing.",
    )
    assert check.account
    assert check.account.outgoing_health is Health.HEALTHY


def test_a_copy_that_fails_does_not_keep_from_waiting_for_the_arrival(courier: Servers) -> None:
    begin_with(ca_file=str(courier.ca_file))
    user = "wim@example.org"
    courier.dovecot.deliver([a_message(n) for n in (1, 2, 3)], user=user)
    keep = courier.smtp.messages

    class Mailbox(list):  # type: ignore[type-arg]
        def append(self, sent: tuple[str, list[str], bytes]) -> None:
            courier.dovecot.deliver([sent[2]], user=user)

    courier.smtp.messages = Mailbox()
    check = after_message(an_account_of(courier, user), user, awaits=True)
    courier.smtp.messages = keep
    assert (stage(check, "copy")["outcome"], stage(check, "arrival")["outcome"]) == ("failed", "passed")
    lines = [line for line in timeline(check).sides[1].lines if line.tone == "bad"]
    assert [line.what for line in lines] == ["Put a copy into Sent"]


def test_where_receiving_fails_the_copy_is_skipped_with_the_reason(servers: Servers) -> None:
    closed = Server(ServerProtocol.IMAP, "localhost", 1, TLSMode.IMPLICIT)
    account = an_account(closed, servers.outgoing)
    check = after_message(account)
    assert stage(check, "message")["outcome"] == "passed"
    assert copy_line(check) == ("off", "Skipped, because receiving does not work")
    assert {found["direction"] for found in check.stages if found["outcome"] == "failed"} == {Direction.INCOMING}
