"""What is found out about stored messages: once, newest first, again when a rule changes, and whoever is killed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Account, Kind, NewContacts
from mailadmin.contacts.models import Contact
from mailadmin.mail import types as mail
from mailadmin.mail.types import Envelope
from mailadmin.organisation import contact_rules
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.sync import settling
from mailadmin.sync.models import Message, MessageContact, MessageName, RunOutcome, SyncRun
from tests.conftest import both_databases
from tests.sync.factories import Kept, MemoryServer, an_account, change, plan_of, synced
from tests.sync.settling import a_letter, a_mailbox, about, begun, conversations, put, settle

pytestmark = pytest.mark.usefixtures("booted")


def to(uid: int, *recipients: str, **wanted: Any) -> Envelope:
    return a_letter(uid, recipients=tuple(("", each) for each in recipients), **wanted)


def contacts() -> dict[str, str]:
    with db.reading() as session:
        return {c.address: c.name for c in session.scalars(select(Contact).order_by(Contact.address))}


def sent(uid: int, *recipients: str, **wanted: Any) -> Envelope:
    return to(uid, *recipients, sender="billing@example.net", **wanted)


@both_databases
def test_messages_are_linked_with_their_contacts_whoever_is_sender_or_recipient() -> None:
    account = a_mailbox()
    put(account, to(1, "billing@example.net"), to(2, "olga@example.com", "ada@example.org"), a_letter(3, sender="x"))
    put(account, sent(9, "Olga+orders@example.com"), path="Sent")
    put(account, a_letter(5, sender="olga@example.com"), path="Junk")
    settle(account)
    assert about("ada@example.org") == [(1, True), (2, True)]
    assert about("olga+orders@example.com") == [(2, False), (9, False)], "known without what follows the plus sign"


@both_databases
def test_whom_we_write_to_brings_along_what_they_wrote_before() -> None:
    account = a_mailbox(new_contacts=NewContacts.WRITTEN_TO)
    put(account, a_letter(1), a_letter(2), a_letter(3, sender="spam@example.com"))
    settle(account)
    assert contacts() == {}
    put(account, sent(1, "ada@example.org", to="Lind, Ada <ada@example.org>"), path="Sent")
    settle(account)
    assert contacts() == {"ada@example.org": "Lind, Ada"}
    assert sorted(about("ada@example.org")) == [(1, False), (1, True), (2, True)]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("Ada Lind <ada@x.org>, bo@x.org, Lee, Cy <cy@x.org> and 3 more", ["Ada Lind", "", ""]),
        ("Lee, Cy <cy@x.org>, ada@x.org, bo@x.org", ["", "", "Lee, Cy"]),
        ("", ["", "", ""]),
        ("ADA <Ada@x.org>, <bo@x.org", ["ADA", "", ""]),
    ],
)
def test_names_are_read_where_people_read_them(line: str, names: list[str]) -> None:
    recipients = "ada@x.org bo@x.org cy@x.org"
    assert settling._named(line, recipients) == list(zip(names, recipients.split(), strict=True))


@both_databases
def test_a_rule_that_changes_goes_through_all_mail_once_more() -> None:
    account = a_mailbox(new_contacts=NewContacts.NOBODY)
    put(account, *(a_letter(n, sender=f"p{n}@example.org") for n in range(1, 4)))
    put(account, to(1, "olga@example.com", sender="billing@example.net"), path="Sent")
    settle(account)
    change(account, new_contacts=NewContacts.EVERYBODY)
    settle(account)
    assert contacts() == {}, "nobody asked for the older mail"
    with db.transaction() as session:
        settling.go_through_again(session, [account.id])
    settle(account)
    assert list(contacts()) == ["olga@example.com", *(f"p{n}@example.org" for n in range(1, 4))]
    assert about("p2@example.org") == [(2, True)]
    assert len(conversations(account)) == 3, "the conversations stay"
    with db.transaction() as session:
        session.execute(delete(Contact))
    settle(account)
    assert contacts() == {}, "once is enough"


@both_databases
def test_contacts_that_others_made_are_found_here_a_day_later() -> None:
    quiet, open_one = a_mailbox("quiet@example.net", new_contacts=NewContacts.NOBODY), a_mailbox()
    put(quiet, a_letter(1))
    settle(quiet)
    put(open_one, a_letter(1))
    settle(open_one)
    yesterday = db.now() - timedelta(days=1)
    with db.transaction() as session:
        run = SyncRun(account_id=quiet.id, requested_by="", outcome=RunOutcome.COMPLETE, finished_at=yesterday)
        session.add(run)
    assert len(about("ada@example.org")) == 1
    settle(quiet)
    assert len(about("ada@example.org")) == 2
    assert list(contacts()) == ["ada@example.org"]


@both_databases
def test_our_own_domains_machines_lists_and_free_mail_as_the_settings_say() -> None:
    account = a_mailbox()
    with db.transaction() as session:
        contact_rules.change_contacts(session, domains="@Own.Example\nother.example", free_mail=False, actor=SYSTEM)
    senders = ["boss@own.example", "me@example.net", "noreply@shop.example", "x@gmail.com", "ada@example.org"]
    put(account, *(a_letter(n, sender=sender) for n, sender in enumerate(senders, 1)))
    put(account, a_letter(9, sender="list@example.org", is_bulk=True))
    settle(account)
    assert list(contacts()) == ["ada@example.org"]


def test_free_mail_domains_of_our_accounts_are_not_our_own() -> None:
    account = a_mailbox("company@gmail.com")
    put(account, a_letter(1, sender="ada@gmail.com"), a_letter(2, sender="company@gmail.com"))
    settle(account)
    assert list(contacts()) == ["ada@gmail.com"]


@both_databases
def test_a_contact_or_message_that_goes_in_the_middle_is_no_trouble() -> None:
    account = a_mailbox()
    put(account, a_letter(1))
    settle(account)
    going = begun(account)
    put(account, a_letter(2), a_letter(3, sender="bo@example.org"))
    this = settling._begun(going, {})
    with db.reading() as session:
        rows = session.execute(select(Message.id, Message.folder_id).where(Message.uid > 1)).all()
    this.roles = {row.folder_id: None for row in rows}
    this.ids = {"ada@example.org": 987_654, "bo@example.org": 987_655}
    with db.reading() as session:
        waiting = settling._waiting(session, this.roles)
    settling._settle_new(this, waiting)
    assert about("ada@example.org") == [(1, True), (2, True)]
    assert about("bo@example.org") == [(3, True)]


@both_databases
def test_a_batch_that_breaks_off_leaves_nothing_and_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    account = a_mailbox()
    monkeypatch.setattr(settling, "BATCH", 2)
    put(account, *(a_letter(n, sender=f"p{n}@example.org") for n in range(1, 7)))
    real, calls = settling._pair, []

    def break_off(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*args)

    going = begun(account)
    monkeypatch.setattr(settling, "_pair", break_off)
    with pytest.raises(KeyboardInterrupt):
        settling.settle(going)
    with db.reading() as session:
        done = session.scalars(select(Message.uid).where(Message.is_settled).order_by(Message.uid)).all()
        assert done == [5, 6], "the newest first, and of what broke off nothing"
        assert session.scalar(select(func.count()).select_from(MessageName)) == 2
    settling.settle(going)
    assert len(conversations(account)) == 6
    assert len(contacts()) == 6


def test_a_run_that_broke_off_settles_what_it_read() -> None:
    server = MemoryServer(INBOX=Kept(), Late=Kept())
    server.kept["INBOX"].add(1, from_address="ada@example.org")
    folders = [mail.Folder(path, path, "/") for path in server.kept]
    account = an_account(folders=folders)
    del server.kept["Late"]
    server.folders = lambda counts=True: folders
    assert synced(account, opening=server).outcome is RunOutcome.FAILED
    assert about("ada@example.org") == [(1, True)]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # PostgreSQL counts before it chooses an index.
def test_to_look_whether_there_is_something_to_settle_reads_no_folder(session: Session) -> None:
    assert "ix_message_unsettled" in plan_of(session, lambda session: settling._waiting(session, [1, 2]))


@both_databases
def test_two_accounts_that_meet_the_same_people_at_once_agree() -> None:
    both = [a_mailbox(), a_mailbox("sales@example.net")]
    for account in both:
        put(account, *(a_letter(n, sender=f"p{n % 60}@example.org") for n in range(1, 301)))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(settle, both)) == [None, None]
    assert len(contacts()) == 60
    assert len(about("p7@example.org")) == 10


def test_a_personal_account_keeps_its_people_to_itself(wim: Person) -> None:
    mine = a_mailbox("wim@example.net", kind=Kind.PERSONAL, owner_id=wim.id)
    put(mine, replace(a_letter(1), from_name="My Ada"))
    settle(mine)
    shared = a_mailbox()
    put(shared, a_letter(1))
    settle(shared)
    with db.reading() as session:
        ada = session.scalars(select(Contact)).one()
        assert (ada.name, ada.account_id) == ("", shared.id)
    assert len(about("ada@example.org")) == 2


def test_what_is_deleted_takes_its_links_along(wim: Person) -> None:
    account = a_mailbox()
    put(account, a_letter(1))
    settle(account)
    with db.transaction() as session:
        session.execute(update(Account).where(Account.id == account.id).values(version=2))
        session.execute(delete(Message))
    with db.reading() as session:
        assert session.scalar(select(func.count()).select_from(MessageContact)) == 0
    assert list(contacts()) == ["ada@example.org"]
