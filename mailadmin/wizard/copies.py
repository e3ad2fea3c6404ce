"""What one account hands on to another: a copy takes all but address, user names and passwords."""

from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import SecretsWanted
from mailadmin.permissions import Actor
from mailadmin.sync import service as sync
from mailadmin.sync.models import Folder

_HANDED_ON = ("sent_copies", "new_contacts", "sync_minutes", "keep_months")


def parts(copied: Account | None) -> dict[str, Any]:
    """The parts of an AccountWish that a copy of `copied` takes over without being asked."""
    if copied is None:
        return {}
    wish = accounts.wish_of(copied)
    return {name: getattr(wish, name) for name in _HANDED_ON}


def finish(session: Session, account: Account, copied: Account) -> None:
    """Give the new `account` what a wish does not know: how far back it is synced, and which folders.

    The folders are those of `copied` with their roles, the ones that are left out too; the list of the server, which
    comes with the first test that passes, says which of them there are.
    """
    accounts.choose_window(session, account, window=copied.window)
    for folder in sync.seen(session, copied, None):
        if not folder.is_gone and not folder.is_wished:
            names = ("path", "name", "delimiter", "role", "role_source", "is_active")
            session.add(Folder(account_id=account.id, **{name: getattr(folder, name) for name in names}))
    session.flush()


def move(session: Session, account: Account, parts: dict[str, Any], *, version: int | None, actor: Actor) -> None:
    """Change the unfinished `account` as its first step says; a password typed for another server is forgotten.

    Raises RuleBroken as `accounts.change` does.
    """
    wish = replace(accounts.wish_of(account), **parts, is_begun=True)
    try:
        with session.begin_nested():
            accounts.change(session, account, wish=wish, version=version or 0, actor=actor)
    except SecretsWanted:
        accounts.forget_credentials(session, account)
        accounts.change(session, account, wish=replace(wish, sending=None), version=version or 0, actor=actor)
