"""Who becomes a contact, whom the mail leaves out, and what stays between a person and their own account."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Account, Kind, NewContacts
from mailadmin.contacts import rules, service
from mailadmin.contacts.models import Contact
from mailadmin.mail.types import Envelope, Role
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.sync.jobs import purge
from tests.accounts import factories as accounts
from tests.conftest import both_databases

pytestmark = pytest.mark.usefixtures("booted")
ADA, WIM, OLGA = ("Ada Lind", "ada@example.org"), ("", "wim@example.org"), ("Olga", "olga@example.com")


def from_(sender: tuple[str, str], *to: tuple[str, str], uid: int = 1, **more: Any) -> Envelope:
    name, address = sender
    return Envelope(uid, from_name=name, from_address=address, recipients=to, **more)


def an_account(address: str = "billing@example.net", **wanted: Any) -> Account:
    with db.transaction() as session:
        return accounts.an_account(session, address=address, **wanted)


def meet(account: Account, *envelopes: Envelope, role: Role | None = Role.INBOX) -> None:
    with db.transaction() as session:
        if rule := rules.rule_of(session, account.id):
            service.meet(session, rule, role=role, letters=envelopes)


def known() -> dict[str, str]:
    with db.reading() as session:
        return {c.address: c.name for c in session.scalars(select(Contact).order_by(Contact.address))}


def owner_of(address: str) -> int | None:
    with db.reading() as session:
        return session.scalars(select(Contact).where(Contact.address == address)).one().account_id


@both_databases
def test_everybody_who_writes_is_one_contact_with_the_first_good_name() -> None:
    account = an_account()
    meet(account, from_(WIM), from_(("wim@example.org", "WIM@Example.org")), from_(ADA))
    assert known() == {"ada@example.org": "Ada Lind", "wim@example.org": ""}
    meet(account, from_(("'Wim de Vries'", "wim@example.org")), from_(("Ada L.", "ada@example.org")))
    meet(account, from_(("Willem", "wim@example.org")))
    assert known() == {"ada@example.org": "Ada Lind", "wim@example.org": "Wim de Vries"}


@pytest.mark.parametrize(
    ("wants", "role", "found"),
    [
        (NewContacts.NOBODY, Role.SENT, []),
        (NewContacts.WRITTEN_TO, Role.SENT, ["olga@example.com", "wim@example.org"]),
        (NewContacts.WRITTEN_TO, Role.INBOX, []),
        (NewContacts.EVERYBODY, Role.SENT, ["olga@example.com", "wim@example.org"]),
        (NewContacts.EVERYBODY, Role.INBOX, ["ada@example.org"]),
        (NewContacts.EVERYBODY, None, ["ada@example.org"]),
        (NewContacts.EVERYBODY, Role.JUNK, []),
        (NewContacts.EVERYBODY, Role.TRASH, []),
        (NewContacts.EVERYBODY, Role.DRAFTS, []),
    ],
)
def test_the_account_says_who_and_the_folder_where(wants: NewContacts, role: Role | None, found: list[str]) -> None:
    meet(an_account(new_contacts=wants), from_(ADA, WIM, OLGA), role=role)
    assert list(known()) == found


@pytest.mark.parametrize(
    "local",
    [
        *("no-reply", "noreply", "noreply-orders", "shop.no_reply", "donotreply", "do-not-reply+77", "NoReply"),
        *("mailer-daemon", "MAILER-DAEMON", "postmaster", "bounce", "bounces+77-ada=example.org", "news-bounces"),
        *("list-unsubscribe", "nicht-antworten", "ne-pas-repondre"),
    ],
)
def test_nobody_reads_what_is_sent_to_a_machine(local: str) -> None:
    assert rules.is_machine(f"{local}@example.org".lower())


@pytest.mark.parametrize("local", ["ada", "noreen", "reply", "info", "bouncer", "norman.reply", "daemon", "post"])
def test_people_are_no_machines(local: str) -> None:
    assert not rules.is_machine(f"{local}@example.org")


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@b", "a@b@c.de", "a b@c.de", "x" * 300 + "@c.de", "<a>@c.de", "a@c..de"]
)
def test_what_is_no_address_is_nobody(address: str) -> None:
    meet(an_account(), from_(("Somebody", address)), from_(ADA))
    assert list(known()) == ["ada@example.org"]


def test_lists_and_our_own_accounts_are_left_out() -> None:
    account = an_account(sender_address="invoices@example.net")
    an_account("sales@example.net")
    ours = [from_(("", "Sales@example.net")), from_(("", "invoices@example.net"))]
    meet(account, *ours, from_(("Offers", "offers@example.org"), is_bulk=True), from_(ADA))
    assert list(known()) == ["ada@example.org"]


@both_databases
def test_a_name_is_cut_and_strange_signs_do_no_harm() -> None:
    meet(
        an_account(),
        from_(("Ad\ufffda " + "x" * 999, "ada@example.org")),
        from_(("O'Neil; DROP", "o'neil@example.org")),
    )
    assert [len(name) for name in known().values()] == [200, len("O'Neil; DROP")]


@both_databases
def test_two_runs_that_meet_the_same_people_at_once_wait_and_agree() -> None:
    first, second = an_account(), an_account("sales@example.net")
    crowd = [from_(("", f"p{n}@example.org"), uid=n) for n in range(200)]

    def run(account: Account, envelopes: list[Envelope]) -> None:
        for start in range(0, 200, 40):
            meet(account, *envelopes[start : start + 40])

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(run, first, crowd), pool.submit(run, second, crowd[::-1])]
    assert [one.result() for one in both] == [None, None]
    assert len(known()) == 200


# What a personal account tells is between it and its owner.


@pytest.fixture
def mine(wim: Person) -> Account:
    return an_account("wim@example.net", kind=Kind.PERSONAL, owner_id=wim.id)


def seen_by(session: Session, person: Person) -> list[str]:
    everything = select(Account.id)
    query = select(Contact.address).where(service.visible_to(person.id, everything))
    return list(session.scalars(query.order_by(Contact.address)))


@both_databases
def test_a_contact_of_a_personal_account_is_shown_to_its_owner_alone(mine: Account, ada: Person, wim: Person) -> None:
    shared = an_account()
    meet(mine, from_(OLGA))
    meet(shared, from_(ADA))
    with db.reading() as session:
        assert seen_by(session, ada) == ["ada@example.org"]
        assert seen_by(session, wim) == ["ada@example.org", "olga@example.com"]


@both_databases
def test_met_in_a_shared_account_too_it_belongs_to_that_with_nothing_of_the_personal_one(mine: Account) -> None:
    shared = an_account()
    meet(mine, from_(("Olgalein", "olga@example.com")))
    private = moment_of("olga@example.com")
    meet(shared, from_(("", "olga@example.com")))
    assert (owner_of("olga@example.com"), known()["olga@example.com"]) == (shared.id, "")
    assert moment_of("olga@example.com") >= private
    meet(mine, from_(("Olgalein", "olga@example.com")))
    assert known()["olga@example.com"] == "", "a private name goes nowhere"
    meet(shared, from_(("Olga Novak", "olga@example.com")))
    assert known()["olga@example.com"] == "Olga Novak"


def moment_of(address: str) -> datetime:
    with db.reading() as session:
        return session.scalars(select(Contact).where(Contact.address == address)).one().created_at.astimezone(UTC)


def test_with_a_personal_account_its_contacts_go_and_others_stay(mine: Account, ada: Person) -> None:
    shared = an_account()
    meet(mine, from_(OLGA))
    meet(shared, from_(ADA))
    for account in (mine, shared):
        with db.transaction() as session:
            session.get(Account, account.id).deleting_at = db.now()
        purge(account.id)
    assert known() == {"ada@example.org": "Ada Lind"}
    assert owner_of("ada@example.org") is None
    with db.reading() as session:
        assert seen_by(session, ada) == ["ada@example.org"]


def test_a_deleted_contact_comes_back_with_the_next_message(ada: Person) -> None:
    account = an_account()
    meet(account, from_(OLGA))
    with db.transaction() as session:
        service.forget(session, session.scalars(select(Contact)).one(), actor=SYSTEM)
    assert known() == {}
    meet(account, from_(OLGA))
    assert list(known()) == ["olga@example.com"]
