from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.config import Settings
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import passwords, service, sessions
from mailadmin.people.models import Person, SetupLink, SignIn
from mailadmin.permissions import PersonRole
from tests.conftest import both_databases
from tests.factories import PASSWORD, a_person

pytestmark = both_databases


def first(session: Session, code: str, email: str = "ada@example.com") -> Person:
    return service.create_first_administrator(
        session, code=code, organisation_name="Example Ltd", name="Ada Lindqvist", email=email, password=PASSWORD
    )


def a_session(session: Session, person: Person) -> str:
    return sessions.start(session, person=person, address="127.0.0.1", browser="test")


def test_the_set_up_link_makes_the_first_administrator(session: Session) -> None:
    person = first(session, service.make_setup_link(session))
    assert person.role is PersonRole.ADMINISTRATOR
    assert organisation.name(session) == "Example Ltd"


def test_the_set_up_link_is_kept_as_a_hash_only(session: Session) -> None:
    code = service.make_setup_link(session)
    assert code.encode() not in session.scalars(select(SetupLink.code_hash)).one()


def test_the_set_up_link_works_once(session: Session) -> None:
    code = service.make_setup_link(session)
    session.execute(update(Person).values(deactivated_at=db.now()))
    person = first(session, code)
    person.deactivated_at = db.now()  # so that only the link itself can refuse
    with pytest.raises(RuleBroken, match="used already"):
        first(session, code, "olga@example.com")


def test_no_set_up_while_an_administrator_exists(session: Session) -> None:
    code = service.make_setup_link(session)
    a_person(session)
    with pytest.raises(RuleBroken, match="administrator already"):
        first(session, code, "olga@example.com")
    with pytest.raises(RuleBroken, match="administrator already"):
        service.make_setup_link(session)


def test_a_set_up_link_runs_out(session: Session) -> None:
    code = service.make_setup_link(session, hours=-1)
    with pytest.raises(RuleBroken, match="run out"):
        first(session, code)


def test_a_new_set_up_link_ends_the_old_one(session: Session) -> None:
    old = service.make_setup_link(session)
    service.make_setup_link(session)
    with pytest.raises(RuleBroken):
        service.check_setup_code(session, old)


def test_a_made_up_code_is_refused(session: Session) -> None:
    with pytest.raises(RuleBroken) as refused:
        first(session, "x" * 32)
    assert refused.value.field == "code"


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("lamp desk harb", "15 characters"),
        ("passwordpassword", "most common"),
        ("1QAZ2wsx3edc4rfv", "most common"),
        ("aaaaaaaaaaaaaaaa", "repeats"),
        ("Mailadmin2026!Mailadmin", "everybody here knows"),
        ("example.com-ada-17", "everybody here knows"),
        ("lindqvist202612", "Your name"),
        ("ada@example.com", "Your name"),
        ("hello ada@example.com again", "Your name"),
        ("x y" * 400, "at most"),
    ],
)
def test_a_poor_password_is_refused(session: Session, password: str, why: str) -> None:
    with pytest.raises(RuleBroken, match=why) as refused:
        a_person(session, password=password)
    assert refused.value.field == "password"


def test_names_are_refused_whatever_stands_between_them(session: Session) -> None:
    organisation.rename(session, name="Nordhavn Lampworks")
    for password in ("Nordhavn-2026-Lampworks", "nordhavnADA1234567", "++lampworks++mailadmin++"):
        with pytest.raises(RuleBroken, match="everybody here knows") as refused:
            a_person(session, password=password)
        assert refused.value.field == "password"
    a_person(session, password="nordhavn lampworks teapot river")
    with pytest.raises(RuleBroken, match="repeats a few"):  # at once, however many ways lead through it
        passwords.check("aaa" * 300 + "bzx", email="aaa@aaaa.example", name="Bob", organisation="Aaaaa")


@pytest.mark.parametrize("email", ["ada", "ada@", "@example.com", "ada@@example.com", "ada example.com"])
def test_what_is_no_address_is_refused(session: Session, email: str) -> None:
    with pytest.raises(RuleBroken) as refused:
        a_person(session, email=email)
    assert refused.value.field == "email"


@pytest.mark.parametrize("name", ["", "  ", "x" * 121, "Ada\0", "Ada\x1b[2J", "Ada\u202e"])
def test_what_is_no_name_is_refused(session: Session, name: str) -> None:
    with pytest.raises(RuleBroken) as refused:
        a_person(session, name=name)
    assert refused.value.field == "name"


def test_name_is_kept_as_its_language_writes_it(session: Session) -> None:
    assert a_person(session, name="علی\u200cرضا").name == "علی\u200cرضا"
    assert a_person(session, email="taro@example.com", name="東京\u3000太郎").name == "東京 太郎"


def test_a_password_may_hold_a_part_of_the_name_among_other_words(session: Session) -> None:
    assert a_person(session, password="lindqvist lamp desk harbour")


def test_an_address_belongs_to_one_person_whatever_its_case(session: Session) -> None:
    a_person(session)
    with pytest.raises(RuleBroken, match="here already"):
        a_person(session, email="ADA@Example.com")


def test_the_right_password_is_recognised_and_no_other(session: Session) -> None:
    person = a_person(session)
    assert service.check_password(session, email=" Ada@example.com", password=PASSWORD) is person
    assert service.check_password(session, email="ada@example.com", password="lamp desk harbour 8") is None
    assert service.check_password(session, email="nobody@example.com", password=PASSWORD) is None
    assert service.check_password(session, email="ada\0@example.com", password=PASSWORD) is None


def test_a_password_is_not_cut(session: Session) -> None:
    longest = (PASSWORD * 60)[: passwords.LONGEST]
    a_person(session, password=longest)
    assert service.check_password(session, email="ada@example.com", password=longest)
    assert service.check_password(session, email="ada@example.com", password=longest + "x") is None


def test_an_unknown_address_costs_as_much_as_a_known_one(
    session: Session, quick_passwords: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_hasher", quick_passwords)
    assert passwords.hash_password(PASSWORD).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not passwords.is_outdated(passwords.NOBODY)
    assert not passwords.fits("", None)


def test_a_hash_with_old_parameters_is_renewed_at_sign_in(session: Session) -> None:
    person = a_person(session)
    person.password_hash = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash(PASSWORD)
    assert service.check_password(session, email=person.email, password=PASSWORD)
    assert not passwords.is_outdated(person.password_hash)


def test_a_deactivated_person_cannot_sign_in(session: Session) -> None:
    a_person(session).deactivated_at = db.now()
    assert service.check_password(session, email="ada@example.com", password=PASSWORD) is None


def test_a_session_is_found_by_its_token_and_kept_as_a_hash(session: Session) -> None:
    person = a_person(session)
    token = a_session(session, person)
    found = sessions.signed_in(session, token)
    assert found
    assert found.person is person
    assert token.encode() not in found.token_hash


def test_an_ended_session_is_worth_nothing(session: Session) -> None:
    token = a_session(session, a_person(session))
    sessions.end(session, token)
    session.expire_all()
    assert sessions.signed_in(session, token) is None


@pytest.mark.parametrize(
    "values",
    [
        {"seen_at": timedelta(minutes=61)},
        {"started_at": timedelta(hours=13)},
    ],
)
def test_a_session_ends_when_idle_or_old(session: Session, values: dict[str, timedelta]) -> None:
    token = a_session(session, a_person(session))
    session.execute(update(SignIn).values({name: db.now() - back for name, back in values.items()}))
    session.expire_all()
    assert sessions.signed_in(session, token) is None


def test_a_touch_keeps_a_session_alive(session: Session) -> None:
    token = a_session(session, a_person(session))
    session.execute(update(SignIn).values(seen_at=db.now() - timedelta(minutes=59)))
    session.expire_all()
    found = sessions.signed_in(session, token)
    assert found
    assert sessions.is_to_be_touched(found)
    sessions.touch(session, found.id)
    session.expire_all()
    assert not sessions.is_to_be_touched(found)


def test_a_deactivated_person_is_signed_out(session: Session) -> None:
    person = a_person(session)
    token = a_session(session, person)
    person.deactivated_at = db.now()
    session.flush()
    assert sessions.signed_in(session, token) is None


def test_a_made_up_token_is_nobody(session: Session) -> None:
    assert sessions.signed_in(session, "x" * 43) is None


def test_sessions_that_ended_long_ago_are_forgotten(session: Session) -> None:
    person = a_person(session)
    old, new = a_session(session, person), a_session(session, person)
    sessions.end(session, old)
    session.execute(update(SignIn).where(SignIn.ended_at.is_not(None)).values(ended_at=db.now() - sessions.KEPT * 2))
    sessions.forget_old(session)
    assert len(session.scalars(select(SignIn)).all()) == 1
    assert sessions.signed_in(session, new)


def test_signing_out_everywhere_ends_every_session(session: Session) -> None:
    person = a_person(session)
    tokens = [a_session(session, person) for _ in range(2)]
    sessions.end_all(session, person)
    session.expire_all()
    assert [sessions.signed_in(session, token) for token in tokens] == [None, None]


def test_two_set_ups_at_once_make_one_administrator(booted: Settings) -> None:
    with db.transaction() as session:
        code = service.make_setup_link(session)

    def click(n: int) -> bool:
        try:
            with db.transaction() as own:
                first(own, code, f"ada{n}@example.com")
        except RuleBroken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(click, range(4))) == [False, False, False, True]
    with db.reading() as session:
        assert len(service.everyone(session)) == 1


def test_a_very_long_address_is_refused_before_it_costs_time(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    validate = service.validate_email
    monkeypatch.setattr(service, "validate_email", lambda text, **how: seen.append(text) or validate(text, **how))
    with pytest.raises(RuleBroken):
        service.checked_email("a" * 900_000 + "@example.com")
    assert len(seen[0]) < 1000
