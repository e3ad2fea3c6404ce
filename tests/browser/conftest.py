"""Chromium, and a console as `mailadmin up` starts it, beside a real mail server."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Locator, Page, expect, sync_playwright

from mailadmin import boot, db
from mailadmin.config import read_settings
from tests.browser.house import House, furnish
from tests.conftest import SECRET_KEY
from tests.factories import PASSWORD
from tests.real import Installation, eventually
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.smtp import Sink

PATIENCE = 60_000  # milliseconds for what a page waits for, also while the machine does much else
EXECUTABLE = "/usr/bin/chromium-headless-shell"  # Debian's Chromium without windows: half the work for the same pages.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(AXE_FILE_PATH).read_text(encoding="utf-8")
AXE_OPTIONS = {"rules": {"target-size": {"enabled": True}}}
# Said by Chromium about the fallback for browsers that do not know commands, about answers that we expect, and about
# axe, which speaks to frames of no origin in vain.
HARMLESS = ("popovertarget", "the server responded with a status of 4", "Failed to execute 'postMessage'")
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: SCREENSHOTS, or a temporary folder."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def mail_server() -> Iterator[Dovecot]:
    """A Dovecot in which Wim has a thousand messages in his inbox, some in other folders, and a calendar."""
    with Dovecot() as server:
        start = datetime.now(UTC) - timedelta(days=60)
        messages = [(a_message(n, subject=f"Lamp {n}"), start + timedelta(hours=n)) for n in range(1, 1001)]
        server.deliver(messages)
        server.deliver([a_message(n, subject=f"Sent lamp {n}") for n in range(1, 41)], folder="Sent", flags="S")
        server.deliver([a_message(1, subject="Buy now")], folder="Junk")
        server.create("Calendar")
        yield server


@pytest.fixture(scope="module")
def smtp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    """An SMTP server with implicit TLS that knows Wim."""
    sink = Sink(tmp_path_factory.mktemp("smtp"), "implicit").start()
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def console(
    tmp_path_factory: pytest.TempPathFactory, mail_server: Dovecot, smtp_server: Sink
) -> Iterator[Installation]:
    """`mailadmin up` on an empty data folder, allowed to reach the mail servers of this machine."""
    folder = tmp_path_factory.mktemp("console")
    authorities = folder / "authorities.pem"
    authorities.write_bytes(mail_server.ca_file.read_bytes() + smtp_server.ca_file.read_bytes())
    installation = Installation(folder)
    installation.start(MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8", MAILADMIN_CA_FILE=str(authorities))
    yield installation
    installation.stop()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The servers of the second installation."""
    made = House(tmp_path_factory.mktemp("house"))
    with made.dovecot, made.smtp:
        yield made


@pytest.fixture(scope="module")
def second_console(tmp_path_factory: pytest.TempPathFactory, house: House) -> Iterator[Installation]:
    """Another `mailadmin up`, whose accounts are being tested for the first time."""
    installation = Installation(tmp_path_factory.mktemp("second"))
    variables = {"MAILADMIN_CA_FILE": str(house.authorities), "MAILADMIN_CHECK_SECONDS": "45"}
    installation.start(MAILADMIN_ALLOWED_NETWORKS="127.0.0.0/8", **variables)
    furnish(installation, house)
    yield installation
    installation.stop()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A new page; what the browser complains about fails the test at its end."""
    return context.new_page()


@pytest.fixture
def context(chromium: Browser, console: Installation) -> Iterator[BrowserContext]:
    """A browser without cookies; whatever its pages write to the console fails the test at its end."""
    with listened_to(chromium, console) as context:
        yield context


@contextmanager
def open_database(installation: Installation, **variables: str) -> Iterator[Installation]:
    """Start it with these settings; this process shares its database, but not its queue."""
    variables = {"SECRET_KEY": SECRET_KEY, "MAILADMIN_ALLOWED_NETWORKS": "127.0.0.0/8", **variables}
    installation.start(**variables)
    try:
        url = f"sqlite:///{installation.folder / 'mailadmin.db'}"
        boot.start(read_settings({**variables, "DATABASE_URL": url, "REDIS_URL": "unix:///nowhere/queue.sock"}))
        yield installation
    finally:
        installation.stop()
        db.database().engine.dispose()


@contextmanager
def listened_to(chromium: Browser, console: Installation, **options: Any) -> Iterator[BrowserContext]:
    """A browser at `console`; whatever its pages write to their console fails the test at its end."""
    size = {"width": 1440, "height": 900}
    # Half-way through a change of colours axe sees contrasts that nobody does.
    options = {"viewport": size, "color_scheme": "light", "reduced_motion": "reduce", **options}
    context = chromium.new_context(base_url=f"http://127.0.0.1:{console.port}", **options)
    context.set_default_timeout(PATIENCE)
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(words in message.text for words in HARMLESS):
            said.append(message.text)

    context.on("console", hear)
    context.on("weberror", lambda error: said.append(str(error.error)))
    yield context
    context.close()
    assert said == []


def expect_passed(where: Page | Locator) -> None:
    """Wait for a connection test to end well: screen readers are told so in one sentence."""
    expect(where.get_by_role("status").filter(has_text="The test passed.")).to_have_count(1)


def give_password(page: Page, email: str, password: str = PASSWORD) -> None:
    """Go to the page for it, fill it, and send it."""
    page.goto("/sign-in")
    fill_password(page, email, password)


def fill_password(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill the page for it, and send it."""
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_in(page: Page, email: str = "ada@example.com") -> None:
    """As an administrator, up to the Overview."""
    give_password(page, email)
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()


def begin_account(page: Page, address: str, password: str) -> None:
    """Take the first two steps of a new account at a provider that is known."""
    page.goto("/accounts/new")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label(f"Password of {address}").fill(password)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Check the servers")).to_be_visible()


def picture(page: Page, path: Path) -> None:
    """Keep a picture of the whole page, where somebody wants to see it.

    While a page changes Chromium cannot always take one; it is asked again.
    """
    if "SCREENSHOTS" not in os.environ:
        return
    page.evaluate("scrollTo(0, 0)")  # What is fixed to the window stands at the top of the picture.
    for attempt in range(5):
        try:
            page.screenshot(path=path, full_page=True)
        except Error:
            if attempt == 4:
                raise
            page.wait_for_load_state()
        else:
            return


def axe(page: Page, options: Mapping[str, object] = AXE_OPTIONS) -> list[str]:
    """The serious and critical findings of axe-core on the page as it is.

    Pages change while axe looks, and then it judges what is there no more: a finding is what a second look finds too.
    """
    found = _look(page, options)
    return [each for each in found if each in _look(page, options)] if found else []


def _look(page: Page, options: Mapping[str, object]) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:200]}"
        for v in found["violations"]
        if v["impact"] in {"serious", "critical"}
    ]


def examine(page: Page, path: Path) -> None:
    """Whether the page as it is can be used by everybody, in both themes and on a phone; with pictures.

    The last thing to do on a page: after a picture Chromium complains about what htmx puts into it.
    """
    assert axe(page) == []
    page.emulate_media(color_scheme="dark")
    assert axe(page, {"runOnly": ["color-contrast"]}) == []  # Nothing else depends on the theme.
    page.set_viewport_size({"width": 360, "height": 780})
    eventually(lambda: page.evaluate("document.documentElement.scrollWidth") <= 360)
    picture(page, path.with_stem(f"{path.stem}-dark-phone"))
    page.set_viewport_size({"width": 1440, "height": 900})
    page.emulate_media(color_scheme="light")
    picture(page, path)
