"""The picture of an account's last thirty days: on which its syncs worked, on which some or all of them failed."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import extract, func, literal_column, select
from sqlalchemy.orm import Session

from mailadmin.db import now
from mailadmin.sync.models import RunOutcome, SyncRun
from mailadmin.sync.service import IS_SYNC
from mailadmin.text import t

DAYS = 30  # as long as runs are kept
HEIGHT, STEP, WIDTH = 28, 20, 17
_TONES = {"ok": HEIGHT, "warn": 19, "bad": 10, "off": 4}  # how high each stands
_DAY_SECONDS = "86400"


@dataclass(frozen=True, slots=True)
class Day:
    """One bar, and what it says."""

    tone: str
    x: int
    y: int
    height: int
    title: str


@dataclass(frozen=True, slots=True)
class Strip:
    """All of them, from the oldest; `share` of the syncs that did not fail, and what the picture says in words."""

    days: tuple[Day, ...]
    share: str
    title: str
    begins: str


def of_account(session: Session, account_id: int) -> Strip | None:
    """The strip of the account; None if no sync of it has ended in these days. One query."""
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [today - timedelta(days=n) for n in range(DAYS - 1, -1, -1)]
    counted = _by_day(session, account_id, starts[0])
    if not counted:
        return None
    days = tuple(_day(n, start, *counted.get(start, (0, 0))) for n, start in enumerate(starts))
    runs, failed = (sum(numbers[n] for numbers in counted.values()) for n in (0, 1))
    return Strip(days, _share(runs, failed), _title(Counter(day.tone for day in days)), _words(starts[0]))


def _by_day(session: Session, account_id: int, start: datetime) -> dict[datetime, tuple[int, int]]:
    """Ended and failed runs by the day on which they ended."""
    seconds = extract("epoch", SyncRun.finished_at)  # as in chart.py: both databases count these alike
    day = (seconds - seconds % literal_column(_DAY_SECONDS)).label("day")
    failed = func.count().filter(SyncRun.outcome == RunOutcome.FAILED)
    ended = SyncRun.account_id == account_id, SyncRun.finished_at >= start, IS_SYNC
    query = select(day, func.count(), failed).where(*ended)
    return {
        datetime.fromtimestamp(int(began), UTC): (int(runs), int(broken))
        for began, runs, broken in session.execute(query.group_by("day"))
    }


def _day(n: int, start: datetime, runs: int, failed: int) -> Day:
    tone = "off" if not runs else "ok" if not failed else "bad" if failed == runs else "warn"
    height = _TONES[tone]
    said = {"day": _words(start), "n": f"{runs:,}", "failed": f"{failed:,}"}
    title = t("{day}: {n} syncs, {failed} failed", **said) if runs else t("{day}: no sync", **said)
    return Day(tone, n * STEP + 1, HEIGHT - height, height, title)


def _share(runs: int, failed: int) -> str:
    """In per cent with one decimal, rounded down: one failure among ten thousand is not nothing."""
    tenths = (runs - failed) * 1000 // runs
    return f"{tenths // 10}" if tenths % 10 == 0 else f"{tenths / 10:.1f}"


def _title(tones: Counter[str]) -> str:
    words = {
        "ok": t("{n} without trouble", n=tones["ok"]),
        "warn": t("{n} with some failures", n=tones["warn"]),
        "bad": t("{n} on which every sync failed", n=tones["bad"]),
        "off": t("{n} without a sync", n=tones["off"]),
    }
    return t("Last {n} days: {list}", n=DAYS, list=", ".join(word for tone, word in words.items() if tones[tone]))


def _words(moment: datetime) -> str:
    return f"{moment.day} {moment:%b}"
