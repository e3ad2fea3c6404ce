"""What the page says is left, against accounts of every kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import event, insert, select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Credential
from mailadmin.accounts.service import Login
from mailadmin.db import now
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.moves import service
from mailadmin.moves.models import Move, MoveState, MoveWay
from mailadmin.oauth.models import OAuthApp
from mailadmin.people.models import Person
from mailadmin.permissions import PersonRole
from mailadmin.providers.models import Provider
from mailadmin.sealed import SealedSecret, Secret
from tests.accounts.factories import a_provider, an_account
from tests.conftest import both_databases
from tests.moves.fleet import SALES, WIM, Fleet
from tests.pages import Browser, Page

OAUTH, PASSWORD, APP_PASSWORD = SignInMethod.OAUTH, SignInMethod.PASSWORD, SignInMethod.APP_PASSWORD


def seed(provider: Provider, *methods: SignInMethod | None, start: int = 0) -> list[Account]:
    """Accounts at `provider` that sign in like this; None: with nothing yet."""
    made = []
    with db.transaction() as session:
        for number, method in enumerate(methods, start):
            login = Login("", Secret("word")) if method else Login()
            address = f"p{provider.id}-{number:03}@example.net"
            account = an_account(session, address=address, provider_id=provider.id, login=login, is_begun=not method)
            for credential in account.credentials:
                credential.method = method
            made.append(account)
    return made


def a_provider_that(name: str, *methods: SignInMethod, **more: object) -> Provider:
    with db.transaction() as session:
        provider = a_provider(session, name=name, domains=(), methods=frozenset(methods))
        for key, value in more.items():
            setattr(provider, key, value)
        return provider


def many(session: Session, provider: Provider, number: int) -> None:
    """So many accounts with passwords, the first half of them under way."""
    secrets = [{"id": uuid4(), "purpose": "password", "sealed": b"-"} for _ in range(number)]
    session.execute(insert(SealedSecret), secrets)
    rows = [{"address": f"a{n:05}@example.net", "name": "A", "provider_id": provider.id} for n in range(number)]
    session.execute(insert(Account), rows)
    ids = session.scalars(select(Account.id).where(Account.provider_id == provider.id).order_by(Account.id)).all()
    of = [
        {"account_id": i, "direction": Direction.INCOMING, "secret_id": s["id"]}
        for i, s in zip(ids, secrets, strict=True)
    ]
    session.execute(insert(Credential), of)
    under_way = [{"account_id": i, "way": MoveWay.SIGN_IN, "state": MoveState.WAITING} for i in ids[: number // 2]]
    session.execute(insert(Move), [{**one, "requested_by": "Ada"} for one in under_way])


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        sent.append(statement)

    engine = db.database().engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def line(page: Page, provider: Provider) -> str:
    return page.words(page.one("tr", id=f"provider-{provider.id}"))


@both_databases
def test_report_counts_what_the_model_calls_legacy(ada_at: Browser) -> None:
    offering = a_provider_that("Gale Mail", OAUTH, PASSWORD, APP_PASSWORD)
    closed = a_provider_that("Old House", PASSWORD)
    there = seed(offering, PASSWORD, PASSWORD, APP_PASSWORD, OAUTH, None)
    elsewhere = seed(closed, PASSWORD, APP_PASSWORD)
    with db.transaction() as session:
        own = an_account(session, address="own@example.com")
        doomed = accounts.get(session, there[1].id)
        doomed.deleting_at = now()
    with db.reading() as session:
        everyone = [session.get_one(Account, each.id) for each in (*there, *elsewhere, own)]
        expected = [one for one in everyone if one.is_legacy and not one.deleting_at]
        found = service.report(session, "https://console.example.com")
        assert found.number == len(expected) == service.count(session) == 2
        assert (found.with_oauth, found.without, found.own) == (1, 3, 1)
    page = ada_at.get("/moves")
    assert "Passwords 1" in line(page, offering)
    assert "App passwords 1" in line(page, offering)
    assert "1 of 3 accounts that could sign in with OAuth do so" in page.words()
    assert "3 more accounts sign in with a password where OAuth is not offered. There is nothing to do" in page.words()
    assert not page.all("tr", id=f"provider-{closed.id}")


def test_since_when_passwords_are_refused_is_said_and_the_urgent_come_first(ada_at: Browser) -> None:
    calm = a_provider_that("Calm", OAUTH, PASSWORD)
    google = a_provider_that("Google Workspace", OAUTH, APP_PASSWORD, catalogue_key="google")
    microsoft = a_provider_that("Microsoft 365", OAUTH, catalogue_key="microsoft-365")
    seed(calm, *[PASSWORD] * 3)
    seed(google, PASSWORD, APP_PASSWORD)
    seed(microsoft, PASSWORD)
    page = ada_at.get("/moves")
    rows = [e.get("id") for e in page.all("tr") if e.get("id")]
    assert rows == [f"provider-{google.id}", f"provider-{microsoft.id}", f"provider-{calm.id}"]
    assert "App passwords 1 Still taken, as far as is known Passwords 1 Refused since 1 May 2025" in line(page, google)
    assert "Refused since January 2023" in line(page, microsoft)
    assert "Still taken, as far as is known" in line(page, calm)


def test_what_is_possible_today_depends_on_the_app_and_how_it_was_verified(ada_at: Browser, fleet: Fleet) -> None:
    fleet.begin(SALES, has_app=False)
    with db.reading() as session:
        provider = session.get_one(Provider, fleet.provider_id)
    page = ada_at.get("/moves")
    assert "Needs an OAuth app" in line(page, provider)
    assert page.all("a", href=f"/providers/{provider.id}/oauth", class_="btn")
    assert not page.all("a", href=fleet.path)
    fleet.begin(WIM)
    page = ada_at.get("/moves")
    assert "OAuth app not verified People can sign in, app-only" in line(page, provider)
    assert page.all("a", href=fleet.path)
    for outcome, said in (("passed", "OAuth app verified"), ("failed", "Verify set-up failed")):
        with db.transaction() as session:
            session.query(OAuthApp).update(
                {"verified_at": now(), "verification": [{"name": "client", "outcome": outcome, "detail": ""}]}
            )
        assert said in line(ada_at.get("/moves"), provider)


def test_page_without_anything_to_do_says_so(ada_at: Browser) -> None:
    assert "No account could leave its password" in ada_at.get("/moves").words()
    seed(a_provider_that("Gale Mail", OAUTH, PASSWORD), OAUTH)
    assert "No password is left to leave" in ada_at.get("/moves").words()


def test_pages_link_here_where_passwords_are_left(ada_at: Browser) -> None:
    provider = a_provider_that("Gale Mail", OAUTH, PASSWORD)
    (account,) = seed(provider, OAUTH)
    pages = ("/", "/providers", f"/providers/{provider.id}", f"/accounts/{account.id}")
    assert [path for path in pages if ada_at.get(path).all("a", href="/moves")] == []
    (account,) = seed(provider, PASSWORD, start=1)
    assert ada_at.get("/").all("a", href="/moves")
    assert ada_at.get("/providers").all("a", href="/moves")
    page = ada_at.get(f"/providers/{provider.id}")
    assert "1 account still signs in with it. Move it to OAuth" in page.words()
    assert page.all("a", href=f"/moves/providers/{provider.id}")
    assert ada_at.get(f"/accounts/{account.id}").all("a", href=f"/moves/providers/{provider.id}?q={account.address}")


@pytest.mark.parametrize("path", ["/moves", "/moves/progress", "/moves/progress/look", "/moves/providers/1"])
def test_workers_and_strangers_are_not_let_in(app: Flask, ada_at: Browser, ada: Person, path: str) -> None:
    assert Browser(app).get(path).location.startswith("/sign-in")
    with db.transaction() as session:
        session.get_one(Person, ada.id).role = PersonRole.WORKER
    assert ada_at.get(path).status == 403


@both_databases
def test_pages_ask_as_little_for_many_accounts_as_for_few(ada_at: Browser) -> None:
    provider = a_provider_that("Gale Mail", OAUTH, PASSWORD)
    with db.transaction() as session:
        many(session, provider, 300)
    for path, most in (("/moves", 21), (f"/moves/providers/{provider.id}?page=6", 21), ("/moves/progress", 26)):
        with counted() as few:
            assert ada_at.get(path).status == 200
        assert len(few) <= most, path
