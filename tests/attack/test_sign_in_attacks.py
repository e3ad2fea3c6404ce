"""Attacks on signing in: guessing, locking others out, finding out who is here, floods of letters, stolen sessions."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pyotp
import pytest
from flask import Flask
from sqlalchemy import event, func, select, update

from mailadmin import db
from mailadmin.activity.models import Activity
from mailadmin.errors import RuleBroken
from mailadmin.notices.models import Notice
from mailadmin.people import factors, passwords, staff
from mailadmin.people.models import Person, SignIn, Ticket
from mailadmin.permissions import SYSTEM
from tests import factories
from tests.factories import PASSWORD
from tests.pages import Browser, Page


def at(app: Flask, address: str) -> Browser:
    """A browser on another computer."""
    browser = Browser(app)
    browser._client.environ_base["REMOTE_ADDR"] = address
    return browser


def guess(app: Flask, email: str, address: str, times: int) -> list[int]:
    browser = at(app, address)
    return [browser.sign_in(email, f"wrong password {n}").status for n in range(times)]


def test_guessing_has_to_wait_and_the_owner_does_not(app: Flask, ada: Person) -> None:
    assert guess(app, ada.email, "203.0.113.9", 7) == [422] * 5 + [429] * 2
    assert at(app, "198.51.100.7").sign_in(ada.email, PASSWORD).location == "/"


def test_a_browser_that_was_used_before_is_let_in_however_many_guess(app: Flask, ada: Person) -> None:
    known = at(app, "198.51.100.7")
    assert known.sign_in(ada.email, PASSWORD).location == "/"
    known.post("/sign-out")
    statuses = [status for n in range(5) for status in guess(app, ada.email, f"203.0.113.{n}", 5)]
    assert statuses == [422] * 20 + [429] * 5
    assert at(app, "198.51.100.8").sign_in(ada.email, PASSWORD).status == 429  # Unknown ones wait.
    assert known.sign_in(ada.email, PASSWORD).location == "/"


def test_a_link_from_an_e_mail_is_a_way_out_while_many_guess(app: Flask, ada: Person) -> None:
    with db.transaction() as session:
        code = staff.ask_for_reset(session, session.get_one(Person, ada.id))
    for n in range(5):
        guess(app, ada.email, f"203.0.113.{n}", 5)
    owner = at(app, "198.51.100.8")
    assert owner.post(f"/c/p/{code}", {"password": "three green boats sail"}).location == "/sign-in"
    assert owner.sign_in(ada.email, "three green boats sail").location == "/"


def test_a_known_browser_guesses_no_more_often_and_no_others(app: Flask, ada: Person, wim: Person) -> None:
    known = at(app, "198.51.100.7")
    known.sign_in(ada.email, PASSWORD)
    known.post("/sign-out")
    for email in (ada.email, wim.email):
        statuses = [known.sign_in(email, "wrong password").status for _ in range(6)]
        assert statuses == [422] * 5 + [429]


@pytest.mark.parametrize("value", ["forged", "x" * 5000, "eyJ4IjoxfQ.aaaa.bbbb"])
def test_a_known_browser_cannot_be_made_up(app: Flask, ada: Person, value: str) -> None:
    forger = at(app, "203.0.113.9")
    for n in range(6):
        forger._client.set_cookie("known", f"{value}{n}")
        last = forger.sign_in(ada.email, "wrong password")
    assert last.status == 429


def test_one_network_of_ipv6_is_one_computer(app: Flask, ada: Person) -> None:
    statuses = [guess(app, ada.email, f"2001:db8:1:2::{n}", 1)[0] for n in range(6)]
    assert statuses == [422] * 5 + [429]
    assert guess(app, ada.email, "2001:db8:1:3::1", 1) == [422]


def test_spraying_one_password_over_many_people_has_to_wait(app: Flask, ada: Person) -> None:
    sprayer = at(app, "203.0.113.9")
    statuses = [sprayer.sign_in(f"person{n}@example.com", PASSWORD).status for n in range(21)]
    assert statuses == [422] * 20 + [429]


def with_authenticator(person: Person) -> str:
    with db.transaction() as session:
        row = session.get_one(Person, person.id)
        secret = factors.begin_totp(session, row)
        factors.confirm_totp(session, row, pyotp.TOTP(secret).at(int(time.time())), actor=SYSTEM)
    return secret


def test_codes_are_counted_over_many_sign_ins(app: Flask, ada: Person) -> None:
    with_authenticator(ada)
    statuses: list[int] = []
    for n in range(4):  # Each with the right password, from somewhere else, as somebody who has stolen it.
        thief = at(app, f"203.0.113.{n}")
        assert thief.sign_in(ada.email, PASSWORD).location.startswith("/sign-in/second-factor")
        statuses += [thief.post("/sign-in/second-factor", {"code": f"00000{i}"}).status for i in range(4)]
    assert statuses == [422] * 10 + [429] * 6


def test_recovery_codes_are_counted_with_the_others(app: Flask, ada: Person) -> None:
    with_authenticator(ada)
    statuses: list[int] = []
    for n in range(3):
        thief = at(app, f"203.0.113.{n}")
        thief.sign_in(ada.email, PASSWORD)
        statuses += [
            thief.post("/sign-in/second-factor", {"code": f"aaaa-aaaa-aaaa-aaaa-aaaa-aaa{i}"}).status for i in range(4)
        ]
    assert statuses == [422] * 10 + [429] * 2


@pytest.fixture
def statements(booted: object) -> Iterator[list[str]]:
    """What the database is asked."""
    found: list[str] = []
    engine = db.database().engine

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(" ".join(statement.split()[:3]))

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def test_who_is_here_cannot_be_told_from_sign_in(
    app: Flask, ada: Person, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known, unknown, deactivated and without a password: the same words, the same work."""
    with db.transaction() as session:
        factories.a_person(session, email="away@example.com").deactivated_at = db.now()
        factories.a_person(session, email="new@example.com").password_hash = None
    verified: list[str] = []
    real = passwords.fits

    def fits(password: str, kept: str | None) -> bool:
        verified.append(password)
        return real(password, kept)

    monkeypatch.setattr(passwords, "fits", fits)
    seen = set()
    for n, email in enumerate(("ada@example.com", "nobody@example.com", "away@example.com", "new@example.com")):
        browser = at(app, f"203.0.113.{n}")
        browser.get("/sign-in")
        verified.clear()
        statements.clear()
        page = browser.sign_in(email, "wrong password")
        words = page.words().replace(email, "…")
        seen.add((page.status, words, len(verified), tuple(statements)))
    assert len(seen) == 1


def test_who_is_here_cannot_be_told_from_forgotten_passwords(
    app: Flask, ada: Person, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailadmin.console.profile_routes.can_write", lambda: True)
    seen = {}
    for n, email in enumerate(("ada@example.com", "nobody@example.com", "ada@example.com")):
        browser = at(app, f"203.0.113.{n}")
        browser.get("/forgotten")
        statements.clear()
        page = browser.post("/forgotten", {"email": email})
        written = [each for each in statements if each.startswith(("INSERT", "COMMIT", "UPDATE"))]
        seen[n] = (page.status, page.words(), tuple(written))
    assert seen[0] == seen[1] == seen[2]
    with db.reading() as session:
        assert session.scalar(select(func.count()).select_from(Notice)) == 1
        assert session.scalar(select(func.count()).select_from(Ticket)) == 1


def test_nobody_can_be_flooded_with_letters_or_robbed_of_their_link(
    app: Flask, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailadmin.console.profile_routes.can_write", lambda: True)
    with db.transaction() as session:
        code = staff.make_link(session, session.get_one(Person, ada.id), actor=SYSTEM)
        session.execute(update(Ticket).values(created_at=db.now() - timedelta(hours=1)))
    for n in range(12):
        at(app, f"203.0.113.{n}").post("/forgotten", {"email": ada.email})
    with db.reading() as session:
        assert session.scalar(select(func.count()).select_from(Notice)) == 1
        assert staff.whose_link(session, code).id == ada.id  # The administrator's link is as good as before.
    statuses = [at(app, "203.0.113.99").post("/forgotten", {"email": f"a{n}@example.com"}).status for n in range(6)]
    assert statuses == [200] * 5 + [429]


def test_a_chosen_password_ends_all_other_links(booted: object, ada: Person) -> None:
    with db.transaction() as session:
        person = session.get_one(Person, ada.id)
        codes = [staff.ask_for_reset(session, person) for _ in range(2)]
        staff.choose_password(session, codes[1], "three green boats sail")
    with db.reading() as session, pytest.raises(RuleBroken, match="run out"):
        staff.whose_link(session, codes[0])


def test_a_session_that_was_planted_is_not_the_one_after_sign_in(app: Flask, ada: Person) -> None:
    attacker, victim = Browser(app), Browser(app)
    attacker.get("/sign-in")
    planted = attacker._client.get_cookie("session")
    if planted is None:
        attacker._token()
        planted = attacker._client.get_cookie("session")
    assert planted
    victim._client.set_cookie("session", planted.value)
    assert victim.sign_in(ada.email, PASSWORD).location == "/"
    now = victim._client.get_cookie("session")
    assert now
    assert now.value != planted.value
    assert attacker.get("/").location.startswith("/sign-in")


def old(session_age: timedelta) -> None:
    with db.transaction() as session:
        session.execute(update(SignIn).values(started_at=db.now() - session_age))


@pytest.mark.parametrize(
    "path",
    [
        "/profile/second-factor/authenticator/begin",
        "/profile/second-factor/authenticator",
        "/profile/second-factor/passkeys/options",
        "/profile/second-factor/passkeys",
    ],
)
def test_a_stolen_session_adds_no_key_of_its_own(ada_at: Browser, ada: Person, path: str) -> None:
    old(timedelta(minutes=11))
    assert ada_at.post(path, {"code": "000000"}).location == "/sign-in?next=/profile/second-factor"
    assert "takes a sign-in of the last ten minutes" in ada_at.get("/profile/second-factor").words()
    again = ada_at.sign_in(ada.email, PASSWORD)
    assert again.status == 303
    assert "ten minutes" not in ada_at.get("/profile/second-factor").words()
    assert not ada_at.post(path, {"code": "000000"}).location.startswith("/sign-in")


def test_a_stolen_session_does_not_find_out_the_password(ada_at: Browser, ada: Person) -> None:
    statuses = []
    for n in range(12):
        ada_at._client.environ_base["REMOTE_ADDR"] = f"203.0.113.{n}"
        path = "/profile/password" if n % 2 else "/profile/second-factor/authenticator/remove"
        form = {"old_password": "wrong", "password": f"wrong password {n}"}
        statuses.append(ada_at.post(path, form).status == 429)
    assert statuses.count(True) == 0  # Each form has a count of its own.
    for n in range(12):
        ada_at._client.environ_base["REMOTE_ADDR"] = f"203.0.113.{n}"
        statuses.append(ada_at.post("/profile/password", form).status == 429)
    assert statuses[-2:] == [True, True]


def test_a_stolen_session_of_somebody_without_a_password_sets_none(ada_at: Browser, ada: Person) -> None:
    with db.transaction() as session:
        session.get_one(Person, ada.id).password_hash = None
    old(timedelta(minutes=11))
    form = {"old_password": "x", "password": "three green boats sail"}
    assert ada_at.post("/profile/password", form).location.startswith("/sign-in")
    with db.reading() as session:
        assert session.get_one(Person, ada.id).password_hash is None


@pytest.mark.parametrize(
    "password",
    [
        "Password1234567",
        "qwertyuiopasdfgh",
        "passwordpassword1",
        "p@ssw0rdp@ssw0rd",
        "iloveyouiloveyou",
        "mailadminmailadmin",
    ],
)
def test_a_password_that_is_guessed_soon_is_refused(password: str) -> None:
    with pytest.raises(RuleBroken):
        passwords.check(password, email="ada@example.com", name="Ada Lindqvist")


@pytest.mark.parametrize(
    "password", [PASSWORD, "three green boats sail", "ÄÖÜ 漢字 ñandú ъёж вода", "~k!9@#x$%^Z&*()", "kaum je ein Wal"]
)
def test_a_password_may_be_made_of_anything(password: str) -> None:
    passwords.check(password, email="ada@example.com", name="Ada Lindqvist")


def test_refusals_stand_in_the_trail_and_in_the_log(
    ada_at: Browser, app: Flask, ada: Person, wim: Person, caplog: pytest.LogCaptureFixture
) -> None:
    at(app, "203.0.113.9").sign_in(ada.email, "wrong password")
    worker: Page = at(app, "203.0.113.10").sign_in(wim.email, PASSWORD)
    assert worker.location == "/"
    outsider = at(app, "203.0.113.11")
    outsider.sign_in(wim.email, PASSWORD)
    assert outsider.get("/providers").status == 403
    outsider.post_without_token("/preferences/theme")
    guess(app, ada.email, "203.0.113.12", 6)
    with db.reading() as session:
        entry = session.scalars(select(Activity).where(Activity.what == "failed to sign in")).first()
        assert entry
        assert (entry.person_name, entry.from_address) == (ada.name, "203.0.113.9")
    assert f"person {wim.id} may not use" in caplog.text
    assert "a form without its token at people.theme" in caplog.text
    assert "too many tries at people.sign_in from 203.0.113.12" in caplog.text
