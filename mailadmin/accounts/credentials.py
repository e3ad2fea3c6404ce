"""How an account signs in where, and its stored passwords: how they change."""

from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts.models import Account, Credential
from mailadmin.accounts.wishes import AccountWish, Login
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, LoginFormat, Password, Server, Trust
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.vault import Unsealable

PURPOSE = "account password"
_PASSWORD_FIELD = {Direction.INCOMING: "password", Direction.OUTGOING: "sending_password"}


@dataclass(frozen=True, slots=True)
class Leg:
    """One of the two connections of an account: where to, and how to sign in there."""

    server: Server
    how: Password


def server_of(account: Account, direction: Direction) -> Server | None:
    """The account's own server for `direction`, else its provider's, else None; judged as provider and account say."""
    provider = account.provider
    server = account.server(direction)
    if server is None:
        return None
    return replace(server, trust=replace(provider.trust if provider else Trust(), pin=account.pin(direction)))


def user_name(account: Account, direction: Direction) -> str:
    """What the account signs in with: the name typed by hand, else what its or the provider's login format says."""
    credential = account.credential(direction)
    if credential and credential.username:
        return credential.username
    provider_says = account.provider.login_format if account.provider else LoginFormat.ADDRESS
    return (account.login_format or provider_says).user_name(account.address)


def legs(session: Session, account: Account) -> dict[Direction, Leg]:
    """Where and how `account` signs in; outgoing is missing when it has no server for sending.

    Raises RuleBroken, a sentence for the administrator, when something is missing or a stored password does not open.
    """
    found = {direction: leg(session, account, direction) for direction in Direction}
    return {direction: each for direction, each in found.items() if each is not None}


def leg(session: Session, account: Account, direction: Direction) -> Leg | None:
    """Where and how `account` signs in for `direction`, whatever the other lacks; None without a server for sending.

    Raises RuleBroken as `legs` does.
    """
    server = server_of(account, direction)
    if server is not None:
        return Leg(server, Password(user_name(account, direction), _password(session, account, direction)))
    if direction is Direction.INCOMING:
        raise RuleBroken(t("This account has no server for receiving. Choose one in its settings."))
    return None


def _password(session: Session, account: Account, direction: Direction) -> str:
    credential = account.credential(direction)
    if credential is None:
        raise RuleBroken(t("This account has no password. Type it in the settings."), field=_PASSWORD_FIELD[direction])
    try:
        return sealed.reveal(session, credential.secret_id).reveal()
    except (Unsealable, LookupError) as error:
        said = t("The stored password cannot be opened with this installation's keys. Type it again in the settings.")
        raise RuleBroken(said, field=_PASSWORD_FIELD[credential.direction]) from error


def has_passwords(session: Session, provider: Provider) -> bool:
    """Whether live accounts at `provider` have stored passwords."""
    stored = select(Credential.id).join(Account, Account.id == Credential.account_id).limit(1)
    at = stored.where(Account.provider_id == provider.id, Account.deleting_at.is_(None))
    return session.scalar(at) is not None


def take_credentials(session: Session, account: Account, wish: AccountWish) -> set[str]:
    """Store user names and new passwords, and answer which passwords were stored."""
    stored = set()
    for direction, login in ((Direction.INCOMING, wish.login), (Direction.OUTGOING, wish.sending)):
        row = next((row for row in account.credentials if row.direction is direction), None)
        if login is None:
            if row is not None:
                account.credentials.remove(row)
                session.flush()
                sealed.forget(session, row.secret_id)
            continue
        if login.password:
            _renew(session, account, row, direction, login)
            stored.add("password" if direction is Direction.INCOMING else "sending password")
        elif row is None and wish.is_begun:
            continue  # It is asked for later.
        elif row is None:
            raise RuleBroken(t("Type the password."), field=_PASSWORD_FIELD[direction])
        else:
            row.username, row.method = login.username, login.method
    return stored


def forget_credentials(session: Session, account: Account) -> None:
    """Forget every user name and password of `account`: it goes to another server, and they were not typed for that."""
    gone = [row.secret_id for row in account.credentials]
    account.credentials.clear()
    session.flush()
    for secret_id in gone:
        sealed.forget(session, secret_id)


def _renew(session: Session, account: Account, row: Credential | None, direction: Direction, login: Login) -> None:
    assert login.password is not None
    secret_id = sealed.keep(session, login.password, purpose=PURPOSE)
    if row is None:
        row = Credential(direction=direction, username=login.username, method=login.method, secret_id=secret_id)
        account.credentials.append(row)
        return
    old, row.secret_id = row.secret_id, secret_id
    row.username, row.method, row.changed_at = login.username, login.method, now()
    session.flush()
    sealed.forget(session, old)
