"""Mail is reached through one query only."""

from collections.abc import Sequence

import pytest
from sqlalchemy.orm import Session

from mailadmin.access import service, slots
from mailadmin.access.service import Rights
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Kind
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import teams
from mailadmin.people.models import Person, Team
from mailadmin.permissions import SYSTEM, PersonRole
from tests.access.factories import give
from tests.accounts.factories import an_account
from tests.conftest import both_databases
from tests.factories import a_person


def seen(session: Session, person: Person) -> Sequence[Account]:
    return session.scalars(service.visible_accounts(person).order_by(Account.id)).unique().all()


def a_team(session: Session, *members: Person, name: str = "Sales") -> Team:
    team = teams.create(session, name=name, actor=SYSTEM)
    for person in members:
        teams.add_member(session, team, person=person, actor=SYSTEM)
    return team


@both_databases
def test_everybody_reads_what_was_given_to_them_their_teams_mail_and_their_own(session: Session, ada: Person) -> None:
    wim, olga = (
        a_person(session, name=name, email=f"{name}@example.com".lower(), role=PersonRole.WORKER)
        for name in ("Wim", "Olga")
    )
    a_team(session, wim)
    shared, own = an_account(session), an_account(session, address="o@example.net", kind=Kind.PERSONAL, owner_id=wim.id)
    ours = an_account(session, address="sales@example.net", kind=Kind.TEAM, team="Sales")
    an_account(session, address="other@example.net", kind=Kind.TEAM, team="Press")
    give(session, olga, shared)
    assert seen(session, ada) == []
    assert seen(session, olga) == [shared]
    assert seen(session, wim) == [own, ours]
    for account, whose in ((shared, [olga]), (own, [wim]), (ours, [wim])):
        assert service.readers(session, account) == whose


def test_account_that_is_being_deleted_is_read_by_nobody(session: Session, ada: Person) -> None:
    account = an_account(session)
    give(session, ada, account)
    assert seen(session, ada) == [account]
    accounts.request_deletion(session, account, actor=SYSTEM)
    assert seen(session, ada) == []
    assert service.readers(session, account) == []


def test_mailbox_of_others_does_not_exist_not_even_for_an_administrator(
    session: Session, ada: Person, wim: Person
) -> None:
    account = an_account(session)
    give(session, wim, account)
    assert service.get_visible(session, wim, account.id) is account
    with pytest.raises(NotFound, match="not yours"):
        service.get_visible(session, ada, account.id)


def test_personal_account_is_its_owners_alone_whatever_else_was_given(
    session: Session, ada: Person, wim: Person
) -> None:
    account = an_account(session)
    give(session, ada, account)
    account.kind, account.owner_id = Kind.PERSONAL, wim.id
    session.flush()
    assert seen(session, ada) == []
    assert service.rights(session, ada, account) is None
    assert service.rights(session, wim, account) is Rights.SEND
    olga = a_person(session, name="Olga", email="olga@example.com")
    with pytest.raises(RuleBroken, match="only its owner reads it"):
        give(session, olga, account)


def test_whoever_was_deactivated_sees_nothing_and_is_no_reader(session: Session, ada: Person) -> None:
    account = an_account(session)
    give(session, ada, account)
    ada = session.get_one(Person, ada.id)
    ada.deactivated_at = now()
    session.flush()
    assert seen(session, ada) == []
    assert service.readers(session, account) == []


def test_while_mail_is_not_used_workers_see_nothing_and_are_no_readers(
    session: Session, ada: Person, wim: Person
) -> None:
    account = an_account(session)
    give(session, ada, account)
    give(session, wim, account)
    organisation.change(session, name="Example", uses_mail=False, actor=SYSTEM)
    assert seen(session, ada) == [account]
    assert seen(session, wim) == []
    assert [person.id for person in service.readers(session, account)] == [ada.id]


@pytest.mark.parametrize(
    ("given", "writes", "sends"), [(Rights.READ, False, False), (Rights.WRITE, True, False), (Rights.SEND, True, True)]
)
def test_rights_of_the_place_decide_what_may_be_done(
    session: Session, wim: Person, given: Rights, writes: bool, sends: bool
) -> None:
    account = an_account(session)
    give(session, wim, account, given)
    assert service.rights(session, wim, account) is given
    assert service.may_write(session, wim, account) is writes
    assert service.may_send(session, wim, account) is sends
    for get, may in ((service.get_writable, writes), (service.get_sendable, sends)):
        if may:
            assert get(session, wim, account.id) is account
            continue
        with pytest.raises(RuleBroken, match=r"You may read the mail of billing@example\.net, but not"):
            get(session, wim, account.id)


def test_members_of_a_team_may_do_everything_with_its_account_and_nothing_after_they_left(
    session: Session, wim: Person
) -> None:
    team = a_team(session, wim)
    account = an_account(session, kind=Kind.TEAM, team="Sales")
    give(session, wim, account, Rights.READ)
    assert service.rights(session, wim, account) is Rights.SEND
    teams.remove_member(session, team, person=wim, actor=SYSTEM)
    assert service.rights(session, wim, account) is Rights.READ
    slots.take(session, person=wim, account=account, actor=SYSTEM)
    assert service.rights(session, wim, account) is None
    with pytest.raises(NotFound):
        service.get_writable(session, wim, account.id)


def test_mailboxes_stand_in_the_order_of_the_places_with_the_star_first(session: Session, wim: Person) -> None:
    a_team(session, wim)
    made = [an_account(session, address=f"{name}@example.net") for name in "bac"]
    an_account(session, address="0@example.net", kind=Kind.TEAM, team="Sales")
    an_account(session, address="draft@example.net", kind=Kind.PERSONAL, owner_id=wim.id, is_set_up=False)
    for account in made:
        give(session, wim, account)
    slots.make_primary(session, person=wim, account=made[2], actor=SYSTEM)
    assert [address[0] for _, address in service.mailboxes(session, wim)] == ["c", "b", "a", "0"]
    assert service.primary(session, wim) is made[2]
    accounts.request_deletion(session, made[2], actor=SYSTEM)
    assert service.primary(session, wim) is None
