"""Times in few words."""

from datetime import UTC, datetime, timedelta

import pytest

from mailadmin.console import times

NOW = datetime(2026, 11, 21, 9, 38, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime(2026, 11, 21, 0, 5, tzinfo=UTC), "00:05"),
        (datetime(2026, 11, 20, 23, 59, tzinfo=UTC), "yesterday 23:59"),
        (datetime(2026, 11, 19, 6, 41, tzinfo=UTC), "Thu 06:41"),
        (datetime(2026, 11, 2, 6, 41, tzinfo=UTC), "2 Nov"),
        (datetime(2025, 11, 2, 6, 41, tzinfo=UTC), "2 Nov 2025"),
    ],
)
def test_since_when(moment: datetime, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "now", lambda: NOW)
    assert times.since(moment) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (8.9, "8 s"),
        (340, "5 min 40 s"),
        (300, "5 min"),
        (754, "12 min"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (3 * 86400 + 5, "3 days"),
    ],
)
def test_how_long(seconds: float, words: str) -> None:
    assert times.lasting(timedelta(seconds=seconds)) == words
