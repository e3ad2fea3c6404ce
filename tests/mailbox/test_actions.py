"""What people do with messages on a page: the rows change at once, and the wish waits for the server."""

from typing import Any

import pytest
from sqlalchemy import select

from mailadmin import db, queue
from mailadmin.access.service import Rights
from mailadmin.accounts.models import Account, Health
from mailadmin.mail.types import Envelope, Folder, Role, Server, ServerProtocol, TLSMode
from mailadmin.people.models import Person
from mailadmin.sync import changes, rows
from mailadmin.sync.models import ChangeKind, ChangeState, Message, PendingChange, SyncRun
from mailadmin.sync.models import Folder as Row
from tests.access.factories import give
from tests.conftest import both_databases
from tests.pages import Browser, Page
from tests.sync.factories import NOON, an_account, folder_of

INBOX = Folder("INBOX", "INBOX", "/", role=Role.INBOX, role_source="server")
TRASH = Folder("Trash", "Trash", "/", role=Role.TRASH, role_source="server")
FOLDERS = (INBOX, Folder("Offers", "Offers", "/"), TRASH)


def furnished(person: Person, *, rights: Rights = Rights.SEND, **wanted: Any) -> Account:
    """An account with three messages in its inbox that `person` may use."""
    account = an_account(folders=wanted.pop("folders", FOLDERS), **wanted)
    messages = [Envelope(uid, subject=f"Message {uid}", received_at=NOON) for uid in (1, 2, 3)]
    with db.transaction() as session:
        for row in session.scalars(select(Row).where(Row.account_id == account.id)):
            row.is_active, row.uidvalidity = True, 7
        rows.insert(session, folder_of(account).id, 0, messages)
        session.get(Row, folder_of(account).id).unread = 3
        give(session, session.get(Person, person.id), session.get(Account, account.id), rights)
    return account


@pytest.fixture
def account(ada: Person) -> Account:
    return furnished(ada)


@pytest.fixture
def here(ada_at: Browser, account: Account) -> Browser:
    return ada_at


def ids(account: Account, *uids: int) -> list[str]:
    with db.reading() as session:
        query = select(Message.id).join(Row, Row.id == Message.folder_id).where(Row.account_id == account.id)
        return [str(id_) for id_ in session.scalars(query.where(Message.uid.in_(uids)).order_by(Message.uid))]


def act(browser: Browser, account: Account, deed: str, *uids: int, **more: str) -> Page:
    """Tick messages on the page and press a button."""
    return browser.post(f"/mailbox/{account.id}/messages", {"message": ids(account, *uids), "do": deed, **more})


def subjects(page: Page) -> list[str]:
    return sorted(page.words(e) for e in page.all("span", class_="subj"))


def shown(browser: Browser, account: Account, path: str = "INBOX") -> list[str]:
    return subjects(browser.get(f"/mailbox/{account.id}?folder={folder_of(account, path).id}"))


def wishes(account: Account) -> list[PendingChange]:
    with db.reading() as session:
        query = select(PendingChange).where(PendingChange.account_id == account.id)
        return list(session.scalars(query.order_by(PendingChange.id)))


def rung() -> int:
    return (queue.waiting() or {})[queue.Line.SYNC] + (queue.waiting() or {})[queue.Line.BULK]


@both_databases
def test_marks_show_at_once_and_a_run_is_asked_for(here: Browser, account: Account) -> None:
    act(here, account, "read", 1, 2)
    act(here, account, "flag", 2)
    page = here.get(f"/mailbox/{account.id}")
    assert len(page.all("li", class_="unread")) == 1
    assert "Flagged" in page.words()
    assert [(w.kind, w.added, w.requested_by) for w in wishes(account)] == [
        (ChangeKind.FLAGS, "\\Seen", "Ada Lindqvist"),
        (ChangeKind.FLAGS, "\\Flagged \\Seen", "Ada Lindqvist"),
    ]
    with db.reading() as session:
        assert session.scalars(select(SyncRun.requested_by)).all() == ["Ada Lindqvist"]
    assert rung() == 1


@both_databases
def test_moved_and_deleted_messages_change_places_on_the_page(here: Browser, account: Account) -> None:
    act(here, account, "move", 1, target=str(folder_of(account, "Offers").id))
    act(here, account, "delete", 2)
    assert shown(here, account) == ["Message 3"]
    assert shown(here, account, "Offers") == ["Message 1"]
    assert shown(here, account, "Trash") == ["Message 2"]
    page = here.get(f"/mailbox/{account.id}")
    assert "Inbox1 unread" in page.words(), "the folders count with what is about to move"


def test_deleting_in_trash_asks_and_then_deletes_for_good(here: Browser, account: Account) -> None:
    act(here, account, "delete", 1, 2)
    page = act(here, account, "delete", 1, 2)
    assert "Delete 2 messages for good?" in page.words()
    assert {w.kind for w in wishes(account)} == {ChangeKind.MOVE}, "nothing is deleted before the second click"
    asked = [field.get("value") for field in page.all("input", name="message")]
    here.post(f"/mailbox/{account.id}/messages", {"message": asked, "do": "destroy"})
    assert {w.kind for w in wishes(account)} == {ChangeKind.DELETE}
    assert shown(here, account, "Trash") == []


def test_only_what_is_in_trash_is_deleted_for_good(here: Browser, account: Account) -> None:
    page = act(here, account, "destroy", 1)
    assert wishes(account) == []
    assert "Only what is in Trash can be deleted for good." in here.get(f"/mailbox/{account.id}").words() + page.words()


@pytest.mark.parametrize(
    ("deed", "more", "said"),
    [
        ("move", {}, "Choose where to move it first."),
        ("move", {"target": "999999"}, "This folder is not on the server any more."),
        ("nothing", {}, "Tick messages, then choose what to do with them."),
        ("read", {"message": "x"}, "Tick a message first."),
    ],
)
def test_what_cannot_be_done_is_said_where_it_was_asked_for(
    here: Browser, account: Account, deed: str, more: dict[str, str], said: str
) -> None:
    sent = {"message": ids(account, 1), "do": deed, **more}
    answer = here.post(f"/mailbox/{account.id}/messages", sent)
    assert said in answer.words() + here.get(f"/mailbox/{account.id}").words()
    assert wishes(account) == []


def test_messages_of_another_account_are_not_touched(here: Browser, account: Account) -> None:
    other = an_account("other@example.net", folders=FOLDERS)
    with db.transaction() as session:
        rows.insert(session, folder_of(other).id, 0, [Envelope(9, subject="Not yours")])
    sent = {"message": ids(other, 9), "do": "read"}
    here.post(f"/mailbox/{account.id}/messages", sent)
    move = {"message": ids(account, 1), "do": "move", "target": str(folder_of(other).id)}
    here.post(f"/mailbox/{account.id}/messages", move)
    assert wishes(account) == wishes(other) == []
    assert here.post(f"/mailbox/{other.id}/messages", sent).status == 404


def test_who_may_only_read_changes_nothing(browser: Browser, wim: Person) -> None:
    account = furnished(wim, rights=Rights.READ)
    browser.sign_in("wim@example.com", "lamp desk harbour 7")
    page = browser.get(f"/mailbox/{account.id}")
    assert page.all("input", name="message") == []
    act(browser, account, "read", 1)
    browser.post(f"/mailbox/{account.id}/folders/new", {"name": "Lamps", "parent": ""})
    assert wishes(account) == []
    assert folder_of(account).unread == 3


def test_pop3_offers_nothing(ada_at: Browser, ada: Person) -> None:
    server = Server(ServerProtocol.POP3, "pop.example.net", 995, TLSMode.IMPLICIT)
    account = furnished(ada, server=server, folders=(INBOX,))
    assert ada_at.get(f"/mailbox/{account.id}").all("input", name="message") == []
    act(ada_at, account, "read", 1)
    assert wishes(account) == []


@both_databases
def test_changes_wait_while_the_account_is_broken_and_can_be_taken_back(here: Browser, account: Account) -> None:
    with db.transaction() as session:
        session.get(Account, account.id).health = Health.NEEDS_ATTENTION
    act(here, account, "read", 1)
    act(here, account, "delete", 2, 3)
    page = here.get(f"/mailbox/{account.id}")
    assert "3 changes wait for the server" in page.words()
    with db.reading() as session:
        assert session.scalars(select(SyncRun)).all() == [], "nobody knocks where the password was refused"
    assert rung() == 0
    listed = here.get(f"/mailbox/{account.id}/changes").words()
    for said in ("Mark as read", "Move to Trash", "Ada Lindqvist", "Message 2"):
        assert said in listed
    here.post(f"/mailbox/{account.id}/changes", {"change": [str(w.id) for w in wishes(account)]})
    assert wishes(account) == []
    assert shown(here, account) == ["Message 1", "Message 2", "Message 3"]
    assert folder_of(account).unread == 3
    assert here.post(f"/mailbox/{account.id}/changes", {"change": ["1"]}).status == 404


def test_refusals_are_told_once_and_to_whom_they_concern(here: Browser, account: Account, ada: Person) -> None:
    act(here, account, "read", 1, 2)
    with db.transaction() as session:
        for wish in session.scalars(select(PendingChange)):
            wish.state, wish.reason = ChangeState.REFUSED, "It is not on the server any more."
        ada_too = session.scalars(select(PendingChange)).first()
        ada_too.finished_at = db.now()
    page = here.get(f"/mailbox/{account.id}")
    assert "2 messages: It is not on the server any more." in page.words()
    up_to = max(w.id for w in wishes(account))
    here.post(f"/mailbox/{account.id}/changes/seen", {"up_to": str(up_to)})
    assert "What the server made of your changes" not in here.get(f"/mailbox/{account.id}").words()


@both_databases
def test_new_folder_is_checked_and_wished_for(here: Browser, account: Account) -> None:
    address = f"/mailbox/{account.id}/folders/new"
    for name, said in (
        ("", "Give the folder a name."),
        ("offers", "A folder “offers” is there already."),
        ("a/b", "A name cannot contain /."),
        ("50%", "A name cannot contain %."),
        ("inbox", "Servers keep this name for themselves."),
        ("x" * 300, "A name has at most 200 characters."),
    ):
        page = here.post(address, {"name": name, "parent": ""})
        assert page.status == 422
        assert said in page.words() or "200" in page.words(), name
    parent = str(folder_of(account, "Offers").id)
    here.post(address, {"name": "Größe  1", "parent": parent})
    made = folder_of(account, "Offers/Größe 1")
    assert (made.is_wished, made.is_active, made.name) == (True, True, "Größe 1")
    here.post(address, {"name": "نامه\u200cها", "parent": ""})
    assert folder_of(account, "نامه\u200cها").is_wished, "without what parts the letters it is another word"


@both_databases
def test_old_changes_are_forgotten(here: Browser, account: Account) -> None:
    act(here, account, "read", 1)
    act(here, account, "flag", 2)
    act(here, account, "flag", 3)
    with db.transaction() as session:
        old, told, fresh = session.scalars(select(PendingChange).order_by(PendingChange.id))
        old.state, old.finished_at = ChangeState.DONE, db.now() - changes.DONE_FOR * 2
        told.state, told.reason, told.finished_at = ChangeState.REFUSED, "No.", db.now() - changes.REFUSED_FOR * 2
        fresh.state, fresh.finished_at = ChangeState.DONE, db.now()
        kept = fresh.id
    with db.transaction() as session:
        changes.forget_old(session)
    assert [wish.id for wish in wishes(account)] == [kept]
