"""The watcher against a real Dovecot, on both databases where its questions to them differ."""

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from mailadmin import db, leases, queue, sealed
from mailadmin.accounts.models import Account, Health
from mailadmin.mail.errors import Category
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import Secret
from mailadmin.sync import watching
from mailadmin.sync.models import Message, SyncRun
from mailadmin.sync.run import perform
from mailadmin.watcher import Watcher
from mailadmin.watching.board import Board
from tests.accounts.factories import a_provider
from tests.conftest import both_databases
from tests.servers.dovecot import a_message
from tests.sync.factories import Box, account_now, change, synced

SECONDS = 60.0


class Watch:
    """A watcher in this process, whose turns the test makes."""

    def __init__(self, board: Board | None = None) -> None:
        self.board = Board() if board is None else board
        self.watcher = Watcher(self.board)

    def until(self, condition: Callable[[], object], seconds: float = SECONDS) -> float:
        """Let it work until `condition` is true; how many seconds that took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + seconds, "still not so"
            self.watcher.turn(0.05)
        return time.monotonic() - began

    def watches(self, account: Account) -> bool:
        return account_now(account).watched_since is not None

    def connections(self) -> list[int]:
        """The serial numbers of the connections that are held."""
        return [serial for serial, _ in self.board._idles.values()]

    def end(self) -> None:
        self.watcher.end()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the watcher does now and then, it does often."""
    for name in ("LOOK_SECONDS", "BEAT_SECONDS", "NOTE_SECONDS"):
        monkeypatch.setattr(f"mailadmin.watcher.{name}", 0.1)


@pytest.fixture
def watch(booted: object) -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.end()


def open_runs() -> list[SyncRun]:
    with db.reading() as session:
        return list(session.scalars(select(SyncRun).where(SyncRun.finished_at.is_(None))))


def work_off() -> None:
    """Do what a runner would."""
    for run in open_runs():
        perform(run.id)


def subjects(account: Account) -> set[str]:
    with db.reading() as session:
        return set(session.scalars(select(Message.subject)))


def arrives(box: Box, number: int) -> None:
    """Have a message delivered as programs do it, so that Dovecot knows at once."""
    box.dovecot.append(a_message(number), user=box.user)


@both_databases
def test_new_mail_is_stored_within_two_seconds(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    watch.until(lambda: watch.watches(account))

    def is_stored() -> bool:
        work_off()
        return f"Message {number}" in subjects(account)

    for number in range(5):  # More than one only on a busy machine.
        arrives(box, number)
        if watch.until(is_stored) < 2:
            break
    else:
        raise AssertionError("none was stored in time")
    assert account_now(account).health is Health.HEALTHY


def test_a_ring_follows_the_news(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    watch.until(lambda: watch.watches(account))
    box.deliver(1)
    box.do(("STORE", "1", "+FLAGS", "(\\Seen)"))
    watch.until(open_runs)
    assert [run.requested_by for run in open_runs()] == [watching.WATCHER]
    waiting = queue.waiting()
    assert waiting is not None
    assert waiting[queue.Line.SYNC] == 1


def test_what_came_before_the_watch_is_noticed_when_it_begins(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    arrives(box, 3)
    watch.until(open_runs)
    work_off()
    assert subjects(account) == {"Message 3"}


def test_news_during_a_run_makes_another_run_after_it(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    watch.until(lambda: watch.watches(account))
    with db.transaction() as session:
        run = SyncRun(account_id=account.id, requested_by="Ada", started_at=db.now())
        session.add(run)
    arrives(box, 1)
    arrives(box, 2)
    with pytest.raises(AssertionError):
        watch.until(lambda: len(open_runs()) > 1, 0.7)
    perform(run.id)
    watch.until(lambda: [r.id for r in open_runs()] not in ([], [run.id]))


def test_a_burst_makes_one_run(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    watch.until(lambda: watch.watches(account))
    for number in range(5):
        arrives(box, number)
    watch.until(open_runs)
    work_off()
    assert len(subjects(account)) == 5
    with db.reading() as session:
        assert len(session.scalars(select(SyncRun.id)).all()) == 2


@both_databases
def test_accounts_that_come_change_pause_and_go_are_followed(box: Box, watch: Watch) -> None:
    watch.watcher.turn(0)
    account = box.account()
    synced(account)
    watch.until(lambda: watch.watches(account))
    first = watch.connections()
    change(account, name="Another")
    watch.until(lambda: len(watch.connections()) == 1 and watch.connections() != first)
    change(account, health=Health.PAUSED)
    watch.until(lambda: not watch.watches(account))
    change(account, health=Health.HEALTHY)
    watch.until(lambda: watch.watches(account))
    with db.transaction() as session:
        organisation.change(session, name="Acme", uses_mail=False, actor=SYSTEM)
    watch.until(lambda: not watch.watches(account))
    with db.transaction() as session:
        organisation.change(session, name="Acme", uses_mail=True, actor=SYSTEM)
    watch.until(lambda: watch.watches(account))
    change(account, deleting_at=db.now())
    watch.until(lambda: not watch.watches(account))


def test_a_refused_password_pauses_the_account_after_one_knock(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    with db.transaction() as session:  # Dovecot would take the old password for a moment if we changed it there.
        credential = session.get_one(Account, account.id).credentials[0]
        credential.secret_id = sealed.keep(session, Secret("another"), purpose="password")
    watch.until(lambda: account_now(account).health is Health.NEEDS_ATTENTION)
    assert account_now(account).health_category is Category.AUTH
    with db.reading() as session:
        run = session.scalars(select(SyncRun).order_by(SyncRun.id.desc())).first()
    assert run is not None
    assert (run.requested_by, run.category) == (watching.WATCHER, Category.AUTH)
    assert run.diagnosis is not None


def test_an_idle_is_renewed_before_its_time_is_over_and_goes_on(box: Box, booted: object) -> None:
    watch = Watch(Board(renew=(0.2, 0.3)))
    try:
        account = box.account()
        synced(account)
        watch.until(lambda: watch.watches(account))
        since = account_now(account).watched_since
        end = time.monotonic() + 1.2
        watch.until(lambda: time.monotonic() > end)
        arrives(box, 1)
        watch.until(open_runs)
        assert account_now(account).watched_since == since
    finally:
        watch.end()


def test_a_connection_that_ends_is_opened_again(box: Box, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailadmin.watching.roster.STEADY_SECONDS", 0.0)
    monkeypatch.setattr("mailadmin.watching.roster.SOON_SECONDS", (0.1, 0.2))
    account = box.account()
    synced(account)
    watch.until(lambda: watch.watches(account))
    [(_, idle)] = watch.board._idles.values()
    with socket.socket(fileno=os.dup(idle.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)  # As a firewall does that has forgotten the connection.
    arrives(box, 9)
    watch.until(open_runs)


@both_databases
def test_two_watchers_share_the_accounts_and_one_takes_over(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    watch.until(lambda: watch.watches(account))
    with db.transaction() as session:  # Another one, in another process.
        first, second = watching.lease_of(0), "watcher:another"
        other = leases.take(session, second, seconds=60)
        assert other is not None
        assert leases.take(session, first, seconds=60) is None
        session.get_one(leases.Lease, second).holder = "elsewhere/1/1"
    watch.until(lambda: len(held()) == watching.SHARDS // 2)
    with db.transaction() as session:
        session.get_one(leases.Lease, second).expires_at = db.now()
    watch.until(lambda: len(held()) == watching.SHARDS)
    watch.until(lambda: watch.watches(account))


def held() -> list[str]:
    with db.reading() as session:
        return [lease.name for lease in leases.held_now(session, watching.PREFIX)]


def test_accounts_of_a_watcher_that_died_are_not_watched(box: Box, watch: Watch) -> None:
    account = box.account()
    synced(account)
    change(account, watched_since=db.now())
    with db.transaction() as session:
        watching.forget_dead(session)
    assert account_now(account).watched_since is None


def test_one_connection_at_a_time_is_too_few_to_watch(box: Box, watch: Watch) -> None:
    account = box.account()
    with db.reading() as session:
        assert account.id in watching.wanted(session, {watching.shard_of(account.id)})
    with db.transaction() as session:
        provider = a_provider(session, most_connections=1)
        session.get_one(Account, account.id).provider_id = provider.id
    with db.reading() as session:
        assert watching.wanted(session, range(watching.SHARDS)) == {}
