"""Read-only queries for the mail with one contact: what a person may read, and what owners show of their own mail.

A message that lies in several places is shown once, from the place where the person may read it, if there is one. What
an owner does not show is left out here, before a page can hold it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from mailadmin.access.service import visible_accounts
from mailadmin.access.shown import shown_accounts
from mailadmin.accounts.models import Account, Visibility
from mailadmin.console.contacts import in_accounts
from mailadmin.console.paging import PAGE, Paged, within
from mailadmin.contacts.models import Contact
from mailadmin.errors import NotFound
from mailadmin.people.models import Person
from mailadmin.sync import copies
from mailadmin.sync.models import Folder, Message, MessageContact, MessageText
from mailadmin.text import t

_WITH_SUBJECT = (Visibility.SUBJECT, Visibility.EVERYTHING)


@dataclass(frozen=True, slots=True)
class Line:
    """One message on the page of a contact. `visibility` None: the person may read the account.

    `subject` None and an empty `preview`: their owner does not show them.
    """

    id: int
    folder_id: int
    account_id: int
    account: str
    owner: str
    at: datetime | None
    is_from: bool
    is_read: bool
    has_attachments: bool
    subject: str | None
    preview: str
    visibility: Visibility | None

    @property
    def opens(self) -> bool:
        """Whether the text can be read."""
        return self.visibility in (None, Visibility.EVERYTHING)


@dataclass(frozen=True, slots=True)
class Mail(Paged):
    """One page of the mail with a contact, newest first; `last_at` is when the last of all came."""

    lines: Sequence[Line]
    total: int
    last_at: datetime | None
    page: int


def with_contact(session: Session, person: Person, contact: Contact, *, page: int) -> Mail:
    """The mail with `contact` that `person` may see; a page beyond the last is the last."""
    rule = and_(MessageContact.contact_id == contact.id, _may_see(session, person))
    joined = select(Message.id).join(MessageContact, MessageContact.message_id == Message.id).where(rule)
    number, last_at = session.execute(joined.with_only_columns(func.count(), func.max(Message.received_at))).one()
    page = within(page, number)
    newest = (Message.received_at.desc().nulls_last(), Message.id.desc())
    ids = session.scalars(joined.order_by(*newest).limit(PAGE).offset((page - 1) * PAGE)).all()
    return Mail(_lines(session, person, contact, ids), number, last_at, page)


def _may_see(session: Session, person: Person) -> ColumnElement[bool]:
    """The rule for messages that a page may tell of, each once."""
    may_read = in_accounts(visible_accounts(person))
    once = and_(may_read(Message), copies.shown_once(may_read))
    if not session.scalar(select(exists(shown_accounts(person).with_only_columns(Account.id)))):
        return once
    shown = in_accounts(shown_accounts(person))
    return or_(once, and_(shown(Message), copies.shown_once(shown, rather=may_read)))


def _lines(session: Session, person: Person, contact: Contact, ids: Sequence[int]) -> list[Line]:
    readable = set(session.scalars(visible_accounts(person).with_only_columns(Account.id)))
    query = (
        select(Message, Folder.account_id, MessageContact.is_sender)
        .join(Folder, Folder.id == Message.folder_id)
        .join(MessageContact, MessageContact.message_id == Message.id)
        .where(Message.id.in_(ids), MessageContact.contact_id == contact.id)
    )
    rows = {row.Message.id: row for row in session.execute(query)}
    held = {row.account_id for row in rows.values()}
    accounts = {each.id: each for each in session.scalars(select(Account).where(Account.id.in_(held))).unique()}
    found = [rows[id_] for id_ in ids if id_ in rows]
    return [_line(row, accounts[row.account_id], is_readable=row.account_id in readable) for row in found]


def _line(row: Any, account: Account, *, is_readable: bool) -> Line:
    message, visibility = row.Message, None if is_readable else account.visibility
    return Line(
        id=message.id,
        folder_id=message.folder_id,
        account_id=account.id,
        account=account.address,
        owner=account.owner.name if account.owner and not is_readable else "",
        at=message.received_at,
        is_from=row.is_sender,
        is_read=message.is_read or not is_readable,
        has_attachments=message.has_attachments and (is_readable or visibility is Visibility.EVERYTHING),
        subject=message.subject if is_readable or visibility in _WITH_SUBJECT else None,
        preview=message.preview if is_readable or visibility is Visibility.EVERYTHING else "",
        visibility=visibility,
    )


def shown_text(session: Session, person: Person, contact: Contact, message_id: int) -> tuple[Line, str]:
    """A message of somebody else with `contact`, whose owner shows everything, and its text. Raises NotFound."""
    rule = and_(Message.id == message_id, in_accounts(shown_accounts(person))(Message))
    known = session.scalars(select(Message.id).where(rule)).one_or_none()
    lines = _lines(session, person, contact, [known]) if known is not None else []
    if not lines or lines[0].visibility is not Visibility.EVERYTHING:
        raise NotFound(t("This message does not exist any more, or its owner does not show it."))
    text = session.scalar(select(MessageText.text).where(MessageText.message_id == message_id))
    return lines[0], text or ""
