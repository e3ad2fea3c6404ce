"""The chart of the last 24 hours."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.console import chart
from mailadmin.sync.models import RunOutcome
from tests.console.factories import a_healthy, an_ended_run


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Now, and it stays so: the hour does not end in the middle of a test."""
    now = db.now()
    monkeypatch.setattr(chart, "now", lambda: now)
    return now


def test_without_runs_there_is_no_chart(session: Session) -> None:
    an_ended_run(session, a_healthy(session, "a@example.net"), ended=db.now() - timedelta(hours=25), new=3)
    assert chart.of_last_day(session) is None


def test_messages_are_summed_by_the_hour_and_the_last_bar_is_now(session: Session, moment: datetime) -> None:
    account = a_healthy(session, "a@example.net")
    this = moment.replace(minute=0, second=0, microsecond=0)
    for ended, new in ((this, 700), (moment, 60), (this - timedelta(seconds=1), 1405), (this - timedelta(hours=23), 9)):
        an_ended_run(session, account, ended=ended, new=new)
    drawn = chart.of_last_day(session)
    assert drawn
    assert len(drawn.bars) == 24
    assert [bar.messages for bar in drawn.bars if bar.messages] == [9, 1405, 760]
    assert (drawn.bars[-1].is_now, drawn.bars[-1].hour) == (True, f"{moment:%H:00}")
    assert drawn.total == 2174
    assert [number for _, number in drawn.lines] == [1500, 1000, 500]
    assert drawn.bars[-2].height == round(180 * 1405 / 1500, 1)


def test_failed_runs_are_marked_and_said(session: Session, moment: datetime) -> None:
    account = a_healthy(session, "a@example.net")
    moment -= timedelta(hours=2)
    for _ in range(2):
        an_ended_run(session, account, ended=moment, outcome=RunOutcome.FAILED)
    drawn = chart.of_last_day(session)
    assert drawn
    assert (drawn.failed, drawn.bars[-3].failed) == (2, 2)
    assert drawn.title == f"Messages synced per hour, in UTC. No new message came. Failed runs at {moment:%H:00}."


def test_the_title_says_the_numbers(session: Session, moment: datetime) -> None:
    an_ended_run(session, a_healthy(session, "a@example.net"), ended=moment, new=1405)
    drawn = chart.of_last_day(session)
    assert drawn
    assert f"Busiest at {moment:%H:00} with 1,405, quietest at" in drawn.title
