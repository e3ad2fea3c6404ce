"""What we write to owners of mailboxes and to those who asked them."""

from datetime import datetime

from sqlalchemy.orm import Session

from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account
from mailadmin.invites.models import Invite
from mailadmin.mail.types import SignInMethod
from mailadmin.notices import service as notices
from mailadmin.organisation import service as organisation
from mailadmin.permissions import Permission
from mailadmin.text import t

ABOUT = "invite:"


def about(invite: Invite) -> str:
    """What the notices with the link of `invite` are about."""
    return f"{ABOUT}{invite.id}"


def organisation_name(session: Session) -> str:
    """Who asks, in the words of a page or a letter."""
    return organisation.name(session) or t("your organisation")


def day(moment: datetime) -> str:
    """The day of `moment`, in words: 28 November."""
    return f"{moment.day} {moment:%B}"


def tells(session: Session) -> bool:
    """Whether whoever asked can be written to."""
    return system_mail.sender(session) is not None


def has_password(account: Account) -> bool:
    """Whether the mailbox is in use with a stored password, of which the owner's answer takes the place."""
    return account.is_set_up and account.method not in (None, SignInMethod.OAUTH)


def send_link(session: Session, invite: Invite, link: str, *, account: Account) -> None:
    """Owe the owner of `account` the link, once. Ring "notice" after the commit."""
    notices.forget(session, about(invite))
    who, company = invite.invited_by_name, organisation_name(session)
    purpose = t("so that its teams can answer its mail together.")
    if has_password(account):
        purpose = t("whose password is stored there today. This takes its place.")
    said = t(
        "Hello,\n\n"
        "{who} of {company} asks you to connect the mailbox {address},\n"
        "{purpose}\n"
        "This page explains what that means:\n\n"
        "{link}\n\n"
        "The link works once, until {day}. It is for you alone: whoever has\n"
        "it can answer in your place, so do not pass it on. If you do not\n"
        "want this, you can say so on the same page.\n\n"
        "Not expecting this? Call {company} before you go on.\n",
        who=who,
        company=company,
        address=invite.address,
        purpose=purpose,
        link=link,
        day=day(invite.expires_at),
    )
    subject = t("{who} asks you to connect {address}", who=who, address=invite.address)
    notices.put(session, recipient=invite.send_to, subject=subject, text=said, about=about(invite))


def tell_inviter(session: Session, invite: Invite, *, subject: str, news: str) -> bool:
    """Owe whoever asked a letter, if there is an account to send it through and they still work with accounts.

    Nobody is written to about what they have done themselves.
    """
    person = invite.invited_by if invite.serial else None
    can_act = person is not None and person.may(Permission.MANAGE_ACCOUNTS)
    if person is None or not can_act or system_mail.sender(session) is None:
        return False
    said = t("Hello {name},\n\n{news}\n", name=person.name, news=news)
    notices.put(session, recipient=person.email, subject=subject, text=said, about=f"news of {about(invite)}")
    return True
