"""People come by a link, are kept out and let in again, have roles, and go; an administrator is always left."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.errors import RuleBroken
from mailadmin.people import service, sessions, staff, tickets
from mailadmin.people.models import Person, Ticket, TicketPurpose
from mailadmin.permissions import SYSTEM, Actor, Permission, PersonRole
from mailadmin.sealed import SealedSecret
from tests.conftest import both_databases
from tests.factories import PASSWORD, a_person

pytestmark = both_databases
ADA = Actor("Ada Lindqvist", 1, "203.0.113.7")
NEW_PASSWORD = "north wind over seven lakes"


def invited(session: Session, **wanted: object) -> Person:
    values = {"email": "mei@example.com", "name": "Mei Tanaka", "role": PersonRole.WORKER, "actor": ADA, **wanted}
    return staff.invite(session, **values)  # type: ignore[arg-type]


def test_who_is_invited_chooses_a_password_once(session: Session) -> None:
    person = invited(session)
    assert service.check_password(session, email=person.email, password="") is None
    code = staff.make_link(session, person, actor=ADA)
    assert staff.whose_link(session, code) is person
    staff.choose_password(session, code, NEW_PASSWORD)
    assert service.check_password(session, email=person.email, password=NEW_PASSWORD) is person
    with pytest.raises(RuleBroken, match="used already"):
        staff.choose_password(session, code, NEW_PASSWORD)


def test_nothing_in_the_database_opens_a_link(session: Session) -> None:
    code = staff.make_link(session, invited(session), actor=ADA)
    assert code.encode() not in session.scalars(select(Ticket.code_hash)).one()


def test_a_poor_password_leaves_the_link_good(session: Session) -> None:
    code = staff.make_link(session, invited(session), actor=ADA)
    with pytest.raises(RuleBroken, match="15 characters") as refused:
        staff.choose_password(session, code, "too short")
    assert refused.value.field == "password"
    staff.choose_password(session, code, NEW_PASSWORD)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda s, p: staff.make_link(s, p, actor=ADA), "run out"),
        (lambda s, p: s.execute(update(Ticket).values(expires_at=db.now() - timedelta(seconds=1))), "run out"),
        (lambda s, p: setattr(p, "deactivated_at", db.now()), "worth nothing"),
        (lambda s, p: s.execute(update(Ticket).values(purpose=TicketPurpose.PASSKEY)), "not known"),
    ],
)
def test_a_link_ends(session: Session, spoil: Callable[[Session, Person], object], why: str) -> None:
    person = invited(session)
    code = staff.make_link(session, person, actor=ADA)
    spoil(session, person)
    with pytest.raises(RuleBroken, match=why):
        staff.choose_password(session, code, NEW_PASSWORD)


def test_of_two_who_use_a_link_at_once_one_is_refused(ada: Person) -> None:
    with db.transaction() as session:
        code = staff.make_link(session, session.get_one(Person, ada.id), actor=ADA)

    def choose(n: int) -> str:
        try:
            with db.transaction() as own:
                staff.choose_password(own, code, f"{NEW_PASSWORD} {n}")
        except RuleBroken as broken:
            return broken.message
        return "chosen"

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(choose, range(4)))
    assert said.count("chosen") == 1
    assert all("used" in words for words in said if words != "chosen")


def test_a_new_password_ends_all_other_sessions(session: Session) -> None:
    person = a_person(session)
    tokens = [sessions.start(session, person=person, address="", browser=str(n)) for n in range(3)]
    values = {"new": NEW_PASSWORD, "keep": tokens[1], "actor": ADA}
    with pytest.raises(RuleBroken) as refused:
        staff.change_password(session, person, old="wrong", **values)  # type: ignore[arg-type]
    assert refused.value.field == "old_password"
    staff.change_password(session, person, old=PASSWORD, **values)  # type: ignore[arg-type]
    assert [found.browser for found in sessions.of_person(session, person)] == ["1"]
    staff.choose_password(session, staff.ask_for_reset(session, person), NEW_PASSWORD + "!")
    assert not sessions.of_person(session, person)


def test_who_is_deactivated_is_out_at_once_and_comes_back(session: Session) -> None:
    boss, person = a_person(session), a_person(session, email="mei@example.com", role=PersonRole.WORKER)
    token = sessions.start(session, person=person, address="", browser="")
    staff.deactivate(session, person, by=boss, actor=ADA)
    assert sessions.signed_in(session, token) is None
    assert service.check_password(session, email=person.email, password=PASSWORD) is None
    assert not person.may(Permission.READ_MAIL)
    with pytest.raises(RuleBroken, match="Reactivate"):
        staff.make_link(session, person, actor=ADA)
    staff.reactivate(session, person, by=boss, actor=ADA)
    assert service.check_password(session, email=person.email, password=PASSWORD) is person
    assert sessions.signed_in(session, token) is None, "an old session stays dead"


@pytest.mark.parametrize("deed", ["deactivate", "remove", "worker", "limit"])
def test_the_last_administrator_stays(session: Session, deed: str) -> None:
    boss = a_person(session)
    invited(session, role=PersonRole.ADMINISTRATOR, email="new@example.com")  # cannot sign in yet
    role = staff.save_role(session, None, name="Doorkeeper", permissions=["manage people"], by=boss, actor=ADA)
    deeds = {
        "deactivate": lambda who: staff.deactivate(session, who, by=boss, actor=ADA),
        "remove": lambda who: staff.remove(session, who, by=boss, actor=ADA),
        "worker": lambda who: staff.change_role(
            session, who, role=PersonRole.WORKER, custom_role=None, by=boss, actor=ADA
        ),
        "limit": lambda who: staff.change_role(
            session, who, role=PersonRole.ADMINISTRATOR, custom_role=role, by=boss, actor=ADA
        ),
    }
    with pytest.raises(RuleBroken, match="last administrator"):
        deeds[deed](boss)
    second = a_person(session, email="omar@example.com", name="Omar Haddad")
    deeds[deed](second)
    with pytest.raises(RuleBroken, match="last administrator"):
        deeds[deed](boss)


def test_of_two_who_demote_each_other_one_stays(ada: Person) -> None:
    with db.transaction() as session:
        omar_id = a_person(session, email="omar@example.com", name="Omar Haddad").id

    def demote(pair: tuple[int, int]) -> None:
        with db.transaction() as own:
            by, whom = own.get_one(Person, pair[0]), own.get_one(Person, pair[1])
            staff.change_role(own, whom, role=PersonRole.WORKER, custom_role=None, by=by, actor=SYSTEM)

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(demote, pair) for pair in ((ada.id, omar_id), (omar_id, ada.id))]
        assert any(isinstance(each.exception(), RuleBroken) for each in done)
    with db.reading() as session:
        assert session.scalar(select(func.count()).where(Person.role == PersonRole.ADMINISTRATOR)) == 1


def test_a_role_of_ones_own_allows_what_it_says_and_nothing_else(session: Session) -> None:
    boss, clerk = a_person(session), a_person(session, email="mei@example.com", name="Mei Tanaka")
    role = staff.save_role(session, None, name="Clerk", permissions=["manage people", "rule all"], by=boss, actor=ADA)
    values = {"role": PersonRole.ADMINISTRATOR, "custom_role": role, "actor": ADA}
    staff.change_role(session, clerk, by=boss, **values)  # type: ignore[arg-type]
    assert clerk.permissions == {Permission.SEE_CONSOLE, Permission.READ_MAIL, Permission.MANAGE_PEOPLE}
    worker = a_person(session, email="wim@example.com", name="Wim de Vries", role=PersonRole.WORKER)
    staff.deactivate(session, worker, by=clerk, actor=ADA)
    for deed in (
        lambda: staff.change_role(session, worker, by=clerk, **values),  # type: ignore[arg-type]
        lambda: staff.change_role(session, clerk, role=PersonRole.ADMINISTRATOR, custom_role=None, by=clerk, actor=ADA),
        lambda: staff.deactivate(session, boss, by=clerk, actor=ADA),
        lambda: staff.save_role(session, role, name="King", permissions=["manage accounts"], by=clerk, actor=ADA),
        lambda: staff.delete_role(session, role, by=clerk, actor=ADA),
    ):
        with pytest.raises(RuleBroken, match="administrator for everything"):
            deed()
    with pytest.raises(RuleBroken, match="Somebody has this role"):
        staff.delete_role(session, role, by=boss, actor=ADA)


def test_who_is_deleted_leaves_nothing_sealed_behind(session: Session) -> None:
    boss, person = a_person(session), a_person(session, email="mei@example.com", role=PersonRole.WORKER)
    day = timedelta(days=1)
    tickets.make(session, TicketPurpose.PASSKEY, lasts=day, person=person, kept="a challenge")
    assert session.scalar(select(func.count()).select_from(SealedSecret)) == 1
    staff.remove(session, person, by=boss, actor=ADA)
    assert session.scalar(select(func.count()).select_from(SealedSecret)) == 0
    assert service.find(session, "mei@example.com") is None


def test_what_old_tickets_kept_is_forgotten(session: Session) -> None:
    code = tickets.make(session, TicketPurpose.PASSKEY, lasts=timedelta(days=1), kept="a challenge")
    ticket = tickets.look(session, code, TicketPurpose.PASSKEY)
    assert tickets.kept(session, ticket) == "a challenge"
    tickets.count_try(session, ticket, most=1)
    with pytest.raises(RuleBroken, match="too many"):
        tickets.count_try(session, ticket, most=1)
    tickets.use(session, ticket)
    tickets.forget_old(session)
    assert session.scalar(select(func.count()).select_from(SealedSecret)) == 0
