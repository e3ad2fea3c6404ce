"""People in a real browser: a link, an authenticator, a passkey, sessions, roles, and the audit log of it all."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import PATIENCE, examine, give_password
from tests.factories import PASSWORD
from tests.real import COMMAND, Installation, environment

pytestmark = pytest.mark.browser
NEW_PASSWORD = "north wind over seven lakes"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A console that is reached by a name, as passkeys want it, with one administrator."""
    installation = Installation(tmp_path_factory.mktemp("office"))
    installation.start(PUBLIC_URL=f"http://localhost:{installation.port}")
    add = ["people", "add", "--email", "ada@example.com", "--name", "Ada Lindqvist", "--role", "administrator"]
    subprocess.run(
        [*COMMAND, "--data", str(installation.folder), *add, "--password-stdin"],
        input=PASSWORD,
        env=environment(),
        text=True,
        check=True,
        capture_output=True,
    )
    yield installation
    installation.stop()


def at(chromium: Browser, office: Installation) -> BrowserContext:
    size = {"width": 1440, "height": 900}
    context = chromium.new_context(
        base_url=f"http://localhost:{office.port}", viewport=size, color_scheme="light", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE)
    return context


def with_a_stick(page: Page) -> None:
    """Plug in a security key that knows its owner."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_a_passkey_opens_the_console_without_a_password(
    chromium: Browser, office: Installation, screenshots: Path
) -> None:
    page = at(chromium, office).new_page()
    with_a_stick(page)
    give_password(page, "ada@example.com", PASSWORD)
    page.goto("/profile/second-factor")
    page.get_by_label("Name of a new passkey").fill("My stick")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have them").click()
    expect(page.get_by_role("cell", name="My stick")).to_be_visible()
    examine(page, screenshots / "second-factor.png")
    page.context.clear_cookies()
    page.goto("/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(f"http://localhost:{office.port}/")
    page.goto("/audit?kind=sign-ins")
    expect(page.get_by_role("cell", name="added a passkey")).to_be_visible()
    page.context.clear_cookies()
    give_password(page, "ada@example.com", PASSWORD)
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(f"http://localhost:{office.port}/")
    page.goto("/profile/second-factor")
    page.get_by_text("Remove a passkey").click()
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Remove passkey").click()
    expect(page.get_by_text("The passkey is removed.")).to_be_visible()
    page.context.close()


def test_a_worker_comes_by_a_link_and_sets_up_an_authenticator(chromium: Browser, office: Installation) -> None:
    ada, mei = at(chromium, office).new_page(), at(chromium, office).new_page()
    mei.goto(_link_for_mei(ada))
    mei.get_by_label("New password").fill(NEW_PASSWORD)
    mei.get_by_role("button", name="Set password").click()
    expect(mei.get_by_text("Your password is set")).to_be_visible()
    give_password(mei, "mei@example.com", NEW_PASSWORD)
    expect(mei.get_by_role("heading", name="No mailbox yet")).to_be_visible()
    code = _set_up_authenticator(mei)
    mei.context.clear_cookies()
    give_password(mei, "mei@example.com", NEW_PASSWORD)
    mei.get_by_label("Code").fill(code)
    mei.get_by_role("button", name="Continue").click()
    expect(mei.get_by_role("heading", name="No mailbox yet")).to_be_visible()
    mei.goto("/accounts")
    expect(mei.get_by_role("heading", name="This page is not open to you")).to_be_visible()
    ada.goto("/workers")
    ada.get_by_role("link", name="Mei Tanaka").first.click()
    ada.get_by_role("button", name="Deactivate…").click()
    ada.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
    expect(ada.get_by_text("Mei Tanaka is kept out.")).to_be_visible()
    mei.goto("/profile")
    expect(mei.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    mei.context.close()
    ada.context.close()


def _link_for_mei(ada: Page) -> str:
    """The link that an administrator is shown who adds Mei."""
    give_password(ada, "ada@example.com", PASSWORD)
    ada.goto("/workers")
    ada.get_by_role("link", name="New worker").click()
    ada.get_by_label("Name").fill("Mei Tanaka")
    ada.get_by_label("E-mail address").fill("mei@example.com")
    ada.get_by_text("Show me a link that I pass on").click()
    ada.get_by_role("button", name="Add worker").click()
    return ada.get_by_label("Link", exact=True).input_value()


def _set_up_authenticator(mei: Page) -> str:
    """Scan, type the code, and answer one of the recovery codes."""
    mei.goto("/profile/second-factor")
    mei.get_by_role("button", name="Set up authenticator").click()
    shown = mei.get_by_role("img", name="A picture that holds the key below")
    expect(shown).not_to_have_js_property("naturalWidth", 0)
    mei.get_by_text("It cannot be scanned").click()
    secret = mei.locator("code").inner_text()
    mei.get_by_label("Code").fill(pyotp.TOTP(secret).now())
    mei.get_by_role("button", name="Use this authenticator").click()
    return mei.locator("code").nth(3).inner_text()


def test_the_pages_about_people_can_be_used_by_everybody(
    chromium: Browser, office: Installation, screenshots: Path
) -> None:
    page = at(chromium, office).new_page()
    give_password(page, "ada@example.com", PASSWORD)
    _make_long_names(page)
    paths = {"profile": "/profile", "audit": "/audit", "workers": "/workers", "worker": "/workers/1"}
    paths |= {"worker-new": "/workers/new", "roles": "/roles", "role-new": "/roles/new", "teams": "/teams"}
    paths |= {"team": "/teams/1", "templates": "/templates"}
    paths |= {"single-sign-on": "/settings/sign-in", "single-sign-on-new": "/settings/sign-in/new"}
    for name, path in paths.items():
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, path
        examine(page, screenshots / f"{name}.png")
    page.context.close()


def _make_long_names(page: Page) -> None:
    """A person, a team and a template whose names are one long word, as some languages have them."""
    word = "Donaudampfschifffahrtsgesellschaftskapitänsanwärter"
    page.goto("/profile")
    page.get_by_label("Your name").fill(f"Ada {word}")
    page.get_by_role("button", name="Save profile").click()
    expect(page.get_by_text("Your profile is saved.")).to_be_visible()
    page.goto("/teams")
    page.get_by_label("Name of the team").fill(word)
    page.get_by_role("button", name="Make team").click()
    page.get_by_label("Person").select_option(f"Ada {word}")
    page.get_by_role("button", name="Add to the team").click()
    expect(page.get_by_role("button", name=f"Take Ada {word} out of the team")).to_be_visible()
    page.goto("/templates/new")
    page.get_by_label("Name").fill(word)
    page.get_by_label("Subject").fill(word * 3)
    page.get_by_role("textbox", name="Text").fill(word)
    page.get_by_role("button", name="Save template").click()
    expect(page.get_by_role("link", name=word)).to_be_visible()
