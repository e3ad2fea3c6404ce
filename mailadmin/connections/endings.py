"""How a test ends: what is kept of it, and what it means for the account."""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mailadmin.access.teams import check_members
from mailadmin.accounts import drafts
from mailadmin.accounts import service as accounts
from mailadmin.accounts.drafts import Legs
from mailadmin.accounts.models import Account, Draft
from mailadmin.accounts.owners import is_owned_by
from mailadmin.connections import hosts, tokens
from mailadmin.connections.diagnosis import diagnose
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.result import Failure, Result, broke_off
from mailadmin.db import now
from mailadmin.errors import MailAdminError, NotFound, RuleBroken
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Bearer, Direction, SignInMethod, StageName
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, GrantKind
from mailadmin.people.models import Person
from mailadmin.permissions import Actor, Permission
from mailadmin.text import t
from mailadmin.vault import Unsealable

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
    """End `check`, which nobody else can touch meanwhile, as `result` says.

    One of what was not saved yet, asked for by somebody who wants it saved if it works, is saved now.
    """
    account = None
    if check.account_id is not None:
        account = session.get(Account, check.account_id, with_for_update={"of": Account}, populate_existing=True)
        if account is None:
            return
    if tokens.try_again(session, check, {failure.error.category for failure in result.failures.values()}):
        session.flush()
        return
    _take_for_final(result)
    address = check.address or (account.address if account else "")
    told = summary(result, address=address, alone=_is_alone(session, check))
    check.finished_at, check.seconds = now(), result.seconds  # First: an account that is tested has no second open one.
    if check.draft is not None:
        account, told = _close_draft(session, check, check.draft, result, told)
    check.outcome = CheckOutcome(told["outcome"])
    check.category = Category(told["category"]) if told["category"] else None
    check.stages, check.diagnosis = told["stages"], told["diagnosis"]
    check.folders = told["folders"] if account is not None else []  # Nobody chooses among those of a draft.
    if account is not None and _says_health(check, account, result):
        _record_health(session, account, result)
    session.flush()
    if account is not None:
        _forget_old(session, account.id)


def _take_for_final(result: Result) -> None:
    """A token that was refused is no passing trouble: the account had a new one, or there is none to be had."""
    for failure in result.failures.values():
        if failure.error.category is Category.OAUTH:
            failure.error.permanent = True


def _close_draft(
    session: Session, check: Check, draft: Draft, result: Result, told: dict[str, Any]
) -> tuple[Account | None, dict[str, Any]]:
    """Forget `draft`, and make the change that it was for if the test has passed: then the test is the account's own.

    The answer is that account, and what to tell; a change that cannot be made any more is the failure of the test.
    """
    account = None
    if told["outcome"] == CheckOutcome.PASSED:
        try:
            account = _changed(session, drafts.change_of(session, draft), drafts.legs_of(session, draft), check.attempt)
        except (RuleBroken, NotFound, Unsealable, LookupError) as broken:
            why = broken.message if isinstance(broken, MailAdminError) else t("it cannot be opened any more.")
            said = t("The test passed, but nothing was saved: {why}", why=why)
            result.failures[Direction.INCOMING] = Failure(MailError(Category.CONFIG, said))
            told = summary(result, address=check.address)
    if account is not None:
        check.account_id, check.account_version = account.id, account.version
    elif check.attempt is not None:
        failure = next(iter(result.failures.values()), None)
        oauth.refuse(session, check.attempt, failure.error if failure else broke_off())
    check.draft = None
    session.flush()
    drafts.forget(session, draft)
    return account, told


def _changed(session: Session, change: drafts.Change | None, tested: Legs, attempt: Attempt | None) -> Account | None:
    """The account after `change`, which makes it sign in as was `tested`.

    Raises RuleBroken, NotFound; then it is as it was.
    """
    if change is None:
        return None
    with session.begin_nested():
        account = accounts.get(session, change.account_id)
        check_actor(session, change.actor, account)
        if attempt is not None:
            oauth.take_grant(session, account, attempt, actor=change.actor, version=change.version)
        elif change.wish.login.method is SignInMethod.OAUTH and change.wish.login.password:
            # A token without its grant would end within the hour, and nobody could renew it.
            raise RuleBroken(t("The OAuth app was deleted meanwhile. Start again."))
        else:
            accounts.change(session, account, wish=change.wish, version=change.version, actor=change.actor)
            check_members(session, account)
        if accounts.legs(session, account) != tested:  # A password that was typed for other servers goes to none.
            raise RuleBroken(t("The provider has other servers than those that were tested. Save again."))
    return account


def check_actor(session: Session, actor: Actor, account: Account) -> None:
    """Raise RuleBroken if `actor` is a person who may not, or not any more, change `account`: somebody else's."""
    person = session.get(Person, actor.person_id, populate_existing=True) if actor.person_id else None
    is_theirs = person is not None and is_owned_by(account, person)
    if person and not is_theirs and not person.may(Permission.MANAGE_ACCOUNTS):
        raise RuleBroken(t("{name} may not change accounts any more.", name=person.name))


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
        forget_draft_check(session, check)


def forget_draft_check(session: Session, check: Check) -> None:
    """Delete a test of what was never saved; a job that does it just now is not believed any more."""
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


def _is_alone(session: Session, check: Check) -> bool:
    """Whether the app itself signs in, for all mailboxes of an organisation."""
    grant = oauth.grant_of(session, check.account_id) if check.account_id is not None else None
    lets_in = check.attempt or grant
    return lets_in is not None and lets_in.kind is not GrantKind.PERSON


def summary(result: Result, *, address: str, alone: bool = False) -> dict[str, Any]:
    """The end of a test as data: {outcome, category, seconds, stages, diagnosis, folders}, all of it fit for JSON.

    When both directions fail, the one that says most leads and the diagnosis of the other stands in its `also`.
    `alone`: see `diagnose`.
    """
    diagnoses = [_diagnosis(result, *failed, address, alone=alone) for failed in result.failures.items()]
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


def _diagnosis(
    result: Result, direction: Direction, failure: Failure, address: str, *, alone: bool = False
) -> dict[str, Any]:
    # The copy of a message belongs to sending, and it is the server for receiving that takes it.
    asked = Direction.INCOMING if failure.stage is StageName.COPY else direction
    leg = result.task.legs.get(asked)
    told = diagnose(
        failure.error,
        direction=direction,
        stage=failure.stage,
        server=leg.server if leg else None,
        user_name=leg.how.username if leg else "",
        address=address,
        alone=alone and (leg is None or isinstance(leg.how, Bearer)),
    )
    return told | {"fixes": [fix for fix in result.fixes if fix["direction"] == direction]}


def _record_health(session: Session, account: Account, result: Result) -> None:
    for direction in Direction:
        if direction in result.proved:
            accounts.record_success(session, account, direction=direction)
            if direction is Direction.INCOMING:
                hosts.let_in(session, account, accounts.server_of(account, direction))
        elif direction in result.task.broken and tokens.is_passing(result.failures[direction].error):
            continue  # The provider gave no token now; of the account nothing was learned.
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
