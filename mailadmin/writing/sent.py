"""What follows when a message was sent: the copy in Sent, the mark of what it answers, and what is kept here."""

from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailadmin.access import service as access
from mailadmin.accounts.models import Account, Kind
from mailadmin.activity import service as activity
from mailadmin.connections.copies import filing_of
from mailadmin.db import now
from mailadmin.errors import MailAdminError, RuleBroken
from mailadmin.mail.types import Role
from mailadmin.permissions import Actor
from mailadmin.sync import changes
from mailadmin.sync.models import Folder, Message, SyncRun
from mailadmin.sync.new_folders import wish_role
from mailadmin.writing.models import Intent, OutgoingFile, OutgoingMessage, Progress


def note(session: Session, account: Account, outgoing: OutgoingMessage, copy: Callable[[], bytes]) -> SyncRun | None:
    """`outgoing` was sent as `account`; answers the run that tells the server, to be rung for after the commit.

    `copy` makes what is filed in Sent, where the account wants that.
    """
    content, actor = None, Actor(outgoing.person.name, outgoing.person_id)
    if not filing_of(account).skipped:
        with suppress(RuleBroken):  # It cannot be written any more, which is no reason to say that it was not sent.
            content = copy()  # While the files are here.
    end(session, outgoing)
    if account.kind is not Kind.PERSONAL:  # Whose name stands in it, several people may have written.
        activity.record(session, actor, f"sent a message as {account.address}", account_id=account.id)
    if content is not None:
        with suppress(RuleBroken):  # Too large for a copy.
            _file(session, account, outgoing, content, actor)
    session.flush()
    _mark_answered(session, outgoing, actor)
    return hurried(session, account, outgoing)


def end(session: Session, outgoing: OutgoingMessage) -> None:
    """It was sent: its text is kept for a while, and what its files hold is forgotten."""
    outgoing.progress, outgoing.problem, outgoing.sent_at = Progress.SENT, "", now()
    outgoing.next_try_at = outgoing.started_at = None
    outgoing.version += 1
    contents = update(OutgoingFile).where(OutgoingFile.outgoing_id == outgoing.id).values(content=None)
    session.execute(contents.execution_options(synchronize_session=False))
    session.flush()


def _file(session: Session, account: Account, outgoing: OutgoingMessage, copy: bytes, actor: Actor) -> None:
    filing = filing_of(account)
    folder = _sent_folder(session, account, filing.folder)
    changes.file_copy(
        session,
        account,
        folder=folder,
        content=copy,
        subject=outgoing.subject,
        actor=actor,
        unless_there=filing.unless_there,
    )


def _sent_folder(session: Session, account: Account, path: str) -> Folder:
    """The one in use, or one that the next run creates."""
    query = select(Folder).where(Folder.account_id == account.id, Folder.is_gone.is_(False), Folder.locked == "")
    found = session.scalars(query.order_by(Folder.id)).all()
    chosen = [folder for folder in found if path and folder.path == path]
    chosen += [folder for folder in found if folder.role is Role.SENT]
    return chosen[0] if chosen else wish_role(session, account, Role.SENT)


def _mark_answered(session: Session, outgoing: OutgoingMessage, actor: Actor) -> None:
    """Mark what was answered, if it is there still and the person may change it; the account may be another one."""
    if outgoing.intent is not Intent.REPLY or outgoing.about_id is None:
        return
    where = select(Account).join(Folder, Folder.account_id == Account.id).join(Message, Message.folder_id == Folder.id)
    account = session.scalars(where.where(Message.id == outgoing.about_id)).unique().one_or_none()
    if account is not None and access.may_write(session, outgoing.person, account):
        with suppress(MailAdminError):
            changes.mark(session, account, messages=[outgoing.about_id], flag="answered", is_set=True, actor=actor)


def hurried(session: Session, account: Account, outgoing: OutgoingMessage) -> SyncRun | None:
    """The run that brings the copy to the server, or finds out what became of the message."""
    return changes.hurry(session, account, requested_by=outgoing.person.name)
