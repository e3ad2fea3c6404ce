"""How a job takes tests and reports how far they came; a test is one job's at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from mailadmin.accounts import drafts
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import endings, tokens
from mailadmin.connections.copies import filing_of
from mailadmin.connections.message import Parcel
from mailadmin.connections.models import Check
from mailadmin.connections.probe import Broken, Task
from mailadmin.connections.result import Result
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Bearer, Direction
from mailadmin.text import t
from mailadmin.vault import Unsealable

LOST_SECONDS = 60.0  # A check that began so long ago and has no end lost its job.
PER_HOST = 2  # of those that wait their turn, at a time


def claim_due(session: Session, *, limit: int = 64, lost_after: float = LOST_SECONDS) -> list[Task]:
    """Take up to `limit` checks that nobody does, those that somebody waits for first, then the oldest; at once those
    that cannot begin are finished.

    A check that began more than `lost_after` seconds ago and did not end has lost its job, and is due again. Of those
    that wait their turn, few at a time go to the same host. Those that need a new access token wait for it: ring
    "token" after the commit if `tokens.are_awaited`.
    """
    moment = now()
    lost = Check.started_at < moment - timedelta(seconds=lost_after)
    query = (
        select(Check)
        .where(Check.finished_at.is_(None), or_(Check.started_at.is_(None), lost))
        .order_by(Check.in_turn, Check.requested_at, Check.id)
        .limit(limit * 4)
        .with_for_update(skip_locked=True, of=Check)
    )
    busy = _busy_hosts(session, moment - timedelta(seconds=lost_after))
    tasks: list[Task] = []
    for check in session.scalars(query).unique().all():
        if len(tasks) >= limit:
            break
        hosts = set(endings.hosts_of(check))
        if check.in_turn and any(busy[host] >= PER_HOST for host in hosts):
            continue
        if tokens.is_awaited(session, check):
            continue
        if task := _begin(session, check, moment):
            tasks.append(task)
            busy.update(hosts if check.in_turn else ())
    session.flush()
    return tasks


def _busy_hosts(session: Session, since: datetime) -> Counter[str]:
    """How many of those that wait their turn talk with each host now."""
    running = select(Check).where(Check.in_turn, Check.finished_at.is_(None), Check.started_at >= since)
    return Counter(host for check in session.scalars(running).unique() for host in set(endings.hosts_of(check)))


def _begin(session: Session, check: Check, moment: datetime) -> Task | None:
    check.started_at, check.stages = moment, []
    try:
        return _task(session, check, moment)
    except MailError as error:
        _end_at_once(session, check, error)
    except RuleBroken as broken:
        _end_at_once(session, check, MailError(Category.CONFIG, broken.message))
    except (Unsealable, LookupError):
        said = t("What was to be tested cannot be opened any more.")
        _end_at_once(session, check, MailError(Category.CONFIG, said))
    return None


def _end_at_once(session: Session, check: Check, error: MailError) -> None:
    """Close `check`, which cannot begin because of `error`."""
    assert check.started_at is not None
    result = Result(Task({}, check.id, check.started_at))
    result.end(error)
    result.is_broken = tokens.is_passing(error)  # It says nothing about the account.
    endings.close(session, check, result)


def _task(session: Session, check: Check, moment: datetime) -> Task:
    account = check.account
    if account is None:
        if check.draft is None:
            raise LookupError
        legs = drafts.legs_of(session, check.draft)
        return Task(legs, check.id, moment, signs_in=any(leg.how.username for leg in legs.values()))
    check.account_version = account.version
    if account.deleting_at is not None:  # Its password goes nowhere any more.
        raise RuleBroken(t("The account was deleted before its test began."))
    legs, broken = _legs(session, account)
    if check.user_name:
        if Direction.INCOMING not in legs:
            raise broken[Direction.INCOMING].error
        legs = {
            d: accounts.Leg(leg.server, replace(leg.how, username=check.user_name))
            for d, leg in legs.items()
            if d is Direction.INCOMING or leg.how == legs[Direction.INCOMING].how
        }
    endings.note_targets(check, legs)
    for direction, each in broken.items():
        check.servers = {**check.servers, direction.value: str(each.server)}
    parcel = None
    if check.message_to:
        parcel = Parcel(account.address, check.message_to, check.awaits, filing_of(account))
    return Task(legs, check.id, moment, parcel=parcel, broken=broken)


def _legs(session: Session, account: Account) -> tuple[dict[Direction, accounts.Leg], dict[Direction, Broken]]:
    """What of `account` can be tested, and what cannot sign in, such as a password for sending that is missing.

    Raises RuleBroken if there is no server for receiving, MailError if nothing can be tested.
    """
    legs: dict[Direction, accounts.Leg] = {}
    broken: dict[Direction, Broken] = {}
    trouble = tokens.trouble_of(session, account)
    for direction in Direction:
        server = accounts.server_of(account, direction)
        try:
            leg = accounts.leg(session, account, direction)
        except RuleBroken as error:
            if server is None:
                raise
            broken[direction] = Broken(server, MailError(Category.CONFIG, error.message))
            continue
        if leg and trouble and isinstance(leg.how, Bearer):
            broken[direction] = Broken(leg.server, trouble)
        elif leg:
            legs[direction] = leg
    if broken and not legs:
        raise next(iter(broken.values())).error
    return legs, broken


def note_stages(session: Session, result: Result) -> None:
    """Write how far a running check has come, unless it was taken from its job."""
    session.execute(_of(result.task).values(stages=result.stage_list()).execution_options(synchronize_session=False))


def give_back(session: Session, tasks: Sequence[Task]) -> None:
    """Let another job do `tasks`, which cannot be ended here."""
    for task in tasks:
        session.execute(_of(task).values(started_at=None, stages=[]).execution_options(synchronize_session=False))


def _of(task: Task) -> Any:
    """The update of the row of `task`, as long as it is this job's."""
    mine = (Check.id == task.check_id, Check.started_at == task.started_at, Check.finished_at.is_(None))
    return update(Check).where(*mine)
