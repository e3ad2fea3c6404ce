"""Writing a message on its pages: drafts, templates, sending, and what becomes of it."""

from urllib.parse import urlencode

import pytest
from sqlalchemy import func, select

from mailadmin import db, queue
from mailadmin.access.models import Access
from mailadmin.access.service import Rights
from mailadmin.accounts.models import Account
from mailadmin.contacts.models import Contact
from mailadmin.db import now
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.writing import keeping, service, templates
from mailadmin.writing.models import Intent, OutgoingMessage, Progress
from tests import factories
from tests.access.factories import give
from tests.conftest import both_databases
from tests.mailbox.composer import NORA, a_mailbox, began, do, latest, nora_id
from tests.pages import Browser


@pytest.fixture
def account(ada: Person) -> Account:
    return a_mailbox(ada)


@pytest.fixture
def here(ada_at: Browser, account: Account) -> Browser:
    return ada_at


@both_databases
def test_reply_begins_with_recipient_subject_and_focus_in_the_text(here: Browser, account: Account) -> None:
    page = began(here, account, "reply")
    assert (page.value("to"), page.value("composer-subject")) == (NORA, "Re: Quote for 40 lamps")
    assert page.one("textarea", id="text").get("autofocus") is not None
    assert "Quote for 40 lamps" in page.words(page.one("article")), "it stands under the message"
    assert "wrote:" in page.words(page.one("form", id="composer"))
    everybody = began(here, account, "reply", all="1")
    assert everybody.value("cc") == "Ravi <ravi@example.org>, kim@example.org"
    assert everybody.one("details", class_="copies").get("open") is not None
    forward = began(here, account, "forward")
    assert (forward.value("to"), forward.value("composer-subject")) == ("", "Fwd: Quote for 40 lamps")
    assert forward.one("input", id="to").get("autofocus") is not None
    assert [latest().intent, latest().about_id] == [Intent.FORWARD, nora_id(account)]


@both_databases
def test_what_is_typed_is_saved_and_listed(here: Browser, account: Account) -> None:
    page = began(here, account)
    assert "Drafts here" not in page.words(), "a page that was only opened is no draft"
    state = do(
        here,
        page,
        "save",
        htmx=True,
        follow=False,
        to="b@x.example",
        subject="Lamps",
        text="Two\nlines",
        bcc="z@x.example",
    )
    assert state.words().startswith("Draft saved ")
    assert (latest().to, latest().bcc, latest().subject, latest().text) == (
        "b@x.example",
        "z@x.example",
        "Lamps",
        "Two\nlines",
    )
    page = here.get(f"/mailbox/{account.id}")
    link = next(e for e in page.all("a") if page.words(e) == "Drafts here1")
    listed = here.get(link.get("href", ""))
    for said in ("Lamps", "Two lines", "b@x.example", "Draft", "Go on writing"):
        assert said in listed.words()
    again = here.get(f"/mailbox/drafts/{latest().id}")
    assert (again.value("to"), again.value("bcc"), again.title) == (
        "b@x.example",
        "z@x.example",
        "Lamps · Mailbox sales@example.net · Mailadmin",
    )


def test_saving_shows_the_time_of_the_person(here: Browser, account: Account, ada: Person) -> None:
    do(here, began(here, account), "save", subject="Lamps")
    with db.transaction() as session:
        session.get_one(Person, ada.id).time_zone = "Asia/Kolkata"
        session.get_one(OutgoingMessage, latest().id).changed_at = now().replace(hour=4, minute=1)
    assert "09:31" in here.get(f"/mailbox/drafts/{latest().id}").words()


@both_databases
def test_sending_waits_for_a_runner_and_can_be_taken_back(here: Browser, account: Account) -> None:
    page = began(here, account, "reply")
    page = do(here, page, "send", htmx=True, follow=False, cc="Ravi <ravi@example.org>", text="Yes")
    assert page.words().startswith("Sending to 2 people…")
    assert page.one("div", id="composer").get("hx-trigger") == "every 1s"
    assert page.one("span", id="outcome").get("autofocus") is not None, "the focus goes where it is said"
    assert latest().progress is Progress.WAITING
    assert (queue.waiting() or {})[queue.Line.SENDING] == 1
    listed = here.get(f"/mailbox/{account.id}/drafts").words()
    assert "Waiting" in listed
    back = here.post(f"/mailbox/drafts/{latest().id}/take-back", follow=True)
    assert back.value("text") == "Yes"
    assert latest().progress is Progress.DRAFT


def test_sent_message_says_when_and_to_how_many_and_its_original_too(here: Browser, account: Account) -> None:
    do(here, began(here, account, "reply"), "send", text="Yes")
    with db.transaction() as session:
        sent = session.get_one(OutgoingMessage, latest().id)
        sent.progress, sent.sent_at = Progress.SENT, now()
    state = here.get(f"/mailbox/drafts/{latest().id}/state", htmx=True)
    assert state.one("div", id="composer").get("hx-get") is None, "it does not ask again"
    assert " to 1 person" in state.words()
    assert "You answered this just now" in here.get(f"/mailbox/{account.id}/messages/{nora_id(account)}").words()


def test_original_leads_to_the_answer_that_is_being_written(here: Browser, account: Account) -> None:
    do(here, began(here, account, "reply"), "save", text="Well")
    page = here.get(f"/mailbox/{account.id}/messages/{nora_id(account)}")
    link = next(e for e in page.all("a") if page.words(e) == "You are answering this")
    assert here.get(link.get("href", "")).value("text") == "Well"


@pytest.mark.parametrize("htmx", [True, False])
def test_bad_addresses_are_named_at_their_fields_and_nothing_is_lost(
    here: Browser, account: Account, htmx: bool
) -> None:
    page = began(here, account)
    wrong = {"to": "nora at halden", "cc": "b@x.example, ravi at example", "subject": "Lamps", "text": "Kept"}
    page = do(here, page, "send", htmx=htmx, follow=False, **wrong)
    assert page.status == 422
    assert "“nora at halden” is not an address" in page.error("to")
    assert "“ravi at example” is not an address" in page.error("cc")
    assert "Please correct 2 fields" in page.words()
    assert (page.value("text"), page.value("to")) == ("Kept", "nora at halden")
    assert (latest().text, latest().progress) == ("Kept", Progress.DRAFT), "it is saved as well"
    assert page.one("details", class_="copies").get("open") is not None


def test_refusal_of_a_server_stands_at_the_recipient(here: Browser, account: Account) -> None:
    do(here, began(here, account), "save", to="b@x.example, gone@x.example", text="Kept")
    with db.transaction() as session:
        session.get_one(OutgoingMessage, latest().id).problem = "The server does not know gone@x.example."
    page = here.get(f"/mailbox/drafts/{latest().id}")
    assert page.error("to") == "The server does not know gone@x.example."
    assert "Not sent" in here.get(f"/mailbox/{account.id}/drafts").words()


def test_template_is_put_where_the_text_ends(here: Browser, account: Account) -> None:
    with db.transaction() as session:
        made = templates.add(session, name="Quote", subject="Your quote", text="Dear {contact},\n{name}", actor=SYSTEM)
        template_id = str(made.id)
    page = began(here, account, to=NORA)
    assert "Quote" in page.words(page.one("div", id="templates"))
    page = do(here, page, "template", template=template_id, text="Hello", htmx=True, follow=False)
    assert latest().text == "Hello\n\nDear Nora Feldt,\nAda Lindqvist"
    assert page.value("composer-subject") == "Your quote"
    assert do(here, page, "template", template="9999", text="Hello", follow=False).status == 404


def test_signature_and_quoted_text_are_shown_before_they_are_sent(here: Browser, account: Account, ada: Person) -> None:
    with db.transaction() as session:
        session.get_one(Person, ada.id).signature = "{name}\n{account} <b>"
    page = began(here, account, "reply")
    assert "Ada Lindqvistsales@example.net <b>" in page.words(page.one("div", id="composer-sign"))
    do(here, page, "save", quotes=None)
    assert latest().quotes is False


def test_contacts_are_suggested_for_the_last_address(here: Browser, account: Account) -> None:
    with db.transaction() as session:
        session.add(Contact(address="nora@halden.example", name="Nora Feldt", account_id=account.id))
    began(here, account)
    path = f"/mailbox/drafts/{latest().id}/people?field=to&to=b@x.example,%20feld"
    page = here.get(path, htmx=True)
    assert [e.get("value") for e in page.all("option")] == [f"b@x.example, {NORA}"]
    assert here.get(path).status == 303


def test_suggestion_keeps_all_that_was_typed(here: Browser, account: Account) -> None:
    with db.transaction() as session:
        session.add(Contact(address="nora@halden.example", name="Feldt, Nora", account_id=account.id))
    began(here, account)

    def suggested(line: str) -> list[str | None]:
        page = here.get(f"/mailbox/drafts/{latest().id}/people?{urlencode({'field': 'to', 'to': line})}", htmx=True)
        return [e.get("value") for e in page.all("option")]

    whole = '"Feldt, Nora" <nora@halden.example>'
    assert suggested('b@x.example; "Feldt, No') == [f"b@x.example; {whole}"], "the comma is part of the name"
    assert suggested('"Berg, Kim" <kim@x.example>, feld') == [f'"Berg, Kim" <kim@x.example>, {whole}']
    assert suggested("b@x.example, " * 400 + "feld") == [], "it would stand in the place of all of them"


def test_blanks_and_joiners_of_other_languages_are_sent_as_they_were_typed(here: Browser, account: Account) -> None:
    text = "12\u202f000\u00a0€ می\u200cخواهم \u200fעברית 東京\u3000太郎 👩\u200d💻 \ue000"
    typed_in = {"subject": "می\u200cخواهم", "text": f"{text}\x00\x1b\ud800".encode("utf-8", "surrogatepass")}
    do(here, began(here, account), "save", to="علی\u200cرضا <a@x.example>\u200e", **typed_in)
    assert (latest().to, latest().subject) == ("علی\u200cرضا <a@x.example>", "می\u200cخواهم")
    assert latest().text.startswith(text)
    assert not {"\0", "\x1b", "\ud800"} & set(latest().text)
    page = do(here, here.get(f"/mailbox/drafts/{latest().id}"), "send", follow=False)
    assert page.error("to") == ""


def test_there_is_a_most_of_drafts_and_pages_that_were_only_opened_make_room(
    here: Browser, account: Account, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST", 2)
    monkeypatch.setattr(keeping, "MOST_UNTOUCHED", 2)

    def number() -> int:
        with db.reading() as session:
            return session.scalar(select(func.count()).select_from(OutgoingMessage))

    for _ in range(4):
        page = began(here, account)
    assert number() == 2
    do(here, page, "save", text="One")
    do(here, began(here, account), "save", text="Two")
    assert "You have 2 drafts, and no more are kept." in began(here, account).words()
    assert number() == 3


def test_who_begins_messages_without_end_is_stopped(here: Browser, account: Account) -> None:
    path = f"/mailbox/{account.id}/messages/999999/forward"
    answers = {here.post(path).status for _ in range(61)}
    assert answers == {404, 429}


def test_saving_looks_once_for_the_accounts_that_may_send(
    here: Browser, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    senders = service.senders
    monkeypatch.setattr(service, "senders", lambda session, person: asked.append(1) or senders(session, person))
    page = began(here, account)
    for deed in ("save", "files", "template", "send"):
        asked.clear()
        do(here, page, deed, htmx=True, follow=False, text=deed, to="b@x.example", template="9")
        assert len(asked) == 1, deed


def test_from_offers_all_accounts_that_may_send_and_changes_the_draft(
    here: Browser, account: Account, ada: Person
) -> None:
    other = a_mailbox(ada, "ada@example.net", sender_name="Ada at Example")
    a_mailbox(ada, "read@example.net", rights=Rights.WRITE)
    page = began(here, account)
    offered = [page.words(e) for e in page.one("select", id="account_id")]
    assert offered == ["Ada Lindqvist, sales@example.net", "Ada at Example, ada@example.net"]
    do(here, page, "save", account_id=str(other.id), text="x")
    assert latest().account_id == other.id


@pytest.mark.parametrize("rights", [Rights.READ, Rights.WRITE])
def test_who_may_not_send_sees_no_buttons_and_begins_nothing(
    browser: Browser, ada: Person, wim: Person, rights: Rights
) -> None:
    account = a_mailbox(wim, rights=rights)
    browser.sign_in("wim@example.com", factories.PASSWORD)
    page = browser.get(f"/mailbox/{account.id}/messages/{nora_id(account)}")
    assert not {"Reply", "Forward"} & {page.words(e) for e in page.all("button")}
    assert page.all("form", id="write") == []
    for deed in ("write", "reply", "forward"):
        assert "but not send as it" in began(browser, account, deed).words()
    assert latest() is None


def test_account_without_a_server_for_sending_says_so(ada_at: Browser, ada: Person) -> None:
    account = a_mailbox(ada, outgoing=None)
    page = ada_at.get(f"/mailbox/{account.id}/messages/{nora_id(account)}")
    button = next(e for e in page.all("button") if e.get("aria-label") == "Write a message")
    assert (button.get("disabled"), button.get("title")) == ("", "sales@example.net has no server for sending.")
    assert "Reply" not in [page.words(e) for e in page.all("button")]


def test_right_that_is_taken_leaves_the_draft_and_sends_nothing(browser: Browser, ada: Person, wim: Person) -> None:
    account = a_mailbox(wim)
    browser.sign_in("wim@example.com", factories.PASSWORD)
    page = began(browser, account, to="b@x.example")
    do(browser, page, "save", text="Kept")
    with db.transaction() as session:
        session.scalars(select(Access)).one().may_send = False
    page = browser.get(f"/mailbox/drafts/{latest().id}")
    assert page.value("text") == "Kept"
    refused = do(browser, page, "send", follow=False)
    assert refused.status == 422
    assert "but not send as it" in refused.error("account_id")
    with db.transaction() as session:
        session.query(Access).delete()
    assert browser.get(f"/mailbox/drafts/{latest().id}").status == 404
    assert browser.get(f"/mailbox/{account.id}/drafts").status == 404


def test_draft_of_somebody_else_cannot_be_reached(here: Browser, account: Account, wim: Person) -> None:
    do(here, began(here, account), "save", text="Mine")
    with db.transaction() as session:
        give(session, session.get_one(Person, wim.id), session.get_one(Account, account.id))
    other = Browser(here._app)
    other.sign_in("wim@example.com", factories.PASSWORD)
    path = f"/mailbox/drafts/{latest().id}"
    assert {other.get(p).status for p in (path, f"{path}/state", f"{path}/people", f"{path}/discard")} == {404}
    deeds = ("save", "send", "files", "files/remove", "template", "take-back", "settle", "discard")
    assert {other.post(f"{path}/{deed}", {"text": "x", "arrived": "yes"}).status for deed in deeds} == {404}
    assert "Mine" not in other.get(f"/mailbox/{account.id}/drafts").words()
    assert latest().text == "Mine"


def test_draft_is_discarded_after_a_question(here: Browser, account: Account) -> None:
    do(here, began(here, account), "save", subject="Lamps")
    path = f"/mailbox/drafts/{latest().id}/discard"
    assert "“Lamps” and its files are deleted" in here.get(path).words()
    assert "Discard this draft?" in here.get(path, htmx=True).words()
    assert "The draft is gone." in here.post(path, follow=True).words()
    assert latest() is None


@pytest.mark.parametrize(
    ("arrived", "progress"), [("yes", Progress.SENT), ("no", Progress.WAITING), ("x", Progress.UNCLEAR)]
)
def test_person_settles_what_the_server_left_open(
    here: Browser, account: Account, arrived: str, progress: Progress
) -> None:
    do(here, began(here, account), "send", to="b@x.example")
    with db.transaction() as session:
        session.get_one(OutgoingMessage, latest().id).progress = Progress.UNCLEAR
    assert "It is not clear whether this message was sent" in here.get(f"/mailbox/drafts/{latest().id}").words()
    assert "Not clear" in here.get(f"/mailbox/{account.id}/drafts").words()
    here.post(f"/mailbox/drafts/{latest().id}/settle", {"arrived": arrived})
    assert latest().progress is progress


def test_contact_page_and_mailbox_begin_a_message(here: Browser, account: Account) -> None:
    with db.transaction() as session:
        contact = Contact(address="nora@halden.example", name="Nora Feldt", account_id=account.id)
        session.add(contact)
        session.flush()
        contact_id = contact.id
    page = here.get(f"/contacts/{contact_id}")
    form = next(e for e in page.all("form") if e.get("action", "").endswith("/write"))
    assert (form.get("action"), page.one("input", name="to").get("value")) == (f"/mailbox/{account.id}/write", NORA)
