"""From an address to a syncing account, in a browser against real servers: name server, web sites, Dovecot, SMTP."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import examine, expect_passed, listened_to, picture, sign_in
from tests.browser.house import mailadmin
from tests.factories import PASSWORD
from tests.real import Installation, eventually
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.smtp import Sink
from tests.servers.town import Town

pytestmark = pytest.mark.browser

WORD = "password"
KNOWN, BY_FILE, BY_SRV, NOBODYS = "river.test", "meadow.test", "harbour.test", "moor.test"
FILTERED = "lock.test"
USERS = {f"{who}@{domain}": WORD for domain in (KNOWN, BY_FILE, BY_SRV, NOBODYS) for who in ("sales", "plain", "info")}
# What somebody does by hand: clicks of a pointing device, and fields in which something was typed.
COUNTER = """
const count = name => { sessionStorage[name] = +(sessionStorage[name] || 0) + 1 };
addEventListener('click', e => { if (e.isTrusted && e.detail) count('clicks') }, true);
addEventListener('change', e => { if (e.target.matches('.input')) count('typed') }, true);
"""


@pytest.fixture(scope="module")
def mail_server() -> Iterator[Dovecot]:
    """A Dovecot in which everybody has two messages."""
    with Dovecot(USERS) as server:
        for user in USERS:
            server.deliver([a_message(n, subject=f"Lamp {n}") for n in (1, 2)], user=user)
        yield server


@pytest.fixture(scope="module")
def smtp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    """An SMTP server that knows them, too."""
    sink = Sink(tmp_path_factory.mktemp("smtp"), "implicit", users=USERS).start()
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def doors(mail_server: Dovecot, smtp_server: Sink) -> dict[str, Any]:
    """Where their servers are."""
    return {"imap": ("localhost", mail_server.ports["imaps"]), "smtp": ("localhost", smtp_server.port)}


@pytest.fixture(scope="module")
def console(
    tmp_path_factory: pytest.TempPathFactory, mail_server: Dovecot, smtp_server: Sink, doors: dict[str, Any]
) -> Iterator[Installation]:
    """An installation that asks the name server of a town, with one administrator and one provider."""
    installation = Installation(tmp_path_factory.mktemp("wizard"))
    with Town(tmp_path_factory.mktemp("town")) as town:
        town.add_autoconfig(BY_FILE, name="Meadow Mail", **doors)
        town.add_srv(BY_SRV, **doors)
        town.add(NOBODYS)
        town.add(FILTERED, mx="mx1-us1.ppe-hosted.com")
        installation.start(**town.environment(mail_server.ca_file, smtp_server.ca_file))
        words = ("--email", "ada@example.com", "--name", "Ada Lindqvist", "--role", "administrator")
        mailadmin(installation, "people", "add", *words, "--password-stdin", typed=f"{PASSWORD}\n")
        servers = [f"{protocol}:{host}:{port}:implicit" for protocol, (host, port) in doors.items()]
        provider = {"name": "River Mail", "domains": [KNOWN], "servers": servers}
        file = {"mailadmin": "providers", "version": 1, "providers": [provider]}
        mailadmin(installation, "providers", "import", "-", typed=json.dumps(file))
        yield installation
        installation.stop()


@pytest.fixture(scope="module")
def cookies(chromium: Browser, console: Installation) -> Any:
    """Those of Ada, who has signed in: tries to sign in are counted."""
    with listened_to(chromium, console) as context:
        sign_in(context.new_page())
        return context.storage_state()


@pytest.fixture
def context(chromium: Browser, console: Installation, cookies: Any) -> Iterator[BrowserContext]:
    """Ada's browser."""
    with listened_to(chromium, console, storage_state=cookies) as context:
        context.add_init_script(COUNTER)
        yield context


def begin(page: Page, address: str) -> None:
    """Open the first step and type `address`."""
    page.goto("/accounts/new")
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type(address)


def go_on(page: Page, label: str = "Continue") -> None:
    page.get_by_role("main").get_by_role("button", name=label, exact=True).click()


def type_password(page: Page, address: str, password: str = WORD) -> None:
    page.get_by_label(f"Password of {address}").fill(password)


def is_connected(page: Page, address: str) -> bool:
    """Whether the list of accounts says so: while a sync runs it says that."""
    page.goto("/accounts")
    return "Connected" in page.get_by_role("row").filter(has_text=address).inner_text()


def test_a_known_domain_takes_six_clicks_and_two_typed_fields(page: Page, screenshots: Path) -> None:
    address = f"sales@{KNOWN}"
    begin(page, address)
    go_on(page)
    expect(page.get_by_label(f"Password of {address}")).to_be_focused()
    picture(page, screenshots / "new-2-password.png")
    page.keyboard.type(WORD)
    go_on(page)
    expect(page.get_by_label("IMAP server")).to_have_value("localhost")
    go_on(page, "Test connection")
    expect_passed(page)
    page.get_by_role("link", name="Continue").click()
    expect(page.get_by_role("heading", name=re.compile("folders", re.IGNORECASE)).first).to_be_visible()
    go_on(page)
    page.get_by_role("button", name=re.compile("start the sync")).click()
    expect(page.get_by_role("heading", level=1, name=f"{address} is connected")).to_be_visible()
    assert page.evaluate("[+sessionStorage.clicks, +sessionStorage.typed]") == [6, 2]
    expect(page.get_by_role("region", name="Sync")).to_contain_text("2 messages")
    examine(page, screenshots / "new-7-done.png")
    eventually(lambda: is_connected(page, address))


def test_a_copy_needs_the_address_and_the_password(page: Page, screenshots: Path) -> None:
    page.goto("/accounts/1/finished")
    page.get_by_role("link", name="Create copy").click()
    page.get_by_label("E-mail address").fill(f"info@{KNOWN}")
    page.get_by_label("Sender name").fill("River Info")
    expect(page.locator("#found")).to_contain_text("As with sales@river.test")
    picture(page, screenshots / "new-1-copy.png")
    go_on(page)
    type_password(page, f"info@{KNOWN}")
    go_on(page)
    go_on(page, "Test connection")
    expect_passed(page)


def test_a_domain_with_a_set_up_file_that_is_repaired_in_place(page: Page, screenshots: Path) -> None:
    address = f"sales@{BY_FILE}"
    begin(page, address)
    page.keyboard.press("Tab")
    found = page.locator("#found")
    expect(found).to_contain_text("Found by set-up file: autoconfig.meadow.test")
    expect(found).to_contain_text("Meadow Mail")
    expect(page.locator("[hx-trigger]:not(input):not(dialog)")).to_have_count(0)
    expect(page.get_by_label("Account name")).to_have_attribute("placeholder", "Sales")
    found.get_by_text("Choose another provider").click()
    examine(page, screenshots / "new-1-autoconfig.png")
    go_on(page)
    expect(page.get_by_label(f"Password of {address}")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("E-mail address")).to_have_value(address)
    page.get_by_role("link", name="Go on with it").click()
    type_password(page, address, "wrong")
    go_on(page)
    picture(page, screenshots / "new-3-servers.png")
    go_on(page, "Test connection")
    expect(page.get_by_role("heading", name="The server refused the password").first).to_be_visible()
    expect(page.locator("[aria-current=step]").first).to_contain_text("Connection test")
    picture(page, screenshots / "new-4-test-failed.png")
    page.get_by_role("link", name="Change the password").first.click()
    type_password(page, address)
    go_on(page, "Test connection")
    expect_passed(page)
    picture(page, screenshots / "new-4-test-passed.png")
    page.get_by_role("link", name="Continue").click()
    expect(page).to_have_url(re.compile("/folders$"))


def test_a_domain_with_service_records_is_found_after_enter_and_left_and_resumed(page: Page, screenshots: Path) -> None:
    address = f"sales@{BY_SRV}"
    begin(page, address)
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_contain_text("Found by DNS service records")
    expect(page.get_by_label("E-mail address")).to_have_value(address)
    page.reload()
    expect(page.get_by_label("E-mail address")).to_have_value(address)
    go_on(page)
    page.wait_for_url("**/method")
    page.reload()
    type_password(page, address)
    go_on(page)
    expect(page.get_by_role("heading", name="Check the servers")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("One is stored.")).to_be_visible()
    page.goto("/accounts")
    row = page.get_by_role("row").filter(has_text=address)
    expect(row).to_contain_text("Unfinished")
    row.get_by_role("link", name=address).click()
    expect(page.locator("[aria-current=step]").first).to_contain_text("Connection test")
    page.get_by_role("link", name="Servers").click()
    page.reload()
    go_on(page, "Test connection")
    page.wait_for_url("**/connection")
    page.reload()
    expect_passed(page)


def test_a_domain_that_nobody_knows_goes_on_by_hand(page: Page, doors: dict[str, Any], screenshots: Path) -> None:
    address = f"sales@{NOBODYS}"
    begin(page, address)
    page.keyboard.press("Tab")
    expect(page.get_by_text(f"We could not tell who runs {NOBODYS}")).to_be_visible()
    page.get_by_text("What we tried").click()
    page.get_by_role("radio", name="Team").check()
    page.get_by_role("combobox", name="Team").fill("Sales")
    examine(page, screenshots / "new-1-unknown.png")
    go_on(page)
    picture(page, screenshots / "new-2-by-hand.png")
    go_on(page)
    page.get_by_label("POP3", exact=True).check(force=True)
    expect(page.get_by_text("POP3 reads the inbox only")).to_be_visible()
    expect(page.get_by_label("IMAP server")).to_be_hidden()
    page.get_by_label("IMAP", exact=True).check(force=True)
    for protocol, (host, port) in doors.items():
        page.get_by_label(f"{protocol.upper()} server").fill(host)
        page.get_by_label(f"{protocol.upper()} port").fill(str(port))
    page.get_by_label("SMTP port").fill("993")
    page.get_by_label("Login format").select_option("by hand")
    go_on(page, "Test connection")
    expect(page.get_by_role("alert")).to_contain_text("Please correct 3 fields")
    examine(page, screenshots / "new-3-servers-error.png")
    page.get_by_label("SMTP port").fill(str(doors["smtp"][1]))
    page.get_by_label("User name", exact=True).fill(address)
    page.get_by_label("Password", exact=True).fill(WORD)
    go_on(page, "Test connection")
    expect_passed(page)


def test_what_will_not_work_is_said_first(page: Page, screenshots: Path) -> None:
    begin(page, "wim@hotmail.com")
    page.keyboard.press("Tab")
    expect(page.locator("#found")).to_contain_text("Recognised")
    picture(page, screenshots / "new-1-microsoft.png")
    go_on(page)
    expect(page.get_by_text("no longer accepts passwords").first).to_be_visible()
    expect(page.locator("input[type=password]")).to_have_count(0)
    examine(page, screenshots / "new-2-microsoft.png")
    page.get_by_role("link", name="Try a password").click()
    expect(page.locator("input[type=password]")).to_be_visible()
    begin(page, f"wim@{FILTERED}")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"filters the mail of {FILTERED}")).to_be_visible()
    expect(page.get_by_role("radio", checked=True)).to_have_count(1)  # whose mailbox it is
    picture(page, screenshots / "new-1-gateway.png")
    begin(page, "wim@proton.me")
    page.keyboard.press("Enter")
    expect(page.get_by_text("has no IMAP for others").first).to_be_visible()
    picture(page, screenshots / "new-1-closed.png")
    begin(page, "wim@gmail.com")
    go_on(page)
    expect(page.get_by_text("Legacy").first).to_be_visible()
    examine(page, screenshots / "new-2-google.png")


def test_it_works_without_javascript(chromium: Browser, console: Installation, cookies: Any) -> None:
    address = f"plain@{BY_SRV}"
    with listened_to(chromium, console, java_script_enabled=False, storage_state=cookies) as context:
        page = context.new_page()
        page.goto("/accounts/new")
        page.get_by_label("E-mail address").fill(address)
        page.get_by_label("Sender name").fill("Plain Sales")
        go_on(page)
        expect(page.locator("#found")).to_contain_text("Found by DNS service records")
        expect(page.get_by_label("Sender name")).to_have_value("Plain Sales")
        go_on(page)
        type_password(page, address)
        go_on(page)
        go_on(page, "Test connection")
        expect_passed(page)
        page.get_by_role("link", name="Continue").click()
        go_on(page)
        page.get_by_role("button", name=re.compile("start the sync")).click()
        expect(page.get_by_role("heading", level=1, name=f"{address} is connected")).to_be_visible()

        eventually(lambda: is_connected(page, address))
