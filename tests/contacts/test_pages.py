"""The list of contacts: found by name and address, fifty at a time, deleted one by one, and nobody's private ones."""

from collections.abc import Sequence

from sqlalchemy import select, update

from mailadmin import db
from mailadmin.accounts.models import Account, Kind
from mailadmin.activity.models import Activity
from mailadmin.contacts.models import Contact
from mailadmin.people.models import Person
from tests import factories
from tests.access.factories import give
from tests.accounts import factories as accounts
from tests.conftest import both_databases
from tests.pages import Browser, Page


def contacts(*people: tuple[str, str], reader: Person | None = None, **wanted: object) -> Account:
    """An account with contacts: names and addresses; `reader` may read its mail."""
    with db.transaction() as session:
        account = accounts.an_account(session, **wanted)
        if reader:
            give(session, reader, account)
        session.add_all(Contact(name=name, address=address, account_id=account.id) for name, address in people)
        return account


def shown(page: Page) -> Sequence[str]:
    return [page.words(row.findall("./")[1]) for row in page.all("tr")[1:]]


def test_without_contacts_the_page_says_where_they_come_from(ada_at: Browser) -> None:
    assert "No contacts yet" in ada_at.get("/contacts").words()


@both_databases
def test_contacts_are_listed_by_name_and_found_by_words(ada_at: Browser, ada: Person) -> None:
    account = contacts(("Olga", "olga@example.com"), ("ada", "zoe@example.com"), ("", "x_y@example.com"), reader=ada)
    page = ada_at.get("/contacts")
    assert shown(page) == ["zoe@example.com", "olga@example.com", "x_y@example.com"]
    assert len(page.all("a", href=f"/accounts/{account.id}", class_="clip")) == 3, "where they were met"
    assert shown(ada_at.get("/contacts?q=OLG+example")) == ["olga@example.com"]
    assert shown(ada_at.get("/contacts?q=_")) == ["x_y@example.com"], "a sign of SQL is a letter here"
    assert "Nobody found for “nix”" in ada_at.get("/contacts?q=nix").words()


def test_fifty_stand_on_a_page(ada_at: Browser, ada: Person) -> None:
    contacts(*(("", f"p{n:03}@example.com") for n in range(101)), reader=ada)
    assert len(shown(ada_at.get("/contacts"))) == 50
    assert "51–100 of 101" in ada_at.get("/contacts?page=2").words()
    assert shown(ada_at.get("/contacts?page=99")) == ["p100@example.com"]


def test_one_is_deleted_and_the_trail_does_not_say_who(ada_at: Browser, ada: Person) -> None:
    contacts(("Olga", "olga@example.com"), ("Zoe", "zoe@example.com"), reader=ada)
    with db.reading() as session:
        olga = session.scalars(select(Contact.id).where(Contact.name == "Olga")).one()
    page = ada_at.post(f"/contacts/{olga}/delete?q=o", follow=True)
    assert "olga@example.com was deleted." in page.words()
    assert shown(page) == ["zoe@example.com"]
    with db.reading() as session:
        assert [e.what for e in session.scalars(select(Activity)) if "contact" in e.what] == ["deleted a contact"]


def test_contacts_of_somebody_elses_account_are_not_there(ada_at: Browser, ada: Person, wim: Person) -> None:
    contacts(("Olga", "olga@example.com"), kind=Kind.PERSONAL, owner_id=wim.id)
    assert "No contacts yet" in ada_at.get("/contacts").words()
    with db.reading() as session:
        olga = session.scalars(select(Contact.id)).one()
    assert ada_at.post(f"/contacts/{olga}/delete").status == 404
    contacts(("Zoe", "zoe@example.com"), address="ada@example.net", kind=Kind.PERSONAL, owner_id=ada.id)
    assert shown(ada_at.get("/contacts")) == ["zoe@example.com"]


def test_an_account_that_is_being_deleted_takes_its_contacts_along(ada_at: Browser, ada: Person) -> None:
    account = contacts(("Olga", "olga@example.com"), reader=ada)
    with db.transaction() as session:
        session.get(Account, account.id).deleting_at = db.now()
    assert "No contacts yet" in ada_at.get("/contacts").words()


def test_a_worker_sees_those_of_the_mail_that_they_read_and_deletes_none(
    browser: Browser, ada: Person, wim: Person
) -> None:
    contacts(("Olga", "olga@example.com"))
    mine = contacts(("Zoe", "zoe@example.com"), address="sales@example.net", reader=wim)
    browser.sign_in(wim.email, factories.PASSWORD)
    assert shown(browser.get("/contacts")) == ["zoe@example.com"]
    with db.reading() as session:
        ids = dict(session.execute(select(Contact.name, Contact.id)).all())
    assert browser.get(f"/contacts/{ids['Olga']}").status == 404
    assert "Zoe" in browser.get(f"/contacts/{ids['Zoe']}").words()
    assert [browser.post(f"/contacts/{id_}/delete").status for id_ in ids.values()] == [403, 403]
    with db.transaction() as session:
        assert session.get(Contact, ids["Zoe"])
        session.execute(update(Contact).where(Contact.account_id == mine.id).values(account_id=None))
    assert "No contacts yet" in browser.get("/contacts").words(), (
        "what nobody owns is the administrators' to look after"
    )
