"""The one way of words to the screen: everything that people read goes through `t`, so that it can be translated."""

from datetime import UTC, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def t(text: str, **values: object) -> str:
    """`text` in the reader's language, with `{name}` replaced by `values`. So far that is the source's language."""
    return text.format(**values) if values else text


def clock_time(moment: datetime, zone: tzinfo = UTC) -> str:
    """The time of `moment`, for sentences: `14:05 UTC`, with the day if that is not today."""
    moment = moment.astimezone(zone)
    is_today = moment.date() == datetime.now(zone).date()
    return f"{moment:%H:%M %Z}" if is_today else f"{moment.day} {moment:%b %H:%M %Z}"


@cache
def zone_named(name: str) -> tzinfo:
    """The time zone with the IANA name `name`; UTC for none, and for one that this machine does not know."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
