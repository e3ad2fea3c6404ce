"""The pages of a provider's OAuth app: the form, Verify set-up, the section on the provider's page, the alarm."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import select

from mailadmin import db, sealed
from mailadmin.db import now
from mailadmin.mail.types import ServiceType, SignInMethod
from mailadmin.oauth import service
from mailadmin.oauth.models import OAuthApp, Publishing
from mailadmin.permissions import SYSTEM
from mailadmin.providers.models import Provider
from mailadmin.providers.service import adopt
from tests.accounts.factories import a_provider, an_account
from tests.mail.test_known_oauth import FOUND
from tests.oauth.harbour import CLIENT_SECRET, PUBLIC_URL, SALES, Harbour, work
from tests.pages import Browser, Page

CLIENT_ID = "8b6f0c3a-1111-4222-8333-444455556666"
FILLED = {
    "client_id": "mailadmin",
    "secret": " hush \n",
    "secret_ends_on": "2031-11-20",
    "client_auth": "client_secret_post",
    "issuer": "https://id.example.net",
    "authorize_url": "https://id.example.net/authorize",
    "token_url": "https://id.example.net/token",
    "scopes": "mail\r\nopenid",
    "app_scopes": "",
    "parameters": "",
}


@pytest.fixture
def provider(booted: object) -> Provider:
    with db.transaction() as session:
        return a_provider(session, methods=frozenset({SignInMethod.OAUTH}))


@pytest.fixture
def path(provider: Provider) -> str:
    return f"/providers/{provider.id}/oauth"


def stored(provider: Provider) -> OAuthApp:
    with db.reading() as session:
        app = service.app_of(session, session.get_one(Provider, provider.id))
        assert app is not None
        return app


def secret_of(app: OAuthApp) -> str:
    with db.reading() as session:
        assert app.secret_id is not None
        return sealed.reveal(session, app.secret_id).reveal()


def from_catalogue(key: str, domain: str) -> Provider:
    from mailadmin.mail.known_providers import everyone

    with db.transaction() as session:
        found = adopt(session, everyone()[key], domain=domain, actor=SYSTEM)
        assert found is not None
        return found


def edition(page: Page) -> str:
    return page.value("version") or ""


def test_an_app_is_set_up_by_hand(ada_at: Browser, provider: Provider, path: str) -> None:
    page = ada_at.get(path)
    assert f"{PUBLIC_URL}/oauth/callback/{provider.id}" in page.words()
    answer = ada_at.post(path, {**FILLED, "version": edition(page)})
    assert answer.status == 303
    assert answer.location.startswith(f"{path}?saved=")  # A browser that is here already must load the page again.
    app = stored(provider)
    assert (app.client_id, app.scopes, str(app.secret_ends_on)) == ("mailadmin", "mail openid", "2031-11-20")
    assert secret_of(app) == "hush"
    assert "hush" not in ada_at.get(path).text


def test_what_is_wrong_is_told_at_its_field_and_nothing_typed_is_lost(ada_at: Browser, path: str) -> None:
    typed = {**FILLED, "token_url": "http://id.example.net/token", "secret_ends_on": "soon", "version": ""}
    page = ada_at.post(path, typed, htmx=True)
    assert page.status == 422
    assert "day like" in page.error("secret_ends_on")
    page = ada_at.post(path, {**typed, "secret_ends_on": ""}, htmx=True)
    assert "https://" in page.error("token_url")
    assert (page.value("client_id"), page.value("token_url")) == ("mailadmin", "http://id.example.net/token")
    assert not page.value("secret")


def test_what_is_left_empty_stays_and_what_is_ticked_goes(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, FILLED)
    ada_at.post(path, {**FILLED, "secret": "", "version": edition(ada_at.get(path))})
    assert secret_of(stored(provider)) == "hush"
    ada_at.post(path, {**FILLED, "secret": "", "forgets_secret": "y", "version": edition(ada_at.get(path))})
    assert stored(provider).secret_id is None


def test_somebody_who_was_faster_is_not_overwritten_unseen(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, FILLED)
    old = edition(ada_at.get(path))
    ada_at.post(path, {**FILLED, "scopes": "mail", "version": old})
    page = ada_at.post(path, {**FILLED, "scopes": "openid", "version": old})
    assert page.status == 422
    assert "Somebody else changed this app" in page.words()
    assert ada_at.post(path, {**FILLED, "scopes": "openid", "version": edition(page)}).status == 303
    assert stored(provider).scopes == "openid"


def test_a_file_that_is_too_large_is_refused(ada_at: Browser, path: str) -> None:
    files: dict[str, Any] = {"certificate": (BytesIO(b"x" * 70_000), "app.pem"), "key": (BytesIO(b"y"), "app.key")}
    page = ada_at.post(path, {**FILLED, **files})
    assert "too large" in page.error("certificate")


def test_the_tick_that_sends_tokens_to_a_new_server_comes_when_it_is_needed(ada_at: Browser, harbour: Harbour) -> None:
    from tests.oauth.test_app_saving import a_grant

    with db.transaction() as session:
        provider = harbour.provider(session)
        app = harbour.app(session, provider)
        a_grant(session, provider, app, address=SALES)
    path = f"/providers/{provider.id}/oauth"
    page = ada_at.get(path)
    assert not page.all("input", name="is_same_company")
    page = ada_at.post(path, {**FILLED, "version": edition(page)})
    assert page.status == 422
    assert "1 in all" in page.error("is_same_company")


def test_microsoft_comes_filled_in_and_its_clouds_change_the_addresses(ada_at: Browser, booted: object) -> None:
    provider = from_catalogue("microsoft-365", "example.com")
    path = f"/providers/{provider.id}/oauth"
    page = ada_at.get(path)
    assert page.value("tenant") == "organizations"
    assert page.value("token_url") == "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    assert f"enter {PUBLIC_URL}/oauth/callback/{provider.id}." in page.words()
    known = FOUND["microsoft-365"].at()
    typed = {name: page.value(name) for name in ("issuer", "authorize_url", "token_url", "jwks_url", "tenant")}
    typed |= {"scopes": "\r\n".join(known.scopes), "app_scopes": known.app_scopes[0]}
    typed |= {"client_id": CLIENT_ID, "secret": "hush", "cloud": "china", "client_auth": "client_secret_post"}
    assert ada_at.post(path, typed).status == 303
    app = stored(provider)
    assert app.token_url == "https://login.partner.microsoftonline.cn/{tenant}/oauth2/v2.0/token"
    assert "https://partner.outlook.cn/SMTP.Send" in app.scopes


def test_google_is_asked_for_its_publishing_status_and_helps_to_decide(ada_at: Browser, booted: object) -> None:
    provider = from_catalogue("google", "gmail.com")
    page = ada_at.get(f"/providers/{provider.id}/oauth")
    assert page.one("select", id="publishing") is not None
    assert "Which way fits us?" in page.words()
    assert "100 people" in page.words()
    assert not page.all("select", id="cloud")


def test_set_up_is_verified_step_by_step(ada_at: Browser, harbour: Harbour) -> None:
    with db.transaction() as session:
        provider = harbour.provider(session)
        harbour.app(session, provider)
    path = f"/providers/{provider.id}/oauth"
    page = ada_at.post(f"{path}/verify", {"verify_mailbox": SALES}, htmx=True)
    assert page.one("section", id="verify").get("hx-get") == f"{path}/verification"
    harbour.idp.may_open.add(("mailadmin", SALES))
    work()
    page = ada_at.get(f"{path}/verification", htmx=True)
    assert page.one("section", id="verify").get("hx-get") is None
    assert "What could be tried works" in page.words()
    tones = [mark.get("data-tone") for mark in page.one("ol", class_="timeline")]
    assert tones == ["ok", "ok", "ok", "off", "off", "ok", "ok", "ok"]
    assert CLIENT_SECRET not in page.text
    whole = ada_at.get(path)
    assert whole.value("verify_mailbox") == SALES


def test_a_wait_for_a_runner_is_explained(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, FILLED)
    ada_at.post(f"{path}/verify")
    assert "No runner has taken this yet" not in ada_at.get(path).words()
    with db.transaction() as session:
        session.scalars(select(OAuthApp)).one().verify_wanted_at = now() - timedelta(seconds=10)
    assert "No runner has taken this yet" in ada_at.get(f"{path}/verification", htmx=True).words()


def test_a_failed_step_says_what_to_do_and_offers_what_the_issuer_says(ada_at: Browser, harbour: Harbour) -> None:
    with db.transaction() as session:
        provider = harbour.provider(session, service_type=ServiceType.MICROSOFT)
        harbour.app(session, provider, token_url="https://localhost:1/token", verify_mailbox=SALES)
    path = f"/providers/{provider.id}/oauth"
    ada_at.post(f"{path}/verify", {"verify_mailbox": ""})
    work()
    page = ada_at.get(path)
    assert "steps failed" in page.words(page.one("section", id="verify"))
    [offer] = [a for a in page.all("a") if "discovered=1" in a.get("href", "")]
    page = ada_at.get((offer.get("href") or "").partition("#")[0])
    assert page.value("token_url") == harbour.idp.token_url


def test_without_scripts_a_wrong_mailbox_is_told_on_the_page(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, {**FILLED, "app_scopes": "mail"})
    page = ada_at.post(f"{path}/verify", {"verify_mailbox": "sales"})
    assert page.status == 422
    assert "whole address" in page.error("verify_mailbox")
    assert not service.is_verifying(stored(provider))


def test_old_results_say_that_they_are_old(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, FILLED)
    ada_at.post(f"{path}/verify")
    work()
    assert "settings have changed since" not in ada_at.get(path).words()
    ada_at.post(path, {**FILLED, "scopes": "mail", "version": edition(ada_at.get(path))})
    assert "settings have changed since" in ada_at.get(path).words()


def test_a_page_at_another_address_than_the_public_one_says_so(ada_at: Browser, path: str) -> None:
    assert "opened at another address" in ada_at.get(path).words()


def test_the_page_of_a_provider_shows_the_state_of_its_app(ada_at: Browser, provider: Provider, path: str) -> None:
    page = ada_at.get(f"/providers/{provider.id}")
    assert "Not set up yet" in page.words(page.one("section", id="oauth"))
    ada_at.post(path, FILLED)
    with db.transaction() as session:
        session.scalars(select(OAuthApp)).one().secret_ends_on = now().date() - timedelta(days=2)
    page = ada_at.get(f"/providers/{provider.id}")
    assert "ran out on" in page.words(page.one("section", id="oauth"))
    assert "People sign in with it" in page.words(page.one("section", id="oauth"))


def test_a_provider_without_oauth_shows_nothing_of_it(ada_at: Browser, booted: object) -> None:
    with db.transaction() as session:
        other = a_provider(session)
    assert not ada_at.get(f"/providers/{other.id}").all("section", id="oauth")


def test_the_list_marks_whoever_needs_an_app(ada_at: Browser, provider: Provider, path: str) -> None:
    assert "Needs an OAuth app" in ada_at.get("/providers").words()
    ada_at.post(path, FILLED)
    assert "Needs an OAuth app" not in ada_at.get("/providers").words()


def test_the_overview_warns_before_a_secret_runs_out(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, FILLED)
    with db.transaction() as session:
        an_account(session, address="sales@example.net")
        app = session.scalars(select(OAuthApp)).one()
        app.secret_ends_on, app.publishing = now().date() + timedelta(days=3), Publishing.TESTING
    page = ada_at.get("/")
    assert "The client secret of Harbour Mail ends in 3 days" in page.words()
    assert "seven days" not in page.words()


def test_an_app_is_deleted_with_its_secrets(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, FILLED)
    assert "Delete the OAuth app of Harbour Mail?" in ada_at.get(f"{path}/delete").title
    assert ada_at.post(f"{path}/delete").location == f"/providers/{provider.id}"
    assert ada_at.get(f"{path}/delete").status == 404
    with db.reading() as session:
        assert session.scalars(select(sealed.SealedSecret)).all() == []


def test_a_provider_takes_its_app_along_when_it_goes(ada_at: Browser, provider: Provider, path: str) -> None:
    ada_at.post(path, FILLED)
    assert ada_at.post(f"/providers/{provider.id}/delete").status == 303
    with db.reading() as session:
        assert session.scalars(select(sealed.SealedSecret)).all() == []


def test_an_app_in_use_is_kept_and_the_page_says_by_how_many(ada_at: Browser, harbour: Harbour) -> None:
    from tests.oauth.test_app_saving import a_grant

    with db.transaction() as session:
        provider = harbour.provider(session)
        a_grant(session, provider, harbour.app(session, provider), address=SALES)
    path = f"/providers/{provider.id}/oauth/delete"
    assert "still in use" in ada_at.get(path).title
    page = ada_at.post(path)
    assert page.status == 422
    assert "1 account signs in with it" in page.words()
    assert stored(provider)
