"""The progress of a sync that goes on: how much, how fast, how long it takes, and that nobody claims to know more."""

from datetime import timedelta
from typing import Any

import pytest

from mailadmin import db
from mailadmin.accounts.models import Account, Health, Window
from mailadmin.mail import types as mail
from mailadmin.sync import progress, service
from mailadmin.sync.models import Folder, RunKind, RunOutcome, SyncRun
from mailadmin.sync.progress import Course, course_of
from tests.pages import Browser
from tests.sync.factories import a_run, account_now, an_account, change
from tests.sync.test_routes import passed_check

PATHS = ("INBOX", "Sent")


@pytest.fixture
def account(booted: object) -> Account:
    return an_account(folders=[mail.Folder(path, path, "/") for path in PATHS])


def going(account: Account, *, seconds: float = 20, **folders: dict[str, Any]) -> None:
    """A run that was begun so long ago, and the folders as it has left them until now."""
    run = a_run(account)
    with db.transaction() as session:
        row = session.get_one(SyncRun, run.id)
        row.started_at = row.rung_at = db.now() - timedelta(seconds=seconds)
        for folder in session.query(Folder).filter_by(account_id=account.id):
            for name, value in folders.get(folder.path, {}).items():
                setattr(folder, name, value)


def course(account: Account) -> Course:
    with db.reading() as session:
        found = session.get_one(Account, account.id)
        run = service.open_run(session, account.id)
        assert run is not None
        rows = list(session.query(Folder).filter_by(account_id=account.id).order_by(Folder.path))
        return course_of(session, found, run, rows)


def listed(account: Account, *messages: int) -> None:
    with db.transaction() as session:
        folders = [{"path": path, "name": path, "messages": n} for path, n in zip(PATHS, messages, strict=True)]
        passed_check(session, session.get_one(Account, account.id), folders)


def test_speed_is_that_of_the_whole_run_and_tells_the_time_left(account: Account) -> None:
    going(account, INBOX={"run_total": 6000, "run_done": 1000}, Sent={"run_total": 1000, "run_done": 0})
    found = course(account)
    assert (found.read, found.total, found.done) == (1000, 7000, 0)
    assert found.per_second == pytest.approx(50, rel=0.05)
    assert found.speed in ("49 a second", "50 a second")
    assert found.left == "about 2 minutes left"


def test_run_that_was_taken_up_again_is_measured_from_then(account: Account) -> None:
    going(account, seconds=3600, INBOX={"run_total": 100, "run_done": 100}, Sent={"run_total": 100, "run_done": 0})
    with db.transaction() as session:
        run = service.open_run(session, account.id)
        assert run is not None
        run.rung_at = db.now() - timedelta(seconds=10)
    assert course(account).per_second == pytest.approx(10, rel=0.05)


def test_nobody_knows_the_time_before_every_folder_was_opened(account: Account) -> None:
    going(account, INBOX={"run_total": 6000, "run_done": 1000})
    found = course(account)
    assert found.total is None
    assert found.left == "How long it takes is known when all folders have been opened."


@pytest.mark.parametrize(("window", "total"), [(Window.EVERYTHING, 6400), (Window.THREE_MONTHS, None)])
def test_test_of_the_connection_tells_it_where_everything_is_wanted(
    account: Account, window: Window, total: int | None
) -> None:
    since = None if window is Window.EVERYTHING else db.now() - timedelta(days=90)
    change(account, window=window, since=since)
    listed(account, 9999, 400)
    going(account, INBOX={"run_total": 6000, "run_done": 1000})
    assert course(account).total == total


def test_dry_run_tells_it_for_its_window(account: Account) -> None:
    change(account, window=Window.THREE_MONTHS, since=db.now() - timedelta(days=90))
    found = [{}, *({"path": path, "messages": {"3m": 30, "everything": 900}} for path in PATHS)]
    with db.transaction() as session:
        done = {"finished_at": db.now(), "outcome": RunOutcome.COMPLETE, "kind": RunKind.DRY, "found": found}
        session.add(SyncRun(account_id=account.id, requested_by="Ada", **done))
    going(account, INBOX={"run_total": 31, "run_done": 10})
    assert course(account).total == 61


def test_folder_that_was_complete_brings_only_news(account: Account) -> None:
    going(account, INBOX={"run_total": 4, "run_done": 1}, Sent={"is_complete": True})
    assert course(account).total == 4


def test_speed_is_not_told_in_the_first_moment(account: Account) -> None:
    going(account, seconds=progress.FIRST_SECONDS / 3, INBOX={"run_total": 600, "run_done": 100})
    assert (course(account).per_second, course(account).speed) == (None, "")


def test_when_all_is_read_the_rest_is_named(account: Account) -> None:
    done = {"run_total": 5, "run_done": 5, "synced_at": db.now()}
    going(account, INBOX=done, Sent=done)
    found = course(account)
    assert found.left == "All folders are read; texts and conversations follow."
    with db.transaction() as session:  # What follows is no reading, and makes it no slower.
        run = service.open_run(session, account.id)
        assert run is not None
        run.started_at = run.rung_at = db.now() - timedelta(seconds=60)
        session.query(Folder).update({"synced_at": db.now() - timedelta(seconds=55)})
    assert course(account).per_second == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "less than a minute"),
        (50, "about 1 minute"),
        (170, "about 3 minutes"),
        (3500, "about 1 hour"),
        (9000, "about 2 hours"),
    ],
)
def test_time_in_words(seconds: float, words: str) -> None:
    assert progress.in_words(seconds) == words


def test_panel_shows_speed_time_left_and_the_pause(ada_at: Browser, account: Account) -> None:
    going(account, INBOX={"run_total": 6000, "run_done": 1000}, Sent={"run_total": 1000, "run_done": 0})
    page = ada_at.get(f"/accounts/{account.id}/sync", htmx=True)
    words = page.words()
    assert "1,000 of 7,000 messages read" in words
    assert "a second" in words
    assert "about 2 minutes left" in words
    pause = f"/accounts/{account.id}/pause"
    assert page.one("form", action=pause).get("method") == "post"
    ada_at.post(pause)
    words = ada_at.get(f"/accounts/{account.id}/sync", htmx=True).words()
    assert "Pausing" in words
    assert "a second" not in words
    assert "left" not in words
    assert "Resume" in words


def test_dry_run_is_no_progress_of_a_sync(ada_at: Browser, account: Account) -> None:
    with db.transaction() as session:
        session.add(SyncRun(account_id=account.id, requested_by="Ada", kind=RunKind.DRY, started_at=db.now()))
    page = ada_at.get(f"/accounts/{account.id}/sync", htmx=True)
    assert page.one("section", id=f"sync-{account.id}").get("hx-trigger") is None
    assert account_now(account).health is not Health.PAUSED
