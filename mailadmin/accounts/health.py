"""How an account is: what runs and tests report, and the one word that the pages show."""

import random
from collections import Counter
from datetime import timedelta

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account, Health
from mailadmin.db import now
from mailadmin.mail.errors import PERMANENT, Category
from mailadmin.mail.types import Direction

BACK_OFF_FIRST, BACK_OFF_MOST = timedelta(minutes=1), timedelta(hours=1)
JITTER = 0.2  # of the delay, so that a thousand accounts of a server that comes back do not knock at once
AT_ONCE = {Category.AUTH, Category.OAUTH}  # One more knock with a refused password may lock the account there.
WORST_FIRST = ("signin", "refused", "setting", "unreachable")
_SETTINGS = {Category.PERMISSION, Category.POLICY, Category.UNSUPPORTED, Category.CONFIG}


def state_of(account: Account) -> str:
    """The state on screen: connected, partial, syncing, signin, refused, unreachable, setting, waiting, paused, draft.

    Trouble comes before a sync that goes on, and the worse of receiving and sending counts. What an account cannot do
    without its owner, who was asked, is "waiting"; what may pass by itself is not. "partial" is an account that opens,
    but of which less is stored than wanted, or something else than the server has: its last run or audit said so.
    """
    return _state(
        account.asked_owner_at is not None,
        account.is_set_up,
        account.running_since is not None,
        bool(account.incomplete),
        (account.health, account.health_category),
        (account.outgoing_health, account.outgoing_category),
    )


def count_by_state(session: Session) -> Counter[str]:
    """How many live accounts are in each state."""
    columns = (
        Account.asked_owner_at.is_not(None),
        Account.is_set_up,
        Account.running_since.is_not(None),
        Account.incomplete != "",
        Account.health,
        Account.health_category,
        Account.outgoing_health,
        Account.outgoing_category,
    )
    rows = session.execute(select(*columns, func.count()).where(Account.deleting_at.is_(None)).group_by(*columns))
    counted: Counter[str] = Counter()
    for asked, is_set_up, runs, is_partial, health, category, outgoing, outgoing_category, number in rows:
        both = (health, category), (outgoing, outgoing_category)
        counted[_state(asked, is_set_up, runs, is_partial, *both)] += number
    return counted


def _state(asked: bool, is_set_up: bool, runs: bool, is_partial: bool, *both: tuple[Health, Category | None]) -> str:
    if not is_set_up:
        return "waiting" if asked else "draft"
    if both[0][0] is Health.PAUSED:
        return "paused"
    if asked and any(health is Health.NEEDS_ATTENTION for health, _ in both):
        return "waiting"
    troubles = {_trouble(health, category) for health, category in both}
    for state in WORST_FIRST:
        if state in troubles:
            return state
    if runs:
        return "syncing"
    return "partial" if is_partial else "connected"


def _trouble(health: Health, category: Category | None) -> str:
    if health is Health.UNREACHABLE:
        return "unreachable"
    if health is not Health.NEEDS_ATTENTION:
        return ""
    if category is Category.AUTH:
        return "refused"
    if category is Category.OAUTH:
        return "signin"
    return "setting" if category in _SETTINGS else "unreachable"


def state_column() -> ColumnElement[str]:
    """What `state_of` says, for queries: the first that holds."""
    both = ((Account.health, Account.health_category), (Account.outgoing_health, Account.outgoing_category))
    needs = {
        state: or_(*((health == Health.NEEDS_ATTENTION) & category.in_(categories) for health, category in both))
        for state, categories in (("signin", [Category.OAUTH]), ("refused", [Category.AUTH]), ("setting", _SETTINGS))
    }
    asked = Account.asked_owner_at.is_not(None)
    return case(
        (~Account.is_set_up, case((asked, "waiting"), else_="draft")),
        (Account.health == Health.PAUSED, "paused"),
        (asked & or_(*(health == Health.NEEDS_ATTENTION for health, _ in both)), "waiting"),
        *((rule, state) for state, rule in needs.items()),
        (or_(*(health.in_((Health.UNREACHABLE, Health.NEEDS_ATTENTION)) for health, _ in both)), "unreachable"),
        (Account.running_since.is_not(None), "syncing"),
        (Account.incomplete != "", "partial"),
        else_="connected",
    )


def record_success(session: Session, account: Account, *, direction: Direction) -> None:
    """Note that the server for `direction` let us in. An account that was in trouble is due for a sync at once."""
    if direction is Direction.OUTGOING:
        _become_outgoing(account, Health.HEALTHY)
        account.outgoing_category, account.outgoing_reason = None, ""
    else:
        was_waiting = account.health_category is not None or account.next_sync_at is None
        account.health_category, account.health_reason, account.failures = None, "", 0
        if account.health is not Health.PAUSED:
            _become(account, Health.HEALTHY)
            if account.is_set_up and was_waiting:
                account.next_sync_at = now()


def record_failure(
    session: Session,
    account: Account,
    *,
    direction: Direction,
    category: Category,
    reason: str,
    permanent: bool,
    sure: bool,
) -> None:
    """Note that the server for `direction` did not let us in; `reason` is a sentence without secrets.

    `sure` is a test that somebody watches: believed at once. A scheduled run believes a permanent error when the same
    category comes twice running, but a refused sign-in at once. What needs a person is not tried again by itself;
    everything else after a minute, doubling to an hour.
    """
    before = account.outgoing_category if direction is Direction.OUTGOING else account.health_category
    believed = permanent and (sure or category in AT_ONCE or before is category)
    health = Health.NEEDS_ATTENTION if believed else Health.UNREACHABLE
    if direction is Direction.OUTGOING:
        _become_outgoing(account, health)
        account.outgoing_category, account.outgoing_reason = category, reason
    else:
        account.health_category, account.health_reason = category, reason
        account.failures += not sure
        if account.health is not Health.PAUSED:
            _become(account, health)
            wait = max(back_off(account.failures), least_pause(account))
            account.next_sync_at = None if believed or not account.is_set_up else now() + wait
    session.flush()


def least_pause(account: Account) -> timedelta:
    """The shortest time between two syncs that run by themselves, as the account's provider asks for it."""
    return timedelta(minutes=(account.provider.least_minutes if account.provider else None) or 0)


def back_off(failures: int) -> timedelta:
    """How long to wait after `failures` in a row: a minute, doubling to an hour, and up to a fifth more by chance."""
    delay: timedelta = min(BACK_OFF_FIRST * 2 ** min(max(failures, 1) - 1, 10), BACK_OFF_MOST)
    return delay * (1 + random.uniform(0, JITTER))  # noqa: S311


def awaken(account: Account) -> None:
    """Let a paused account be what it was before, as far as we know, and be tried at once."""
    category = account.health_category
    if category is None:
        _become(account, Health.HEALTHY if account.is_set_up else Health.NEW)
    else:
        _become(account, Health.NEEDS_ATTENTION if category in PERMANENT else Health.UNREACHABLE)
    account.next_sync_at = now() if account.is_set_up else None


def sleep(account: Account) -> None:
    """Make a pause of it: nothing runs by itself until somebody resumes."""
    _become(account, Health.PAUSED)
    account.next_sync_at = None


def _become(account: Account, health: Health) -> None:
    if account.health is not health:
        account.health, account.health_since = health, now()


def _become_outgoing(account: Account, health: Health) -> None:
    if account.outgoing_health is not health or account.outgoing_since is None:
        account.outgoing_health, account.outgoing_since = health, now()
