"""Looks: nothing new leaves no run, whatever is new is found, and a look never writes what it does not know."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from mailadmin import clock, db, leases, queue
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM
from mailadmin.sync import lanes, lookable, looking, run, service
from mailadmin.sync.models import RunKind, RunOutcome
from tests.conftest import both_databases
from tests.pages import Browser
from tests.real import eventually
from tests.sync.factories import Box, a_run, account_now, an_account, change, flags_of, stored_run
from tests.sync.look_factories import held, knocks, make_due, make_whole, runs_of, whole


def was_looked_at(account: Account) -> bool:
    """Whether it is due later now, as a look says it that found nothing, and nobody holds it."""
    now = account_now(account)
    with db.reading() as session:
        assert leases.held_now(session, "sync:") == []
    return bool(now.next_sync_at and now.next_sync_at > db.now() and now.synced_at and account.synced_at) and (
        now.synced_at > account.synced_at
    )


@both_databases
def test_a_look_that_finds_nothing_leaves_no_run(box: Box) -> None:
    box.deliver(2)
    box.dovecot.create("Other", box.user)
    account = whole(box, "Other")
    looking.look_around()
    assert was_looked_at(account)
    assert len(runs_of(account)) == 1
    now = account_now(account)
    assert (now.health, now.incomplete, now.version) == (Health.HEALTHY, "", account.version)


def removed(box: Box) -> None:
    with box.dovecot.session(box.user) as session:
        session.delete("Other")


def moved(box: Box) -> None:
    with box.dovecot.session(box.user) as session:
        session.delete("Other")
        session.create("Other")


NEWS: dict[str, Callable[[Box], None]] = {
    "new mail": lambda box: box.deliver(1),
    "an expunge": lambda box: box.do(("STORE", "1", "+FLAGS", "\\Deleted"), ("EXPUNGE",)),
    "a flag": lambda box: box.do(("STORE", "2", "+FLAGS", "\\Flagged")),
    "a new folder": lambda box: box.dovecot.create("New", box.user),
    "a folder that is no more": removed,
    "another UIDVALIDITY": moved,
}


@pytest.mark.parametrize("news", NEWS)
def test_whatever_is_new_on_the_server_is_found_and_left_to_a_run(box: Box, news: str) -> None:
    box.deliver(3)
    box.dovecot.create("Other", box.user)
    account = whole(box, "Other")
    NEWS[news](box)
    looking.look_around()
    last = runs_of(account)[-1]
    assert (len(runs_of(account)), last.requested_by, last.finished_at) == (2, service.SCHEDULE, None)
    assert account_now(account).next_sync_at == account.next_sync_at
    assert (queue.waiting() or {})[queue.Line.SYNC] == 1
    run.perform(last.id)
    assert stored_run(last).outcome is RunOutcome.COMPLETE
    assert flags_of(account) == box.flags()
    make_due(account)
    looking.look_around()
    assert len(runs_of(account)) == 2


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Does something when a look has begun, before it has opened the server."""
    real = run.open_incoming

    def arrange(deed: Callable[[], object]) -> None:
        def opening(leg: accounts.Leg, watch: Callable[[], None], *, budget: int) -> run.Timed:
            deed()
            return real(leg, watch, budget=budget)

        monkeypatch.setattr(looking, "open_incoming", opening)

    return arrange


MEANWHILE: dict[str, dict[str, Any]] = {
    "changed": {"notes": "Ask the front desk."},
    "paused": {"health": Health.PAUSED, "next_sync_at": None},
    "deleted": {"deleting_at": db.now(), "next_sync_at": None},
}


@both_databases
@pytest.mark.parametrize("what", MEANWHILE)
def test_of_an_account_that_was_changed_meanwhile_nothing_is_written(
    box: Box, before: Callable[[Callable[[], object]], None], what: str
) -> None:
    box.deliver(1)
    account = whole(box)
    times: list[int] = []
    before(lambda: times.append(1) or len(times) > 1 or change(account, **MEANWHILE[what]))
    looking.look_around()
    now = account_now(account)
    assert len(runs_of(account)) == 1
    assert now.version == account.version + 1
    assert now.synced_at == account.synced_at
    assert now.next_sync_at == (account.next_sync_at if what == "changed" else None)
    looking.look_around()  # What is due still is looked at again, and that counts.
    assert len(times) == (2 if what == "changed" else 1)
    assert was_looked_at(account) == (what == "changed")


def test_other_folders_that_were_chosen_meanwhile_make_the_account_due_still(
    box: Box, before: Callable[[Callable[[], object]], None]
) -> None:
    box.dovecot.create("Other", box.user)
    account = whole(box)
    times: list[int] = []

    def choose() -> None:
        times.append(1)
        if len(times) == 1:
            with db.transaction() as session:
                found = session.get_one(Account, account.id)
                rows = service.take_over(session, account=found, check=None)
                service.choose_folders(session, found, active={row.id for row in rows.values()}, roles={}, actor=SYSTEM)

    before(choose)
    looking.look_around()
    assert account_now(account).synced_at == account.synced_at
    looking.look_around()
    assert [each.finished_at for each in runs_of(account)[1:]] == [None]  # The new folder is for a run to read.


@both_databases
def test_whoever_asks_for_a_sync_during_a_look_gets_one_at_once(
    box: Box, before: Callable[[Callable[[], object]], None]
) -> None:
    account = whole(box)

    def click() -> None:
        asked = a_run(account)
        assert asked.started_at is None
        run.perform(asked.id)  # A runner is too early: somebody looks at the account.
        assert stored_run(asked).started_at is None

    before(click)
    looking.look_around()
    assert (queue.waiting() or {})[queue.Line.SYNC] == 1
    assert account_now(account).next_sync_at == account.next_sync_at
    run.perform(runs_of(account)[-1].id)
    assert runs_of(account)[-1].outcome is RunOutcome.COMPLETE


def test_whoever_asks_for_a_sync_while_the_account_is_taken_gets_one_too(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = whole(box)
    with db.reading() as session:
        due = lookable.due(session, limit=9)
    a_run(account)
    monkeypatch.setattr(lookable, "due", lambda session, limit: due)
    looking.look_around()
    assert (queue.waiting() or {})[queue.Line.SYNC] == 1
    assert (len(runs_of(account)), held()) == (2, [])


@both_databases
def test_a_refused_password_pauses_the_account_after_one_knock_with_the_diagnosis(box: Box) -> None:
    account = whole(box)
    with db.transaction() as session:
        found = session.get_one(Account, account.id)
        found.credentials[0].username = wrong = f"nobody-{account.id}-{box.user}"
    looking.look_around()
    looking.look_around()
    clock.start_due_syncs()
    now, last = account_now(account), runs_of(account)[-1]
    assert (now.health, now.health_category, now.next_sync_at) == (Health.NEEDS_ATTENTION, "auth", None)
    assert (last.outcome, last.category, last.requested_by) == (RunOutcome.FAILED, "auth", service.SCHEDULE)
    assert last.diagnosis
    assert last.started_at
    assert last.diagnosis["title"] == last.reason == now.health_reason
    eventually(lambda: knocks(box, wrong))
    assert knocks(box, wrong) == 1


def test_what_goes_wrong_after_the_sign_in_is_for_a_run_to_tell(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    account = whole(box)
    monkeypatch.setattr(looking, "ASK_SECONDS", 0.0)
    looking.look_around()
    assert [each.finished_at for each in runs_of(account)[1:]] == [None]
    assert account_now(account).health is Health.HEALTHY


def test_a_look_reads_no_more_than_it_may(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    account = whole(box)
    monkeypatch.setattr(looking, "BUDGET", 50)  # Not even what is said before the sign-in.
    looking.look_around()
    assert [each.outcome for each in runs_of(account)[1:]] == [RunOutcome.FAILED]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that takes connections and never says a word."""
    monkeypatch.setattr(run, "OPEN_SECONDS", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Server(ServerProtocol.IMAP, "127.0.0.1", listener.getsockname()[1], TLSMode.IMPLICIT)


def test_servers_that_are_silent_keep_no_other_account_waiting(box: Box, silent: Server) -> None:
    hung = [make_whole(an_account(f"h{n}@example.net", server=silent)) for n in range(5)]
    fine = whole(box)
    make_due(fine)  # Later than all the others.
    looks = threading.Thread(target=looking.look_around)
    looks.start()
    eventually(lambda: was_noted(fine))
    assert {account_now(one).health for one in hung} == {Health.HEALTHY}  # They are waited for still.
    looks.join(60)
    assert {account_now(one).health for one in hung} == {Health.UNREACHABLE, Health.HEALTHY}
    failed = [one for one in hung if account_now(one).health is Health.UNREACHABLE]
    assert len(failed) == 2  # Then the server was known to let nobody in, and the others have a run, which is polite.
    assert {runs_of(one)[-1].category for one in failed} == {"timeout"}
    assert [len(runs_of(one)) for one in hung] == [1] * 5


def was_noted(account: Account) -> bool:
    now = account_now(account)
    return bool(now.next_sync_at and account.next_sync_at and now.next_sync_at > account.next_sync_at)


@both_databases
def test_after_a_kill_the_accounts_are_looked_at_again(box: Box, silent: Server) -> None:
    account, hung = whole(box), make_whole(an_account(server=silent))
    if (child := os.fork()) == 0:
        db.database().forget_connections()
        lanes.GATHER_SECONDS = 60.0  # It has looked at the other, and has not written that.
        looking.look_around()
        os._exit(0)
    eventually(lambda: len(held()) == 2)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with db.transaction() as session:
        assert leases.break_dead(session) == 3  # also that of whoever looks
    with db.transaction() as session:
        service.catch_up(session)
        session.get_one(Account, hung.id).next_sync_at = None
    looking.look_around()
    assert was_looked_at(account)
    assert len(runs_of(account)) == 1


@both_databases
def test_two_runners_at_once_look_at_each_account_once(box: Box) -> None:
    account = whole(box)
    others = [box] + [Box(box.dovecot, f"u{number}@example.org") for number in range(190, 195)]
    everybody = [account, *(whole(other) for other in others[1:])]
    before = [knocks(box, other.user) for other in others]
    make_due(account)
    child = os.fork()
    if child == 0:
        db.database().forget_connections()
        looking.look_around()
        os._exit(0)
    looking.look_around()
    os.waitpid(child, 0)
    assert all(map(was_looked_at, everybody))
    assert [knocks(box, other.user) for other in others] == [number + 1 for number in before]


@both_databases
def test_the_clock_has_looks_rung_for_and_runs_asked_for_where_a_look_is_not_enough(box: Box) -> None:
    account, new = whole(box), an_account("new@example.net")
    clock.start_due_syncs()
    clock.find_due_looks()
    clock.find_due_looks()
    assert (len(runs_of(account)), len(runs_of(new))) == (1, 1)
    assert (queue.waiting() or {})[queue.Line.LOOKING] == 1
    looking.look_around()
    clock.find_due_looks()
    assert was_looked_at(account)
    assert (queue.waiting() or {})[queue.Line.LOOKING] == 1


def test_once_a_night_an_account_is_compared_in_full_all_the_same(box: Box) -> None:
    account = whole(box)
    make_due(account, audited_at=db.now() - timedelta(days=1, minutes=1))
    clock.start_due_syncs()
    looking.look_around()
    assert [each.kind for each in runs_of(account)] == [RunKind.USUAL, RunKind.AUDIT]


def test_nobody_is_looked_at_while_the_company_does_not_use_its_mail(box: Box) -> None:
    account = whole(box)
    with db.transaction() as session:
        organisation.change(session, name="Example Ltd", uses_mail=False, actor=SYSTEM)
    looking.look_around()
    assert (account_now(account).next_sync_at, knocks(box, box.user)) == (account.next_sync_at, 1)


def test_the_page_of_syncs_tells_of_looks(box: Box, ada_at: Browser) -> None:
    account = whole(box)
    looking.look_around()
    assert "Nothing has changed since the last sync." in ada_at.get(f"/accounts/{account.id}").text
    assert "leaves no line here" in ada_at.get(f"/accounts/{account.id}/syncs").text
