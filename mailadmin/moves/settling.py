"""What the clock does for moves: it writes down what has become of them, and begins the next ones, a few at a time.

A tick may run twice, and two clocks may overlap: rows are locked, and a move that was settled or begun is none to do.
"""

from collections.abc import Sequence

from sqlalchemy import CompoundSelect, Select, and_, func, or_, select, union_all
from sqlalchemy.orm import Session

from mailadmin import boot
from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account, Credential, Health
from mailadmin.db import now
from mailadmin.errors import MailAdminError, RuleBroken
from mailadmin.invites import service as invites
from mailadmin.invites.models import Invite
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.moves import ways
from mailadmin.moves.models import Move, MoveState, MoveWay
from mailadmin.moves.progress import Told, read
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, AttemptState
from mailadmin.permissions import Actor

AT_ONCE = 10  # attempts without a person, and letters to owners, of one tick
_STEP = 200  # moves that are settled in one tick


def settle(session: Session) -> list[str]:
    """Settle what may have changed and begin what waits; what to ring for after the commit. Repeatable."""
    for told in read(session, session.scalars(_unsettled().with_for_update(skip_locked=True, of=Move)).all()):
        write(session, told)
    return begin(session)


def is_due(session: Session) -> bool:
    """Whether `settle` would find something to do."""
    waits = select(Move.id).where(Move.state == MoveState.PREPARED).limit(1)
    return session.scalar(waits) is not None or session.scalar(_changed().limit(1)) is not None


def write(session: Session, told: Told) -> None:
    """Write down how a move is now."""
    move, invite_id = told.move, told.invite.id if told.invite else told.move.invite_id
    attempt_id = told.attempt.id if told.attempt else move.attempt_id
    if told.state is not move.state or told.reason != move.reason:
        move.state, move.reason, move.changed_at = told.state, told.reason, now()
        move.moved_at = now() if told.state is MoveState.MOVED else None
    move.attempt_id, move.invite_id = attempt_id, invite_id
    session.flush()


def begin(session: Session) -> list[str]:
    """Begin what was prepared, AT_ONCE at most; the answer is what to ring for after the commit."""
    running = select(func.count(Move.id)).where(Move.state == MoveState.TESTING, Move.way.in_(ways.ALONE))
    free = max(0, AT_ONCE - (session.scalar(running) or 0))
    rings: set[str] = set()
    for some, limit in ((ways.ALONE, free), ((MoveWay.OWNER,), AT_ONCE)):
        for move in session.scalars(_prepared(some, limit)).all():
            rings |= _begin(session, move)
    return sorted(rings)


def _prepared(some: Sequence[MoveWay], limit: int) -> Select[Move]:
    query = select(Move).join(Account, Account.id == Move.account_id)
    query = query.where(Move.state == MoveState.PREPARED, Move.way.in_(some), Account.deleting_at.is_(None))
    return query.order_by(Move.id).limit(limit).with_for_update(skip_locked=True, of=Move)


def _begin(session: Session, move: Move) -> set[str]:
    """Begin `move`; where that cannot be done, it failed and its account is as it was."""
    try:
        with session.begin_nested():
            account = accounts.get(session, move.account_id)
            app = oauth.app_of(session, account.provider)
            actor = Actor(move.requested_by, move.requested_by_id)
            public_url = boot.settings().public_url
            if account.provider and (missing := ways.why_not(account.provider, app, move.way, public_url)):
                raise RuleBroken(missing)
            move.changed_at = now()
            if move.way is MoveWay.OWNER:
                return _ask(session, move, account, actor, public_url)
            kind = ways.KIND[move.way]
            move.attempt = oauth.begin_alone(session, account, kind=kind, actor=actor, came_from="move")
            move.state = MoveState.TESTING
            session.flush()
            return {"token"}
    except MailAdminError as broken:
        move.state, move.reason, move.changed_at = MoveState.FAILED, broken.message, now()
        session.flush()
    return set()


def _ask(session: Session, move: Move, account: Account, actor: Actor, public_url: str) -> set[str]:
    send_to = account.address if system_mail.sender(session) else ""
    move.invite = invites.ask(session, account, send_to=send_to, actor=actor, public_url=public_url)
    move.state = MoveState.WAITING
    session.flush()
    return {"notice"} if send_to else set()


# What may have changed since it was written down. One short query for each way in which that can be: together in one
# condition PostgreSQL takes them for so dear that it compiles them first, which takes longer than they do.


def _changed() -> CompoundSelect[int]:
    is_tested = select(Move.id).where(Move.state == MoveState.TESTING)
    return union_all(is_tested, *_switched(), *_tried(), *_answered())


def _unsettled() -> Select[Move]:
    query = select(Move).join(Account, Account.id == Move.account_id)
    query = query.where(Account.deleting_at.is_(None), Move.id.in_(_changed()))
    return query.order_by(Move.changed_at, Move.id).limit(_STEP)


def _switched() -> tuple[Select[int], ...]:
    """It has OAuth and is not MOVED, or the other way round; one whose test failed waits until the account is well."""
    receives = (Credential.account_id == Move.account_id) & (Credential.direction == Direction.INCOMING)
    joined = select(Move.id).join(Credential, receives).join(Account, Account.id == Move.account_id)
    is_open = Move.state.not_in((MoveState.MOVED, MoveState.FAILED))
    is_well = and_(Move.state == MoveState.FAILED, Account.health == Health.HEALTHY)
    there = joined.where(Credential.method == SignInMethod.OAUTH, or_(is_open, is_well))
    back = joined.where(Credential.method != SignInMethod.OAUTH, Move.state == MoveState.MOVED)
    return there, back


def _tried() -> tuple[Select[int], ...]:
    """Somebody has tried since, at this page or at the account's."""
    since = (Attempt.account_id == Move.account_id) & (Attempt.created_at >= Move.created_at)
    joined = select(Move.id).join(Attempt, since).where(Move.way != MoveWay.OWNER)
    known = func.coalesce(Move.attempt_id, 0)
    goes_on = and_(Attempt.id == known, Attempt.state.not_in((AttemptState.DONE, AttemptState.REFUSED)))
    from_waiting = (Move.state == MoveState.WAITING, Attempt.id >= known, Attempt.state != AttemptState.WAITING)
    from_failed = (Move.state == MoveState.FAILED, or_(goes_on, Attempt.id > known))
    return joined.where(*from_waiting), joined.where(*from_failed)


def _answered() -> tuple[Select[int], ...]:
    """The owner's link has ended, run out or failed, is good again, or there is another one."""
    is_bad = or_(Invite.ended_at.is_not(None), Invite.problem != "", Invite.expires_at <= now())
    known = select(Move.id).join(Invite, Invite.id == Move.invite_id).where(Move.way == MoveWay.OWNER)
    is_open = (Invite.account_id == Move.account_id) & Invite.ended_at.is_(None)
    is_other = Invite.id != func.coalesce(Move.invite_id, 0)
    is_failed = (Move.way == MoveWay.OWNER, Move.state == MoveState.FAILED)
    return (
        known.where(Move.state == MoveState.WAITING, or_(is_bad, Invite.attempt_id.is_not(None))),
        known.where(Move.state == MoveState.FAILED, ~is_bad),
        select(Move.id).join(Invite, is_open).where(*is_failed, is_other),
    )
