"""The owner of a mailbox with a connect link: what they see, what they can do, and what becomes of it."""

import logging

import pytest
from flask import Flask
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.activity.models import Activity
from mailadmin.mail import known_providers
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import SealedSecret
from tests.invites.post import (
    a_company,
    account_now,
    asked,
    done,
    invite_of,
    letters,
    link_in,
    refused,
    run_out,
    text_of,
    without_oauth,
)
from tests.oauth.harbour import PASSWORD, SALES, Harbour, path_of, work
from tests.pages import Browser, Page

NEW = "owner typed this 5"


@pytest.fixture
def owner(app: Flask) -> Browser:
    """The owner at a browser of their own."""
    return Browser(app)


@pytest.fixture
def account(harbour: Harbour, ada_at: Browser) -> Account:
    """SALES, unfinished, without a password, at a provider that takes passwords alone."""
    a_company(harbour)
    return without_oauth(harbour)


def words(page: Page) -> str:
    assert page.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert not page.all("nav")
    return page.words()


def told(harbour: Harbour) -> list[str]:
    """What Ada was written."""
    return [str(letter["Subject"]) for letter in letters(harbour) if letter["To"] == "ada@example.com"]


def test_owner_types_the_password_and_the_account_sets_itself_up(
    account: Account, ada_at: Browser, owner: Browser, harbour: Harbour
) -> None:
    harbour.sink.messages.clear()
    link = asked(ada_at, account, SALES)
    done()
    (letter,) = letters(harbour)
    assert (letter["To"], letter["Auto-Submitted"]) == (SALES, "auto-generated")
    assert str(letter["From"]) == "Example Ltd <support@example.org>"
    assert link_in(letter) == link
    page = owner.get(link_in(letter))
    assert "Ada from Example Ltd asks you to connect sales@example.org" in words(page)
    assert "Asked by Ada Lindqvist, ada@example.com." in page.words()
    assert accounts.state_of(account_now(account)) == "waiting"
    page = owner.post(link, {"password": PASSWORD}, follow=True)
    assert "Connecting sales@example.org" in words(page)
    assert [e.get("hx-trigger") for e in page.all("div", id="try")] == ["every 1s"]
    assert account_now(account).method is None
    work()
    assert owner.get(f"{link}/progress", htmx=True).headers["HX-Redirect"] == link
    assert "sales@example.org is connected Thank you. Ada Lindqvist has been told." in words(owner.get(link))
    done()
    page = ada_at.get(f"/accounts/{account.id}/invite")
    assert "Ask the owner to connect" not in page.words()
    assert [page.words(button) for button in page.all("button", class_="primary")] == []
    found = account_now(account)
    assert (found.method, found.health, found.is_set_up) == (SignInMethod.PASSWORD, Health.HEALTHY, True)
    assert (found.asked_owner_at, accounts.state_of(found)) == (None, "connected")
    assert told(harbour) == ["sales@example.org is connected"]
    with db.reading() as session:
        by = session.scalars(select(Activity).where(Activity.what.contains("by connect link"))).one()
    assert (by.person_name, by.person_id, by.what) == (
        "The owner of sales@example.org",
        None,
        "connected sales@example.org by connect link",
    )
    assert invite_of(account).ending == "connected"


def test_link_that_was_used_opens_nothing_any_more(account: Account, ada_at: Browser, owner: Browser) -> None:
    link = asked(ada_at, account)
    owner.post(link, {"password": PASSWORD})
    done()
    assert "cannot be used again" in words(owner.get(link))
    page = owner.post(link, {"password": NEW}, follow=True)
    assert "cannot be used again" in words(page)
    assert not page.all("input", type="password")
    owner.post(f"{link}/refuse")
    assert invite_of(account).ending == "connected"
    assert invite_of(account).tries == 1


def test_wrong_password_changes_nothing_and_says_whose_turn_it_is(
    harbour: Harbour, ada_at: Browser, owner: Browser
) -> None:
    a_company(harbour)
    account = without_oauth(harbour, is_set_up=True)
    refused(account)
    link = asked(ada_at, account)
    owner.post(link, {"password": NEW})
    done()
    page = owner.get(link)
    assert "The server refused this password" in words(page)
    assert page.error("password") == "Refused by localhost."
    assert NEW not in page.text
    assert account_now(account).method is SignInMethod.PASSWORD
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account.id), Direction.INCOMING)
        assert leg is not None
        assert leg.how.secret == PASSWORD
    page = ada_at.get(f"/accounts/{account.id}/invite")
    assert "The last try failed" in page.words()
    assert "1 of at most 20" in page.words()
    assert NEW not in page.text
    owner.post(link, {"password": PASSWORD})
    done()
    assert "is connected" in words(owner.get(link))
    assert accounts.state_of(account_now(account)) == "connected"


def test_owner_who_says_no_is_believed(account: Account, ada_at: Browser, owner: Browser, harbour: Harbour) -> None:
    harbour.sink.messages.clear()
    link = asked(ada_at, account)
    page = owner.post(f"{link}/refuse", follow=True)
    assert page.status == 410
    assert "You said no, and that counts" in words(page)
    done()
    assert told(harbour) == ["sales@example.org will not be connected"]
    assert "The owner does not want this" in ada_at.get(f"/accounts/{account.id}/invite").words()
    assert accounts.state_of(account_now(account)) == "draft"
    assert owner.post(link, {"password": PASSWORD}, follow=True).status == 410
    work()
    assert account_now(account).method is None


def test_link_that_has_run_out_leads_to_a_new_one(
    account: Account, ada_at: Browser, owner: Browser, harbour: Harbour
) -> None:
    harbour.sink.messages.clear()
    link = asked(ada_at, account)
    run_out(account)
    assert accounts.state_of(account_now(account)) == "draft"
    page = owner.get(link)
    assert "This link has run out It was valid until" in words(page)
    assert "This link has run out" in owner.post(link, {"password": PASSWORD}, follow=True).words()
    assert "Ask Ada Lindqvist for a new link" in page.words()
    for _ in range(2):
        assert "Ada Lindqvist has been asked" in words(owner.post(f"{link}/renew", follow=True))
    done()
    assert told(harbour) == ["sales@example.org: a new link is asked for"]
    assert "The owner asks for a new link" in ada_at.get(f"/accounts/{account.id}/invite").words()
    overview = ada_at.get("/").words()
    assert "The link has run out, and the owner asks for a new one." in overview
    page = ada_at.post(f"/accounts/{account.id}/invite/resend", follow=True)
    newer = page.words(page.one("code", id="link")).partition("example.com")[2]
    assert newer != link
    assert owner.get(link).status == 404
    assert "asks you to connect" in words(owner.get(newer))


def test_twenty_tries_are_all_that_a_link_allows(account: Account, ada_at: Browser, owner: Browser) -> None:
    link = asked(ada_at, account)
    with db.transaction() as session:
        session.merge(invite_of(account)).tries = 19
    owner.post(link, {"password": NEW})
    done()
    page = owner.get(link)
    assert "It was tried 20 times, which is all that a link allows." in words(page)
    assert not page.all("input", type="password")
    owner.post(link, {"password": PASSWORD})
    done()
    assert (invite_of(account).tries, account_now(account).method) == (20, None)


def test_tries_are_slowed_down(account: Account, ada_at: Browser, owner: Browser) -> None:
    link = asked(ada_at, account)
    answers = [owner.post(link, {"password": ""}).status for _ in range(6)]
    assert answers == [422] * 5 + [429]
    assert invite_of(account).tries == 0


def test_two_clicks_are_one_try(account: Account, ada_at: Browser, owner: Browser) -> None:
    link = asked(ada_at, account)
    for _ in range(2):
        assert "Connecting" in owner.post(link, {"password": PASSWORD}, follow=True).words()
    assert invite_of(account).tries == 1
    done()
    assert "is connected" in words(owner.get(link))


@pytest.mark.parametrize("path", ["/c/x", "/c/WzEsMV0.abc", f"/c/{'a' * 5000}", "/c/WzEsMV0", "/c/%00"])
def test_made_up_links_lead_nowhere(account: Account, ada_at: Browser, owner: Browser, path: str) -> None:
    asked(ada_at, account)
    page = owner.get(path)
    assert page.status == 404
    assert SALES not in page.text
    assert owner.post(path, {"password": PASSWORD}).status == 404


def test_link_cannot_be_made_into_that_of_another(account: Account, ada_at: Browser, owner: Browser) -> None:
    link = asked(ada_at, account)
    payload, _, signature = link.removeprefix("/c/").rpartition(".")
    assert owner.get(f"/c/{payload}.{signature[:-4]}AAAA").status == 404
    assert owner.get(f"/c/WzIsMV0.{signature}").status == 404


def test_link_is_good_for_one_address_and_dies_with_its_account(
    account: Account, ada_at: Browser, owner: Browser
) -> None:
    link = asked(ada_at, account)
    with db.transaction() as session:
        accounts.get(session, account.id).address = "other@example.org"
    page = owner.post(link, {"password": PASSWORD}, follow=True)
    assert page.status == 410
    assert "This link was taken back" in words(page)
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        found.address = SALES
        session.flush()
        accounts.request_deletion(session, found, actor=SYSTEM)
    assert owner.get(link).status == 410


def test_forms_of_other_sites_are_not_taken(account: Account, ada_at: Browser, owner: Browser) -> None:
    link = asked(ada_at, account)
    for path in (link, f"{link}/refuse", f"{link}/renew"):
        assert owner.post_without_token(path, {"password": PASSWORD}).status == 400
    assert (invite_of(account).tries, invite_of(account).ended_at) == (0, None)


def test_neither_links_nor_passwords_are_in_logs(
    account: Account, ada_at: Browser, owner: Browser, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    link = asked(ada_at, account, SALES)
    owner.post(link, {"password": NEW})
    done()
    owner.get(link)
    monkeypatch.setattr("mailadmin.invites.letters.day", lambda _: 1 / 0)
    assert owner.get(link).status == 500
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "GET /c/…" in said
    assert link.removeprefix("/c/") not in caplog.text
    assert NEW not in caplog.text
    with db.reading() as session:
        assert session.scalars(select(SealedSecret.purpose)).all() == ["account password"]


def test_owner_signs_in_at_the_provider_where_that_can_be(harbour: Harbour, ada_at: Browser, owner: Browser) -> None:
    a_company(harbour)
    account = harbour.account(is_set_up=False, with_password=False)
    link = asked(ada_at, account)
    page = owner.get(link)
    assert "Continue with Harbour" in words(page)
    assert not page.all("input", type="password")
    page = owner.post(link)
    address = page.one("a", rel="noreferrer").get("href", "")
    back = owner.get(path_of(harbour.idp.agree(address, SALES)))
    assert back.location == "/c/back"
    back = owner.get("/c/back")
    assert back.location == link
    assert "Connecting sales@example.org" in words(owner.get(link))
    done()
    assert "is connected" in words(owner.get(link))
    done()
    found = account_now(account)
    assert (found.method, found.is_set_up, found.asked_owner_at) == (SignInMethod.OAUTH, True, None)


def test_owner_who_signs_in_as_somebody_else_or_says_no_there_can_try_again(
    harbour: Harbour, ada_at: Browser, owner: Browser
) -> None:
    a_company(harbour)
    account = harbour.account(is_set_up=False, with_password=False)
    link = asked(ada_at, account)

    def go(who: str, *, allow: bool = True) -> str:
        address = owner.post(link).one("a", rel="noreferrer").get("href", "")
        owner.get(path_of(harbour.idp.agree(address, who, allow=allow)))
        done()
        return words(owner.get(link))

    assert "You signed in as tomas@example.org, and this link is for sales@example.org." in go("tomas@example.org")
    assert "You did not agree at Harbour" in go(SALES, allow=False)
    assert account_now(account).method is None
    assert invite_of(account).problem
    assert "sales@example.org is connected" in go(SALES)
    assert invite_of(account).tries == 3


def test_administrator_may_try_the_link_in_the_same_browser(harbour: Harbour, ada_at: Browser) -> None:
    a_company(harbour)
    account = harbour.account(is_set_up=False, with_password=False)
    link = asked(ada_at, account)
    assert ada_at.get("/c/back").status == 404
    address = ada_at.post(link).one("a", rel="noreferrer").get("href", "")
    assert ada_at.get(path_of(harbour.idp.agree(address, SALES))).location == "/c/back"
    done()
    assert "is connected" in words(ada_at.get(link))


def test_letter_says_until_when_and_whom_to_call(account: Account, ada_at: Browser, harbour: Harbour) -> None:
    harbour.sink.messages.clear()
    asked(ada_at, account, SALES)
    done()
    said = text_of(letters(harbour)[0])
    assert "Ada Lindqvist of Example Ltd asks you to connect" in said
    assert "Call Example Ltd before you go on." in said


def test_owner_of_a_mailbox_with_a_stored_password_is_told_that_this_takes_its_place(
    harbour: Harbour, ada_at: Browser, owner: Browser
) -> None:
    a_company(harbour)
    account = harbour.account()
    harbour.sink.messages.clear()
    link = asked(ada_at, account, SALES)
    done()
    said = text_of(letters(harbour)[0])
    assert "whose password is stored there today. This takes its place." in said
    assert "answer its mail together" not in said
    page = owner.get(link)
    assert "is stored at Example Ltd today, and this takes the place of the password." in words(page)
    assert "answer this mailbox’s mail together" not in page.words()


def test_connected_owner_is_led_to_where_the_permission_is_taken_back(
    harbour: Harbour, ada_at: Browser, owner: Browser
) -> None:
    a_company(harbour)
    account = harbour.account(is_set_up=False, with_password=False)
    link = asked(ada_at, account)
    address = owner.post(link).one("a", rel="noreferrer").get("href", "")
    owner.get(path_of(harbour.idp.agree(address, SALES)))
    done()
    assert "open the security settings of your account at Harbour" in words(owner.get(link))
    for key, url in (
        ("google", "https://myaccount.google.com/connections"),
        ("outlook", "https://account.live.com/consent/Manage"),
    ):
        with db.transaction() as session:
            provider = accounts.get(session, account.id).provider
            assert provider is not None
            provider.catalogue_key = key
        known = known_providers.oauth_of(known_providers.everyone()[key])
        assert known is not None
        page = owner.get(link)
        assert f"open {known.revoke}, and remove the app" in words(page)
        assert page.all("a", href=url)
