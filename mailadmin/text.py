"""The one way of words to the screen: everything that people read goes through `t`, so that it can be translated."""

import unicodedata
from datetime import UTC, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_JOINERS = "\u200c\u200d"


def t(text: str, **values: object) -> str:
    """`text` in the reader's language, with `{name}` replaced by `values`. So far that is the source's language."""
    return text.format(**values) if values else text


def is_written(text: str) -> bool:
    """Whether people write all of `text`: what is seen, the blanks of all languages, and what joins or parts letters
    in Persian, Hindi and pictures. Other invisible signs may hide something."""
    return all(c.isprintable() or c in _JOINERS or unicodedata.category(c) == "Zs" for c in text)


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
