"""The runs of an account as its page lists them: who asked, how long it took, what it brought, and why it failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.connections import facts
from mailadmin.sync.models import RunKind, RunOutcome, SyncRun
from mailadmin.sync.service import SCHEDULE
from mailadmin.sync.watching import WATCHER
from mailadmin.text import t

PAGE = 50
MINUTE = 60


@dataclass(frozen=True, slots=True)
class Line:
    """One run. `brought` are phrases of what changed, `took` is empty while it goes on; `why` a sentence or empty.

    `advice` is the diagnosis of a run that failed, as connections.diagnosis makes it.
    """

    run: SyncRun
    asked: str
    what: str
    took: str
    brought: Sequence[str]
    tone: str
    icon: str
    outcome: str
    why: str
    advice: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class History:
    """One page of lines, the newest first; `page` counts from 1, `first` is the place of the first line."""

    lines: Sequence[Line]
    total: int
    page: int
    pages: int
    first: int


def history(session: Session, account: Account, *, page: int = 1) -> History:
    """The runs of the account that are kept, dry ones too; a page that does not exist is the nearest one."""
    total = session.scalar(select(func.count()).where(SyncRun.account_id == account.id)) or 0
    pages = max(1, -(-total // PAGE))
    page = min(max(page, 1), pages)
    first = (page - 1) * PAGE
    query = select(SyncRun).where(SyncRun.account_id == account.id)
    rows = session.scalars(
        query.order_by(SyncRun.requested_at.desc(), SyncRun.id.desc()).limit(PAGE).offset(first)
    ).unique()
    return History([_line(row) for row in rows], total, page, pages, first + 1 if total else 0)


def _line(run: SyncRun) -> Line:
    tone, icon, outcome = _outcome(run)
    why = (run.diagnosis or {}).get("title") or run.reason
    took = ""
    if run.started_at is not None and run.finished_at is not None:
        took = _took((run.finished_at - run.started_at).total_seconds())
    return Line(run, _asked(run), _what(run), took, _brought(run), tone, icon, outcome, why, run.diagnosis)


def _took(seconds: float) -> str:
    if seconds < MINUTE:
        return facts.duration(seconds * 1000)
    minutes, rest = divmod(round(seconds), MINUTE)
    if minutes < MINUTE:
        return t("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    hours, minutes = divmod(minutes, MINUTE)
    return t("{hours} h {minutes} min", hours=hours, minutes=minutes)


def _asked(run: SyncRun) -> str:
    """Who wanted it, in words."""
    return {SCHEDULE: t("Schedule"), WATCHER: t("The server told of news")}.get(run.requested_by, run.requested_by)


def _what(run: SyncRun) -> str:
    return {
        RunKind.USUAL: t("Sync"),
        RunKind.AUDIT: t("Full comparison"),
        RunKind.DRY: t("Dry run, nothing stored"),
    }[run.kind]


def _outcome(run: SyncRun) -> tuple[str, str, str]:
    if run.outcome is None:
        if run.started_at is None:
            return "run", "hourglass", t("Waiting for a runner")
        return "run", "refresh", t("Running")
    return {
        RunOutcome.COMPLETE: ("ok", "circle-check", t("Complete")),
        RunOutcome.PARTIAL: ("warn", "alert-triangle", t("Not complete")),
        RunOutcome.FAILED: ("bad", "alert-circle", t("Failed")),
    }[run.outcome]


def _brought(run: SyncRun) -> list[str]:
    """What is different since, at least one phrase."""
    if run.kind is RunKind.DRY:
        counted = (run.found or [{}])[0].get("counted", 0)
        if not counted:
            return [t("Nothing counted")]
        return [t("1 folder counted") if counted == 1 else t("{n} folders counted", n=f"{counted:,}")]
    numbers = ((run.new, "{n} new"), (run.changed, "{n} changed"), (run.gone, "{n} gone"), (run.pushed, "{n} written"))
    brought = [t(words, n=f"{n:,}") for n, words in numbers if n]
    if run.kind is RunKind.AUDIT and run.found:
        n = len(run.found)
        brought.append(t("1 folder differed") if n == 1 else t("{n} folders differed", n=f"{n:,}"))
    return brought or [t("Nothing new")]
