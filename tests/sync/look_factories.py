"""Makers for the tests of looks: accounts that are whole, and what came of them."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from mailadmin import db, leases
from mailadmin.accounts.models import Account, Health
from mailadmin.sync.models import RunOutcome, SyncRun
from tests.sync.factories import Box, account_now, folder_of, synced


def make_due(account: Account, **values: Any) -> Account:
    """`account`, whose time has come."""
    with db.transaction() as session:
        found = session.get_one(Account, account.id)
        found.next_sync_at = db.now()
        for name, value in values.items():
            setattr(found, name, value)
    return account_now(account)


def whole(box: Box, *folders: str, **wanted: Any) -> Account:
    """An account that was read in full, compared in full, and is due."""
    account = box.account(*folders, **wanted)
    assert synced(account, batch=100).outcome is RunOutcome.COMPLETE
    return make_due(account, audited_at=db.now(), audit_agrees=True)


def make_whole(account: Account) -> Account:
    """`account`, of a server that nobody can ask, as if it had been read."""
    folder = folder_of(account)
    with db.transaction() as session:
        row = session.merge(folder)
        row.is_complete, row.uidvalidity, row.uidnext, row.messages, row.modseq = True, 7, 1, 0, 1
        row.window = "everything"
    long_ago = db.now() - timedelta(hours=1)
    values = {"health": Health.HEALTHY, "synced_at": long_ago, "audited_at": db.now(), "audit_agrees": True}
    return make_due(account, **values)


def runs_of(account: Account) -> Sequence[SyncRun]:
    """All runs of the account, the oldest first."""
    with db.reading() as session:
        return session.scalars(select(SyncRun).where(SyncRun.account_id == account.id).order_by(SyncRun.id)).all()


def knocks(box: Box, user: str) -> int:
    """How often somebody tried to sign in as `user`."""
    return len(re.findall(rf"(?:Login|Aborted login|auth failed).*user=<{re.escape(user)}>", box.dovecot.log()))


def held() -> list[leases.Lease]:
    """The leases of accounts that somebody syncs or looks at."""
    with db.reading() as session:
        return leases.held_now(session, "sync:")
