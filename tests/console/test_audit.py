"""The audit log: found by words, kind and day, exported without formulas, never changed, swept away by age."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts import service as account_service
from mailadmin.activity import service
from mailadmin.activity.models import Activity
from mailadmin.activity.service import ActivityKind
from mailadmin.console.times import day_and_time
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, Actor
from tests.accounts import factories as accounts
from tests.conftest import both_databases
from tests.factories import PASSWORD
from tests.pages import Browser, Page

MEI = Actor("Mei Tanaka", 77, "198.51.100.24")


def note(what: str, *, actor: Actor = MEI, at: datetime | None = None, **values: object) -> None:
    with db.transaction() as session:
        service.record(session, actor, what, **values)  # type: ignore[arg-type]
        session.flush()
        if at is not None:
            newest = select(func.max(Activity.id)).scalar_subquery()
            session.execute(Activity.__table__.update().where(Activity.id == newest).values(at=at))  # type: ignore[attr-defined]


def told(page: Page) -> list[str]:
    return [page.words(row.findall("./")[2]) for row in page.all("tr")[1:]]


@both_databases
def test_entries_are_found_by_words_kind_and_day(ada_at: Browser) -> None:
    note("opened the north door", detail="Slot 3", kind=ActivityKind.PROVIDERS)
    note("opened the south door", actor=SYSTEM, at=datetime(2026, 3, 2, 23, 59, tzinfo=UTC), kind=ActivityKind.ACCESS)
    assert told(ada_at.get("/audit"))[:2] == ["opened the south door", "opened the north doorSlot 3"]
    assert told(ada_at.get("/audit?q=MEI+door")) == ["opened the north doorSlot 3"]
    assert told(ada_at.get("/audit?q=198.51")) == ["opened the north doorSlot 3"]
    assert told(ada_at.get("/audit?kind=access")) == ["opened the south door"]
    assert told(ada_at.get("/audit?first=2026-03-02&last=2026-03-02")) == ["opened the south door"]
    assert "opened the south door" not in told(ada_at.get("/audit?first=2026-03-03"))
    assert "Nothing like that was recorded" in ada_at.get("/audit?q=nix").words()
    assert told(ada_at.get("/audit?first=nonsense&kind=nonsense&page=99"))[-1] == "added Ada Lindqvist as administrator"


def test_an_entry_leads_to_its_account_while_that_is_there(ada_at: Browser) -> None:
    with db.transaction() as session:
        account = accounts.an_account(session)
    note(f"paused {account.address} for lunch", account_id=account.id)
    page = ada_at.get("/audit?q=lunch")
    assert page.words(page.one("a", href=f"/accounts/{account.id}")) == account.address
    assert told(page) == [f"paused {account.address} for lunch"]
    note("paused somebody for dinner", account_id=account.id + 7)
    assert not ada_at.get("/audit?q=dinner").all("a", href=f"/accounts/{account.id + 7}")


def test_sign_ins_and_refused_ones_are_among_them(browser: Browser, ada: Person) -> None:
    browser.post("/sign-in", {"email": ada.email, "password": "wrong lamp of the desk"})
    browser.sign_in(ada.email, PASSWORD)
    assert told(browser.get("/audit?kind=sign-ins")) == ["signed in", "failed to sign in"]


@both_databases
def test_the_file_holds_all_that_is_shown_and_no_formula(ada_at: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailadmin.console.audit.BATCH", 2)
    for n in range(5):
        note(f"=SUM({n})", detail="+49 30", actor=Actor("@Mei"))
    answer = ada_at.get("/audit.csv?q=sum")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["what"] for row in rows] == [f"'=SUM({n})" for n in (4, 3, 2, 1, 0)]
    assert {row["who"] for row in rows} == {"'@Mei"}
    assert {row["detail"] for row in rows} == {"'+49 30"}
    assert answer.headers["Content-Disposition"] == "attachment; filename=audit-log.csv"


def test_what_changed_is_told_with_both_values_and_without_secrets() -> None:
    old = {"name": "Sales", "server": Server(ServerProtocol.IMAP, "a.example", 993, TLSMode.IMPLICIT), "team": (1, 2)}
    new = {"name": "", "server": Server(ServerProtocol.IMAP, "b.example", 993, TLSMode.IMPLICIT), "team": (1, 3)}
    assert service.difference(old, new, also={"password"}) == (
        "name: “Sales” to nothing; password;"
        " server: “imap:a.example:993:implicit” to “imap:b.example:993:implicit”; team"
    )
    assert service.difference(old, old) == ""


def test_nothing_changes_or_deletes_an_entry(ada: Person) -> None:
    note("opened the north door")
    for spoil in (lambda row, _: setattr(row, "what", "nothing"), lambda row, session: session.delete(row)):
        with pytest.raises(RuntimeError, match="audit trail"), db.transaction() as session:
            spoil(session.scalars(select(Activity).where(Activity.what == "opened the north door")).one(), session)


@both_databases
def test_old_entries_go_after_the_time_that_is_set(ada_at: Browser) -> None:
    note("opened the north door", at=db.now() - timedelta(days=200))
    with db.transaction() as session:
        service.forget_old(session, months=12)
    assert told(ada_at.get("/audit?q=north")) == ["opened the north door"]
    assert (
        "The settings are saved."
        in ada_at.post(
            "/settings", {"name": "Example Ltd", "uses_mail": "y", "activity_months": "6"}, follow=True
        ).words()
    )
    assert told(ada_at.get("/audit?q=how+long")) == ["changed how long the audit log is kept24 to 6 months"]
    with db.transaction() as session:
        service.forget_old(session, months=6)
    assert not ada_at.get("/audit?q=north").all("table")


def test_days_are_told_as_people_say_them() -> None:
    noon = db.now().replace(hour=12, minute=5)
    assert day_and_time(noon) == "Today, 12:05"
    assert day_and_time(noon - timedelta(days=1)) == "Yesterday, 12:05"
    assert day_and_time(datetime(2001, 11, 2, 8, 2, tzinfo=UTC)) == "2 Nov 2001, 08:02"


def test_a_change_of_an_account_is_told_with_its_values(ada_at: Browser) -> None:
    with db.transaction() as session:
        account = accounts.an_account(session, name="Sales")
        account_service.pause(session, account, actor=MEI)
    assert told(ada_at.get("/audit?kind=accounts"))[0].startswith("paused")


@both_databases
def test_a_search_is_paged_also_beyond_what_is_counted(ada_at: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("audit.PAGE", 2), ("paging.PAGE", 2), ("audit.COUNTED", 4)):
        monkeypatch.setattr(f"mailadmin.console.{name}", value)
    for n in range(7):
        note(f"moved lamp {n}")
    page = ada_at.get("/audit?q=lamp")
    assert told(page) == ["moved lamp 6", "moved lamp 5"]
    assert "1–2 of 4" in page.words()
    assert "More than 4 entries match" in page.words()
    assert ada_at.get("/audit?q=lamp&page=2").one("a", rel="next").get("href") == "/audit?q=lamp&page=3"
    assert told(ada_at.get("/audit?q=lamp&page=3")) == ["moved lamp 2", "moved lamp 1"]
    last = ada_at.get("/audit?q=lamp&page=99")
    assert told(last) == ["moved lamp 0"]
    assert "7–7 of 7" in last.words()
    assert "More than" not in last.words()


@both_databases
def test_the_last_page_holds_the_first_entries(ada_at: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("audit.PAGE", "paging.PAGE"):
        monkeypatch.setattr(f"mailadmin.console.{name}", 2)
    for n in range(5):
        note(f"moved lamp {n}", at=datetime(2026, 3, 2, 10, n, tzinfo=UTC), kind=ActivityKind.ACCESS)
    for query in ("kind=access", "first=2026-03-02&last=2026-03-02", "kind=access&first=2026-03-01"):
        pages = [told(ada_at.get(f"/audit?{query}&page={n}")) for n in (1, 2, 3)]
        assert pages == [[f"moved lamp {n}" for n in place] for place in ((4, 3), (2, 1), (0,))]
        assert told(ada_at.get(f"/audit?{query}&page=77")) == ["moved lamp 0"]
