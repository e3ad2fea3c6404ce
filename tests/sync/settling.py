"""Makers for the tests of what is found out about stored messages: rows without a server, and a run to settle them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import select

from mailadmin import db, leases
from mailadmin.accounts.models import Account
from mailadmin.contacts.models import Contact
from mailadmin.mail import types as mail
from mailadmin.mail.types import Envelope, Role
from mailadmin.sync import rows, settling
from mailadmin.sync.beginning import begin
from mailadmin.sync.going import Going
from mailadmin.sync.models import Folder, Message, MessageContact, SyncRun
from tests.sync.factories import NOON, a_run, an_account, folder_of

ROLES = (("INBOX", Role.INBOX), ("Sent", Role.SENT), ("Junk", Role.JUNK), ("Archive", None))
OUR_DOMAIN = "example.net"


def a_mailbox(address: str = "billing@example.net", **wanted: Any) -> Account:
    """A set-up account with an inbox, Sent, Junk and an archive, all of which are synced."""
    folders = [mail.Folder(path, path, "/", role=role, role_source="server" if role else None) for path, role in ROLES]
    account = an_account(address, folders=folders, **wanted)
    with db.transaction() as session:
        for folder in session.scalars(select(Folder).where(Folder.account_id == account.id)):
            folder.is_active, folder.stored = True, 0
    return account


def a_letter(uid: int, *, at: datetime | None = None, sender: str = "ada@example.org", **wanted: Any) -> Envelope:
    """A message with an id, `<uid@there>`, a sender and a hash of what is in it; a minute later for each UID."""
    values = {"message_id": f"<{uid}@there>", "subject": f"Message {uid}", **wanted}
    content = repr((values["message_id"], values["subject"], sender)).encode()
    values.setdefault("content_hash", blake2b(content, digest_size=16).digest())
    return Envelope(uid, received_at=at or NOON + timedelta(minutes=uid), from_address=sender, **values)


def put(account: Account, *letters: Envelope, path: str = "INBOX") -> None:
    """Store `letters` in a folder, as a pass does."""
    with db.transaction() as session:
        folder = session.get(Folder, folder_of(account, path).id)
        assert folder
        rows.insert(session, folder.id, folder.generation, letters)
        folder.stored += len(letters)
        folder.unread += sum("\\Seen" not in letter.flags for letter in letters)


def begun(account: Account) -> Going:
    """A run of `account` that has begun."""
    found = begin(a_run(account).id, 500)
    assert found
    return found[0]


def settle(account: Account) -> None:
    """A run that only settles, and ends."""
    going = begun(account)
    settling.settle(going)
    with db.transaction() as session:
        leases.release(session, going.held)
        run = session.get(SyncRun, going.run_id)
        assert run
        session.delete(run)


def conversations(account: Account) -> list[set[int]]:
    """The messages of `account` by conversation: sets of UIDs, the lowest first."""
    mine = select(Message.thread_id, Message.uid).join(Folder).where(Folder.account_id == account.id)
    found: dict[int | None, set[int]] = {}
    with db.reading() as session:
        for thread, uid in session.execute(mine):
            found.setdefault(thread, set()).add(uid)
    assert None not in found, "nothing is left unsettled"
    return sorted(found.values(), key=min)


def about(address: str) -> Sequence[tuple[int, bool]]:
    """The messages from or to a contact: UID, and whether it is the sender."""
    query = (
        select(Message.uid, MessageContact.is_sender)
        .join(MessageContact, MessageContact.message_id == Message.id)
        .join(Contact, Contact.id == MessageContact.contact_id)
        .where(Contact.address == address)
        .order_by(Message.uid)
    )
    with db.reading() as session:
        return [(uid, is_sender) for uid, is_sender in session.execute(query)]
