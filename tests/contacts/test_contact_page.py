"""The page of a contact: all mail with them that this person may see, and of others' own mail what they show."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from mailadmin import db
from mailadmin.accounts import visibility
from mailadmin.accounts.models import Account, Kind, Visibility
from mailadmin.contacts.models import Contact
from mailadmin.errors import NotFound
from mailadmin.organisation.models import Organisation
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.sync.models import Message, MessageText
from tests import factories
from tests.access.factories import give
from tests.conftest import both_databases
from tests.pages import Browser, Page
from tests.sync.settling import a_letter, a_mailbox, put, settle

OLGA = "olga@example.com"


def letter(uid: int, **wanted: Any) -> Any:
    return a_letter(uid, **{"sender": OLGA, **wanted})


def a_box(reader: Person | None = None, address: str = "billing@example.net", **wanted: Any) -> Account:
    account = a_mailbox(address, **wanted)
    if reader:
        with db.transaction() as session:
            give(session, reader, account)
    return account


def own(person: Person, shows: Visibility, address: str = "wim@example.net") -> Account:
    return a_mailbox(address, kind=Kind.PERSONAL, owner_id=person.id, visibility=shows)


def olga() -> int:
    with db.reading() as session:
        return session.scalars(select(Contact.id).where(Contact.address == OLGA)).one()


def shown(page: Page) -> list[str]:
    return [page.words(row.findall("./")[1]) for row in page.all("tr")[1:]]


def subjects(page: Page) -> list[str]:
    cells = [row.findall("./")[0] for row in page.all("tr")[1:]]
    return [" ".join(" ".join(cell.itertext()).split()).replace(" ,", ",") for cell in cells]


@both_databases
def test_all_mail_with_a_contact_stands_there_once_newest_first(ada_at: Browser, ada: Person) -> None:
    billing, sales = a_box(ada), a_box(ada, "sales@example.net")
    put(
        billing,
        letter(1),
        letter(2),
        a_letter(3, sender=billing.address, recipients=(("", OLGA),)),
        letter(4, subject=""),
    )
    put(billing, replace(letter(1), uid=1), path="Archive")
    put(billing, letter(7), path="Junk")
    put(sales, letter(5), replace(letter(2), uid=6))
    for account in (billing, sales):
        settle(account)
    page = ada_at.get(f"/contacts/{olga()}")
    assert subjects(page) == [
        "Message 5, unread",
        "(no subject), unread",
        "Message 3, unread",
        "Message 2, unread",
        "Message 1, unread",
    ]
    assert "5 messages, the last one" in page.words()
    row = page.all("tr")[3]
    assert "Sent billing@example.net" in page.words(row)
    listed = ada_at.get("/contacts?q=olga")
    assert "5" in [listed.words(cell) for cell in listed.all("tr")[1].findall("./")]


@both_databases
@pytest.mark.parametrize(
    ("shows", "seen"),
    [
        (Visibility.NOTHING, []),
        (Visibility.METADATA, ["Wim de Vries shows only that there was mail"]),
        (Visibility.SUBJECT, ["Secret plans"]),
        (Visibility.EVERYTHING, ["Secret plans First lines"]),
    ],
)
def test_of_others_own_mail_as_much_as_they_show(
    ada_at: Browser, ada: Person, wim: Person, shows: Visibility, seen: list[str]
) -> None:
    shared, mine = a_box(ada), own(wim, shows)
    put(mine, letter(1, subject="Secret plans"))
    put(shared, letter(9))
    for account in (shared, mine):
        settle(account)
    with db.transaction() as session:
        secret = session.scalars(select(Message).where(Message.subject == "Secret plans")).one()
        secret.preview = "First lines"
        session.add(MessageText(message_id=secret.id, text="First lines\nand <b>more</b>\u202e of it"))
    page = ada_at.get(f"/contacts/{olga()}")
    assert subjects(page) == ["Message 9, unread", *seen]
    assert ("1 message," if not seen else "2 messages,") in page.words()
    assert ("Secret" in page.text) is (shows in (Visibility.SUBJECT, Visibility.EVERYTHING))
    assert ("First lines" in page.text) is (shows is Visibility.EVERYTHING)
    text = ada_at.get(f"/contacts/{olga()}/messages/{secret.id}")
    assert text.status == (200 if shows is Visibility.EVERYTHING else 404)
    assert ("and <b>more</b>" in text.words()) is (shows is Visibility.EVERYTHING)
    assert "\u202e" not in text.text


@both_databases
def test_a_copy_that_the_person_may_read_stands_for_one_that_they_may_not(
    ada_at: Browser, ada: Person, wim: Person
) -> None:
    mine, shared = own(wim, Visibility.METADATA), a_box(ada)
    for account in (mine, shared):
        put(account, letter(1))
        settle(account)
    assert subjects(ada_at.get(f"/contacts/{olga()}")) == ["Message 1, unread"]


def test_the_text_of_mail_that_is_not_shown_or_not_of_the_contact_is_nowhere(
    ada_at: Browser, ada: Person, wim: Person
) -> None:
    shared, mine = a_box(ada), own(wim, Visibility.EVERYTHING)
    put(mine, letter(1), a_letter(2, sender="doctor@example.org"))
    put(shared, letter(9), a_letter(8, sender="bo@example.org"))
    for account in (shared, mine):
        settle(account)
    with db.reading() as session:
        ids = {m.uid: m.id for m in session.scalars(select(Message))}
        people = {c.address: c.id for c in session.scalars(select(Contact))}
    assert ada_at.get(f"/contacts/{olga()}/messages/{ids[1]}").status == 200
    assert ada_at.get(f"/contacts/{olga()}/messages/{ids[2]}").status == 404
    assert ada_at.get(f"/contacts/{people['bo@example.org']}/messages/{ids[1]}").status == 404
    assert ada_at.get(f"/contacts/{people['doctor@example.org']}").status == 404, "met in that account alone"
    assert ada_at.get(f"/contacts/{olga()}/messages/{ids[9]}").status == 404, "what one may read is read in its mailbox"


def test_while_no_mail_is_used_workers_see_nothing_of_others_either(browser: Browser, ada: Person, wim: Person) -> None:
    shared, mine = a_box(wim), own(ada, Visibility.EVERYTHING, "ada@example.net")
    for account in (shared, mine):
        put(account, letter(1))
        settle(account)
    browser.sign_in(wim.email, factories.PASSWORD)
    assert browser.get(f"/contacts/{olga()}").status == 200
    with db.transaction() as session:
        session.merge(Organisation(id=1, name="", uses_mail=False))
        session.execute(update(Organisation).values(uses_mail=False))
    assert browser.get(f"/contacts/{olga()}").status == 404


def test_pages_and_orders_hold(ada_at: Browser, ada: Person) -> None:
    account = a_box(ada)
    put(account, *(letter(n) for n in range(1, 121)), a_letter(200, sender="bo@example.org"))
    settle(account)
    page = ada_at.get(f"/contacts/{olga()}?page=2")
    assert "51–100 of 120" in page.words()
    assert subjects(ada_at.get(f"/contacts/{olga()}?page=99"))[-1] == "Message 1, unread"
    by_address, newest = shown(ada_at.get("/contacts?sort=address")), shown(ada_at.get("/contacts?sort=new"))
    assert by_address == shown(ada_at.get("/contacts?sort=nix")) == ["bo@example.org", OLGA]
    assert set(newest) == set(by_address)


def test_only_its_owner_says_what_others_see(ada: Person, wim: Person) -> None:
    account = own(wim, Visibility.NOTHING)
    values = {"visibility": Visibility.SUBJECT, "actor": SYSTEM}
    with db.transaction() as session:
        row = session.get(Account, account.id)
        with pytest.raises(NotFound):
            visibility.change_visibility(session, row, person=ada, **values)
        visibility.change_visibility(session, row, person=wim, **values)
        assert row.visibility is Visibility.SUBJECT
