"""The overview as a page: its head, what it shows in each state, and what it costs."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event

from mailadmin import db, queue
from mailadmin.accounts import service as accounts
from mailadmin.mail.errors import Category
from mailadmin.permissions import SYSTEM
from tests.accounts.factories import a_provider, an_account, imap
from tests.connections.factories import after_test
from tests.console.factories import OUT, a_failed_check, a_healthy, a_runner, a_troubled, an_ended_run
from tests.pages import HTML, Browser, Page
from tests.ports import free_port

SVG = "{http://www.w3.org/2000/svg}"


def overview(browser: Browser) -> Page:
    page = browser.get("/")
    assert page.status == 200
    return page


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is said to the database meanwhile."""
    said: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    engine = db.database().engine
    event.listen(engine, "before_cursor_execute", hear)
    yield said
    event.remove(engine, "before_cursor_execute", hear)


def test_a_new_installation_is_shown_its_first_steps(ada_at: Browser) -> None:
    page = overview(ada_at)
    assert page.words(page.one("p", class_="lede")) == "One step and the first mailbox is in."
    assert page.one("a", class_="primary").get("href") == "/accounts/new"
    assert page.all("a", href="/providers/new")
    with db.transaction() as session:
        a_provider(session)
    assert overview(ada_at).all("a", href="/providers")


def test_accounts_that_are_all_unfinished_are_not_called_well(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_runner(session)
        an_account(session, is_set_up=False)
    page = overview(ada_at)
    assert page.words(page.one("p", class_="lede")) == "1 account. None of them is set up yet."
    fixing = page.one("section", aria_labelledby="fix-h")
    assert "No account is set up yet" in page.words(fixing)
    assert page.one("a", href="/accounts?state=unfinished", class_="btn") is not None


def test_the_head_counts_accounts_providers_and_trouble(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_provider(session)
        a_runner(session)
        a_healthy(session, "a@example.net")
        a_troubled(session, "b@example.net")
    page = overview(ada_at)
    assert page.words(page.one("p", class_="lede")) == "2 accounts at 1 provider. 1 of them needs attention."
    form = page.one("form", action="/accounts/test")
    assert (form.get("method"), page.words(form)) == ("post", "Test all accounts")


def test_nothing_to_mend_is_said(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_runner(session)
        a_healthy(session, "a@example.net")
        a_healthy(session, "b@example.net")
    page = overview(ada_at)
    assert page.words(page.one("p", class_="lede")) == "2 accounts. None of them needs attention."
    assert "No account needs attention" in page.words(page.one("section", aria_labelledby="fix-h"))
    assert page.all("div", role="alert") == []


def test_tallies_lead_to_the_tabs_of_the_list(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_healthy(session, "ok@example.net")
        a_healthy(session, "busy@example.net").running_since = db.now()
        a_troubled(session, "bad@example.net", direction=OUT)
        a_healthy(session, "poor@example.net").incomplete = "Sent: the server does not let us open this folder."
        accounts.pause(session, a_healthy(session, "paused@example.net"), actor=SYSTEM)
        an_account(session, address="new@example.net", is_set_up=False)
    page = ada_at.get("/overview/fleet", htmx=True)
    tallies = {link.get("href"): page.words(link) for link in page.all("a", class_="tally")}
    assert tallies == {
        "/accounts?state=connected": "1Connected",
        "/accounts?state=syncing": "1Syncing",
        "/accounts?state=attention": "1Need attention",
        "/accounts?state=partial": "1Not complete",
        "/accounts?state=paused": "1Paused",
        "/accounts?state=unfinished": "1Unfinished",
    }
    widths = [float(rect.get("width", 0)) for rect in page.root.iter(f"{SVG}rect")]
    assert widths == [210.3, 210.3, 210.3, 210.3, 210.3, 213.3]
    assert page.one("section", id="fleet").get("hx-trigger") == "every 30s"


def test_a_cause_leads_to_the_account_and_to_what_mends_it(ada_at: Browser) -> None:
    with db.transaction() as session:
        refused = a_troubled(session, "refused@example.net", hours=3)
        away = a_troubled(session, "away@example.net", Category.TIMEOUT, "No answer")
        slow = a_troubled(session, "slow@example.net", Category.THROTTLED, "Too often", permanent=False)
    page = overview(ada_at)
    rows = page.one("ul", class_="fix-list").findall("{*}li")
    assert ["refused@" in page.words(row) for row in rows] == [True, False, False]
    assert "3 causes, worst first" in page.words()
    links = {link.get("href") for link in page.all("a")}
    assert {f"/accounts/{account.id}" for account in (refused, away, slow)} <= links
    assert f"/accounts/{refused.id}/settings" in links
    test_again = page.one("form", action=f"/accounts/{away.id}/connection")
    assert page.words(test_again) == "Test again"
    assert page.words(rows[2]).endswith("Goes on by itself")


def test_what_a_real_test_found_is_said_with_its_cause(ada_at: Browser) -> None:
    nowhere = imap("127.0.0.1", free_port())
    with db.transaction() as session:
        account = a_healthy(session, "a@example.net", incoming=nowhere)
    diagnosis = after_test(account).diagnosis
    assert diagnosis
    page = overview(ada_at)
    assert page.words(page.one("p", class_="why")) == f"{diagnosis['title']}. {diagnosis['cause']}"
    assert page.words(page.one("form", action=f"/accounts/{account.id}/connection")) == "Test again"


def test_an_incident_leads_to_the_accounts_of_its_provider(ada_at: Browser) -> None:
    with db.transaction() as session:
        provider = a_provider(session)
        for n in range(3):
            a_troubled(session, f"u{n}@example.net", Category.TIMEOUT, "No answer", provider_id=provider.id)
    page = overview(ada_at)
    row = page.one("ul", class_="fix-list")
    assert page.words(row).startswith("Harbour MailUnreachable3 accounts, since")
    assert f"/accounts?state=attention&provider={provider.id}" in {link.get("href") for link in row.iter(f"{HTML}a")}
    assert page.words(page.one("form", action=f"/providers/{provider.id}/test")) == "Test again"


def test_what_a_server_said_is_escaped(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_troubled(session, "a@example.net", Category.POLICY, "<b>bold</b> & <script>alert(1)</script>")
    page = overview(ada_at)
    assert page.words(page.one("p", class_="why")) == "<b>bold</b> & <script>alert(1)</script>."


def test_more_than_twenty_causes_lead_to_the_list(ada_at: Browser) -> None:
    with db.transaction() as session:
        for n in range(23):
            a_troubled(session, f"u{n}@example.net")
    page = overview(ada_at)
    assert len(page.one("ul", class_="fix-list").findall("{*}li")) == 20
    assert "and 3 more" in [page.words(link) for link in page.all("a", href="/accounts?state=attention")]


def test_the_alarm_says_what_to_do_and_that_nothing_is_lost(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_runner(session, "office-3", seen=365)
        a_healthy(session, "late@example.net").next_sync_at = db.now() - timedelta(seconds=340)
    page = overview(ada_at)
    alarm = page.words(page.one("div", role="alert"))
    assert alarm.startswith("office-3 has been silent for 6 min ")
    assert "1 job has waited 5 min 40 s. Mail waits at the providers; nothing is lost." in alarm
    assert "heroku ps" in alarm
    assert "Background work has stopped." in page.words(page.one("p", class_="lede"))
    assert page.all("form", action="/accounts/test") == []
    assert "1 runner silent, queue empty" in page.words(page.one("a", class_="vitals"))


def test_late_work_with_all_runners_alive_says_how_to_get_more_done(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_runner(session)
        for n in range(2):
            a_healthy(session, f"late{n}@example.net").next_sync_at = db.now() - timedelta(seconds=340)
    page = overview(ada_at)
    alarm = page.words(page.one("div", role="alert"))
    assert alarm.startswith("Background work is behind 2 jobs wait; the longest has waited 5 min 40 s.")
    assert "heroku ps:scale runner=2" in alarm
    assert "Background work is behind." in page.words(page.one("p", class_="lede"))


def test_a_queue_that_is_away_is_said_with_what_to_start(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_runner(session)
    path = queue.connection().connection_pool.connection_kwargs["path"]
    queue.open_queue("unix:///nowhere/queue.sock")
    page = overview(ada_at)
    queue.open_queue(f"unix://{path}")
    alarm = page.words(page.one("div", role="alert"))
    assert alarm.startswith("The queue cannot be reached Tests and syncs do not begin. Mail waits at the providers")
    assert "systemctl status valkey" in alarm


def test_the_card_brings_the_alarm_only_where_the_page_shows_another(ada_at: Browser) -> None:
    page = ada_at.get("/overview/work", htmx=True)
    assert "No runner is at work" in page.words(page.one("hx-partial", hx_target="#alarm"))
    assert page.one("section", id="work").get("hx-get") == "/overview/work?alarm=no-runner"
    page = ada_at.get("/overview/work?alarm=no-runner", htmx=True)
    assert page.all("hx-partial") == []
    with db.transaction() as session:
        a_runner(session)
    page = ada_at.get("/overview/work?alarm=no-runner", htmx=True)
    assert page.words(page.one("hx-partial", hx_target="#alarm")) == ""
    assert page.one("section", id="work").get("hx-get") == "/overview/work"


def test_the_chart_has_a_title_in_words(ada_at: Browser) -> None:
    with db.transaction() as session:
        an_ended_run(session, a_healthy(session, "a@example.net"), ended=db.now(), new=1234)
    page = overview(ada_at)
    assert "1,234 messages in the last 24 hours" in page.words()
    assert len(list(page.one("figure").iter(f"{SVG}rect"))) == 1


def test_before_the_first_sync_the_chart_says_what_it_will_show(ada_at: Browser) -> None:
    with db.transaction() as session:
        a_healthy(session, "a@example.net")
    assert "No sync has ended in the last 24 hours" in overview(ada_at).words()


def test_a_worker_does_not_see_it(browser: Browser, wim: object) -> None:
    for path in ("/", "/overview/fleet", "/overview/work"):
        assert browser.get(path).status == 303


@pytest.mark.parametrize("path", ["/", "/overview/fleet", "/overview/work"])
def test_the_number_of_queries_does_not_grow_with_the_accounts(ada_at: Browser, path: str) -> None:
    def add(first: int, last: int) -> int:
        with db.transaction() as session:
            for n in range(first, last):
                a_failed_check(session, a_troubled(session, f"u{n}@example.net"), "auth-refused", "No.")
        with statements() as said:
            assert ada_at.get(path).status == 200
        return len(said)

    few = add(0, 5)
    assert add(5, 60) == few
    assert few <= 30
