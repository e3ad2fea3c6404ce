"""Nothing that was typed is ever lost: two windows, files, requests that are too large, sessions that end."""

import io
from typing import Any

import pytest
from flask import Flask

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.people.models import Person, SignIn
from mailadmin.writing.models import Progress
from tests import factories
from tests.conftest import both_databases
from tests.mailbox.composer import a_mailbox, began, do, files, latest, typed
from tests.pages import Browser, Page


@pytest.fixture
def account(ada: Person) -> Account:
    return a_mailbox(ada)


@pytest.fixture
def here(ada_at: Browser, account: Account) -> Browser:
    return ada_at


@both_databases
def test_second_window_is_told_and_may_win(here: Browser, account: Account) -> None:
    first = began(here, account)
    second = here.get(f"/mailbox/drafts/{latest().id}")
    do(here, first, "save", text="One")
    refused = do(here, second, "save", htmx=True, follow=False, text="Two")
    assert refused.status == 422
    assert "changed in another window" in refused.words()
    assert latest().text == "One"
    again = do(here, second, "save", htmx=True, follow=False, text="Two, longer")
    assert again.status == 422, "it goes on typing, and has not decided"
    over = again.one("button", name="over").get("value")
    assert do(here, second, "save", htmx=True, follow=False, text="Two", over=over).status == 200
    assert latest().text == "Two"
    sent = do(here, first, "send", htmx=True, follow=False, text="One", to="b@x.example")
    assert sent.status == 422
    assert "Below you can keep what you see here" in sent.words()
    assert sent.value("text") == "One"
    assert latest().progress is Progress.DRAFT


@pytest.mark.parametrize("deed", ["send", "files", "template"])
def test_old_window_does_not_win_by_itself_after_a_button_was_refused(
    here: Browser, account: Account, deed: str
) -> None:
    first = began(here, account)
    second = here.get(f"/mailbox/drafts/{latest().id}")
    do(here, second, "save", text="Two")
    refused = do(here, first, deed, htmx=True, follow=False, text="One", to="b@x.example", template="1")
    assert refused.status == 422
    old = refused.one("input", name="version").get("value")
    assert do(here, first, "save", htmx=True, follow=False, text="One, on", version=old).status == 422
    assert latest().text == "Two"
    over = refused.one("button", name="over").get("value")
    assert do(here, first, "save", htmx=True, follow=False, text="One", version=old, over=over).status == 200
    assert latest().text == "One"


def test_without_scripts_the_second_try_wins(here: Browser, account: Account) -> None:
    first = began(here, account)
    second = here.get(f"/mailbox/drafts/{latest().id}")
    do(here, second, "save", text="Two")
    refused = do(here, first, "save", text="One")
    assert (refused.status, latest().text) == (422, "Two")
    do(here, refused, "save")
    assert latest().text == "One"


@pytest.mark.parametrize("number", ["9" * 23, "-1", "x"])
def test_account_that_no_row_can_be_is_refused(here: Browser, account: Account, number: str) -> None:
    refused = do(here, began(here, account), "save", text="Kept", account_id=number, follow=False)
    assert (refused.status, refused.value("text"), refused.value("account_id")) == (422, "Kept", str(account.id))


def test_window_is_not_taken_for_another_when_it_was_faster_than_its_own_saving(
    here: Browser, account: Account
) -> None:
    page = began(here, account)
    do(here, page, "save", htmx=True, follow=False, text="One")
    sent = do(here, page, "send", htmx=True, follow=False, text="One two", to="b@x.example")  # with the version before
    assert sent.status == 200
    assert (latest().text, latest().progress) == ("One two", Progress.WAITING)


@both_databases
def test_files_are_attached_and_removed_with_what_was_typed(here: Browser, account: Account) -> None:
    page = began(here, account)
    chosen = [(io.BytesIO(b"plan"), "plan.pdf"), (io.BytesIO(b"<b>"), "..\\x/a.html")]
    page = do(here, page, "files", text="Kept", files=chosen)
    assert files() == ["plan.pdf", "a.html"]
    assert (page.value("text"), page.words(page.one("ul", class_="attach"))) == ("Kept", "plan.pdf4 Ba.html3 B")
    remove = page.all("button", name="remove")[0].get("value")
    answer = do(here, page, "files/remove", htmx=True, follow=False, remove=remove, text="Kept too")
    assert files() == ["a.html"]
    assert "Draft saved" in answer.words()
    assert latest().text == "Kept too"


def test_files_that_were_chosen_go_along_without_scripts(here: Browser, account: Account) -> None:
    do(here, began(here, account), "send", to="b@x.example", files=(io.BytesIO(b"plan"), "plan.pdf"))
    assert (files(), latest().progress) == (["plan.pdf"], Progress.WAITING)


@pytest.mark.parametrize("size", [26_000_000, 70_000_000], ids=["more than a message", "more than a request"])
@pytest.mark.parametrize("htmx", [True, False], ids=["htmx", "plain"])
def test_too_much_is_said_at_the_files(here: Browser, account: Account, size: int, htmx: bool) -> None:
    page = began(here, account)
    page = do(here, page, "files", htmx=htmx, follow=False, text="Kept", files=(io.BytesIO(bytes(size)), "film.mp4"))
    assert page.status in (413, 422)
    assert "more than 25 MB" in (page.error("files") if page.status == 422 or htmx else page.words())
    assert files() == []
    assert size > 64_000_000 or latest().text == "Kept"


@pytest.mark.parametrize("htmx", [True, False], ids=["htmx", "plain"])
def test_too_much_for_a_draft_that_is_gone_is_refused(here: Browser, account: Account, htmx: bool) -> None:
    page = began(here, account)
    draft_id = latest().id
    here.post(f"/mailbox/drafts/{draft_id}/discard")
    fields = typed(page, files=(io.BytesIO(bytes(65_000_000)), "film.mp4"))
    assert here.post(f"/mailbox/drafts/{draft_id}/files", fields, htmx=htmx).status == 413


def test_other_pages_take_no_more_than_before(here: Browser, account: Account) -> None:
    large = {"to": "x" * 2_000_000}
    assert here.post(f"/mailbox/{account.id}/write", large).status == 413
    stranger = Browser(here._app)
    assert stranger.post("/mailbox/drafts/1/save", large).status == 413


def lost(app: Flask, page: Page, path: str, *, htmx: bool, browser: Browser, **changed: Any) -> Page:
    headers = {"Origin": "http://localhost", **({"HX-Request": "true"} if htmx else {})}
    return Page(browser._client.post(path, data=typed(page, **changed), headers=headers))


@pytest.mark.parametrize("htmx", [True, False], ids=["htmx", "plain"])
def test_ended_session_gives_back_what_was_typed(
    app: Flask, here: Browser, account: Account, ada: Person, htmx: bool
) -> None:
    page = began(here, account)
    path = f"/mailbox/drafts/{latest().id}"
    with db.transaction() as session:
        session.query(SignIn).delete()
    answer = lost(app, page, f"{path}/send", htmx=htmx, browser=here, text="Half an hour", to="b@x.example")
    assert answer.status == 401
    assert "What you typed is still here" in answer.words()
    assert htmx or (answer.words(answer.one("textarea")), answer.one("input", name="to").get("value")) == (
        "Half an hour",
        "b@x.example",
    )
    here.sign_in(ada.email, factories.PASSWORD)
    again = lost(app, page, f"{path}/save", htmx=htmx, browser=here, text="Half an hour", to="b@x.example")
    assert again.status == 400, "the token is of the session before"
    token = again.one("input", name="csrf_token").get("value")
    kept = lost(app, page, f"{path}/save", htmx=htmx, browser=here, text="Half an hour", csrf_token=token)
    assert kept.status in (200, 303)
    assert latest().text == "Half an hour"


def test_typing_a_recipient_leads_nobody_away_when_the_session_has_ended(here: Browser, account: Account) -> None:
    began(here, account)
    path = f"/mailbox/drafts/{latest().id}/people?field=to&to=n"
    with db.transaction() as session:
        session.query(SignIn).delete()
    answer = here.get(path, htmx=True)
    assert (answer.status, answer.text, answer.headers.get("HX-Redirect")) == (401, "", None)
    assert here.get(path).location.startswith("/sign-in")


def test_who_is_stopped_gets_back_what_was_typed(app: Flask, here: Browser, account: Account) -> None:
    page = began(here, account)
    path = f"/mailbox/drafts/{latest().id}/send"
    for _ in range(60):
        here.post(f"/mailbox/drafts/{latest().id + 1}/send")
    assert lost(app, page, path, htmx=True, browser=here, text="Kept").status == 429
    answer = lost(app, page, path, htmx=False, browser=here, text="Kept")
    assert (answer.status, answer.words(answer.one("textarea"))) == (429, "Kept")
    assert "too much in a short time" in answer.words()


def test_strangers_page_gets_nothing_back(here: Browser, account: Account) -> None:
    page = began(here, account)
    headers = {"Origin": "http://evil.example"}
    fields = typed(page, text="Evil words", csrf_token="x")
    answer = Page(here._client.post(f"/mailbox/drafts/{latest().id}/save", data=fields, headers=headers))
    assert answer.status == 400
    assert "Evil words" not in answer.text
