"""Contacts out of real mail: what a sync of a Dovecot leaves behind, and that it costs next to nothing."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts.models import NewContacts, Window
from mailadmin.contacts.models import Contact
from mailadmin.mail.types import Role
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service
from tests.conftest import both_databases
from tests.sync import conftest as sync
from tests.sync.factories import Box, folder_of, synced

dovecot, settings, box = sync.dovecot, sync.settings, sync.box


def a_letter(sender: str, to: str, *more: str) -> bytes:
    lines = (f"From: {sender}", f"To: {to}", "Subject: Hello", f"Message-ID: <{hash((sender, to))}@example.org>", *more)
    return "\r\n".join((*lines, "", "Hello.", "")).encode()


def people() -> dict[str, str]:
    with db.reading() as session:
        return {c.address: c.name for c in session.scalars(select(Contact).order_by(Contact.address))}


def letters(box: Box) -> None:
    """An inbox with people and machines, and a Sent with recipients."""
    inbox = [
        a_letter("=?utf-8?q?Ren=C3=A9e?= <renee@example.com>", box.user),
        a_letter("Offers <offers@shop.example.org>", box.user, "List-Unsubscribe: <https://shop.example.org/u>"),
        a_letter("no-reply@shop.example.org", box.user),
        a_letter("Away <away@example.org>", box.user, "Auto-Submitted: auto-replied"),
        a_letter("Spammer <spam@example.org>", box.user),
    ]
    sent = [a_letter(box.user, "Olga <olga@example.com>, wim@example.com", "Cc: Ada <ada@example.com>")]
    moment = db.now() - timedelta(hours=1)
    for folder, raw in (("INBOX", inbox[:4]), ("Junk", inbox[4:]), ("Sent", sent)):
        box.dovecot.deliver(((one, moment) for one in raw), user=box.user, folder=folder)


@both_databases
@pytest.mark.parametrize(
    ("wants", "found"),
    [
        (NewContacts.EVERYBODY, ["ada@example.com", "olga@example.com", "renee@example.com", "wim@example.com"]),
        (NewContacts.WRITTEN_TO, ["ada@example.com", "olga@example.com", "wim@example.com"]),
        (NewContacts.NOBODY, []),
    ],
)
def test_a_sync_makes_the_contacts_that_the_account_wants(box: Box, wants: NewContacts, found: list[str]) -> None:
    letters(box)
    account = box.account("Sent", "Junk", new_contacts=wants)
    with db.transaction() as session:
        wanted = {folder_of(account, path).id for path in ("INBOX", "Sent", "Junk")}
        roles = {Role.SENT: folder_of(account, "Sent").id, Role.JUNK: folder_of(account, "Junk").id}
        service.choose_folders(session, account, active=wanted, roles=roles, actor=SYSTEM)
    run = synced(account, batch=2)
    assert (run.new, list(people())) == (6, found)
    if "renee@example.com" in found:
        assert people()["renee@example.com"] == "Renée"


def test_mail_from_before_the_window_brings_nobody(box: Box) -> None:
    letters(box)
    account = box.account("Sent", window=Window.NOW)
    synced(account)
    assert people() == {}
