"""Connection tests: asked for by people, and what they show. Jobs take them through claims.py and end them through
endings.py."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer

from mailadmin.accounts import drafts
from mailadmin.accounts import service as accounts
from mailadmin.accounts.drafts import Change, Legs
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.connections import limits
from mailadmin.connections.claims import LOST_SECONDS, claim_due, give_back, note_stages
from mailadmin.connections.diagnosis import diagnose
from mailadmin.connections.endings import finish, forget_draft_check, forget_old_drafts, hosts_of, note_targets, summary
from mailadmin.connections.limits import spend_lookup
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.tokens import are_waiting as are_tokens_waiting
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction
from mailadmin.oauth.models import Attempt
from mailadmin.permissions import Actor
from mailadmin.text import t

__all__ = [
    "LOST_SECONDS",
    "are_tokens_waiting",
    "claim_due",
    "diagnose",
    "finish",
    "forget_draft_check",
    "forget_old_drafts",
    "get",
    "give_back",
    "history",
    "is_silent",
    "is_testable",
    "last_passed",
    "latest",
    "named_hosts",
    "note_stages",
    "of_attempt",
    "request_check",
    "request_draft_check",
    "request_many",
    "request_message",
    "request_other_login",
    "spend_lookup",
    "summary",
]

SILENT_SECONDS = 10.0


def get(session: Session, check_id: int) -> Check:
    """The check `check_id`. Raises NotFound."""
    check = session.get(Check, check_id)
    if check is None:
        raise NotFound(t("This test does not exist any more."))
    return check


def latest(session: Session, account_id: int) -> Check | None:
    """The newest check of the account, open or finished."""
    return session.scalars(_newest(account_id).limit(1)).first()


def last_passed(session: Session, account_id: int) -> Check | None:
    """The newest check of the account that passed; its folder list is what the server has."""
    return session.scalars(_newest(account_id).where(Check.outcome == CheckOutcome.PASSED).limit(1)).first()


def history(session: Session, account_id: int) -> Sequence[Check]:
    """The finished checks of the account that are kept, newest first."""
    kept = _newest(account_id).where(Check.finished_at.is_not(None)).options(defer(Check.folders))
    return session.scalars(kept).unique().all()


def named_hosts(session: Session, account_id: int) -> set[str]:
    """The host names that the newest check found in a certificate, tried, and offers."""
    check, found = latest(session, account_id), set()
    diagnosis = check.diagnosis if check else None
    while diagnosis:
        fixes = [fix["server"] for fix in diagnosis.get("fixes", ()) if fix["kind"] == "name"]
        found |= {accounts.parse_server(text).host for text in fixes}
        diagnosis = diagnosis.get("also")
    return found


def of_attempt(session: Session, attempt_id: int) -> Check | None:
    """The newest check of what this attempt to sign in with OAuth was granted."""
    query = select(Check).where(Check.attempt_id == attempt_id).order_by(Check.id.desc())
    return session.scalars(query.limit(1)).unique().first()


def is_silent(check: Check) -> bool:
    """Whether `check` waits longer than it should: no runner took it, or the one that did is gone."""
    if check.finished_at is not None or check.in_turn:
        return False
    since, seconds = (check.started_at, LOST_SECONDS) if check.started_at else (check.requested_at, SILENT_SECONDS)
    return now() - since > timedelta(seconds=seconds)


def request_check(session: Session, *, account: Account, actor: Actor) -> Check:
    """An open check of `account`: the one that there is, or a new one. Ring "check" after the commit.

    One that runs with settings that have changed since begins anew, and one that waits its turn waits no longer. Raises
    RuleBroken when its servers have never let it in and too many such tests were asked for.
    """
    check = _open(session, account.id)
    if check is None:
        return _new(session, account, actor)
    check.in_turn = False
    if check.account_version != account.version:  # Saving again and again is testing again and again.
        check.started_at, check.stages = None, []  # What the old child says is not believed any more, see Task.
        check.account_version, check.requested_at, check.requested_by = account.version, now(), actor.name
        _note_servers(check, account)
        _spend(session, account, check, actor)
    session.flush()
    return check


def is_testable(account: Account) -> bool:
    """Whether `account` has a server to receive from and something to sign in with; one that was begun may not."""
    return bool(accounts.server_of(account, Direction.INCOMING) and account.credential(Direction.INCOMING))


def request_many(session: Session, *, accounts_: Iterable[Account], actor: Actor) -> int:
    """Have many accounts tested, few at a time for each host; the answer is how many. Ring "check" after the commit."""
    asked = [account for account in accounts_ if is_testable(account)]
    new = [_new(session, account, actor, in_turn=True) for account in asked if _open(session, account.id) is None]
    unproved = [check for check in new if check.account and not _is_proved(session, check.account, check)]
    if unproved and actor.person_id is not None:  # However many accounts: one test of each host.
        limits.spend(session, actor=actor, hosts=[host for check in unproved for host in hosts_of(check)])
    return len(asked)


def request_message(session: Session, *, account: Account, recipient: str, awaits: bool, actor: Actor) -> Check:
    """A check that also sends a test message to `recipient`, and waits for it where it is the account's own address.

    Raises RuleBroken: at `recipient`, or when a test is running already.
    """
    try:
        recipient = accounts.check_address(recipient)
    except RuleBroken as broken:
        raise RuleBroken(broken.message, field="recipient") from broken
    if accounts.server_of(account, Direction.OUTGOING) is None:
        raise RuleBroken(t("This account has no server for sending."), field="recipient")
    awaits = awaits and recipient == account.address
    check = _new_alone(session, account, actor, message_to=recipient, awaits=awaits)
    what = f"sent a test message from {account.address}"
    activity.record(session, actor, what, detail=recipient, account_id=account.id)
    return check


def request_other_login(session: Session, *, account: Account, user_name: str, actor: Actor) -> Check:
    """A check of `account` under another user name; whatever comes of it, the account stays as it is.

    Raises RuleBroken when a test is running already.
    """
    return _new_alone(session, account, actor, user_name=accounts.check_line(user_name, name="user_name", most=254))


def request_draft_check(
    session: Session,
    *,
    legs: Legs,
    address: str,
    actor: Actor,
    change: Change | None = None,
    attempt: Attempt | None = None,
) -> Check:
    """A check of servers and credentials that are not saved; the secrets wait sealed. Ring "check" after the commit.

    When it passes, `change` is made, see endings.py; the credentials may be those of an `attempt`, which the provider
    has let in already. Raises RuleBroken when too many were asked for.
    """
    if attempt is None:
        limits.spend(session, actor=actor, hosts=[leg.server.host for leg in legs.values()])
    check = Check(draft=drafts.keep(session, legs, change), address=address, requested_by=actor.name, stages=[])
    check.attempt = attempt
    note_targets(check, legs)
    session.add(check)
    session.flush()
    return check


# The pieces of a request.


def _new_alone(session: Session, account: Account, actor: Actor, **wishes: Any) -> Check:
    if _open(session, account.id) is not None:
        raise RuleBroken(t("A test of this account is running. Wait for its end, then try again."))
    return _new(session, account, actor, **wishes)


def _new(session: Session, account: Account, actor: Actor, **wishes: Any) -> Check:
    check = Check(account_id=account.id, account_version=account.version, requested_by=actor.name, stages=[], **wishes)
    check.address = account.address
    _note_servers(check, account)
    if not check.in_turn:
        _spend(session, account, check, actor)
        # First the account, as jobs do that change it: in the other order PostgreSQL finds a deadlock.
        session.execute(select(Account.id).where(Account.id == account.id).with_for_update(read=True, key_share=True))
    try:
        with session.begin_nested():
            session.add(check)
    except IntegrityError:  # Somebody else clicked a moment earlier.
        found = _open(session, account.id)
        return found or _new(session, account, actor, **wishes)
    if not check.in_turn:
        activity.record(session, actor, f"tested the connection of {account.address}", account_id=account.id)
    session.flush()
    return check


def _note_servers(check: Check, account: Account) -> None:
    servers = {direction: accounts.server_of(account, direction) for direction in Direction}
    check.servers = {direction.value: str(server) for direction, server in servers.items() if server}
    names = {direction: accounts.user_name(account, Direction(direction)) for direction in check.servers}
    check.users = {direction: check.user_name or name for direction, name in names.items()}


def _spend(session: Session, account: Account, check: Check, actor: Actor) -> None:
    """Count `check`, unless it tests what has worked before and writes to nobody else."""
    to_others = check.message_to not in ("", None, account.address)
    if actor.person_id is not None and (to_others or not _is_proved(session, account, check)):
        limits.spend(session, actor=actor, hosts=hosts_of(check))


def _is_proved(session: Session, account: Account, check: Check) -> bool:
    """Whether these very servers have let this account in before, under the same user names."""
    query = select(Check.servers, Check.users).where(Check.account_id == account.id)
    passed = session.execute(query.where(Check.outcome == CheckOutcome.PASSED))
    return any((servers, users) == (check.servers, check.users) for servers, users in passed)


def _newest(account_id: int) -> Any:
    return select(Check).where(Check.account_id == account_id).order_by(Check.id.desc())


def _open(session: Session, account_id: int) -> Check | None:
    query = select(Check).where(Check.account_id == account_id, Check.finished_at.is_(None)).with_for_update(of=Check)
    return session.scalars(query).one_or_none()
