"""How long servers are left alone, which runs may begin, and that one server cannot keep all others waiting."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mailadmin import db, leases
from mailadmin.accounts.models import Account, Health
from mailadmin.authorization import OAuthError
from mailadmin.connections import hosts
from mailadmin.connections.models import FailingHost
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Folder, Server, ServerProtocol, TLSMode
from mailadmin.sync import claims, manners, service
from mailadmin.sync.models import RunOutcome, SyncRun
from mailadmin.text import clock_time
from tests.accounts.factories import a_provider
from tests.conftest import both_databases
from tests.pages import Browser
from tests.sync.factories import a_run, account_now, an_account, change, stored_run, synced

DEAD = Server(ServerProtocol.IMAP, "127.0.0.1", 1993, TLSMode.IMPLICIT)
FINE = Server(ServerProtocol.IMAP, "127.0.0.1", 2993, TLSMode.IMPLICIT)
MICROSOFT = "BAD Request is throttled. Suggested Backoff Time: 178755 milliseconds"


def error(category: Category, detail: str = "") -> MailError:
    return MailError(category, "The server said something.", detail=detail)


@pytest.mark.parametrize(
    ("category", "said", "seconds"),
    [
        ("throttled", MICROSOFT, 178.755),
        ("unavailable", "Server Unavailable. Suggested Backoff Time: 299962 milliseconds", 299.962),
        ("throttled", "Retry-After: 120", 120),
        ("throttled", "NO [LIMIT] Slow down, try again in 5 minutes", 300),
        ("throttled", "please wait 2 hours before the next login", 7200),
        ("throttled", "Retry-After: 9999999", 86400),
        ("throttled", "[OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", 3600),
        ("throttled", "[ALERT] Too many simultaneous connections. (Failure)", 300),
        ("throttled", "NO [LIMIT] Rate limit hit", 900),
        ("throttled", "something that nobody has heard before", 900),
        ("unavailable", "NO [INUSE] Mailbox in use", 60),
        ("unavailable", "NO [UNAVAILABLE] Internal error", 120),
    ],
)
def test_what_a_server_says_is_how_long_it_is_left_alone(category: str, said: str, seconds: float) -> None:
    wait = manners.wait_after(error(Category(category), said))
    assert wait is not None
    assert wait.total_seconds() == pytest.approx(seconds)


@pytest.mark.parametrize("category", ["timeout", "refused", "auth", "network", "unavailable"])
def test_other_failures_have_the_usual_back_off(category: str) -> None:
    assert manners.wait_after(error(Category(category), "try again in 5 minutes" * (category == "auth"))) is None


def test_a_wait_without_a_number_grows_to_a_limit() -> None:
    busy, bandwidth = error(Category.THROTTLED, "[LIMIT]"), error(Category.THROTTLED, "bandwidth limits")
    assert [manners.wait_after(busy, failures=n) for n in (2, 3, 9)] == [timedelta(minutes=m) for m in (30, 60, 60)]
    assert [manners.wait_after(bandwidth, failures=n) for n in (2, 9)] == [timedelta(hours=h) for h in (2, 24)]


def test_retry_after_of_a_token_server_is_obeyed() -> None:
    asked = OAuthError(Category.THROTTLED, "Later.", retry_after=300.0)
    assert manners.wait_after(asked) == timedelta(minutes=5)


def refusing(category: Category, detail: str = "") -> Any:
    def opening(_leg: object) -> Any:
        raise error(category, detail)

    return opening


@both_databases
def test_an_account_whose_server_wants_to_be_left_alone_waits_and_says_so(booted: object) -> None:
    account = an_account(server=FINE)
    began = db.now()
    synced(account, opening=refusing(Category.THROTTLED, MICROSOFT))
    now = account_now(account)
    assert now.waits_until is not None
    assert now.next_sync_at is not None
    assert timedelta(seconds=178) < now.waits_until - began < timedelta(seconds=190)
    assert now.next_sync_at >= now.waits_until
    assert now.waits_reason
    assert manners.sentence(now).startswith("Paused by 127.0.0.1 until ")
    run = a_run(account)  # Somebody clicks all the same.
    with db.transaction() as session:
        assert claims.claim(session, first=True, limit=5) == []
    run = stored_run(run)
    assert (run.outcome, run.reason[:19]) == (RunOutcome.PARTIAL, "Paused by 127.0.0.1")
    assert account_now(account).health is now.health


def test_a_success_ends_the_wait(booted: object) -> None:
    account = an_account(server=FINE)
    change(account, waits_until=db.now() + timedelta(hours=1), waits_reason="Busy.")
    with db.transaction() as session:
        found = session.get_one(Account, account.id)
        run = SyncRun(account_id=account.id, requested_by="Ada")
        session.add(run)
        service.finish_run(session, run, found, service.Ending(RunOutcome.COMPLETE))
    now = account_now(account)
    assert (now.waits_until, now.waits_reason) == (None, "")


def many(server: Server, number: int, name: str = "a") -> list[SyncRun]:
    return [a_run(an_account(f"{name}{n}@example.net", server=server)) for n in range(number)]


def account_of(run: SyncRun) -> Account:
    with db.reading() as session:
        return session.get_one(Account, run.account_id)


def claimed(*, first: bool = True, limit: int = 32, wanted: int | None = None) -> list[int]:
    with db.transaction() as session:
        return claims.claim(session, first=first, limit=limit, wanted=wanted)


def failing_since(server: Server, minutes: int) -> None:
    with db.transaction() as session:
        since = db.now() - timedelta(minutes=minutes)
        session.add(FailingHost(host=hosts.name_of(server), failing_since=since, failures=9, reason="Silence."))


@both_databases
def test_a_server_that_lets_nobody_in_is_tried_six_times_an_hour_by_all_together(booted: object) -> None:
    runs = many(DEAD, 4)
    failing_since(DEAD, 11)
    assert claimed() == [runs[0].id]
    ended = [stored_run(run) for run in runs[1:]]
    assert all(run.outcome is RunOutcome.PARTIAL and "tried again at" in run.reason for run in ended)
    soonest = min(account_of(run).next_sync_at or db.now() for run in ended)
    assert soonest > db.now() + timedelta(minutes=9)


def test_in_the_first_ten_minutes_everybody_follows_their_own_back_off(booted: object) -> None:
    runs = many(DEAD, 2)
    failing_since(DEAD, 9)
    assert claimed() == [run.id for run in runs]


@both_databases
def test_failures_are_counted_for_the_server_and_one_success_frees_all(booted: object) -> None:
    dead, other = an_account("a@example.net", server=DEAD), an_account("b@example.net", server=DEAD)
    for _ in range(2):
        synced(dead, opening=refusing(Category.TIMEOUT))
        synced(other, opening=refusing(Category.AUTH))
    with db.reading() as session:
        [row] = session.scalars(select(FailingHost)).all()
    assert (row.host, row.failures) == ("127.0.0.1:1993", 2)
    change(other, health=Health.HEALTHY, health_category=None)
    with db.transaction() as session:
        found = session.get_one(Account, other.id)
        run = SyncRun(account_id=other.id, requested_by="Ada")
        session.add(run)
        service.finish_run(session, run, found, service.Ending(RunOutcome.COMPLETE))
    now = account_now(dead)
    assert now.next_sync_at is not None
    assert now.next_sync_at < db.now() + timedelta(seconds=5)
    with db.reading() as session:
        assert session.scalars(select(FailingHost)).all() == []


def hold(run: SyncRun, *, seconds_ago: float) -> None:
    """Somebody has worked on `run` for so long, and heard nothing yet."""
    with db.transaction() as session:
        assert leases.take(session, service.lease_name(run.account_id), seconds=60) is not None
        session.get_one(SyncRun, run.id).started_at = db.now() - timedelta(seconds=seconds_ago)


@both_databases
def test_a_slow_server_gets_two_runs_at_once_and_the_others_get_theirs(booted: object) -> None:
    slow, fine = many(DEAD, 5), many(FINE, 3, "b")
    hold(slow[0], seconds_ago=20)
    assert claimed() == [slow[1].id, *(run.id for run in fine)]
    assert claimed() == []


def test_no_server_gets_all_the_room(booted: object) -> None:
    first, second = many(FINE, claims.MOST_AT_ONE + 1), many(DEAD, 1, "b")
    assert claimed() == [run.id for run in [*first[: claims.MOST_AT_ONE], *second]]


def test_first_runs_and_others_stand_in_different_lines(booted: object) -> None:
    first, other = an_account("a@example.net", server=FINE), an_account("b@example.net", server=FINE)
    change(other, synced_at=db.now())
    runs = a_run(first), a_run(other)
    assert claimed(first=False) == [runs[1].id]
    assert claimed(first=True) == [runs[0].id]


def test_a_run_that_broke_off_is_taken_again_only_when_somebody_rings_for_it(booted: object) -> None:
    [run] = many(FINE, 1)
    with db.transaction() as session:
        session.get_one(SyncRun, run.id).started_at = db.now() - timedelta(minutes=5)
    assert claimed() == []
    assert claimed(wanted=run.id) == [run.id]


def test_every_state_says_who_wants_to_be_left_alone_and_until_when(ada_at: Browser) -> None:
    account = an_account(server=FINE, folders=[Folder("INBOX", "INBOX", "/")])
    with db.transaction() as session:
        provider = a_provider(session)
    until = db.now() + timedelta(hours=1)
    change(account, waits_until=until, provider_id=provider.id, watched_since=db.now())
    for address in (f"/accounts/{account.id}", "/accounts"):
        said = ada_at.get(address).text
        assert f"Paused by Harbour Mail until {clock_time(until)}" in said, address
    assert "The server tells us of new mail" in ada_at.get(f"/accounts/{account.id}").text
    change(account, waits_until=db.now() - timedelta(minutes=1), watched_since=None)
    said = ada_at.get(f"/accounts/{account.id}").text
    assert "Paused by" not in said
    assert "We ask the server" in said
