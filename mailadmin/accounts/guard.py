"""To whom a stored password may be sent: to the servers that it was typed for, and to none that is less safe.

Whoever may change an account must not learn its password by that: a server of their own, another program on another
port of the same machine, or a connection that others can read would hand it to them. So a change of host or port, or to
weaker security, wants the password typed again. Which credential is sent where is looked at before the change and
after it. The doors of the same host that a diagnosis offers (repairs.py) are not held up here: a test has opened them
over TLS.

A token that somebody was granted by signing in (OAuth) cannot be typed again. It may go to every server of the provider
that it is of; for any other somebody has to sign in again, or a password has to take its place.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from mailadmin.accounts.credentials import server_of
from mailadmin.accounts.models import Account
from mailadmin.accounts.wishes import AccountWish
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, Server, SignInMethod, TLSMode, TLSVersion, Trust
from mailadmin.text import t

NEW_HOST = "The server changed, so type the password again: we do not send a stored password to a new server."
NEW_PORT = "The port changed, so type the password again: we do not send a stored password to another port."
WEAKER = "This connection is less safe than before, so type the password again: we do not send a stored one over it."
OF_TOKENS = {
    NEW_HOST: "The sign-in was made for another server. For this one somebody has to sign in again.",
    NEW_PORT: "The sign-in was made for another port. For this one somebody has to sign in again.",
    WEAKER: "This connection is less safe than the one that the sign-in was made for: somebody has to sign in again.",
}
_FIELDS = {Direction.INCOMING: "password", Direction.OUTGOING: "sending_password"}
_SAFEST = list(TLSVersion)  # in ascending order
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

Knowing = dict[Direction, list[Server] | None]


class SecretsWanted(RuleBroken):
    """Passwords have to be typed again, or somebody has to sign in again; `all` has a sentence for each, at its field:
    that of the password, or that of the server. It is the first of them."""

    def __init__(self, wanted: dict[str, str]) -> None:
        self.all = [RuleBroken(sentence, field=field) for field, sentence in wanted.items()]
        super().__init__(self.all[0].message, field=self.all[0].field)


def knowing(account: Account) -> Knowing:
    """For each credential that is stored, the servers that are given it now, or may be; None where none is stored."""
    known: Knowing = dict.fromkeys(Direction)
    for row in account.credentials:
        given = _servers(account, (d for d in Direction if account.credential(d) is row))
        if row.method is SignInMethod.OAUTH and (provider := account.provider):
            given += [replace(theirs.server, trust=provider.trust) for theirs in provider.servers]
        known[row.direction] = given
    return known


def guard_secrets(account: Account, wish: AccountWish, known: Knowing) -> None:
    """Raise SecretsWanted if `account`, which has its new servers by now, would send a stored password to one of them
    that is not among those that were `known`, or not as safe. What `wish` has typed anew may go anywhere."""
    wanted: dict[str, str] = {}
    for direction, login in ((Direction.INCOMING, wish.login), (Direction.OUTGOING, wish.sending)):
        servers = known[direction]
        if login is None or login.password or servers is None:
            continue
        uses = list(Direction) if direction is Direction.INCOMING and _is_for_both(wish, known) else [direction]
        for use in uses:
            reasons = [reason for server in _servers(account, [use]) if (reason := _objection(server, servers))]
            if reasons and login.method is SignInMethod.OAUTH:
                wanted.setdefault(_place(wish, use), t(OF_TOKENS[reasons[0]]))
            elif reasons:
                wanted.setdefault(_FIELDS[direction], t(reasons[0]))
    if wanted:
        raise SecretsWanted(wanted)


def stray(account: Account, directions: Iterable[Direction]) -> Server | None:
    """A server of `account` for one of `directions` that is none of its provider's, or not as safe as that."""
    provider = account.provider
    theirs = [replace(each.server, trust=provider.trust) for each in provider.servers] if provider else []
    return next((server for server in _servers(account, directions) if _objection(server, theirs)), None)


def _place(wish: AccountWish, direction: Direction) -> str:
    """The field in which the server for `direction` was chosen."""
    own = wish.incoming if direction is Direction.INCOMING else wish.outgoing
    return f"{direction}_host" if own else "provider_id"


def _is_for_both(wish: AccountWish, known: Knowing) -> bool:
    """Whether the credential for receiving is the one for sending too: also while that has no password of its own."""
    return wish.sending is None or (known[Direction.OUTGOING] is None and not wish.sending.password)


def _servers(account: Account, directions: Iterable[Direction]) -> list[Server]:
    return [server for server in (server_of(account, d) for d in directions) if server is not None]


def _objection(server: Server, known: list[Server]) -> str:
    """Why a password that the servers in `known` are given may not go to `server`; empty: it may."""
    same_host = [each for each in known if each.host == server.host]
    same_door = [each for each in same_host if each.port == server.port]
    if not same_host:
        return NEW_HOST
    if not same_door:
        return NEW_PORT
    return "" if any(_is_as_safe(server, each) for each in same_door) else WEAKER


def _is_as_safe(server: Server, before: Server) -> bool:
    """Whether a connection to `server` is at least as hard to overhear or to impersonate as one to `before`."""
    if before.tls_mode is TLSMode.NONE:
        return True
    if server.tls_mode is TLSMode.NONE:
        return False
    new, old = server.trust, before.trust
    if old.pin or new.pin:
        return new.pin == old.pin and _minimum(new) >= _minimum(old)
    return _minimum(new) >= _minimum(old) and _authorities(new) <= _authorities(old)


def _minimum(trust: Trust) -> int:
    return _SAFEST.index(trust.minimum)


def _authorities(trust: Trust) -> set[str]:
    return {"".join(pem.split()) for pem in _CERTIFICATE.findall(trust.authorities)}
