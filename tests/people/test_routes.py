import dataclasses
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from mailadmin import db
from mailadmin.activity.models import Activity
from mailadmin.config import Settings
from mailadmin.factory import create_app
from mailadmin.people import service, sessions
from mailadmin.people.models import Person, SignIn
from tests.conftest import both_databases
from tests.factories import PASSWORD
from tests.pages import Browser

ADA = {"organisation": "Example Ltd", "name": "Ada Lindqvist", "email": "ada@example.com", "password": PASSWORD}


@pytest.fixture
def code(booted: Settings) -> str:
    with db.transaction() as session:
        return service.make_setup_link(session)


def test_without_an_administrator_every_door_leads_to_the_set_up(browser: Browser, code: str) -> None:
    page = browser.get("/", follow=True)
    assert page.title.startswith("First set-up")
    assert "mailadmin migrate" in page.words()


def test_the_link_fills_in_the_code(browser: Browser, code: str) -> None:
    page = browser.get(f"/setup?code={code}")
    assert page.value("code") == code
    assert page.error("code") == ""


def test_a_link_that_ran_out_says_where_a_new_one_comes_from(browser: Browser, booted: Settings) -> None:
    with db.transaction() as session:
        code = service.make_setup_link(session, hours=-1)
    page = browser.get(f"/setup?code={code}")
    assert "run out" in page.error("code")
    assert "mailadmin migrate" in page.error("code")


def test_everything_that_is_wrong_with_a_set_up_is_said_at_once(browser: Browser, code: str) -> None:
    page = browser.post("/setup", {**ADA, "code": "nonsense", "email": "ada@", "password": "short"})
    assert all(page.error(field) for field in ("code", "email", "password"))


@both_databases
def test_control_characters_do_no_harm(browser: Browser, code: str) -> None:
    page = browser.post("/setup", {**ADA, "code": code, "name": "Ada\0 Lindqvist", "organisation": "Example\x07 Ltd"})
    assert page.location == "/"
    assert browser.sign_in("ada\0@example.com\0", "wrong password").status == 422


def test_the_set_up_is_recorded(browser: Browser, code: str) -> None:
    browser.post("/setup", {**ADA, "code": code})
    with db.reading() as session:
        entry = session.scalars(select(Activity).where(Activity.what == "finished the first set-up")).one()
    assert (entry.person_name, entry.from_address) == ("Ada Lindqvist", "127.0.0.1")


def test_the_first_administrator_is_signed_in_at_once(browser: Browser, code: str) -> None:
    page = browser.post("/setup", {**ADA, "code": code}, follow=True)
    assert page.title.startswith("Overview")
    assert "Welcome, Ada Lindqvist" in page.words()
    assert browser.get(f"/setup?code={code}").status == 410


def test_a_wrong_set_up_keeps_what_was_typed_but_the_password(browser: Browser, code: str) -> None:
    page = browser.post("/setup", {**ADA, "code": "nonsense", "email": "ada@"})
    assert page.status == 422
    assert page.value("organisation") == "Example Ltd"
    assert not page.value("password")
    assert page.error("code")


def test_signing_in_and_out(browser: Browser, ada: Person) -> None:
    assert browser.sign_in(ada.email, PASSWORD).location == "/"
    assert browser.get("/").status == 200
    assert browser.post("/sign-out").location == "/sign-in"
    assert browser.get("/").status == 303


def test_a_wrong_password_says_so_and_keeps_the_address(browser: Browser, ada: Person) -> None:
    page = browser.sign_in(ada.email, "wrong password")
    assert page.status == 422
    assert "E-mail address or password is wrong" in page.words()
    assert page.value("email") == ada.email


def test_a_worker_signs_in_and_begins_where_mailboxes_will_be(browser: Browser, ada: Person, wim: Person) -> None:
    assert browser.sign_in(wim.email, PASSWORD).location == "/"
    page = browser.get("/", follow=True)
    assert "No mailbox yet" in page.words()
    assert browser.get("/accounts").status == 403


def test_a_revoked_session_ends_with_the_next_request(ada_at: Browser, ada: Person) -> None:
    with db.transaction() as session:
        sessions.end_all(session, ada)
    assert ada_at.get("/").location.startswith("/sign-in")


def test_each_sign_in_has_a_session_of_its_own_and_ends_the_one_before(browser: Browser, ada: Person) -> None:
    browser.sign_in(ada.email, PASSWORD)
    browser.sign_in(ada.email, PASSWORD)
    with db.reading() as session:
        assert [row.ended_at is None for row in session.scalars(select(SignIn).order_by(SignIn.id))] == [False, True]


@pytest.mark.parametrize("back", [{"seen_at": timedelta(minutes=61)}, {"started_at": timedelta(hours=13)}])
def test_an_idle_or_old_session_leads_to_sign_in(ada_at: Browser, back: dict[str, timedelta]) -> None:
    with db.transaction() as session:
        session.execute(update(SignIn).values({name: db.now() - ago for name, ago in back.items()}))
    assert ada_at.get("/").location.startswith("/sign-in")


def test_a_token_of_signing_out_is_worth_nothing_afterwards(ada_at: Browser, app: Flask) -> None:
    stolen = ada_at._client.get_cookie("session")
    assert stolen
    ada_at.post("/sign-out")
    thief = app.test_client()
    thief.set_cookie("session", stolen.value)
    assert thief.get("/").status_code == 303


def test_the_cookie_of_the_sign_in_page_is_not_kept(browser: Browser, ada: Person) -> None:
    browser.get("/sign-in")
    with browser._client.session_transaction() as cookie:
        cookie["planted"] = "by somebody else"
    browser.sign_in(ada.email, PASSWORD)
    with browser._client.session_transaction() as cookie:
        assert "planted" not in cookie


@pytest.mark.parametrize("path", ["/setup", "/sign-in", "/sign-out", "/preferences/theme"])
def test_a_form_of_another_site_is_refused(browser: Browser, path: str) -> None:
    assert browser.post_without_token(path, {"theme": "dark"}).status == 400


@pytest.mark.parametrize("path", ["/", "/accounts", "/providers"])
def test_the_console_is_closed_to_strangers(browser: Browser, ada: Person, path: str) -> None:
    assert browser.get(path).location.startswith("/sign-in")
    assert browser.get(path, htmx=True).headers["HX-Redirect"] == "/sign-in"


def test_too_many_tries_have_to_wait(browser: Browser, ada: Person) -> None:
    tries = [browser.sign_in(ada.email, "wrong password") for _ in range(6)]
    assert [page.status for page in tries] == [422] * 5 + [429]
    assert "Wait a minute" in tries[-1].words()
    assert tries[-1].value("email") == ada.email


@pytest.mark.parametrize("email", ["ada\x01@example.com", "ADA@EXAMPLE\u3002com", " ada@example.com"])
def test_other_spellings_of_an_address_give_no_more_tries(browser: Browser, ada: Person, email: str) -> None:
    for _ in range(5):
        browser.sign_in(ada.email, "wrong password")
    assert browser.sign_in(email, PASSWORD).status == 429


def test_tries_from_one_network_address_have_to_wait_too(browser: Browser, ada: Person) -> None:
    tries = [browser.sign_in(f"ada{n}@example.com", "wrong password") for n in range(21)]
    assert [page.status for page in tries] == [422] * 20 + [429]
    assert 50 <= int(tries[-1].headers["Retry-After"]) <= 60


def test_too_many_set_ups_keep_what_was_typed(browser: Browser, code: str) -> None:
    tries = [browser.post("/setup", {**ADA, "code": "nonsense"}) for _ in range(21)]
    assert tries[-1].status == 429
    assert tries[-1].value("organisation") == "Example Ltd"


def test_sign_in_works_and_is_limited_while_the_queue_server_is_away(booted: Settings, ada: Person) -> None:
    browser = Browser(create_app(dataclasses.replace(booted, redis_url="redis://127.0.0.1:1")))
    assert browser.sign_in(ada.email, PASSWORD).location == "/"
    tries = [browser.sign_in(ada.email, "wrong password") for _ in range(6)]
    assert tries[-1].status == 429


def test_sign_in_leads_back_to_where_one_wanted_to_go(browser: Browser, ada: Person) -> None:
    asked = browser.get("/accounts?q=sales").location
    assert browser.post(asked, {"email": ada.email, "password": PASSWORD}).location == "/accounts?q=sales"


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_sign_in_leads_to_no_other_site(browser: Browser, ada: Person, address: str) -> None:
    page = browser.post(f"/sign-in?next={address}", {"email": ada.email, "password": PASSWORD})
    assert page.location == "/"


def test_a_page_that_refreshes_itself_is_not_activity(ada_at: Browser) -> None:
    with db.transaction() as session:
        row = session.scalars(select(SignIn)).one()
        row.seen_at = before = row.seen_at - sessions.TOUCH * 5
    ada_at.get("/overview/fleet", htmx=True)
    with db.reading() as session:
        assert session.scalars(select(SignIn)).one().seen_at == before
    ada_at.get("/")
    with db.reading() as session:
        assert session.scalars(select(SignIn)).one().seen_at > before


def test_the_trail_names_known_people_and_no_passwords_typed_as_addresses(browser: Browser, ada: Person) -> None:
    browser.sign_in(ada.email, "wrong password")
    browser.sign_in("hunter2 hunter2", "x")
    browser.sign_in(ada.email, PASSWORD)
    with db.reading() as session:
        entries = [f"{e.person_name} {e.what}" for e in session.scalars(select(Activity).order_by(Activity.id))]
    assert entries[-3:] == [
        "Ada Lindqvist failed to sign in",
        "An unknown address failed to sign in",
        "Ada Lindqvist signed in",
    ]


def test_the_theme_is_remembered(ada_at: Browser) -> None:
    ada_at.post("/preferences/theme", {"theme": "dark"})
    assert ada_at.get("/").one("html").get("data-theme") == "dark"
    ada_at.post("/preferences/theme", {"theme": "<script>"})
    assert ada_at.get("/").one("html").get("data-theme") == "dark"


@pytest.mark.parametrize(
    ("referer", "where"),
    [
        ("http://localhost/accounts?q=a", "/accounts?q=a"),
        ("https://evil.example/accounts", "/"),
        ("http://localhost//evil.example", "/"),
        ("http://[", "/"),
    ],
)
def test_choosing_a_theme_leads_back_within_the_console(ada_at: Browser, referer: str, where: str) -> None:
    ada_at._client.environ_base["HTTP_REFERER"] = referer
    page = ada_at.post("/preferences/theme", {"theme": "light"})
    assert page.location == where
    assert "Max-Age=31536000" in page.headers["Set-Cookie"]


def test_a_page_is_shown_although_nobody_can_write(
    ada_at: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with db.transaction() as session:
        session.execute(update(SignIn).values(seen_at=db.now() - sessions.TOUCH * 5))
    with db.database().engine.connect() as writer:
        writer.exec_driver_sql("UPDATE sign_in SET browser = 'slow'")
        monkeypatch.setattr(db, "transaction", db.Database(str(writer.engine.url), busy_seconds=0.1).transaction)
        assert ada_at.get("/").status == 200
    assert "could not be touched" in caplog.text


def test_over_https_the_cookie_is_bound_to_this_host(booted: Settings, ada: Person) -> None:
    app = create_app(dataclasses.replace(booted, secure_cookies=True))
    answer = app.test_client().get("/sign-in", base_url="https://localhost")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


def test_the_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites(browser: Browser, ada: Person) -> None:
    cookie = browser.sign_in(ada.email, PASSWORD).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_nothing_is_signed_out_by_a_link(ada_at: Browser) -> None:
    assert ada_at.get("/sign-out").status == 405
