"""Looks go on: past a fault with one account, in one process at a time, and what they do not reach has a usual run."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from mailadmin import clock, db, leases, queue
from mailadmin.accounts.models import Account
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.sync import jobs, lookable, looked, looking
from mailadmin.sync.going import MustEnd, interruption
from mailadmin.sync.lookable import Look
from mailadmin.sync.looked import Looked
from tests.conftest import both_databases
from tests.sync.factories import account_now, an_account
from tests.sync.look_factories import held, make_due, make_whole, runs_of


def some(number: int) -> list[Account]:
    return [make_whole(an_account(f"u{place}@example.org")) for place in range(number)]


def was_noted(account: Account) -> bool:
    return account_now(account).next_sync_at != account.next_sync_at


FAULTS: dict[str, tuple[Any, str]] = {
    "read": (lookable, "_look"),
    "written": (looked, "_values"),
    "called a failure": (looked, "broken_off"),
}


@both_databases
@pytest.mark.parametrize("what", FAULTS)
def test_an_account_that_cannot_be_dealt_with_has_a_run_and_the_others_are_looked_at(
    booted: object, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    bad, *fine = some(3)
    module, name = FAULTS[what]
    real: Callable[..., Any] = getattr(module, name)

    def breaking(*args: Any) -> Any:
        if bad.id in {getattr(one, "account_id", getattr(one, "id", None)) for one in args}:
            raise ValueError("A fault of ours.")
        return real(*args)

    def work(look: Look) -> Looked:
        fails = what == "called a failure" and look.account_id == bad.id
        return Looked(look, error=MailError(Category.TIMEOUT, "Silence.") if fails else None)

    monkeypatch.setattr(module, name, breaking)
    looking.look_around(work, jobs.is_done)
    assert all(map(was_noted, fine))
    assert not was_noted(bad)
    assert [(each.finished_at, each.started_at) for each in runs_of(bad)] == [(None, None)]
    assert held() == []


def test_whoever_waits_for_a_look_in_vain_has_a_usual_run(booted: object) -> None:
    waiting, late = some(2)
    make_due(late, next_sync_at=db.now() - lookable.PATIENCE - timedelta(seconds=1))
    clock.start_due_syncs()
    assert (len(runs_of(waiting)), len(runs_of(late))) == (0, 1)


@both_databases
def test_a_server_where_many_are_due_does_not_fill_the_list(booted: object) -> None:
    there = Server(ServerProtocol.IMAP, "elsewhere.example", 993, TLSMode.IMPLICIT)
    here, other = some(3), make_whole(an_account("other@example.net", server=there))
    for minutes, account in enumerate([other, *reversed(here)], 1):
        make_due(account, next_sync_at=db.now() - timedelta(minutes=minutes))
    with db.reading() as session:
        due = lookable.due(session, limit=3)
    assert [one.account_id for one in due] == [here[0].id, other.id, here[1].id]
    assert due[1].server == "elsewhere.example:993"


@both_databases
def test_one_process_looks_and_nobody_rings_for_another_meanwhile(booted: object) -> None:
    first, other = some(2)
    make_due(other, next_sync_at=None)
    by_others: list[int] = []

    def work_of_others(look: Look) -> Looked:
        by_others.append(look.account_id)
        return Looked(look)

    def work(look: Look) -> Looked:
        if look.account_id == first.id:
            make_due(other)
            looking.look_around(work_of_others)
            clock.find_due_looks()
        return Looked(look)

    looking.look_around(work)
    assert was_noted(first)
    assert account_now(other).next_sync_at
    assert (by_others, (queue.waiting() or {})[queue.Line.LOOKING]) == ([], 0)


def test_who_has_lost_the_right_to_look_gives_back_what_it_holds(
    booted: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    some(2)
    monkeypatch.setattr(looking, "BEAT_SECONDS", 0.0)

    def work(look: Look) -> Looked:
        with db.transaction() as session:
            session.get_one(leases.Lease, lookable.LEASE).holder = "somebody else"
        return Looked(look)

    looking.look_around(work)
    assert "Somebody else has begun" in caplog.text
    assert held() == []
    with db.reading() as session:
        assert [lease.holder for lease in leases.held_now(session, lookable.LEASE)] == ["somebody else"]


def test_when_the_process_has_to_end_its_threads_see_that_and_the_next_one_goes_on(
    booted: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, slow = some(2)
    begun, over, seen = threading.Event(), threading.Event(), threading.Event()

    def work(look: Look) -> Looked:
        if look.account_id == quick.id:
            begun.wait(60)
        else:
            begun.set()
            over.wait(60)
            if interruption.is_set():
                seen.set()
        return Looked(look)

    def end(*_: object) -> list[int]:
        raise MustEnd

    with monkeypatch.context() as patch:
        patch.setattr(looked, "note", end)
        with pytest.raises(MustEnd):
            looking.look_around(work)
    over.set()
    assert seen.wait(60)
    assert held() == []
    looking.look_around(lambda look: Looked(look, is_new=interruption.is_set()))
    assert was_noted(quick)
    assert was_noted(slow)
