"""One account has an ID, and one in the company is the primary: the database has the last word on both."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import changes, service, teams, which
from mailadmin.accounts.models import Account, Kind, Window
from mailadmin.accounts.service import Login
from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, LoginFormat
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Team
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import Secret
from tests.accounts.factories import a_provider, a_wish, an_account, imap, smtp
from tests.accounts.test_guard import change
from tests.conftest import both_databases


def together(*wanted: dict[str, Any]) -> list[str]:
    """What becomes of accounts that are added at once: "made", or the field at which one is refused."""
    outcomes: list[str] = []
    start = threading.Barrier(len(wanted))

    def add(wish: dict[str, Any]) -> None:
        try:
            with db.transaction() as session:
                start.wait(60)
                service.create(session, wish=a_wish(**wish), actor=SYSTEM)
            outcomes.append("made")
        except RuleBroken as broken:
            outcomes.append(broken.field or "")

    threads = [threading.Thread(target=add, args=[wish]) for wish in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


@both_databases
def test_id_is_made_of_the_address_and_is_free(session: Session) -> None:
    made = [
        an_account(session, address=text).slug for text in ("a.b@example.net", "a-b@example.net", "a+b@example.net")
    ]
    assert made == ["a-b-example-net", "a-b-example-net-2", "a-b-example-net-3"]
    long = an_account(session, address=f"{'x' * 60}@example.net")
    assert long.slug is not None
    assert len(long.slug) <= 60


@both_databases
def test_id_that_somebody_has_is_refused_until_its_account_is_deleted(session: Session) -> None:
    first = an_account(session, slug="Sales")
    assert first.slug == "sales"
    with pytest.raises(RuleBroken) as caught:
        an_account(session, address="b@example.net", slug="SALES")
    assert caught.value.field == "slug"
    session.rollback()
    first = an_account(session, slug="sales")
    service.request_deletion(session, first, actor=SYSTEM)
    assert an_account(session, address="b@example.net", slug="sales").slug == "sales"


@pytest.mark.parametrize("slug", ["a b", "-a", "a-", "a--b", "ä", "a_b", "x" * 61, "a/b"])
def test_id_has_letters_digits_and_single_hyphens(session: Session, slug: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        an_account(session, slug=slug)
    assert caught.value.field == "slug"


@both_databases
@pytest.mark.usefixtures("booted")
def test_of_two_who_choose_the_same_id_at_once_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_free_slug", lambda session, account, wish: wish.slug)  # Both looked before.
    two = [{"address": f"{name}@example.net", "slug": "sales"} for name in "ab"]
    assert together(*two) == ["made", "slug"]


@both_databases
@pytest.mark.usefixtures("booted")
def test_of_two_who_become_the_primary_account_at_once_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "primary", lambda session: None)  # Both looked before either wrote.
    two = [{"address": f"{name}@example.net", "is_primary": True} for name in "ab"]
    assert together(*two) == ["is_primary", "made"]


@both_databases
@pytest.mark.parametrize("address", ["primary@example.net", "slug@example.net", "uq_account_primary@example.net"])
def test_what_stands_in_an_address_does_not_decide_what_is_told(
    session: Session, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    an_account(session, address=address)
    monkeypatch.setattr(service, "find", lambda session, address: None)  # Both looked before either wrote.
    with pytest.raises(RuleBroken, match=f"There is an account for {address} already") as caught:
        an_account(session, address=address, slug="another")
    assert caught.value.field == "address"


@both_databases
def test_team_that_somebody_else_made_a_moment_ago_is_not_taken_for_the_address(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_account(session, kind=Kind.TEAM, team="Sales")
    monkeypatch.setattr(teams.people, "team", lambda session, name: Team(name=name))  # Looked before it was there.
    with pytest.raises(RuleBroken, match="a team, an owner or a provider") as caught:
        an_account(session, address="b@example.net", kind=Kind.TEAM, team="Sales")
    assert caught.value.field is None


@both_databases
def test_database_knows_one_primary_account(session: Session) -> None:
    an_account(session, is_primary=True)
    other = an_account(session, address="b@example.net")
    other.is_primary = True
    with pytest.raises(IntegrityError):
        session.flush()


@both_databases
def test_new_primary_account_takes_over_and_both_say_so(session: Session) -> None:
    old = an_account(session, is_primary=True)
    seen = old.version
    new = an_account(session, address="b@example.net")
    assert change(session, new, is_primary=True) == {"primary"}
    assert (old.is_primary, new.is_primary, which.primary(session)) == (False, True, new)
    assert old.version == seen + 1  # Whoever has its settings open is told.
    assert activity.of_account(session, old.id)[0].what.startswith("made b@example.net the primary account")
    assert change(session, new, is_primary=False) == {"primary"}
    assert which.primary(session) is None


@both_databases
def test_primary_account_that_is_deleted_makes_room(session: Session) -> None:
    old = an_account(session, is_primary=True)
    service.request_deletion(session, old, actor=SYSTEM)
    session.flush()
    assert an_account(session, address="b@example.net", is_primary=True).is_primary


def test_shorter_interval_counts_at_once(session: Session) -> None:
    account = an_account(session)
    account.next_sync_at = db.now() + timedelta(hours=20)
    assert change(session, account, sync_minutes=5) == {"sync interval"}
    assert account.next_sync_at <= db.now() + timedelta(minutes=5)
    soon = account.next_sync_at
    change(session, account, sync_minutes=600)
    assert account.next_sync_at == soon
    assert change(session, account, sync_minutes=None) == {"sync interval"}


def test_team_is_found_by_its_name_or_made(session: Session) -> None:
    organisation.rename(session, name="Example Ltd")
    organisation.change_teams(session, use_slots=False, have_many_accounts=True, actor=SYSTEM)
    first = an_account(session, kind=Kind.TEAM, team="Finance")
    second = an_account(session, address="b@example.net", kind=Kind.TEAM, team=" finance ")
    assert first.team is second.team
    assert change(session, first, kind=Kind.SHARED) == {"kind"}
    assert first.team is None


def test_window_of_a_wish_counts_for_accounts_new_and_old(session: Session) -> None:
    account = an_account(session, window=Window.EVERYTHING)
    assert (account.window, account.since) == (Window.EVERYTHING, None)
    change(session, account, window=Window.ONE_MONTH)
    assert account.since is not None
    change(session, account, name="Billing")
    assert account.window is Window.ONE_MONTH


def test_user_name_by_hand_is_wanted_at_own_servers_too(session: Session) -> None:
    account = an_account(session)
    with pytest.raises(RuleBroken) as caught:
        change(session, account, login_format=LoginFormat.BY_HAND)
    assert caught.value.field == "username"
    session.rollback()


def test_account_at_a_provider_may_have_servers_of_its_own(session: Session) -> None:
    provider = a_provider(session)
    login = Login("", Secret("x"))
    account = an_account(session, provider_id=provider.id, incoming=imap("own.example.net"), outgoing=None, login=login)
    assert account.provider is provider
    assert service.server_of(account, Direction.INCOMING) == imap("own.example.net")
    assert service.server_of(account, Direction.OUTGOING) == smtp()
    assert service.wish_of(account).provider_id == provider.id


def test_what_would_change_is_told_and_nothing_is(session: Session) -> None:
    account = an_account(session)
    version = account.version
    wish = a_wish(name="Billing", login=Login("", Secret("new")), incoming=imap("x.example.net"), outgoing=smtp())
    told = service.changes_if(session, account, wish=wish, version=version)
    assert told == {"name", "password", "receiving server"}
    assert told & service.CONNECTING == {"password", "receiving server"}
    assert (account.name, account.version) == ("billing@example.net", version)
    assert activity.of_account(session, account.id)[0].what.startswith("added")
    assert session.get(Account, account.id) is account


@both_databases
def test_number_of_an_account_that_is_gone_is_never_given_again(session: Session) -> None:
    first = an_account(session, address="first@example.net")
    number = first.id
    for credential in first.credentials:
        session.delete(credential)
    session.delete(first)
    session.flush()
    assert an_account(session, address="second@example.net").id > number
