"""Leaving passwords: what is left, moving accounts to OAuth, how far that is, and the way back.

A move only asks for a grant. The account is changed by the test of that grant (connections/granted.py): one that fails
leaves it as it was.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.invites import service as invites
from mailadmin.mail.types import SignInMethod
from mailadmin.moves.campaign import Preview, Wish, first_state, prepare, preview
from mailadmin.moves.legacy import PAGE, Candidate, Report, by_method, candidates, count, report
from mailadmin.moves.models import Move, MoveState
from mailadmin.moves.progress import Found, Told, find, provider_names, read, tallies
from mailadmin.moves.settling import begin, is_due, settle, write
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Actor
from mailadmin.text import t

__all__ = [
    "PAGE",
    "Candidate",
    "Found",
    "Preview",
    "Report",
    "Told",
    "Wish",
    "begin",
    "begin_again",
    "by_method",
    "candidates",
    "count",
    "destroy_password",
    "drop",
    "find",
    "get",
    "is_due",
    "prepare",
    "preview",
    "provider_names",
    "report",
    "roll_back",
    "settle",
    "tallies",
]


def get(session: Session, move_id: int) -> Move:
    """The move `move_id`, which nobody else changes meanwhile. Raises NotFound."""
    move = session.get(Move, move_id, with_for_update={"of": Move}, populate_existing=True)
    if move is None:
        raise NotFound(t("This account is not among those that are moved any more."))
    return move


def begin_again(session: Session, move: Move, *, actor: Actor) -> None:
    """Try a move once more in the way that it had; an owner who waits gets a new link. The clock begins it.

    Raises RuleBroken if it goes on by itself, or is done.
    """
    (told,) = read(session, [move])
    write(session, told)
    is_asked_anew = move.state is MoveState.WAITING and move.invite_id is not None
    if not (is_asked_anew or move.state in (MoveState.FAILED, MoveState.ROLLED_BACK)) or told.has_switched:
        raise RuleBroken(t("{address} goes on by itself, or is moved already.", address=told.account.address))
    move.state, move.reason, move.attempt, move.invite = first_state(move.way), "", None, None
    move.requested_by, move.requested_by_id = actor.name, actor.person_id
    move.created_at, move.changed_at, move.moved_at = now(), now(), None
    session.flush()


def drop(session: Session, move: Move, *, actor: Actor) -> str:
    """Take an account out: it keeps its password, and the link of its owner is taken back. The answer is its address.

    Raises RuleBroken if it was moved, or is being tested.
    """
    (told,) = read(session, [move])
    if told.has_switched or told.state is MoveState.TESTING:
        raise RuleBroken(t("{address} is moved already, or being tested right now.", address=told.account.address))
    if told.invite is not None:
        invites.revoke(session, told.invite, actor=actor)
    session.delete(move)
    what = f"took {told.account.address} out of those that leave their passwords"
    activity.record(session, actor, what, account_id=told.account.id)
    session.flush()
    return told.account.address


def roll_back(session: Session, account: Account, *, actor: Actor) -> None:
    """Let `account` sign in with its old password again, and have that tested. Ring "check" after the commit.

    Raises RuleBroken if it does so already, or the password is gone or was for other servers.
    """
    session.refresh(account, with_for_update={"of": Account})
    if account.method is not SignInMethod.OAUTH:
        raise RuleBroken(t("{address} signs in with a password already.", address=account.address))
    oauth.restore_password(session, account, actor=actor)
    move = session.scalar(select(Move).where(Move.account_id == account.id).with_for_update(of=Move))
    if move is not None:
        move.state, move.reason, move.changed_at, move.moved_at = MoveState.ROLLED_BACK, "", now(), None
    session.flush()
    if connections.is_testable(account):
        connections.request_check(session, account=account, actor=Actor(actor.name))


def destroy_password(session: Session, account: Account, *, actor: Actor) -> None:
    """Destroy the old password of `account` before its days are over. Raises RuleBroken if it is gone already."""
    session.refresh(account, with_for_update={"of": Account})
    if oauth.kept_password(session, account.id) is None:
        raise RuleBroken(t("There is no old password of {address} any more.", address=account.address))
    oauth.forget_kept(session, account.id)
    activity.record(session, actor, f"destroyed the old password of {account.address}", account_id=account.id)
    session.flush()
