"""Mail accounts: which there are, how they sign in where, and every change that a person can make to one."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.accounts.credentials import (
    TYPE_AGAIN,
    Leg,
    guard_secrets,
    legs,
    server_of,
    servers_knowing,
    take_credentials,
    user_name,
)
from mailadmin.accounts.health import (
    awaken,
    back_off,
    count_by_state,
    record_failure,
    record_success,
    sleep,
    state_of,
)
from mailadmin.accounts.models import Account, AccountServer, Health, Window
from mailadmin.accounts.repairs import pin, set_pin, use_login, use_server
from mailadmin.accounts.wishes import AccountWish, Login, check_address, check_line, check_password, checked
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.providers.models import Provider
from mailadmin.providers.service import parse_server, put_server
from mailadmin.text import t

__all__ = [
    "CONNECTING",
    "TYPE_AGAIN",
    "AccountWish",
    "Leg",
    "Login",
    "all_live",
    "back_off",
    "change",
    "check_address",
    "check_line",
    "check_password",
    "choose_window",
    "count_by_state",
    "create",
    "find",
    "get",
    "legs",
    "legs_if",
    "parse_server",
    "pause",
    "pin",
    "possible_owners",
    "record_failure",
    "record_success",
    "request_deletion",
    "resume",
    "server_of",
    "state_of",
    "use_login",
    "use_server",
    "user_name",
    "using",
    "window_start",
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
    }
)
_MONTHS = {Window.ONE_MONTH: 1, Window.THREE_MONTHS: 3, Window.SIX_MONTHS: 6}


# Which accounts there are.


def get(session: Session, account_id: int) -> Account:
    """The account `account_id`. Raises NotFound, also while it is being deleted."""
    account = session.get(Account, account_id)
    if account is None or account.deleting_at is not None:
        raise NotFound(t("This account does not exist any more."))
    return account


def find(session: Session, address: str) -> Account | None:
    """The live account with `address`, however it is capitalised."""
    live = select(Account).where(Account.deleting_at.is_(None))
    return session.scalars(live.where(Account.address == address.strip().lower())).unique().one_or_none()


def all_live(session: Session) -> Sequence[Account]:
    """All accounts that are not being deleted, by address."""
    query = select(Account).where(Account.deleting_at.is_(None)).order_by(Account.address)
    return session.scalars(query).unique().all()


def possible_owners(session: Session) -> Sequence[Person]:
    """The people whose personal account one can be, by name."""
    return session.scalars(select(Person).where(Person.deactivated_at.is_(None)).order_by(Person.name)).all()


def using(session: Session, provider: Provider) -> list[Account]:
    """The accounts at `provider`, by address; also those whose deletion has not ended, since they hold it too."""
    query = select(Account).where(Account.provider_id == provider.id).order_by(Account.address)
    return list(session.scalars(query).unique())


# What people change.


def create(session: Session, *, wish: AccountWish, actor: Actor) -> Account:
    """A new account, not set up yet. Raises RuleBroken at the field of the form that has to change."""
    wish = checked(session, wish)
    if find(session, wish.address):
        raise _taken(wish.address)
    account = Account(address=wish.address, wanted_folders=wish.wanted_folders)
    _take_over(session, account, wish)
    session.add(account)
    _flush(session, wish.address)
    take_credentials(session, account, wish)
    activity.record(session, actor, f"added {account.address}", account_id=account.id)
    session.flush()
    return account


def change(session: Session, account: Account, *, wish: AccountWish, version: int, actor: Actor) -> set[str]:
    """Make `account` what `wish` says, and answer what changed, in words; those of CONNECTING call for a new test.

    `version` is that of the account as the administrator saw it. Raises RuleBroken at the field `version` when somebody
    else was faster, at a password when it would go to a server that it was not given for, or at another field.
    """
    _lock(session, account)
    _check_version(account, version)
    wish = checked(session, wish)
    if wish.address != account.address and account.is_set_up:
        raise RuleBroken(t("The address cannot change any more. Add another account for it."), field="address")
    other = find(session, wish.address)
    if other is not None and other is not account:
        raise _taken(wish.address)
    before, knowing = _told(account), {direction: servers_knowing(account, direction) for direction in Direction}
    account.address = wish.address
    _take_over(session, account, wish)
    _flush(session, wish.address)
    guard_secrets(account, wish, knowing)
    new_secrets = take_credentials(session, account, wish)
    after = _told(account)
    changed = {what for what in after if after[what] != before[what]} | new_secrets
    if changed:
        account.version += 1
        detail = ", ".join(sorted(changed))
        activity.record(session, actor, f"changed {account.address}", detail=detail, account_id=account.id)
    session.flush()
    return changed


def legs_if(session: Session, account: Account, *, wish: AccountWish, version: int) -> dict[Direction, Leg]:
    """Where and how `account` would sign in if it were what `wish` says; it stays as it is.

    Raises RuleBroken as `change` does.
    """
    trial = session.begin_nested()
    try:
        change(session, account, wish=wish, version=version, actor=SYSTEM)
        return legs(session, account)
    finally:
        trial.rollback()


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
    year, month = divmod(moment.year * 12 + moment.month - 1 - _MONTHS.get(window, 0), 12)
    day = moment.day
    while True:
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:  # There is no 31 June: the last day that the month has.
            day -= 1


# The pieces of a change.


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


def _take_over(session: Session, account: Account, wish: AccountWish) -> None:
    hosts = {d: server.host if (server := server_of(account, d)) else "" for d in Direction}
    account.name, account.kind, account.owner_id = wish.name, wish.kind, wish.owner_id
    account.sender_name, account.reply_to = wish.sender_name, wish.reply_to
    account.provider = session.get(Provider, wish.provider_id) if wish.provider_id is not None else None
    for direction, server in ((Direction.INCOMING, wish.incoming), (Direction.OUTGOING, wish.outgoing)):
        put_server(account.servers, AccountServer, direction, server)
        now_used = server_of(account, direction)
        if hosts[direction] != (now_used.host if now_used else ""):
            set_pin(account, direction, "")  # It was the certificate of another server.


def _told(account: Account) -> dict[str, object]:
    """What the audit trail tells apart, by the words in which it is told; no secrets."""
    own = {row.direction for row in account.credentials}
    return {
        "address": account.address,
        "name": account.name,
        "kind": (account.kind, account.owner_id),
        "sender name": account.sender_name,
        "reply-to": account.reply_to,
        "provider": account.provider.id if account.provider else None,
        "receiving server": server_of(account, Direction.INCOMING),
        "sending server": server_of(account, Direction.OUTGOING),
        "user name": user_name(account, Direction.INCOMING),
        "sending user name": user_name(account, Direction.OUTGOING),
        "sending credentials": Direction.OUTGOING in own,
    }


def _flush(session: Session, address: str) -> None:
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:  # Somebody else was a moment faster; the unique index has the last word.
        raise _taken(address) from error


def _taken(address: str) -> RuleBroken:
    return RuleBroken(t("There is an account for {address} already.", address=address), field="address")
