"""Signing in at the organisation's own provider, against a real one."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select

from mailadmin import db
from mailadmin.errors import RuleBroken
from mailadmin.people import single_sign_on
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, PersonRole
from tests.factories import PASSWORD, a_person
from tests.pages import Browser, Page
from tests.people.elsewhere import BASE, SECRET, come_back, fields, idp, leave, said, server, set_up
from tests.servers.oauth import OAuthServer

__all__ = ["idp", "server"]  # fixtures


def test_somebody_new_becomes_a_worker_and_comes_back_as_the_same(
    ada_at: Browser, idp: OAuthServer, app: Flask
) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    theirs = Browser(app)
    assert "Sign in with Example account" in theirs.get("/sign-in").words()
    assert come_back(theirs, idp, provider_id).location == "/"
    with db.reading() as session:
        mei = session.scalars(select(Person).where(Person.email == "mei@example.com")).one()
        assert (mei.role, mei.name, mei.password_hash) == (PersonRole.WORKER, "Mei Tanaka", None)
    assert theirs.get("/profile").status == 200
    again = Browser(app)
    come_back(again, idp, provider_id)
    assert "mei@example.com" in again.get("/profile").words()
    assert SECRET not in ada_at.get(f"/settings/sign-in/{provider_id}").text


def test_somebody_known_is_found_by_address_once_and_then_by_subject(
    ada_at: Browser, idp: OAuthServer, app: Flask
) -> None:
    provider_id = set_up(ada_at, idp)
    with db.transaction() as session:
        mei_id = a_person(session, email="mei@example.com", name="Mei Tanaka", role=PersonRole.WORKER).id
    theirs = Browser(app)
    assert come_back(theirs, idp, provider_id).location == "/"
    with db.transaction() as session:
        session.get_one(Person, mei_id).email = "mei.new@example.com"
    again = Browser(app)
    assert come_back(again, idp, provider_id).location == "/"
    assert "mei.new@example.com" in again.get("/profile").words()
    with db.transaction() as session:  # somebody else at the provider, with an address that was hers
        session.get_one(Person, mei_id).email = "olga@example.com"
    idp.add_person("olga@example.com")
    stranger = Browser(app)
    assert "signs in differently" in said(come_back(stranger, idp, provider_id, "olga@example.com"), stranger)


@pytest.mark.parametrize(
    ("who", "claims", "why"),
    [
        ("eve@elsewhere.test", {}, "vouches for no address"),
        ("mei@example.com", {"email_verified": False}, "vouches for no address"),
        ("mei@example.com", {"email": "mei@sub.example.com"}, "vouches for no address"),
        ("mei@example.com", {}, "Nobody here has the address"),
        ("mei@example.com", {"aud": "somebody else"}, "another"),
        ("mei@example.com", {"nonce": "another"}, "another attempt"),
        ("mei@example.com", {"iss": "https://evil.test"}, "issuer"),
    ],
)
def test_who_cannot_be_believed_or_is_not_meant_stays_out(
    ada_at: Browser, idp: OAuthServer, app: Flask, who: str, claims: dict[str, object], why: str
) -> None:
    provider_id = set_up(ada_at, idp)
    if who != "mei@example.com":
        idp.add_person(who)
    idp.change_claims = lambda told: told.update(claims)
    idp.userinfo = lambda person: {}
    theirs = Browser(app)
    words = said(come_back(theirs, idp, provider_id, who), theirs)
    assert why in words
    assert theirs.get("/profile").status == 303
    assert "failed to sign in elsewhere" in ada_at.get("/audit?kind=sign-ins").words()


def test_an_answer_counts_once_in_the_browser_that_asked(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    theirs, thief = Browser(app), Browser(app)
    back = idp.agree(leave(theirs, provider_id), "mei@example.com").removeprefix(BASE)
    assert "did not ask" in said(thief.get(back), thief)
    leave(thief, provider_id)
    assert "did not ask" in said(thief.get(back), thief)
    assert theirs.get(back).location == "/"
    twice = Browser(app)
    assert "did not ask" in said(twice.get(back), twice)


def test_an_answer_of_another_issuer_or_without_one_is_refused(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    for query in ("iss=https://evil.test", ""):
        theirs = Browser(app)
        back = idp.agree(leave(theirs, provider_id), "mei@example.com").removeprefix(BASE)
        kept = [(k, v) for k, v in parse_qsl(urlsplit(back).query) if k != "iss"]
        place = urlsplit(back).path + "?" + "&".join([f"{k}={v}" for k, v in kept] + ([query] if query else []))
        assert "another provider" in said(theirs.get(place), theirs)


def test_denied_switched_off_and_away_are_told(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    theirs = Browser(app)
    state = dict(parse_qsl(urlsplit(leave(theirs, provider_id)).query))["state"]
    answer = theirs.get(f"/sign-in/with/{provider_id}/back?error=access_denied&state={state}&iss={idp.issuer}")
    assert "not finished" in said(answer, theirs)
    ada_at.post(f"/settings/sign-in/{provider_id}", fields(idp, secret="", is_on=""))
    assert "switched off" in said(theirs.post(f"/sign-in/with/{provider_id}"), theirs)
    assert "Example account" not in theirs.get("/sign-in").words()
    page = ada_at.post(
        f"/settings/sign-in/{provider_id}", fields(idp, issuer="https://localhost:1", secret="x"), follow=True
    )
    assert "does not answer" in page.words()


def test_a_deactivated_person_stays_out(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    theirs = Browser(app)
    come_back(theirs, idp, provider_id)
    with db.transaction() as session:
        session.scalars(select(Person).where(Person.email == "mei@example.com")).one().deactivated_at = db.now()
    again = Browser(app)
    assert "not let in" in said(come_back(again, idp, provider_id), again)


def test_wrong_settings_are_told_at_their_fields(ada_at: Browser, idp: OAuthServer) -> None:
    for field, value, why in (
        ("issuer", "http://plain.test", "https://"),
        ("domains", "", "Nobody else is let in"),
        ("domains", "no domain!", "not a domain"),
        ("client_id", " ", "missing"),
        ("secret", "", "Type the secret"),
    ):
        page = ada_at.post("/settings/sign-in/new", fields(idp, **{field: value}))
        assert page.status == 422
        assert why in page.error(field)
    provider_id = set_up(ada_at, idp)
    page = ada_at.post(f"/settings/sign-in/{provider_id}", fields(idp, issuer="https://evil.test", secret=""))
    assert "Type the secret" in page.error("secret"), "a stored secret goes to nobody else"


def test_a_provider_is_deleted_with_its_secret_after_a_question(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    come_back(Browser(app), idp, provider_id)
    address = f"/settings/sign-in/{provider_id}/delete"
    assert "1 person signs in only there." in ada_at.get(address, htmx=True).words()
    assert ada_at.get(address).title == "Delete the sign-in with Example account · Mailadmin"
    ada_at.post(address)
    assert "No provider yet" in ada_at.get("/settings/sign-in").words()
    with db.transaction() as session, pytest.raises(RuleBroken):
        single_sign_on.save(session, None, single_sign_on.Wanted("", idp.issuer, "x", "y", "example.com"), actor=SYSTEM)
    assert PASSWORD


@pytest.mark.parametrize("how", ["delete", "off", "moved"])
def test_the_only_way_in_of_the_last_administrator_stays(
    ada_at: Browser, idp: OAuthServer, ada: Person, how: str
) -> None:
    provider_id = set_up(ada_at, idp)
    at = f"/settings/sign-in/{provider_id}"

    def tried() -> Page:
        if how == "delete":
            return ada_at.post(f"{at}/delete")
        changed = {"is_on": ""} if how == "off" else {"issuer": "https://elsewhere.test", "secret": "x"}
        return ada_at.post(at, {**fields(idp, secret=""), **changed})

    with db.transaction() as session:
        person = session.get_one(Person, ada.id)
        kept, person.password_hash, person.issuer, person.subject = person.password_hash, None, idp.issuer, "sub-ada"
    page = tried()
    assert page.status == 422
    assert "No administrator could sign in any more." in page.words()
    with db.transaction() as session:
        assert single_sign_on.get(session, provider_id).is_on
        session.get_one(Person, ada.id).password_hash = kept
    assert tried().status == 303
