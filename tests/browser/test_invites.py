"""A connect link from the administrator's page to the mailbox that works, in two browsers."""

import csv
import io
import json
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import examine, listened_to, sign_in
from tests.browser.house import mailadmin
from tests.factories import PASSWORD
from tests.real import Installation, eventually
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.smtp import Sink

pytestmark = pytest.mark.browser

WORD = "password"
SALES, ORDERS, POST = "sales@example.org", "orders@example.org", "post@example.org"
ADA = "ada@example.com"
USERS = dict.fromkeys((SALES, ORDERS, POST), WORD)


@pytest.fixture(scope="module")
def mail_server() -> Iterator[Dovecot]:
    """A Dovecot with two messages for the one who is asked."""
    with Dovecot(USERS) as server:
        server.deliver([a_message(n) for n in (1, 2)], user=SALES)
        yield server


@pytest.fixture(scope="module")
def smtp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    """The server that carries our own e-mail."""
    with Sink(tmp_path_factory.mktemp("smtp"), "implicit", users=USERS) as sink:
        yield sink


@pytest.fixture(scope="module")
def console(
    tmp_path_factory: pytest.TempPathFactory, mail_server: Dovecot, smtp_server: Sink
) -> Iterator[Installation]:
    """An installation with an administrator, a provider, and an account to write through."""
    folder = tmp_path_factory.mktemp("invites")
    authorities = folder / "authorities.pem"
    authorities.write_bytes(mail_server.ca_file.read_bytes() + smtp_server.ca_file.read_bytes())
    installation = Installation(folder)
    installation.start(MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8", MAILADMIN_CA_FILE=str(authorities))
    words = ("--email", "ada@example.com", "--name", "Ada Lindqvist", "--role", "administrator")
    mailadmin(installation, "people", "add", *words, "--password-stdin", typed=f"{PASSWORD}\n")
    servers = [f"imap:localhost:{mail_server.ports['imaps']}:implicit", f"smtp:localhost:{smtp_server.port}:implicit"]
    provider = {"name": "River Mail", "domains": ["example.org"], "servers": servers}
    file = {"mailadmin": "providers", "version": 1, "providers": [provider]}
    mailadmin(installation, "providers", "import", "-", typed=json.dumps(file))
    rows = io.StringIO()
    csv.writer(rows).writerows([("address", "password"), (POST, WORD)])
    (folder / "accounts.csv").write_text(rows.getvalue())
    mailadmin(installation, "accounts", "import", str(folder / "accounts.csv"))
    yield installation
    installation.stop()


@pytest.fixture
def context(chromium: Browser, console: Installation) -> Iterator[BrowserContext]:
    with listened_to(chromium, console) as context:
        yield context


@pytest.fixture
def owner(chromium: Browser, console: Installation) -> Iterator[Page]:
    """The owner's browser."""
    with listened_to(chromium, console) as context:
        yield context.new_page()


@pytest.fixture
def plain_owner(chromium: Browser, console: Installation) -> Iterator[Page]:
    """The browser of an owner who has switched scripts off."""
    with listened_to(chromium, console, java_script_enabled=False) as context:
        yield context.new_page()


def begun(page: Page, address: str) -> None:
    """Begin an account up to its password, and go to the page that asks the owner instead."""
    page.goto("/accounts/new")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_role("main").get_by_role("button", name="Continue", exact=True).click()
    page.get_by_role("link", name="Ask the owner to connect it").click()
    page.wait_for_url("**/invite")


def choose_sender(page: Page, screenshots: Path) -> None:
    """Name the organisation, and let the console write through POST."""
    page.goto("/settings")
    eventually(lambda: page.reload() and page.locator("#sender option").count() > 1)  # It sets itself up meanwhile.
    page.get_by_label("Name of the organisation").fill("Example Ltd")
    page.get_by_label("E-mail from this console is sent through").select_option(label=POST)
    page.get_by_role("button", name="Save settings").click()
    page.get_by_role("button", name="Send a test e-mail to me").click()
    expect(page.get_by_text(f"The last test e-mail was sent to {ADA}")).to_be_visible()
    examine(page, screenshots / "settings-sender.png")


def letter_to(smtp_server: Sink, who: str, word: str) -> str:
    """The text of the letter to `who` with `word` in its subject, once it was sent."""

    def found() -> str:
        letters = [message_from_bytes(raw, policy=policy.default) for _, to, raw in smtp_server.messages if to == [who]]
        return next((str(letter.get_content()) for letter in letters if word in letter["Subject"]), "")

    return eventually(found)


def type_password(owner: Page, address: str, password: str) -> None:
    owner.get_by_label(f"Password of {address}").fill(password)
    owner.get_by_role("button", name="Connect mailbox").click()


def test_owner_connects_by_a_link_that_came_by_e_mail(
    page: Page, owner: Page, smtp_server: Sink, screenshots: Path
) -> None:
    sign_in(page)
    choose_sender(page, screenshots)
    begun(page, SALES)
    examine(page, screenshots / "invite-ask.png")
    page.get_by_role("button", name="Ask the owner").click()
    expect(page.get_by_text("Not opened yet")).to_be_visible()
    link = page.locator("#link").inner_text()
    assert link in letter_to(smtp_server, SALES, "asks you to connect")
    owner.goto(link)
    heading = owner.get_by_role("heading", level=1)
    expect(heading).to_have_text(f"Ada from Example Ltd asks you to connect {SALES}")
    examine(owner, screenshots / "connect-password.png")
    type_password(owner, SALES, "not this")
    expect(owner.get_by_text("The server refused this password")).to_be_visible()
    examine(owner, screenshots / "connect-refused.png")
    eventually(lambda: page.reload() and page.get_by_text("The last try failed").count())
    examine(page, screenshots / "invite-open.png")
    type_password(owner, SALES, WORD)
    expect(heading).to_have_text(f"{SALES} is connected")
    examine(owner, screenshots / "connect-done.png")
    assert "the connection test passed" in letter_to(smtp_server, ADA, "is connected")
    page.goto("/accounts")
    row = page.get_by_role("row").filter(has_text=SALES)
    eventually(lambda: page.reload() and row.get_by_text("Connected").count())


def test_owner_without_scripts_can_say_yes_and_no(page: Page, plain_owner: Page, screenshots: Path) -> None:
    sign_in(page)
    begun(page, ORDERS)
    if page.get_by_label("Send the link to").count():
        page.get_by_label("Send the link to").fill("")
    page.get_by_role("main").get_by_role("button").last.click()
    link = page.locator("#link").inner_text()
    page.goto("/accounts")
    expect(page.get_by_role("row").filter(has_text=ORDERS).get_by_text("Waiting for owner")).to_be_visible()
    page.goto("/")
    expect(page.get_by_text("The connect link was not opened yet.")).to_be_visible()
    examine(page, screenshots / "overview-waiting.png")
    plain_owner.goto(link)
    type_password(plain_owner, ORDERS, "not this")
    expect(plain_owner.get_by_text("The server refused this password")).to_be_visible()
    plain_owner.get_by_role("button", name="I do not want this").click()
    expect(plain_owner.get_by_role("heading", level=1)).to_have_text("You said no, and that counts")
    page.go_back()
    page.goto("/accounts?state=unfinished")
    page.get_by_role("link", name=ORDERS).click()
    page.get_by_role("link", name="Ask the owner to connect it").click()
    expect(page.get_by_text("The owner does not want this")).to_be_visible()
