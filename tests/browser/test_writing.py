"""Writing mail as people do: begin, leave, come back, send; and what the servers have then."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.types import Role
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, PersonRole
from mailadmin.sync.models import Folder
from mailadmin.writing import templates
from tests import factories
from tests.access.factories import give
from tests.accounts.factories import smtp
from tests.browser.conftest import examine, fill_password, give_password, listened_to, open_database
from tests.real import Installation, eventually
from tests.servers.dovecot import Dovecot
from tests.servers.smtp import Sink
from tests.sync.factories import Box

pytestmark = pytest.mark.browser
GONE = "gone@halden.example"
TEMPLATE = "Dear Nora Feldt, we offer 64.50 each."


def from_nora(number: int, subject: str) -> bytes:
    """A message of Nora's to Wim and Ravi."""
    message = EmailMessage()
    message["From"] = "Nora Feldt <nora@halden.example>"
    message["To"] = "Wim <wim@example.org>, Ravi Shah <ravi@halden.example>"
    message["Subject"] = subject
    message["Message-ID"] = f"<{number}@halden.example>"
    message["Date"] = "Sat, 21 Nov 2026 09:14:00 +0000"
    message.set_content("Good morning,\n\nwe would like a quote for 40 desk lamps.\n")
    return message.as_bytes(policy=email.policy.SMTP)


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """Wim's mailbox, with two messages of Nora's, on a real server."""
    with Dovecot() as server:
        made = Box(server, "wim@example.org")
        server.deliver([from_nora(1, "Quote for 40 desk lamps"), from_nora(2, "Delivery times")])
        server.create("Sent")
        yield made


@pytest.fixture(scope="module")
def sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    """His server for sending, which does not know everybody."""
    with Sink(tmp_path_factory.mktemp("sink"), "implicit") as running:
        running.unknown = {GONE}
        yield running


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, box: Box, sink: Sink) -> Iterator[Installation]:
    """`mailadmin up` with Wim, a worker, his account and a template; this process shares its database."""
    folder = tmp_path_factory.mktemp("writing")
    authorities = folder / "authorities.pem"
    authorities.write_bytes(box.dovecot.ca_file.read_bytes() + sink.ca_file.read_bytes())
    with open_database(Installation(folder), MAILADMIN_CA_FILE=str(authorities)) as installation:
        with db.transaction() as session:
            factories.a_person(session, name="Ada Lindqvist", email="ada@example.com")
            wim = factories.a_person(session, name="Wim de Vries", email="wim@example.com", role=PersonRole.WORKER)
            wim.signature, wim_id = "{name}, Harbour Lamps", wim.id
            templates.add(session, name="Quote", subject="", text="Dear {contact}, we offer 64.50 each.", actor=SYSTEM)
        account = box.account("Sent", outgoing=smtp("localhost", sink.port))
        with db.transaction() as session:
            session.scalars(select(Folder).where(Folder.path == "Sent")).one().role = Role.SENT
            give(session, session.get_one(Person, wim_id), session.get_one(Account, account.id))
        yield installation


@pytest.fixture(params=[True])
def page(request: pytest.FixtureRequest, chromium: Browser, desk: Installation) -> Iterator[Page]:
    """Wim at his mailbox, with or without JavaScript."""
    with listened_to(chromium, desk, java_script_enabled=request.param) as context:
        opened = context.new_page()
        give_password(opened, "wim@example.com")
        expect(opened.get_by_role("link", name="Inbox")).to_be_visible()
        eventually(lambda: _has(opened, "Delivery times"))
        yield opened


def _has(page: Page, words: str) -> bool:
    page.goto("/mailbox/1")
    return page.get_by_text(words, exact=True).count() > 0


def _composer(page: Page) -> Locator:
    return page.locator("#composer")


def _copies(box: Box) -> list[EmailMessage]:
    """What is in Sent."""
    with box.dovecot.session() as session:
        session.select("Sent", readonly=True)
        numbers = session.search(None, "ALL")[1][0].split()
        raw = [session.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]
    return [email.message_from_bytes(each, policy=email.policy.default) for each in raw]


def test_answer_is_begun_left_resumed_refused_and_sent(page: Page, box: Box, sink: Sink, screenshots: Path) -> None:
    _begin(page)
    _come_back(page)
    _send(page, sink)
    sender, recipients, content = sink.messages.pop()
    sent = email.message_from_bytes(content, policy=email.policy.default)
    assert (sender, recipients) == ("wim@example.org", ["nora@halden.example", "ravi@halden.example"])
    assert sent["From"] == "Wim de Vries <wim@example.org>"
    assert sent["In-Reply-To"] == sent["References"] == "<1@halden.example>"
    body = sent.get_body().get_content().replace("\r\n", "\n")
    for part in (TEMPLATE, "\n\nWim de Vries, Harbour Lamps\n\nOn ", "> we would like a quote for 40 desk lamps."):
        assert part in body
    assert [each.get_filename() for each in sent.iter_attachments()] == ["plan.pdf"]
    eventually(lambda: [copy["Message-ID"] for copy in _copies(box)] == [sent["Message-ID"]])
    eventually(lambda: "\\Answered" in " ".join(box.flags().values()))
    page.get_by_text("Quote for 40 desk lamps", exact=True).first.click()
    expect(page.get_by_role("link", name="You answered this")).to_be_visible()
    page.get_by_role("button", name="Reply to all").click()
    _lose_session(page)
    examine(page, screenshots / "mailbox-composer.png")


def _begin(page: Page) -> None:
    """Answer, with a copy and a file, and go on reading."""
    page.get_by_text("Quote for 40 desk lamps", exact=True).click()
    page.get_by_role("button", name="Reply", exact=True).click()
    composer = _composer(page)
    text = composer.get_by_label("Message", exact=True)
    expect(text).to_be_focused()
    expect(composer.get_by_label("To", exact=True)).to_have_value("Nora Feldt <nora@halden.example>")
    expect(composer.get_by_label("Subject")).to_have_value("Re: Quote for 40 desk lamps")
    composer.get_by_text("Cc, Bcc").click()
    composer.get_by_label("Cc", exact=True).fill(GONE)
    plan = {"name": "plan.pdf", "mimeType": "application/pdf", "buffer": b"plan"}
    composer.get_by_label("Attach files").set_input_files(plan)
    expect(composer.get_by_text("plan.pdf")).to_be_visible()
    before = composer.locator("[name=version]").input_value()
    text.press_sequentially("Thank you for the plan.")
    expect(composer.locator("[name=version]")).not_to_have_value(before)  # It saves by itself.
    expect(page.locator("#draft-state")).to_contain_text("Draft saved")
    page.get_by_role("link", name="Inbox").click()


def _come_back(page: Page) -> None:
    """Go on with the draft, and put a template into it."""
    page.get_by_role("link", name="Drafts here 1").click()
    page.get_by_role("link", name="Go on writing “Re: Quote for 40 desk lamps”").click()
    composer = _composer(page)
    text = composer.get_by_label("Message", exact=True)
    expect(text).to_have_value("Thank you for the plan.")
    expect(composer.get_by_label("Cc", exact=True)).to_have_value(GONE)
    expect(composer.get_by_role("button", name="Remove plan.pdf")).to_be_visible()
    composer.get_by_role("button", name="Template").click()
    composer.get_by_role("button", name="Quote", exact=True).click()
    expect(text).to_have_value(f"Thank you for the plan.\n\n{TEMPLATE}")


def _send(page: Page, sink: Sink) -> None:
    """The server refuses one recipient; then it takes the message."""
    composer = _composer(page)
    composer.get_by_role("button", name="Send").click()
    expect(page.locator("#outcome")).to_be_focused()
    expect(page.locator("#cc-error")).to_contain_text(GONE)
    expect(composer.get_by_label("Message", exact=True)).to_have_value(f"Thank you for the plan.\n\n{TEMPLATE}")
    assert sink.messages == [], "nobody else gets it before that is mended"
    composer.get_by_label("Cc", exact=True).fill("Ravi <ravi@halden.example>")
    composer.get_by_role("button", name="Send").click()
    expect(page.locator("#outcome")).to_contain_text("to 2 people")
    expect(page.locator("#outcome")).to_contain_text("Sent ")


def _lose_session(page: Page) -> None:
    """The session ends while somebody writes; what they typed stays, and they go on."""
    text, state = _composer(page).get_by_label("Message", exact=True), page.locator("#draft-state")
    page.context.clear_cookies()
    text.fill("Dear Nora,")
    text.blur()
    with page.context.expect_page() as opened:
        page.locator("#toasts").get_by_role("link", name="Sign in").click()
    fill_password(opened.value, "wim@example.com")
    expect(opened.value.get_by_role("link", name="Inbox")).to_be_visible()
    opened.value.close()
    text.fill("Dear Nora, hello")
    text.blur()
    expect(page.get_by_text("You are signed in again")).to_be_visible()
    text.fill("Dear Nora, hello again")
    text.blur()
    expect(state).to_contain_text("Draft saved")


@pytest.mark.parametrize("page", [False], indirect=True, ids=["plain"])
def test_message_is_written_without_scripts(page: Page, sink: Sink) -> None:
    page.get_by_role("button", name="Write a message").click()
    composer = _composer(page)
    composer.get_by_label("To", exact=True).fill("ravi")
    composer.get_by_label("Message", exact=True).fill("The lamps are on their way.")
    composer.get_by_role("button", name="Save draft").click()
    expect(page.locator("#draft-state")).to_contain_text("Draft saved")
    composer.get_by_role("button", name="Send").click()
    expect(page.locator("#to-error")).to_contain_text("“ravi” is not an address")
    composer.get_by_label("To", exact=True).fill("ravi@halden.example")
    composer.get_by_text("Cc, Bcc").click()
    composer.get_by_label("Bcc", exact=True).fill("kim@halden.example")
    composer.get_by_label("Attach files").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"})
    composer.get_by_role("button", name="Attach", exact=True).click()
    expect(composer.get_by_role("button", name="Remove a.txt")).to_be_visible()
    composer.get_by_role("button", name="Send").click()
    eventually(lambda: sink.messages)
    eventually(lambda: _is_said(page))
    _, recipients, content = sink.messages.pop()
    assert recipients == ["ravi@halden.example", "kim@halden.example"]
    assert b"kim@" not in content


def _is_said(page: Page) -> bool:
    page.reload()
    return "Sent " in page.locator("#outcome").inner_text()
