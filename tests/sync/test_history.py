"""The page of an account's syncs: who asked, how long it took, what it brought, and what to do where it failed."""

from datetime import timedelta
from typing import Any

import pytest

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.errors import Category
from mailadmin.sync import history
from mailadmin.sync.models import RunKind, RunOutcome, SyncRun
from mailadmin.sync.service import SCHEDULE
from mailadmin.sync.watching import WATCHER
from tests.pages import Browser
from tests.sync.factories import Kept, MemoryServer, an_account, synced

DIAGNOSIS: dict[str, Any] = {
    "title": "The server refused the password",
    "cause": "It was changed at the provider, or IMAP is switched off there.",
    "action": ["Sign in on the web <once>.", "Type the new password here."],
    "direction": "incoming",
}


@pytest.fixture
def account(booted: object) -> Account:
    return an_account()


def a_past(account: Account, *, age: int = 1, took: float = 2.0, **values: Any) -> None:
    """A run that ended, so many minutes ago."""
    at = db.now() - timedelta(minutes=age)
    wanted = {"requested_by": SCHEDULE, "outcome": RunOutcome.COMPLETE, "started_at": at, **values}
    with db.transaction() as session:
        ended = at + timedelta(seconds=took)
        session.add(SyncRun(account_id=account.id, requested_at=at, finished_at=ended, **wanted))


def rows(browser: Browser, account: Account, page: int = 1) -> list[str]:
    found = browser.get(f"/accounts/{account.id}/syncs?page={page}")
    return [found.words(row) for row in found.all("tr")][1:]


def test_newest_comes_first_with_who_asked_and_what_changed(ada_at: Browser, account: Account) -> None:
    a_past(account, age=30, new=1204, changed=3, gone=2, pushed=1, unreadable=4, took=125)
    a_past(account, age=20, requested_by=WATCHER, new=1)
    a_past(account, age=10, requested_by="Ada Lindqvist", kind=RunKind.AUDIT, found=[{"folder": "INBOX"}])
    a_past(account, age=5, requested_by="Ada Lindqvist", kind=RunKind.DRY, found=[{"counted": 7}])
    dry, audit, pushed, usual = rows(ada_at, account)
    assert "Dry run, nothing stored" in dry
    assert "7 folders counted" in dry
    assert "Full comparison Ada Lindqvist" in audit
    assert "1 folder differed" in audit
    assert "The server told of news 1 new" in pushed
    assert "Schedule 1,204 new, 3 changed, 2 gone, 1 written 4 unreadable in all 2 min 5 s Complete" in usual


def test_failure_says_its_cause_and_what_to_do(ada_at: Browser, account: Account) -> None:
    a_past(
        account,
        outcome=RunOutcome.FAILED,
        category=Category.AUTH,
        reason="Refused",
        server_text="NO <b>denied</b>",
        diagnosis=DIAGNOSIS,
    )
    page = ada_at.get(f"/accounts/{account.id}/syncs")
    words = page.words()
    for said in ("Failed", DIAGNOSIS["title"], "What to do", "Sign in on the web <once>.", "NO <b>denied</b>"):
        assert said in words
    assert f"/accounts/{account.id}/connection" in [a.get("href") for a in page.all("a")]


def test_run_that_ended_early_says_why(ada_at: Browser, account: Account) -> None:
    a_past(account, outcome=RunOutcome.PARTIAL, reason="Archive: Permission denied")
    assert "Not complete Archive: Permission denied" in rows(ada_at, account)[0]


def test_run_that_goes_on_or_waits_stands_on_top(ada_at: Browser, account: Account) -> None:
    a_past(account)
    with db.transaction() as session:
        session.add(SyncRun(account_id=account.id, requested_by="Ada Lindqvist"))
    assert "Waiting for a runner" in rows(ada_at, account)[0]


def test_history_is_paged(ada_at: Browser, account: Account) -> None:
    for age in range(1, history.PAGE + 4):
        a_past(account, age=age, new=age)
    assert len(rows(ada_at, account)) == history.PAGE
    assert [row.split(" new")[0].split()[-1] for row in rows(ada_at, account, 2)] == ["51", "52", "53"]
    assert len(rows(ada_at, account, 99)) == 3


def test_panel_leads_to_it_also_while_nothing_was_synced(ada_at: Browser, account: Account) -> None:
    page = ada_at.get(f"/accounts/{account.id}")
    assert f"/accounts/{account.id}/syncs" in [a.get("href") for a in page.all("a")]
    assert "Nothing has been synced yet" in ada_at.get(f"/accounts/{account.id}/syncs").words()


def test_real_run_is_a_line(ada_at: Browser, account: Account) -> None:
    inbox = Kept()
    inbox.add(1, 2, 3)
    synced(account, opening=MemoryServer(INBOX=inbox))
    assert "Sync Ada Lindqvist 3 new" in rows(ada_at, account)[0]
