"""Connect links as administrators see them: sending one, sending it again, taking it back, and how far it is.

A link is good for seven days and one mailbox. It stays open until the mailbox is connected, its owner says no, or an
administrator takes it back; what the owner does is in owner.py, how it ends in progress.py.
"""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.invites import letters, links
from mailadmin.invites.models import Invite
from mailadmin.invites.progress import (
    CONNECTED,
    REFUSED,
    REVOKED,
    call_off,
    end,
    has_expired,
    is_due,
    is_our_turn,
    is_own,
    settle,
    settle_all,
)
from mailadmin.invites.ways import Way, way_of
from mailadmin.notices import service as notices
from mailadmin.notices.models import Notice
from mailadmin.permissions import Actor
from mailadmin.text import t

__all__ = [
    "CONNECTED",
    "REFUSED",
    "REVOKED",
    "Way",
    "ask",
    "get_open",
    "has_expired",
    "is_due",
    "is_our_turn",
    "is_own",
    "latest",
    "link_of",
    "notice_of",
    "open_of",
    "resend",
    "revoke",
    "settle",
    "settle_all",
    "way_of",
    "why",
]

LIFE = timedelta(days=7)


def open_of(session: Session, account_id: int) -> Invite | None:
    """The link that the owner of the account has, also one that ran out; None if there is none, or it has ended."""
    return session.scalars(select(Invite).where(Invite.account_id == account_id, Invite.ended_at.is_(None))).first()


def get_open(session: Session, account_id: int) -> Invite:
    """As `open_of`. Raises NotFound."""
    invite = open_of(session, account_id)
    if invite is None:
        raise NotFound(t("This account has no connect link any more."))
    return invite


def latest(session: Session, account_id: int) -> Invite | None:
    """The newest link of the account, open or ended."""
    newest = select(Invite).where(Invite.account_id == account_id).order_by(Invite.id.desc()).limit(1)
    return session.scalars(newest).first()


def link_of(invite: Invite, public_url: str) -> str:
    """The whole link."""
    return f"{public_url}/c/{links.token_of(invite)}"


def notice_of(session: Session, invite: Invite) -> Notice | None:
    """The e-mail with the link, whatever became of it; None if it was handed over."""
    return notices.latest(session, letters.about(invite))


def ask(session: Session, account: Account, *, send_to: str, actor: Actor, public_url: str) -> Invite:
    """A connect link for the owner of `account`; the one that there is, sent again, if it is still open.

    It is sent to `send_to`, or with an empty one handed over by the administrator. Ring "notice" after the commit.
    Raises RuleBroken if the owner could not do anything with it, or at the field `send_to`.
    """
    send_to = _checked(session, send_to)
    way_of(session, account)
    invite = open_of(session, account.id)
    if invite is not None:
        invite.send_to = send_to
        resend(session, invite, actor=actor, public_url=public_url)
        return invite
    invite = Invite(
        account_id=account.id,
        address=account.address,
        send_to=send_to,
        invited_by_id=actor.person_id,
        invited_by_name=actor.name,
        expires_at=now() + LIFE,
    )
    try:
        with session.begin_nested():
            session.add(invite)
    except IntegrityError as error:  # Two clicks at once; the unique index has the last word.
        raise RuleBroken(t("Somebody else asked the owner a moment ago.")) from error
    _send(session, invite, actor, public_url)
    return invite


def resend(session: Session, invite: Invite, *, actor: Actor, public_url: str) -> None:
    """A new link for the same question, good for seven days; the old one is worth nothing from now on.

    Ring "notice" after the commit. Raises RuleBroken if the question has been answered.
    """
    session.refresh(invite, with_for_update={"of": Invite})
    settle(session, invite)
    if invite.ended_at is not None:
        raise RuleBroken(t("This link has ended. Ask the owner anew."))
    account = accounts.get(session, invite.account_id)
    way_of(session, account)
    call_off(session, invite)
    invite.address, invite.serial = account.address, invite.serial + 1
    invite.expires_at, invite.tries, invite.opened_at = now() + LIFE, 0, None
    invite.asked_again_at, invite.problem = None, ""
    invite.invited_by_id, invite.invited_by_name = actor.person_id, actor.name
    if invite.send_to:
        _checked(session, invite.send_to)
    _send(session, invite, actor, public_url)


def revoke(session: Session, invite: Invite, *, actor: Actor) -> None:
    """Take the link back; one that has ended is left alone."""
    session.refresh(invite, with_for_update={"of": Invite})
    settle(session, invite)
    if invite.ended_at is None:
        end(session, invite, REVOKED, actor=actor, what=f"took back the connect link of {invite.address}")


def why(invite: Invite) -> str:
    """How far the question is, a sentence or two for the lists."""
    if is_own(invite):
        return _why_own(invite)
    whom = invite.send_to or t("the owner")
    if invite.asked_again_at:
        return t("The link has run out, and {whom} asks for a new one.", whom=whom)
    if has_expired(invite):
        return t("The connect link has run out.")
    until = letters.day(invite.expires_at)
    if invite.problem:
        return t("The last try failed: {problem}", problem=invite.problem) if invite.tries else invite.problem
    if invite.opened_at:
        return t("The connect link was opened and not used yet. It runs out on {day}.", day=until)
    return t("The connect link was not opened yet. It runs out on {day}.", day=until)


def _why_own(invite: Invite) -> str:
    name, asks = invite.invited_by_name, is_our_turn(invite)
    if asks and not invite.problem:
        return t("{name} wants to connect it, and nobody knows its servers. Choose who runs the mailbox.", name=name)
    said = t("{name} asks for help with connecting it.", name=name) if asks else t("{name} connects it.", name=name)
    return f"{said} {t('The last try failed: {problem}', problem=invite.problem)}" if invite.problem else said


def _send(session: Session, invite: Invite, actor: Actor, public_url: str) -> None:
    account = accounts.get(session, invite.account_id)
    account.asked_owner_at = now()
    session.flush()
    how = t("by hand")
    if invite.send_to:
        letters.send_link(session, invite, link_of(invite, public_url), account=account)
        how = invite.send_to
    else:
        notices.forget(session, letters.about(invite))
    what = f"asked the owner of {account.address} to connect it"
    activity.record(session, actor, what, detail=how, account_id=account.id)
    session.flush()


def _checked(session: Session, send_to: str) -> str:
    """The address to send to, or empty. Raises RuleBroken at the field `send_to`."""
    if not send_to.strip():
        return ""
    if system_mail.sender(session) is None:
        said = t("No account is chosen to send e-mail from this console. Leave this empty and copy the link.")
        raise RuleBroken(said, field="send_to")
    return accounts.check_address(send_to, name="send_to")
