"""The list of accounts as a page: its address holds all of it, rows lead on, and ticked accounts are acted on."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from mailadmin import db, queue
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, Kind
from mailadmin.accounts.service import Login
from mailadmin.activity.models import Activity
from mailadmin.connections.models import Check
from mailadmin.console.account_search import Wanted
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.sync.models import SyncRun
from tests.accounts.factories import a_provider, an_account
from tests.console.factories import a_healthy, a_troubled
from tests.console.test_overview import statements
from tests.pages import HTML, Browser, Page


def shown(page: Page) -> list[str]:
    """The addresses in the rows, in order."""
    return [page.words(row.find(f".//{HTML}a")) for row in page.all("tr") if row.get("id")]


def tabs(page: Page) -> dict[str, str]:
    """Word and number of each tab, by its address."""
    return {a.get("href", ""): page.words(a) for a in page.one("nav", class_="tabs").iter(f"{HTML}a")}


def ids(number: int, **wanted: object) -> list[int]:
    """So many healthy accounts, a0, a1, ..."""
    with db.transaction() as session:
        return [a_healthy(session, f"a{n}@example.net", **wanted).id for n in range(number)]


def healths() -> list[Health]:
    with db.reading() as session:
        return list(session.scalars(select(Account.health).order_by(Account.address)))


def done(browser: Browser, deed: str, ticked: Sequence[int], query: str = "") -> Page:
    """Press a button under the list, and look at the page that comes."""
    return browser.post(f"/accounts/bulk{query}", {"do": deed, "account": ticked}, follow=True)


def test_a_list_without_accounts_offers_the_first(ada_at: Browser) -> None:
    page = ada_at.get("/accounts")
    assert "No accounts yet" in page.words()
    assert page.one("a", class_="primary").get("href") == "/accounts/new"
    assert page.all("table") == page.all("form", role="search") == []


def test_tabs_count_with_the_search_and_the_filters_and_keep_them(ada_at: Browser) -> None:
    with db.transaction() as session:
        provider = a_provider(session)
        a_healthy(session, "sales@example.net", provider_id=provider.id)
        accounts.pause(session, a_healthy(session, "old-sales@example.net", provider_id=provider.id), actor=SYSTEM)
        a_troubled(session, "sales@example.org")
    page = ada_at.get(f"/accounts?q=sales&provider={provider.id}&sort=-name")
    assert shown(page) == ["sales@example.net", "old-sales@example.net"]
    kept = f"q=sales&provider={provider.id}&sort=-name"
    assert tabs(page) == {
        f"/accounts?{kept}": "All2",
        f"/accounts?{kept.replace('&', '&state=attention&', 1)}": "Need attention0",
        f"/accounts?{kept.replace('&', '&state=connected&', 1)}": "Connected1",
        f"/accounts?{kept.replace('&', '&state=paused&', 1)}": "Paused1",
        f"/accounts?{kept.replace('&', '&state=unfinished&', 1)}": "Unfinished0",
    }
    assert (page.value("q"), page.value("provider"), page.value("sort")) == ("sales", str(provider.id), "-name")
    assert page.one("form", action=f"/providers/{provider.id}/test") is not None


def test_heads_sort_both_ways_and_say_which_way(ada_at: Browser) -> None:
    ids(2)
    page = ada_at.get("/accounts?state=connected")
    head = page.one("th", aria_sort="ascending")
    assert [a.get("href") for a in head.iter(f"{HTML}a")] == [
        "/accounts?state=connected&sort=-address",
        "/accounts?state=connected&sort=name",
    ]
    page = ada_at.get("/accounts?sort=-address")
    assert shown(page) == ["a1@example.net", "a0@example.net"]
    assert next(page.one("th", aria_sort="descending").iter(f"{HTML}a")).get("href") == "/accounts"
    assert page.value("sort") == "-address"


def test_the_pager_keeps_what_the_list_shows(ada_at: Browser) -> None:
    ids(51)
    page = ada_at.get("/accounts?q=example&sort=-address&page=9")
    assert shown(page) == ["a0@example.net"]
    assert page.one("a", rel="prev").get("href") == "/accounts?q=example&sort=-address"
    assert "51–51 of 51" in page.words(page.one("nav", class_="pager"))


@pytest.mark.parametrize(
    "query", ["health=x&provider=99&kind=x&method=x&team=abc&sort=x&state=x&page=x", "provider=-1&page=-1", "q=%00"]
)
def test_nonsense_in_the_address_counts_as_nothing(ada_at: Browser, query: str) -> None:
    ids(1)
    assert shown(ada_at.get(f"/accounts?{query}")) == ["a0@example.net"]


def test_a_search_without_result_is_named_with_the_ways_out(ada_at: Browser) -> None:
    with db.transaction() as session:
        provider = a_provider(session)
        a_healthy(session, "payroll@example.org")
    page = ada_at.get(f"/accounts?q=payroll&provider={provider.id}")
    results = page.words(page.one("div", id="results"))
    assert "No account matches “payroll” at Harbour Mail" in results
    assert "There is 1 with other filters: show it." in results
    assert page.one("a", href="/accounts?q=payroll") is not None
    clear = [a for a in page.all("a", href="/accounts") if "Clear" in page.words(a)]
    assert [page.words(a) for a in clear] == ["Clear search and filters"]
    assert "No account matches these filters" in ada_at.get("/accounts?kind=team").words()
    assert "No account is paused" in ada_at.get("/accounts?state=paused").words()


def test_htmx_is_told_the_short_address_once(ada_at: Browser) -> None:
    ids(1)
    page = ada_at.get("/accounts?q=a0&provider=&kind=&sort=", htmx=True)
    assert page.headers["HX-Push-Url"] == "/accounts?q=a0"
    assert "HX-Push-Url" not in ada_at.get("/accounts?q=a0&ticked=page", htmx=True).headers
    assert "HX-Push-Url" not in ada_at.get("/accounts?q=a0").headers


def test_a_row_tells_what_matters_and_leads_on(ada_at: Browser, wim: Person) -> None:
    with db.transaction() as session:
        provider = a_provider(session)
        provider.methods = "oauth,password"
        account = a_troubled(session, "wim@example.net", provider_id=provider.id)
        account.kind, account.owner_id, account.is_primary = Kind.PERSONAL, wim.id, True
        new = an_account(session, address="new@example.net", is_set_up=False, is_begun=True, login=Login("", None))
    page = ada_at.get("/accounts")
    row = page.one("tr", id=f"account-{account.id}")
    words = page.words(row)
    for said in ("Primary", "Harbour Mail", "Wim de Vries", "Password, legacy", "Password refused", "Never"):
        assert said in words
    assert "The server refused the password" in words
    links = [a.get("href") for a in row.iter(f"{HTML}a")]
    assert links == [
        f"/accounts/{account.id}",
        f"/accounts/{account.id}/settings",
        f"/accounts/new?copy={account.id}",
        f"/accounts/{account.id}/delete",
    ]
    unfinished = page.one("tr", id=f"account-{new.id}")
    assert next(unfinished.iter(f"{HTML}a")).get("href") == f"/accounts/{new.id}/set-up"
    assert [b.get("formaction") for b in unfinished.iter(f"{HTML}button") if b.get("form")] == []


def test_a_long_list_costs_as_many_queries_as_a_short_one(ada_at: Browser) -> None:
    with db.transaction() as session:
        provider_id = a_provider(session).id
    ids(1, provider_id=provider_id)
    ada_at.get("/accounts")
    with statements() as few:
        ada_at.get("/accounts")
    with db.transaction() as session:
        for n in range(49):
            a_troubled(session, f"b{n}@example.net", provider_id=provider_id if n % 2 else None)
    with statements() as many:
        page = ada_at.get("/accounts")
    assert len(shown(page)) == 50
    assert len(many) == len(few) <= 17
    assert [said for said in many if "account.notes" in said or "provider_certificate" in said] == []


def test_the_frame_counts_all_accounts_once_whatever_the_list_leaves_out(ada_at: Browser) -> None:
    ids(2)
    for query in ("", "?state=paused", "?q=a0", "?kind=team"):
        with statements() as asked:
            page = ada_at.get(f"/accounts{query}")
        counted = [page.words(a) for a in page.all("a", href="/accounts") if "Accounts" in page.words(a)]
        assert counted == ["Accounts2"], query
        assert sum("GROUP BY account.health" in said for said in asked) == 1, query


def test_ticked_accounts_are_paused_and_go_on_and_the_list_stays_as_it_was(ada_at: Browser) -> None:
    ticked = ids(3)
    page = done(ada_at, "pause", ticked[:2], "?q=example&sort=-address")
    assert "2 accounts are paused." in page.words()
    assert shown(page) == ["a2@example.net", "a1@example.net", "a0@example.net"]
    assert healths() == [Health.PAUSED, Health.PAUSED, Health.HEALTHY]
    page = done(ada_at, "pause", ticked)
    assert "a2@example.net is paused. Nothing is synced until you resume it. 2 were paused already" in page.words()
    assert "3 accounts go on." in done(ada_at, "resume", ticked).words()
    assert healths() == [Health.HEALTHY] * 3
    with db.reading() as session:
        assert len(session.scalars(select(SyncRun)).all()) == 3
        assert len(session.scalars(select(Activity).where(Activity.what.startswith("paused"))).all()) == 3


def test_ticked_accounts_are_synced_and_tested_but_for_those_that_cannot_be(ada_at: Browser) -> None:
    ticked = ids(2)
    with db.transaction() as session:
        begun = an_account(session, address="new@example.net", is_set_up=False, is_begun=True, login=Login("", None))
    page = done(ada_at, "sync", [*ticked, begun.id])
    assert "The sync of 2 accounts was asked for. 1 is paused or unfinished." in page.words()
    assert "2 accounts are being tested" in ada_at.post("/accounts/test", follow=True).words()
    page = done(ada_at, "test", [*ticked, begun.id])
    assert "2 accounts are being tested. 1 has no server or no password yet." in page.words()
    with db.reading() as session:
        assert len(session.scalars(select(SyncRun)).all()) == len(session.scalars(select(Check)).all()) == 2
    waiting = queue.waiting()
    assert waiting is not None
    assert (waiting[queue.Line.SYNC], waiting[queue.Line.INTERACTIVE]) == (2, 2)


def test_a_queue_that_is_away_is_said_and_nothing_is_lost(ada_at: Browser) -> None:
    ticked = ids(2)
    queue.open_queue("unix:///nonexistent/queue.sock")
    page = done(ada_at, "sync", ticked)
    assert "The work starts by itself when it is back." in page.words()
    with db.reading() as session:
        assert len(session.scalars(select(SyncRun)).all()) == 2


def test_nothing_ticked_and_no_deed_do_nothing(ada_at: Browser) -> None:
    ticked = ids(1)
    assert "Tick the accounts first." in done(ada_at, "pause", []).words()
    for deed in ("nothing", "delete", ""):
        assert done(ada_at, deed, ticked).status == 200
    assert done(ada_at, "pause", [99_999]).status == 200
    assert healths() == [Health.HEALTHY]
    page = ada_at.post("/accounts/bulk?_scheme=https&_external=1&_anchor=x&q=a", {"do": "nothing"})
    assert page.location == "/accounts?q=a"


def test_deeds_need_the_token_and_an_administrator(browser: Browser, ada_at: Browser, wim: Person) -> None:
    ticked = ids(1)
    assert ada_at.post_without_token("/accounts/bulk", {"do": "pause", "account": ticked}).status == 400
    assert healths() == [Health.HEALTHY]


def test_all_of_a_page_can_be_ticked(ada_at: Browser) -> None:
    ids(2)
    page = ada_at.get("/accounts")
    assert [e.get("checked") for e in page.all("input", name="account")] == [None, None]
    assert page.one("input", id="tick-all").get("hx-get") == "/accounts?ticked=page"
    page = ada_at.get("/accounts?ticked=page", htmx=True)
    assert [e.get("checked") for e in page.all("input", name="account")] == ["", ""]
    assert page.one("input", id="tick-all").get("hx-get") == "/accounts"


def test_the_address_names_only_what_is_not_usual() -> None:
    wanted = Wanted(q="sales", state="paused", sort="-name", page=3)
    assert wanted.address() == {"q": "sales", "state": "paused", "sort": "-name", "page": 3}
    assert wanted.address(state="all") == {"q": "sales", "sort": "-name"}
    assert wanted.sorted_by("name").address() == {"q": "sales", "state": "paused", "sort": "name"}
    assert wanted.sorted_by("address").address() == {"q": "sales", "state": "paused"}
    assert Wanted().address() == {}
