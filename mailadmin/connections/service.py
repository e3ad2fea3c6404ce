"""Connection tests: asked for by people, taken by jobs, and what their end means for the account."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.connections.diagnosis import diagnose
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.probe import Task
from mailadmin.connections.result import Failure, Result
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction
from mailadmin.permissions import Actor
from mailadmin.text import t

__all__ = [
    "claim_due",
    "diagnose",
    "finish",
    "get",
    "give_back",
    "is_silent",
    "last_passed",
    "latest",
    "note_stages",
    "request_check",
    "summary",
]

SILENT_SECONDS = 10.0
LOST_SECONDS = 60.0  # A check that began so long ago and has no end lost its job.


def get(session: Session, check_id: int) -> Check:
    """The check `check_id`. Raises NotFound."""
    check = session.get(Check, check_id)
    if check is None:
        raise NotFound(t("This test does not exist any more."))
    return check


def latest(session: Session, account_id: int) -> Check | None:
    """The newest check of the account, open or finished."""
    return session.scalars(_newest(account_id)).first()


def last_passed(session: Session, account_id: int) -> Check | None:
    """The newest check of the account that passed; its folder list is what the server has."""
    return session.scalars(_newest(account_id).where(Check.outcome == CheckOutcome.PASSED)).first()


def is_silent(check: Check) -> bool:
    """Whether `check` waits longer than it should: no runner took it, or the one that did is gone."""
    if check.finished_at is not None:
        return False
    since, seconds = (check.started_at, LOST_SECONDS) if check.started_at else (check.requested_at, SILENT_SECONDS)
    return now() - since > timedelta(seconds=seconds)


def request_check(session: Session, *, account: Account, actor: Actor) -> Check:
    """An open check of `account`: the one that there is, or a new one. Ring "check" after the commit.

    One that runs with settings that have changed since begins anew.
    """
    check = _open(session, account.id)
    if check is None:
        check = Check(account_id=account.id, account_version=account.version, requested_by=actor.name, stages=[])
        try:
            with session.begin_nested():
                session.add(check)
        except IntegrityError:  # Somebody else clicked a moment earlier.
            found = _open(session, account.id)
            return found or request_check(session, account=account, actor=actor)
        activity.record(session, actor, f"tested the connection of {account.address}", account_id=account.id)
    elif check.started_at is not None and check.account_version != account.version:
        check.started_at, check.stages = None, []  # What the old child says is not believed any more, see Task.
        check.requested_at, check.requested_by = now(), actor.name
    session.flush()
    return check


def claim_due(session: Session, *, limit: int = 64, lost_after: float = LOST_SECONDS) -> list[Task]:
    """Take up to `limit` checks that nobody does, oldest first; at once those that cannot begin are finished.

    A check that began more than `lost_after` seconds ago and did not end has lost its job, and is due again.
    """
    moment = now()
    query = (
        select(Check)
        .where(
            Check.finished_at.is_(None),
            or_(Check.started_at.is_(None), Check.started_at < moment - timedelta(seconds=lost_after)),
        )
        .order_by(Check.requested_at, Check.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Check)
    )
    tasks = [_begin(session, check, moment) for check in session.scalars(query)]
    session.flush()
    return [task for task in tasks if task is not None]


def _begin(session: Session, check: Check, moment: datetime) -> Task | None:
    account = check.account
    check.started_at, check.stages, check.account_version = moment, [], account.version
    try:
        if account.deleting_at is not None:  # Its password goes nowhere any more.
            raise RuleBroken(t("The account was deleted before its test began."))
        return Task(accounts.legs(session, account), check.id, moment)
    except RuleBroken as broken:
        result = Result(Task({}, check.id, moment))
        result.end(MailError(Category.CONFIG, broken.message))
        _close(session, check, result)
        return None


def note_stages(session: Session, result: Result) -> None:
    """Write how far a running check has come, unless it was taken from its job."""
    session.execute(_of(result.task).values(stages=result.stage_list()).execution_options(synchronize_session=False))


def give_back(session: Session, tasks: Sequence[Task]) -> None:
    """Let another job do `tasks`, which cannot be ended here."""
    for task in tasks:
        session.execute(_of(task).values(started_at=None, stages=[]).execution_options(synchronize_session=False))


def finish(session: Session, result: Result) -> None:
    """Write how the check ended, and what that means for the account.

    A check that is finished, deleted or taken from its job is left alone, and so is the health of an account whose
    settings have changed since the check began.
    """
    check = session.get(Check, result.task.check_id, with_for_update=True, populate_existing=True)
    if check is not None and check.finished_at is None and check.started_at == result.task.started_at:
        _close(session, check, result)


def _close(session: Session, check: Check, result: Result) -> None:
    account = session.get(Account, check.account_id, with_for_update={"of": Account}, populate_existing=True)
    if account is None:
        return
    told = summary(result, address=account.address)
    check.finished_at, check.seconds = now(), result.seconds
    check.outcome = CheckOutcome(told["outcome"])
    check.category = Category(told["category"]) if told["category"] else None
    check.stages, check.diagnosis, check.folders = told["stages"], told["diagnosis"], told["folders"]
    if account.version == check.account_version and account.deleting_at is None and not result.is_broken:
        _record_health(session, account, result)
    session.flush()


def summary(result: Result, *, address: str) -> dict[str, Any]:
    """The end of a test as data: {outcome, category, seconds, stages, diagnosis, folders}, all of it fit for JSON.

    When both directions fail, receiving leads and the diagnosis of sending stands in its `also`.
    """
    diagnoses = [_diagnosis(result, direction, failure, address) for direction, failure in _in_order(result)]
    diagnosis = diagnoses[0] if diagnoses else None
    if diagnosis:
        diagnosis["also"] = diagnoses[1] if len(diagnoses) > 1 else None
    return {
        "outcome": str(CheckOutcome.PASSED if result.has_passed else CheckOutcome.FAILED),
        "category": diagnosis["category"] if diagnosis else None,
        "seconds": result.seconds,
        "stages": result.stage_list(),
        "diagnosis": diagnosis,
        "folders": result.folders,
    }


def _in_order(result: Result) -> list[tuple[Direction, Failure]]:
    return [(direction, result.failures[direction]) for direction in Direction if direction in result.failures]


def _diagnosis(result: Result, direction: Direction, failure: Failure, address: str) -> dict[str, Any]:
    leg = result.task.legs.get(direction)
    return diagnose(
        failure.error,
        direction=direction,
        stage=failure.stage,
        server=leg.server if leg else None,
        user_name=leg.how.username if leg else "",
        address=address,
    )


def _record_health(session: Session, account: Account, result: Result) -> None:
    for direction in Direction:
        if direction in result.proved:
            accounts.record_success(session, account, direction=direction)
        elif failure := result.failures.get(direction):
            accounts.record_failure(
                session,
                account,
                direction=direction,
                category=failure.error.category,
                reason=_diagnosis(result, direction, failure, account.address)["title"],
                permanent=failure.error.permanent,
                sure=True,
            )


def _of(task: Task) -> Any:
    """The update of the row of `task`, as long as it is this job's."""
    mine = (Check.id == task.check_id, Check.started_at == task.started_at, Check.finished_at.is_(None))
    return update(Check).where(*mine)


def _newest(account_id: int) -> Any:
    return select(Check).where(Check.account_id == account_id).order_by(Check.id.desc()).limit(1)


def _open(session: Session, account_id: int) -> Check | None:
    query = select(Check).where(Check.account_id == account_id, Check.finished_at.is_(None)).with_for_update(of=Check)
    return session.scalars(query).one_or_none()
