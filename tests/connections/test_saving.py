"""New settings are tested before they replace the old ones: with real servers, from the form to the account."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts import drafts
from mailadmin.accounts import service as accounts
from mailadmin.accounts.drafts import Change
from mailadmin.accounts.models import Account, Draft, Health, Kind, Window
from mailadmin.accounts.service import Login
from mailadmin.activity import service as activity
from mailadmin.connections import service
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.mail.types import Direction, LoginFormat, SignInMethod
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.sealed import SealedSecret, Secret
from tests.connections.conftest import Servers
from tests.connections.factories import PASSWORD, an_account
from tests.pages import Browser

IN, OUT = Direction.INCOMING, Direction.OUTGOING
ADA = Actor("Ada Lindqvist", 7, "192.0.2.1")


@pytest.fixture
def account(booted: object, servers: Servers) -> Iterator[Account]:
    """Wim's account with a password that is wrong by now, which a test has told."""
    made = an_account(servers.imap, servers.outgoing, password="old one")
    with db.transaction() as session:
        found = accounts.get(session, made.id)
        found.is_set_up, found.health = True, Health.NEEDS_ATTENTION
    return made


def now_of(account: Account) -> tuple[Account, str]:
    """The account as it is now, with its password."""
    with db.reading() as session:
        found = accounts.get(session, account.id)
        leg = accounts.leg(session, found, IN)
        assert leg
        return found, leg.how.password


def wanted(account: Account, password: str, **more: Any) -> Check:
    """The open test for a change of the account, which is to get another password among others."""
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        wish = replace(accounts.wish_of(found), login=Login("", Secret(password)), **more)
        legs = accounts.legs_if(session, found, wish=wish, version=found.version)
        change = Change(found.id, found.version, wish, ADA)
        return service.request_draft_check(session, legs=legs, address=found.address, actor=ADA, change=change)


def left() -> int:
    """How many sealed drafts there are."""
    with db.reading() as session:
        return session.scalar(select(func.count(Draft.id))) or 0


def test_what_has_passed_is_saved_with_everything_else_and_is_the_last_test(account: Account) -> None:
    check = wanted(account, PASSWORD, name="Wim", window=Window.EVERYTHING)
    assert now_of(account)[1] == "old one"
    drain_checks()
    found, password = now_of(account)
    assert (password, found.name, found.window, found.since) == (PASSWORD, "Wim", Window.EVERYTHING, None)
    assert (found.health, found.outgoing_health) == (Health.HEALTHY, Health.HEALTHY)
    with db.reading() as session:
        newest = service.latest(session, account.id)
        assert newest is not None
        assert (newest.id, newest.outcome, newest.account_version) == (check.id, CheckOutcome.PASSED, found.version)
        assert newest.folders
        by = {entry.person_name for entry in activity.of_account(session, account.id)[:2]}
        secrets = session.scalar(select(func.count(SealedSecret.id)))
    assert by == {"Ada Lindqvist"}
    assert (left(), secrets) == (0, 1)


def test_what_has_failed_changes_nothing(account: Account) -> None:
    check = wanted(account, "wrong", name="Wim")
    drain_checks()
    found, password = now_of(account)
    assert (password, found.name, found.version) == ("old one", "wim@example.org", account.version)
    with db.reading() as session:
        ended = service.get(session, check.id)
    assert (ended.outcome, ended.account_id, ended.category) == (CheckOutcome.FAILED, None, "auth")
    assert left() == 0


@pytest.mark.parametrize("meanwhile", ["changed", "deleted"])
def test_what_somebody_did_meanwhile_is_not_undone(account: Account, meanwhile: str) -> None:
    check = wanted(account, PASSWORD, name="Second")
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        if meanwhile == "changed":
            wish = replace(accounts.wish_of(found), name="First")
            accounts.change(session, found, wish=wish, version=found.version, actor=SYSTEM)
        else:
            accounts.request_deletion(session, found, actor=SYSTEM)
    drain_checks()
    with db.reading() as session:
        ended = service.get(session, check.id)
        row = session.get_one(Account, account.id)
    assert (ended.outcome, ended.category, ended.account_id) == (CheckOutcome.FAILED, "config", None)
    assert "nothing was saved" in str(ended.diagnosis)
    assert row.name == ("First" if meanwhile == "changed" else "wim@example.org")
    assert left() == 0


def test_form_leads_to_the_test_and_the_test_to_the_account(
    ada_at: Browser, account: Account, servers: Servers
) -> None:
    path = f"/accounts/{account.id}/settings"
    form = {
        **{e.get("name", ""): e.get("value", "") for e in ada_at.get(path).all("input") if _counts(e)},
        **{e.get("name", ""): _chosen(e) for e in ada_at.get(path).all("select")},
    }
    form |= {"password": PASSWORD, "name": "Wim"}
    test = ada_at.post(path, form).location
    assert "The settings are saved when it has passed." in ada_at.get(test).text
    drain_checks()
    page = ada_at.get(test, follow=True)
    assert "The test passed and the settings are saved" in page.text
    assert "Everything works" in page.text
    assert ada_at.get(test, htmx=True).headers["HX-Redirect"] == f"/accounts/{account.id}/connection"
    assert now_of(account)[1] == PASSWORD
    form |= {"password": "wrong", "version": str(now_of(account)[0].version)}
    test = ada_at.post(path, form).location
    drain_checks()
    assert "still has its old settings" in ada_at.get(test).text
    assert now_of(account)[1] == PASSWORD


def _counts(field: Any) -> bool:
    is_off = field.get("type") in ("checkbox", "radio") and field.get("checked") is None
    return not is_off and field.get("name") not in (None, "theme")


def _chosen(field: Any) -> str:
    return next((o.get("value") for o in field.iter() if o.get("selected") is not None), "0")


def test_change_comes_out_of_its_seal_as_it_went_in(account: Account) -> None:
    with db.transaction() as session:
        wish = replace(
            accounts.wish_of(accounts.get(session, account.id)),
            kind=Kind.TEAM,
            team="Größe",
            sync_minutes=7,
            window=Window.NOW,
            login_format=LoginFormat.WINDOWS,
            login=Login("wim", Secret("pass ä"), SignInMethod.APP_PASSWORD),
            sending=Login("relay", None),
        )
        change = Change(account.id, 3, wish, ADA)
        draft = drafts.keep(session, {}, change)
        opened = drafts.change_of(session, draft)
        assert opened is not None
        assert repr(opened) == repr(change)
        assert opened.wish.login.password is not None
        assert opened.wish.login.password.reveal() == "pass ä"
        assert drafts.legs_of(session, draft) == {}
