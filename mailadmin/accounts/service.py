"""Mail accounts: which there are, how they sign in where, and every change that a person can make to one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

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
from mailadmin.accounts.models import Account, AccountServer, Health, Window
from mailadmin.accounts.repairs import pin, set_pin, use_login, use_server
from mailadmin.accounts.typed import (
    SLUG_LENGTH,
    check_address,
    check_line,
    check_notes,
    check_password,
    check_slug,
    slug_for,
)
from mailadmin.accounts.which import all_live, find, get, named, possible_owners, primary, using
from mailadmin.accounts.wishes import AccountWish, Login, checked, wish_of
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.people import service as people
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.providers.models import Provider
from mailadmin.providers.service import parse_server, put_server
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
    "least_pause",
    "leg",
    "legs",
    "legs_if",
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
_UNIQUE = {
    said: column
    for name, column in (("address", "address"), ("slug", "slug"), ("primary", "is_primary"))
    for said in (f"uq_account_{name}", f"UNIQUE constraint failed: account.{column}")
}
_MONTHS = {Window.ONE_MONTH: 1, Window.THREE_MONTHS: 3, Window.SIX_MONTHS: 6}


# What people change.


def create(session: Session, *, wish: AccountWish, actor: Actor) -> Account:
    """A new account, not set up yet. Raises RuleBroken at the field of the form that has to change."""
    wish = checked(session, wish)
    if find(session, wish.address):
        raise _taken(wish.address)
    account = Account(address=wish.address, wanted_folders=wish.wanted_folders)
    session.add(account)
    with session.no_autoflush:
        _take_over(session, account, wish, actor)
    _flush(session, wish)
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
        raise _taken(wish.address)
    before, known = _told(account), knowing(account)
    account.address = wish.address
    _take_over(session, account, wish, actor)
    _flush(session, wish)
    guard_secrets(account, wish, known)
    new_secrets = take_credentials(session, account, wish)
    after = _told(account)
    changed = {what for what in after if after[what] != before[what]} | new_secrets
    if changed:
        account.version += 1
        detail = ", ".join(sorted(changed))
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


def _take_over(session: Session, account: Account, wish: AccountWish, actor: Actor) -> None:
    hosts = {d: server.host if (server := server_of(account, d)) else "" for d in Direction}
    account.name, account.kind, account.owner_id = wish.name, wish.kind, wish.owner_id
    account.slug = _free_slug(session, account, wish)
    account.team = people.team(session, wish.team) if wish.team else None
    account.notes, account.sent_copies, account.new_contacts = wish.notes, wish.sent_copies, wish.new_contacts
    account.sender_name, account.sender_address, account.reply_to = (
        wish.sender_name,
        wish.sender_address,
        wish.reply_to,
    )
    account.protocol = wish.incoming.protocol if wish.incoming else wish.protocol
    account.login_format = wish.login_format
    _take_interval(account, wish.sync_minutes)
    _take_primary(session, account, wish.is_primary, actor)
    account.provider = session.get(Provider, wish.provider_id) if wish.provider_id is not None else None
    for direction, server in ((Direction.INCOMING, wish.incoming), (Direction.OUTGOING, wish.outgoing)):
        put_server(account.servers, AccountServer, direction, server)
        now_used = server_of(account, direction)
        if hosts[direction] != (now_used.host if now_used else ""):
            set_pin(account, direction, "")  # It was the certificate of another server.


def _free_slug(session: Session, account: Account, wish: AccountWish) -> str:
    """The account id that was wished for, or one made of the address. Raises RuleBroken if somebody has it."""
    wanted = wish.slug or account.slug or slug_for(wish.address)
    others = select(Account.slug).where(Account.deleting_at.is_(None), Account.slug.startswith(wanted, autoescape=True))
    if account.id is not None:
        others = others.where(Account.id != account.id)
    taken = set(session.scalars(others))
    if wish.slug and wanted in taken:
        raise RuleBroken(t("Another account has the ID {slug} already.", slug=wanted), field="slug")
    endings = ("", *(f"-{number}" for number in range(2, len(taken) + 3)))
    return next(slug for ending in endings if (slug := wanted[: SLUG_LENGTH - len(ending)] + ending) not in taken)


def _take_interval(account: Account, minutes: int | None) -> None:
    """Sync every so many minutes from now on; the next time is not later than that."""
    if account.sync_minutes == minutes:
        return
    account.sync_minutes = minutes
    if minutes and account.next_sync_at:
        soonest = now() + max(timedelta(minutes=minutes), least_pause(account))
        account.next_sync_at = min(account.next_sync_at, soonest)


def _take_primary(session: Session, account: Account, is_primary: bool, actor: Actor) -> None:
    """There is one primary account: a new one takes over from the old one, and both say so."""
    with session.no_autoflush:
        old = primary(session) if is_primary and not account.is_primary else None
        if old is not None:
            values = {"is_primary": False, "version": Account.version + 1}
            session.execute(update(Account).where(Account.id == old.id).values(values))
            what = f"made {account.address} the primary account instead of {old.address}"
            activity.record(session, actor, what, account_id=old.id)
    account.is_primary = is_primary


def _told(account: Account) -> dict[str, object]:
    """What the audit trail tells apart, by the words in which it is told; no secrets."""
    own = {row.direction for row in account.credentials}
    return {
        "address": account.address,
        "name": account.name,
        "account ID": account.slug,
        "kind": (account.kind, account.owner_id, account.team),
        "sync interval": account.sync_minutes,
        "protocol": account.protocol,
        "login format": account.login_format,
        "sign-in method": {row.direction: row.method for row in account.credentials},
        "primary": account.is_primary,
        "notes": account.notes,
        "copies in Sent": account.sent_copies,
        "new contacts": account.new_contacts,
        "sender name": account.sender_name,
        "sender address": account.sender_address,
        "reply-to": account.reply_to,
        "provider": account.provider.id if account.provider else None,
        "receiving server": server_of(account, Direction.INCOMING),
        "sending server": server_of(account, Direction.OUTGOING),
        "user name": user_name(account, Direction.INCOMING),
        "sending user name": user_name(account, Direction.OUTGOING),
        "sending credentials": Direction.OUTGOING in own,
    }


def _flush(session: Session, wish: AccountWish) -> None:
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:  # Somebody else was a moment faster; the unique indexes have the last word.
        broken = _broken_rule(error)
        if broken == "slug" and wish.slug:
            raise RuleBroken(t("Another account took this ID a moment ago. Choose another."), field="slug") from error
        if broken == "slug":  # Made of the address: then they have that in common, or nearly.
            other = t("Somebody added an account with this address or ID a moment ago. Look at the list.")
            raise RuleBroken(other, field="address") from error
        if broken == "is_primary":
            other = t("Another account became the primary one a moment ago. Save again.")
            raise RuleBroken(other, field="is_primary") from error
        if broken == "address":
            raise _taken(wish.address) from error
        other = t("Somebody added or deleted a team, an owner or a provider that this needs a moment ago. Save again.")
        raise RuleBroken(other) from error


def _broken_rule(error: IntegrityError) -> str:
    """The column of `account` whose unique index refused; empty if it was another rule.

    PostgreSQL names the index, and SQLite says nothing but the columns. The rest of what they say is what was typed.
    """
    diag = getattr(error.orig, "diag", None)
    said = diag.constraint_name if diag is not None else str(error.orig)
    return _UNIQUE.get(said or "", "")


def _taken(address: str) -> RuleBroken:
    return RuleBroken(t("There is an account for {address} already.", address=address), field="address")
