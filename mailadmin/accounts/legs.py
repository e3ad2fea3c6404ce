"""Where and how many accounts sign in to receive, read with a few statements and without objects.

It says what `credentials.leg` says of each; a test compares the two.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts.credentials import Leg
from mailadmin.accounts.models import Account, AccountServer, Credential
from mailadmin.mail.types import (
    Bearer,
    Direction,
    LoginFormat,
    Password,
    Server,
    ServerProtocol,
    SignInMethod,
    Trust,
)
from mailadmin.providers.models import Provider

_ACCOUNTS: Any = Account.__table__
_CREDENTIALS: Any = Credential.__table__
_SERVERS: Any = AccountServer.__table__
_PROVIDERS: Any = Provider.__table__
_ACCOUNT, _CREDENTIAL, _OWN = _ACCOUNTS.c, _CREDENTIALS.c, _SERVERS.c
_QUERY = (
    select(
        *(_ACCOUNT.id, _ACCOUNT.address, _ACCOUNT.protocol, _ACCOUNT.login_format, _ACCOUNT.incoming_pin),
        *(_ACCOUNT.provider_id, _PROVIDERS.c.version),
        *(_OWN.protocol.label("own_protocol"), _OWN.host, _OWN.port, _OWN.tls_mode),
        *(_CREDENTIAL.method, _CREDENTIAL.username, _CREDENTIAL.secret_id),
    )
    .select_from(_ACCOUNTS)
    .join(_CREDENTIALS, and_(_CREDENTIAL.account_id == _ACCOUNT.id, _CREDENTIAL.direction == Direction.INCOMING))
    .outerjoin(_SERVERS, and_(_OWN.account_id == _ACCOUNT.id, _OWN.direction == Direction.INCOMING))
    .outerjoin(_PROVIDERS, _PROVIDERS.c.id == _ACCOUNT.provider_id)
    .where(_ACCOUNT.id.in_(bindparam("ids", expanding=True)))
)


@dataclass(frozen=True, slots=True)
class _Place:
    """What accounts take over from their provider; where they have none, nothing."""

    servers: dict[ServerProtocol, Server]
    trust: Trust
    login_format: LoginFormat


_NOWHERE = _Place({}, Trust(), LoginFormat.ADDRESS)


def incoming_legs(session: Session, account_ids: Collection[int]) -> dict[int, Leg]:
    """The legs of these accounts for receiving, without those that lack something or whose secret does not open."""
    rows = session.connection().execute(_QUERY, {"ids": list(account_ids)}).all()
    secrets = sealed.reveal_all(session, {row.secret_id for row in rows})
    places = _all_places(session, {(row.provider_id, row.version) for row in rows if row.provider_id is not None})
    found = {}
    for row in rows:
        # A provider that was changed since the rows were read is not in `places`: it lends nothing, not even its trust.
        place = _NOWHERE if row.provider_id is None else places.get((row.provider_id, row.version))
        leg = _leg(row, place, secrets.get(row.secret_id)) if place else None
        if leg is not None:
            found[row.id] = leg
    return found


def _leg(row: Any, place: _Place, secret: sealed.Secret | None) -> Leg | None:
    server = place.servers.get(row.protocol)
    if row.host is not None:
        server = Server(row.own_protocol, row.host, row.port, row.tls_mode)
    if server is None or secret is None:
        return None
    server = replace(server, trust=replace(place.trust, pin=row.incoming_pin or ""))
    name = row.username or (row.login_format or place.login_format).user_name(row.address)
    is_token = row.method is SignInMethod.OAUTH
    return Leg(server, (Bearer if is_token else Password)(name, secret.reveal()))


def _all_places(session: Session, wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], _Place]:
    """What providers lend, by id and version; nothing is kept, for the next provider may get an old number."""
    places: dict[tuple[int, int], _Place] = {}
    ids = [provider_id for provider_id, _ in wanted]
    for provider in session.scalars(select(Provider).where(Provider.id.in_(ids))) if ids else ():
        servers = {row.protocol: row.server for row in provider.servers if row.direction is Direction.INCOMING}
        place = _Place(servers, provider.trust, provider.login_format or LoginFormat.ADDRESS)
        places[provider.id, provider.version] = place
    return places
