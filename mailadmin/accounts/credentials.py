"""How an account signs in where, and its stored passwords and access tokens: how they change."""

from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts.models import Account, Credential
from mailadmin.accounts.wishes import AccountWish, Login
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Bearer, Direction, LoginFormat, Password, Server, SignIn, SignInMethod, Trust
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from mailadmin.text import t
from mailadmin.vault import Unsealable

PURPOSE, TOKEN = "account password", "access token"
_PASSWORD_FIELD = {Direction.INCOMING: "password", Direction.OUTGOING: "sending_password"}


@dataclass(frozen=True, slots=True)
class Leg:
    """One of the two connections of an account: where to, and how to sign in there."""

    server: Server
    how: SignIn


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
        return Leg(server, _how(session, account, direction))
    if direction is Direction.INCOMING:
        raise RuleBroken(t("This account has no server for receiving. Choose one in its settings."))
    return None


def _how(session: Session, account: Account, direction: Direction) -> SignIn:
    credential, name = account.credential(direction), user_name(account, direction)
    if credential is None:
        raise RuleBroken(t("This account has no password. Type it in the settings."), field=_PASSWORD_FIELD[direction])
    is_token = credential.method is SignInMethod.OAUTH
    try:
        secret = sealed.reveal(session, credential.secret_id).reveal()
    except (Unsealable, LookupError) as error:
        said = t("The stored password cannot be opened with this installation's keys. Type it again in the settings.")
        if is_token:
            said = t("The stored access token cannot be opened with this installation's keys. Reconnect the account.")
        raise RuleBroken(said, field=_PASSWORD_FIELD[credential.direction]) from error
    return Bearer(name, secret) if is_token else Password(name, secret)


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
            word = "access token" if login.method is SignInMethod.OAUTH else "password"
            stored.add(word if direction is Direction.INCOMING else f"sending {word}")
        elif row is None and wish.is_begun:
            continue  # It is asked for later.
        elif row is None:
            raise RuleBroken(t("Type the password."), field=_PASSWORD_FIELD[direction])
        elif row.method is not login.method and SignInMethod.OAUTH in (row.method, login.method):
            raise RuleBroken(t("Type the password."), field=_PASSWORD_FIELD[direction])  # A token is none.
        else:
            row.username, row.method = login.username, login.method
    return stored


def renew_token(session: Session, account: Account, token: Secret) -> None:
    """Put a fresh access token in the place of the one with which `account` receives. Nothing else changes."""
    row = next(row for row in account.credentials if row.direction is Direction.INCOMING)
    old, row.secret_id = row.secret_id, sealed.keep(session, token, purpose=TOKEN)
    session.flush()
    sealed.forget(session, old)


def forget_credentials(session: Session, account: Account, *, only: SignInMethod | None = None) -> None:
    """Forget every user name and password of `account`, or those of one method alone: it goes to another server, and
    they were not given for that."""
    found = [row for row in account.credentials if only in (None, row.method)]
    gone = [row.secret_id for row in found]
    for row in found:
        account.credentials.remove(row)
    session.flush()
    for secret_id in gone:
        sealed.forget(session, secret_id)


def _renew(session: Session, account: Account, row: Credential | None, direction: Direction, login: Login) -> None:
    assert login.password is not None
    purpose = TOKEN if login.method is SignInMethod.OAUTH else PURPOSE
    secret_id = sealed.keep(session, login.password, purpose=purpose)
    if row is None:
        row = Credential(direction=direction, username=login.username, method=login.method, secret_id=secret_id)
        account.credentials.append(row)
        return
    old, row.secret_id = row.secret_id, secret_id
    row.username, row.method, row.changed_at = login.username, login.method, now()
    session.flush()
    sealed.forget(session, old)
