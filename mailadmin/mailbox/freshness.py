"""Whether an open page of a mailbox has become old: what it was made of, as a short mark, and how often it asks."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.db import now
from mailadmin.people.models import Person
from mailadmin.sync.models import ChangeState, Folder, PendingChange
from mailadmin.writing.models import OutgoingMessage, Progress

# Somebody who has just come sees new mail at once; a page that was forgotten asks seldom.
PACES = ((timedelta(minutes=5), 1), (timedelta(minutes=30), 5))
SLOWEST = 20  # seconds
_LARGE = 2**31 - 1  # a sum of what HIGHESTMODSEQ may be (RFC 7162: 63 bits) would be too large for a column


def mark(session: Session, account: Account, person: Person) -> str:
    """What changes when anything does that a page of the account's mail shows `person`.

    That is: what the last runs left in its folders, what waits to be told, how many drafts the person has and how
    far those are, and when a run has ended, for texts come after their messages.
    """
    counted = func.count(), func.sum(Folder.stored), func.sum(Folder.unread), func.sum(Folder.generation)
    server = func.sum(func.coalesce(Folder.uidnext, 0)), func.sum(func.coalesce(Folder.modseq, 0) % _LARGE)
    folders = select(*counted, *server).where(Folder.account_id == account.id, Folder.is_active)
    mine = OutgoingMessage.account_id == account.id, OutgoingMessage.person_id == person.id, OutgoingMessage.version > 1
    drafts = select(OutgoingMessage.progress, func.count()).where(*mine, OutgoingMessage.progress != Progress.SENT)
    wishes = select(func.count(), func.max(PendingChange.id)).where(
        PendingChange.account_id == account.id, PendingChange.state == ChangeState.WAITING
    )
    far = sorted((progress.value, n) for progress, n in session.execute(drafts.group_by(OutgoingMessage.progress)))
    facts = (*session.execute(folders).one(), *session.execute(wishes).one(), *far, account.synced_at)
    return hashlib.blake2s("|".join(map(str, facts)).encode(), digest_size=8).hexdigest()


def pace(since: datetime) -> int:
    """Every how many seconds a page asks on which nothing has changed `since`."""
    age = now() - since
    return next((seconds for until, seconds in PACES if age < until), SLOWEST)
