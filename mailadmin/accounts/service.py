"""Mail accounts: which there are, how they sign in where, and every change that a person can make to one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy.orm import Session

from mailadmin.accounts.changes import flush, take_over, taken, told
from mailadmin.accounts.credentials import (
    Leg,
    forget_credentials,
    has_passwords,
    leg,
    legs,
    server_of,
    take_credentials,
    user_name,
)
from mailadmin.accounts.drafts import Change
from mailadmin.accounts.guard import SecretsWanted, guard_secrets, knowing
from mailadmin.accounts.health import (
    awaken,
    back_off,
    count_by_state,
    least_pause,
    record_failure,
    record_success,
    sleep,
    state_column,
    state_of,
)
from mailadmin.accounts.legs import incoming_legs
from mailadmin.accounts.models import Account, Health, Window
from mailadmin.accounts.repairs import pin, use_login, use_server
from mailadmin.accounts.typed import (
    check_address,
    check_line,
    check_notes,
    check_password,
    check_slug,
)
from mailadmin.accounts.which import all_live, find, get, named, possible_owners, primary, using
from mailadmin.accounts.wishes import AccountWish, Login, checked, wish_of
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.providers.service import parse_server
from mailadmin.text import t

__all__ = [
    "CONNECTING",
    "AccountWish",
    "Change",
    "Leg",
    "Login",
    "SecretsWanted",
    "all_live",
    "back_off",
    "change",
    "changes_if",
    "check_address",
    "check_line",
    "check_notes",
    "check_password",
    "check_slug",
    "choose_window",
    "count_by_state",
    "create",
    "find",
    "forget_credentials",
    "get",
    "has_passwords",
    "incoming_legs",
    "least_pause",
    "leg",
    "legs",
    "legs_if",
    "months_before",
    "named",
    "parse_server",
    "pause",
    "pin",
    "possible_owners",
    "primary",
    "record_failure",
    "record_success",
    "request_deletion",
    "resume",
    "server_of",
    "state_column",
    "state_of",
    "use_login",
    "use_server",
    "user_name",
    "using",
    "window_start",
    "wish_of",
]

CONNECTING = frozenset(
    {
        "receiving server",
        "sending server",
        "user name",
        "sending user name",
        "sending credentials",
        "password",
        "sending password",
        "access token",
    }
)
_MONTHS = {Window.ONE_MONTH: 1, Window.THREE_MONTHS: 3, Window.SIX_MONTHS: 6}


# What people change.


def create(session: Session, *, wish: AccountWish, actor: Actor) -> Account:
    """A new account, not set up yet. Raises RuleBroken at the field of the form that has to change."""
    wish = checked(session, wish)
    if find(session, wish.address):
        raise taken(wish.address)
    account = Account(address=wish.address, wanted_folders=wish.wanted_folders)
    session.add(account)
    with session.no_autoflush:
        take_over(session, account, wish, actor)
    flush(session, wish)
    take_credentials(session, account, wish)
    if wish.window:
        choose_window(session, account, window=wish.window)
    activity.record(session, actor, f"added {account.address}", account_id=account.id)
    session.flush()
    return account


def change(session: Session, account: Account, *, wish: AccountWish, version: int, actor: Actor) -> set[str]:
    """Make `account` what `wish` says, and answer what changed, in words; those of CONNECTING call for a new test.

    `version` is that of the account as the administrator saw it. Raises RuleBroken at the field `version` when somebody
    else was faster, SecretsWanted when a stored password would go where it was not given for (guard.py), or at another
    field.
    """
    _lock(session, account)
    _check_version(account, version)
    wish = checked(session, wish)
    if wish.address != account.address and account.is_set_up:
        raise RuleBroken(t("The address cannot change any more. Add another account for it."), field="address")
    other = find(session, wish.address)
    if other is not None and other is not account:
        raise taken(wish.address)
    before, known = told(account), knowing(account)
    account.address = wish.address
    take_over(session, account, wish, actor)
    flush(session, wish)
    guard_secrets(account, wish, known)
    new_secrets = take_credentials(session, account, wish)
    after = told(account)
    changed = {what for what in after if after[what] != before[what]} | new_secrets
    if changed:
        account.version += 1
        detail = activity.difference(before, after, also=new_secrets)
        activity.record(session, actor, f"changed {account.address}", detail=detail, account_id=account.id)
    if wish.window and account.is_set_up:
        choose_window(session, account, window=wish.window, actor=actor)
    session.flush()
    return changed


@contextmanager
def _rehearsed(session: Session) -> Iterator[None]:
    """Whatever happens in here has not happened afterwards."""
    trial = session.begin_nested()
    try:
        yield
    finally:
        trial.rollback()


def changes_if(session: Session, account: Account, *, wish: AccountWish, version: int) -> set[str]:
    """What `change` would answer; `account` stays as it is. Raises RuleBroken as `change` does."""
    with _rehearsed(session):
        return change(session, account, wish=wish, version=version, actor=SYSTEM)


def legs_if(session: Session, account: Account, *, wish: AccountWish, version: int) -> dict[Direction, Leg]:
    """Where and how `account` would sign in if it were what `wish` says; it stays as it is.

    Raises RuleBroken as `change` does.
    """
    with _rehearsed(session):
        change(session, account, wish=wish, version=version, actor=SYSTEM)
        return legs(session, account)


def choose_window(session: Session, account: Account, *, window: Window, actor: Actor | None = None) -> None:
    """Sync mail from `window` on. The far end is fixed now, so that it does not wander while months go by."""
    if account.is_set_up and account.window is window:
        return
    account.window, account.since = window, window_start(window, now())
    if account.is_set_up:
        account.version += 1
        account.next_sync_at = account.next_sync_at and now()
        if actor:
            what = f"changed how far back {account.address} is synced"
            activity.record(session, actor, what, detail=window.value, account_id=account.id)
    session.flush()


def pause(session: Session, account: Account, *, actor: Actor) -> None:
    """Stop everything that runs by itself for `account`, until somebody resumes."""
    _lock(session, account)
    if account.health is Health.PAUSED:
        return
    sleep(account)
    account.is_paused_by_owner = actor.person_id is not None and actor.person_id == account.owner_id
    account.version += 1
    activity.record(session, actor, f"paused {account.address}", account_id=account.id)
    session.flush()


def resume(session: Session, account: Account, *, actor: Actor) -> None:
    """End a pause; the account is due for a sync at once."""
    _lock(session, account)
    if account.health is not Health.PAUSED:
        return
    awaken(account)
    account.version += 1
    activity.record(session, actor, f"resumed {account.address}", account_id=account.id)
    session.flush()


def request_deletion(session: Session, account: Account, *, actor: Actor) -> None:
    """Make `account` disappear at once; its mail and secrets are removed in the background. Every job notices."""
    _lock(session, account)
    if account.deleting_at is not None:
        return
    account.deleting_at, account.next_sync_at = now(), None
    account.version += 1
    activity.record(session, actor, f"deleted {account.address}", account_id=account.id)
    session.flush()


def window_start(window: Window, moment: datetime) -> datetime | None:
    """The far end of `window` seen from `moment`, in calendar months; None: everything."""
    if window is Window.EVERYTHING:
        return None
    return months_before(moment, _MONTHS.get(window, 0))


def months_before(moment: datetime, months: int) -> datetime:
    """The same day and time `months` calendar months before `moment`, or the last day that the month has."""
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    day = moment.day
    while True:
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:  # There is no 31 June.
            day -= 1


# The pieces of a change; what it does to the rows is in changes.py.


def _lock(session: Session, account: Account) -> None:
    """Let two people who click at once go one after the other; the second sees what the first did."""
    session.flush()
    session.refresh(account, with_for_update={"of": Account})


def _check_version(account: Account, version: int) -> None:
    if account.version != version:
        said = t(
            "Somebody else changed this account meanwhile. Look at it in another tab; to put your values in place of"
            " theirs, save again."
        )
        raise RuleBroken(said, field="version")
