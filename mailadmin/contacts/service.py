"""Contacts: whose addresses the mail brings here, who may see them, and how they go.

A run hands over the messages that it settles (sync/settling.py); rules.py says who of those in them becomes a contact.
A contact belongs to the account in which it was met first, but one that was met only in a personal account is that
person's business: it passes to the first other account in which it is met, and nothing that a personal account tells is
written into a contact of others.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Table, case, delete, false, or_, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Kind
from mailadmin.activity import service as activity
from mailadmin.contacts.models import Contact
from mailadmin.contacts.rules import Letter, People, Rule, brings_people, people_in, rule_of, strangers
from mailadmin.db import now
from mailadmin.mail.types import Role
from mailadmin.permissions import Actor

__all__ = ["Letter", "People", "Rule", "brings_people", "people_in", "rule_of"]

TABLE: Table = Contact.__table__  # type: ignore[assignment]
_AT_ONCE = 500


def meet(session: Session, rule: Rule, *, role: Role | None, letters: Sequence[Letter]) -> set[str]:
    """Make contacts of those whom `letters`, of a folder with `role`, bring into an account with `rule`; their keys.

    May run twice, and in two sessions at once: an address is one contact, whatever stands after a plus sign in it. The
    first good name stays.
    """
    people = {key: who for key, who in people_in(rule, role, letters).items() if key not in rule.met}
    if not people:
        return set()
    done = _settled(session, rule.account_id, people)
    rule.met |= done
    people = strangers(session, rule, {key: who for key, who in people.items() if key not in done})
    if people:
        _insert(session, rule.account_id, people, is_personal=rule.is_personal)
    return set(people)


def known(session: Session, keys: Collection[str]) -> dict[str, int]:
    """The ids of those of `keys` that are contacts."""
    found: dict[str, int] = {}
    every = list(keys)
    for start in range(0, len(every), _AT_ONCE):
        query = select(Contact.key, Contact.id).where(Contact.key.in_(every[start : start + _AT_ONCE]))
        found.update((key, id_) for key, id_ in session.execute(query))
    return found


def newcomers(session: Session, rule: Rule, people: People) -> set[str]:
    """The keys of those of `people` of whom `rule` would make contacts and who are none yet; nothing is stored."""
    every, found = sorted(people), set[str]()
    for start in range(0, len(every), _AT_ONCE):
        some = {key: people[key] for key in every[start : start + _AT_ONCE]}
        found |= strangers(session, rule, some).keys() - known(session, some).keys()
    return found


def _settled(session: Session, account_id: int, people: People) -> set[str]:
    """Those of `people` for whom there is nothing to do: they are contacts that have all they can have."""
    mine = or_(Contact.account_id.is_(None), Contact.account_id == account_id, Contact.account_id.not_in(_personal()))
    rows = session.execute(select(Contact.key, Contact.name).where(Contact.key.in_(people), mine))
    return {row.key for row in rows if row.name or not people[row.key][1]}


def _personal() -> Any:
    return select(Account.id).where(Account.kind == Kind.PERSONAL)


def _insert(session: Session, account_id: int, people: People, *, is_personal: bool) -> None:
    """One statement, in the order of keys, so that two that insert the same ones wait and never for each other."""
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
        {"key": key, "address": address, "name": name, "account_id": account_id, "created_at": moment}
        for key, (address, name) in sorted(people.items())
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


def forget_domains(session: Session, domains: Iterable[str]) -> None:
    """Delete the contacts at `domains`, which turned out to be the organisation's own."""
    for domain in domains:
        at = Contact.key.endswith(f"@{domain}", autoescape=True)
        session.execute(delete(Contact).where(at).execution_options(synchronize_session=False))


def is_private_to_another(person_id: int) -> Any:
    """The rule for contacts that were met only in a personal account of somebody else than the person."""
    others = _personal().where(or_(Account.owner_id.is_(None), Account.owner_id != person_id))
    return Contact.account_id.is_not(None) & Contact.account_id.in_(others)


def visible_to(person_id: int, account_ids: Any) -> Any:
    """The rule for a query of contacts: met in one of `account_ids`, a query, that is no other person's own.

    Those of accounts that were deleted stay, for `forget_account` took the personal ones.
    """
    return or_(Contact.account_id.is_(None), Contact.account_id.in_(account_ids)) & ~is_private_to_another(person_id)
