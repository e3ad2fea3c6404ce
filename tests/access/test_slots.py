"""Five places: the sixth is refused, whoever asks and however many at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.access import slots
from mailadmin.access.models import SLOTS, Access
from mailadmin.access.service import Rights
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.activity.models import Activity
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.people import teams
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, PersonRole
from tests.access.factories import give
from tests.accounts.factories import an_account
from tests.conftest import both_databases
from tests.factories import a_person

TRIES, AT_ONCE = 1000, 8
SECONDS = 60.0


def some_accounts(session: Session, number: int = SLOTS) -> list[Account]:
    return [an_account(session, address=f"a{i}@example.net") for i in range(1, number + 1)]


def places(session: Session, person: Person) -> str:
    """The accounts in their places: the number of each, a dot for a free one, * for the star."""
    row = slots.of(session, person)
    return " ".join(f"{s.account.address[1]}{'*' if s.is_primary else ''}" if s else "." for s in row)


def entries(session: Session) -> list[tuple[str, str, int | None]]:
    query = select(Activity).where(Activity.what.contains("Wim")).order_by(Activity.id)
    return [(e.what, e.detail, e.account_id) for e in session.scalars(query)]


@both_databases
def test_sixth_account_is_refused_with_a_sentence_and_nothing_has_changed(session: Session, wim: Person) -> None:
    made = some_accounts(session, SLOTS + 1)
    for account in made[:SLOTS]:
        give(session, wim, account)
    said = "Wim de Vries already uses five accounts. Give one of them back, then add a6@example.net."
    with pytest.raises(RuleBroken) as refused:
        give(session, wim, made[5])
    assert refused.value.message == said
    assert places(session, wim) == "1* 2 3 4 5"


@both_databases
def test_table_itself_knows_no_sixth_place_and_none_twice(session: Session, wim: Person) -> None:
    made = some_accounts(session, 2)
    session.add(Access(person_id=wim.id, account_id=made[0].id, position=1, is_primary=True))
    session.commit()
    for values in (
        {"position": 6},
        {"position": 0},
        {"position": 1},
        {"position": 2, "account_id": made[0].id},
        {"position": 2, "is_primary": True},
    ):
        with pytest.raises(IntegrityError), db.transaction() as other:
            other.add(Access(**{"person_id": wim.id, "account_id": made[1].id, **values}))


@both_databases
def test_thousand_who_try_at_once_fill_five_places_and_no_more(session: Session, wim: Person) -> None:
    made = some_accounts(session, 10)
    session.commit()
    session.expunge_all()
    start, said = threading.Barrier(AT_ONCE), set()

    def insist(number: int) -> int:
        start.wait(SECONDS)
        given = 0
        for attempt in range(number, TRIES, AT_ONCE):
            try:
                with db.transaction() as own:
                    give(own, wim, made[attempt % len(made)])
                given += 1
            except RuleBroken as refused:
                said.add(refused.message)
        return given

    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        given = sum(pool.map(insist, range(AT_ONCE)))
    assert time.monotonic() - began < SECONDS
    assert given == SLOTS
    with db.reading() as fresh:
        filled = fresh.scalars(select(Access).order_by(Access.position)).unique().all()
        assert [slot.position for slot in filled] == [1, 2, 3, 4, 5]
        assert [slot.is_primary for slot in filled] == [True, False, False, False, False]
        assert fresh.scalar(select(func.count()).where(Activity.what.startswith("gave Wim"))) == SLOTS
    assert all("already" in sentence for sentence in said)
    assert any(sentence.startswith("Wim de Vries already uses five accounts.") for sentence in said)


@both_databases
def test_places_do_not_move_and_the_star_goes_to_the_lowest_that_is_left(session: Session, wim: Person) -> None:
    made = some_accounts(session, 4)
    for account in made[:3]:
        give(session, wim, account)
    assert places(session, wim) == "1* 2 3 . ."
    slots.take(session, person=wim, account=made[0], actor=SYSTEM)
    assert places(session, wim) == ". 2* 3 . ."
    give(session, wim, made[3], Rights.READ)
    assert places(session, wim) == "4 2* 3 . ."
    slots.make_primary(session, person=wim, account=made[3], actor=SYSTEM)
    assert places(session, wim) == "4* 2 3 . ."
    with pytest.raises(NotFound, match=r"Wim de Vries does not use a1@example\.net any more"):
        slots.take(session, person=wim, account=made[0], actor=SYSTEM)
    for account in made[1:]:
        slots.take(session, person=wim, account=account, actor=SYSTEM)
    assert places(session, wim) == ". . . . ."


@both_databases
def test_account_moves_to_a_free_place_or_changes_places_and_keeps_rights_and_star(
    session: Session, wim: Person
) -> None:
    made = some_accounts(session)
    for account in made:
        give(session, wim, account, Rights.READ if account is made[4] else Rights.SEND)
    slots.move(session, person=wim, account=made[0], position=5, actor=SYSTEM)
    assert places(session, wim) == "5 2 3 4 1*"
    first = slots.of(session, wim)[0]
    assert first is not None
    assert not first.may_write
    assert not first.may_send
    slots.take(session, person=wim, account=made[1], actor=SYSTEM)
    slots.move(session, person=wim, account=made[0], position=2, actor=SYSTEM)
    assert places(session, wim) == "5 1* 3 4 ."
    for nowhere in (0, 6, -1):
        with pytest.raises(RuleBroken, match="places 1 to 5"):
            slots.move(session, person=wim, account=made[0], position=nowhere, actor=SYSTEM)


def test_every_change_stands_in_the_audit_trail_with_account_and_person(session: Session, wim: Person) -> None:
    made = some_accounts(session, 2)
    first = made[0].id
    session.query(Activity).delete()
    give(session, wim, made[0])
    give(session, wim, made[1], Rights.READ)
    slots.set_rights(session, person=wim, account=made[0], rights=Rights.WRITE, actor=SYSTEM)
    slots.set_rights(session, person=wim, account=made[0], rights=Rights.WRITE, actor=SYSTEM)
    slots.make_primary(session, person=wim, account=made[1], actor=SYSTEM)
    slots.make_primary(session, person=wim, account=made[1], actor=SYSTEM)
    slots.move(session, person=wim, account=made[0], position=4, actor=SYSTEM)
    slots.take(session, person=wim, account=made[0], actor=SYSTEM)
    session.flush()
    assert entries(session) == [
        ("gave Wim de Vries access to a1@example.net", "Read and send, place 1 of 5", first),
        ("gave Wim de Vries access to a2@example.net", "Read only, place 2 of 5", made[1].id),
        ("changed what Wim de Vries may do with a1@example.net", "Read and change, before: read and send", first),
        ("made a2@example.net the primary account of Wim de Vries", "", made[1].id),
        ("moved a1@example.net to place 4 of the accounts of Wim de Vries", "from place 1", first),
        ("took access to a1@example.net from Wim de Vries", "place 4 of 5", first),
    ]


def test_account_is_not_given_twice_nor_to_whoever_may_not_sign_in(session: Session, wim: Person) -> None:
    account = an_account(session)
    give(session, wim, account)
    with pytest.raises(RuleBroken, match=r"Wim de Vries uses billing@example\.net already"):
        give(session, wim, account)
    gone = a_person(session, name="Olga", email="olga@example.com")
    gone.deactivated_at = db.now()
    with pytest.raises(RuleBroken, match="Olga is deactivated"):
        give(session, gone, account)


def test_place_of_an_account_that_is_being_deleted_is_free(session: Session, wim: Person) -> None:
    made = some_accounts(session, SLOTS + 1)
    for account in made[:SLOTS]:
        give(session, wim, account)
    accounts.request_deletion(session, made[1], actor=SYSTEM)
    assert places(session, wim) == "1* . 3 4 5"
    assert slots.count(session, wim) == 4
    give(session, wim, made[5])
    assert places(session, wim) == "1* 6 3 4 5"
    with pytest.raises(NotFound, match="does not exist any more"):
        give(session, wim, made[1])


def test_team_is_given_an_account_person_by_person_and_who_is_full_is_named(session: Session, wim: Person) -> None:
    made = some_accounts(session, SLOTS + 1)
    team = teams.create(session, name="Sales", actor=SYSTEM)
    olga = a_person(session, name="Olga", email="olga@example.com", role=PersonRole.WORKER)
    has = a_person(session, name="Has", email="has@example.com", role=PersonRole.WORKER)
    for person in (wim, olga, has):
        teams.add_member(session, team, person=person, actor=SYSTEM)
    for account in made[:SLOTS]:
        give(session, wim, account)
    give(session, has, made[5], Rights.READ)
    given = slots.give_team(session, team=team, account=made[5], rights=Rights.SEND, actor=SYSTEM)
    assert [[p.name for p in people] for people in (given.now_have, given.full)] == [["Olga"], ["Wim de Vries"]]
    assert [slot.person.name for slot in slots.of_account(session, made[5])] == ["Has", "Olga"]
