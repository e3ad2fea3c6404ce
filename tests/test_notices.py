"""E-mail of our own: through a real server, again after trouble, and with nothing in its header that was not meant."""

import email
import email.policy
from datetime import timedelta
from email.message import EmailMessage

import pytest
from sqlalchemy import func, select, update

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account, Health, Kind
from mailadmin.accounts.service import AccountWish, Login
from mailadmin.connections.jobs import drain_notices
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.notices import service
from mailadmin.notices.models import Notice
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import SealedSecret, Secret
from tests.conftest import both_databases
from tests.connections.conftest import Servers, servers, settings  # noqa: F401
from tests.connections.factories import PASSWORD, an_account, change_password
from tests.pages import Browser

WIM = "wim@example.org"


@pytest.fixture
def sender(booted: object, servers: Servers) -> Account:  # noqa: F811
    """Wim's account, through which the console writes, for Example Ltd."""
    servers.smtp.messages.clear()
    account = an_account(servers.imap, servers.outgoing)
    with db.transaction() as session:
        organisation.rename(session, name="Example Ltd")
        accounts.get(session, account.id).is_set_up = True
        session.flush()
        system_mail.choose_sender(session, account.id, actor=SYSTEM)
    return account


def owed(subject: str = "News", text: str = "Hello,\n\nall is well.\n", recipient: str = "ada@example.com") -> Notice:
    with db.transaction() as session:
        return service.put(session, recipient=recipient, subject=subject, text=text, about="test:1")


def now_of(notice: Notice) -> Notice:
    with db.reading() as session:
        found = session.get(Notice, notice.id)
        assert found is not None
        return found


def secrets() -> int:
    with db.reading() as session:
        query = select(func.count(SealedSecret.id)).where(SealedSecret.purpose == service.PURPOSE)
        return session.scalar(query) or 0


def make_due() -> None:
    """Let the time of the next try have come."""
    with db.transaction() as session:
        for notice in session.scalars(select(Notice).where(Notice.next_try_at.is_not(None))):
            notice.next_try_at = db.now() - timedelta(seconds=1)


def only(servers: Servers) -> EmailMessage:  # noqa: F811
    ((_, _, raw),) = servers.smtp.messages
    return email.message_from_bytes(raw, policy=email.policy.default)


@both_databases
def test_what_is_owed_is_sent_once_and_forgotten(sender: Account, servers: Servers) -> None:  # noqa: F811
    notice = owed("Grüße", "Hallo,\n\nschöne Grüße.\n")
    assert secrets() == 1
    drain_notices()
    drain_notices()
    letter = only(servers)
    assert str(letter["From"]) == f"Example Ltd <{WIM}>"
    assert (letter["To"], letter["Subject"], letter["Auto-Submitted"]) == ("ada@example.com", "Grüße", "auto-generated")
    assert letter["Date"]
    assert letter["Message-ID"].startswith(f"<notice.{notice.id}.")
    assert "schöne Grüße." in str(letter.get_content())
    found = now_of(notice)
    assert found.sent_at
    assert (found.text_id, found.next_try_at, found.problem, secrets()) == (None, None, "", 0)


def test_nothing_gets_into_the_header_that_was_not_meant(sender: Account, servers: Servers) -> None:  # noqa: F811
    with db.transaction() as session:
        organisation.rename(session, name='Example "Ltd"\r\nBcc: eve@example.com, <x@example.com>')
    owed("News\r\nBcc: eve@example.com\r\n\r\nbody")
    drain_notices()
    letter = only(servers)
    assert letter["Bcc"] is None
    assert letter["Subject"] == "News Bcc: eve@example.com body"
    assert [address.addr_spec for address in letter["From"].addresses] == [WIM]
    assert servers.smtp.messages[0][1] == ["ada@example.com"]
    bad = owed(recipient="ada@example.com\r\nBcc: eve@example.com")
    drain_notices()
    assert len(servers.smtp.messages) == 1
    assert (now_of(bad).sent_at, now_of(bad).next_try_at) == (None, None)


def test_many_go_in_one_conversation(sender: Account, servers: Servers) -> None:  # noqa: F811
    before = servers.smtp.sign_ins
    for n in range(5):
        owed(f"News {n}")
    drain_notices()
    assert [raw.count(b"News") for _, _, raw in servers.smtp.messages] == [1] * 5
    assert servers.smtp.sign_ins == before + 1


@both_databases
def test_what_may_pass_is_tried_again_and_given_up_at_last(sender: Account, servers: Servers) -> None:  # noqa: F811
    with db.transaction() as session:
        found = accounts.get(session, sender.id)
        row = next(row for row in found.servers if row.direction == "outgoing")
        good, row.port = row.port, 9
    notice, waits = owed(), []
    for _ in range(service.MOST_TRIES):
        began = db.now()
        drain_notices()
        drain_notices()
        found_now = now_of(notice)
        waits.append(found_now.next_try_at and round((found_now.next_try_at - began).total_seconds() / 60))
        make_due()
    assert waits == [1, 5, 15, 60, 60, None]
    assert "cannot send" in found_now.problem
    assert (found_now.tries, secrets()) == (6, 0)
    with db.transaction() as session:
        found = accounts.get(session, sender.id)
        assert found.outgoing_health is Health.UNREACHABLE
        next(row for row in found.servers if row.direction == "outgoing").port = good
    later = owed()
    drain_notices()
    assert now_of(later).sent_at
    with db.reading() as session:
        assert accounts.get(session, sender.id).outgoing_health is Health.HEALTHY


def test_refused_sign_in_is_trouble_of_the_account_and_is_not_knocked_with_again(
    sender: Account,
    servers: Servers,  # noqa: F811
) -> None:
    change_password(sender, "not this one")
    notice = owed()
    drain_notices()
    found = now_of(notice)
    assert (found.sent_at, found.next_try_at) == (None, None)
    assert found.problem.startswith(f"{WIM} cannot send: ")
    assert "not this one" not in found.problem
    with db.reading() as session:
        account = accounts.get(session, sender.id)
        assert (account.outgoing_health, account.outgoing_category) == (Health.NEEDS_ATTENTION, Category.AUTH)
    before = servers.smtp.sign_ins
    waiting = owed()
    drain_notices()
    assert servers.smtp.sign_ins == before
    assert now_of(waiting).next_try_at
    change_password(sender, PASSWORD)
    with db.transaction() as session:
        accounts.get(session, sender.id).outgoing_health = Health.HEALTHY
    make_due()
    drain_notices()
    assert now_of(waiting).sent_at


def test_without_an_account_nothing_is_sent_and_the_page_says_why(booted: object) -> None:
    notice = owed()
    drain_notices()
    found = now_of(notice)
    assert "No account is chosen" in found.problem
    assert (found.next_try_at, secrets()) == (None, 0)


@both_databases
def test_one_job_at_a_time_has_a_notice_and_a_lost_one_is_due_again(sender: Account) -> None:
    owed()
    with db.transaction() as session:
        (letter,) = service.claim_due(session, limit=5)
        assert service.claim_due(session, limit=5) == []
    with db.transaction() as session:
        session.execute(update(Notice).values(started_at=db.now() - timedelta(minutes=3)))
    with db.transaction() as session:
        (again,) = service.claim_due(session, limit=5)
        service.note_sent(session, letter)  # The lost job is back: nobody believes it.
        assert session.get_one(Notice, letter.notice_id).sent_at is None
        service.note_sent(session, again)
        assert session.get_one(Notice, letter.notice_id).sent_at
    assert letter.key == again.key


def test_what_is_not_true_any_more_is_not_sent(sender: Account, servers: Servers) -> None:  # noqa: F811
    owed()
    with db.transaction() as session:
        service.take_back(session, "test:1")
    drain_notices()
    assert servers.smtp.messages == []
    assert secrets() == 0
    with db.transaction() as session:
        service.forget(session, "test:1")
        assert service.latest(session, "test:1") is None


def test_account_is_chosen_on_the_settings_page_and_tried(
    sender: Account,
    ada_at: Browser,
    servers: Servers,  # noqa: F811
) -> None:
    with db.transaction() as session:
        login = Login("", Secret(PASSWORD))
        wish = AccountWish("own@example.org", incoming=servers.imap, outgoing=servers.outgoing, login=login)
        own = accounts.create(session, wish=wish, actor=SYSTEM)
        own.is_set_up, own.kind = True, Kind.PERSONAL
        own_id = own.id
    page = ada_at.get("/settings")
    assert [page.words(o) for o in page.one("select", id="sender")] == ["Nobody: links are copied by hand", WIM]
    assert page.value("sender") == str(sender.id)
    page = ada_at.post("/settings/test-message", follow=True)
    assert "The test e-mail to ada@example.com is on its way." in page.words()
    drain_notices()
    assert only(servers)["Subject"] == "Test of this console"
    assert "was sent to ada@example.com just now" in ada_at.get("/settings/test-message", htmx=True).words()
    typed = {"name": "Example Ltd", "uses_mail": "y"}
    assert ada_at.post("/settings", {**typed, "sender": str(own_id)}).status == 422
    ada_at.post("/settings", {**typed, "sender": ""})
    with db.transaction() as session:
        assert system_mail.sender(session) is None
        with pytest.raises(RuleBroken):
            system_mail.choose_sender(session, own_id, actor=SYSTEM)
    page = ada_at.post("/settings/test-message", follow=True)
    assert "First choose the account" in page.words()
    assert not page.all("button", form="send-trial")
