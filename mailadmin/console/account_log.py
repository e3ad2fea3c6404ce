"""What happened to one account, newest first: what people did, the tests, and the syncs that are worth a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, literal, or_, select, union_all
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Window
from mailadmin.activity.models import Activity
from mailadmin.connections import facts
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.db import now
from mailadmin.mail.types import StageOutcome
from mailadmin.sync.models import RunOutcome, SyncRun
from mailadmin.sync.service import IS_SYNC, SCHEDULE
from mailadmin.sync.watching import WATCHER
from mailadmin.text import t

PAGE = 50
WINDOWS = {
    Window.NOW: "From now on",
    Window.ONE_MONTH: "1 month",
    Window.THREE_MONTHS: "3 months",
    Window.SIX_MONTHS: "6 months",
    Window.EVERYTHING: "Everything",
}
# What the audit trail tells of an account, by its first word.
_ICONS = {
    "added": "plus",
    "began": "plus",
    "made": "star",
    "paused": "player-pause",
    "resumed": "player-play",
    "set": "circle-check",
    "tested": "stethoscope",
    "sent": "send",
    "deleted": "trash",
}
_RUNS = {
    RunOutcome.COMPLETE: ("ok", "check", "Sync finished"),
    RunOutcome.PARTIAL: ("warn", "exclamation-mark", "Sync ended early"),
    RunOutcome.FAILED: ("bad", "x", "Sync failed"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: when, what, and in small letters what else; `said` are a server's own words."""

    at: datetime
    tone: str
    icon: str
    what: str
    detail: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """One page of the lines, and where it is among all of them."""

    entries: list[Entry]
    total: int
    page: int
    pages: int

    @property
    def first(self) -> int:
        """The number of its first line, counted from 1."""
        return (self.page - 1) * PAGE + 1

    def days(self) -> list[tuple[str, list[Entry]]]:
        """The lines by day, each day in words, in UTC."""
        return [(_day(day), list(lines)) for day, lines in groupby(self.entries, lambda entry: entry.at.date())]


def log(session: Session, account_id: int, *, page: int = 1) -> Log:
    """The page `page` (from 1) of everything that is recorded of the account; one beyond the last is the last.

    Scheduled syncs that went well and found nothing new are left out: there is one every few minutes.
    """
    everything = _everything(account_id)
    total = session.scalar(select(func.count()).select_from(everything.subquery())) or 0
    pages = max(1, -(-total // PAGE))
    page = min(max(page, 1), pages)
    return Log(_lines(session, everything, limit=PAGE, offset=(page - 1) * PAGE), total, page, pages)


def latest(session: Session, account_id: int, *, limit: int) -> list[Entry]:
    """The newest lines."""
    return _lines(session, _everything(account_id), limit=limit, offset=0)


def _everything(account_id: int) -> CompoundSelect[Any]:
    is_worth_a_line = or_(
        SyncRun.outcome != RunOutcome.COMPLETE,
        SyncRun.requested_by != SCHEDULE,
        SyncRun.new + SyncRun.changed + SyncRun.gone > 0,
    )
    return union_all(
        _of(Activity, Activity.at, Activity.account_id == account_id),
        _of(Check, Check.finished_at, Check.account_id == account_id, Check.finished_at.is_not(None)),
        _of(
            SyncRun,
            SyncRun.finished_at,
            SyncRun.account_id == account_id,
            SyncRun.finished_at.is_not(None),
            IS_SYNC,
            is_worth_a_line,
        ),
    )


def _of(table: Any, at: Any, *which: ColumnElement[bool]) -> Select[Any]:
    return select(at.label("at"), literal(table.__tablename__).label("kind"), table.id.label("id")).where(*which)


def _lines(session: Session, everything: CompoundSelect[Any], *, limit: int, offset: int) -> list[Entry]:
    """The ids are chosen first, over all three tables, then the rows are read."""
    found = everything.subquery()
    newest = select(found.c.kind, found.c.id).order_by(found.c.at.desc(), found.c.kind, found.c.id.desc())
    chosen: Sequence[Any] = session.execute(newest.limit(limit).offset(offset)).all()
    made: dict[tuple[str, int], Entry] = {}
    tables: tuple[tuple[Any, Callable[[Any], Entry]], ...] = ((Activity, _done), (Check, _tested), (SyncRun, _synced))
    for table, line in tables:
        ids = [id_ for kind, id_ in chosen if kind == table.__tablename__]
        query = select(table).where(table.id.in_(ids))
        made |= {(table.__tablename__, row.id): line(row) for row in (session.scalars(query).unique() if ids else ())}
    return [made[kind, id_] for kind, id_ in chosen if (kind, id_) in made]


def _done(row: Activity) -> Entry:
    icon = _ICONS.get(row.what.partition(" ")[0], "pencil")
    detail = t(WINDOWS[Window(row.detail)]) if row.detail in set(Window) else row.detail
    return Entry(row.at, "off", icon, f"{row.person_name} {row.what}", detail)


def _tested(row: Check) -> Entry:
    assert row.finished_at is not None
    by = t("Asked for by {name}.", name=row.requested_by)
    if row.outcome is CheckOutcome.PASSED:
        steps = sum(stage["outcome"] == StageOutcome.PASSED for stage in row.stages)
        took = facts.duration((row.seconds or 0.0) * 1000)
        detail = t("{n} steps in {time}.", n=steps, time=took)
        return Entry(row.finished_at, "ok", "stethoscope", t("Connection test passed"), f"{detail} {by}")
    found = row.diagnosis or {}
    detail = f"{found['title']}. {by}" if found.get("title") else by
    return Entry(row.finished_at, "bad", "x", t("Connection test failed"), detail, found.get("server_text", ""))


def _synced(row: SyncRun) -> Entry:
    assert row.finished_at is not None
    assert row.outcome is not None
    tone, icon, what = _RUNS[row.outcome]
    said = [t("{new} new, {changed} changed, {gone} gone.", new=row.new, changed=row.changed, gone=row.gone)]
    if row.reason:
        said.insert(0, f"{row.reason.rstrip('.')}.")
    if row.requested_by == WATCHER:
        said.append(t("The server told of news."))
    elif row.requested_by != SCHEDULE:
        said.append(t("Asked for by {name}.", name=row.requested_by))
    return Entry(row.finished_at, tone, icon, t(what), " ".join(said), row.server_text)


def _day(day: date) -> str:
    today = now().date()
    words = f"{day.day} {day:%b}" if day.year == today.year else f"{day.day} {day:%b %Y}"
    if day == today:
        return t("Today, {day}", day=words)
    if day == today - timedelta(days=1):
        return t("Yesterday, {day}", day=words)
    return f"{day:%A}, {words}"
