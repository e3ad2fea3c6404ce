"""OAuth from the app's registration to the last password left behind, in a browser against real servers.

Each test is a chapter of one story and goes on where the one before has ended.
"""

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import examine, picture
from tests.browser.oauth_house import (
    CLIENT,
    CLIENT_SECRET,
    LEGACY,
    LOUD,
    OLD,
    ORDERS,
    SALES,
    SHARED,
    TOMAS,
    WIM,
    WORD,
    Harbour,
    Watch,
    consent,
    set_up,
)
from tests.real import Installation, eventually
from tests.servers.dovecot import a_message

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    with Harbour(tmp_path_factory.mktemp("harbour")) as harbour:
        yield harbour


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, harbour: Harbour) -> Iterator[Installation]:
    """The installation, whose provider nobody has registered an app with."""
    installation = harbour.install(tmp_path_factory.mktemp("oauth"))
    yield installation
    installation.stop()


@pytest.fixture(scope="module")
def chromium(chromium: Browser, harbour: Harbour) -> Iterator[Browser]:
    """A Chromium that finds the provider's site."""
    browser = harbour.browser(chromium)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory, harbour: Harbour, console: Installation) -> Watch:
    """What all browsers saw."""
    return Watch(tmp_path_factory.mktemp("watch"), harbour, console)


@pytest.fixture(autouse=True)
def nothing_leaks(watch: Watch) -> Iterator[None]:
    """After each chapter, when its browsers are closed: no token, code, verifier, secret or password is anywhere."""
    yield
    assert watch.leaks() == []


@pytest.fixture(scope="module")
def cookies(chromium: Browser, watch: Watch) -> Any:
    """Those of Ada, the first administrator."""
    with watch.browser(chromium) as context:
        set_up(context.new_page(), watch.installation)
        return context.storage_state()


@pytest.fixture
def context(chromium: Browser, watch: Watch, cookies: Any) -> Iterator[BrowserContext]:
    """Ada's browser."""
    with watch.browser(chromium, storage_state=cookies) as context:
        yield context


@pytest.fixture
def owner(chromium: Browser, watch: Watch) -> Iterator[Page]:
    """The browser of somebody who is not known here."""
    with watch.browser(chromium) as context:
        yield context.new_page()


def press(page: Page, label: str) -> None:
    page.get_by_role("main").get_by_role("button", name=label, exact=True).click()


def save(page: Page) -> None:
    """Save the OAuth app; the page comes anew."""
    with page.expect_navigation():
        press(page, "Save OAuth app")
    expect(page.get_by_text("The OAuth app of Harbour is saved")).to_be_visible()


def row(page: Page, address: str) -> str:
    """What the list says of an account."""
    page.goto(f"/accounts?q={address}")
    return page.get_by_role("row").filter(has_text=address).inner_text()


def test_1_an_app_is_set_up_and_verified(page: Page, harbour: Harbour, screenshots: Path) -> None:
    page.goto("/providers")
    page.get_by_role("link", name="Harbour", exact=True).click()
    page.get_by_role("link", name="Set up the OAuth app").click()
    redirect = page.locator("#redirect").inner_text()
    harbour.idp.add_app(CLIENT, secret=CLIENT_SECRET, redirect_uris=(redirect,))
    page.get_by_label("Client ID").fill(CLIENT)
    page.get_by_label("Client secret").fill("not this one")
    page.get_by_label("Issuer").fill(harbour.idp.issuer)
    page.get_by_label("Scopes", exact=True).fill("openid email offline_access mail")
    save(page)
    press(page, "Verify set-up")
    page.get_by_role("link", name="Fill in what the issuer says").click()
    expect(page.get_by_label("Token URL")).to_have_value(harbour.idp.token_url)
    save(page)
    press(page, "Verify again")
    expect(page.get_by_role("heading", name="The provider does not accept our app’s credentials")).to_be_visible()
    examine(page, screenshots / "oauth-app-refused.png")
    page.get_by_label("Client secret", exact=True).fill(CLIENT_SECRET)
    save(page)
    press(page, "Verify again")
    expect(page.get_by_text("What could be tried works")).to_be_visible()
    picture(page, screenshots / "oauth-app.png")
    page.goto("/providers/1")
    picture(page, screenshots / "oauth-provider.png")


def begun(page: Page, address: str) -> None:
    """Take the first step of a new account; the second asks how to sign in."""
    page.goto("/accounts/new")
    page.get_by_label("E-mail address").fill(address)
    press(page, "Continue")
    expect(page.get_by_role("heading", name="How should we sign in?")).to_be_visible()
    page.wait_for_load_state()  # All of it is there, not the heading alone.


def outcome(page: Page, words: str) -> None:
    """Wait until the page of an attempt says `words`."""
    expect(page.get_by_role("heading", level=2, name=words)).to_be_visible()


def test_2_an_account_is_connected_synced_and_sends(page: Page, harbour: Harbour, screenshots: Path) -> None:
    begun(page, WIM)
    press(page, "Continue with Harbour")
    consent(page, WIM)
    expect(page).to_have_url(re.compile(r"/oauth/attempts/\d+$"))
    outcome(page, f"{WIM} is connected")
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_label("Sync INBOX")).to_be_checked()
    press(page, "Continue")
    page.get_by_role("button", name=re.compile("start the sync")).click()
    expect(page.get_by_role("heading", level=1, name=f"{WIM} is connected")).to_be_visible()
    expect(page.get_by_role("region", name="Sync")).to_contain_text("2 messages")
    page.get_by_role("link", name="Send one").click()
    page.get_by_role("form", name="Send a test message").get_by_role("textbox").fill(WIM)
    press(page, "Send test message")
    eventually(lambda: harbour.sink.messages)
    assert harbour.sink.messages[0][:2] == (WIM, [WIM])
    page.goto(f"/mailbox/{number(page)}")
    press(page, "Give yourself access")
    expect(page.locator(".msgs li").filter(has_text=f"Lamp 2 for {WIM}")).to_be_visible()


def number(page: Page) -> str:
    """The account that the page is about."""
    return page.url.partition("/accounts/")[2].partition("/")[0]


def test_3_what_goes_wrong_at_the_provider_is_mended_there(page: Page, harbour: Harbour, screenshots: Path) -> None:
    begun(page, SHARED)
    press(page, "Continue with Harbour")
    consent(page, SHARED, button="Deny")
    outcome(page, f"{SHARED} was not connected")
    examine(page, screenshots / "oauth-denied.png")
    press(page, "Try again")
    consent(page, SHARED, without=("mail",))
    expect(page.get_by_role("heading", name="A permission was not ticked")).to_be_visible()
    picture(page, screenshots / "oauth-unticked.png")
    press(page, "Try again")
    consent(page, TOMAS)
    outcome(page, "Somebody else signed in")
    examine(page, screenshots / "oauth-somebody-else.png")
    press(page, "Try again with another account")
    consent(page, TOMAS)
    outcome(page, "Somebody else signed in")
    harbour.idp.may_open.add((TOMAS, SHARED))
    press(page, f"{TOMAS} is a delegate")
    outcome(page, f"{SHARED} is connected")
    examine(page, screenshots / "oauth-delegate.png")


def test_4_a_permission_that_was_taken_back_is_given_again(page: Page, harbour: Harbour, screenshots: Path) -> None:
    page.goto(f"/accounts?q={WIM}")
    page.get_by_role("main").get_by_role("link", name=WIM).click()
    synced = page.get_by_role("region", name="Sync").get_by_role("listitem")
    expect(synced).to_have_count(4)
    account = page.url
    folders = [re.compile(rf"^\s*{re.escape(text.split()[0])}\s") for text in synced.all_inner_texts()]
    harbour.idp.withdraw(WIM)
    harbour.dovecot.deliver([a_message(3, subject="Meanwhile")], user=WIM)
    press(page, "Sync now")
    eventually(lambda: "Sign-in needed" in row(page, WIM))
    page.goto(account)
    eventually(lambda: page.reload() and page.get_by_text("Let the owner of").count())  # It stands there after the run.
    examine(page, screenshots / "oauth-account-attention.png")
    page.get_by_role("region", name="The stored sign-in is no longer good").get_by_role(
        "button", name="Reconnect"
    ).click()
    consent(page, WIM)
    outcome(page, f"{WIM} is connected")
    picture(page, screenshots / "oauth-reconnected.png")
    page.get_by_role("link", name="Show the account").click()
    expect(page).to_have_url(account)
    eventually(lambda: "Connected" in row(page, WIM))
    page.goto(account)
    expect(synced).to_have_text(folders, use_inner_text=True)
    for subject in ("Meanwhile", "Lamp 1"):
        page.goto(f"/mailbox/{account.rpartition('/')[2]}?q={subject}")
        eventually(lambda: page.reload() and page.locator(".msgs li").count() == 1)
    harbour.idp.withdraw(WIM)
    page.goto(account)
    press(page, "Test")
    gone = page.get_by_role("heading", name="The stored sign-in is no longer good").first
    expect(gone).to_be_visible()  # The server refuses the token, the provider a new one.
    picture(page, screenshots / "oauth-test-failed.png")
    page.goto("/")
    picture(page, screenshots / "oauth-overview.png")
    page.get_by_role("region", name="Needs attention").get_by_role("button", name="Reconnect").click()
    consent(page, WIM)
    outcome(page, f"{WIM} is connected")
    eventually(lambda: "Connected" in row(page, WIM))  # Syncing for a moment.


def asked(page: Page, address: str, harbour: Harbour) -> str:
    """Ask the owner of `address`, whose account was begun, by e-mail; the link that came."""
    by_link = page.get_by_role("radio", name=re.compile("^The owner"))
    if by_link.count():
        by_link.check()
        page.get_by_label("Send the link to").fill(address)
        press(page, "Continue")
    else:
        page.get_by_role("link", name="Ask the owner to connect it").click()
        press(page, "Ask the owner")
    expect(page.get_by_text("Not opened yet")).to_be_visible()
    assert "Waiting for owner" in row(page, address)
    letters = eventually(lambda: [raw for _, to, raw in harbour.sink.messages if to == [address]])
    said = message_from_bytes(letters[0], policy=policy.default).get_content()  # type: ignore[attr-defined]
    found = re.search(r"http://127\.0\.0\.1:\d+/c/\S+", said)
    assert found
    return found[0]


def test_5_owners_connect_by_links(page: Page, owner: Page, harbour: Harbour, screenshots: Path) -> None:
    page.goto("/settings")
    page.get_by_label("E-mail from this console is sent through").select_option(label=WIM)
    press(page, "Save settings")
    expect(page.get_by_text("The settings are saved.")).to_be_visible()
    begun(page, SALES)
    examine(page, screenshots / "new-2-oauth.png")
    owner.goto(asked(page, SALES, harbour))
    examine(owner, screenshots / "connect.png")
    press(owner, "Continue with Harbour")
    consent(owner, TOMAS)
    expect(owner.get_by_text("Somebody else signed in")).to_be_visible()
    picture(owner, screenshots / "connect-somebody-else.png")
    press(owner, "Continue with Harbour")
    consent(owner, SALES)
    expect(owner.get_by_role("heading", level=1)).to_have_text(f"{SALES} is connected")
    picture(owner, screenshots / "connect-done.png")


def test_6_owners_connect_with_app_passwords_or_do_not(
    page: Page, owner: Page, harbour: Harbour, screenshots: Path
) -> None:
    begun(page, ORDERS)
    owner.goto(asked(page, ORDERS, harbour))
    owner.get_by_label(re.compile("[Pp]assword")).fill("not this")
    press(owner, "Connect mailbox")
    expect(owner.get_by_text("The server refused this password")).to_be_visible()
    picture(owner, screenshots / "connect-refused.png")
    owner.get_by_label(re.compile("[Pp]assword")).fill(WORD)
    press(owner, "Connect mailbox")
    expect(owner.get_by_role("heading", level=1)).to_have_text(f"{ORDERS} is connected")
    begun(page, LOUD)
    owner.goto(asked(page, LOUD, harbour))
    press(owner, "I do not want this")
    expect(owner.get_by_role("heading", level=1)).to_have_text("You said no, and that counts")
    assert "Waiting for owner" not in row(page, LOUD)
    picture(owner, screenshots / "connect-said-no.png")


def move(page: Page, address: str) -> Locator:
    """What the progress of the campaign says of an account."""
    return page.locator("#moves").get_by_role("row").filter(has_text=address)


def test_7_passwords_are_left_and_one_comes_back(page: Page, harbour: Harbour, screenshots: Path) -> None:
    page.goto("/moves")
    examine(page, screenshots / "moves-report.png")
    page.get_by_role("link", name="Move accounts…").click()
    page.get_by_role("radio", name=re.compile("^You sign in to each")).check()
    examine(page, screenshots / "moves-choose.png")
    press(page, "Preview the move of all 2 accounts")
    expect(page.get_by_role("heading", level=1)).to_have_text("Move 2 accounts at Harbour?")
    examine(page, screenshots / "moves-preview.png")
    press(page, "Prepare the move")
    move(page, OLD).get_by_role("button", name="Sign in").click()
    consent(page, OLD)
    outcome(page, f"{OLD} is connected")
    page.get_by_role("link", name="Back to the others").click()
    expect(move(page, OLD)).to_contain_text("Moved")
    move(page, LEGACY).get_by_role("button", name="Sign in").click()
    consent(page, LEGACY, button="Deny")
    outcome(page, f"{LEGACY} was not connected")
    page.get_by_role("link", name="Back to the others").click()
    expect(move(page, LEGACY)).to_contain_text("The account is as it was before.")
    examine(page, screenshots / "moves-progress.png")
    move(page, OLD).get_by_role("button", name="Back to the password").click()
    expect(move(page, OLD)).to_contain_text("Back on a password")
    picture(page, screenshots / "moves-rolled-back.png")
    eventually(lambda: "Connected" in row(page, OLD))
    before = harbour.idp.count("introspect", mailbox=OLD)
    harbour.dovecot.deliver([a_message(3)], user=OLD)
    page.get_by_role("main").get_by_role("link", name=OLD).click()
    press(page, "Sync now")
    expect(page.get_by_role("region", name="Sync")).to_contain_text("3 messages")
    assert harbour.idp.count("introspect", mailbox=OLD) == before
    for address in (SALES, ORDERS):  # Their owners have connected them; the clock has seen to the rest meanwhile.
        eventually(lambda address=address: "Connected" in row(page, address))  # type: ignore[misc]
