"""Both ways, as people see it: what arrives at the server is on the page, and what they do there is on the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.people.models import Person
from tests import factories
from tests.access.factories import give
from tests.browser.conftest import examine, listened_to, open_database, sign_in
from tests.real import Installation, eventually
from tests.servers.dovecot import Dovecot, a_message
from tests.sync.factories import Box

PATIENCE = 30.0  # seconds, until the other side knows: what is looked at every five minutes only comes too late


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A mailbox with five messages, on a real server."""
    with Dovecot() as server:
        made = Box(server, "wim@example.org")
        server.deliver([a_message(n, subject=f"Lamp {n}") for n in range(1, 6)])
        yield made


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, box: Box) -> Iterator[Installation]:
    """`mailadmin up` with Ada and that mailbox; this process shares its database."""
    folder = tmp_path_factory.mktemp("changes")
    with open_database(Installation(folder), MAILADMIN_CA_FILE=str(box.dovecot.ca_file)) as installation:
        with db.transaction() as session:
            ada_id = factories.a_person(session, name="Ada Lindqvist", email="ada@example.com").id
        account = box.account("Trash", "Archive")
        with db.transaction() as session:
            give(session, session.get(Person, ada_id), session.get(Account, account.id))
        yield installation


@pytest.fixture(params=[True])
def page(request: pytest.FixtureRequest, chromium: Browser, there: Installation) -> Iterator[Page]:
    """Ada at her mailbox, with or without JavaScript."""
    with listened_to(chromium, there, java_script_enabled=request.param) as context:
        opened = context.new_page()
        sign_in(opened)
        eventually(lambda: _has(opened, "Lamp 1"))
        yield opened


def _has(page: Page, words: str, folder: str = "") -> bool:
    page.goto(f"/mailbox/1{folder}")
    return page.get_by_text(words, exact=True).count() > 0


def _tick(page: Page, *subjects: str) -> None:
    for subject in subjects:
        page.get_by_label(f"Tick {subject}", exact=True).check()


def test_what_is_done_here_is_on_the_server_within_seconds(page: Page, box: Box) -> None:
    subject = "Fresh lamp"
    _tick(page, "Lamp 3")
    page.get_by_role("searchbox").first.fill("half a wo")
    box.dovecot.deliver([a_message(900, subject=subject)])
    expect(page.get_by_text(subject, exact=True)).to_be_visible(timeout=PATIENCE * 1000)
    expect(page.get_by_label("Tick Lamp 3", exact=True)).to_be_checked()
    expect(page.get_by_role("searchbox").first).to_have_value("half a wo")
    page.get_by_label("Tick Lamp 3", exact=True).uncheck()
    uid = max(box.flags())
    _tick(page, subject)
    expect(page.locator(".bulkbar")).to_contain_text("ticked")
    page.get_by_role("button", name="Flag", exact=True).click()
    expect(page.get_by_text("Flagged.")).to_be_visible()
    eventually(lambda: "\\Flagged" in box.flags()[uid], PATIENCE)
    _tick(page, subject)
    page.get_by_label("Move to", exact=True).first.select_option("Archive")
    page.get_by_role("button", name="Move", exact=True).first.click()
    expect(page.get_by_text("The message is moved.")).to_be_visible()
    expect(page.get_by_text(subject, exact=True)).to_have_count(0)
    eventually(lambda: uid not in box.flags() and "\\Flagged" in box.flags("Archive").values(), PATIENCE)


@pytest.mark.parametrize("page", [False], indirect=True, ids=["plain"])
def test_deleting_twice_is_for_good(page: Page, box: Box) -> None:
    subject = "Lamp 5"
    before = len(box.flags())
    _tick(page, subject)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("The message is in Trash.")).to_be_visible()
    eventually(lambda: len(box.flags("Trash")) == 1 and len(box.flags()) == before - 1, PATIENCE)
    page.get_by_role("link", name="Trash").click()
    _tick(page, subject)
    page.get_by_role("button", name="Delete for good…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete this message for good?")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("The message is deleted for good.")).to_be_visible()
    eventually(lambda: box.flags("Trash") == {}, PATIENCE)


def test_new_folder_is_made_on_the_server(page: Page, box: Box) -> None:
    page.get_by_role("link", name="New folder…").click()
    page.get_by_label("Name").fill("a/b")
    page.get_by_role("button", name="Create folder").click()
    expect(page.get_by_text("A name cannot contain /.").first).to_be_visible()
    page.get_by_label("Name").fill("Größe")
    page.get_by_role("button", name="Create folder").click()
    eventually(lambda: _listed(box, b"Gr&APYA3w-e"), PATIENCE)


def _listed(box: Box, name: bytes) -> bool:
    with box.dovecot.session(box.user) as session:
        return any(name in line for line in session.list()[1] if isinstance(line, bytes))


def test_ticked_list_fits_and_is_accessible(
    chromium: Browser, there: Installation, box: Box, screenshots: Path
) -> None:
    with listened_to(chromium, there) as context:
        page = context.new_page()
        sign_in(page)
        eventually(lambda: _has(page, "Lamp 1"))
        _tick(page, "Lamp 1", "Lamp 2")
        examine(page, screenshots / "mailbox-ticked.png")
