"""Which accounts a look is enough for, and all that has to be known of them, read for many with a few statements.

A look only answers whether the server shows something new. So it is for accounts that are whole: complete, healthy, set
up, known by facts for every folder (quick.py), with nothing waiting here (quiet.py), no audit due and no run asked for.
All others have a usual run, as always; which of the two it is for an account that is due, is decided by `BY_LOOK`, the
rule that clock and looks share, and once more here, for those that the rule lets pass. Whoever waits for a look in vain
for long, whyever that is, has a usual run too (`BY_RUN`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from mailadmin import leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import hosts
from mailadmin.db import UTCDateTime, now
from mailadmin.mail.types import Bearer, ServerProtocol
from mailadmin.oauth import service as oauth
from mailadmin.organisation import service as organisation
from mailadmin.providers.models import Provider
from mailadmin.sync import audited, quick, quiet, retention
from mailadmin.sync.going import key_of
from mailadmin.sync.models import Folder
from mailadmin.sync.service import IS_DUE, PRESENT

LEASE = "looking"  # of the one process that looks
PATIENCE = timedelta(minutes=15)  # with looks that do not come
# Whether an account that is due is looked at, as far as its own row tells.
BY_LOOK = and_(
    Account.protocol == ServerProtocol.IMAP,
    Account.health == Health.HEALTHY,
    Account.health_category.is_(None),
    Account.failures == 0,
    Account.synced_at.is_not(None),
    Account.audited_at.is_not(None),
    Account.incomplete == "",
    Account.running_since.is_(None),
    or_(Account.waits_until.is_(None), Account.waits_until <= PRESENT),
)
_LATE = bindparam("late", callable_=lambda: now() - PATIENCE, type_=UTCDateTime())
BY_RUN = or_(~BY_LOOK, Account.next_sync_at < _LATE)  # whether it has a usual run
# Statements about many, written once: to put one together takes longer than to run it.
_IDS: Any = bindparam("ids", expanding=True)
_RULES = *IS_DUE, BY_LOOK, organisation.mail_is_used()
_ALL_DUE = hosts.with_server(
    select(Account.id, Account.next_sync_at, Account.synced_at, Account.audited_at, Account.audit_agrees).where(*_RULES)
).subquery()
_PLACE = func.row_number().over(partition_by=(_ALL_DUE.c.host, _ALL_DUE.c.port), order_by=_ALL_DUE.c.next_sync_at)
_DUE = select(_ALL_DUE).order_by(_PLACE, _ALL_DUE.c.next_sync_at).limit(bindparam("most"))
_ANY_DUE = select(Account.id).where(*_RULES).limit(1)
_STILL_DUE = hosts.with_server(
    select(
        *(Account.id, Account.version, Account.next_sync_at, Account.sync_minutes, Account.watched_since),
        *(Account.window, Account.since, Account.keep_months),
        *(Account.synced_at, Account.audited_at, Account.audit_agrees, Provider.least_minutes),
    )
    .outerjoin(Provider, Provider.id == Account.provider_id)
    .where(Account.id.in_(_IDS), *_RULES)
)
_FOLDER: Any = Folder.__table__.c
_FOLDERS = select(
    *(_FOLDER.id, _FOLDER.account_id, _FOLDER.path, _FOLDER.name, _FOLDER.delimiter, _FOLDER.role),
    *(_FOLDER.role_source, _FOLDER.locked, _FOLDER.is_active, _FOLDER.is_gone, _FOLDER.is_wished, _FOLDER.trouble),
    *(_FOLDER.object_id, _FOLDER.is_complete, _FOLDER.next_generation, _FOLDER.window, _FOLDER.messages),
    *(_FOLDER.uidvalidity, _FOLDER.uidnext, _FOLDER.modseq),
).where(_FOLDER.account_id.in_(_IDS))


@dataclass(frozen=True, slots=True)
class Due:
    """An account that is due, and the name of its server; `needs_audit`: a look is not enough tonight."""

    account_id: int
    server: str
    needs_audit: bool


@dataclass(frozen=True, slots=True)
class Look:
    """An account that is to be looked at, as it was when it was read; `folders` are rows of all its folders.

    It counts only as long as the account has the same `version` and is due since the same moment.
    """

    account_id: int
    version: int
    due_at: datetime
    begun_at: datetime
    server: str
    leg: accounts.Leg
    window_key: str
    folders: Sequence[Folder]
    held: leases.Held
    wanted_minutes: int | None
    is_watched: bool
    least_pause: timedelta

    @property
    def active(self) -> list[Folder]:
        """The folders that are synced."""
        return [folder for folder in self.folders if folder.is_active and not folder.is_gone]


def due(session: Session, *, limit: int) -> list[Due]:
    """The accounts that are due and may be looked at, none while no mail is used.

    Of each server in turn the longest overdue, so that a server where thousands wait does not fill the list.
    """
    moment = now()
    return [
        Due(row.id, hosts.name_in(row), audited.is_due(cast(Account, row), moment))
        for row in session.connection().execute(_DUE, {"most": limit})
    ]


def are_due(session: Session) -> bool:
    """Whether there is any such account."""
    return session.connection().execute(_ANY_DUE).first() is not None


def read(session: Session, held: Mapping[int, leases.Held]) -> tuple[list[Look], list[int]]:
    """What has to be known of the accounts that are `held`; and the ids of those for which a look is not enough.

    What is neither is not due any more.
    """
    connection = session.connection()
    rows = connection.execute(_STILL_DUE, {"ids": list(held)}).all()
    ids = [row.id for row in rows]
    folders: dict[int, list[Any]] = {id_: [] for id_ in ids}
    for folder in connection.execute(_FOLDERS, {"ids": ids}):
        folders[folder.account_id].append(folder)
    legs, ready = accounts.incoming_legs(session, ids), set(ids) - quiet.restless(session, ids)
    bearers = {id_ for id_, leg in legs.items() if isinstance(leg.how, Bearer)}
    ready -= bearers - (oauth.fresh_among(session, bearers) if bearers else set())
    failing, looks, moment = hosts.failing(session), [], now()
    for row in rows:
        leg = legs.get(row.id)
        if leg is None or leg.server.protocol is not ServerProtocol.IMAP or row.id not in ready:
            continue
        look = _look(row, leg, folders[row.id], held[row.id], moment)
        if look.server not in failing and _are_known(look) and not audited.is_due(cast(Account, row), moment):
            looks.append(look)
    return looks, list(set(ids) - {look.account_id for look in looks})


def _look(row: Any, leg: accounts.Leg, folders: Sequence[Folder], held: leases.Held, moment: datetime) -> Look:
    return Look(
        row.id,
        row.version,
        row.next_sync_at,
        moment,
        hosts.name_in(row),
        leg,
        key_of(*retention.aim(row)),
        folders,
        held,
        row.sync_minutes,
        row.watched_since is not None,
        timedelta(minutes=row.least_minutes or 0),
    )


def _are_known(look: Look) -> bool:
    """Whether every folder that is synced holds what the server had at a moment of which we have all facts."""
    active = look.active
    return bool(active) and all(not folder.trouble and quick.is_known(look, folder) for folder in active)
