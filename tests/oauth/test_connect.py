"""Connecting an account with OAuth at the browser, from the button to the account that works, and who cannot."""

import logging
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import boot, db, queue
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.config import Settings
from mailadmin.db import now
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, AttemptState
from mailadmin.people.models import Person
from mailadmin.providers.models import Provider
from tests import factories
from tests.oauth.harbour import PUBLIC_URL, SALES, TOMAS, Harbour, begun, connected, path_of, work
from tests.pages import Browser, Page


def newest() -> Attempt:
    with db.reading() as session:
        found = session.scalars(select(Attempt).order_by(Attempt.id.desc())).first()
        assert found is not None
        return found


def method_of(account: Account) -> SignInMethod | None:
    with db.reading() as session:
        return accounts.get(session, account.id).method


def polls(page: Page) -> bool:
    return any(e.get("hx-trigger") for e in page.all("section"))


def buttons(page: Page) -> list[str]:
    return [page.words(button) for button in page.all("button")]


def parameters(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query))


def test_account_is_connected_and_tested_before_it_gives_up_its_password(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    address = begun(ada_at, account)
    asked = parameters(address)
    assert address.startswith(harbour.idp.authorize_url)
    assert (asked["code_challenge_method"], asked["login_hint"]) == ("S256", SALES)
    assert asked["redirect_uri"].startswith(f"{PUBLIC_URL}/oauth/callback/")
    page = ada_at.get(f"/oauth/attempts/{newest().id}")
    assert "Waiting for you to come back from Harbour" in page.words()
    assert polls(page)
    back = ada_at.get(path_of(harbour.idp.agree(address, SALES)))
    assert (back.status, back.location) == (303, f"/oauth/attempts/{newest().id}")
    assert "Asking Harbour for access" in ada_at.get(back.location, htmx=True).words()
    assert method_of(account) is SignInMethod.PASSWORD
    work()
    page = ada_at.get(back.location)
    assert f"{SALES} is connected" in page.words()
    assert "The old password is kept until" in page.words()
    assert not polls(page)
    assert page.all("a", href=f"/accounts/{account.id}")
    assert method_of(account) is SignInMethod.OAUTH
    assert harbour.idp.count("token", grant_type="authorization_code") == 1


def test_page_that_leads_there_says_so_and_tells_nobody_where_it_was(
    ada_at: Browser, harbour: Harbour, settings: Settings
) -> None:
    account = harbour.account()
    boot.start(replace(settings, public_url="http://localhost"))
    page = ada_at.post(f"/accounts/{account.id}/oauth", {"came_from": "account"})
    assert "You are going to Harbour" in page.title
    refresh = page.one("meta", http_equiv="refresh").get("content", "")
    assert refresh.startswith(f"0;url={harbour.idp.authorize_url}?")
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "form-action 'self'" in page.headers["Content-Security-Policy"]
    assert harbour.idp.host not in page.headers["Content-Security-Policy"]


def test_whoever_opened_the_console_under_another_name_is_told_and_not_sent_off(
    ada_at: Browser, harbour: Harbour
) -> None:
    page = ada_at.post(f"/accounts/{harbour.account().id}/oauth", {"came_from": "account"})
    assert "Harbour brings you back to console.example.com" in page.words()
    assert not page.all("meta", http_equiv="refresh")


def test_owner_who_says_no_is_told_as_such_and_nothing_changes(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    back = ada_at.get(path_of(harbour.idp.agree(begun(ada_at, account), SALES, allow=False)))
    page = ada_at.get(back.location)
    assert f"{SALES} was not connected" in page.words()
    assert "The account is as it was before." in page.words()
    assert "Try again" in buttons(page)
    assert not polls(page)
    assert newest().failed_code
    assert method_of(account) is SignInMethod.PASSWORD
    assert harbour.idp.count("token") == 0


def test_scope_that_was_left_out_is_named(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    back = ada_at.get(path_of(harbour.idp.agree(begun(ada_at, account), SALES, without=("mail",))))
    work()
    page = ada_at.get(back.location)
    assert "A permission was not ticked" in page.words()
    assert "Missing: mail" in page.words()
    assert method_of(account) is SignInMethod.PASSWORD


def test_wrong_account_can_be_tried_again_with_a_choice(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    page = connected(ada_at, harbour, account, TOMAS)
    assert f"Ada Lindqvist signed in as {TOMAS}, but this account is {SALES}." in page.words()
    assert method_of(account) is SignInMethod.PASSWORD
    form = next(f for f in page.all("form") if "Try again with another account" in page.words(f))
    fields = {e.get("name", ""): e.get("value", "") for e in form.iter() if e.get("name") and e.get("value")}
    assert "select_account" in parameters(begun(ada_at, account, **fields))["prompt"]


def test_delegate_of_a_shared_mailbox_is_accepted_without_a_second_consent(ada_at: Browser, harbour: Harbour) -> None:
    harbour.idp.may_open.add((TOMAS, SALES))
    account = harbour.account()
    connected(ada_at, harbour, account, TOMAS)
    asked = harbour.idp.count("authorize")
    answer = ada_at.post(f"/oauth/attempts/{newest().id}/delegate")
    work()
    page = ada_at.get(answer.location)
    assert f"{SALES} is connected" in page.words()
    assert f"{TOMAS} Delegate" in page.words()
    assert harbour.idp.count("authorize") == asked
    with db.reading() as session:
        grant = oauth.grant_of(session, account.id)
    assert grant is not None
    assert (grant.identity, grant.is_delegate) == (TOMAS, True)


def test_delegate_who_may_not_open_the_mailbox_leaves_the_account_as_it_was(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    page = connected(ada_at, harbour, account, TOMAS, is_delegate="1", kind="person")
    assert "the new connection does not work" in page.words()
    assert "keeps what it had before" in page.words()
    assert method_of(account) is SignInMethod.PASSWORD


def test_answer_is_good_once(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    path = path_of(harbour.idp.agree(begun(ada_at, account), SALES))
    assert ada_at.get(path).location.startswith("/oauth/attempts/")
    again = ada_at.get(path)
    assert again.location == "/oauth/lost"
    page = ada_at.get("/oauth/lost")
    assert page.status == 400
    assert "used already" in page.words()
    assert ada_at.get("/oauth/lost").status == 200
    work()
    assert method_of(account) is SignInMethod.OAUTH
    assert harbour.idp.count("token", grant_type="authorization_code") == 1


def test_answer_in_another_browser_is_refused(ada_at: Browser, app: Flask, ada: Person, harbour: Harbour) -> None:
    path = path_of(harbour.idp.agree(begun(ada_at, harbour.account()), SALES))
    stranger = Browser(app)
    assert stranger.get(path).location == "/oauth/lost"
    assert "begun in another browser" in stranger.get("/oauth/lost").words()
    same_person = Browser(app)
    same_person.sign_in(ada.email, factories.PASSWORD)
    begun(same_person, account_of(newest()))  # It has a binder of its own.
    assert same_person.get(path).location == "/oauth/lost"
    assert ada_at.get(path).location.startswith("/oauth/attempts/")


def account_of(attempt: Attempt) -> Account:
    with db.reading() as session:
        return accounts.get(session, attempt.account_id)


def test_code_of_somebody_else_cannot_be_put_under_an_administrator(
    ada_at: Browser, app: Flask, harbour: Harbour
) -> None:
    """Session swap: whoever lets Ada open their own answer connects nothing in her name."""
    account = harbour.account()
    with db.transaction() as session:
        mallory = factories.a_person(session, name="Mallory", email="mallory@example.com")
    attacker = Browser(app)
    attacker.sign_in(mallory.email, factories.PASSWORD)
    path = path_of(harbour.idp.agree(begun(attacker, account), TOMAS))
    begun(ada_at, account)
    assert ada_at.get(path).location == "/oauth/lost"
    assert "by somebody else" in ada_at.get("/oauth/lost").words()


def test_answer_of_another_provider_is_refused(ada_at: Browser, harbour: Harbour, session: Session) -> None:
    account = harbour.account()
    other = harbour.provider(session, name="Elsewhere", domains=("elsewhere.example",))
    session.commit()
    there = urlsplit(path_of(harbour.idp.agree(begun(ada_at, account), SALES)))
    back = ada_at.get(f"/oauth/callback/{other.id}?{there.query}")
    assert f"{SALES} was not connected" in ada_at.get(back.location).words()
    assert "another server than the one that was asked" in newest().failed_message
    work()
    assert harbour.idp.count("token") == 0


def test_answer_that_names_another_issuer_is_refused(ada_at: Browser, harbour: Harbour) -> None:
    harbour.idp.odd_return["iss"] = "https://evil.example"
    account = harbour.account()
    back = ada_at.get(path_of(harbour.idp.agree(begun(ada_at, account), SALES)))
    assert f"{SALES} was not connected" in ada_at.get(back.location).words()
    assert "another server than the one that was asked" in newest().failed_message
    work()
    assert harbour.idp.count("token") == 0


def test_answer_after_ten_minutes_is_refused(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    path = path_of(harbour.idp.agree(begun(ada_at, account), SALES))
    with db.transaction() as session:
        session.get_one(Attempt, newest().id).expires_at = now()
    assert "Nobody came back from Harbour in time" in ada_at.get(f"/oauth/attempts/{newest().id}").words()
    back = ada_at.get(path)
    assert f"{SALES} was not connected" in ada_at.get(back.location).words()
    assert newest().state is AttemptState.REFUSED
    assert "longer than ten minutes" in newest().failed_message


def test_answer_to_no_question_is_refused(ada_at: Browser, harbour: Harbour) -> None:
    begun(ada_at, harbour.account())
    for query in ("", "state=x", "code=x", "state=a&state=b&code=c", "error=access_denied"):
        assert ada_at.get(f"/oauth/callback/1?{query}").location == "/oauth/lost"
    assert newest().state is AttemptState.WAITING


def test_what_comes_twice_counts_as_nothing(ada_at: Browser, harbour: Harbour) -> None:
    path = path_of(harbour.idp.agree(begun(ada_at, harbour.account()), SALES))
    state = parse_qs(urlsplit(path).query)["state"][0]
    assert ada_at.get(f"{path}&{urlencode({'state': state})}").location == "/oauth/lost"


def test_provider_is_told_our_own_address_whatever_the_browser_says(ada_at: Browser, harbour: Harbour) -> None:
    """The Host header is anybody's; a code must not be sent there."""
    account = harbour.account()
    client, token = ada_at._client, ada_at._token()
    cookie = client.get_cookie("session")
    assert cookie is not None
    client.set_cookie("session", cookie.value, domain="evil.example")
    answer = client.post(
        f"/accounts/{account.id}/oauth",
        data={"csrf_token": token, "came_from": "https://evil.example/"},
        base_url="http://evil.example",
    )
    page = Page(answer)
    asked = parameters(page.one("a", rel="noreferrer").get("href", ""))
    assert asked["redirect_uri"].startswith(f"{PUBLIC_URL}/oauth/callback/")
    assert newest().came_from == "account"
    assert "evil.example" not in page.text


def test_without_its_own_address_the_console_says_what_to_set(
    ada_at: Browser, harbour: Harbour, settings: Settings
) -> None:
    account = harbour.account()
    boot.start(replace(settings, public_url=""))
    answer = ada_at.post(f"/accounts/{account.id}/oauth", {"came_from": "account"}, follow=True)
    assert "Set PUBLIC_URL first" in answer.words()


def test_without_an_app_the_way_back_says_why(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account(has_app=False)
    answer = ada_at.post(f"/accounts/{account.id}/oauth", {"came_from": "account"})
    assert answer.location == f"/accounts/{account.id}"
    assert "Set one up first" in ada_at.get(answer.location).words()


def test_queue_that_is_away_is_told_and_nothing_is_lost(
    ada_at: Browser, harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = harbour.account()
    path = path_of(harbour.idp.agree(begun(ada_at, account), SALES))
    monkeypatch.setattr(queue, "ring", lambda *args, **more: False)
    back = ada_at.get(path)
    assert "The queue cannot be reached" in ada_at.get(back.location).words()
    monkeypatch.undo()
    work()
    assert method_of(account) is SignInMethod.OAUTH


def test_reconnecting_keeps_the_account_and_works_while_it_is_broken(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    connected(ada_at, harbour, account)
    harbour.idp.withdraw(SALES)
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        accounts.record_failure(
            session,
            found,
            direction=Direction.INCOMING,
            category=Category.OAUTH,
            reason="The permission was withdrawn",
            permanent=True,
            sure=True,
        )
    page = ada_at.get(f"/accounts/{account.id}")
    assert "Sign-in needed" in page.words()
    assert page.all("form", action=f"/accounts/{account.id}/oauth")
    assert "is connected" in connected(ada_at, harbour, account).words()
    page = ada_at.get(f"/accounts/{account.id}")
    assert "Connected" in page.words()
    assert f"OAuth, by {SALES}" in page.words()


def test_other_administrator_may_look_and_a_worker_may_not(
    ada_at: Browser, app: Flask, wim: Person, harbour: Harbour
) -> None:
    begun(ada_at, harbour.account())
    path = f"/oauth/attempts/{newest().id}"
    with db.transaction() as session:
        priya = factories.a_person(session, name="Priya Nair", email="priya@example.com")
    other = Browser(app)
    other.sign_in(priya.email, factories.PASSWORD)
    assert other.get(path).status == 200
    assert Browser(app).get(path).location.startswith("/sign-in")
    assert ada_at.get("/oauth/attempts/999").status == 404


def test_no_code_state_verifier_or_token_is_logged_or_shown(
    ada_at: Browser, harbour: Harbour, caplog: pytest.LogCaptureFixture
) -> None:
    account = harbour.account()
    with caplog.at_level(logging.DEBUG):
        address = begun(ada_at, account)
        path = path_of(harbour.idp.agree(address, SALES))
        back = ada_at.get(path)
        ada_at.get(path)
        lost = ada_at.get("/oauth/lost")
        waiting = ada_at.get(back.location)
        work()
        done = ada_at.get(back.location)
    answer = parse_qs(urlsplit(path).query)
    verifier = next(fields["code_verifier"] for name, fields in harbour.idp.calls if "code_verifier" in fields)
    tokens = [token for found in harbour.idp.store.access.values() for token in (found.access, found.refresh) if token]
    secrets = [answer["code"][0], answer["state"][0], verifier, *tokens]
    assert len(tokens) == 2
    shown = [caplog.text, back.location, lost.text, waiting.text, done.text, str(back.headers)]
    assert [text[:80] for text in shown for secret in secrets if secret in text] == []


def test_nobody_has_to_sign_in_where_the_organisation_lets_us_in(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    with db.transaction() as session:
        app = oauth.app_of(session, session.scalars(select(Provider)).one())
        assert app is not None
        app.app_scopes = "mail"
    harbour.idp.may_open.add(("mailadmin", SALES))
    answer = ada_at.post(f"/accounts/{account.id}/oauth", {"came_from": "account", "kind": "application"})
    assert "Nobody has to sign in" in ada_at.get(answer.location).words()
    work()
    assert "Nobody: the organisation lets this console in" in ada_at.get(answer.location).words()
    assert method_of(account) is SignInMethod.OAUTH
