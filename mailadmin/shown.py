"""How times, numbers and sizes are shown on pages."""

from datetime import UTC, datetime, tzinfo

from flask import g, has_request_context

from mailadmin.text import clock_time, t, zone_named


def time_zone() -> tzinfo:
    """The time zone in which this request shows times: that of whoever is signed in, else UTC."""
    # Flask-Login would ask the database, on error pages and partials too; what it knows by now has to do.
    signed_in = g.get("_login_user") if has_request_context() else None
    name = signed_in.person.time_zone if signed_in is not None and signed_in.is_authenticated else ""
    return zone_named(name)


def exact(moment: datetime | None) -> str:
    """The time in full, in the time zone of whoever asks: `2026-11-21 09:38 UTC`."""
    return f"{moment.astimezone(time_zone()):%Y-%m-%d %H:%M %Z}" if moment else ""


def clock(moment: datetime) -> str:
    """The time of day for sentences, in the time zone of whoever asks: `14:05 CET`, with the day if not today's."""
    return clock_time(moment, time_zone())


def hour(moment: datetime) -> str:
    """The time of day, in the time zone of whoever asks: `14:05`, with the day if not today's."""
    moment = moment.astimezone(time_zone())
    is_today = moment.date() == datetime.now(time_zone()).date()
    return f"{moment:%H:%M}" if is_today else f"{moment.day} {moment:%b %H:%M}"


def ago(moment: datetime | None) -> str:
    """The time as people say it: `in 4 min`, `3 min ago` within a day, then `Thu 06:41`, then `2 Nov`."""
    if moment is None:
        return t("Never")
    moment, present = moment.astimezone(time_zone()), datetime.now(time_zone())
    seconds = (present - moment).total_seconds()
    if seconds < -3600:
        return exact(moment)
    if seconds < -60:
        return t("in {n} min", n=int(-seconds // 60))
    if seconds < 60:
        return t("just now")
    if seconds < 3600:
        return t("{n} min ago", n=int(seconds // 60))
    if seconds < 24 * 3600:
        return t("{n} h ago", n=int(seconds // 3600))
    if seconds < 6 * 24 * 3600:
        return f"{moment:%a %H:%M}"
    return f"{moment.day} {moment:%b}" if moment.year == present.year else f"{moment.day} {moment:%b %Y}"


def num(value: int | None) -> str:
    """A number with thousands separators."""
    return "" if value is None else f"{value:,}"


def size(value: int) -> str:
    """A number of bytes in words: `812 B`, `1.2 MB`."""
    amount = float(value)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def is_ahead(moment: datetime) -> bool:
    """Whether the time is still to come."""
    return moment > datetime.now(UTC)
