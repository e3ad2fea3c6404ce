"""The second factor: codes that are good once, recovery codes, the second step, and organisations that require it."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import factors, staff
from mailadmin.people.models import Person, RecoveryCode
from mailadmin.permissions import SYSTEM, PersonRole
from mailadmin.sealed import SealedSecret
from tests.conftest import both_databases
from tests.factories import PASSWORD, a_person
from tests.pages import Browser

HALF_MINUTE = factors.STEP_SECONDS


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the server thinks it is, in a list so that a test may change it."""
    clock = [time.time()]
    monkeypatch.setattr(factors.time, "time", lambda: clock[0])
    return clock


def shown(secret: str, moment: float) -> str:
    return pyotp.TOTP(secret).at(int(moment))


def with_totp(session: Session, person: Person, at: list[float]) -> tuple[str, list[str]]:
    secret = factors.begin_totp(session, person)
    return secret, list(factors.confirm_totp(session, person, shown(secret, at[0]), actor=SYSTEM))


@both_databases
def test_a_code_is_good_once_and_beside_its_half_minute(session: Session, at: list[float]) -> None:
    person = a_person(session)
    secret, _ = with_totp(session, person, at)
    with pytest.raises(RuleBroken, match="used already"):
        factors.check_totp(session, person, shown(secret, at[0]))
    at[0] += HALF_MINUTE * 3
    factors.check_totp(session, person, f" {shown(secret, at[0])[:3]} {shown(secret, at[0])[3:]} ")
    with pytest.raises(RuleBroken, match="used already"):  # the one before it is older than the last
        factors.check_totp(session, person, shown(secret, at[0] - HALF_MINUTE))
    factors.check_totp(session, person, shown(secret, at[0] + HALF_MINUTE))
    for wrong in ("", "000000000", shown(secret, at[0] - HALF_MINUTE * 10), shown(secret, at[0] + HALF_MINUTE * 10)):
        with pytest.raises(RuleBroken, match="not the code"):
            factors.check_totp(session, person, wrong)


@both_databases
def test_of_two_with_the_same_code_one_is_refused(ada: Person, at: list[float]) -> None:
    with db.transaction() as session:
        secret, _ = with_totp(session, session.get_one(Person, ada.id), at)
    at[0] += HALF_MINUTE * 2
    code = shown(secret, at[0])

    def use(_: int) -> bool:
        try:
            with db.transaction() as own:
                factors.check_totp(own, own.get_one(Person, ada.id), code)
        except RuleBroken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(use, range(4))) == 1


@both_databases
def test_recovery_codes_are_good_once_each_and_kept_as_hashes(session: Session, at: list[float]) -> None:
    person, other = a_person(session), a_person(session, email="omar@example.com")
    _, codes = with_totp(session, person, at)
    assert len(set(codes)) == factors.left(session, person) == 10
    assert all(re.fullmatch(r"([a-z2-7]{4}-){5}[a-z2-7]{4}", code) for code in codes)
    with pytest.raises(RuleBroken):
        factors.use_recovery_code(session, other, codes[0], actor=SYSTEM)
    factors.use_recovery_code(session, person, codes[0].upper().replace("-", " "), actor=SYSTEM)
    with pytest.raises(RuleBroken):
        factors.use_recovery_code(session, person, codes[0], actor=SYSTEM)
    assert factors.left(session, person) == 9
    new = factors.new_recovery_codes(session, person)
    with pytest.raises(RuleBroken):
        factors.use_recovery_code(session, person, codes[1], actor=SYSTEM)
    factors.use_recovery_code(session, person, new[1], actor=SYSTEM)
    kept = {bytes(row) for row in session.scalars(select(RecoveryCode.code_hash))}
    assert not any(code.encode() in kept for code in new)


@both_databases
def test_a_removed_authenticator_leaves_nothing(session: Session, at: list[float]) -> None:
    person = a_person(session)
    with_totp(session, person, at)
    with pytest.raises(RuleBroken, match="already"):
        factors.begin_totp(session, person)
    factors.remove_totp(session, person, actor=SYSTEM)
    assert not staff.has_second_factor(session, person)
    assert factors.left(session, person) == 0
    assert session.scalar(select(func.count()).select_from(SealedSecret)) == 0


def set_up(browser: Browser, at: list[float]) -> tuple[str, list[str]]:
    """An authenticator as somebody sets it up in their profile: its secret and the recovery codes."""
    browser.post("/profile/second-factor/authenticator/begin")
    page = browser.get("/profile/second-factor/authenticator")
    secret = page.words(page.all("code")[0])
    picture = browser.get("/profile/second-factor/authenticator.svg")
    assert picture.headers["Content-Type"].startswith("image/svg+xml")
    assert "the code" in browser.post("/profile/second-factor/authenticator", {"code": "000000"}).error("code")
    page = browser.post("/profile/second-factor/authenticator", {"code": shown(secret, at[0])})
    return secret, [page.words(code) for code in page.all("code")]


def test_a_password_alone_does_not_open_the_console(ada_at: Browser, ada: Person, app: Flask, at: list[float]) -> None:
    secret, codes = set_up(ada_at, at)
    assert ada_at.get("/profile/second-factor/authenticator.svg").status == 404, "shown until it is confirmed"
    theirs = Browser(app)
    at[0] += HALF_MINUTE * 2
    assert theirs.sign_in(ada.email, PASSWORD).location == "/sign-in/second-factor"
    assert theirs.get("/").location.startswith("/sign-in")
    assert "not the code" in theirs.post("/sign-in/second-factor", {"code": "123456"}).error("code")
    assert theirs.post("/sign-in/second-factor", {"code": shown(secret, at[0])}).location == "/"
    assert theirs.get("/").status == 200
    assert "gave a wrong second factor" in theirs.get("/audit?kind=sign-ins").words()
    stranger = Browser(app)
    stranger.sign_in(ada.email, PASSWORD)
    assert stranger.post("/sign-in/second-factor", {"code": codes[3]}).location == "/"
    assert "used a recovery code" in stranger.get("/audit?kind=sign-ins").words()


def test_five_wrong_codes_end_the_second_step(ada_at: Browser, ada: Person, app: Flask, at: list[float]) -> None:
    secret, _ = set_up(ada_at, at)
    at[0] += HALF_MINUTE * 2
    guesser = Browser(app)
    guesser.sign_in(ada.email, PASSWORD)
    for _ in range(5):
        assert guesser.post("/sign-in/second-factor", {"code": "000000"}).status == 422
    assert guesser.post("/sign-in/second-factor", {"code": shown(secret, at[0])}).location == "/sign-in"
    assert guesser.get("/").status == 303


def test_the_second_step_alone_opens_nothing(browser: Browser, ada: Person) -> None:
    assert browser.get("/sign-in/second-factor").location == "/sign-in"
    assert browser.post("/sign-in/second-factor", {"code": "000000"}).location == "/sign-in"


def test_removing_it_takes_the_password_again(ada_at: Browser, ada: Person, at: list[float]) -> None:
    set_up(ada_at, at)
    page = ada_at.post("/profile/second-factor/authenticator/remove", {"password": "wrong"}, follow=True)
    assert "not your password" in page.words()
    assert ada_at.post("/profile/second-factor/recovery-codes", {"password": "wrong"}).status == 303
    assert len(ada_at.post("/profile/second-factor/recovery-codes", {"password": PASSWORD}).all("code")) == 10
    ada_at.post("/profile/second-factor/authenticator/remove", {"password": PASSWORD})
    assert "Set up authenticator" in ada_at.get("/profile/second-factor").words()


def test_who_has_none_where_all_need_one_sets_it_up_first(ada_at: Browser, at: list[float]) -> None:
    with db.transaction() as session:
        organisation.rename(session, name="Example Ltd")
        organisation.require_second_factor(session, is_required=True, actor=SYSTEM)
    for path in ("/", "/accounts", "/audit.csv", "/profile"):
        assert ada_at.get(path).location == "/profile/second-factor"
    assert ada_at.post("/profile", {"name": "X"}).location == "/profile/second-factor"
    assert "requires a second factor" in ada_at.get("/profile/second-factor").words()
    set_up(ada_at, at)
    assert ada_at.get("/accounts").status == 200


def test_a_shorter_password_will_do_beside_a_second_factor(ada_at: Browser, at: list[float]) -> None:
    fields = {"old_password": PASSWORD, "password": "lamp desk 42x"}
    assert "15 characters" in ada_at.post("/profile/password", fields).error("password")
    set_up(ada_at, at)
    assert ada_at.post("/profile/password", fields).status == 303


def test_an_administrator_helps_who_has_lost_the_phone_and_the_codes(
    ada_at: Browser, ada: Person, app: Flask, at: list[float]
) -> None:
    with db.transaction() as session:
        mei = a_person(session, name="Mei Tanaka", email="mei@example.com", role=PersonRole.WORKER)
        with_totp(session, mei, at)
    assert "Remove second factor" in ada_at.get(f"/workers/{mei.id}").words()
    theirs = Browser(app)
    assert theirs.sign_in(mei.email, PASSWORD).location == "/sign-in/second-factor"
    ada_at.post(f"/workers/{mei.id}/reset-factor")
    assert Browser(app).sign_in(mei.email, PASSWORD).location == "/"
    assert "removed the second factor of Mei Tanaka" in ada_at.get("/audit?kind=people").words()
    assert "Remove second factor" not in ada_at.get(f"/workers/{mei.id}").words()


def test_an_authenticator_whose_key_is_lost_is_told_and_a_recovery_code_helps(
    session: Session, at: list[float]
) -> None:
    person = a_person(session)
    secret, codes = with_totp(session, person, at)
    session.get_one(SealedSecret, person.totp_id).sealed = b"sealed with another key altogether"
    session.flush()
    with pytest.raises(RuleBroken, match="recovery codes"):
        factors.check_totp(session, person, shown(secret, at[0]))
    factors.use_recovery_code(session, person, codes[0], actor=SYSTEM)
