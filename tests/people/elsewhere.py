"""An organisation's own sign-in for tests: a real OpenID Connect provider, set up as an administrator does it."""

import dataclasses
import re
from collections.abc import Iterator

import pytest

from mailadmin import boot, db
from mailadmin.people import single_sign_on
from tests.pages import Browser, Page
from tests.servers.oauth import OAuthServer

BASE = "http://localhost"
SECRET = "hush-hush of the console"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OAuthServer]:
    with OAuthServer(tmp_path_factory.mktemp("sso")) as server:
        yield server


@pytest.fixture
def idp(server: OAuthServer, booted: object, monkeypatch: pytest.MonkeyPatch) -> OAuthServer:
    server.reset()
    server.add_person("mei@example.com", name="Mei Tanaka")
    rules = dataclasses.replace(boot.settings().rules, ca_file=server.ca_file)
    monkeypatch.setattr(boot, "_settings", dataclasses.replace(boot.settings(), rules=rules))
    single_sign_on._published.clear()
    return server


def fields(idp: OAuthServer, **other: object) -> dict[str, object]:
    return {
        "name": "Example account",
        "issuer": idp.issuer,
        "client_id": "console",
        "secret": SECRET,
        "domains": "example.com example.org",
        "is_on": "y",
        **other,
    }


def set_up(ada_at: Browser, idp: OAuthServer, **other: object) -> int:
    """A provider as an administrator sets it up; its id."""
    page = ada_at.post("/settings/sign-in/new", fields(idp, **other), follow=True)
    assert "its issuer answers" in page.words()
    with db.reading() as session:
        provider_id = single_sign_on.providers(session)[0].id
    redirect = ada_at.get(f"/settings/sign-in/{provider_id}").value("redirect-uri")
    assert redirect == f"{BASE}/sign-in/with/{provider_id}/back"
    idp.add_app("console", secret=SECRET, redirect_uris=(redirect,))
    return provider_id


def leave(browser: Browser, provider_id: int, goes_to: str = "") -> str:
    """Where the page leads that answers the button."""
    page = browser.post(f"/sign-in/with/{provider_id}" + (f"?next={goes_to}" if goes_to else ""))
    found = re.search(r'<a class="btn primary wide" href="([^"]+)"', page.text)
    assert found, page.words()
    return found[1].replace("&amp;", "&")


def come_back(browser: Browser, idp: OAuthServer, provider_id: int, who: str = "mei@example.com") -> Page:
    back = idp.agree(leave(browser, provider_id), who)
    return browser.get(back.removeprefix(BASE))


def said(page: Page, browser: Browser) -> str:
    assert page.location == "/sign-in"
    return browser.get("/sign-in").words()
