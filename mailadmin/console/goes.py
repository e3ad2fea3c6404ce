"""What goes away with an account, counted for the question before its deletion."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Credential, Kind
from mailadmin.connections.models import Check
from mailadmin.contacts.models import Contact
from mailadmin.sync.models import Folder, Message, SyncRun


@dataclass(frozen=True, slots=True)
class Goes:
    """How many stored passwords, synced messages, folders, records of tests and syncs, and contacts of one person."""

    secrets: int
    messages: int
    folders: int
    records: int
    contacts: int


def with_account(session: Session, account: Account) -> Goes:
    """What goes away with `account`, all messages counted: also those of folders that are not synced any more."""
    account_id, is_personal = account.id, account.kind is Kind.PERSONAL
    messages = select(func.count(Message.id)).join(Folder, Folder.id == Message.folder_id)
    return Goes(
        secrets=_count(session, Credential, account_id),
        messages=session.scalar(messages.where(Folder.account_id == account_id)) or 0,
        folders=_count(session, Folder, account_id),
        records=_count(session, Check, account_id) + _count(session, SyncRun, account_id),
        contacts=_count(session, Contact, account_id) if is_personal else 0,
    )


def _count(session: Session, table: Any, account_id: int) -> int:
    return session.scalar(select(func.count(table.id)).where(table.account_id == account_id)) or 0
