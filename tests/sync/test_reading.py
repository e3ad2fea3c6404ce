"""A message that somebody opens: text and files are fetched by a job, shown without harm, and forgotten in time."""

from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import func, select, update

from mailadmin import db, queue
from mailadmin.accounts.models import Account, Health
from mailadmin.people.models import Person
from mailadmin.sealed import SealedSecret
from mailadmin.sync import jobs, reading, texts
from mailadmin.sync.models import Message, MessageText, PendingChange
from tests.access.factories import give
from tests.conftest import both_databases
from tests.pages import Browser, Page
from tests.sync.factories import Box, change, messages_of, synced
from tests.sync.test_texts import PAGE, a_letter, deliver, keep

PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d49484452")


class Desk:
    """Ada at a message of her mailbox."""

    def __init__(self, browser: Browser, account: Account) -> None:
        self.browser, self.account = browser, account

    def message(self, number: int = 0) -> Message:
        return messages_of(self.account)[number]

    def address(self, more: str = "", *, number: int = 0) -> str:
        return f"/mailbox/{self.account.id}/messages/{self.message(number).id}{more}"

    def open(self, more: str = "", **options: Any) -> Page:
        return self.browser.get(self.address(more), **options)


@pytest.fixture
def desk(ada_at: Browser, ada: Person, box: Box, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A mailbox of which no run has time for texts."""
    monkeypatch.setitem(texts.fetch.__kwdefaults__ or {}, "seconds", 0.0)
    account = box.account()
    with db.transaction() as session:
        give(session, ada, account)
    return Desk(ada_at, account)


def arrived(desk: Desk, box: Box, *letters: bytes) -> None:
    deliver(box, *letters)
    synced(desk.account)


def waiting_jobs() -> set[str]:
    return {key.decode().rpartition(":")[2] for key in queue.connection().keys("rq:job:*")}


@both_databases
def test_a_page_never_waits_and_shows_the_text_when_a_job_has_brought_it(desk: Desk, box: Box) -> None:
    arrived(desk, box, a_letter(text="Hello https://example.org/a?b=1. <b>Bye</b>\n\n  indented"))
    page = desk.open()
    assert "is being fetched from the server" in page.words()
    assert f"text-{desk.message().id}" in waiting_jobs()
    polled = page.one("div", id=f"text-{desk.message().id}")
    assert polled.get("hx-trigger") == "every 1s"
    jobs.fetch_text(desk.message().id)
    page = partial(desk, polled.get("hx-get", ""))
    root = page.one("div", id=f"text-{desk.message().id}")
    assert root.get("hx-trigger") is None
    assert "Hello https://example.org/a?b=1. <b>Bye</b>" in page.words(page.one("div", class_="message-body"))
    link = page.one("a", href="https://example.org/a?b=1")
    assert (link.get("target"), link.get("rel")) == ("_blank", "noopener noreferrer nofollow")
    assert set(box.flags().values()) == {""}


def partial(desk: Desk, address: str) -> Page:
    """What htmx gets at `address`."""
    return desk.browser.get(address, htmx=True)


def test_html_is_shown_in_a_frame_that_can_do_nothing(desk: Desk, box: Box) -> None:
    evil = '<p onclick="x()">Lamps</p><script>top.x=1</script><img src="https://t.example/1.gif"><img src="http://t.example/2.gif">'
    arrived(desk, box, a_letter(html=evil))
    jobs.fetch_text(desk.message().id)
    page = desk.open()
    frame = page.one("iframe")
    assert frame.get("sandbox") == "allow-popups allow-popups-to-escape-sandbox"
    assert "2 pictures from the internet are not loaded" in page.words()
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    body = desk.browser.get(frame.get("src", ""))
    assert "Lamps" in body.text
    assert not any(word in body.text for word in ("onclick", "script>", "t.example", "top.x"))
    policy = body.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "https:" not in policy
    assert "sandbox allow-popups" in policy
    assert "frame-ancestors 'self'" in policy


def test_pictures_from_the_internet_are_loaded_once_somebody_wants_them(desk: Desk, box: Box) -> None:
    arrived(desk, box, a_letter(html='<p>x</p><img src="http://t.example/1.gif">'))
    jobs.fetch_text(desk.message().id)
    wanted = next(e.get("href", "") for e in desk.open().all("a") if e.get("href", "").endswith("pictures=1"))
    page = desk.browser.get(wanted)
    assert "1 picture from the internet is loaded: the sender can see" in page.words()
    body = desk.browser.get(page.one("iframe").get("src", ""))
    assert 'src="https://t.example/1.gif"' in body.text
    assert "img-src data: https:;" in body.headers["Content-Security-Policy"]
    assert body.headers["Referrer-Policy"] == "no-referrer"


def test_pictures_within_the_message_are_fetched_and_stand_in_the_frame(desk: Desk, box: Box) -> None:
    letter = EmailMessage()
    letter["From"], letter["Subject"] = "a@example.org", "With a picture"
    letter.set_content("plain")
    letter.add_alternative('<p>Plan:</p><img src="cid:plan@x">', subtype="html")
    letter.get_payload()[1].add_related(PIXEL, "image", "png", cid="<plan@x>", filename="plan.png")  # type: ignore[index, union-attr]
    arrived(desk, box, letter.as_bytes())
    jobs.fetch_text(desk.message().id)
    page = desk.open()
    assert page.one("div", id=f"text-{desk.message().id}").get("hx-trigger") == "every 1s"
    assert not page.all("ul", class_="attach")
    jobs.fetch_files(desk.message().id, 1)
    page = desk.open()
    assert page.one("div", id=f"text-{desk.message().id}").get("hx-trigger") is None
    assert "data:image/png;base64,iVBORw0KGgo" in desk.browser.get(page.one("iframe").get("src", "")).text


@both_databases
def test_a_file_is_fetched_when_asked_for_and_saved_never_shown(desk: Desk, box: Box) -> None:
    arrived(desk, box, a_letter(html=PAGE, files=('Grö"ße\r\n.pdf',)))
    jobs.fetch_text(desk.message().id)
    assert queue.connection().keys("rq:job:file*") == []
    link = desk.open().one("ul", class_="attach").findall(".//*[@href]")[0]
    page = desk.browser.get(link.get("href", ""))
    assert "is being fetched" in page.words()
    jobs.fetch_files(desk.message().id, 1)
    assert "Save Grö" in partial(desk, page.one("div", id="file").get("hx-get", "")).words()
    saved = desk.browser.get(link.get("href", ""))
    assert saved.text == "content of a file" * 100
    assert saved.headers["Content-Type"] == "application/octet-stream"
    assert saved.headers["Content-Disposition"].startswith('attachment; filename="Gr__')
    assert "UTF-8''Gr%C3%B6%22%C3%9Fe" in saved.headers["Content-Disposition"]
    assert saved.headers["X-Content-Type-Options"] == "nosniff"


def test_the_message_itself_is_saved_as_it_came(desk: Desk, box: Box) -> None:
    arrived(desk, box, a_letter("Offer: lamps/2026", html=PAGE))
    jobs.fetch_files(desk.message().id, 0)
    saved = desk.open("/files/0")
    assert "Subject: Offer: lamps/2026" in saved.text
    assert "Offer: lamps" in saved.headers["Content-Disposition"]


def test_files_are_sealed_and_forgotten_after_an_hour_or_when_there_are_too_many(
    desk: Desk, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived(desk, box, a_letter(files=("a.pdf", "b.pdf")))
    jobs.fetch_text(desk.message().id)
    jobs.fetch_files(desk.message().id, 1)
    with db.transaction() as session:
        kept = session.scalars(select(SealedSecret).where(SealedSecret.purpose == reading.PURPOSE)).all()
        assert [b"content" in each.sealed for each in kept] == [False]
    monkeypatch.setattr(reading, "MOST_STORED", 3000)
    jobs.fetch_files(desk.message().id, 2)
    assert len([p for p in ("1", "2") if desk.open(f"/files/{p}").headers["Content-Type"].startswith("text/html")]) == 1
    with db.transaction() as session:
        session.execute(update(SealedSecret).values(created_at=db.now() - timedelta(hours=2)))
        reading.forget_files(session)
        assert (
            session.scalar(
                select(func.count()).select_from(SealedSecret).where(SealedSecret.purpose == reading.PURPOSE)
            )
            == 0
        )


def test_a_file_that_is_too_large_is_not_fetched(desk: Desk, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST_FILE", 1000)
    arrived(desk, box, a_letter(files=("a.pdf",)))
    jobs.fetch_text(desk.message().id)
    assert "too large to be saved here" in desk.open().words()
    assert "Files up to 1.0 KB can be saved here." in desk.open("/files/1").words()
    assert not [name for name in waiting_jobs() if name.startswith("file")]


@pytest.mark.parametrize("health", [Health.PAUSED, Health.NEEDS_ATTENTION])
def test_nobody_knocks_at_a_server_that_does_not_let_the_account_in(desk: Desk, box: Box, health: Health) -> None:
    arrived(desk, box, a_letter())
    change(desk.account, health=health)
    jobs.fetch_text(desk.message().id)
    page = desk.open()
    assert "The text could not be fetched" in page.words()
    assert page.one("div", id=f"text-{desk.message().id}").get("hx-trigger") is None
    queue.connection().flushall()
    desk.open()
    assert waiting_jobs() == set()
    change(desk.account, health=Health.HEALTHY)
    desk.browser.post(desk.address("/fetch"))
    assert len(waiting_jobs()) == 1
    jobs.fetch_text(desk.message().id)
    assert "the lamps arrived" in desk.open().words()


def test_a_message_that_is_gone_says_so(desk: Desk, box: Box) -> None:
    arrived(desk, box, a_letter())
    box.do(("STORE", "1", "+FLAGS", "(\\Deleted)"), ("EXPUNGE",))
    jobs.fetch_text(desk.message().id)
    assert "It may be gone there." in desk.open().words()


def test_opening_a_message_makes_it_read_but_not_by_a_get(desk: Desk, box: Box) -> None:
    arrived(desk, box, a_letter())
    page = desk.open()
    assert not desk.message().is_read
    tells = [e for e in page.all("div") if e.get("hx-trigger") == "load"]
    answer = desk.browser.post(tells[0].get("hx-post", ""), htmx=True)
    assert answer.one("button", value="unread").get("aria-label") == "Mark as unread"
    assert desk.message().is_read
    with db.reading() as session:
        assert session.scalar(select(PendingChange.added)) == "\\Seen"
    assert not [e for e in desk.open().all("div") if e.get("hx-trigger") == "load"]


def test_messages_of_others_do_not_exist(desk: Desk, box: Box, wim: Person) -> None:
    arrived(desk, box, a_letter(files=("a.pdf",)))
    other = Account(id=desk.account.id + 1000)
    for more in ("", "/text", "/body", "/files/0", "/files/1/state"):
        assert desk.open(more.replace("/files/1/state", "/files/9/state"), htmx=True).status in (200, 404)
        assert desk.browser.get(f"/mailbox/{other.id}/messages/{desk.message().id}{more}").status in (302, 303, 404)


def test_where_no_texts_are_kept_one_that_was_read_is_forgotten_after_an_hour(desk: Desk, box: Box) -> None:
    keep(0)
    arrived(desk, box, a_letter())
    jobs.fetch_text(desk.message().id)
    assert "the lamps arrived" in desk.open().words()
    with db.transaction() as session:
        texts.forget_unkept(session)
        session.execute(update(MessageText).values(fetched_at=db.now() - timedelta(hours=2)))
    assert "the lamps arrived" in desk.open().words()
    with db.transaction() as session:
        texts.forget_unkept(session)
    assert "is being fetched" in desk.open().words()
