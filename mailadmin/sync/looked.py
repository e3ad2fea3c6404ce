"""What comes of looks, written for many accounts in one transaction; of failures one by one, as a run would do it.

Nothing is written for an account that is not as it was when the look began: the lease is ours still, the version the
same, the account due since the same moment, and nobody has asked for a run. What is not written is due still, so that
it is looked at again. Whoever has asked for a run meanwhile found the account held, so it is rung for once more.
A fault of ours with one account is logged, costs the others nothing, and leaves that account to a usual run.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from mailadmin import db, leases
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import hosts
from mailadmin.mail.errors import MailError
from mailadmin.organisation import service as organisation
from mailadmin.sync.ending import broken_off, finish_run, next_after
from mailadmin.sync.lookable import Look
from mailadmin.sync.models import RunKind, RunOutcome, SyncRun
from mailadmin.sync.service import SCHEDULE, lease_name, open_run, request_runs

# Does something about accounts, and says False where a fault of ours kept it from being done: it is logged, at the edge
# of the job.
Guard = Callable[[Collection[int], Callable[[], None]], bool]
_ACCOUNTS: Any = Account.__table__
_NOTED = (
    update(_ACCOUNTS)
    .where(_ACCOUNTS.c.id == bindparam("the_id"))
    .values(next_sync_at=bindparam("next_at"), synced_at=bindparam("begun_at"), waits_until=None, waits_reason="")
)
_PREFIX = lease_name(0).removesuffix("0")
_OPEN = select(SyncRun.id).where(SyncRun.account_id == Account.id, SyncRun.finished_at.is_(None)).correlate(Account)
_MAY = Account.is_set_up, Account.deleting_at.is_(None), Account.health != Health.PAUSED, organisation.mail_is_used()
_STATES = (
    select(Account.id, Account.version, Account.next_sync_at, Account.health, _OPEN.scalar_subquery().label("run_id"))
    .where(Account.id.in_(bindparam("ids", expanding=True)), *_MAY)
    .order_by(Account.id)
    .with_for_update(of=Account, skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found: something new, or nothing, or `error`; `is_new` also where only a run can tell."""

    look: Look
    is_new: bool = False
    error: MailError | None = None


def unguarded(_account_ids: Collection[int], deed: Callable[[], None]) -> bool:
    """Do it, whatever comes of it."""
    deed()
    return True


def note(found: Sequence[Looked], guard: Guard = unguarded) -> list[int]:
    """Write what came of looks, and give back their leases; the runs to ring for now."""
    failed = [[each] for each in found if each.error is not None]
    others = [each for each in found if each.error is None]
    return [run_id for together in (*failed, others) if together for run_id in _noted(together, guard)]


def give_up(held: Collection[leases.Held], *, unfit: Collection[int] = ()) -> list[int]:
    """Give back leases without a look; the accounts `unfit` have a usual run instead. The runs to ring for now."""
    with db.transaction() as session:
        ours = leases.hold_on(session, held)
        states = _states(session, [int(one.name.removeprefix(_PREFIX)) for one in ours])
        new = [row.id for row in states if row.run_id is None and row.id in unfit]
        runs = request_runs(session, new, requested_by=SCHEDULE)
        leases.release_all(session, ours)
    return [*runs, *(row.run_id for row in states if row.run_id is not None)]


def request_audits(account_ids: Collection[int]) -> list[int]:
    """Runs of the kind AUDIT for accounts that are due; to be rung for."""
    with db.transaction() as session:
        states = _states(session, account_ids)
        free = [row.id for row in states if row.run_id is None and row.next_sync_at and row.next_sync_at <= db.now()]
        return request_runs(session, free, requested_by=SCHEDULE, kind=RunKind.AUDIT)


def _noted(found: Sequence[Looked], guard: Guard) -> list[int]:
    """Write of one failure, or of many looks that did not fail; where it cannot be done, each is tried alone."""
    look, error = found[0].look, found[0].error
    runs: list[int] = []

    def write() -> None:
        runs.extend(_note_all(found) if error is None else _note_failure(look, error))

    if guard([each.look.account_id for each in found], write):
        return runs
    if len(found) > 1:
        return [run_id for each in found for run_id in _noted([each], guard)]
    return give_up([look.held], unfit=[look.account_id])


def _note_all(found: Sequence[Looked]) -> list[int]:
    with db.transaction() as session:
        ours = leases.hold_on(session, [each.look.held for each in found])
        asked = _note(session, [each for each in found if each.look.held in ours]) if ours else []
        leases.release_all(session, ours)
    return asked


def _note(session: Session, found: Iterable[Looked]) -> list[int]:
    looks = {each.look.account_id: each for each in found}
    states = _states(session, looks)
    same = [looks[row.id] for row in states if row.run_id is None and _is_same(row, looks[row.id].look)]
    unchanged = [_values(each.look) for each in same if not each.is_new]
    if unchanged:
        session.connection().execute(_NOTED, unchanged)
    failing = hosts.failing(session)
    answered = {each.look.server: each.look.leg.server for each in same if each.look.server in failing}
    for name in sorted(answered):  # In one order everywhere, so that two transactions do not wait for each other.
        hosts.note_success(session, answered[name])
    new = [each.look.account_id for each in same if each.is_new]
    return [*request_runs(session, new, requested_by=SCHEDULE), *(row.run_id for row in states if row.run_id)]


def _states(session: Session, account_ids: Collection[int]) -> Sequence[Any]:
    """How these accounts are now, each with its open run; they stay so until the commit.

    An account that somebody is changing at this moment is left out, and so is one that may not be synced.
    """
    return session.connection().execute(_STATES, {"ids": list(account_ids)}).all()


def _is_same(row: Any, look: Look) -> bool:
    known = row.version, row.next_sync_at, row.health
    return known == (look.version, look.due_at, Health.HEALTHY)


def _values(look: Look) -> dict[str, Any]:
    next_at = next_after(look.wanted_minutes, is_watched=look.is_watched, least=look.least_pause)
    return {"the_id": look.account_id, "next_at": next_at, "begun_at": look.begun_at}


def _note_failure(look: Look, error: MailError) -> list[int]:
    """End a run that never began, with the diagnosis; or the one that somebody has asked for meanwhile.

    Nobody knocks a second time for it. The run to ring for, where the failure is not about the account as it is now.
    """
    with db.transaction() as session:
        if not leases.hold_on(session, [look.held]):
            return []
        wanted = {"of": Account}
        account = session.get(Account, look.account_id, with_for_update=wanted, populate_existing=True)
        run = open_run(session, look.account_id, holds=True)
        is_same = account is not None and account.version == look.version and account.deleting_at is None
        if account is None or not is_same or not organisation.uses_mail(session):
            leases.release(session, look.held)
            return [run.id] if run is not None else []
        if run is None or run.kind is RunKind.DRY:
            ended = {"finished_at": db.now(), "outcome": RunOutcome.FAILED, "kind": RunKind.USUAL}
            run = SyncRun(account_id=account.id, requested_by=SCHEDULE, requested_at=look.begun_at, **ended)
            session.add(run)
            session.flush()
        run.started_at = run.started_at or look.begun_at
        finish_run(session, run, account, broken_off(session, account, look.leg, error))
        leases.release(session, look.held)
    return []
