"""How far the sync that goes on has come, how fast it is, and how long it will take.

The speed is that of the whole run since somebody took it up, so it does not jump. The time left is told only where
every folder is known: a folder says how much there is to read when it is opened, and until then a dry run, or the list
of the last connection test, may have told it. Otherwise nobody knows, and the page says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Window
from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.sync.models import Folder, RunKind, SyncRun
from mailadmin.text import t

FIRST_SECONDS = 3.0  # Before, a speed would be chance.
TRUSTED = timedelta(days=1)  # for so long a dry run tells what a folder holds
MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True)
class Progress:
    """One folder of the run that goes on; `total` None: not known yet. `word` is waiting, reading or done."""

    folder: Folder
    word: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Course:
    """The whole run: so many messages `read` of `total` (None: not known), `per_second` (None: too early to say).

    `is_estimate`: the total holds folders that were not opened yet, as a dry run or a test has counted them. `left`
    says in words how long it will take, or why nobody knows.
    """

    folders: Sequence[Progress]
    done: int
    read: int
    total: int | None
    is_estimate: bool
    per_second: float | None
    left: str

    @property
    def speed(self) -> str:
        """Messages per second in words; empty where it is too early to say."""
        if self.per_second is None:
            return ""
        number = f"{self.per_second:.1f}" if self.per_second < 10 else f"{self.per_second:,.0f}"
        return t("{n} a second", n=number)


def course_of(session: Session, account: Account, run: SyncRun, rows: Sequence[Folder]) -> Course:
    """How far `run` has come with the folders `rows`."""
    folders = [_progress(run, row) for row in rows]
    waiting = [p.folder for p in folders if p.total is None and p.word != "done"]
    expected = _expected(session, account, waiting) if run.started_at and waiting else {}
    totals = [p.total if p.total is not None else expected.get(p.folder.id, 0) for p in folders]
    if run.started_at is None or any(folder.id not in expected for folder in waiting):
        total = None
    else:
        total = sum(max(n or 0, p.done) for n, p in zip(totals, folders, strict=True))
    done, read = sum(p.word == "done" for p in folders), sum(p.done for p in folders)
    is_read = done == len(folders)
    speed = _speed(run, read, max(filter(None, (row.synced_at for row in rows)), default=None) if is_read else None)
    left = _left(run, read, total, speed, is_read=is_read)
    return Course(folders, done, read, total, any(expected.values()), speed, left)


def _progress(run: SyncRun, row: Folder) -> Progress:
    if run.started_at is None:
        return Progress(row, "waiting", 0, None)
    if row.synced_at is not None and row.synced_at >= run.started_at:
        return Progress(row, "done", row.run_done, row.run_total)
    return Progress(row, "waiting" if row.run_total is None else "reading", row.run_done, row.run_total)


def _speed(run: SyncRun, read: int, ended: datetime | None) -> float | None:
    """Messages per second since somebody began to work on the run, or took it up again, until all was read."""
    if run.started_at is None or not read:
        return None
    seconds = ((ended or now()) - max(run.started_at, run.rung_at or run.started_at)).total_seconds()
    return read / seconds if seconds >= FIRST_SECONDS else None


def _left(run: SyncRun, read: int, total: int | None, speed: float | None, *, is_read: bool) -> str:
    if run.started_at is None:
        return ""
    if is_read:
        return t("All folders are read; texts and conversations follow.")
    if total is None:
        return t("How long it takes is known when all folders have been opened.")
    if speed is None:
        return "" if total else t("Nothing new until now.")
    return t("{time} left", time=in_words((total - read) / speed)) if total > read else t("almost done")


def in_words(seconds: float) -> str:
    """A time to wait, as exactly as anybody can know it: `about 3 minutes`."""
    if seconds < MINUTE * 0.75:
        return t("less than a minute")
    if seconds < HOUR * 0.9:
        minutes = round(seconds / MINUTE)
        return t("about 1 minute") if minutes <= 1 else t("about {n} minutes", n=minutes)
    hours = round(seconds / HOUR)
    return t("about 1 hour") if hours <= 1 else t("about {n} hours", n=hours)


def _expected(session: Session, account: Account, folders: Sequence[Folder]) -> Mapping[int, int]:
    """How many messages are to be read in those of `folders` about which something is known, by id."""
    found = {folder.id: 0 for folder in folders if folder.is_complete or folder.is_wished}  # Only news is left.
    if account.window is Window.NOW:
        return dict.fromkeys((folder.id for folder in folders), 0)
    counted = _counted(session, account)
    for folder in folders:
        if folder.id not in found and folder.path in counted:
            found[folder.id] = max(counted[folder.path] - folder.stored, 0)
    return found


def _counted(session: Session, account: Account) -> dict[str, int]:
    """How many messages are within the account's window, by path, as far as a dry run or a test has told."""
    dry = (
        select(SyncRun.found)
        .where(SyncRun.account_id == account.id, SyncRun.kind == RunKind.DRY, SyncRun.found.is_not(None))
        .where(SyncRun.requested_at >= now() - TRUSTED)
        .order_by(SyncRun.id.desc())
        .limit(1)
    )
    told = (session.scalar(dry) or [])[1:]
    found = {f["path"]: f["messages"][account.window] for f in told if account.window in f["messages"]}
    if account.since is None and account.keep_months is None:
        check = connections.last_passed(session, account.id)
        listed = check.folders if check is not None else []
        found = {f["path"]: f["messages"] for f in listed if f.get("messages") is not None} | found
    return found
