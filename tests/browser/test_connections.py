"""What a connection test finds is mended by clicks, in a browser against real servers, with scripts and without."""

import os
import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import begin_account, examine, expect_passed, listened_to, picture, sign_in
from tests.browser.house import PEOPLE, WAYS, WORD, House, unknown_host
from tests.real import Installation
from tests.servers.silent import Listener

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Visit:
    """Somebody at the console who has come one way, and the accounts for that way."""

    page: Page
    way: str

    def address(self, who: str) -> str:
        return f"{who}-{self.way}@example.org"

    def account(self, who: str) -> Page:
        """Open the account as people do."""
        self.page.goto(f"/accounts?q={who}-{self.way}")
        self.page.get_by_role("main").get_by_role("link", name=self.address(who)).click()
        return self.page

    def connection(self, who: str) -> Page:
        """Open the newest test of the account."""
        self.account(who).wait_for_url(re.compile(r"/accounts/\d+"))
        number = self.page.url.partition("/accounts/")[2].partition("/")[0]
        self.page.goto(f"/accounts/{number}/connection")
        return self.page


@pytest.fixture(scope="module")
def console(second_console: Installation) -> Installation:
    """All visits are to the second installation."""
    return second_console


@pytest.fixture(scope="module")
def signed_in(chromium: Browser, console: Installation) -> dict[str, Any]:
    """The cookies of people who have signed in: tries to sign in are counted."""
    found = {}
    for way, email in PEOPLE.items():
        with listened_to(chromium, console) as context:
            sign_in(context.new_page(), email)
            found[way] = context.storage_state()
    return found


@pytest.fixture
def come(chromium: Browser, console: Installation, signed_in: dict[str, Any]) -> Callable[[str], Any]:
    """Come with scripts or without."""

    @contextmanager
    def come_(way: str) -> Iterator[Visit]:
        options = {"storage_state": signed_in[way], "java_script_enabled": way == "scripts"}
        with listened_to(chromium, console, **options) as context:
            yield Visit(context.new_page(), way)

    return come_


@pytest.fixture
def visit(come: Callable[[str], Any]) -> Iterator[Visit]:
    """A visit with scripts."""
    with come("scripts") as visit:
        yield visit


@pytest.fixture(params=WAYS)
def either(come: Callable[[str], Any], request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A visit with scripts, and one without."""
    with come(request.param) as visit:
        yield visit


@pytest.fixture(scope="module")
def sleeper(console: Installation) -> Iterator[int]:
    """The runner, that is its process, which says no word any more; its workers still test connections.

    It is missed after half a minute. What needs no clock is done meanwhile.
    """
    runner = console.child("runner")
    os.kill(runner, signal.SIGSTOP)
    yield runner
    os.kill(runner, signal.SIGCONT)


def last_tests(page: Page) -> Locator:
    """The rows of the tests that are kept, the newest first."""
    return page.get_by_role("table", name="Last tests").get_by_role("row").filter(has=page.get_by_role("cell"))


def certificate(page: Page) -> Locator:
    return page.get_by_role("region", name="The certificate that the server showed")


def test_a_wrong_tls_mode_is_mended_by_one_click(either: Visit, screenshots: Path) -> None:
    page = either.connection("door")
    offer = page.get_by_role("button", name=re.compile(r"Use port \d+ with STARTTLS"))
    expect(offer).to_be_visible()
    if either.way == "scripts":
        examine(page, screenshots / "test-offer.png")
    offer.click()
    expect_passed(page)
    newest = last_tests(page).first
    expect(newest).to_contain_text("Works again")
    expect(newest).to_contain_text("STARTTLS instead of SSL/TLS")
    expect(last_tests(page)).to_have_count(2)


def add_provider(page: Page, name: str, domain: str, host: str, port: int, lowest: str = "1.2") -> None:
    page.goto("/providers/new")
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("textbox", name="Domains").fill(domain)
    page.get_by_label("IMAP server").fill(host)
    page.get_by_label("IMAP port").fill(str(port))
    page.get_by_label("Lowest TLS version").select_option(f"TLS {lowest}")
    page.get_by_role("button", name="Save provider").click()
    expect(page.get_by_role("link", name=name)).to_be_visible()


def test_an_unknown_authority_is_added_to_the_provider(either: Visit, house: House, screenshots: Path) -> None:
    page = either.page
    port = house.dovecot.ports["imaps"]
    add_provider(page, f"Lakeside {either.way}", f"{either.way}.lake.example", unknown_host(either.way), port, "1.3")
    begin_account(page, f"lake@{either.way}.lake.example", WORD)
    page.get_by_label("Login format").select_option("by hand")
    page.locator("#username").fill(either.address("lake"))
    page.get_by_role("button", name="Test connection").click()
    expect(certificate(page)).to_be_visible()
    tested = page.url
    page.get_by_role("link", name=f"Add it to Lakeside {either.way}").click()
    expect(page.get_by_label("Lowest TLS version")).to_have_value("1.3")
    page.locator("input[type=file]").set_input_files(house.stranger)
    page.get_by_label("Send the stored passwords").check()
    page.get_by_role("button", name="Add certificate").click()
    expect(page.get_by_role("article", name=re.compile("Test authority"))).to_be_visible()
    if either.way == "scripts":
        page.reload()
        examine(page, screenshots / "provider-certificate.png")
    page.goto(tested)
    page.get_by_role("button", name="Test again").first.click()
    expect_passed(page)


def test_another_certificate_is_pinned_after_a_confirmation_and_the_pin_removed(
    either: Visit, screenshots: Path
) -> None:
    page = either.connection("pin")
    expect(certificate(page)).to_contain_text("SHA-256")
    sure = page.get_by_role("button", name=re.compile("I have compared"))
    expect(sure).to_be_hidden()
    certificate(page).locator("summary").click()
    expect(sure).to_be_visible()
    if either.way == "scripts":
        examine(page, screenshots / "test-certificate.png")
    sure.click()
    expect_passed(page)
    expect(page.locator(".timeline")).to_contain_text("pinned")
    page.get_by_role("button", name="Remove the pin").click()
    expect(certificate(page)).to_be_visible()
    expect(page.get_by_role("heading", name="Pinned certificates")).to_be_hidden()


def test_an_account_in_trouble_is_on_the_overview_until_it_is_mended(
    either: Visit, house: House, screenshots: Path
) -> None:
    page, address = either.page, either.address("wim")
    either.connection("wim")
    expect_passed(page)
    house.change_password(address, "a new one")
    page.goto("/")
    page.get_by_role("button", name="Test all accounts").click()
    expect(page.locator("#toasts")).to_contain_text("accounts are being tested")
    row = page.get_by_role("main").get_by_role("listitem").filter(has_text=address)
    mend = row.get_by_role("link", name="Update password")
    either.connection("wim")
    expect(page.get_by_role("status").filter(has_text="The test failed")).to_have_count(1)
    page.goto("/")
    expect(mend).to_be_visible()
    expect(row).to_contain_text("The server refused the password")
    if either.way == "scripts":
        examine(page, screenshots / "dashboard.png")
        row.get_by_role("link", name=address).click()
        expect(page.get_by_role("heading", name="The server refused the password")).to_be_visible()
        examine(page, screenshots / "account-attention.png")
        page.goto("/")
    mend.click()
    page.get_by_label("Password", exact=True).fill("a new one")
    page.get_by_role("button", name="Save settings").click()
    expect_passed(page)
    if either.way == "scripts":
        examine(page, screenshots / "test-mended.png")
        last_tests(page).nth(1).get_by_role("link").click()
        expect(page.get_by_role("heading", level=2, name="Signing in did not work")).to_be_visible()
        examine(page, screenshots / "test-past.png")
    page.goto("/")
    expect(page.get_by_role("heading", name="Needs attention", exact=True)).to_be_visible()
    expect(row).to_have_count(0)


@pytest.mark.usefixtures("sleeper")
def test_a_name_of_the_certificate_leads_to_the_settings(either: Visit, screenshots: Path) -> None:
    page = either.connection("name")
    page.get_by_role("link", name="Use localhost").click()
    expect(page.get_by_label("IMAP server")).to_have_value("localhost")
    password = page.get_by_label("Password", exact=True)
    expect(password).to_have_attribute("aria-invalid", "true")
    if either.way == "scripts":
        examine(page, screenshots / "settings-renamed.png")
        page.reload()
    password.fill(WORD)
    page.get_by_role("button", name=re.compile("Test connection|Save settings")).click()
    expect_passed(page)
    expect(last_tests(page).first).to_contain_text("localhost")


@pytest.mark.usefixtures("sleeper")
def test_the_other_user_name_is_tried_and_adopted(either: Visit) -> None:
    page = either.connection("olga")
    page.get_by_role("button", name=f"Try signing in as olga-{either.way}").click()
    adopt = page.get_by_role("button", name=f"Use the user name olga-{either.way}")
    expect(adopt).to_be_visible()
    adopt.click()
    expect(adopt).to_be_hidden()
    expect_passed(page)
    page.goto(page.url.partition("/connection")[0])
    facts = page.get_by_role("region", name="Connection", exact=True)
    expect(facts.get_by_role("definition").nth(1)).to_have_text(f"olga-{either.way}")


@pytest.mark.usefixtures("sleeper")
def test_a_test_message_is_sent_and_arrives(either: Visit, house: House, screenshots: Path) -> None:
    page = either.connection("wim")
    recipient = page.get_by_role("form", name="Send a test message").get_by_role("textbox")
    expect(recipient).to_have_value(either.address("wim"))
    recipient.fill("nobody")
    page.get_by_role("button", name="Send test message").click()
    expect(recipient).to_have_attribute("aria-invalid", "true")
    recipient.fill(either.address("wim"))
    page.get_by_role("button", name="Send test message").click()
    expect(page.locator(".timeline").last).to_contain_text(re.compile(r"arrived after \d+\.\d s"))
    assert (either.address("wim"), [either.address("wim")]) in [sent[:2] for sent in house.smtp.messages]
    if either.way == "scripts":
        examine(page, screenshots / "test-message.png")


@pytest.mark.usefixtures("sleeper")
def test_unsaved_settings_are_tested_and_not_saved(visit: Visit, screenshots: Path) -> None:
    page = visit.account("wim")
    page.get_by_role("navigation", name="Account").get_by_role("link", name="Settings").click()
    test, result = page.get_by_role("button", name="Test without saving"), page.locator("#trial")
    test.click()
    expect_passed(result)
    port = page.get_by_label("IMAP port")
    right = port.input_value()
    port.fill("99999")
    test.click()
    expect(page.get_by_role("alert")).to_contain_text("Please correct 1 field")
    port.fill(right)
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_label("Account name").fill("Somebody else")
    test.click()
    expect(result).to_contain_text("Nothing was saved")
    expect(result.get_by_role("heading", name="The server refused the password")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)  # What was corrected is not complained about any more.
    examine(page, screenshots / "settings-tested.png")
    page.reload()
    expect(page.get_by_label("Account name")).to_have_value(visit.address("wim"))
    visit.connection("wim")
    expect_passed(page)
    expect(page.get_by_text("The settings have changed")).to_have_count(0)


@pytest.mark.usefixtures("sleeper")
def test_without_scripts_what_is_not_saved_is_tested_in_another_tab(come: Callable[[str], Any], house: House) -> None:
    with come("plain") as visit:
        page = visit.account("wim")
        page.get_by_role("navigation", name="Account").get_by_role("link", name="Settings").click()
        expect_passed(_opened_by(page, "Test without saving"))
        page.goto("/providers/new")
        page.get_by_label("IMAP server").fill("localhost")
        page.get_by_label("IMAP port").fill(str(house.dovecot.ports["imaps"]))
        expect_passed(_opened_by(page, "Test these servers"))
        expect(page.get_by_label("IMAP server")).to_have_value("localhost")


def _opened_by(page: Page, button: str) -> Page:
    """The tab that opens when somebody presses `button`."""
    with page.expect_popup() as opened:
        page.get_by_role("button", name=button).click()
    opened.value.reload()  # Playwright turns scripts off too late for the first page of a tab.
    return opened.value


@pytest.mark.usefixtures("sleeper")
def test_servers_of_a_provider_are_tested_while_they_are_typed(visit: Visit, house: House) -> None:
    page, result = visit.page, visit.page.locator("#trial")
    page.goto("/providers/new")
    page.get_by_label("IMAP server").fill("localhost")
    page.get_by_label("IMAP port").fill(str(house.dovecot.ports["imaps"]))
    page.get_by_role("button", name="Test these servers").click()
    expect_passed(result)
    page.get_by_label("IMAP server").fill("local host")
    page.get_by_role("button", name="Test these servers").click()
    expect(result.get_by_role("alert")).to_contain_text("Nothing was tested")


@contextmanager
def slow_server(house: House) -> Iterator[tuple[int, threading.Event]]:
    """A server on a port that greets only after the event; then it has no time."""
    ready = threading.Event()

    def greet(client: socket.socket, over: threading.Event) -> None:
        if ready.wait(120):
            client.sendall(b"* BYE The lake is frozen.\r\n")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*house.slow_certificate)
    with Listener(greet, context=context) as listener:
        yield listener.port, ready
        ready.set()


@pytest.mark.usefixtures("sleeper")
def test_stages_appear_as_they_happen(
    visit: Visit, house: House, come: Callable[[str], Any], screenshots: Path
) -> None:
    page = visit.page
    with slow_server(house) as (port, ready), come("plain") as other:
        add_provider(page, "Slow Mail", "slow.example", "localhost", port)
        begin_account(page, "slow@slow.example", WORD)
        page.get_by_role("button", name="Test connection").click()
        running = page.locator("[aria-current=step]").filter(has_text="greeting")
        expect(running).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="Agree on encryption")).to_contain_text("Passed")
        expect(page.get_by_role("listitem").filter(has_text="List folders")).to_contain_text("Waiting")
        other.page.goto(page.url)  # Into its page nothing is put, so a picture of it does no harm.
        picture(other.page, screenshots / "new-4-test-running.png")
        ready.set()
        expect(page.locator("samp.said").filter(has_text="The lake is frozen")).to_be_visible()
        expect(running).to_have_count(0)
    page.get_by_text("Copy for support").click()
    expect(page.locator("pre.said")).to_contain_text("The lake is frozen")
    examine(page, screenshots / "test-unavailable.png")


def test_a_silent_runner_raises_the_alarm_until_it_speaks_again(visit: Visit, sleeper: int, screenshots: Path) -> None:
    page, another = visit.page, visit.page.context.new_page()
    page.goto("/")
    alarm, work = page.get_by_role("alert"), page.get_by_role("region", name="Background work")
    expect(alarm).to_contain_text("has been silent for")
    expect(work).to_contain_text("Stopped")
    another.goto("/")
    examine(another, screenshots / "dashboard-degraded.png")
    another.close()
    os.kill(sleeper, signal.SIGCONT)
    expect(alarm).to_have_count(0)
    expect(work).to_contain_text("Keeping up")
