"""Moving accounts to OAuth in all ways, against a real OAuth server and mail servers that ask it about tokens."""

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from mailadmin import clock, db, sealed
from mailadmin.accounts.models import Account, Health
from mailadmin.activity.models import Activity
from mailadmin.config import Settings
from mailadmin.errors import RuleBroken
from mailadmin.invites import service as invites
from mailadmin.mail.errors import Category
from mailadmin.mail.types import ServiceType, SignInMethod
from mailadmin.moves import service
from mailadmin.moves.models import MoveState, MoveWay
from mailadmin.oauth.apps import SERVICE_KEY
from mailadmin.oauth.models import Attempt, GrantKind, OAuthApp
from mailadmin.people.models import Person
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from tests.conftest import both_databases
from tests.moves.fleet import SALES, SUPPORT, TOMAS, WIM, Fleet
from tests.oauth.harbour import PUBLIC_URL, path_of
from tests.pages import Browser, Page

OAUTH, PASSWORD = SignInMethod.OAUTH, SignInMethod.PASSWORD
WAITING, MOVED, FAILED = MoveState.WAITING, MoveState.MOVED, MoveState.FAILED


def prepare(browser: Browser, fleet: Fleet, by: str = "people", *ticked: Account, **ways: str) -> Page:
    """From the preview to a move that is prepared, with the fields that the preview has."""
    query = f"by={by}&which={'ticked' if ticked else 'all'}" + "".join(f"&account={one.id}" for one in ticked)
    preview = browser.get(f"{fleet.path}/preview?{query}" + "".join(f"&{name}={way}" for name, way in ways.items()))
    assert preview.status == 200, preview.words()
    form = next(f for f in preview.all("form") if f.get("action") == fleet.path)
    fields: dict[str, Any] = {}
    for e in form.iter():
        if e.get("name") and e.get("name") != "csrf_token":
            fields.setdefault(str(e.get("name")), []).append(e.get("value"))
    return browser.post(fleet.path, fields)


def row(browser: Browser, fleet: Fleet, address: str) -> str:
    page = browser.get("/moves/progress")
    return page.words(page.one("tr", id=f"move-{fleet.move(address).id}"))


def sign_in(browser: Browser, fleet: Fleet, address: str, *, who: str = "", **agreeing: Any) -> Page:
    """Press the button of an account in the list, agree at the provider, and come back."""
    page = browser.get("/moves/progress")
    at = page.one("tr", id=f"move-{fleet.move(address).id}")
    form = next(e for e in at.iter() if e.get("action") == f"/accounts/{fleet.account(address).id}/oauth")
    fields = {str(e.get("name")): e.get("value") for e in form.iter() if e.get("name")}
    leaving = browser.post(str(form.get("action")), fields)
    url = leaving.one("a", rel="noreferrer").get("href", "")
    back = browser.get(path_of(fleet.idp.agree(url, who or address, **agreeing)))
    assert back.status == 303, back.words()
    fleet.go_on()
    return browser.get(back.location)


def owner_connects(fleet: Fleet, owner: Browser, address: str) -> None:
    """What the owner of the mailbox does with the link from the e-mail."""
    with db.reading() as session:
        link = path_of(invites.link_of(invites.get_open(session, fleet.account(address).id), PUBLIC_URL)).rstrip("?")
    assert "Harbour" in owner.get(link).words()
    url = owner.post(link).one("a", rel="noreferrer").get("href", "")
    back = owner.get(path_of(fleet.idp.agree(url, address)))
    assert (back.status, back.location) == (303, "/c/back")
    fleet.go_on()


def test_administrators_sign_in_owners_get_links_and_the_app_moves_the_rest(
    app: Flask, ada_at: Browser, ada: Person, fleet: Fleet
) -> None:
    sales, wim, support = fleet.begin(SALES, WIM, SUPPORT)
    fleet.change(SALES, owner_id=ada.id)
    fleet.choose_sender()
    fleet.let_in(SUPPORT)
    by_app = {f"way-n{support.id}": "application"}
    query = (
        f"by=people&which=ticked&account={sales.id}&account={wim.id}&account={support.id}&way-n{support.id}=application"
    )
    words = ada_at.get(f"{fleet.path}/preview?{query}").words()
    for said in ("Move 3 accounts at Harbour?", "signs in to each", "Each owner gets a connect link", "by itself"):
        assert said in words
    everybody = ada_at.get(f"{fleet.path}/preview?by=people&which=all&way-n{support.id}=application&way-nx=owner")
    assert "by itself" in everybody.words()
    assert fleet.states() == {}
    done = prepare(ada_at, fleet, "people", sales, wim, support, **by_app)
    assert (done.status, done.location) == (303, f"/moves/progress?provider={fleet.provider_id}")
    ways = {address: fleet.move(address).way for address in (SALES, WIM, SUPPORT)}
    assert ways == {SALES: MoveWay.SIGN_IN, WIM: MoveWay.OWNER, SUPPORT: MoveWay.APPLICATION}
    fleet.go_on()
    assert fleet.states() == {SALES: WAITING, WIM: WAITING, SUPPORT: MOVED}
    assert [fleet.method(each) for each in (SALES, WIM, SUPPORT)] == [PASSWORD, PASSWORD, OAUTH]
    assert "Waiting for owner The connect link was not opened yet. It runs out on" in row(ada_at, fleet, WIM)
    assert "The old password is kept for 14 more days." in row(ada_at, fleet, SUPPORT)
    assert f"{SALES} is connected" in sign_in(ada_at, fleet, SALES).words()
    assert fleet.states()[SALES] is MOVED
    owner_connects(fleet, Browser(app), WIM)
    assert fleet.states() == {SALES: MOVED, WIM: MOVED, SUPPORT: MOVED}
    assert (fleet.method(WIM), fleet.account(WIM).health) == (OAUTH, Health.HEALTHY)
    page = ada_at.get("/moves/progress")
    assert "3 of 3 moved" in page.words()
    assert page.one("progress", **{"aria-label": "Moved accounts"}).get("data-tone") == "ok"
    assert not [e for e in page.all("section") if e.get("hx-trigger")]
    with db.reading() as session:
        said = [f"{each.what} {each.detail}" for each in session.scalars(select(Activity))]
    assert "prepared 3 accounts at Harbour to leave passwords 1 by sign in, 1 by owner, 1 by application" in said


def test_failing_test_leaves_the_password_in_place_and_says_what_to_do(ada_at: Browser, fleet: Fleet) -> None:
    fleet.begin(SUPPORT, WIM)
    fleet.let_in(WIM)  # SUPPORT was forgotten there.
    prepare(ada_at, fleet, "application")
    before = fleet.account(SUPPORT).version
    fleet.go_on()
    assert fleet.states() == {SUPPORT: FAILED, WIM: MOVED}
    found = fleet.account(SUPPORT)
    assert (found.method, found.version, found.health) == (PASSWORD, before, Health.HEALTHY)
    words = row(ada_at, fleet, SUPPORT)
    assert f"Failed {fleet.move(SUPPORT).reason}" in words
    assert fleet.move(SUPPORT).reason
    assert "Let the app into this mailbox at the provider." in words
    assert "The account is as it was before." in words
    fleet.let_in(SUPPORT)
    done = ada_at.post(f"/moves/{fleet.move(SUPPORT).id}/again")
    assert done.location == "/moves/progress"
    fleet.go_on()
    assert fleet.states() == {SUPPORT: MOVED, WIM: MOVED}


def test_service_account_moves_all_mailboxes_of_a_domain(ada_at: Browser, fleet: Fleet) -> None:
    fleet.begin(SALES, WIM)
    key = fleet.idp.add_service_account("robot@project.test", domains=("example.org",), scopes=("mail",))
    with db.transaction() as session:
        session.get_one(Provider, fleet.provider_id).service_type = ServiceType.GOOGLE
        app = session.scalars(select(OAuthApp)).one()
        app.service_key_id = sealed.keep(session, Secret(key), purpose=SERVICE_KEY)
    page = ada_at.get(fleet.path)
    assert [e.get("value") for e in page.all("input", name="by")] == ["service account", "people", "sign in", "owner"]
    assert page.one("input", name="by", checked="").get("value") == "service account"
    prepare(ada_at, fleet, "service account")
    fleet.go_on()
    assert fleet.states() == {SALES: MOVED, WIM: MOVED}
    with db.reading() as session:
        assert {each.kind for each in session.scalars(select(Attempt))} == {GrantKind.SERVICE_ACCOUNT}


def test_owner_who_says_no_and_a_link_that_ran_out_need_the_administrator(
    app: Flask, ada_at: Browser, fleet: Fleet
) -> None:
    fleet.begin(SALES, WIM)
    prepare(ada_at, fleet, "owner")
    assert fleet.states() == {SALES: WAITING, WIM: WAITING}
    with db.transaction() as session:
        sales, wim = (invites.get_open(session, fleet.account(address).id) for address in (SALES, WIM))
        link, sales.expires_at = path_of(invites.link_of(wim, PUBLIC_URL)).rstrip("?"), db.now() - timedelta(hours=1)
    Browser(app).post(f"{link}/refuse")
    fleet.go_on()
    assert fleet.states() == {SALES: FAILED, WIM: FAILED}
    assert "The owner does not want this. Talk to them before you ask again." in row(ada_at, fleet, WIM)
    assert "The connect link has run out." in row(ada_at, fleet, SALES)
    for address in (SALES, WIM):
        ada_at.post(f"/moves/{fleet.move(address).id}/again")
    assert fleet.states() == {SALES: WAITING, WIM: WAITING}
    assert "not opened yet" in row(ada_at, fleet, WIM)
    owner_connects(fleet, Browser(app), WIM)
    assert fleet.states()[WIM] is MOVED


def test_somebody_else_who_signs_in_moves_nothing(ada_at: Browser, fleet: Fleet) -> None:
    fleet.begin(SALES)
    prepare(ada_at, fleet, "sign in")
    page = sign_in(ada_at, fleet, SALES, who=TOMAS)
    assert "Somebody else signed in" in page.words()
    assert (fleet.states(), fleet.method(SALES)) == ({SALES: FAILED}, PASSWORD)
    assert f"{TOMAS} signed in" in row(ada_at, fleet, SALES) or "account" in fleet.move(SALES).reason
    sign_in(ada_at, fleet, SALES)
    assert (fleet.states(), fleet.method(SALES)) == ({SALES: MOVED}, OAUTH)


def test_account_whose_password_is_refused_already_shows_what_its_new_sign_in_lacks(
    ada_at: Browser, fleet: Fleet
) -> None:
    fleet.begin(SALES)
    refused = {"health": Health.NEEDS_ATTENTION, "health_category": Category.AUTH, "health_reason": "Refused"}
    fleet.change(SALES, **refused)
    prepare(ada_at, fleet, "application")
    fleet.go_on()
    fleet.go_on()  # A token that a server refused is asked for once more.
    assert fleet.states() == {SALES: FAILED}
    assert "It had nothing to lose, so it has the new sign-in already." in row(ada_at, fleet, SALES)
    fleet.let_in(SALES)
    ada_at.post(f"/accounts/{fleet.account(SALES).id}/connection")
    fleet.go_on()
    assert fleet.states() == {SALES: MOVED}


def test_many_are_begun_a_few_at_a_time(booted: Settings, fleet: Fleet) -> None:
    fleet.begin(*(f"m{number}@example.org" for number in range(25)))
    assert fleet.prepare("application") == 25
    for _ in range(2):  # Nobody has asked for a token yet, so the second tick waits.
        clock.settle_moves()
        assert Counter(fleet.states().values()) == {MoveState.TESTING: 10, MoveState.PREPARED: 15}


def test_accounts_that_another_administrator_prepared_are_left_out(ada_at: Browser, fleet: Fleet) -> None:
    sales, _ = fleet.begin(SALES, WIM)
    prepare(ada_at, fleet, "sign in", sales)
    late = ada_at.get(f"{fleet.path}/preview?by=owner&which=ticked&account={sales.id}")
    assert "1 account is left out" in late.words()
    late = ada_at.post(fleet.path, {"by": "owner", "which": "ticked", "account": [sales.id]}, follow=True)
    assert "None of these accounts has a password left to leave, or all of them are under way." in late.words()
    prepare(ada_at, fleet, "sign in")
    assert (fleet.move(SALES).way, fleet.states()) == (MoveWay.SIGN_IN, {SALES: WAITING, WIM: WAITING})


@both_databases
def test_of_two_administrators_at_the_same_moment_one_is_told(booted: Settings, fleet: Fleet) -> None:
    fleet.begin(SALES, WIM)
    has_begun, said = threading.Event(), []

    def other() -> None:
        has_begun.set()
        with pytest.raises(RuleBroken) as broken, db.transaction() as session:
            fleet.prepare_in(session, "owner")
        said.append(broken.value.message)

    with db.transaction() as session:
        assert fleet.prepare_in(session, "sign in") == 2
        thread = threading.Thread(target=other)
        thread.start()
        assert has_begun.wait(60)
    thread.join(60)
    assert len(said) == 1
    assert {fleet.move(address).way for address in (SALES, WIM)} == {MoveWay.SIGN_IN}


def test_account_taken_out_keeps_its_password_and_its_link_is_worth_nothing(ada_at: Browser, fleet: Fleet) -> None:
    fleet.begin(SALES, WIM)
    prepare(ada_at, fleet, "owner")
    page = ada_at.post(f"/moves/{fleet.move(SALES).id}/drop", follow=True)
    assert f"{SALES} keeps its password for now." in page.words()
    assert fleet.states() == {WIM: WAITING}
    with db.reading() as session:
        assert invites.open_of(session, fleet.account(SALES).id) is None
        assert service.count(session, fleet.provider_id, free=True) == 1


def test_way_that_the_app_does_not_have_cannot_be_chosen(ada_at: Browser, fleet: Fleet) -> None:
    fleet.begin(SALES, app_scopes="")
    page = ada_at.get(fleet.path)
    assert page.one("input", name="by", value="application").get("disabled") is not None
    preview = ada_at.get(f"{fleet.path}/preview?by=application&which=all")
    assert "App-only: not possible yet" in preview.words()
    assert "The OAuth app has no scopes for mailboxes without a person." in preview.words()
    assert preview.all("button", disabled="")
    done = ada_at.post(fleet.path, {"by": "application", "which": "all"}, follow=True)
    assert "no scopes for mailboxes without a person" in done.words()
    assert fleet.states() == {}


def test_nothing_ticked_is_said_and_nonsense_leads_back(ada_at: Browser, fleet: Fleet) -> None:
    fleet.begin(SALES)
    page = ada_at.get(f"{fleet.path}/preview?by=people&which=ticked", follow=True)
    assert "Tick the accounts first." in page.words()
    assert ada_at.get(f"{fleet.path}/preview?by=magic").location == fleet.path
    assert ada_at.get("/moves/progress?state=nonsense&page=99&provider=x").status == 200


def test_forms_need_their_token(ada_at: Browser, fleet: Fleet) -> None:
    (sales,) = fleet.begin(SALES)
    paths = (
        fleet.path,
        "/moves/1/again",
        "/moves/1/drop",
        *(f"/accounts/{sales.id}/old-password/{do}" for do in ("restore", "destroy")),
    )
    assert {ada_at.post_without_token(path).status for path in paths} == {400}
