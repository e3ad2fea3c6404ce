"""Single changes to an account that a diagnosis offers: another door of the same server, another user name, a pin."""

from sqlalchemy.orm import Session

from mailadmin.accounts.credentials import server_of, user_name
from mailadmin.accounts.models import Account, AccountServer
from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, Server, TLSMode
from mailadmin.permissions import Actor
from mailadmin.providers.service import checked_server, put_server
from mailadmin.text import t

_WHAT = {Direction.INCOMING: "receiving", Direction.OUTGOING: "sending"}


def use_server(session: Session, account: Account, *, direction: Direction, server: Server, actor: Actor) -> None:
    """Give `account` another port or TLS mode of the host that it uses already, so its password goes nowhere new.

    Raises RuleBroken for another host, for less encryption, and for a server that is not allowed here.
    """
    session.refresh(account, with_for_update={"of": Account})
    known = server_of(account, direction)
    if known is None or known.host != server.host or server.tls_mode is TLSMode.NONE:
        raise RuleBroken(t("The settings have changed meanwhile. Test again."))
    for each in Direction:  # An account has servers of its own for both directions or for none, see the settings.
        used = server_of(account, each)
        chosen = checked_server(server, each) if each is direction else used
        put_server(account.servers, AccountServer, each, chosen)
    _record(session, account, actor, f"{_WHAT[direction]} server: {server}")


def use_login(session: Session, account: Account, *, login: str, actor: Actor) -> None:
    """Let `account` sign in as `login`, with the password that it has. Raises RuleBroken where it has none."""
    session.refresh(account, with_for_update={"of": Account})
    credential = account.credential(Direction.INCOMING)
    if credential is None:
        raise RuleBroken(t("This account has no password. Type it in the settings."))
    before = user_name(account, Direction.INCOMING)
    credential.username = login
    _record(session, account, actor, f"user name: {before} to {login}")


def pin(session: Session, account: Account, *, direction: Direction, sha256: str, actor: Actor) -> None:
    """Accept for `direction` exactly the certificate with this SHA-256, and no other; empty: the usual rules again."""
    session.refresh(account, with_for_update={"of": Account})
    if account.pin(direction) == sha256:
        return
    set_pin(account, direction, sha256)
    what = f"pinned certificate for {_WHAT[direction]}: {sha256}" if sha256 else f"no pin for {_WHAT[direction]}"
    _record(session, account, actor, what)


def set_pin(account: Account, direction: Direction, sha256: str) -> None:
    """Write the pin for `direction`."""
    if direction is Direction.INCOMING:
        account.incoming_pin = sha256
    else:
        account.outgoing_pin = sha256


def _record(session: Session, account: Account, actor: Actor, detail: str) -> None:
    account.version += 1
    activity.record(session, actor, f"changed {account.address}", detail=detail, account_id=account.id)
    session.flush()
