"""Search: words anywhere in a message, the last one by its beginning; common and rare, written and not yet written."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.text_parts import Choice, Text
from mailadmin.mail.types import Envelope, Folder
from mailadmin.mailbox import service
from mailadmin.sync import rows, search, texts
from tests.conftest import both_databases
from tests.sync.factories import NOON, an_account, folder_of, messages_of

FOLDERS = (Folder("INBOX", "INBOX", "/"), Folder("Offers", "Offers", "/"))


@pytest.fixture
def account(booted: object) -> Account:
    return an_account(folders=FOLDERS)


def a_message(account: Account, uid: int, *, text: str | None = "", path: str = "INBOX", **wanted: Any) -> None:
    """A stored message, with a text unless that is None: then no run has come to it yet."""
    usual = {"received_at": NOON + timedelta(minutes=uid), "subject": f"Message {uid}", "from_address": "a@example.org"}
    with db.transaction() as session:
        rows.insert(session, folder_of(account, path).id, 0, [Envelope(uid, **{**usual, **wanted})])
    if text is not None:
        ids = {message.uid: message.id for message in messages_of(account, path)}
        with db.transaction() as session:
            texts.store(session, {ids[uid]: texts.Found(Choice(), Text(text))}, 1)


def found(account: Account, words: str, *, everywhere: bool = False, page: int = 1) -> service.Listing:
    with db.reading() as session:
        folders = service.folders(session, account.id)
        return service.messages(session, folders if everywhere else folders[:1], words=words, page=page)


def uids(listing: service.Listing) -> list[int]:
    return [row.uid for row in listing.rows]


@both_databases
@pytest.mark.parametrize(
    ("words", "hits"),
    [
        ("harbour", [3, 1]),
        ("harb", [3, 1]),
        ("harb lamps", []),  # Only the last word may be a beginning.
        ("lamps harb", [1]),
        ("HARBOUR", [3, 1]),
        ("arbour", []),
        ("h", []),  # One letter is a word, and not the beginning of half of all.
        ("b", [3]),
        ("größe", [2]),
        ("nora.feldt@halden.example", [4]),
        ("halden", [4]),
        ("feldt@halden", [4]),
        ("buyer", [5]),
        ("O'Brien", [2]),
        ('"quoted', [3]),
        ("a&b | !c:*", [3]),
        ("NEAR(x) AND -heading:y", []),
        ("'", []),
        ("%", []),
        ("\\", []),
        ("*", []),
    ],
)
def test_words_are_found_wherever_they_stand(account: Account, words: str, hits: list[int]) -> None:
    a_message(account, 1, text="lamps for the harbour")
    a_message(account, 2, text="GRÖSSE? Größe! Says O'Brien")
    a_message(account, 3, subject="Harbour", text='so "quoted" a b and c')
    a_message(account, 4, from_name="Nora", from_address="nora.feldt@halden.example")
    a_message(account, 5, to="Buyer <buyer@example.com>")
    assert uids(found(account, words)) == hits


@both_databases
def test_what_no_run_has_written_yet_is_found_by_subject_and_sender(account: Account) -> None:
    a_message(account, 1, subject="Old offer", text="")
    a_message(account, 2, subject="New offer", text=None)
    listing = found(account, "offer")
    assert (uids(listing), listing.total) == ([2, 1], 2)
    assert uids(found(account, "Mess")) == []


@both_databases
def test_a_common_word_is_found_newest_first_page_by_page(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RARE", 5), ("STRETCH", 7), ("MOST", 100)):
        monkeypatch.setattr(search, name, value)
    monkeypatch.setattr(service, "PAGE", 10)
    for uid in range(1, 61):
        a_message(account, uid, text="lamp" if uid % 2 else "desk")
    a_message(account, 99, path="Offers", text="lamp")
    assert uids(found(account, "lamp")) == list(range(59, 40, -2))
    last = found(account, "lamp", page=3)
    assert (uids(last), last.total, last.page, last.are_more) == (list(range(19, 0, -2)), 30, 3, False)
    assert uids(found(account, "lamp", page=99)) == uids(last)
    assert uids(found(account, "lamp", everywhere=True))[0] == 99
    monkeypatch.setattr(search, "MOST", 20)
    assert (found(account, "lamp").total, found(account, "lamp").are_more) == (20, True)


@both_databases
def test_what_is_common_elsewhere_is_found_where_it_is_rare(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RARE", 5), ("STRETCH", 4), ("FURTHEST", 8), ("MOST", 12)):
        monkeypatch.setattr(search, name, value)
    other = an_account(address="other@example.net", folders=FOLDERS)
    for uid in range(1, 31):
        a_message(other, uid, text="lamp")
        a_message(account, uid, text="lamp" if uid in (2, 29) else "desk")
    assert uids(found(account, "lamp")) == [29, 2]
    assert (found(account, "lamp").total, found(account, "lamp").are_more) == (2, False)
    assert uids(found(account, "lamp", everywhere=True)) == [29, 2]
    assert uids(found(other, "lamp"))[:3] == [30, 29, 28]
    assert (found(other, "lamp").total, found(other, "lamp").are_more) == (12, True)


@both_databases
def test_several_folders_are_listed_as_one_however_unlike_they_are(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAGE", 6)
    for uid in range(1, 21):
        place = "INBOX" if uid > 3 else "Offers"
        a_message(account, uid, path=place, received_at=None if uid in (1, 5) else NOON + timedelta(minutes=uid))
    pages = [uids(found(account, "", everywhere=True, page=n)) for n in (1, 2, 3, 4)]
    assert pages == [[20, 19, 18, 17, 16, 15], [14, 13, 12, 11, 10, 9], [8, 7, 6, 4, 3, 2], [5, 1]]


@both_databases
def test_messages_without_a_date_are_last_and_all_are_reached(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAGE", 4)
    for uid in range(1, 11):
        a_message(account, uid, received_at=None if uid % 3 == 0 else NOON + timedelta(minutes=uid))
    pages = [uids(found(account, "", page=n)) for n in (1, 2, 3)]
    assert pages == [[10, 8, 7, 5], [4, 2, 1, 9], [6, 3]]


def test_all_folders_list_the_newest_thousand(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "EVERYWHERE", 5)
    for uid in range(1, 5):
        a_message(account, uid)
        a_message(account, uid, path="Offers", received_at=NOON + timedelta(minutes=uid, seconds=30))
    listing = found(account, "", everywhere=True)
    assert (listing.total, listing.are_more) == (5, True)
    assert [(row.uid, row.received_at.second) for row in listing.rows] == [(4, 30), (4, 0), (3, 30), (3, 0), (2, 30)]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # PostgreSQL has no rows of words.
def test_words_of_a_deleted_message_are_forgotten(account: Account) -> None:
    a_message(account, 1, text="secret")
    with db.transaction() as session:
        rows.delete_uids(session, folder_of(account).id, 0, [1])
    with db.reading() as session:
        assert _words(session) == 0


def _words(session: Session) -> int:
    return len(session.connection().exec_driver_sql("SELECT rowid FROM message_words('secret')").all())
