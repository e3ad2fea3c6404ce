"""How a test ends: what is kept of it, and what it means for the account."""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mailadmin.accounts import drafts
from mailadmin.accounts import service as accounts
from mailadmin.accounts.drafts import Legs
from mailadmin.accounts.models import Account
from mailadmin.connections.diagnosis import diagnose
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.result import Failure, Result
from mailadmin.db import now
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction

KEPT = 20  # tests of an account
DRAFTS_KEPT = timedelta(hours=1)

# When both directions fail, the one that says most leads: first what the server thinks of us, then encryption, then
# that it was not reached, last what passes or says nothing.
_SAYS_MOST = (
    {Category.AUTH, Category.OAUTH},
    {Category.CONFIG, Category.POLICY, Category.PERMISSION},
    {Category.TLS},
    {Category.DNS, Category.REFUSED, Category.NETWORK},
    {Category.UNSUPPORTED},
    {Category.PROTOCOL},
    {Category.QUOTA, Category.THROTTLED, Category.UNAVAILABLE},
    {Category.TIMEOUT},
)
_RANK = {category: rank for rank, categories in enumerate(_SAYS_MOST) for category in categories}


def finish(session: Session, result: Result) -> None:
    """Write how the check ended, and what that means for the account.

    A check that is finished, deleted or taken from its job is left alone, and so is the health of an account whose
    settings have changed since the check began.
    """
    check = session.get(Check, result.task.check_id, with_for_update={"of": Check}, populate_existing=True)
    if check is not None and check.finished_at is None and check.started_at == result.task.started_at:
        close(session, check, result)


def close(session: Session, check: Check, result: Result) -> None:
    """End `check`, which nobody else can touch meanwhile, as `result` says."""
    account = None
    if check.account_id is not None:
        account = session.get(Account, check.account_id, with_for_update={"of": Account}, populate_existing=True)
        if account is None:
            return
    told = summary(result, address=check.address or (account.address if account else ""))
    check.finished_at, check.seconds = now(), result.seconds
    check.outcome = CheckOutcome(told["outcome"])
    check.category = Category(told["category"]) if told["category"] else None
    check.stages, check.diagnosis = told["stages"], told["diagnosis"]
    check.folders = told["folders"] if account is not None else []  # Nobody chooses among those of a draft.
    if check.draft is not None:
        draft, check.draft = check.draft, None
        session.flush()
        drafts.forget(session, draft)
    if account is not None and _says_health(check, account, result):
        _record_health(session, account, result)
    session.flush()
    if account is not None:
        _forget_old(session, account.id)


def _says_health(check: Check, account: Account, result: Result) -> bool:
    """Whether the test was of the account as it is: not under another name, and not before its settings changed."""
    is_current = account.version == check.account_version and account.deleting_at is None
    return is_current and not result.is_broken and not check.user_name


def _forget_old(session: Session, account_id: int) -> None:
    """Keep the newest tests of an account, and the last that passed: its folder list may still be wanted, no other."""
    newest = select(Check.id).where(Check.account_id == account_id).order_by(Check.id.desc())
    passed = session.scalars(newest.where(Check.outcome == CheckOutcome.PASSED).limit(1)).all()
    kept = [*session.scalars(newest.limit(KEPT)), *passed]
    old = (Check.account_id == account_id, Check.id.not_in(passed))
    session.execute(update(Check).where(*old).values(folders=[]).execution_options(synchronize_session=False))
    session.execute(delete(Check).where(Check.account_id == account_id, Check.id.not_in(kept)))


def forget_old_drafts(session: Session) -> None:
    """Delete tests of what was never saved, and with one that nobody did within an hour its password."""
    old = select(Check).where(Check.account_id.is_(None), Check.requested_at < now() - DRAFTS_KEPT)
    for check in session.scalars(old.with_for_update(of=Check)).unique().all():
        draft = check.draft
        session.delete(check)
        session.flush()
        if draft is not None:
            drafts.forget(session, draft)


def note_targets(check: Check, legs: Legs) -> None:
    """Write down what `check` tests, and as whom."""
    check.servers = {direction.value: str(leg.server) for direction, leg in legs.items()}
    check.users = {direction.value: leg.how.username for direction, leg in legs.items()}


def hosts_of(check: Check) -> list[str]:
    """The hosts that `check` talks with."""
    return [server.partition(":")[2].rpartition(":")[0].rpartition(":")[0] for server in check.servers.values()]


def summary(result: Result, *, address: str) -> dict[str, Any]:
    """The end of a test as data: {outcome, category, seconds, stages, diagnosis, folders}, all of it fit for JSON.

    When both directions fail, the one that says most leads and the diagnosis of the other stands in its `also`.
    """
    diagnoses = [_diagnosis(result, direction, failure, address) for direction, failure in result.failures.items()]
    diagnoses.sort(key=lambda found: (_RANK[Category(found["category"])], found["direction"]))
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


def _diagnosis(result: Result, direction: Direction, failure: Failure, address: str) -> dict[str, Any]:
    leg = result.task.legs.get(direction)
    told = diagnose(
        failure.error,
        direction=direction,
        stage=failure.stage,
        server=leg.server if leg else None,
        user_name=leg.how.username if leg else "",
        address=address,
    )
    return told | {"fixes": [fix for fix in result.fixes if fix["direction"] == direction]}


def _record_health(session: Session, account: Account, result: Result) -> None:
    for direction in Direction:
        if direction in result.proved:
            accounts.record_success(session, account, direction=direction)
        elif failure := result.failures.get(direction):
            told = _diagnosis(result, direction, failure, account.address)
            accounts.record_failure(
                session,
                account,
                direction=direction,
                category=Category(told["category"]),
                reason=told["title"],
                permanent=failure.error.permanent,
                sure=True,
            )
