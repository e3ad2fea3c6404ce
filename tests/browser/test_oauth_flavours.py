"""OAuth as Google and as Microsoft have it, in a browser: people, shared mailboxes, and nobody at all."""

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import examine, listened_to, picture
from tests.browser.oauth_house import CHOIR, CLIENT_SECRET, DESK, GALE, IDA, NORA, OTTO, ROBOT, Harbour, consent, set_up
from tests.browser.test_oauth import begun, outcome, press
from tests.oauth.test_app_saving import a_pair
from tests.real import Installation

pytestmark = pytest.mark.browser
GUID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
EVERYTHING = "https://outlook.office365.com/.default"  # that an app may do without a person, in Microsoft's words
OBJECT = "99999999-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    with Harbour(tmp_path_factory.mktemp("harbour")) as harbour:
        yield harbour


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, harbour: Harbour) -> Iterator[Installation]:
    """The installation, none of whose providers has an app."""
    installation = harbour.install(tmp_path_factory.mktemp("flavours"))
    yield installation
    installation.stop()


@pytest.fixture(scope="module")
def chromium(chromium: Browser, harbour: Harbour) -> Iterator[Browser]:
    """A Chromium that finds the site to sign in at."""
    browser = harbour.browser(chromium)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def cookies(chromium: Browser, console: Installation) -> Any:
    """Those of Ada, the first administrator."""
    with listened_to(chromium, console, ignore_https_errors=True) as context:
        set_up(context.new_page(), console)
        return context.storage_state()


@pytest.fixture
def context(chromium: Browser, console: Installation, cookies: Any) -> Iterator[BrowserContext]:
    """Ada's browser."""
    with listened_to(chromium, console, ignore_https_errors=True, storage_state=cookies) as context:
        yield context


def flavoured(harbour: Harbour, flavour: str, *people: str) -> None:
    """Let the site behave as Google's or Microsoft's does."""
    harbour.idp.flavour = flavour
    harbour.idp.reset()
    harbour.idp.mail_scopes = frozenset({"mail", EVERYTHING})
    for who in people:
        harbour.idp.add_person(who)


def registered(page: Page, harbour: Harbour, name: str, client: str, **more: str) -> None:
    """Register an app for provider `name`, on both sides, and come back with its page saved."""
    page.goto("/providers")
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("link", name="Set up the OAuth app").click()
    redirect = page.locator("#redirect").inner_text()
    harbour.idp.add_app(client, secret=CLIENT_SECRET, redirect_uris=(redirect,))
    page.get_by_text("Advanced", exact=True).click()
    idp = harbour.idp
    known = {"issuer": idp.issuer, "authorize_url": idp.authorize_url, "token_url": idp.token_url}
    known |= {"jwks_url": idp.jwks_url, "client_id": client, "secret": CLIENT_SECRET, "app_scopes": "mail"}
    for field, text in {**known, "scopes": "openid email offline_access mail", **more}.items():
        page.locator(f"#{field}").fill(text)


def saved(page: Page, name: str) -> None:
    with page.expect_navigation():
        press(page, "Save OAuth app")
    expect(page.get_by_text(f"The OAuth app of {name} is saved")).to_be_visible()


def synced(page: Page, address: str) -> None:
    """Go on from the page of an attempt to a mailbox that is read."""
    outcome(page, f"{address} is connected")
    page.get_by_role("link", name="Continue").click()
    press(page, "Continue")
    page.get_by_role("button", name="start the sync").click()
    expect(page.get_by_role("region", name="Sync")).to_contain_text("2 messages")


def choose(page: Page, way: str) -> None:
    """Answer who signs in, and go on."""
    page.get_by_role("radio", name=way).check()
    press(page, "Continue")


def test_google_is_asked_by_an_app_in_testing_and_by_a_service_account(
    page: Page, harbour: Harbour, tmp_path: Path, screenshots: Path
) -> None:
    flavoured(harbour, "google", NORA, CHOIR)
    key = tmp_path / "key.json"
    account = harbour.idp.add_service_account("mail@gale.test", domains=(GALE,), scopes=("mail",))
    key.write_text(account)
    registered(page, harbour, "Gale", "gale", parameters="access_type=offline&prompt=consent")
    page.get_by_label("Audience and publishing status").select_option("External, in testing")
    page.locator("#service_key").set_input_files(key)
    saved(page, "Gale")
    expect(page.get_by_role("main")).to_contain_text("seven days")
    page.get_by_label("Mailbox to try").fill(CHOIR)
    press(page, "Verify set-up")
    expect(page.get_by_text(f"A token came for {CHOIR}")).to_be_visible()
    examine(page, screenshots / "oauth-google.png")
    begun(page, NORA)
    picture(page, screenshots / "new-2-gale.png")
    press(page, "Continue with Gale")
    consent(page, NORA)
    synced(page, NORA)
    begun(page, CHOIR)
    choose(page, "Nobody: a service account")
    synced(page, CHOIR)
    assert "PRIVATE KEY" not in page.content()


def test_microsoft_lets_in_people_delegates_and_an_app_by_its_certificate(
    page: Page, harbour: Harbour, tmp_path: Path, screenshots: Path
) -> None:
    flavoured(harbour, "microsoft", IDA, OTTO)
    registered(page, harbour, "Reef", GUID, tenant=harbour.idp.tenant, app_scopes=EVERYTHING)
    saved(page, "Reef")
    begun(page, IDA)
    press(page, "Sign in with Reef")
    consent(page, IDA)
    synced(page, IDA)
    harbour.idp.may_open.add((OTTO, DESK))
    begun(page, DESK)
    page.get_by_role("radio", name="I do: this is a shared mailbox").check()
    press(page, "Sign in with Reef")
    consent(page, OTTO)
    synced(page, DESK)
    certified(page, harbour, tmp_path)
    picture(page, screenshots / "oauth-microsoft-key.png")
    page.get_by_label("Mailbox to try").fill(ROBOT)
    press(page, "Verify set-up")
    expect(page.get_by_text("The organisation has not let the app into").first).to_be_visible()
    harbour.idp.may_open.add((GUID, ROBOT))
    press(page, "Verify again")
    line = f"Add-RecipientPermission -Identity {ROBOT} -Trustee {OBJECT} -AccessRights SendAs"
    expect(page.get_by_text(line)).to_be_visible()
    examine(page, screenshots / "oauth-microsoft.png")
    begun(page, ROBOT)
    page.get_by_role("radio", name="app-only").check()
    page.get_by_role("main").get_by_role("button", name="Continue", exact=True).dblclick()
    synced(page, ROBOT)
    assert harbour.idp.count("token", grant_type="client_credentials", client_assertion_type=ASSERTION)


ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def certified(page: Page, harbour: Harbour, folder: Path) -> None:
    """Give the app a certificate in place of its secret; its tokens name it and its roles, as Microsoft's do."""
    certificate, key = folder / "app.pem", folder / "app.key"
    for file, text in zip((certificate, key), a_pair(), strict=True):
        file.write_text(text)
    said = {"oid": OBJECT, "roles": ["IMAP.AccessAsApp", "SMTP.SendAsApp"]}
    middle = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    harbour.idp.new_token = lambda: f"e30.{middle}.{secrets.token_urlsafe(24)}"  # type: ignore[method-assign]
    page.goto("/providers")
    page.get_by_role("link", name="Reef", exact=True).click()
    page.get_by_role("link", name="OAuth app").first.click()
    page.get_by_text("Advanced", exact=True).click()
    page.get_by_label("How the app shows who it is").select_option("A certificate and its key (private_key_jwt)")
    page.locator("#certificate").set_input_files(certificate)
    page.locator("#key").set_input_files(key)
    app = harbour.idp.store.apps[GUID]
    app.auth, app.key = (*app.auth, "private_key_jwt"), RSAKey.import_key(key.read_text())
    saved(page, "Reef")
