"""What tests of writing do again and again: a mailbox, beginning a message, typing, pressing buttons."""

from typing import Any

from sqlalchemy import select

from mailadmin import db
from mailadmin.access.service import Rights
from mailadmin.accounts.models import Account
from mailadmin.mail.types import Envelope
from mailadmin.people.models import Person
from mailadmin.sync import rows
from mailadmin.sync.models import Message
from mailadmin.writing.models import OutgoingFile, OutgoingMessage
from tests.access.factories import give
from tests.accounts.factories import imap, smtp
from tests.pages import Browser, Page
from tests.sync.factories import NOON, an_account, folder_of

NORA = "Nora Feldt <nora@halden.example>"


def a_mailbox(
    person: Person, address: str = "sales@example.net", *, rights: Rights = Rights.SEND, **wanted: Any
) -> Account:
    """An account that `person` may use, with a message of Nora's to us and two others."""
    account = an_account(address, **{"server": imap(), "outgoing": smtp(), **wanted})
    nora = Envelope(
        1,
        subject="Quote for 40 lamps",
        from_name="Nora Feldt",
        from_address="nora@halden.example",
        to=f"{address}, Ravi <ravi@example.org>",
        recipients=(("", address), ("Ravi", "ravi@example.org"), ("", "kim@example.org")),
        message_id="<quote@halden.example>",
        received_at=NOON,
        sent_at=NOON,
    )
    with db.transaction() as session:
        rows.insert(session, folder_of(account).id, 0, [nora])
        give(session, session.get_one(Person, person.id), session.get_one(Account, account.id), rights)
    return account


def nora_id(account: Account) -> int:
    with db.reading() as session:
        return session.scalars(select(Message.id).where(Message.folder_id == folder_of(account).id)).one()


def latest() -> OutgoingMessage:
    with db.reading() as session:
        return session.scalars(select(OutgoingMessage).order_by(OutgoingMessage.id.desc())).first()


def files() -> list[str]:
    with db.reading() as session:
        return list(session.scalars(select(OutgoingFile.name).order_by(OutgoingFile.id)))


def began(browser: Browser, account: Account, deed: str = "write", **fields: str) -> Page:
    """The page of what was begun by a click."""
    place = "" if deed == "write" else f"/messages/{nora_id(account)}"
    return browser.post(f"/mailbox/{account.id}{place}/{deed}", fields, follow=True)


def typed(page: Page, **changed: Any) -> dict[str, Any]:
    """What a browser would send of the form on `page`."""
    form = page.one("form", id="composer")
    fields = {
        e.get("name"): e.get("value", "") for e in page.all("input") if e in form.iter() and e.get("type") != "file"
    }
    fields |= {"text": page.value("text"), "account_id": page.value("account_id")}
    boxes = [e for e in page.all("input", type="checkbox") if e in form.iter() and e.get("checked") is None]
    for box in boxes:
        del fields[box.get("name")]
    return {**fields, **changed}


def do(browser: Browser, page: Page, deed: str, *, htmx: bool = False, follow: bool = True, **changed: Any) -> Page:
    """Press a button of the form on `page` after typing."""
    fields = typed(page, **changed)
    fields.pop("csrf_token", None)
    return browser.post(f"/mailbox/drafts/{latest().id}/{deed}", fields, htmx=htmx, follow=follow)
