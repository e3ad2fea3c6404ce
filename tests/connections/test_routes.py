"""The page of a connection test, before, while and after it runs."""

import pytest

from mailadmin import db, queue
from mailadmin.accounts.models import Account
from mailadmin.connections import service
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from tests.connections.conftest import Servers
from tests.connections.factories import a_check, after_test, an_account, begin_with, change_password, moved
from tests.pages import Browser

NOWHERE = Server(ServerProtocol.IMAP, "127.0.0.1", 993, TLSMode.IMPLICIT)


@pytest.fixture
def account(ada_at: Browser) -> Account:
    return an_account(NOWHERE)


def page_of(account: Account) -> str:
    return f"/accounts/{account.id}/connection"


def set_up(account: Account) -> None:
    with db.transaction() as session:
        found = session.get(Account, account.id)
        assert found
        found.is_set_up = True


def long_ago(check: Check) -> None:
    with db.transaction() as session:
        service.get(session, check.id).requested_at = check.requested_at.replace(year=2020)


def test_an_account_that_was_never_tested_offers_the_test(ada_at: Browser, account: Account) -> None:
    page = ada_at.get(page_of(account))
    assert "Test the connection" in page.words(page.one("main"))
    assert page.one("section", id=f"check-{account.id}").get("hx-trigger") is None


def test_the_button_asks_for_a_test_and_rings(ada_at: Browser, account: Account) -> None:
    page = ada_at.post(page_of(account))
    assert (page.status, page.location) == (303, page_of(account))
    with db.reading() as session:
        found = service.latest(session, account.id)
        assert found
        assert found.requested_by == "Ada Lindqvist"
    assert queue.waiting() == {**dict.fromkeys(queue.Line, 0), queue.Line.INTERACTIVE: 1}


def test_two_clicks_ask_for_one_test(ada_at: Browser, account: Account) -> None:
    ada_at.post(page_of(account))
    ada_at.post(page_of(account))
    with db.reading() as session:
        assert len(session.query(Check).all()) == 1


def test_a_running_test_polls_itself_and_refreshes_without_javascript(ada_at: Browser, account: Account) -> None:
    a_check(account)
    page = ada_at.get(page_of(account))
    section = page.one("section", id=f"check-{account.id}")
    assert (section.get("hx-get"), section.get("hx-trigger")) == (f"{page_of(account)}/check", "every 1s")
    assert "Testing the connection" in page.words(section)
    assert len(page.all("li")) >= 6
    assert page.one("meta", http_equiv="refresh").get("content") == f"2; url={page_of(account)}/check"


def test_the_polled_piece_shows_the_stages_so_far(ada_at: Browser, account: Account) -> None:
    check = a_check(account)
    with db.transaction() as session:
        service.claim_due(session)
        service.get(session, check.id).stages = [
            {"direction": "incoming", "name": "dns", "outcome": "passed", "ms": 12.4, "detail": "192.0.2.25"},
            {"direction": "incoming", "name": "tcp", "outcome": "running", "ms": 0, "detail": ""},
        ]
    page = ada_at.get(f"{page_of(account)}/check", htmx=True)
    assert "127.0.0.1 is 192.0.2.25" in page.words()
    assert "12 ms" in page.words()
    assert page.words(page.one("p", role="status")) == "Step 2 of 6 is running: Reach port 993."
    assert page.words(page.one("li", aria_current="step")).startswith("Running Reach port 993")


def test_a_finished_test_stops_polling_and_goes_on_to_the_folders(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing)
    after_test(account)
    page = ada_at.get(f"{page_of(account)}/check", htmx=True)
    section = page.one("section", id=f"check-{account.id}")
    assert section.get("hx-get") is section.get("hx-trigger") is None
    assert "The connection works" in page.words(section)
    assert "11 of 11 steps passed" in page.words(section)
    assert f"/accounts/{account.id}/folders" in [link.get("href") for link in page.all("a")]


def test_without_javascript_the_refresh_ends_at_the_page(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap)
    a_check(account)
    assert "Testing the connection" in ada_at.get(f"{page_of(account)}/check").text
    drain_checks()
    assert ada_at.get(f"{page_of(account)}/check").location == page_of(account)


def test_a_refused_password_is_explained_inside_its_step(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing, password="wrong")
    after_test(account)
    page = ada_at.get(page_of(account))
    failed = next(li for li in page.all("li") if li.get("data-tone") == "bad")
    assert "The server refused" in page.words(failed)
    assert "AUTHENTICATIONFAILED" in page.words(page.one("samp", class_="said"))
    assert page.words(page.one("h2", id="check-title")) == "Signing in did not work"
    assert "Skipped, because signing in failed" in page.words()
    assert "Skipped, because it uses the same password" in page.words()
    assert f"/accounts/{account.id}/method" in [link.get("href") for link in page.all("a", class_="primary")]


def test_two_failures_are_explained_each_in_its_step(ada_at: Browser, servers: Servers) -> None:
    imap, smtp = (moved(s, tls_mode=TLSMode.STARTTLS) for s in (servers.imap, servers.outgoing))
    begin_with(check_seconds=2.0)
    account = an_account(imap, smtp)
    after_test(account)
    assert len(ada_at.get(page_of(account)).all("div", class_="diagnosis")) == 2


def test_a_diagnosis_without_a_stage_stands_on_its_own(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap)
    with db.transaction() as session:
        found = session.get(Account, account.id)
        assert found
        found.servers.clear()
    after_test(account)
    page = ada_at.get(page_of(account))
    assert page.words(page.one("h2", id="check-title")) == "A setting has to be changed first"
    assert len(page.all("div", class_="diagnosis")) == 1


def test_a_test_that_nobody_takes_says_so(ada_at: Browser, account: Account) -> None:
    long_ago(a_check(account))
    assert "No runner has taken this test yet" in ada_at.get(page_of(account)).text


def test_an_unreachable_queue_is_named_and_nothing_is_lost(ada_at: Browser, account: Account) -> None:
    queue.open_queue("unix:///nowhere/v.sock")
    page = ada_at.post(page_of(account), follow=True)
    assert "The queue cannot be reached. The test starts by itself when it is back." in page.words()
    with db.reading() as session:
        check = service.latest(session, account.id)
        assert check
    long_ago(check)
    assert "Nothing is lost" in ada_at.get(f"{page_of(account)}/check", htmx=True).words()


def test_changed_settings_make_an_old_test_worth_repeating(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing)
    after_test(account)
    change_password(account, "another one")
    page = ada_at.get(page_of(account))
    assert "The settings have changed since this test" in page.words()
    assert f"/accounts/{account.id}/folders" not in [link.get("href") for link in page.all("a", class_="primary")]


def test_an_account_that_is_set_up_has_tabs_instead_of_steps(ada_at: Browser, account: Account) -> None:
    assert "Step 4 of 6" in ada_at.get(page_of(account)).words()
    set_up(account)
    page = ada_at.get(page_of(account))
    assert page.all("nav", aria_label="Account")
    assert not page.all("ol", class_="steps")


def test_what_a_server_says_is_text_and_nothing_else(ada_at: Browser, account: Account) -> None:
    check = a_check(account)
    with db.transaction() as session:
        found = service.get(session, check.id)
        found.finished_at, found.seconds = db.now(), 0.1
        found.diagnosis = {
            "rule": "x",
            "title": "T",
            "cause": "C",
            "action": ["A."],
            "server_text": "<script>alert(1)</script>",
            "direction": "incoming",
            "category": "auth",
            "also": None,
        }
    page = ada_at.get(page_of(account))
    assert "<script>alert(1)" not in page.text
    assert "<script>alert(1)</script>" in page.words()


def test_a_worker_may_not_look(browser: Browser, account: Account, wim: object) -> None:
    browser.post("/sign-out")
    browser.sign_in("wim@example.com", "lamp desk harbour 7")
    assert browser.get(page_of(account)).status in (303, 403)


def test_an_account_that_is_not_there_is_not_found(ada_at: Browser) -> None:
    assert ada_at.get("/accounts/999999/connection").status == 404
