"""Who of those in the mail of an account becomes a contact there.

The account says whose letters count (`Account.new_contacts`), the organisation which domains are its own and whether
people at free-mail providers count. Machines, lists and our own accounts never do.
"""

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Kind, NewContacts
from mailadmin.contacts.models import key_of
from mailadmin.mail import known_providers
from mailadmin.mail.types import Role
from mailadmin.organisation import contact_rules as organisation

NAME_LENGTH, ADDRESS_LENGTH = 200, 254
_ADDRESS = re.compile(r'[^\s@<>"(),:;\\]{1,64}@[^\s@<>"(),:;\\.]+(\.[^\s@<>"(),:;\\.]+)+')
_MACHINE = re.compile(
    r"(.*[-._+])?(no|do[-._]?not|never)[-._]?(reply|respond|answer)([-._+=\d].*)?|(.*[-._+])?bounces?([-._+=\d].*)?"
    r"|mailer[-._]?daemon|postmaster|(.*[-._+])?(unsubscribe|listserv|majordomo)([-._+=\d].*)?"
    r"|(nicht|keine)[-._]?antwort(en)?|ne[-._]?pas[-._]?repondre|no[-._]?responder|nao[-._]?responda|non[-._]?rispondere"
)
_NOT_PEOPLE = (Role.JUNK, Role.TRASH, Role.DRAFTS)
_HOLD_SENT = (Role.ALL, Role.ARCHIVE)  # what we wrote lies there beside the rest

People = Mapping[str, tuple[str, str]]  # address and name by the key of a contact


class Letter(Protocol):
    """What has to be known of a message. `recipients` are names and addresses."""

    @property
    def from_name(self) -> str: ...

    @property
    def from_address(self) -> str: ...

    @property
    def recipients(self) -> Sequence[tuple[str, str]]: ...

    @property
    def is_bulk(self) -> bool: ...


@dataclass(slots=True)
class Rule:
    """What one account wants, and what it was found to want until now; for one run."""

    account_id: int
    address: str
    wants: NewContacts
    is_personal: bool
    takes_free_mail: bool
    own_domains: Collection[str] | None = None  # of the organisation; None: not asked yet
    met: set[str] = field(default_factory=set)  # keys that are contacts, with a name


def rule_of(session: Session, account_id: int, wants: NewContacts | None = None) -> Rule | None:
    """The rule of an account, or what it would be if the account wanted `wants`; None where it makes no contacts."""
    query = select(Account.address, Account.new_contacts, Account.kind).where(Account.id == account_id)
    account = session.execute(query).one_or_none()
    wants = wants or (account.new_contacts if account else None)
    if account is None or wants is None or wants is NewContacts.NOBODY:
        return None
    takes_free_mail = organisation.free_mail_contacts(session)
    is_personal = account.kind is Kind.PERSONAL
    return Rule(account_id, account.address.lower(), wants, is_personal, takes_free_mail)


def brings_people(rule: Rule, role: Role | None) -> bool:
    """Whether messages of a folder with `role` can make contacts."""
    if role in _NOT_PEOPLE:
        return False
    return rule.wants is NewContacts.EVERYBODY or role is Role.SENT or role in _HOLD_SENT


def were_written_to(rule: Rule, role: Role | None, sender: str) -> bool:
    """Whether a message in a folder with `role`, from `sender` in lower case, is one that the account wrote."""
    return role is Role.SENT or (role in _HOLD_SENT and sender == rule.address)


def people_in(rule: Rule, role: Role | None, letters: Sequence[Letter]) -> dict[str, tuple[str, str]]:
    """Those whom `letters` bring, as far as the letters tell; the newest come first, and the first good name counts."""
    found: dict[str, tuple[str, str]] = {}
    if not brings_people(rule, role):
        return found
    for letter in letters:
        if letter.is_bulk:
            continue
        if were_written_to(rule, role, letter.from_address.lower()):
            _add(found, letter.recipients)
        elif rule.wants is NewContacts.EVERYBODY:
            _add(found, ((letter.from_name, letter.from_address),))
    return found


def _add(found: dict[str, tuple[str, str]], mailboxes: Sequence[tuple[str, str]]) -> None:
    for name, written in mailboxes:
        address = written.lower()
        key = _key_of_person(address)
        if key is not None:
            first, known = found.get(key, (address, ""))
            found[key] = (first, known or _good_name(name))


@functools.lru_cache(maxsize=4096)
def _key_of_person(address: str) -> str | None:
    """The key of the contact that `address` could be; the same people write again and again."""
    return key_of(address) if is_address(address) and not is_machine(address) else None


def is_address(text: str) -> bool:
    """Whether `text`, in lower case, is an address as a contact has it."""
    return len(text) <= ADDRESS_LENGTH and _ADDRESS.fullmatch(text) is not None


def is_machine(address: str) -> bool:
    """Whether nobody reads what is sent to `address`, given in lower case, as far as its name tells."""
    return _MACHINE.fullmatch(address.rpartition("@")[0]) is not None


def _good_name(name: str) -> str:
    """`name` if it is one, and not the address once more."""
    name = name.strip(" '\"")
    return "" if "@" in name else name[:NAME_LENGTH]


def strangers(session: Session, rule: Rule, people: People) -> dict[str, tuple[str, str]]:
    """Those of `people` who are neither our own accounts nor of a domain that makes no contacts."""
    if rule.own_domains is None:
        rule.own_domains = own_domains(session)
    addresses = [address for address, _ in people.values()]
    ours = select(Account.address, Account.sender_address).where(
        or_(Account.address.in_(addresses), Account.sender_address.in_(addresses))
    )
    own = {key_of(address.lower()) for row in session.execute(ours) for address in row if address}
    return {
        key: person
        for key, person in people.items()
        if key not in own and _is_welcome(rule, key.rpartition("@")[2], rule.own_domains)
    }


def _is_welcome(rule: Rule, domain: str, own: Collection[str]) -> bool:
    return domain not in own and (rule.takes_free_mail or not is_free_mail(domain))


def own_domains(session: Session) -> frozenset[str]:
    """The domains at which nobody is a contact: those the settings name, and those of our accounts, but free mail."""
    live = select(Account.address).where(Account.deleting_at.is_(None))
    of_accounts = {address.rpartition("@")[2].lower() for address in session.scalars(live)}
    return frozenset(organisation.own_domains(session)) | {d for d in of_accounts if not is_free_mail(d)}


def is_free_mail(domain: str) -> bool:
    """Whether anybody can have an address at `domain` (lower case): it is one of a provider's own."""
    return known_providers.by_domain(domain) is not None
