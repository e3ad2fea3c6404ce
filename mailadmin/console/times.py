"""Points in time and durations in the few words that the overview has room for."""

from datetime import UTC, datetime, timedelta

from mailadmin.db import now
from mailadmin.text import t

WEEK = timedelta(days=6)


def since(moment: datetime) -> str:
    """What follows “since”: `06:41` today, `yesterday 23:59`, `Thu 06:41` within a week, then `18 Nov`; in UTC."""
    moment, present = moment.astimezone(UTC), now()
    if moment.date() == present.date():
        return f"{moment:%H:%M}"
    if moment.date() == present.date() - timedelta(days=1):
        return t("yesterday {time}", time=f"{moment:%H:%M}")
    if present - moment < WEEK:
        return f"{moment:%a %H:%M}"
    return f"{moment.day} {moment:%b}" if moment.year == present.year else f"{moment.day} {moment:%b %Y}"


def day_and_time(moment: datetime) -> str:
    """When something was: `Today, 09:38`, `Yesterday, 17:44`, `2 Nov, 08:02`, `2 Nov 2025, 08:02`; in UTC."""
    moment, today = moment.astimezone(UTC), now().date()
    if moment.date() == today:
        day = t("Today")
    elif moment.date() == today - timedelta(days=1):
        day = t("Yesterday")
    else:
        day = f"{moment.day} {moment:%b}" if moment.year == today.year else f"{moment.day} {moment:%b %Y}"
    return f"{day}, {moment:%H:%M}"


def lasting(duration: timedelta) -> str:
    """A duration as people say it: `8 s`, `5 min 40 s`, `12 min`, `2 h 5 min`, `3 days`."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds < 60:
        return t("{n} s", n=seconds)
    if seconds < 3600:
        minutes, rest = divmod(seconds, 60)
        return t("{n} min", n=minutes) if not rest or minutes >= 10 else t("{n} min {s} s", n=minutes, s=rest)
    if seconds < 48 * 3600:
        hours, rest = divmod(seconds // 60, 60)
        return t("{n} h {min} min", n=hours, min=rest) if rest else t("{n} h", n=hours)
    return t("{n} days", n=seconds // 86400)
