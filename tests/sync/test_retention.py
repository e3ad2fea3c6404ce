"""Mail that is older than an account keeps it: forgotten here, never on the server, and fetched again if it may be."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from mailadmin import db, leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, Window
from mailadmin.db import now
from mailadmin.permissions import SYSTEM
from mailadmin.sync import retention, service
from mailadmin.sync.models import Message, MessageContact, MessageName, RunOutcome
from tests.conftest import both_databases
from tests.sync.factories import MemoryServer, account_now, an_account, change, flags_of, folder_of, synced
from tests.sync.settling import a_letter, a_mailbox, put, settle

pytestmark = pytest.mark.usefixtures("booted")


def days_ago(days: float) -> datetime:
    return now() - timedelta(days=days)


@pytest.fixture
def server() -> MemoryServer:
    """A mailbox with two old messages, UIDs 1 and 2, and two new ones."""
    server = MemoryServer()
    for uid, days in ((1, 400), (2, 200), (3, 20), (4, 1)):
        server.kept["INBOX"].add(uid, received_at=days_ago(days), message_id=f"<{uid}@there>")
    return server


def uids(account: Account) -> list[int]:
    return sorted(flags_of(account))


@both_databases
def test_what_is_older_is_not_fetched_and_the_account_is_complete(server: MemoryServer) -> None:
    account = an_account(keep_months=3)
    run = synced(account, opening=server)
    assert (run.outcome, run.new, uids(account)) == (RunOutcome.COMPLETE, 2, [3, 4])
    folder = folder_of(account)
    assert (folder.stored, folder.wanted, folder.is_complete) == (2, 2, True)


@both_databases
def test_less_forgets_and_more_brings_back(server: MemoryServer) -> None:
    account = an_account()
    synced(account, opening=server)
    assert uids(account) == [1, 2, 3, 4]
    change(account, keep_months=12)
    run = synced(account, opening=server)
    assert (run.outcome, uids(account), run.gone) == (RunOutcome.COMPLETE, [2, 3, 4], 0)
    assert (folder_of(account).stored, folder_of(account).unread, account_now(account).stored) == (3, 3, 3)
    change(account, keep_months=1)
    synced(account, opening=server)
    assert uids(account) == [3, 4]
    change(account, keep_months=None)
    run = synced(account, opening=server)
    assert (run.outcome, uids(account)) == (RunOutcome.COMPLETE, [1, 2, 3, 4])
    assert len(server.kept["INBOX"].messages) == 4, "nothing is done to the server"


def test_nothing_is_fetched_and_forgotten_in_turns(server: MemoryServer) -> None:
    account = an_account(keep_months=1)
    edge = retention.kept_from(account.id, 1, now())
    assert edge
    for uid, hours in ((10, -30), (11, -12), (12, 0), (13, 12)):
        server.kept["INBOX"].add(uid, received_at=edge + timedelta(hours=hours))
    for _ in range(3):
        synced(account, opening=server)
        assert uids(account) == [3, 4, 12, 13]
    put(account, a_letter(11, at=edge - timedelta(hours=12)), a_letter(10, at=edge - timedelta(hours=30)))
    run = synced(account, opening=server)
    assert (run.outcome, uids(account)) == (RunOutcome.COMPLETE, [3, 4, 11, 12, 13])


@pytest.mark.parametrize("window", [Window.NOW, Window.ONE_MONTH])
def test_the_nearer_far_end_counts(server: MemoryServer, window: Window) -> None:
    account = an_account(window=window, keep_months=12)
    synced(account, opening=server)
    assert uids(account) == ([] if window is Window.NOW else [3, 4])
    with db.transaction() as session:
        found = session.get(Account, account.id)
        assert found
        found.since, found.version = days_ago(800), 2
    synced(account, opening=server)
    assert uids(account) == [2, 3, 4], "mail from now on that is too old by now goes as well"


@both_databases
def test_names_of_conversations_go_with_their_last_message_and_contacts_stay() -> None:
    account = a_mailbox(keep_months=1)
    put(account, a_letter(1, at=days_ago(90)), a_letter(2, at=days_ago(3), refers_to=("<1@there>",)))
    put(account, a_letter(3, at=days_ago(90), sender="olga@example.com"))
    settle(account)
    with db.reading() as session:
        assert session.scalars(select(Message.uid)).all() == [2]
        assert session.scalar(select(func.count()).select_from(MessageName)) == 2, "those of the living conversation"
        assert session.scalar(select(func.count()).select_from(MessageContact)) == 1


@both_databases
def test_the_clock_looks_after_accounts_that_do_not_run() -> None:
    paused, busy = a_mailbox(keep_months=1), a_mailbox("sales@example.net", keep_months=1)
    for account in (paused, busy):
        put(account, *(a_letter(n, at=days_ago(90)) for n in range(1, 4)), a_letter(9, at=days_ago(1)))
    with db.transaction() as session:
        for account, values in ((paused, {"health": Health.PAUSED}), (busy, {"synced_at": now()})):
            row = session.get(Account, account.id)
            for name, value in values.items():
                setattr(row, name, value)
    retention.forget_in_silent_accounts()
    assert (uids(paused), uids(busy)) == ([9], [1, 2, 3, 9])
    assert (folder_of(paused).stored, account_now(paused).stored) == (1, 1)


def test_an_account_that_somebody_works_on_is_left_to_them() -> None:
    account = a_mailbox(keep_months=1)
    put(account, a_letter(1, at=days_ago(90)))
    with db.transaction() as session:
        assert leases.take(session, service.lease_name(account.id), seconds=60)
    retention.forget_in_silent_accounts()
    assert uids(account) == [1]


@pytest.mark.parametrize(
    ("months", "moment", "expected"),
    [
        (None, datetime(2026, 6, 1, tzinfo=UTC), None),
        (1, datetime(2026, 3, 31, 5, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)),
        (12, datetime(2026, 6, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)),
    ],
)
def test_months_are_those_of_the_calendar(months: Any, moment: datetime, expected: Any) -> None:
    assert retention.kept_from(0, months, moment) == expected


def test_each_account_has_an_hour_of_its_own() -> None:
    evening = datetime(2026, 6, 1, 20, tzinfo=UTC)
    days = {retention.kept_from(account_id, 1, evening) for account_id in range(50)}
    assert days == {datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)}


def test_the_choice_is_saved_told_and_makes_the_account_due() -> None:
    account = an_account()
    with db.transaction() as session:
        row = accounts.get(session, account.id)
        row.next_sync_at = now() + timedelta(hours=5)
        wish = accounts.wish_of(row)
        changed = accounts.change(
            session, row, wish=dataclasses.replace(wish, keep_months=24), version=row.version, actor=SYSTEM
        )
        assert changed == {"months of mail kept"}
    row = account_now(account)
    assert row.keep_months == 24
    assert row.next_sync_at
    assert row.next_sync_at <= now()
