"""The page with the settings of the company, the switch for its mail, and where others see that it is off."""

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.access.service import get_visible, visible_accounts
from mailadmin.accounts.models import Account
from mailadmin.activity.models import Activity
from mailadmin.errors import NotFound
from mailadmin.organisation import service
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, PersonRole
from tests.access.factories import give
from tests.conftest import both_databases
from tests.console.factories import a_healthy, a_runner
from tests.pages import Browser, Page

OFF = {"name": "Example Ltd", "free_mail_contacts": "y"}
ON = {**OFF, "uses_mail": "y"}
BANNER = "No account is synced, and workers see no mailboxes."


def uses_mail() -> bool:
    with db.reading() as session:
        return service.uses_mail(session)


def switch(*, on: bool) -> None:
    with db.transaction() as session:
        service.change(session, name="Example Ltd", uses_mail=on, actor=SYSTEM)


def an_account() -> int:
    with db.transaction() as session:
        a_runner(session)
        return a_healthy(session, "a@example.net").id


def notices(page: Page) -> list[str]:
    return [page.words(e) for e in page.all("div", class_="notice")]


@both_databases
def test_the_switch_is_changed_on_its_page_and_recorded(ada_at: Browser) -> None:
    page = ada_at.get("/settings")
    assert page.one("input", id="uses_mail").get("checked") is not None
    assert page.one("input", id="uses_mail").get("role") == "switch"
    assert "Nothing is lost" in page.words()
    assert "organisation" in page.words()
    assert "company" not in page.words().lower()  # One word for it on all screens.
    page = ada_at.post("/settings", OFF, follow=True)
    assert "Integrated e-mail is off." in page.words()
    assert page.one("input", id="uses_mail").get("checked") is None
    assert not uses_mail()
    assert "Integrated e-mail is on." in ada_at.post("/settings", ON, follow=True).words()
    assert uses_mail()
    assert "The settings are saved." in ada_at.post("/settings", ON, follow=True).words()
    with db.reading() as session:
        told = [(entry.person_name, entry.what) for entry in session.scalars(select(Activity).order_by(Activity.id))]
    assert [what for who, what in told if who == "Ada Lindqvist" and "e-mail" in what] == [
        "switched integrated e-mail off",
        "switched integrated e-mail on",
    ]


def test_workers_add_accounts_by_themselves_only_where_somebody_says_so(ada_at: Browser) -> None:
    page = ada_at.get("/settings")
    assert page.one("input", id="workers_add_accounts").get("checked") is None
    assert "Switched off, accounts that are there go on" in page.words()
    ada_at.post("/settings", {**ON, "workers_add_accounts": "y"})
    assert ada_at.get("/settings").one("input", id="workers_add_accounts").get("checked") is not None
    with db.reading() as session:
        assert service.workers_add_accounts(session)
    ada_at.post("/settings", ON)
    with db.reading() as session:
        assert not service.workers_add_accounts(session)
        told = session.scalars(select(Activity.what).where(Activity.what.contains("personal accounts"))).all()
    assert told == [
        "changed a setting: workers add personal accounts by themselves",
        "changed a setting: workers no longer add personal accounts by themselves",
    ]


@both_databases
def test_it_is_chosen_how_much_of_texts_is_kept(ada_at: Browser) -> None:
    assert ada_at.get("/settings").value("text_kilobytes") == "256"
    ada_at.post("/settings", {**ON, "text_kilobytes": "0"})
    with db.reading() as session:
        assert service.text_kilobytes(session) == 0
    page = ada_at.post("/settings", {**ON, "text_kilobytes": "999999"}, htmx=True)
    assert page.status == 422
    assert page.error("text_kilobytes")


def test_the_name_stands_above_the_navigation(ada_at: Browser) -> None:
    page = ada_at.post("/settings", {**ON, "name": "  Harbour   Ltd "}, follow=True)
    assert "Harbour Ltd" in page.words(page.one("nav", id="nav"))
    assert page.one("a", href="/settings", aria_current="page") is not None


@pytest.mark.parametrize(("name", "said"), [("", "The name is missing."), (" ", "1 to 120"), ("a" * 121, "120")])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_switched(ada_at: Browser, name: str, said: str) -> None:
    page = ada_at.post("/settings", {"name": name}, htmx=True)
    assert page.status == 422
    assert said in page.error("name")
    assert uses_mail()


def become_worker(person: Person) -> None:
    """Workers cannot sign in so far, but somebody who is signed in can become one."""
    with db.transaction() as session:
        session.get_one(Person, person.id).role = PersonRole.WORKER


def test_the_page_is_for_administrators(ada_at: Browser, ada: Person) -> None:
    become_worker(ada)
    assert ada_at.get("/settings").status == ada_at.post("/settings", OFF).status == 403
    assert uses_mail()


def test_overview_and_list_say_that_mail_is_off_and_nothing_turns_red(ada_at: Browser) -> None:
    account_id = an_account()
    for path in ("/", "/accounts"):
        assert not any(BANNER in said for said in notices(ada_at.get(path)))
    switch(on=False)
    for path in ("/", "/accounts"):
        assert any(BANNER in said for said in notices(ada_at.get(path))), path
    assert "None of them needs attention" in ada_at.get("/").words()
    page = ada_at.get(f"/accounts/{account_id}/sync", htmx=True)
    assert "when integrated e-mail is on again" in page.words()


def test_a_sync_on_a_click_is_refused_with_the_reason_and_a_test_is_not(ada_at: Browser) -> None:
    account_id = an_account()
    switch(on=False)
    said = "Integrated e-mail is switched off for the whole organisation."
    assert said in ada_at.post(f"/accounts/{account_id}/sync", htmx=True).words()
    for deed in ("sync", "test", "pause", "resume"):
        page = ada_at.post("/accounts/bulk", {"do": deed, "account": [account_id]}, follow=True)
        assert (said in page.words()) is (deed == "sync"), deed
    for path in ("connection", "pause", "resume"):
        assert ada_at.post(f"/accounts/{account_id}/{path}").status == 303, path


def test_workers_are_told_and_administrators_go_on_reading(ada_at: Browser, ada: Person, wim: Person) -> None:
    account_id = an_account()
    with db.transaction() as session:
        for person in (ada, wim):
            give(session, person, session.get_one(Account, account_id))
    switch(on=False)
    with db.reading() as session:
        assert get_visible(session, ada, account_id).id == account_id
        assert session.scalars(visible_accounts(wim)).unique().all() == []
        with pytest.raises(NotFound, match="does not use integrated e-mail at the moment"):
            get_visible(session, wim, account_id)
    assert ada_at.get(f"/mailbox/{account_id}").status == 200
    become_worker(ada)
    page = ada_at.get(f"/mailbox/{account_id}")
    assert page.status == 404
    assert "Your organisation does not use integrated e-mail at the moment. No mail is lost." in page.words()
    switch(on=True)
    assert ada_at.get(f"/mailbox/{account_id}").status == 200
