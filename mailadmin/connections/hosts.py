"""Servers that let nobody in: after ten minutes they are tried ten times less, whoever wants to.

A row of `failing_host` counts for all accounts of a server and for every process: while one is there, at most six of
our connections an hour knock. A test that somebody asked for is always allowed, and the first success of anybody frees
all at once.
"""

import random
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from mailadmin.accounts.models import Account, AccountServer, Health
from mailadmin.connections.models import FailingHost
from mailadmin.db import now
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Server
from mailadmin.providers.models import ProviderServer

PATIENCE = timedelta(minutes=10)  # in which everybody follows their own back-off
PAUSE = timedelta(minutes=10)  # from one connection to the next after that: six an hour
_PACE = timedelta(milliseconds=60)  # from one freed account to the next
# What says that the server lets nobody in; the rest is about one account.
_OF_THE_HOST = {
    Category.DNS, Category.REFUSED, Category.TIMEOUT, Category.NETWORK, Category.TLS, Category.UNAVAILABLE,
}  # fmt: skip


_HOSTS: Table = FailingHost.__table__  # type: ignore[assignment]
_FREED = delete(_HOSTS).where(_HOSTS.c.host == bindparam("named"))


def name_of(server: Server) -> str:
    """The name of `server` in this table."""
    return f"{server.host.lower()}:{server.port}"


def with_server(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """`query`, which selects accounts, with the columns of the server where each of them receives; see `name_in`."""
    own, theirs = aliased(AccountServer), aliased(ProviderServer)
    is_theirs = theirs.provider_id == Account.provider_id, theirs.protocol == Account.protocol
    return (
        query.add_columns(
            func.coalesce(own.host, theirs.host).label("host"), func.coalesce(own.port, theirs.port).label("port")
        )
        .outerjoin(own, and_(own.account_id == Account.id, own.direction == Direction.INCOMING))
        .outerjoin(theirs, and_(theirs.direction == Direction.INCOMING, *is_theirs))
    )


def name_in(row: Any) -> str:
    """The name in this table of the server in a `row` of such a query."""
    return f"{(row.host or '').lower()}:{row.port or 0}"


def note_failure(session: Session, server: Server, error: MailError) -> None:
    """Note that `server` did not let us in, if `error` is about it and not about one account."""
    if error.category not in _OF_THE_HOST or (error.permanent and error.category is not Category.DNS):
        return
    row = session.get(FailingHost, name_of(server), with_for_update=True)
    if row is None:
        try:
            with session.begin_nested():
                row = FailingHost(host=name_of(server), failing_since=now(), failures=0)
                session.add(row)
        except IntegrityError:  # Somebody else was a moment faster, and has said all that there is to say.
            return
    row.failures, row.reason = row.failures + 1, error.message
    session.flush()


def note_success(session: Session, server: Server) -> None:
    """Note that `server` lets us in: whoever waited for that is due, one after the other."""
    if session.connection().execute(_FREED, {"named": name_of(server)}).rowcount == 0:
        return
    moment = now()
    waiting = select(Account.id).where(
        _receives_at(server),
        Account.is_set_up,
        Account.deleting_at.is_(None),
        Account.health == Health.UNREACHABLE,
        Account.next_sync_at > moment,
        or_(Account.waits_until.is_(None), Account.waits_until <= moment),
    )
    due = [{"id": id_, "next_sync_at": moment + place * _PACE} for place, id_ in enumerate(session.scalars(waiting))]
    if due:
        session.execute(update(Account), due)
    session.flush()


def let_in(session: Session, account: Account, server: Server | None) -> None:
    """Note that the `server` of `account` let it in: nobody wants to be left alone any more."""
    account.waits_until, account.waits_reason = None, ""
    if server is not None:
        note_success(session, server)


def claim(session: Session, server: Server) -> datetime | None:
    """Count one connection to `server` and answer None, or answer when the next one is allowed."""
    row = session.get(FailingHost, name_of(server), with_for_update=True)
    moment = now()
    if row is None or row.failing_since > moment - PATIENCE:
        return None
    if row.next_try_at is not None and row.next_try_at > moment:
        return row.next_try_at
    row.next_try_at = moment + PAUSE * random.uniform(1, 1.1)  # noqa: S311
    session.flush()
    return None


def failing(session: Session) -> dict[str, FailingHost]:
    """All servers that let nobody in, by name."""
    return {row.host: row for row in session.scalars(select(FailingHost))}


def forget_old(session: Session, *, before: datetime) -> None:
    """Forget servers that nobody has tried since `before`: no account is there any more."""
    for row in session.scalars(select(FailingHost).where(FailingHost.failing_since < before)):
        if row.next_try_at is None or row.next_try_at < before:
            session.delete(row)
    session.flush()


def _receives_at(server: Server) -> ColumnElement[bool]:
    """Whether an account receives at `server`, by its own settings or its provider's."""
    own = AccountServer.account_id == Account.id, AccountServer.direction == Direction.INCOMING
    theirs = ProviderServer.provider_id == Account.provider_id, ProviderServer.direction == Direction.INCOMING
    return or_(
        exists().where(*own, AccountServer.host == server.host, AccountServer.port == server.port),
        and_(
            ~exists().where(*own),
            exists().where(*theirs, ProviderServer.host == server.host, ProviderServer.port == server.port),
        ),
    )
