"""The list of messages: by folder, newest first, fifty a page, searched by subject and sender."""

from datetime import timedelta
from typing import Any

import pytest

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.types import Envelope, Folder, Role
from mailadmin.people.models import Person
from mailadmin.sync import rows
from mailadmin.sync.models import Folder as Row
from tests.access.factories import give
from tests.conftest import both_databases
from tests.pages import Browser, Page
from tests.sync.factories import NOON, an_account, folder_of

FOLDERS = (Folder("INBOX", "INBOX", "/", role=Role.INBOX, role_source="server"), Folder("Offers", "Offers", "/"))


@pytest.fixture
def account(ada: Person) -> Account:
    return an_account_of(ada)


def an_account_of(person: Person, *folders: Folder) -> Account:
    """An account whose mail `person` reads."""
    account = an_account(folders=(*FOLDERS, *folders))
    with db.transaction() as session:
        give(session, person, account)
    return account


def a_message(account: Account, uid: int, *, path: str = "INBOX", generation: int = 0, **wanted: Any) -> None:
    usual = {"received_at": NOON + timedelta(minutes=uid), "subject": f"Message {uid}", "from_address": "a@example.org"}
    with db.transaction() as session:
        folder = folder_of(account, path)
        rows.insert(session, folder.id, generation, [Envelope(uid, **{**usual, **wanted})])


def change_folder(account: Account, path: str, **values: Any) -> None:
    with db.transaction() as session:
        folder = session.get(Row, folder_of(account, path).id)
        for name, value in values.items():
            setattr(folder, name, value)


def subjects(page: Page) -> list[str]:
    return [page.words(e) for e in page.all("span", class_="subj")]


@both_databases
def test_inbox_is_shown_first_newest_on_top(ada_at: Browser, account: Account) -> None:
    for uid, minutes in ((1, 5), (2, 9), (3, 1)):
        a_message(account, uid, received_at=NOON + timedelta(minutes=minutes))
    a_message(account, 4, received_at=None, sent_at=None)
    a_message(account, 9, path="Offers")
    page = ada_at.get(f"/mailbox/{account.id}")
    assert subjects(page) == ["Message 2", "Message 1", "Message 3", "Message 4"]
    assert "no date" in page.words()


def test_message_shows_sender_date_size_and_flags(ada_at: Browser, account: Account) -> None:
    flags = frozenset({"\\Seen", "\\Flagged", "\\Answered"})
    a_message(account, 1, from_name="Nora <i>Feldt</i>", size=1_234_567, flags=flags)
    a_message(account, 2, subject="", from_address="")
    page = ada_at.get(f"/mailbox/{account.id}")
    words = page.words()
    for said in ("Nora <i>Feldt</i>", "Flagged", "Answered", "Unknown sender, unread", "(no subject)"):
        assert said in words
    opened = [e for e in page.all("a") if "Nora" in page.words(e)]
    assert "1.2 MB" in ada_at.get(opened[0].get("href", "")).words()
    assert len(page.all("li", class_="unread")) == 1


def test_unreadable_message_is_shown_as_such(ada_at: Browser, account: Account) -> None:
    a_message(account, 1, subject="", unreadable="The server lists this message but does not deliver it.")
    words = ada_at.get(f"/mailbox/{account.id}").words()
    assert "Unreadable The server lists this message but does not deliver it." in words


def test_fifty_a_page(ada_at: Browser, account: Account) -> None:
    with db.transaction() as session:
        many = [
            Envelope(uid, subject=f"Message {uid}", received_at=NOON + timedelta(minutes=uid)) for uid in range(1, 121)
        ]
        rows.insert(session, folder_of(account).id, 0, many)
    page = ada_at.get(f"/mailbox/{account.id}?page=3")
    assert subjects(page)[0] == "Message 20"
    assert "101–120 of 120" in page.words()
    assert len(subjects(ada_at.get(f"/mailbox/{account.id}"))) == 50
    assert subjects(ada_at.get(f"/mailbox/{account.id}?page=99")) == subjects(page)
    assert ada_at.get(f"/mailbox/{account.id}?page=x").status == 200


@both_databases
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("OFFER", {"An offer", "Offer 100%_"}),
        ("offer an", {"An offer"}),
        ("nora", {"From Nora"}),
        ("FELDT@EXAMPLE", {"From Nora"}),
        ("100%_", {"Offer 100%_"}),
        ("%", {"Offer 100%_"}),
        ("größe", {"GRÖSSE? Größe!"}),
        ("ÜBER", {"über uns"}),
        ("nothing", set()),
    ],
)
def test_search_finds_words_in_subject_and_sender(
    ada_at: Browser, account: Account, words: str, found: set[str]
) -> None:
    wanted = ["An offer", "Offer 100%_", "GRÖSSE? Größe!", "über uns"]
    for uid, subject in enumerate(wanted, 1):
        a_message(account, uid, subject=subject)
    a_message(account, 9, subject="From Nora", from_name="Nora", from_address="Feldt@example.org")
    page = ada_at.get(f"/mailbox/{account.id}?q={words.replace('%', '%25')}")
    assert set(subjects(page)) == found
    assert page.one("input", name="q").get("value") == words
    if not found:
        assert "No message matches “nothing”" in page.words()


def test_search_is_within_the_folder_or_everywhere(ada_at: Browser, account: Account) -> None:
    a_message(account, 1, subject="Offer here")
    a_message(account, 1, path="Offers", subject="Offer there")
    assert subjects(ada_at.get(f"/mailbox/{account.id}?q=offer")) == ["Offer here"]
    everywhere = ada_at.get(f"/mailbox/{account.id}?q=offer&folder=all")
    assert set(subjects(everywhere)) == {"Offer here", "Offer there"}
    assert "Offers" in {everywhere.words(e) for e in everywhere.all("span", class_="snip")}


@both_databases
def test_only_what_is_synced_and_whole_is_shown(ada_at: Browser, account: Account) -> None:
    a_message(account, 1, subject="Old")
    a_message(account, 1, subject="Half read", generation=1)
    a_message(account, 1, path="Offers", subject="Not chosen")
    change_folder(account, "Offers", is_active=False)
    assert subjects(ada_at.get(f"/mailbox/{account.id}?folder=all")) == ["Old"]
    assert ada_at.get(f"/mailbox/{account.id}?folder={folder_of(account, 'Offers').id}").status == 404
    change_folder(account, "INBOX", generation=1)
    assert subjects(ada_at.get(f"/mailbox/{account.id}")) == ["Half read"]


def test_empty_states_say_what_would_be_here(ada_at: Browser, account: Account) -> None:
    assert "Inbox is empty" in ada_at.get(f"/mailbox/{account.id}").words()
    for path in ("INBOX", "Offers"):
        change_folder(account, path, is_gone=True)
    assert "Nothing is synced here yet" in ada_at.get(f"/mailbox/{account.id}").words()


def test_mail_of_somebody_else_does_not_exist(browser: Browser, wim: object, account: Account) -> None:
    browser.sign_in("wim@example.com", "lamp desk harbour 7")
    assert browser.get(f"/mailbox/{account.id}").status in (302, 303, 404)


def test_mail_of_another_account_is_not_reached_through_a_folder(ada_at: Browser, account: Account) -> None:
    other = an_account("other@example.net", folders=FOLDERS)
    assert ada_at.get(f"/mailbox/{account.id}?folder={folder_of(other).id}").status == 404
    assert ada_at.get("/mailbox/999999").status == 404


def test_folder_name_cannot_turn_the_page_around(ada_at: Browser, ada: Person) -> None:
    account = an_account_of(ada, Folder("Off\u202eers\x07", "Off", "/"))
    page = ada_at.get(f"/mailbox/{account.id}")
    assert "Off<U+202E>ers␇" in page.words()
    assert "\u202e" not in page.text
