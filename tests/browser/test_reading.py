"""Reading mail in a real browser: hostile letters do nothing, and texts come by themselves."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect
from werkzeug.serving import make_server

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.markup import sanitised
from mailadmin.mail.structure import Part
from mailadmin.mail.text_parts import Choice, Section, Text
from mailadmin.mail.types import Envelope, Folder, Role
from mailadmin.people.models import Person
from mailadmin.sync import rows, texts
from tests.access.factories import give
from tests.browser.conftest import axe, listened_to, picture, sign_in
from tests.sync.factories import NOON, an_account, folder_of, messages_of

pytestmark = pytest.mark.browser

# Each would set window.owned, or ask evil.example for something, if it were let through.
PAYLOADS = [
    "<script>window.owned=1</script>",
    "<img src=x onerror=window.owned=1>",
    "<svg onload=window.owned=1><script>window.owned=1</script></svg>",
    "<svg><animate onbegin=window.owned=1 attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.owned=1&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=window.owned=1>'>",
    "<iframe srcdoc='<script>top.owned=1</script>'></iframe><iframe src='javascript:top.owned=1'></iframe>",
    "<object data='javascript:window.owned=1'></object><embed src='//evil.example/x.swf'>",
    "<a href='javascript:window.owned=1' id=click>x</a>",
    "<a href='java\tscript:window.owned=1' id=click>x</a>",
    "<a href='&#106;avascript:window.owned=1' id=click>x</a>",
    "<form action='https://evil.example'><button id=click formaction='javascript:window.owned=1'>x</button></form>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'><base href='https://evil.example/'>",
    "<link rel=stylesheet href='https://evil.example/a.css'><style>@import 'https://evil.example/b.css';</style>",
    '<div style="background:url(https://evil.example/c.png);width:9px">x</div>',
    "<div style='background-color:u\\72l(https://evil.example/d)'>x</div><p style='border:1px url(//evil.example)'>",
    "<table background='https://evil.example/e.png'><tr><td background='https://evil.example/f.png'>x",
    "<img srcset='https://evil.example/g 1x' src='https://evil.example/h'><picture><source srcset='//evil.example/i'>",
    "<video autoplay src='https://evil.example/j' poster='//evil.example/k'></video><audio src='//evil.example/l'>",
    "<input autofocus onfocus=window.owned=1><details open ontoggle=window.owned=1>x</details>",
    "<body onload=window.owned=1><marquee onstart=window.owned=1>x</marquee>",
    "<div hx-get='https://evil.example/' hx-trigger='load' hx-on:load='window.owned=1'>x</div>",
    "<xss style='animation-name:x' onanimationstart=window.owned=1></xss><img src='data:text/html,<script>1</script>'>",
    "<template><script>window.owned=1</script></template><a ping='https://evil.example' href='https://ok.example'>x</a>",
]


@pytest.fixture
def site(app: Flask) -> Iterator[SimpleNamespace]:
    """The console of these tests as a web server."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(port=server.server_port)
    server.shutdown()
    thread.join()


@pytest.fixture
def account(ada: Person) -> Account:
    made = an_account(folders=[Folder("INBOX", "INBOX", "/", role=Role.INBOX), Folder("Offers", "Offers", "/")])
    with db.transaction() as session:
        give(session, ada, made)
    return made


@pytest.fixture
def context(chromium: Browser, site: Any) -> Iterator[BrowserContext]:
    with listened_to(chromium, site) as opened:
        yield opened


def a_letter(account: Account, uid: int, subject: str, *, text: str | None = None, html: str = "", **more: Any) -> int:
    """A message that is stored, with its text unless that is None; its id."""
    envelope = Envelope(uid, subject=subject, from_name="Nora Feldt", from_address="nora@halden.example",
                        received_at=NOON, size=4321, to="sales@example.com", **more)  # fmt: skip
    with db.transaction() as session:
        rows.insert(session, folder_of(account).id, 0, [envelope])
    found = next(message.id for message in messages_of(account) if message.uid == uid)
    if text is not None:
        files = (Part("2", "application/pdf", encoding="base64", size=1_600_000, name="floor-plan-2.pdf"),)
        choice = Choice((Section(),), files if html else ())
        with db.transaction() as session:
            made = Text(text, html, text.strip()[:80])
            texts.store(session, {found: texts.Found(choice, made)}, 1)
    return found


def test_nothing_hostile_survives_the_allow_list(chromium: Browser) -> None:
    """Sanitised HTML in a page with scripts and without any policy: the allow-list alone has to hold."""
    page = chromium.new_page()
    asked: list[str] = []
    page.route("**/*", lambda route: (asked.append(route.request.url), route.abort()))
    for payload in PAYLOADS:
        page.set_content(f"<div>{sanitised(payload).html}</div>")
        for link in page.locator("#click, a:not([href^='https://ok.example'])").all():
            link.dispatch_event("click")
        assert page.evaluate("window.owned") is None, payload
        assert (
            page.locator(
                "script, style, iframe, object, form, input, svg, base, meta[http-equiv], [background]"
            ).count()
            == 0
        )
    page.close()
    assert asked == []


def test_a_hostile_letter_does_nothing_in_its_frame(context: BrowserContext, site: Any, account: Account) -> None:
    letter = a_letter(
        account, 1, "<script>window.owned=1</script>", text="x", html="<p>Read me</p>" + "".join(PAYLOADS)
    )
    page = context.new_page()
    sign_in(page)
    strange: list[str] = []
    home = f"http://127.0.0.1:{site.port}/"

    def note(request: Request) -> None:
        if not request.url.startswith((home, "data:")):
            strange.append(request.url)

    context.on("request", note)
    page.goto(f"/mailbox/{account.id}/messages/{letter}")
    frame = page.frame_locator("iframe.message-frame")
    expect(frame.get_by_text("Read me")).to_be_visible()
    expect(frame.get_by_role("heading", level=1)).to_have_css("position", "absolute")  # Our style sheet is let in.
    assert page.evaluate("window.owned") is None
    assert strange == []
    assert page.locator("iframe").get_attribute("sandbox") == "allow-popups allow-popups-to-escape-sandbox"


def test_reading_as_the_design_shows_it(context: BrowserContext, account: Account, screenshots: Any) -> None:
    a_letter(
        account, 1, "Delivery times", text="Perfect, then please go ahead with the 12 units. https://example.org/x"
    )
    html = "<p>Good morning,</p><p>we would like a quote for <strong>40 desk lamps</strong>.</p><img src=https://t.example/1>"
    letter = a_letter(account, 2, "Quote for 40 desk lamps", text="Good morning, we would like a quote", html=html)
    page = context.new_page()
    sign_in(page)
    page.goto(f"/mailbox/{account.id}")
    picture(page, screenshots / "mailbox-list.png")
    assert axe(page) == []
    page.get_by_role("link", name="Quote for 40 desk lamps").click()
    expect(page).to_have_url(f"/mailbox/{account.id}/messages/{letter}")
    expect(page.frame_locator("iframe").get_by_text("40 desk lamps")).to_be_visible()
    expect(page.get_by_text("1 picture from the internet is not loaded")).to_be_visible()
    assert axe(page) == []
    picture(page, screenshots / "mailbox-message.png")


def test_a_text_that_is_not_here_comes_by_itself(context: BrowserContext, account: Account) -> None:
    letter = a_letter(account, 1, "Late")
    page = context.new_page()
    sign_in(page)
    page.goto(f"/mailbox/{account.id}/messages/{letter}")
    expect(page.get_by_text("is being fetched from the server")).to_be_visible()
    with db.transaction() as session:
        made = Text("Here I am, at https://example.org/", "", "Here I am")
        texts.store(session, {letter: texts.Found(Choice((Section(),)), made)}, 1)
    expect(page.get_by_text("Here I am, at")).to_be_visible()
    expect(page.get_by_role("link", name="https://example.org/")).to_have_attribute("target", "_blank")


def test_mail_is_read_without_scripts_and_on_a_phone(
    chromium: Browser, site: Any, account: Account, screenshots: Any
) -> None:
    a_letter(account, 1, "W" * 300, text="x" * 300, html="<p>" + "y" * 300 + "</p>")
    size = {"width": 360, "height": 740}
    with listened_to(chromium, site, viewport=size, java_script_enabled=False, color_scheme="dark") as context:
        page = context.new_page()
        sign_in(page)
        page.goto(f"/mailbox/{account.id}")
        picture(page, screenshots / "mailbox-list-phone.png")
        page.locator(".msgs a").click()
        expect(page.frame_locator("iframe").locator("p")).to_be_visible()
        expect(page.get_by_role("link", name="Back to the list")).to_be_visible()
        assert _is_narrow(page)
        picture(page, screenshots / "mailbox-message-phone.png")


def _is_narrow(page: Page) -> bool:
    """Whether nothing makes the page wider than the phone."""
    box = page.locator("#message").bounding_box()
    return box is not None and box["x"] + box["width"] <= 360.5
