"""A new administrator's way, from the set-up link to the synced messages, in a real browser against real servers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import axe, examine, expect_passed, listened_to, picture, sign_in
from tests.factories import PASSWORD
from tests.real import Installation, eventually
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.smtp import Sink

pytestmark = pytest.mark.browser

ADDRESS, WORD = "wim@example.org", "password"
PAGES = {
    "overview": "/",
    "accounts": "/accounts",
    "company": "/settings",
    "account": "/accounts/1",
    "connection": "/accounts/1/connection",
    "past-test": "/accounts/1/connection/1",
    "folders": "/accounts/1/folders",
    "settings": "/accounts/1/settings",
    "access": "/accounts/1/access",
    "activity": "/accounts/1/activity",
    "account-delete": "/accounts/1/delete",
    "account-new": "/accounts/new",
    "providers": "/providers",
    "provider": "/providers/1",
    "provider-new": "/providers/new",
    "provider-in-use": "/providers/1/delete",
    "mailbox": "/mailbox/1",
    "not-found": "/nowhere",
    "sign-in": "/sign-in",
    "set-up-closed": "/setup",
}


def test_01_set_up_link_makes_the_first_administrator(page: Page, console: Installation, screenshots: Path) -> None:
    link = re.search(r"/setup\?code=\S+", console.said())
    assert link
    page.goto(link[0])
    page.get_by_label("Organisation").fill("Example Ltd")
    page.get_by_label("Your name").fill("Ada Lindqvist")
    page.get_by_label("Your e-mail address").fill("ada@example.com")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("alert")).to_contain_text("Please correct 1 field")
    assert axe(page) == []
    picture(page, screenshots / "setup.png")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()
    picture(page, screenshots / "first-steps.png")


def test_02_a_provider_by_hand(page: Page, mail_server: Dovecot, smtp_server: Sink, screenshots: Path) -> None:
    sign_in(page)
    page.get_by_role("link", name="Add a provider").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Harbour Mail")
    page.get_by_role("textbox", name="Domains").fill("example.org")
    page.get_by_label("IMAP server").fill("local host")
    page.get_by_label("IMAP port").fill(str(mail_server.ports["imaps"]))
    page.get_by_label("SMTP server").fill("localhost")
    page.get_by_label("SMTP port").fill(str(smtp_server.port))
    page.get_by_role("button", name="Save provider").click()
    expect(page.get_by_role("alert")).to_contain_text("Please correct 1 field")
    expect(page.locator(".chips")).to_contain_text("example.org")
    picture(page, screenshots / "provider-error.png")
    page.get_by_label("IMAP server").fill("localhost")
    page.get_by_role("button", name="Save provider").click()
    expect(page.get_by_role("link", name="Harbour Mail")).to_be_visible()


def test_03_a_wrong_password_is_diagnosed_and_repaired_in_place(page: Page, screenshots: Path) -> None:
    sign_in(page)
    page.goto("/accounts")
    page.get_by_role("link", name="New account").first.click()
    page.get_by_label("E-mail address").fill(ADDRESS)
    page.get_by_label("Account name").fill("Wim")
    page.get_by_label("Sender name").fill("Wim at Example")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label(f"Password of {ADDRESS}").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Sign in as wim@example.org").first).to_be_visible()
    expect(page.get_by_role("heading", name="The server refused the password").first).to_be_visible()
    expect(page.locator("samp.said").first).to_contain_text("AUTHENTICATIONFAILED")
    assert axe(page) == []
    picture(page, screenshots / "new-4-test-failed.png")
    page.get_by_role("link", name="Change the password").first.click()
    expect(page.get_by_label(f"Password of {ADDRESS}")).to_have_value("")
    page.get_by_label(f"Password of {ADDRESS}").fill(WORD)
    page.get_by_role("button", name="Test connection").click()
    expect_passed(page)
    expect(page.locator("[hx-trigger='every 1s']")).to_have_count(0)
    picture(page, screenshots / "new-4-test-passed.png")
    page.get_by_role("link", name="Continue").click()


def test_04_folders_and_window_are_chosen_and_the_sync_runs(page: Page, screenshots: Path) -> None:
    sign_in(page)
    page.goto("/accounts/1/folders")
    inbox, junk = page.get_by_label("Sync INBOX"), page.get_by_label("Sync Junk")
    expect(inbox).to_be_checked()
    expect(junk).not_to_be_checked()
    expect(page.get_by_label("Calendar cannot be synced")).to_be_disabled()
    assert axe(page) == []
    picture(page, screenshots / "set-up-folders.png")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Everything").check()
    assert axe(page) == []
    picture(page, screenshots / "set-up-window.png")
    page.get_by_role("button", name=re.compile("start the sync")).click()
    expect(page.get_by_role("heading", level=1, name=f"{ADDRESS} is connected")).to_be_visible()
    picture(page, screenshots / "sync-running.png")

    def is_stored() -> bool:
        page.goto("/accounts")
        row = page.get_by_role("row").filter(has_text=ADDRESS).inner_text()
        return "Connected" in row and "1,040" in row

    assert eventually(is_stored)


def test_05_messages_are_listed_newest_first_and_found(page: Page, screenshots: Path) -> None:
    sign_in(page)
    page.goto("/mailbox/1")
    page.get_by_role("button", name="Give yourself access").click()
    listed = page.locator(".msgs li")
    expect(listed).to_have_count(50)
    page.get_by_role("link", name="INBOX").click()
    expect(listed.first).to_contain_text("Lamp 1000")
    page.get_by_role("link", name="Next").click()
    expect(listed.first).to_contain_text("Lamp 950")
    page.get_by_role("searchbox").fill("Lamp 77")
    page.get_by_role("searchbox").press("Enter")
    expect(listed).to_have_count(11)  # 77 and 770 … 779
    picture(page, screenshots / "mailbox-search.png")


def test_06_new_mail_comes_with_sync_now(page: Page, mail_server: Dovecot) -> None:
    sign_in(page)
    mail_server.append(a_message(2001, subject="Fresh lamp"))
    page.goto("/accounts/1")
    page.get_by_role("button", name="Sync now").click()
    expect(page.locator("dialog.toast")).to_be_visible()

    def has_come() -> bool:
        page.goto("/mailbox/1?q=Fresh")
        return page.locator(".msgs li").count() == 1

    assert eventually(has_come)


def test_07_the_list_of_accounts_narrows_while_somebody_types(page: Page) -> None:
    sign_in(page)
    page.goto("/accounts")
    page.get_by_role("searchbox").fill("payroll")
    expect(page.get_by_role("heading", name="No account matches “payroll”")).to_be_visible()
    page.get_by_role("searchbox").fill("wim")
    expect(page.get_by_role("row").filter(has_text=ADDRESS)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/accounts\?q=wim$"))
    page.get_by_label("Kind").select_option("team")
    expect(page.get_by_role("heading", name="No account matches “wim”")).to_be_visible()
    expect(page.get_by_role("navigation", name="Accounts by state")).to_contain_text("All0")
    page.go_back()
    expect(page.get_by_role("row").filter(has_text=ADDRESS)).to_be_visible()
    expect(page.get_by_label("Kind")).to_have_value("")
    page.get_by_role("checkbox", name="Tick all on this page").click()
    expect(page.get_by_role("checkbox", name=f"Tick {ADDRESS}")).to_be_checked()
    bar = page.get_by_role("group", name="Actions for ticked accounts")
    page.set_viewport_size({"width": 360, "height": 780})
    assert bar.evaluate("bar => bar.scrollWidth - bar.clientWidth") == 0
    expect(bar.get_by_text("Untick all")).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 1440, "height": 900})
    bar.get_by_role("button", name="Sync now").click()
    expect(page.locator("dialog.toast")).to_contain_text(f"The sync of {ADDRESS} was asked for.")
    expect(page).to_have_url(re.compile(r"/accounts\?q=wim$"))


def test_08_a_provider_in_use_cannot_be_deleted(page: Page) -> None:
    sign_in(page)
    page.goto("/providers/1")
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Harbour Mail is still in use")
    expect(dialog).to_contain_text(ADDRESS)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("name", PAGES)
def test_09_every_page_is_accessible_and_fits(signed_in_page: Page, name: str, screenshots: Path) -> None:
    signed_in_page.goto(PAGES[name])
    examine(signed_in_page, screenshots / f"{name}.png")


@pytest.fixture(scope="module")
def signed_in_page(chromium: Browser, console: Installation) -> Iterator[Page]:
    """One page for the tour of all pages, signed in once: tries to sign in are counted."""
    with listened_to(chromium, console) as context:
        page = context.new_page()
        sign_in(page)
        yield page


def test_10_the_way_works_without_javascript(chromium: Browser, console: Installation) -> None:
    with listened_to(chromium, console, java_script_enabled=False) as context:
        page = context.new_page()
        sign_in(page)
        page.goto("/accounts/1/connection")
        page.get_by_role("button", name="Test again").click()
        expect_passed(page)
        page.goto("/accounts?q=wim")
        expect(page.get_by_role("link", name=ADDRESS).first).to_be_visible()


def test_11_an_account_is_deleted_after_its_address_was_typed(page: Page) -> None:
    sign_in(page)
    page.goto("/accounts/1/delete")
    page.get_by_label(f"Type {ADDRESS} to confirm").fill("wim")
    page.get_by_role("button", name="Delete account").click()
    expect(page.locator(".error")).to_contain_text("Type it exactly")
    page.get_by_label(f"Type {ADDRESS} to confirm").fill(ADDRESS)
    page.get_by_role("button", name="Delete account").click()
    expect(page.get_by_role("heading", name="No accounts yet")).to_be_visible()
