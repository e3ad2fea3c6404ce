"""What the clock starts by itself, and that one failing step does not stop the others."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailadmin import clock, db, leases, queue
from mailadmin.clock import Clock
from mailadmin.config import Settings
from mailadmin.connections.models import Check
from mailadmin.sync.models import SyncRun
from tests.accounts.factories import an_account
from tests.conftest import both_databases


def waiting(line: queue.Line) -> int:
    counts = queue.waiting()
    assert counts is not None
    return counts[line]


def a_check(**values: object) -> None:
    with db.transaction() as session:
        account = an_account(session)
        session.add(Check(account_id=account.id, account_version=1, requested_by="Ada", stages=[], **values))


@both_databases
def test_due_account_gets_a_run_and_a_ring(booted: Settings) -> None:
    with db.transaction() as session:
        account = an_account(session, next_sync_at=db.now(), synced_at=db.now())
    assert Clock().tick()
    with db.reading() as session:
        assert session.scalars(select(SyncRun.account_id)).all() == [account.id]
    assert (waiting(queue.Line.SYNC), waiting(queue.Line.BULK)) == (1, 0)


def test_first_sync_of_an_account_stands_in_a_line_of_its_own(booted: Settings) -> None:
    with db.transaction() as session:
        an_account(session, next_sync_at=db.now())
    assert Clock().tick()
    assert (waiting(queue.Line.SYNC), waiting(queue.Line.BULK)) == (0, 1)


def test_only_one_clock_leads(booted: Settings) -> None:
    first, second = Clock(), Clock()
    assert first.tick()
    assert not second.tick()
    assert first.tick()
    first.end()
    assert second.tick()


def test_clock_that_lost_its_lease_stands_back(booted: Settings) -> None:
    first = Clock()
    first.tick()
    with db.transaction() as session:
        lease = session.get(leases.Lease, "clock")
        assert lease is not None
        lease.fence += 1
    assert not first.tick()


def test_check_that_nobody_took_is_rung_for(booted: Settings) -> None:
    a_check(requested_at=db.now() - timedelta(seconds=6))
    Clock().tick()
    assert waiting(queue.Line.INTERACTIVE) == 1


def test_check_that_was_just_asked_for_is_left_to_its_own_ring(booted: Settings) -> None:
    a_check()
    Clock().tick()
    assert waiting(queue.Line.INTERACTIVE) == 0


def test_deletion_goes_on(booted: Settings) -> None:
    with db.transaction() as session:
        an_account(session, deleting_at=db.now())
    Clock().tick()
    assert waiting(queue.Line.DELETION) == 1


def test_failing_step_is_said_once_and_does_not_stop_the_others(
    booted: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start_due_syncs() -> None:
        raise ValueError("broken")

    monkeypatch.setattr(clock, "start_due_syncs", start_due_syncs)
    a_check(requested_at=db.now() - timedelta(seconds=6))
    ticking = Clock()
    assert ticking.tick()
    assert ticking.tick()
    assert waiting(queue.Line.INTERACTIVE) == 1
    assert caplog.text.count("The clock could not start due syncs") == 1


def test_queue_that_is_away_is_said_once_and_nothing_is_asked_for(
    booted: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with db.transaction() as session:
        an_account(session, next_sync_at=db.now())
    queue.open_queue("unix:///nowhere/queue.sock")
    ticking = Clock()
    assert ticking.tick()
    assert ticking.tick()
    with db.reading() as session:
        assert session.scalars(select(SyncRun.id)).all() == []
    assert caplog.text.count("The queue is away") == 1


def test_leases_of_runners_that_are_gone_are_swept_up(booted: Settings) -> None:
    with db.transaction() as session:
        held = leases.take(session, "runner:gone", seconds=30)
        assert held is not None
        leases.release(session, held)
    Clock().tick()
    with db.reading() as session:
        assert session.get(leases.Lease, "runner:gone") is None
