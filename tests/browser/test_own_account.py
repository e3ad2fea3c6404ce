"""A worker connects a mailbox of their own, reads it, connects it anew, removes it; nobody else sees its mail."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import examine, give_password, listened_to, sign_in
from tests.browser.house import mailadmin
from tests.factories import PASSWORD
from tests.real import Installation
from tests.servers.dovecot import Dovecot, a_message

pytestmark = pytest.mark.browser

WORD, NEW_WORD = "password", "another password 4"
MINE, PLAIN = "wim@example.org", "plain@example.org"
SUBJECT = "A letter for Wim alone"
WORKERS = {"wim@example.com": "Wim de Vries", "olga@example.com": "Olga Brandt"}


class Mail(Dovecot):
    """A Dovecot whose users change their passwords."""

    def change_password(self, user: str, password: str) -> None:
        """As the owner of a mailbox does, without telling anybody."""
        self.set_passwords({MINE: WORD, PLAIN: WORD} | {user: password})


@pytest.fixture(scope="module")
def mail_server() -> Iterator[Mail]:
    """The mailboxes that nobody has connected yet."""
    with Mail({MINE: WORD, PLAIN: WORD}) as server:
        server.deliver([a_message(1, subject=SUBJECT)], user=MINE)
        server.deliver([a_message(1, subject="Plain words")], user=PLAIN)
        yield server


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, mail_server: Mail) -> Iterator[Installation]:
    """An installation with an administrator, two workers and a provider."""
    installation = Installation(tmp_path_factory.mktemp("own"))
    installation.start(MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8", MAILADMIN_CA_FILE=str(mail_server.ca_file))
    people = {"ada@example.com": "Ada Lindqvist", **WORKERS}
    for email, name in people.items():
        role = "worker" if email in WORKERS else "administrator"
        words = ("--email", email, "--name", name, "--role", role, "--password-stdin")
        mailadmin(installation, "people", "add", *words, typed=f"{PASSWORD}\n")
    servers = [f"imap:localhost:{mail_server.ports['imaps']}:implicit"]
    provider = {"name": "River Mail", "domains": ["example.org"], "servers": servers}
    file = {"mailadmin": "providers", "version": 1, "providers": [provider]}
    mailadmin(installation, "providers", "import", "-", typed=json.dumps(file))
    yield installation
    installation.stop()


def enter(page: Page, email: str) -> None:
    """As a worker, up to their own accounts."""
    give_password(page, email)
    expect(page.get_by_role("link", name="Contacts")).to_be_attached()
    page.goto("/profile/accounts")


def titled(page: Page, title: str) -> None:
    """Wait until the page has this title."""
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


def begin(page: Page, address: str) -> None:
    page.get_by_role("link", name="Add an account").click()
    page.get_by_label("E-mail address").fill(address)
    page.get_by_role("button", name="Continue").click()
    titled(page, f"Connect {address}")


def type_password(page: Page, address: str, password: str, label: str = "Connect") -> None:
    page.get_by_label(f"Password of {address}").fill(password)
    page.get_by_role("main").get_by_role("button", name=label, exact=True).click()


def card(page: Page, address: str) -> Page:
    """The part of the list that is about `address`."""
    return page.get_by_role("region", name=address)  # type: ignore[return-value]


def until_read(page: Page, address: str) -> None:
    """Until the account has set itself up and its mail is here; the page looks by itself."""
    expect(card(page, address).get_by_text("Connected", exact=True)).to_be_visible(timeout=90_000)
    expect(card(page, address).locator("dd").filter(has_text="1")).to_be_visible()


def switch_on(page: Page, screenshots: Path) -> None:
    sign_in(page)
    page.goto("/settings")
    page.get_by_label("Name of the organisation").fill("Example Ltd")
    page.get_by_label("Workers add personal accounts by themselves").check()
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("The settings are saved.")).to_be_visible()
    page.get_by_role("heading", name="Personal accounts").scroll_into_view_if_needed()
    examine(page, screenshots / "own-settings.png")


def test_a_worker_looks_after_a_mailbox_of_their_own(
    chromium: Browser, console: Installation, mail_server: Mail, screenshots: Path
) -> None:
    with listened_to(chromium, console) as context:
        switch_on(context.new_page(), screenshots)
    with listened_to(chromium, console) as context:
        page = context.new_page()
        enter(page, "wim@example.com")
        examine(page, screenshots / "own-none.png")
        page.reload()
        begin_unknown(page)
        examine(page, screenshots / "own-unknown.png")
        page.goto("/profile/accounts")
        begin(page, MINE)
        type_password(page, MINE, "not this")
        expect(page.get_by_text("The server refused this password")).to_be_visible()
        examine(page, screenshots / "own-refused.png")
        page.reload()
        type_password(page, MINE, WORD)
        titled(page, "Your own accounts")
        until_read(page, MINE)
        examine(page, screenshots / "own-connected.png")
        page.reload()
        card(page, MINE).get_by_role("link", name="Open mailbox").click()
        page.get_by_role("link", name=SUBJECT).first.click()
        expect(page.get_by_role("heading", name=SUBJECT)).to_be_visible()
        others_see_nothing(chromium, console)
        page.goto("/profile/accounts")
        anew(page, mail_server, screenshots)
        removed(page, screenshots)


def others_see_nothing(chromium: Browser, console: Installation) -> None:
    """Another worker, and an administrator, who sees how the account is."""
    with listened_to(chromium, console) as context:
        page = context.new_page()
        enter(page, "olga@example.com")
        assert MINE not in page.inner_text("body")
        for path in ("/profile/accounts/1", "/profile/accounts/1/connect", "/mailbox/1"):
            page.goto(path)
            assert SUBJECT not in page.inner_text("body")
            assert MINE not in page.inner_text("body")
    with listened_to(chromium, console) as context:
        page = context.new_page()
        sign_in(page)
        page.goto("/accounts")
        row = page.get_by_role("row").filter(has_text=MINE)
        expect(row.get_by_text(re.compile("Connected|Syncing"))).to_be_visible()
        row.get_by_role("link", name=MINE).click()
        expect(page.get_by_text("It belongs to Wim de Vries.")).to_be_visible()
        number = page.url.rpartition("/")[2]
        for path in (f"/mailbox/{number}", f"/profile/accounts/{number}", f"/accounts/{number}/access", "/contacts"):
            page.goto(path)
            assert SUBJECT not in page.inner_text("body")


def anew(page: Page, mail_server: Mail, screenshots: Path) -> None:
    """The password changes on the server; Wim hears of it and types the new one."""
    mail_server.change_password(MINE, NEW_WORD)
    card(page, MINE).get_by_role("button", name="Sync now").click()
    expect(card(page, MINE).get_by_text("The server refuses the password")).to_be_visible()
    examine(page, screenshots / "own-trouble.png")
    page.reload()
    card(page, MINE).get_by_role("link", name="Reconnect").click()
    titled(page, f"Reconnect {MINE}")
    examine(page, screenshots / "own-reconnect.png")
    page.reload()
    type_password(page, MINE, NEW_WORD, "Reconnect")
    titled(page, "Your own accounts")
    expect(card(page, MINE).get_by_text("The server refuses the password")).to_have_count(0)


def removed(page: Page, screenshots: Path) -> None:
    card(page, MINE).get_by_role("link", name=f"Settings of {MINE}").click()
    titled(page, MINE)
    examine(page, screenshots / "own-account.png")
    page.goto("/profile")
    examine(page, screenshots / "own-profile.png")
    page.goto("/profile/accounts")
    card(page, MINE).get_by_role("link", name=f"Remove {MINE}").click()
    titled(page, f"Remove {MINE}?")
    examine(page, screenshots / "own-remove.png")
    page.reload()
    page.get_by_label(f"Type {MINE} to confirm").fill(MINE)
    page.get_by_role("button", name="Remove account").click()
    expect(page.get_by_text("No account of your own yet")).to_be_visible()


def test_without_scripts_it_is_the_same(
    chromium: Browser, console: Installation, mail_server: Mail, screenshots: Path
) -> None:
    with listened_to(chromium, console, java_script_enabled=False) as context:
        page = context.new_page()
        enter(page, "olga@example.com")
        begin(page, PLAIN)
        type_password(page, PLAIN, WORD)
        titled(page, "Your own accounts")
        until_read(page, PLAIN)
        card(page, PLAIN).get_by_role("button", name="Pause").click()
        expect(page.get_by_text("It is paused")).to_be_visible()
        card(page, PLAIN).get_by_role("button", name="Resume").click()
        expect(page.get_by_text("It is paused")).to_have_count(0)
        begin_unknown(page)
        page.get_by_role("button", name="Ask an administrator").click()
        expect(page.get_by_text("Your administrators were asked for help")).to_be_visible()


def begin_unknown(page: Page) -> None:
    """An address of nobody, for which an administrator can be asked; no servers are typed."""
    page.get_by_role("link", name="Add an account").click()
    page.get_by_label("E-mail address").fill("olga@nowhere.invalid")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("We could not tell who runs nowhere.invalid")).to_be_visible()
