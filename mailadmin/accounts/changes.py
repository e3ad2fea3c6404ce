"""What a wish does to the rows of an account, what the audit trail tells of it, and who was faster."""

from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.accounts import teams
from mailadmin.accounts.credentials import server_of, user_name
from mailadmin.accounts.health import least_pause
from mailadmin.accounts.models import Account, AccountServer
from mailadmin.accounts.repairs import set_pin
from mailadmin.accounts.typed import SLUG_LENGTH, slug_for
from mailadmin.accounts.which import primary
from mailadmin.accounts.wishes import AccountWish
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.permissions import Actor
from mailadmin.providers.models import Provider
from mailadmin.providers.service import put_server
from mailadmin.text import t

_UNIQUE = {
    said: column
    for name, column in (("address", "address"), ("slug", "slug"), ("primary", "is_primary"))
    for said in (f"uq_account_{name}", f"UNIQUE constraint failed: account.{column}")
}


def take_over(session: Session, account: Account, wish: AccountWish, actor: Actor) -> None:
    """Let `account` be what `wish` says, but for address, credentials and window. Raises RuleBroken."""
    hosts = {d: server.host if (server := server_of(account, d)) else "" for d in Direction}
    account.team = teams.for_account(session, account, name=wish.team, kind=wish.kind)
    account.name, account.kind, account.owner_id = wish.name, wish.kind, wish.owner_id
    account.slug = _free_slug(session, account, wish)
    account.notes, account.sent_copies, account.new_contacts = wish.notes, wish.sent_copies, wish.new_contacts
    account.sender_name, account.sender_address, account.reply_to = (
        wish.sender_name,
        wish.sender_address,
        wish.reply_to,
    )
    account.protocol = wish.incoming.protocol if wish.incoming else wish.protocol
    account.login_format = wish.login_format
    _take_interval(account, wish.sync_minutes)
    if account.keep_months != wish.keep_months:
        account.keep_months, account.next_sync_at = wish.keep_months, account.next_sync_at and now()
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


def told(account: Account) -> dict[str, object]:
    """What the audit trail tells apart, by the words in which it is told; no secrets."""
    own = {row.direction for row in account.credentials}
    return {
        "address": account.address,
        "name": account.name,
        "account ID": account.slug,
        "kind": (account.kind, account.owner_id, account.team),
        "sync interval": account.sync_minutes,
        "months of mail kept": account.keep_months,
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


def flush(session: Session, wish: AccountWish) -> None:
    """Write what was taken over. Raises RuleBroken at the field where somebody else was a moment faster."""
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
            raise taken(wish.address) from error
        other = t("Somebody added or deleted a team, an owner or a provider that this needs a moment ago. Save again.")
        raise RuleBroken(other) from error


def _broken_rule(error: IntegrityError) -> str:
    """The column of `account` whose unique index refused; empty if it was another rule.

    PostgreSQL names the index, and SQLite says nothing but the columns. The rest of what they say is what was typed.
    """
    diag = getattr(error.orig, "diag", None)
    said = diag.constraint_name if diag is not None else str(error.orig)
    return _UNIQUE.get(said or "", "")


def taken(address: str) -> RuleBroken:
    """That there is an account for `address` already."""
    return RuleBroken(t("There is an account for {address} already.", address=address), field="address")
