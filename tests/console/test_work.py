"""Whether background work goes on: who does what, what waits, and when somebody has to look."""

import socket
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from mailadmin import db, leases, queue
from mailadmin.accounts import service as accounts
from mailadmin.connections import service as connections
from mailadmin.console import work
from mailadmin.console.work import Alarm
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service as sync
from mailadmin.sync.models import RunOutcome
from tests.accounts.factories import an_account
from tests.console.factories import (
    a_failed_check,
    a_healthy,
    a_lease,
    a_runner,
    a_troubled,
    an_ended_run,
)


def lines(session: Session) -> list[tuple[str, str, str]]:
    return [(line.name, "; ".join(line.doing), line.tone) for line in work.look(session).lines]


def overdue(session: Session, *, seconds: float, address: str = "late@example.net") -> None:
    """An account that should have been synced `seconds` ago."""
    a_healthy(session, address).next_sync_at = db.now() - timedelta(seconds=seconds)
    session.flush()


def test_an_idle_runner_says_when_it_was_seen(session: Session) -> None:
    a_runner(session, "office-1", seen=4)
    looked = work.look(session)
    assert lines(session) == [("office-1", "idle, seen 4 s ago", "ok")]
    assert (looked.alarm, looked.pace, looked.tick_words) == (Alarm.NONE, "keeping up", "last tick 4 s ago")
    assert (looked.waiting.words, looked.waiting.longest_words) == ("nothing", "none")


def test_a_runner_is_called_as_its_machine(session: Session) -> None:
    leases.take(session, "runner:aaaa", seconds=30)
    name = socket.gethostname()
    assert lines(session) == [(name if len(name) <= 24 else f"{name[:23]}…", "idle, seen 0 s ago", "ok")]


def test_a_runner_says_what_it_syncs_and_how_long(session: Session) -> None:
    a_runner(session)
    for n, address in enumerate(("careers@example.net", "info@example.net", "sales@example.net")):
        account = a_healthy(session, address)
        a_lease(session, sync.lease_name(account.id), taken=12 - n)
    assert lines(session) == [
        ("office-1", "syncing careers@…, 12 s; syncing info@…, 11 s; 1 more", "ok"),
    ]


def test_what_a_command_syncs_where_no_runner_is_has_a_line(session: Session) -> None:
    a_runner(session, "office-1")
    account = a_healthy(session, "info@example.net")
    a_lease(session, sync.lease_name(account.id), machine="laptop", taken=3)
    assert ("laptop", "syncing info@…, 3 s", "run") in lines(session)


def test_running_tests_are_those_of_the_only_runner(session: Session) -> None:
    a_runner(session)
    for n in range(3):
        connections.request_check(session, account=an_account(session, address=f"u{n}@example.net"), actor=SYSTEM)
    connections.claim_due(session)
    assert lines(session) == [("office-1", "testing 3 connections, 0 s", "ok")]
    a_runner(session, "office-2")
    assert lines(session)[-1] == ("Tests", "testing 3 connections, 0 s", "run")


def test_a_test_that_lost_its_job_waits_again(session: Session) -> None:
    check = connections.request_check(session, account=an_account(session), actor=SYSTEM)
    check.requested_at = check.started_at = db.now() - timedelta(minutes=20)
    session.flush()
    looked = work.look(session)
    assert (looked.lines, looked.waiting.words, looked.waiting.longest_words) == ((), "1 test", "20 min")


def test_runners_of_one_machine_share_a_line(session: Session) -> None:
    a_runner(session, seen=2)
    a_runner(session, seen=3)
    assert lines(session) == [("office-1, 2 runners", "idle, seen 2 s ago", "ok")]


def test_what_waits_is_counted_and_the_longest_wait_measured(session: Session) -> None:
    a_runner(session)
    overdue(session, seconds=20)
    asked = a_healthy(session, "asked@example.net")
    sync.request_run(session, account=asked, requested_by="Ada Lindqvist")
    connections.request_check(session, account=asked, actor=SYSTEM)
    accounts.request_deletion(session, a_healthy(session, "gone@example.net"), actor=SYSTEM)
    waiting = work.look(session).waiting
    assert (waiting.words, waiting.number) == ("1 test, 2 syncs, 1 deletion", 4)
    assert waiting.longest_words == "20 s"


def test_accounts_that_need_somebody_or_are_being_synced_do_not_wait(session: Session) -> None:
    moment = db.now() - timedelta(hours=1)
    a_troubled(session, "bad@example.net").next_sync_at = moment
    busy = a_healthy(session, "busy@example.net")
    busy.next_sync_at, busy.running_since = moment, moment
    paused = a_healthy(session, "paused@example.net")
    accounts.pause(session, paused, actor=SYSTEM)
    paused.next_sync_at = moment
    session.flush()
    assert work.look(session).waiting.number == 0


def test_tests_of_many_accounts_are_meant_to_wait(session: Session) -> None:
    a_runner(session)
    check = connections.request_check(session, account=an_account(session), actor=SYSTEM)
    check.in_turn, check.requested_at = True, db.now() - timedelta(minutes=20)
    session.flush()
    looked = work.look(session)
    assert (looked.alarm, looked.waiting.words, looked.waiting.longest) == (Alarm.NONE, "1 test", None)


@pytest.mark.parametrize(
    ("seconds", "alarm", "pace"),
    [
        (30, Alarm.NONE, "keeping up"),
        (90, Alarm.NONE, "behind"),
        (340, Alarm.LATE, "behind"),
    ],
)
def test_late_work_is_first_behind_and_then_an_alarm(session: Session, seconds: int, alarm: Alarm, pace: str) -> None:
    a_runner(session)
    overdue(session, seconds=seconds)
    looked = work.look(session)
    assert (looked.alarm, looked.pace) == (alarm, pace)


def test_no_runner_is_an_alarm_even_when_nothing_waits(session: Session) -> None:
    looked = work.look(session)
    assert (looked.alarm, looked.pace, looked.tick_words) == (Alarm.NO_RUNNER, "stopped", "stands still")


def test_a_runner_that_ended_well_is_no_silent_one(session: Session) -> None:
    a_runner(session, seen=400).holder = ""
    session.flush()
    assert lines(session) == []
    assert work.look(session).alarm is Alarm.NO_RUNNER


def test_the_last_runner_that_fell_silent_is_named(session: Session) -> None:
    a_runner(session, "office-3", seen=365)
    looked = work.look(session)
    assert (looked.alarm, looked.silent, looked.silence_words) == (Alarm.SILENT, "office-3", "6 min")
    assert lines(session) == [("office-3", "silent for 6 min", "bad")]


def test_a_silent_runner_is_an_alarm_only_when_work_waits_for_it(session: Session) -> None:
    a_runner(session, "office-1")
    a_runner(session, "office-3", seen=365)
    assert work.look(session).alarm is Alarm.NONE
    overdue(session, seconds=45)
    assert work.look(session).alarm is Alarm.SILENT


def test_the_queue_that_is_away_is_an_alarm(session: Session) -> None:
    a_runner(session)
    path = queue.connection().connection_pool.connection_kwargs["path"]
    queue.open_queue("unix:///nowhere/queue.sock")
    looked = work.look(session)
    queue.open_queue(f"unix://{path}")
    assert (looked.alarm, looked.pace) == (Alarm.QUEUE, "stopped")


def test_what_failed_today_is_counted_and_yesterday_is_not(session: Session) -> None:
    account = a_troubled(session, "a@example.net")
    an_ended_run(session, account, ended=db.now(), outcome=RunOutcome.FAILED)
    an_ended_run(session, account, ended=db.now() - timedelta(days=1), outcome=RunOutcome.FAILED)
    an_ended_run(session, account, ended=db.now())
    a_failed_check(session, account, "auth-refused", "No.")
    a_failed_check(session, account, "auth-refused", "No.", hours=24)
    assert work.look(session).failed == 2
