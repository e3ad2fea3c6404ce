"""How far moves are: worked out from accounts, attempts, tests and links, which are ended by jobs that know no moves.

What is read here is what pages show; settling.py writes the same down, so that lists can be filtered and counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.db import now
from mailadmin.invites import service as invites
from mailadmin.invites.models import Invite
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.moves.models import Move, MoveState, MoveWay
from mailadmin.moves.ways import ALONE
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, AttemptState, KeptPassword
from mailadmin.providers.models import Provider
from mailadmin.text import t

PAGE = 50


@dataclass(frozen=True, slots=True)
class Told:
    """One move as it is now: `state`, why it failed, and what to do about it first.

    `attempt` is the last one since the move was prepared, `is_away`: somebody is at the provider with it right now;
    `kept` is the old password as long as there is one, `days` how many days that is.
    """

    move: Move
    account: Account
    state: MoveState
    reason: str = ""
    advice: str = ""
    attempt: Attempt | None = None
    invite: Invite | None = None
    kept: KeptPassword | None = None

    @property
    def is_away(self) -> bool:
        """Whether somebody was sent to the provider and is not back."""
        return _is_away(self.attempt)

    @property
    def days(self) -> int:
        """How many days, begun ones too, the old password is still kept."""
        return max(0, -((now() - self.kept.ends_at).days)) if self.kept else 0

    @property
    def has_switched(self) -> bool:
        """Whether the account signs in with OAuth now, tested or not."""
        return self.account.method is SignInMethod.OAUTH

    @property
    def health(self) -> str:
        """The state of the account itself."""
        return accounts.state_of(self.account)

    @property
    def invite_words(self) -> str:
        """How far the owner's link is."""
        return invites.why(self.invite) if self.invite else ""


@dataclass(frozen=True, slots=True)
class Found:
    """One page of moves: `rows` on `page` (from 1) of `pages`; `numbers` counts every state at the same provider."""

    rows: Sequence[Told]
    numbers: dict[MoveState, int]
    total: int
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // PAGE))

    @property
    def first(self) -> int:
        """The number of the first row on this page, from 1."""
        return (self.page - 1) * PAGE + 1

    @property
    def everything(self) -> int:
        """How many moves there are in all states."""
        return sum(self.numbers.values())

    @property
    def every(self) -> int:
        """Seconds until the page looks again: soon while something is done, 0 when nothing can change by itself."""
        if self.numbers[MoveState.PREPARED] or self.numbers[MoveState.TESTING]:
            return 3
        return 15 if self.numbers[MoveState.WAITING] else 0


def find(session: Session, *, state: MoveState | None = None, provider_id: int | None = None, page: int = 1) -> Found:
    """A page of moves, the newest news first; a page beyond the last one is the last one."""
    numbers = tallies(session, provider_id)
    total = sum(numbers.values()) if state is None else numbers[state]
    page = min(max(page, 1), max(1, -(-total // PAGE)))
    query = select(Move).join(Account, Account.id == Move.account_id).where(Account.deleting_at.is_(None))
    if state is not None:
        query = query.where(Move.state == state)
    if provider_id is not None:
        query = query.where(Account.provider_id == provider_id)
    ordered = query.order_by(Move.changed_at.desc(), Account.address).limit(PAGE).offset((page - 1) * PAGE)
    rows = read(session, session.scalars(ordered).all())
    for told in rows:  # What is not written down yet is counted as its row tells it.
        numbers[told.move.state] -= 1
        numbers[told.state] += 1
    return Found(rows, numbers, total, page)


def tallies(session: Session, provider_id: int | None = None) -> dict[MoveState, int]:
    """How many moves of live accounts are in which state."""
    query = select(Move.state, func.count()).join(Account, Account.id == Move.account_id)
    query = query.where(Account.deleting_at.is_(None)).group_by(Move.state)
    if provider_id is not None:
        query = query.where(Account.provider_id == provider_id)
    return dict.fromkeys(MoveState, 0) | dict(session.execute(query).all())


def provider_names(session: Session) -> list[tuple[int, str]]:
    """Id and name of the providers where something was ever moved, by name."""
    query = select(Provider.id, Provider.name).join(Account, Account.provider_id == Provider.id)
    found = session.execute(query.join(Move, Move.account_id == Account.id).distinct())
    return sorted(((id_, name) for id_, name in found), key=lambda row: row[1].casefold())


def read(session: Session, moves: Sequence[Move]) -> list[Told]:
    """How these moves are now, in their order; read for all of them together."""
    ids = [move.account_id for move in moves]
    found = {a.id: a for a in session.scalars(_of(Account, Account.id, ids)).unique()}
    kept = {row.account_id: row for row in session.scalars(_of(KeptPassword, KeptPassword.account_id, ids))}
    links = {row.account_id: row for row in session.scalars(_newest(Invite, ids).options(joinedload(Invite.attempt)))}
    tried = {row.account_id: row for row in session.scalars(_newest(Attempt, ids))}
    known = {*tried.values(), *(link.attempt for link in links.values() if link.attempt)}
    tests = {c.attempt_id: c for c in session.scalars(_of(Check, Check.attempt_id, [a.id for a in known])).unique()}
    return [
        _told(move, found[move.account_id], tried, links, tests, kept.get(move.account_id))
        for move in moves
        if move.account_id in found
    ]


def _told(
    move: Move,
    account: Account,
    tried: dict[int, Attempt],
    links: dict[int, Invite],
    tests: dict[int | None, Check],
    kept: KeptPassword | None,
) -> Told:
    link = links.get(account.id)
    invite = link if move.way is MoveWay.OWNER and link and (link.id == move.invite_id or not link.ended_at) else None
    is_owners = move.way is MoveWay.OWNER and account.method is not SignInMethod.OAUTH
    attempt = (invite.attempt if invite else None) if is_owners else tried.get(account.id)
    if attempt is not None and attempt.created_at < move.created_at:
        attempt = None
    check = tests.get(attempt.id) if attempt else None
    state, reason, advice = _state(move, account, attempt, check, invite)
    return Told(move, account, state, reason, advice, attempt, invite, kept)


def _state(
    move: Move, account: Account, attempt: Attempt | None, check: Check | None, invite: Invite | None
) -> tuple[MoveState, str, str]:
    """The state, why it failed, and what to do first."""
    if account.method is SignInMethod.OAUTH:
        return _switched(move, account, check)
    if move.state in (MoveState.MOVED, MoveState.ROLLED_BACK):
        return MoveState.ROLLED_BACK, "", ""
    if move.state is MoveState.PREPARED:
        return MoveState.PREPARED, "", ""
    if attempt is not None and attempt.state in (AttemptState.ANSWERED, AttemptState.GRANTED):
        return MoveState.TESTING, "", ""
    if attempt is not None and attempt.state is AttemptState.REFUSED:
        return MoveState.FAILED, *_why(move, account, attempt, check)
    if move.way is MoveWay.OWNER:
        return _asked(move, invite)
    if move.way is MoveWay.SIGN_IN:
        return MoveState.WAITING, "", ""
    return move.state, move.reason, ""


def _switched(move: Move, account: Account, check: Check | None) -> tuple[MoveState, str, str]:
    """The state of a move whose account has the grant. Whoever had nothing to lose takes it before its test."""
    if move.state is not MoveState.MOVED and check is not None:
        if check.finished_at is None:
            return MoveState.TESTING, "", ""
        if check.outcome is CheckOutcome.FAILED and account.health is not Health.HEALTHY:
            return MoveState.FAILED, *_of_diagnosis(check.diagnosis)
    return MoveState.MOVED, "", ""


def _asked(move: Move, invite: Invite | None) -> tuple[MoveState, str, str]:
    """The state of a move that its owner was asked for, and did not finish."""
    if invite is None:
        said = move.reason or t("The connect link of the owner is gone.")
        return MoveState.FAILED, said, ""
    if invite.ending == invites.REFUSED:
        return MoveState.FAILED, t("The owner does not want this."), t("Talk to them before you ask again.")
    if invite.ended_at is not None:
        return MoveState.FAILED, t("The connect link was taken back."), ""
    if invites.has_expired(invite):
        return MoveState.FAILED, invites.why(invite), ""
    if invite.problem:
        advice = t("The owner was told what to do, and the link stays good. Ask them, or send a new one.")
        return MoveState.FAILED, invite.problem, advice
    return MoveState.WAITING, "", ""


def _why(move: Move, account: Account, attempt: Attempt, check: Check | None) -> tuple[str, str]:
    """Why `attempt` came to nothing, and the one thing to do: as the test says it, else as the catalogue does."""
    if check is not None and check.diagnosis:
        reason, advice = _of_diagnosis(check.diagnosis)
        if move.way in ALONE and check.category in (Category.OAUTH, Category.AUTH):  # The token itself was granted.
            advice = t("Let the app into this mailbox at the provider. “Verify set-up” tests that step by step.")
        return reason, advice
    found = connections.diagnose(
        oauth.failure_of(attempt),
        direction=Direction.INCOMING,
        server=accounts.server_of(account, Direction.INCOMING),
        user_name=accounts.user_name(account, Direction.INCOMING),
        address=account.address,
    )
    return _of_diagnosis(found)


def _of_diagnosis(found: dict[str, Any] | None) -> tuple[str, str]:
    found = found or {}
    return found.get("title") or t("The connection test failed."), next(iter(found.get("action") or []), "")


def _is_away(attempt: Attempt | None) -> bool:
    return attempt is not None and attempt.state is AttemptState.WAITING and attempt.expires_at > now()


def _of(table: Any, column: Any, values: Iterable[int]) -> Any:
    return select(table).where(column.in_(list(values))).order_by(table.id)  # The newest comes last, and stays.


def _newest(table: Any, account_ids: Sequence[int]) -> Any:
    newest = select(func.max(table.id)).where(table.account_id.in_(account_ids)).group_by(table.account_id)
    return select(table).where(table.id.in_(newest))
