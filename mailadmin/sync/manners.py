"""How long a server wants to be left alone, and what that means for an account.

Some servers say a number: Microsoft's "Suggested Backoff Time", a Retry-After, "try again in 5 minutes". It is obeyed,
up to a day. Others only say that it was too much; how long they usually mean is written down here, and it grows while
they go on saying so. An account that waits occupies nobody: its next sync is due when the wait is over, its row says
until when and why, and the watcher leaves it alone as well.
"""

import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.authorization import OAuthError
from mailadmin.db import now
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction
from mailadmin.text import clock_time, t

MOST = timedelta(hours=24)
_SOON, _LONG = timedelta(hours=1), MOST  # how far a wait grows that the server does not put into numbers
_JITTER = 0.1  # of a wait

# Units by their first letters; the first that fits counts, so milliseconds come before minutes and minutes before m.
_UNITS = (
    ("ms", 0.001), ("millis", 0.001), ("s", 1.0), ("mi", 60.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0),
)  # fmt: skip
_NUMBERED = (
    (re.compile(r"suggested backoff time:?\s*(\d{1,10})\s*([a-z]*)", re.IGNORECASE), "ms"),
    (re.compile(r"retry[- ]after[:=]?\s*(\d{1,10})\s*([a-z]*)", re.IGNORECASE), "s"),
    (re.compile(r"(?:try|retry|again|wait|delay)\b[^\d.]{0,30}?(\d{1,10})\s*(ms|[smhd][a-z]*)", re.IGNORECASE), "s"),
)
# What a server means that says no number: the words (RFC 5530 3, RFC 2449 8.1.1), the first wait, how far it grows.
_USUAL: tuple[tuple[Callable[[str], object], timedelta, timedelta], ...] = (
    (re.compile(r"bandwidth|\[(OVERQUOTA|THROTTLED)\].{0,80}limit", re.IGNORECASE).search, timedelta(hours=1), _LONG),
    (re.compile(r"\[IN-?USE\]", re.IGNORECASE).search, timedelta(minutes=1), _SOON),
    (re.compile(r"\[UNAVAILABLE\]", re.IGNORECASE).search, timedelta(minutes=2), _SOON),
    (re.compile(r"too many.{0,40}(connection|session|login)s?", re.IGNORECASE).search, timedelta(minutes=5), _SOON),
    (re.compile(r"\[(LIMIT|LOGIN-DELAY)\]", re.IGNORECASE).search, timedelta(minutes=15), _SOON),
)
_THROTTLED = timedelta(minutes=15)
_MAY_WAIT = {Category.THROTTLED, Category.UNAVAILABLE, Category.QUOTA}


def suggested(error: MailError) -> timedelta | None:
    """The wait that the server has put into a number, at most a day; None: it has not."""
    if isinstance(error, OAuthError) and error.retry_after:
        return min(timedelta(seconds=error.retry_after), MOST)
    if error.permanent or error.category not in _MAY_WAIT:
        return None
    for pattern, usual in _NUMBERED:
        if match := pattern.search(error.detail):
            return min(timedelta(seconds=int(match[1]) * _unit(match[2] or usual)), MOST)
    return None


def wait_after(error: MailError, *, failures: int = 1) -> timedelta | None:
    """How long to leave the server alone after `error`, the last of `failures` in a row; None: the usual back-off."""
    if (said := suggested(error)) is not None:
        return said
    if error.permanent or error.category not in _MAY_WAIT:
        return None
    grown: int = 2 ** min(max(failures, 1) - 1, 10)
    for fits, first, most in _USUAL:
        if fits(error.detail):
            return min(first * grown, most)
    return min(_THROTTLED * grown, _SOON) if error.category is Category.THROTTLED else None


def wait(session: Session, account: Account, *, seconds: timedelta, reason: str) -> None:
    """Leave the server of `account` alone for so long; `reason` is a sentence."""
    account.waits_until, account.waits_reason = now() + seconds, reason
    if account.next_sync_at is not None:
        account.next_sync_at = max(account.next_sync_at, soon_after(account.waits_until))
    session.flush()


def wait_for_token(account: Account, error: MailError, *, reason: str) -> None:
    """Say so where it is the provider's sign-in that wants to be left alone until the next sync."""
    if error.category is Category.THROTTLED and account.next_sync_at is not None:
        account.waits_until, account.waits_reason = account.next_sync_at, reason


def is_waiting(account: Account) -> bool:
    """Whether the server of `account` wants to be left alone now."""
    return account.waits_until is not None and account.waits_until > now()


def who_waits(account: Account) -> str:
    """Who wants to be left alone: the provider's name, or the server's."""
    if account.provider is not None:
        return account.provider.name
    server = accounts.server_of(account, Direction.INCOMING)
    return server.host if server else t("the server")


def sentence(account: Account) -> str:
    """`Paused by Microsoft until 14:05 UTC`, for an account that waits; else nothing."""
    if not is_waiting(account) or account.waits_until is None:
        return ""
    return t("Paused by {who} until {time}", who=who_waits(account), time=clock_time(account.waits_until))


def _unit(word: str) -> float:
    return next((seconds for start, seconds in _UNITS if word.lower().startswith(start)), 1.0)


def soon_after(moment: datetime) -> datetime:
    """`moment` and up to a minute more by chance: not all accounts come back at once."""
    most = min(max((moment - now()).total_seconds(), 0.0) * _JITTER, 60.0)
    return moment + timedelta(seconds=random.uniform(0, most))  # noqa: S311
