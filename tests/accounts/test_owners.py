"""Accounts that people add by themselves: at most five, however many they ask for at once, and nobody else's."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import owners, service
from mailadmin.accounts.models import Kind
from mailadmin.accounts.owners import MOST_OWN
from mailadmin.accounts.service import AccountWish
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import staff
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, Actor
from tests.accounts.factories import an_account
from tests.conftest import both_databases

AT_ONCE, TRIES = 8, 48
SECONDS = 60.0


@both_databases
def test_a_sixth_is_refused_however_many_are_asked_for_at_once(session: Session, wim: Person) -> None:
    organisation.rename(session, name="Example Ltd")
    organisation.let_workers_add_accounts(session, may=True, actor=SYSTEM)
    session.commit()
    start = threading.Barrier(AT_ONCE)

    def insist(number: int) -> int:
        start.wait(SECONDS)
        made = 0
        for attempt in range(number, TRIES, AT_ONCE):
            try:
                with db.transaction() as own:
                    person = own.get_one(Person, wim.id)
                    wish = AccountWish(f"box{attempt}@example.net")
                    owners.add(own, person, wish=wish, actor=Actor(person.name, person.id))
                made += 1
            except RuleBroken as refused:
                assert "which is the most" in refused.message  # noqa: PT017
        return made

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert sum(pool.map(insist, range(AT_ONCE))) == MOST_OWN
    assert len(owners.owned_by(session, wim)) == MOST_OWN


@both_databases
def test_what_is_not_a_persons_own_does_not_exist_for_them(session: Session, wim: Person, ada: Person) -> None:
    own = an_account(session, address="own@example.net", kind=Kind.PERSONAL, owner_id=wim.id)
    shared = an_account(session, address="shared@example.net")
    assert owners.own_account(session, wim, own.id) is own
    for person, account_id in ((ada, own.id), (wim, shared.id), (wim, 4711)):
        with pytest.raises(NotFound, match="There is no such account"):
            owners.own_account(session, person, account_id)
    own.deleting_at = db.now()
    session.flush()
    with pytest.raises(NotFound):
        owners.own_account(session, wim, own.id)


def test_owners_resume_what_they_paused_and_administrators_everything(
    session: Session, wim: Person, ada: Person
) -> None:
    own = an_account(session, address="own@example.net", kind=Kind.PERSONAL, owner_id=wim.id, is_set_up=True)
    owner, administrator = session.get_one(Person, wim.id), session.get_one(Person, ada.id)
    for person, is_owners in ((wim, True), (ada, False), (wim, True)):
        service.pause(session, own, actor=Actor(person.name, person.id))
        assert owners.may_resume(own, owner) is is_owners
        assert owners.may_resume(own, administrator)
        service.resume(session, own, actor=Actor(person.name, person.id))


def test_whoever_may_no_longer_sign_in_changes_nothing_of_theirs(session: Session, wim: Person, ada: Person) -> None:
    own = an_account(session, address="own@example.net", kind=Kind.PERSONAL, owner_id=wim.id)
    person = session.get_one(Person, wim.id)
    assert owners.is_owned_by(own, person)
    staff.deactivate(session, person, by=session.get_one(Person, ada.id), actor=SYSTEM)
    assert not owners.is_owned_by(own, person)
    assert not owners.is_owned_by(own, session.get_one(Person, ada.id))
