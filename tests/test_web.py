"""What every route stands on."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from mailadmin import db, queue, shown, web
from mailadmin.config import Settings
from mailadmin.people.models import Person
from tests.access.factories import give
from tests.accounts.factories import an_account
from tests.conftest import both_databases
from tests.factories import PASSWORD
from tests.pages import Browser


def test_every_answer_carries_the_strict_policy(browser: Browser) -> None:
    page = browser.get("/healthz")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_pages_are_not_kept_and_static_files_are(ada_at: Browser) -> None:
    assert "no-store" in ada_at.get("/").headers["Cache-Control"]
    kept = ada_at.get("/static/icons.svg").headers["Cache-Control"]
    assert "max-age=31536000" in kept


def test_somebody_who_is_not_signed_in_is_led_to_the_door_and_back(browser: Browser, ada: Person) -> None:
    page = browser.get("/accounts?state=paused")
    assert page.status == 303
    assert page.location == "/sign-in?next=/accounts?state%3Dpaused"
    after = browser.post(page.location, {"email": ada.email, "password": PASSWORD})
    assert after.location == "/accounts?state=paused"


def test_a_lost_session_makes_htmx_go_to_the_door(browser: Browser, ada: Person) -> None:
    page = browser.get("/accounts", htmx=True)
    assert page.status == 204
    assert page.headers["HX-Redirect"] == "/sign-in"


def test_a_form_without_its_token_is_refused(ada_at: Browser) -> None:
    page = ada_at.post_without_token("/providers/new", {"name": "Harbour Mail"})
    assert page.status == 400
    assert "open too long" in page.words()


def test_what_is_not_there_is_a_page(ada_at: Browser) -> None:
    page = ada_at.get("/nowhere")
    assert page.status == 404
    assert page.title


def test_a_route_without_a_permission_is_closed(fresh_app: Flask, ada: Person) -> None:
    fresh_app.add_url_rule("/left-open", "left-open", lambda: "secret")
    browser = Browser(fresh_app)
    browser.sign_in(ada.email, PASSWORD)
    assert browser.get("/left-open").status == 403


def test_a_crash_is_a_page_with_a_number_and_no_traceback(fresh_app: Flask) -> None:
    def broken() -> str:
        raise RuntimeError("hunter2")

    fresh_app.add_url_rule("/broken", "broken", web.public(broken))
    page = Browser(fresh_app).get("/broken")
    assert page.status == 500
    assert "hunter2" not in page.text
    assert "req-" in page.text


def test_a_crash_under_htmx_is_a_toast(fresh_app: Flask) -> None:
    fresh_app.add_url_rule("/broken", "broken", web.public(lambda: 1 / 0))
    page = Browser(fresh_app).get("/broken", htmx=True)
    assert page.status == 500
    assert page.all("dialog", class_="toast")


def test_a_big_request_is_refused(browser: Browser, ada: Person) -> None:
    assert browser.post("/sign-in", {"email": "x" * 2_000_000}).status == 413


def test_ready_says_what_is_missing(browser: Browser) -> None:
    page = browser.get("/readyz")
    assert page.status == 503
    assert '"runner":"silent"' in page.text.replace(" ", "")


def test_the_overview_says_that_the_queue_is_away(ada_at: Browser) -> None:
    url = queue.connection().connection_pool.connection_kwargs["path"]
    queue.open_queue("unix:///nowhere/queue.sock")
    page = ada_at.get("/accounts")
    assert page.status == 200
    assert "queue unreachable" in page.words()
    queue.open_queue(f"unix://{url}")


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=3, seconds=5), "3 min ago"),
        (timedelta(hours=5, seconds=5), "5 h ago"),
    ],
)
def test_times_are_said_as_people_say_them(back: timedelta, words: str) -> None:
    assert shown.ago(datetime.now(UTC) - back) == words


def test_a_time_long_ago_is_a_date() -> None:
    assert shown.ago(datetime(2020, 11, 2, tzinfo=UTC)) == "2 Nov 2020"


@pytest.mark.parametrize(("value", "words"), [(812, "812 B"), (1_234_567, "1.2 MB"), (150_000, "150 KB")])
def test_sizes_are_short(value: int, words: str) -> None:
    assert shown.size(value) == words


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\nb"])
def test_only_paths_of_this_console_are_local(address: str) -> None:
    assert not web.is_local(address)


@both_databases
@pytest.mark.parametrize("number", [2**31, 2**63, 10**20])
@pytest.mark.parametrize("path", ["/accounts/{}", "/accounts/{}/settings", "/mailbox/{}", "/providers/{}/delete"])
def test_the_id_of_no_row_is_an_address_that_does_not_exist(ada_at: Browser, path: str, number: int) -> None:
    assert ada_at.get(path.format(number)).status == 404


@both_databases
@pytest.mark.parametrize(
    "query", ["page=1" + 30 * "0", "page=-1", f"page={2**63 - 1}", f"provider={2**31}", f"provider={10**20}", "q=%00"]
)
def test_an_absurd_list_of_accounts_is_a_list(ada_at: Browser, query: str) -> None:
    with db.transaction() as session:
        an_account(session)
    page = ada_at.get(f"/accounts?{query}")
    assert page.status == 200
    assert "billing@example.net" in page.words(page.one("main"))


def test_a_search_for_very_many_words_is_answered(ada_at: Browser) -> None:
    assert ada_at.get("/accounts?q=" + "+".join(["a"] * 1900)).status == 200


@pytest.mark.parametrize("path", ["/accounts?q=billing", "/mailbox/{}", "/accounts/{}", "/providers"])
def test_htmx_may_ask_for_a_whole_page(ada_at: Browser, ada: Person, path: str) -> None:
    with db.transaction() as session:
        account = an_account(session)
        give(session, ada, account)
    page = ada_at.get(path.format(account.id), htmx=True)
    assert page.status == 200
    assert "Ada Lindqvist" in page.words()


def test_htmx_is_sent_to_addresses_that_a_header_cannot_hold(browser: Browser, ada: Person) -> None:
    fields = {"email": ada.email, "password": PASSWORD}
    page = browser.post("/sign-in?next=/accounts%3Fq%3D%E2%82%AC", fields, htmx=True)
    assert page.headers["HX-Redirect"] == "/accounts?q=%E2%82%AC"


@pytest.mark.parametrize("error", [StaleDataError("x"), ObjectDeletedError])
def test_what_somebody_else_deleted_meanwhile_is_no_crash(fresh_app: Flask, error: type[Exception] | Exception) -> None:
    def gone() -> str:
        raise error if isinstance(error, StaleDataError) else ObjectDeletedError(instance_state(Person()))

    fresh_app.add_url_rule("/gone", "gone", web.public(gone))
    page = Browser(fresh_app).get("/gone")
    assert page.status == 409
    assert "deleted this a moment ago" in page.words()


def test_a_path_forges_no_line_in_the_log(fresh_app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    fresh_app.add_url_rule("/broken/<path:x>", "broken", web.public(lambda x: 1 / 0))
    Browser(fresh_app).get("/broken/a%0AERROR%20forged")
    assert "\nERROR forged" not in caplog.text


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_locked_database_is_a_page_and_nothing_is_saved(ada_at: Browser, booted: Settings) -> None:
    impatient = db.Database(booted.database_url, busy_seconds=0.1, info=db.database().session().info)
    db.session.remove()
    db.open_database(impatient)
    writer = sqlite3.connect(booted.database_url.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    page = ada_at.post("/providers/new", {"name": "Harbour Mail", "login_format": "address"})
    writer.rollback()
    assert page.status == 503
    assert "not ready" in page.words()
    assert ada_at.get("/providers").status == 200
