"""Which accounts a watcher holds a connection for, and what it writes about them.

An account is in one of 64 shards, by its id; a watcher takes shards by lease (`watch:00` to `watch:63`) and watches the
accounts in them, so each is watched once however many watchers there are. `Account.watched_since` says that the server
tells somebody of new mail; it is true as long as the lease of the shard is held.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from mailadmin import leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, AccountServer, Health
from mailadmin.connections import hosts
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, FolderState, ServerProtocol
from mailadmin.organisation import service as organisation
from mailadmin.providers.models import Provider
from mailadmin.sync import manners
from mailadmin.sync.ending import broken_off, finish_run
from mailadmin.sync.models import Folder, SyncRun
from mailadmin.sync.service import open_run, request_run

SHARDS = 64
PREFIX = "watch:"
WATCHER = "The server"  # who asks for a run, as the account's page says it
FEWEST = 2  # connections that a provider has to allow at once: one waits while another syncs


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an open connection depends on: it is opened anew when this changes. `group` is whose server it is."""

    version: int
    provider_version: int
    group: str


def lease_of(shard: int) -> str:
    """The lease of whoever watches the accounts of `shard`."""
    return f"{PREFIX}{shard:02}"


def shard_of(account_id: int) -> int:
    """The shard of an account."""
    return account_id % SHARDS


def fingerprint(session: Session) -> tuple[Any, ...]:
    """Something that changes whenever an account has to be watched, or opened anew, or left alone; quick to ask."""
    of_accounts = select(func.count(), func.sum(Account.version), func.sum(Account.id)).where(*_rules())
    of_providers = select(func.count(), func.sum(Provider.version))
    return (*session.execute(of_accounts).one(), *session.execute(of_providers).one())


def wanted(session: Session, shards: Collection[int]) -> dict[int, Stamp]:
    """The accounts of `shards` that are to be watched."""
    inbox = exists().where(
        Folder.account_id == Account.id, Folder.path == "INBOX", Folder.is_active, Folder.is_gone.is_(False)
    )
    query = (
        select(Account.id, Account.version, Provider.version, Account.provider_id, AccountServer.host)
        .outerjoin(Provider, Provider.id == Account.provider_id)
        .outerjoin(
            AccountServer,
            and_(AccountServer.account_id == Account.id, AccountServer.direction == Direction.INCOMING),
        )
        .where(*_rules(), inbox, or_(Provider.most_connections.is_(None), Provider.most_connections >= FEWEST))
    )
    return {
        id_: Stamp(version, provider_version or 0, host or f"provider {provider_id}")
        for id_, version, provider_version, provider_id, host in session.execute(query)
        if shard_of(id_) in shards
    }


def _rules() -> tuple[ColumnElement[bool], ...]:
    return (
        Account.is_set_up.is_(True),
        Account.deleting_at.is_(None),
        Account.health.not_in((Health.PAUSED, Health.NEEDS_ATTENTION)),
        Account.protocol == ServerProtocol.IMAP,
        or_(Account.waits_until.is_(None), Account.waits_until <= now()),
        organisation.mail_is_used(),
    )


def is_behind(session: Session, account_id: int, state: FolderState) -> bool:
    """Whether the inbox on the server, in `state`, is another than the one that the last sync left."""
    known = session.execute(
        select(Folder.uidvalidity, Folder.uidnext, Folder.modseq, Folder.messages, Folder.is_complete).where(
            Folder.account_id == account_id, Folder.path == "INBOX"
        )
    ).one_or_none()
    if known is None or not known.is_complete:
        return known is not None
    told = (state.uidvalidity, state.uidnext, state.messages)
    return (known.uidvalidity, known.uidnext, known.messages) != told or known.modseq != (state.modseq or None)


def note_watched(session: Session, account_ids: Collection[int]) -> None:
    """The servers of these accounts tell of new mail from now on; and they let us in."""
    _write(session, Account.id.in_(account_ids), now())
    if hosts.failing(session):
        for account in session.scalars(select(Account).where(Account.id.in_(account_ids))).unique():
            server = accounts.server_of(account, Direction.INCOMING)
            if server is not None:
                hosts.note_success(session, server)


def note_unwatched(session: Session, account_ids: Collection[int]) -> None:
    """Nobody tells of new mail any more: from their next sync on these accounts are asked as often as others."""
    _write(session, Account.id.in_(account_ids), None)


def forget_shards(session: Session, shards: Collection[int]) -> None:
    """Nobody watches the accounts of `shards`: their holder ended without a word, or is about to end."""
    _write(session, (Account.id % SHARDS).in_(shards), None)


def forget_dead(session: Session) -> None:
    """The same for all shards that nobody holds."""
    held = {int(lease.name.removeprefix(PREFIX)) for lease in leases.held_now(session, PREFIX)}
    if len(held) < SHARDS:
        forget_shards(session, set(range(SHARDS)) - held)


def _write(session: Session, which: ColumnElement[bool], since: datetime | None) -> None:
    query = update(Account).where(
        which, Account.watched_since.is_(None) if since else Account.watched_since.is_not(None)
    )
    session.execute(query.values(watched_since=since).execution_options(synchronize_session=False))


def going(session: Session, account_ids: Collection[int]) -> dict[int, float]:
    """Which of these accounts are being synced now, and since how many seconds.

    Such a run has perhaps looked at the inbox already; another one has to come after it.
    """
    query = select(SyncRun.account_id, SyncRun.started_at).where(
        SyncRun.account_id.in_(account_ids), SyncRun.finished_at.is_(None), SyncRun.started_at.is_not(None)
    )
    return {id_: (now() - started_at).total_seconds() for id_, started_at in session.execute(query) if started_at}


def wake(session: Session, account_ids: Collection[int]) -> list[int]:
    """Have these accounts synced now: the runs to ring for."""
    runs = []
    for account_id in account_ids:
        account = session.get(Account, account_id)
        if account is not None and not manners.is_waiting(account):
            with suppress(RuleBroken):  # Paused, deleted or switched off a moment ago: whoever watches notices too.
                runs.append(request_run(session, account=account, requested_by=WATCHER).id)
    return runs


def note_failure(session: Session, account_id: int, version: int, leg: accounts.Leg, error: MailError) -> None:
    """What it means that the account could not be opened to watch it.

    A refused sign-in counts as if a sync had met it, and pauses the account: one more knock may lock it there. A wish
    to be left alone for so long is obeyed. All else is for the next sync to find out.
    """
    account = session.get(Account, account_id, with_for_update={"of": Account}, populate_existing=True)
    if account is None or account.deleting_at is not None or account.version != version:
        return
    hosts.note_failure(session, leg.server, error)
    is_refused = error.permanent and error.category in (Category.AUTH, Category.OAUTH)
    if is_refused and open_run(session, account_id) is None:
        run = SyncRun(account_id=account_id, requested_by=WATCHER, started_at=now(), rung_at=now())
        session.add(run)
        session.flush()
        finish_run(session, run, account, broken_off(session, account, leg, error))
    elif (said := manners.suggested(error)) is not None:
        manners.wait(session, account, seconds=said, reason=broken_off(session, account, leg, error).reason)
    session.flush()


def count(session: Session) -> int:
    """How many accounts are watched now."""
    watched = select(func.count()).where(Account.watched_since.is_not(None), Account.deleting_at.is_(None))
    return session.scalar(watched) or 0
