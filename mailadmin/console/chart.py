"""The chart of the overview: messages synced in each of the last 24 hours, and when runs failed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import extract, func, literal_column, select
from sqlalchemy.orm import Session

from mailadmin.db import now
from mailadmin.sync.models import RunOutcome, SyncRun
from mailadmin.sync.service import IS_SYNC
from mailadmin.text import t

HOURS = 24
# In units of the picture: where the bars begin, how far apart and how wide they are, and how high the highest may be.
LEFT, STEP, WIDTH, HEIGHT, GAP = 52.0, 27.83, 20.0, 180.0, 3.9
LINES = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour: its words, what was synced and how many runs failed in it, and where it stands in the picture."""

    hour: str
    messages: int
    failed: int
    x: float
    y: float
    height: float
    label: str  # below the bar, or nothing
    is_now: bool

    @property
    def middle(self) -> float:
        """Where what belongs to the bar is centred."""
        return round(self.x + WIDTH / 2, 1)


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture: `bars` from the oldest hour to this one, `lines` as pairs of height and number."""

    bars: tuple[Bar, ...]
    lines: tuple[tuple[float, int], ...]
    total: int
    failed: int
    title: str


def of_last_day(session: Session) -> Chart | None:
    """The chart of the last 24 hours, this one included; None when no run ended in them. One query."""
    this = now().replace(minute=0, second=0, microsecond=0)
    hours = [this - timedelta(hours=n) for n in range(HOURS - 1, -1, -1)]
    counted = _by_hour(session, hours[0])
    if not counted:
        return None
    numbers = [counted.get(hour, (0, 0)) for hour in hours]
    step = _step(max(messages for messages, _ in numbers))
    bars = tuple(_bar(n, hour, numbers[n], step * LINES) for n, hour in enumerate(hours))
    return Chart(
        bars=bars,
        lines=tuple((HEIGHT - HEIGHT * n / LINES, step * n) for n in range(LINES, 0, -1)),
        total=sum(bar.messages for bar in bars),
        failed=sum(bar.failed for bar in bars),
        title=_title(bars),
    )


def _by_hour(session: Session, start: datetime) -> dict[datetime, tuple[int, int]]:
    """Messages and failed runs by the hour in which the runs ended."""
    # Seconds since 1970 are the one clock that both databases count alike, wherever the connection thinks it is.
    seconds = extract("epoch", SyncRun.finished_at)
    hour = (seconds - seconds % literal_column("3600")).label("hour")
    failed = func.count().filter(SyncRun.outcome == RunOutcome.FAILED)
    query = select(hour, func.sum(SyncRun.new), failed).where(SyncRun.finished_at >= start, IS_SYNC).group_by("hour")
    return {
        datetime.fromtimestamp(int(seconds), UTC): (int(messages), int(broken))
        for seconds, messages, broken in session.execute(query)
    }


def _step(most: int) -> int:
    """A round number of which LINES reach `most`: 1, 2 or 5 and noughts."""
    size = 1
    while True:
        for digit in (1, 2, 5):
            if digit * size * LINES >= most:
                return digit * size
        size *= 10


def _bar(n: int, hour: datetime, numbers: tuple[int, int], top: int) -> Bar:
    height = round(HEIGHT * numbers[0] / top, 1)
    return Bar(
        hour=f"{hour:%H:%M}",
        messages=numbers[0],
        failed=numbers[1],
        x=round(LEFT + GAP + STEP * n, 1),
        y=round(HEIGHT - height, 1),
        height=height,
        label=f"{hour:%H:%M}" if n % 4 == 0 else "",
        is_now=n == HOURS - 1,
    )


def _title(bars: tuple[Bar, ...]) -> str:
    """What the picture says, in words."""
    most, least = max(bars, key=lambda bar: bar.messages), min(bars, key=lambda bar: bar.messages)
    said = [t("Messages synced per hour, in UTC.")]
    if most.messages:
        said.append(
            t(
                "Busiest at {most} with {n}, quietest at {least} with {few}.",
                most=most.hour,
                n=f"{most.messages:,}",
                least=least.hour,
                few=f"{least.messages:,}",
            )
        )
    else:
        said.append(t("No new message came."))
    broken = [bar.hour for bar in bars if bar.failed]
    if broken:
        said.append(t("Failed runs at {hours}.", hours=", ".join(broken)))
    return " ".join(said)
