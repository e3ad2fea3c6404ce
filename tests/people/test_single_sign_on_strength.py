"""How sure a sign-in elsewhere makes us: second factors there and here, and when somebody showed who they are."""

import json
import time
from urllib.parse import parse_qsl, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select

from mailadmin import db
from mailadmin.authorization import Metadata
from mailadmin.organisation.models import Organisation
from mailadmin.people import single_sign_on
from mailadmin.people.models import SignIn, SignInProvider
from mailadmin.permissions import PersonRole
from tests.factories import a_person
from tests.pages import Browser
from tests.people.elsewhere import come_back, fields, idp, leave, server, set_up
from tests.people.test_factors import with_totp
from tests.servers.oauth import OAuthServer

__all__ = ["idp", "server"]  # fixtures
MEI = "mei@example.com"


NAMED = "gold urn:example:two mfa"


def asked(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def newest() -> SignIn:
    with db.reading() as session:
        return session.scalars(select(SignIn).order_by(SignIn.id.desc()).limit(1)).unique().one()


def mei_with_a_factor() -> tuple[int, str]:
    """A worker who has an authenticator here: her id and a recovery code."""
    with db.transaction() as session:
        person = a_person(session, email=MEI, name="Mei Tanaka", role=PersonRole.WORKER)
        _, codes = with_totp(session, person, [time.time()])
        return person.id, codes[0]


def test_where_nothing_is_named_the_provider_is_trusted(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    theirs = Browser(app)
    assert "acr_values" not in asked(leave(theirs, provider_id))
    come_back(theirs, idp, provider_id)
    assert newest().has_second_factor


def test_what_stands_for_a_second_factor_is_asked_for_and_named_in_the_trail(
    ada_at: Browser, idp: OAuthServer, app: Flask
) -> None:
    provider_id = set_up(ada_at, idp, proofs="gold,  urn:example:two mfa gold")
    assert ada_at.get(f"/settings/sign-in/{provider_id}").value("proofs") == NAMED
    url = asked(leave(Browser(app), provider_id))
    assert (url["acr_values"], url["max_age"]) == ("gold urn:example:two", "43200"), "amr cannot be asked for"
    assert f"second factor: {NAMED}" in ada_at.get("/audit?kind=sign-ins").words()
    page = ada_at.post(f"/settings/sign-in/{provider_id}", fields(idp, secret="", proofs="x" * 101))
    assert page.error("proofs") == "Name a few short values, separated by spaces."
    page = ada_at.post(f"/settings/sign-in/{provider_id}", fields(idp, secret="", proofs="mfa PWD"))
    assert page.error("proofs") == "“PWD” is not a second factor."


def test_contexts_of_microsoft_are_asked_for_in_its_own_way(booted: object) -> None:
    issuer = "https://login.microsoftonline.com/0f0f0f0f-0000-4000-8000-0f0f0f0f0f0f/v2.0"
    found = Metadata(issuer, authorize_url="https://login.microsoftonline.com/authorize")
    for proofs, wanted in (("c1", {"value": "c1"}), ("c1 c25", {"values": ["c1", "c25"]})):
        provider = SignInProvider(id=1, name="Entra", issuer=issuer, client_id="x", proofs=proofs)
        with db.transaction() as session:
            url, _ = single_sign_on.leave(session, provider, found, back="https://a.test", goes_to="", seconds=60)
        assert json.loads(asked(url)["claims"]) == {"id_token": {"acrs": {"essential": True, **wanted}}}
        assert "acr_values" not in asked(url)


@pytest.mark.parametrize(
    ("how", "counts"),
    [
        ({"classes": ("silver", "gold")}, True),
        ({"classes": ("silver",)}, False),
        ({"methods": ("pwd", "mfa")}, True),
        ({"methods": ("pwd",)}, False),
        ({"claims": {"amr": "mfa"}}, True),  # Some say it as one word.
        ({"claims": {"acrs": ["gold"]}}, True),
        ({"claims": {"amr": [["mfa"], {"mfa": 1}, 7], "acr": ["Gold"]}}, False),
        ({}, False),
    ],
)
def test_a_sign_in_counts_as_one_with_a_second_factor_only_where_the_provider_says_so(
    ada_at: Browser, idp: OAuthServer, app: Flask, how: dict[str, object], counts: bool
) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y", proofs=NAMED)
    idp.add_person(MEI, **how)
    theirs = Browser(app)
    assert come_back(theirs, idp, provider_id).location == "/"
    assert newest().has_second_factor is counts


def test_what_is_not_in_the_signed_token_proves_nothing(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y", proofs=NAMED)
    idp.change_claims = lambda told: told.pop("email", None)  # so that we ask there
    idp.userinfo = lambda person: {"sub": person.sub, "email": MEI, "amr": ["mfa"], "acr": "gold"}
    come_back(Browser(app), idp, provider_id)
    assert not newest().has_second_factor


def test_who_showed_no_second_factor_there_is_asked_for_the_one_here(
    ada_at: Browser, idp: OAuthServer, app: Flask
) -> None:
    provider_id = set_up(ada_at, idp, proofs=NAMED)
    mei_id, code = mei_with_a_factor()
    theirs = Browser(app)
    back = idp.agree(leave(theirs, provider_id, "/contacts"), MEI)
    page = theirs.get(back.removeprefix("http://localhost"))
    assert page.location == "/sign-in/second-factor?next=/contacts"
    assert theirs.get("/profile").location.startswith("/sign-in"), "the first step alone opens nothing"
    words = theirs.get(page.location).words()
    assert "You signed in elsewhere, which did not tell of a second factor." in words
    assert theirs.post(page.location, {"code": "000000"}).status == 422
    assert theirs.post(page.location, {"code": code}).location == "/contacts"
    found = newest()
    assert (found.person_id, found.method, found.has_second_factor) == (mei_id, "single sign-on", True)


def test_who_shows_one_there_is_not_asked_again_here(ada_at: Browser, idp: OAuthServer, app: Flask) -> None:
    provider_id = set_up(ada_at, idp, proofs=NAMED)
    mei_with_a_factor()
    idp.add_person(MEI, classes=("gold",))
    assert come_back(Browser(app), idp, provider_id).location == "/"
    assert newest().has_second_factor


def test_where_all_need_a_second_factor_who_has_none_sets_it_up_first(
    ada_at: Browser, idp: OAuthServer, app: Flask
) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y", proofs=NAMED)
    with db.transaction() as session:
        session.add(Organisation(id=1, name="Example Ltd", requires_second_factor=True))
    theirs = Browser(app)
    come_back(theirs, idp, provider_id)
    assert [theirs.get(path).location for path in ("/", "/profile", "/contacts")] == ["/profile/second-factor"] * 3
    assert theirs.get("/profile/second-factor").status == 200
    idp.add_person(MEI, methods=("mfa",))
    come_back(theirs, idp, provider_id)
    assert theirs.get("/profile").status == 200


def test_who_signed_in_there_long_ago_shows_it_anew_before_adding_a_key(
    ada_at: Browser, idp: OAuthServer, app: Flask
) -> None:
    provider_id = set_up(ada_at, idp, adds_people="y")
    mei = idp.add_person(MEI, proved_at=time.time() - 3600)
    theirs, key = Browser(app), "/profile/second-factor/authenticator"
    come_back(theirs, idp, provider_id)
    assert theirs.get("/profile").status == 200
    assert theirs.get(key).location == "/sign-in?next=/profile/second-factor"
    assert asked(leave(theirs, provider_id))["max_age"] == "600", "who is signed in comes to show it anew"
    come_back(theirs, idp, provider_id)
    assert mei.proved_at > time.time() - 60, "the provider asked her"
    assert theirs.get(key).status == 200
