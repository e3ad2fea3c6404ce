"""How an account signs in where, and its stored passwords: how they change, and to whom they may be sent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts.models import Account, Credential
from mailadmin.accounts.wishes import AccountWish, Login
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, Password, Server, TLSMode, Trust
from mailadmin.providers.models import LoginFormat
from mailadmin.text import t
from mailadmin.vault import Unsealable

PURPOSE = "account password"
TYPE_AGAIN = "The server changed, so type the password again: we do not send a stored password to a new server."
_PASSWORD_FIELD = {Direction.INCOMING: "password", Direction.OUTGOING: "sending_password"}


@dataclass(frozen=True, slots=True)
class Leg:
    """One of the two connections of an account: where to, and how to sign in there."""

    server: Server
    how: Password


def server_of(account: Account, direction: Direction) -> Server | None:
    """The account's own server for `direction`, else its provider's, else None; judged as provider and account say."""
    provider = account.provider
    server = account.own_server(direction) or (provider.server(direction) if provider else None)
    if server is None:
        return None
    return replace(server, trust=replace(provider.trust if provider else Trust(), pin=account.pin(direction)))


def user_name(account: Account, direction: Direction) -> str:
    """What the account signs in with: the name typed by hand, else what the provider's login format says."""
    credential = account.credential(direction)
    if credential and credential.username:
        return credential.username
    if account.provider and account.provider.login_format is LoginFormat.LOCAL_PART:
        return account.address.rpartition("@")[0]
    return account.address


def legs(session: Session, account: Account) -> dict[Direction, Leg]:
    """Where and how `account` signs in; outgoing is missing when it has no server for sending.

    Raises RuleBroken, a sentence for the administrator, when something is missing or a stored password does not open.
    """
    found = {}
    for direction in Direction:
        server = server_of(account, direction)
        if server is not None:
            how = Password(user_name(account, direction), _password(session, account, direction))
            found[direction] = Leg(server, how)
    if Direction.INCOMING not in found:
        raise RuleBroken(t("This account has no server for receiving. Choose one in its settings."))
    return found


def _password(session: Session, account: Account, direction: Direction) -> str:
    credential = account.credential(direction)
    if credential is None:
        raise RuleBroken(t("This account has no password. Type it in the settings."), field=_PASSWORD_FIELD[direction])
    try:
        return sealed.reveal(session, credential.secret_id).reveal()
    except (Unsealable, LookupError) as error:
        said = t("The stored password cannot be opened with this installation's keys. Type it again in the settings.")
        raise RuleBroken(said, field=_PASSWORD_FIELD[direction]) from error


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
        elif row is None:
            raise RuleBroken(t("Type the password."), field=_PASSWORD_FIELD[direction])
        else:
            row.username = login.username
    return stored


def _renew(session: Session, account: Account, row: Credential | None, direction: Direction, login: Login) -> None:
    assert login.password is not None
    secret_id = sealed.keep(session, login.password, purpose=PURPOSE)
    if row is None:
        account.credentials.append(Credential(direction=direction, username=login.username, secret_id=secret_id))
        return
    old, row.secret_id = row.secret_id, secret_id
    row.username, row.changed_at = login.username, now()
    session.flush()
    sealed.forget(session, old)


def servers_knowing(account: Account, direction: Direction) -> list[Server] | None:
    """The servers that are given the credential stored for `direction` itself; None where none is stored."""
    stored = next((row for row in account.credentials if row.direction is direction), None)
    if stored is None:
        return None
    return _servers(account, [d for d in Direction if account.credential(d) is stored])


def _servers(account: Account, directions: Sequence[Direction]) -> list[Server]:
    return [server for server in (server_of(account, d) for d in directions) if server is not None]


def guard_secrets(account: Account, wish: AccountWish, knowing: dict[Direction, list[Server] | None]) -> None:
    """Refuse to send a stored password to a host that it was not typed for, or without encryption where it had some."""
    for direction, login in ((Direction.INCOMING, wish.login), (Direction.OUTGOING, wish.sending)):
        known = knowing[direction]
        if login is None or login.password or known is None:
            continue
        uses = list(Direction) if direction is Direction.INCOMING and wish.sending is None else [direction]
        hosts = {server.host for server in known}
        was_encrypted = all(server.tls_mode is not TLSMode.NONE for server in known)
        for server in _servers(account, uses):
            if server.host not in hosts or (was_encrypted and server.tls_mode is TLSMode.NONE):
                raise RuleBroken(t(TYPE_AGAIN), field=_PASSWORD_FIELD[direction])
