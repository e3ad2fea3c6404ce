"""Contacts: whose addresses the mail brings here, who may see them, and how they go.

Sync hands over every batch of messages that it stores. What an account wants (`Account.new_contacts`) decides; lists,
newsletters and machines are left out, and so are our own accounts. A contact belongs to the account in which it was met
first, but one that was met only in a personal account is that person's business: it passes to the first other account
in which it is met, and nothing that a personal account tells is written into a contact of others.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Table, case, delete, false, or_, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Kind, NewContacts
from mailadmin.activity import service as activity
from mailadmin.contacts.models import Contact, key_of
from mailadmin.db import now
from mailadmin.mail.types import Envelope, Role
from mailadmin.permissions import Actor

TABLE: Table = Contact.__table__  # type: ignore[assignment]
NAME_LENGTH, ADDRESS_LENGTH = 200, 254
_ADDRESS = re.compile(r'[^\s@<>"(),:;\\]{1,64}@[^\s@<>"(),:;\\.]+(\.[^\s@<>"(),:;\\.]+)+')
_MACHINE = re.compile(
    r"(.*[-._+])?(no|do[-._]?not|never)[-._]?(reply|respond|answer)([-._+=\d].*)?|(.*[-._+])?bounces?([-._+=\d].*)?"
    r"|mailer[-._]?daemon|postmaster|(.*[-._+])?(unsubscribe|listserv|majordomo)([-._+=\d].*)?"
    r"|(nicht|keine)[-._]?antwort(en)?|ne[-._]?pas[-._]?repondre|no[-._]?responder|nao[-._]?responda|non[-._]?rispondere"
)
_NOT_PEOPLE = (Role.JUNK, Role.TRASH, Role.DRAFTS)


def meet(session: Session, *, account_id: int, role: Role | None, envelopes: Iterable[Envelope]) -> None:
    """Make contacts of those whom `envelopes`, messages of a folder with `role`, bring into an account that wants it.

    May run twice, and in two sessions at once: an address is one contact. The first good name stays.
    """
    if role in _NOT_PEOPLE:
        return
    query = select(Account.new_contacts, Account.kind).where(Account.id == account_id)
    account = session.execute(query).one_or_none()
    if account is None or account.new_contacts is NewContacts.NOBODY:
        return
    if role is not Role.SENT and account.new_contacts is NewContacts.WRITTEN_TO:
        return
    people = _people(envelopes, were_written_to=role is Role.SENT)
    for address in _settled(session, account_id, people):
        del people[address]
    if people:
        _insert(session, account_id, people, is_personal=account.kind is Kind.PERSONAL)


def _people(envelopes: Iterable[Envelope], *, were_written_to: bool) -> dict[str, str]:
    """Names by address; the newest messages come first, and the first good name counts."""
    found: dict[str, str] = {}
    for envelope in envelopes:
        if envelope.is_bulk:
            continue
        sender = ((envelope.from_name, envelope.from_address),)
        for name, written in envelope.recipients if were_written_to else sender:
            address = written.lower()
            if len(address) <= ADDRESS_LENGTH and _ADDRESS.fullmatch(address) and not is_machine(address):
                found[address] = found.get(address) or _good_name(name)
    return found


def is_machine(address: str) -> bool:
    """Whether nobody reads what is sent to `address`, given in lower case, as far as its name tells."""
    return _MACHINE.fullmatch(address.rpartition("@")[0]) is not None


def _good_name(name: str) -> str:
    """`name` if it is one, and not the address once more."""
    name = name.strip(" '\"")
    return "" if "@" in name else name[:NAME_LENGTH]


def _settled(session: Session, account_id: int, people: Mapping[str, str]) -> set[str]:
    """Those of `people` for whom there is nothing to do: our own accounts, and contacts that have all they can have."""
    if not people:
        return set()
    ours = select(Account.address, Account.sender_address).where(
        or_(Account.address.in_(people), Account.sender_address.in_(people))
    )
    known = select(Contact.address, Contact.name).where(
        Contact.address.in_(people), or_(Contact.account_id.is_(None), Contact.account_id.not_in(_personal()))
    )
    mine = select(Contact.address, Contact.name).where(Contact.address.in_(people), Contact.account_id == account_id)
    settled = {address for row in session.execute(ours) for address in row if address in people}
    return settled | {row.address for row in session.execute(known.union(mine)) if row.name or not people[row.address]}


def _personal() -> Any:
    return select(Account.id).where(Account.kind == Kind.PERSONAL)


def _insert(session: Session, account_id: int, people: Mapping[str, str], *, is_personal: bool) -> None:
    """One statement, in the order of addresses, so that two that insert the same ones wait and never for each other."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(TABLE)
    new, moment = insert.excluded, now()
    moves = false() if is_personal else TABLE.c.account_id.in_(_personal()) & (TABLE.c.account_id != account_id)
    is_ours = TABLE.c.account_id == account_id if is_personal else true()
    gets_name = (TABLE.c.name == "") & (new.name != "") & is_ours
    statement = insert.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "name": case((moves | gets_name, new.name), else_=TABLE.c.name),
            "account_id": case((moves, new.account_id), else_=TABLE.c.account_id),
            "created_at": case((moves, new.created_at), else_=TABLE.c.created_at),
        },
        where=moves | gets_name,
    )
    rows = [
        {
            "key": key_of(address),
            "address": address,
            "name": people[address],
            "account_id": account_id,
            "created_at": moment,
        }
        for address in sorted(people)
    ]
    session.connection().execute(statement, rows)


def forget_account(session: Session, account_id: int) -> None:
    """Delete the contacts that were met in this account alone and are nobody else's: those of a personal one."""
    of_person = Contact.account_id == account_id, Contact.account_id.in_(_personal())
    session.execute(delete(Contact).where(*of_person).execution_options(synchronize_session=False))


def forget(session: Session, contact: Contact, *, actor: Actor) -> None:
    """Delete `contact`; mail from or to it makes it anew. The trail does not say who it was."""
    session.delete(contact)
    activity.record(session, actor, "deleted a contact", account_id=contact.account_id)
    session.flush()


def visible_to(person_id: int, account_ids: Any) -> Any:
    """The rule for a query of contacts: met in one of `account_ids`, a query, that is no other person's own.

    Those of accounts that were deleted stay, for `forget_account` took the personal ones.
    """
    others = _personal().where(or_(Account.owner_id.is_(None), Account.owner_id != person_id))
    return or_(Contact.account_id.is_(None), Contact.account_id.in_(account_ids) & Contact.account_id.not_in(others))
