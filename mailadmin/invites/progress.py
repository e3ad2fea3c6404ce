"""How an owner's try goes on, and how the question of an invite ends.

Tests and attempts are ended by jobs on the floor below, which know no invites. So a page reads from them how far the
owner is, and `settle` writes it down: the clock asks for that, and whoever is about to change an invite.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, String, cast, literal, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.connections import attempts
from mailadmin.connections import service as connections
from mailadmin.connections.models import CheckOutcome
from mailadmin.db import now
from mailadmin.invites import letters
from mailadmin.invites.models import Invite
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction
from mailadmin.notices import service as notices
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import AttemptState
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.text import t

CONNECTED, REFUSED, REVOKED = "connected", "refused", "revoked"
IDLE, AWAY, ASKING, TESTING, FAILED = "idle", "away", "asking", "testing", "failed"
_OF_ATTEMPT = {
    attempts.AWAY: AWAY,
    attempts.ASKING: ASKING,
    attempts.TESTING: TESTING,
    attempts.CONNECTED: CONNECTED,
    attempts.LATE: IDLE,
}
MOST_TRIES = 20
_STEP = 200  # at a time


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the owner's last try is: IDLE, AWAY (at the provider), ASKING, TESTING, FAILED or CONNECTED.

    `diagnosis` is why it failed; `identity` is who signed in in place of the mailbox. `is_slow`: nobody has begun with
    it for a while.
    """

    stage: str
    diagnosis: dict[str, Any] | None = None
    identity: str = ""
    is_slow: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether something is done now, without the owner."""
        return self.stage in (ASKING, TESTING)


def progress(session: Session, invite: Invite) -> Progress:
    """How far the last try of `invite` is. Writes nothing."""
    if invite.attempt is not None:
        told = attempts.told(session, invite.attempt)
        stage = _OF_ATTEMPT.get(told.stage, FAILED)
        found = told.diagnosis or (told.check.diagnosis if told.check else None)
        identity = told.attempt.identity if told.stage == attempts.SOMEBODY_ELSE else ""
        is_slow = told.is_silent or (told.check is not None and connections.is_silent(told.check))
        return Progress(stage, found if stage == FAILED else None, identity, is_slow)
    check = invite.check
    if check is None:
        return Progress(IDLE)
    if check.finished_at is None:
        return Progress(TESTING, is_slow=connections.is_silent(check))
    if check.outcome is CheckOutcome.PASSED and check.account_id == invite.account_id:
        return Progress(CONNECTED)
    return Progress(FAILED, check.diagnosis)


def has_expired(invite: Invite) -> bool:
    """Whether the link has run out, by time or by tries."""
    return invite.expires_at <= now() or invite.tries >= MOST_TRIES


def is_own(invite: Invite) -> bool:
    """Whether nobody has a link, since the owner asks themselves (own.py)."""
    return not invite.serial


def is_our_turn(invite: Invite) -> bool:
    """Whether an administrator has to do something: send another link, or help an owner who asks for that."""
    if not is_own(invite):
        return invite.asked_again_at is not None or has_expired(invite)
    if invite.asked_again_at is None or invite.account.is_set_up:
        return False
    return bool(invite.problem) or invite.account.server(Direction.INCOMING) is None


def settle(session: Session, invite: Invite) -> None:
    """Write down what has become of `invite`, which nobody else changes meanwhile. Repeatable."""
    if invite.ended_at is not None:
        return
    account = session.get(Account, invite.account_id)
    if account is None or account.deleting_at is not None or account.address != invite.address:
        end(session, invite, REVOKED, actor=SYSTEM, what=f"ended the connect link of {invite.address}")
        return
    found = progress(session, invite)
    if found.stage == CONNECTED:
        _connect(session, invite)
        return
    if found.stage == FAILED:
        invite.problem = found.diagnosis["title"] if found.diagnosis else t("The connection test failed.")
    elif found.stage == IDLE:  # Nobody came back from the provider in time.
        invite.attempt = None
    if has_expired(invite) and not found.goes_on:
        account.asked_owner_at = None  # Nobody can be waited for.
        if is_own(invite) and invite.expires_at <= now():  # They left it at that, and begin anew when they like.
            invite.ended_at, invite.ending = now(), REVOKED
    session.flush()


def is_due(session: Session) -> bool:
    """Whether `settle_all` would have something to do."""
    return session.scalar(_unsettled().with_only_columns(Invite.id).limit(1)) is not None


def settle_all(session: Session) -> None:
    """Settle all that may have to be settled: those with a try, those that have run out or lost their account, and
    those whose letter nobody took."""
    query = _unsettled().order_by(Invite.id).limit(_STEP).with_for_update(skip_locked=True, of=Invite)
    for invite in session.scalars(query).unique().all():
        settle(session, invite)
        notice = notices.latest(session, letters.about(invite))
        has_failed = notice is not None and notices.is_given_up(notice)
        if notice is not None and has_failed and not invite.problem and invite.opened_at is None:
            invite.problem = t("The e-mail with the link was not sent. {why}", why=notice.problem)
    session.flush()


def call_off(session: Session, invite: Invite) -> None:
    """End what the owner has begun and not finished: whoever takes a link back does not want its answer."""
    attempt, check = invite.attempt, invite.check
    if attempt is not None and check is None:
        check = connections.of_attempt(session, attempt.id)
    if check is not None and check.finished_at is None and check.account_id is None:
        connections.forget_draft_check(session, check)
    if attempt is not None and attempt.state not in (AttemptState.DONE, AttemptState.REFUSED):
        said = t("The connect link was taken back, or sent anew.")
        oauth.refuse(session, attempt, MailError(Category.CONFIG, said))
    invite.attempt, invite.check = None, None
    session.flush()


def end(session: Session, invite: Invite, ending: str, *, actor: Actor, what: str) -> None:
    """The question is answered; `what` stands in the activity."""
    if ending != CONNECTED:
        call_off(session, invite)
    invite.ended_at, invite.ending = now(), ending
    notices.take_back(session, letters.about(invite))
    account = session.get(Account, invite.account_id)
    if account is not None:
        account.asked_owner_at = None
    activity.record(session, actor, what, account_id=invite.account_id)
    session.flush()


def owner_of(invite: Invite, address: str = "") -> Actor:
    """Whoever holds the link, as the activity names them; `address` is where they came from."""
    return Actor(t("The owner of {address}", address=invite.address)[:200], None, address)


def _unsettled() -> Select[Invite]:
    has_run_out = (Invite.expires_at <= now()) | (Invite.tries >= MOST_TRIES)
    was_tried = Invite.check_id.is_not(None) | Invite.attempt_id.is_not(None)
    is_of_nothing = Account.deleting_at.is_not(None) | (Account.address != Invite.address)
    about = literal(letters.ABOUT) + cast(Invite.id, String)
    was_not_sent = Invite.opened_at.is_(None) & notices.gave_up_on(about)
    waits = (Account.asked_owner_at.is_not(None) & has_run_out) | is_of_nothing
    waits |= (Invite.serial == 0) & (Invite.expires_at <= now())
    waits |= (Invite.problem == "") & (was_tried | was_not_sent)
    return select(Invite).join(Account, Account.id == Invite.account_id).where(Invite.ended_at.is_(None), waits)


def _connect(session: Session, invite: Invite) -> None:
    account = session.get(Account, invite.account_id)
    sets_itself_up = account is not None and not account.is_set_up
    if account is not None and sets_itself_up and account.wanted_folders is None:
        account.wanted_folders = ""  # The usual choice: nobody has to come back for mail to be read.
    by = Actor(invite.invited_by_name, invite.invited_by_id) if is_own(invite) else owner_of(invite)
    what = f"connected {invite.address}{'' if is_own(invite) else ' by connect link'}"
    end(session, invite, CONNECTED, actor=by, what=what)
    said = t("The owner of {address} has connected it, and the connection test passed.", address=invite.address)
    if sets_itself_up:
        more = t("Its usual folders are read by themselves from now on; you can change them at any time.")
        said = f"{said} {more}"
    subject = t("{address} is connected", address=invite.address)
    letters.tell_inviter(session, invite, subject=subject, news=said)
