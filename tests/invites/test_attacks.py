"""What somebody tries who has a connect link, had one, or makes one to learn what its owner types."""

from dataclasses import replace

import pytest
from flask import Flask

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.errors import NotFound
from mailadmin.invites import links, service
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.permissions import SYSTEM
from tests.invites.post import a_company, account_now, asked, invite_of, without_oauth
from tests.oauth.harbour import PASSWORD, PUBLIC_URL, SALES, Harbour, path_of, work
from tests.pages import Browser

EVIL = Server(ServerProtocol.SMTP, "smtp.evil.example", 465, TLSMode.IMPLICIT)


@pytest.fixture
def owner_at(app: Flask) -> Browser:
    return Browser(app)


def send_by(account: Account, harbour: Harbour, server: Server) -> None:
    """Let `account` send by a server of its own."""
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        wish = replace(accounts.wish_of(found), incoming=harbour.imap, outgoing=server, is_begun=True)
        accounts.change(session, found, wish=wish, version=found.version, actor=SYSTEM)


def test_page_names_every_server_that_is_given_the_password(
    harbour: Harbour, ada_at: Browser, owner_at: Browser
) -> None:
    account = without_oauth(harbour)
    send_by(account, harbour, EVIL)
    assert "Sent encrypted to localhost and smtp.evil.example" in owner_at.get(asked(ada_at, account)).words()


def test_servers_that_change_behind_the_owners_back_are_not_given_the_password(
    harbour: Harbour, ada_at: Browser, owner_at: Browser
) -> None:
    account = without_oauth(harbour)
    link = asked(ada_at, account)
    seen = owner_at.get(link).one("input", name="seen").get("value", "")
    send_by(account, harbour, EVIL)
    page = owner_at.post(link, {"password": PASSWORD, "seen": seen})
    assert page.status == 422
    assert "The servers have changed since you opened this page" in page.error("password")
    assert "smtp.evil.example" in page.words()
    assert (invite_of(account).tries, invite_of(account).check_id) == (0, None)


def test_owner_is_not_sent_to_the_provider_for_an_account_with_other_servers(
    harbour: Harbour, ada_at: Browser, owner_at: Browser
) -> None:
    account = harbour.account(is_set_up=False, with_password=False)
    send_by(account, harbour, EVIL)
    link = asked(ada_at, account)
    assert not owner_at.post(link, {}).all("a", rel="noreferrer")
    assert invite_of(account).attempt_id is None


@pytest.mark.parametrize("deed", ["revoke", "resend"])
def test_link_that_was_taken_back_while_its_owner_was_at_the_provider_connects_nothing(
    harbour: Harbour, ada_at: Browser, owner_at: Browser, deed: str
) -> None:
    account = harbour.account(is_set_up=False, with_password=False)
    leave = owner_at.post(asked(ada_at, account), {})
    assert ada_at.post(f"/accounts/{account.id}/invite/{deed}", {}).status == 303
    back = owner_at.get(path_of(harbour.idp.agree(leave.one("a", rel="noreferrer").get("href", ""), SALES)))
    assert back.location == "/oauth/lost"
    work()
    assert account_now(account).method is None


def test_link_that_was_taken_back_during_the_test_connects_nothing(
    harbour: Harbour, ada_at: Browser, owner_at: Browser
) -> None:
    account = without_oauth(harbour)
    owner_at.post(asked(ada_at, account), {"password": PASSWORD})
    assert ada_at.post(f"/accounts/{account.id}/invite/revoke", {}).status == 303
    work()
    assert account_now(account).method is None
    assert invite_of(account).ending == "revoked"


def test_link_of_a_deleted_account_does_not_open_the_next_one(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour, has_sender=False)
    first = without_oauth(harbour)
    link = asked(ada_at, first).removeprefix("/c/")
    with db.transaction() as session:
        session.delete(service.get_open(session, first.id))
        second = accounts.create(
            session,
            wish=accounts.AccountWish("wim@example.org", provider_id=first.provider_id, is_begun=True),
            actor=SYSTEM,
        )
        service.ask(session, second, send_to="", actor=SYSTEM, public_url=PUBLIC_URL)
    with db.reading() as session, pytest.raises(NotFound):
        links.find(session, link)
