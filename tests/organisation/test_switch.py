"""While the company does not use its mail nothing begins; afterwards all goes on, one after the other."""

from datetime import timedelta

from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.cli.doctor import _mail
from mailadmin.clock import Clock
from mailadmin.config import Settings
from mailadmin.console import work
from mailadmin.organisation import service
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service as sync
from mailadmin.sync.models import RunOutcome, SyncRun
from mailadmin.sync.run import perform
from tests.conftest import both_databases
from tests.console.factories import a_healthy, a_runner


def switch(*, on: bool) -> None:
    with db.transaction() as session:
        service.change(session, name="Example Ltd", uses_mail=on, actor=SYSTEM)


def due_accounts(number: int) -> None:
    """Accounts that came due in the last days."""
    with db.transaction() as session:
        for n in range(number):
            a_healthy(session, f"a{n:02}@example.net").next_sync_at = db.now() - timedelta(days=1, minutes=n)


def runs() -> list[SyncRun]:
    with db.reading() as session:
        return list(session.scalars(select(SyncRun)))


@both_databases
def test_the_clock_starts_nothing_while_mail_is_off_and_everything_afterwards_bit_by_bit(booted: Settings) -> None:
    due_accounts(20)
    clock = Clock()
    switch(on=False)
    assert clock.tick()
    assert runs() == []
    switch(on=True)
    before = db.now()
    assert clock.tick()
    with db.reading() as session:
        times = list(session.scalars(select(Account.next_sync_at).order_by(Account.next_sync_at)))
    assert [round((at - before).total_seconds()) for at in times if at] == list(range(20))
    assert len(runs()) == 1  # The one that had waited longest; the others follow second by second.
    with db.reading() as session:
        assert session.get_one(Account, runs()[0].account_id).address == "a19@example.net"


def test_many_accounts_begin_again_within_minutes(booted: Settings) -> None:
    due_accounts(40)
    with db.transaction() as session:
        sync.catch_up(session)
    with db.reading() as session:
        last = session.scalar(select(func.max(Account.next_sync_at)))
    assert last
    assert db.now() + timedelta(seconds=30) < last < db.now() + sync.CATCH_UP


def test_an_overdue_account_is_no_alarm_while_mail_is_off(booted: Settings) -> None:
    due_accounts(3)
    with db.transaction() as session:
        a_runner(session)
        assert work.look(session).alarm == work.Alarm.LATE
    switch(on=False)
    with db.transaction() as session:
        looked = work.look(session)
        assert (looked.alarm, looked.waiting.number, looked.pace) == (work.Alarm.NONE, 0, "keeping up")


def test_a_run_that_was_asked_for_before_ends_without_a_word_to_the_server(booted: Settings) -> None:
    due_accounts(1)
    Clock().tick()
    switch(on=False)
    asked: list[object] = []
    perform(runs()[0].id, opening=asked.append)  # type: ignore[arg-type]
    run = runs()[0]
    assert (asked, run.outcome) == ([], RunOutcome.PARTIAL)
    assert "switched off for the whole organisation" in run.reason
    with db.reading() as session:
        account = session.scalars(select(Account)).unique().one()
        assert (account.health, account.incomplete, account.running_since) == ("healthy", "", None)
        assert account.next_sync_at
        assert account.next_sync_at <= db.now()


def test_doctor_says_it_and_is_content(booted: Settings) -> None:
    assert (_mail().ok, _mail().text) == (True, "integrated e-mail is on")
    switch(on=False)
    assert _mail().ok
    assert "switched off for the whole organisation" in _mail().text
