import multiprocessing
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from mailadmin import db, leases
from mailadmin.config import Settings
from tests.conftest import both_databases

pytestmark = both_databases


def a_lease(seconds: float = 60) -> leases.Held | None:
    with db.transaction() as session:
        return leases.take(session, "sync:7", seconds=seconds)


def test_only_one_takes_a_lease(booted: Settings) -> None:
    assert a_lease()
    assert a_lease() is None


def test_an_expired_lease_is_taken_over_with_a_higher_fence(booted: Settings) -> None:
    first = a_lease(seconds=-1)
    second = a_lease()
    assert first
    assert second
    assert second.fence == first.fence + 1


def test_whoever_lost_a_lease_cannot_beat(booted: Settings) -> None:
    first = a_lease(seconds=-1)
    assert first
    assert a_lease()
    with pytest.raises(leases.LeaseLost), db.transaction() as session:
        leases.beat(session, first, seconds=60)


def _write_and_beat(held: leases.Held) -> None:
    with db.transaction() as session:
        leases.take(session, "written under the lost lease", seconds=60)
        leases.beat(session, held, seconds=60)


def test_what_was_written_with_a_lost_lease_is_not_kept(booted: Settings) -> None:
    first = a_lease(seconds=-1)
    assert first
    assert a_lease()
    with pytest.raises(leases.LeaseLost):
        _write_and_beat(first)
    with db.reading() as session:
        assert leases.held_now(session, "written") == []


def test_a_released_lease_is_free_at_once_and_its_fence_grows(booted: Settings) -> None:
    first = a_lease()
    assert first
    with db.transaction() as session:
        leases.release(session, first)
    second = a_lease()
    assert second
    assert second.fence == 2


def test_the_heartbeat_pushes_the_end_forward(session: Session) -> None:
    held = leases.take(session, "clock", seconds=60)
    assert held
    leases.beat(session, held, seconds=600)
    session.expire_all()
    [lease] = leases.held_now(session, "clock")
    assert lease.expires_at > db.now() + timedelta(seconds=500)


def _take_and_die(settings: Settings) -> None:
    from mailadmin import boot

    boot.start(settings)
    a_lease()


def test_the_lease_of_a_dead_process_of_this_machine_is_broken(booted: Settings) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_take_and_die, args=(booted,))
    child.start()
    child.join(120)
    assert a_lease() is None
    with db.transaction() as session:
        assert leases.break_dead(session) == 1
    assert a_lease()


def test_the_lease_of_a_living_process_is_left_alone(booted: Settings) -> None:
    assert a_lease()
    with db.transaction() as session:
        assert leases.break_dead(session) == 0


def test_many_are_taken_and_given_back_together_and_each_by_one(booted: Settings) -> None:
    names = ["sync:7", "sync:8", "sync:9"]
    assert a_lease()
    with db.transaction() as session:
        mine = leases.take_all(session, names, seconds=60)
    assert sorted(mine) == names[1:]
    with db.transaction() as session:
        assert leases.take_all(session, names, seconds=60) == {}
    with db.transaction() as session:
        lost = leases.Held("sync:9", mine["sync:9"].holder, mine["sync:9"].fence - 1)
        held = leases.hold_on(session, [mine["sync:8"], lost])
        assert held == [mine["sync:8"]]
        leases.release_all(session, held)
    with db.transaction() as session:
        again = leases.take_all(session, names, seconds=60)
    assert {name: one.fence for name, one in again.items()} == {"sync:8": mine["sync:8"].fence + 1}
