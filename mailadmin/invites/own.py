"""What the owner of a personal account does who is signed in: connect it, connect it anew, ask an administrator.

It is the answer to the same question as with a connect link: a row of `invite`, tries that are counted, a password in a
sealed draft beside a test, an attempt at the provider, and an end that the clock writes down. Where an administrator
has sent a link that is what is answered; else the owner asks themselves, and nobody has a link. Such a question is good
for a day, so that a mailbox is tried at most MOST_TRIES times a day, and while somebody waits for help for a week.
"""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account
from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.invites import letters
from mailadmin.invites.models import Invite
from mailadmin.invites.progress import MOST_TRIES, REVOKED, end, has_expired, is_own, settle
from mailadmin.invites.ways import Way, way_of
from mailadmin.notices import service as notices
from mailadmin.people.models import Person
from mailadmin.permissions import Actor, Permission
from mailadmin.text import t

LIFE = timedelta(days=1)
LIFE_WITH_HELP = timedelta(days=7)
SILENCE = timedelta(days=1)  # between two letters about one mailbox
MOST_LETTERS = 20  # Nobody has more administrators who should hear of it.


def open_question(session: Session, account: Account) -> Invite | None:
    """The question about `account` that is not answered, an administrator's or its owner's; None if there is none."""
    return session.scalars(select(Invite).where(Invite.account_id == account.id, Invite.ended_at.is_(None))).first()


def way(session: Session, account: Account) -> Way | None:
    """How the owner of `account` can let us in; None while nobody can: then it is an administrator's turn."""
    try:
        return way_of(session, account)
    except RuleBroken:
        return None


def ask_oneself(session: Session, account: Account, *, person: Person, actor: Actor) -> Invite:
    """The open question about `account`, which is `person`'s own, locked: theirs now if it was nobody's or had run out.

    Raises RuleBroken if it was tried too often.
    """
    invite = open_question(session, account)
    if invite is not None:
        session.refresh(invite, with_for_update={"of": Invite})
        settle(session, invite)
    if invite is None or invite.ended_at is not None:
        return _new(session, account, person)
    if not has_expired(invite):
        return invite
    if not is_own(invite):
        what = f"ended the connect link of {invite.address}, which had run out"
        end(session, invite, REVOKED, actor=actor, what=what)
        return _new(session, account, person)
    said = "This was tried {n} times. Ask an administrator for help, or try again after {day}."
    raise RuleBroken(t(said, n=MOST_TRIES, day=letters.day(invite.expires_at)))


def ask_for_help(session: Session, account: Account, *, person: Person, actor: Actor) -> bool:
    """Tell the administrators that `person` cannot connect their own `account` alone. Ring "notice" after the commit.

    It stands on their pages for as long as they have not helped; whether they are also written to is the answer. Who
    asks once more within a day is not heard twice.
    """
    invite = open_question(session, account) or _new(session, account, person)
    session.refresh(invite, with_for_update={"of": Invite})
    if invite.asked_again_at is not None and now() - invite.asked_again_at < SILENCE:
        return notices.latest(session, _about(invite)) is not None
    invite.asked_again_at = now()
    if is_own(invite):
        invite.expires_at = now() + LIFE_WITH_HELP
    activity.record(session, actor, f"asked for help with connecting {account.address}", account_id=account.id)
    session.flush()
    return _write(session, invite, person)


def _new(session: Session, account: Account, person: Person) -> Invite:
    """A question without a link. Raises RuleBroken if somebody else asked in the same moment."""
    invite = Invite(
        account=account,
        address=account.address,
        serial=0,
        invited_by_id=person.id,
        invited_by_name=person.name,
        expires_at=now() + LIFE,
    )
    try:
        with session.begin_nested():
            session.add(invite)
    except IntegrityError as error:  # Two clicks at once; the unique index has the last word.
        raise RuleBroken(t("This was asked a moment ago. Look at the page once more.")) from error
    return invite


def _write(session: Session, invite: Invite, person: Person) -> bool:
    """Owe the administrators a letter, if there is an account to send it through."""
    if system_mail.sender(session) is None:
        return False
    active = session.scalars(select(Person).where(Person.deactivated_at.is_(None)).order_by(Person.id)).unique()
    helpers = [each for each in active if each.may(Permission.MANAGE_ACCOUNTS)][:MOST_LETTERS]
    for helper in helpers:
        said = t(
            "Hello {name},\n\n"
            "{who} ({email}) wants to connect the mailbox {address}\n"
            "as a personal account, and cannot do it alone.\n"
            "The account is on the list; go on with its set-up there.\n",
            name=helper.name,
            who=person.name,
            email=person.email,
            address=invite.address,
        )
        subject = t("{who} asks for help with {address}", who=person.name, address=invite.address)
        notices.put(session, recipient=helper.email, subject=subject, text=said, about=_about(invite))
    return bool(helpers)


def _about(invite: Invite) -> str:
    return f"help with {letters.about(invite)}"
