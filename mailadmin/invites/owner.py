"""What the owner of a mailbox does with a connect link: try to connect, say no, ask for a new one.

Nothing here needs a session, and nothing it answers says more of the account than its address. Whoever is signed in and
looks after a mailbox of their own tries in the same way, see own.py. A password goes into a
sealed draft beside a connection test, and into the account when that test has passed; no administrator is asked.
"""

from dataclasses import replace

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.drafts import Change
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import Login
from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.invites import letters
from mailadmin.invites.models import Invite
from mailadmin.invites.progress import (
    CONNECTED,
    MOST_TRIES,
    REFUSED,
    REVOKED,
    end,
    has_expired,
    owner_of,
    progress,
    settle,
)
from mailadmin.invites.ways import Way, way_of
from mailadmin.mail.types import Direction
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Actor
from mailadmin.sealed import Secret
from mailadmin.text import t

GOOD, EXPIRED = "good", "expired"


def standing(session: Session, invite: Invite) -> str:
    """What the link is good for: GOOD, EXPIRED, or how it has ended: CONNECTED, REFUSED, REVOKED. Writes nothing.

    It is good for one address: that of the account when the link was made.
    """
    if invite.ended_at is not None:
        return invite.ending
    account = session.get(Account, invite.account_id)
    if account is None or account.deleting_at is not None or account.address != invite.address:
        return REVOKED
    found = progress(session, invite)
    if found.stage == CONNECTED:
        return CONNECTED
    return EXPIRED if has_expired(invite) and not found.goes_on else GOOD


def asked_way(session: Session, invite: Invite) -> Way | None:
    """How the owner can let us in, or None while nobody can: then it is an administrator's turn."""
    try:
        return way_of(session, invite.account)
    except RuleBroken:
        return None


def note_opened(session: Session, invite: Invite) -> None:
    """Somebody has looked at the page."""
    if invite.opened_at is None:
        invite.opened_at = now()
        session.flush()


def try_password(session: Session, invite: Invite, *, password: str, actor: Actor, seen: str = "") -> None:
    """Test `password`; the account takes it when the test has passed. Ring "check" after the commit.

    `invite` is locked. While a try goes on, another is not begun. Raises RuleBroken, perhaps at the field `password`:
    also if `seen` says that the page has named other servers, so that nobody can change them behind the owner's back.
    """
    if not _may_try(session, invite):
        return
    account = invite.account
    way = way_of(session, account)
    if seen and seen != way.seen:
        said = t("The servers have changed since you opened this page. Look at them, then type the password again.")
        raise RuleBroken(said, field="password")
    secret = accounts.check_password(Secret(password), name="password")
    own = account.credential(Direction.INCOMING)
    login = Login(own.username if own else "", secret, way.method)
    wish = replace(accounts.wish_of(account), login=login)
    legs = accounts.legs_if(session, account, wish=wish, version=account.version)
    change = Change(account.id, account.version, wish, actor)
    _note_try(session, invite)
    invite.check = connections.request_draft_check(
        session, legs=legs, address=account.address, actor=actor, change=change
    )
    session.flush()


def begin_oauth(session: Session, invite: Invite, *, binder: str, public_url: str, actor: Actor) -> str:
    """Begin to sign in at the provider: where the browser has to go; empty while a try goes on already.

    `invite` is locked. Raises RuleBroken.
    """
    if not _may_try(session, invite):
        return ""
    chooses = bool(progress(session, invite).identity)  # Somebody else was signed in there the last time.
    _note_try(session, invite)
    invite.attempt, address = oauth.begin(
        session,
        invite.account,
        binder=binder,
        actor=actor,
        came_from=oauth.OWNERS,
        public_url=public_url,
        chooses=chooses,
    )
    session.flush()
    return address


def refuse(session: Session, invite: Invite, *, from_address: str) -> None:
    """The owner does not want it: whoever asked is told. `invite` is locked. Raises RuleBroken if it has ended."""
    _check_open(session, invite)
    actor = owner_of(invite, from_address)
    end(session, invite, REFUSED, actor=actor, what=f"does not want to connect {invite.address}")
    said = t("The owner of {address} has answered your connect link: they do not want this.", address=invite.address)
    subject = t("{address} will not be connected", address=invite.address)
    letters.tell_inviter(session, invite, subject=subject, news=said)


def ask_again(session: Session, invite: Invite, *, from_address: str) -> None:
    """The owner found the link run out and wants another; told once. `invite` is locked. Raises RuleBroken."""
    if standing(session, invite) != EXPIRED:
        raise RuleBroken(t("This link has not run out. Open it once more."))
    if invite.asked_again_at is not None:
        return
    invite.asked_again_at = now()
    said = t(
        "The owner of {address} opened the connect link after it had run out, and asks for a new one.\n"
        "You find it on the page of the account.",
        address=invite.address,
    )
    subject = t("{address}: a new link is asked for", address=invite.address)
    letters.tell_inviter(session, invite, subject=subject, news=said)
    session.flush()


def _may_try(session: Session, invite: Invite) -> bool:
    """Whether a new try may begin; False while one goes on. Raises RuleBroken if the link is worth nothing any more."""
    _check_open(session, invite)
    if progress(session, invite).goes_on:
        return False
    if has_expired(invite):
        raise RuleBroken(t("This link has run out."))
    return True


def _check_open(session: Session, invite: Invite) -> None:
    settle(session, invite)
    if standing(session, invite) not in (GOOD, EXPIRED):
        raise RuleBroken(t("This link has ended."))


def _note_try(session: Session, invite: Invite) -> None:
    """Count a try, and forget the one before."""
    assert invite.tries < MOST_TRIES
    invite.tries += 1
    invite.attempt, invite.check, invite.problem = None, None, ""
    session.flush()
