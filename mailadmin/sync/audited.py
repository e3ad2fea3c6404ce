"""What an audit means for an account: when one is due, whether it agrees, and what pages and commands tell of it.

An audit is due once in every night, each account at its own time, when its next sync is; with the first sync after the
first complete one; and an hour after an audit that did not agree, if a sync has called everything complete since. The
audit itself is in audit.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.sync.models import Folder, RunKind, SyncRun
from mailadmin.text import t

REASONS = 5
AGAIN_AFTER = timedelta(hours=1)
DAY, NIGHT_BEGINS, NIGHT = 86_400, 22 * 3600, 8 * 3600  # seconds; the night of UTC
_SPREAD = 0.618034  # Multiples of it lie evenly within one (golden ratio), so some account is due at any time of it.
NUMBERS = ("server", "stored", "unreadable", "missing", "extra", "flags", "left")


def is_due(account: Account, moment: datetime) -> bool:
    """Whether the next run of the account is to be an audit."""
    if account.synced_at is None or account.audited_at is None:
        return account.synced_at is not None
    if not account.audit_agrees and account.audited_at < min(account.synced_at, moment - AGAIN_AFTER):
        return True
    shift = DAY - NIGHT_BEGINS - account.id * _SPREAD % 1 * NIGHT
    return (account.audited_at.timestamp() + shift) // DAY != (moment.timestamp() + shift) // DAY


def kind_of_next(account: Account, moment: datetime) -> RunKind:
    """What the next run of the account is that begins by itself."""
    return RunKind.AUDIT if is_due(account, moment) else RunKind.USUAL


def note(session: Session, run: SyncRun, account: Account) -> None:
    """At the end of `run`: if it was an audit, whether all is equal now. Folders that could not be compared are not.

    Until an audit agrees the account is not called complete, whatever other runs say.
    """
    if run.kind is RunKind.AUDIT and run.found is not None:
        account.audited_at = run.finished_at
        account.audit_agrees = all(
            f.is_complete and f.audit and not f.audit["left"] for f in synced(session, account.id)
        )
    if account.audit_agrees is False and not account.incomplete:
        account.incomplete = t("The last full comparison with the server found differences. The next one looks again.")


def synced(session: Session, account_id: int) -> Sequence[Folder]:
    """The folders of an account that are synced, by path."""
    active = Folder.account_id == account_id, Folder.is_active, Folder.is_gone.is_(False)
    return session.scalars(select(Folder).where(*active).order_by(Folder.path)).all()


def differs(audit: dict[str, Any]) -> bool:
    """Whether something was not equal, at first or still, in what `Folder.audit` says."""
    return any(audit.get(name) for name in ("missing", "extra", "flags", "left"))


@dataclass(frozen=True, slots=True)
class Told:
    """What the last audit of an account found, all folders together; `why` as in Folder.audit.

    `folders` were compared, and `not_compared` should have been. `repaired` and `left` count messages.
    """

    at: datetime
    agrees: bool
    folders: int
    not_compared: int
    server: int
    stored: int
    unreadable: int
    why: Sequence[tuple[str, int]]
    missing: int
    extra: int
    flags: int
    left: int

    @property
    def repaired(self) -> int:
        """How many differences there are no more."""
        return max(self.missing + self.extra + self.flags - self.left, 0)


def told(session: Session, account: Account) -> Told | None:
    """The last audit of the account, as pages and commands show it; None if there was none."""
    if account.audited_at is None:
        return None
    folders = synced(session, account.id)
    audits = [row.audit for row in folders if row.audit]
    sums = {name: sum(int(a.get(name) or 0) for a in audits) for name in NUMBERS}
    reasons: dict[str, int] = {}
    for reason, number in (pair for a in audits for pair in a.get("why") or ()):
        reasons[reason] = reasons.get(reason, 0) + number
    why = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:REASONS]
    absent = len(folders) - len(audits)
    return Told(account.audited_at, bool(account.audit_agrees), len(audits), absent, why=why, **sums)
