"""What the pages of a mailbox need to offer changes, and to tell what became of them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.access.service import Rights, rights
from mailadmin.accounts.models import Account, Health
from mailadmin.db import now
from mailadmin.mailbox.action_forms import ActForm
from mailadmin.people.models import Person
from mailadmin.sync import changes
from mailadmin.sync.folders import in_order, seen, stored
from mailadmin.sync.models import ChangeKind, Folder, Message, PendingChange
from mailadmin.text import t
from mailadmin.writing import service as writing
from mailadmin.writing.models import OutgoingMessage, Progress

PATIENCE = timedelta(seconds=10)  # in which the server usually knows; nobody has to be told before


def context(session: Session, account: Account, person: Person, *, here: str) -> dict[str, Any]:
    """What `mailbox/_actions.html`, `_bulk.html` and `_changes.html` need, under the one key `act`.

    `here` is the address of the page, to which an action comes back.
    """
    folders = targets(session, account)
    waiting = changes.waiting(session, account.id)
    untold = changes.untold(session, account.id, person_id=person.id)
    may = rights(session, person, account)
    is_late = any(change.requested_at < now() - PATIENCE for change in waiting)
    return {
        "act": {
            "may_write": may in (Rights.WRITE, Rights.SEND),
            "may_send": may is Rights.SEND,
            "why_not_send": writing.why_not(account),
            "drafts": writing.count(session, person, account.id),
            "why_not": changes.why_not(account),
            "one": ActForm(folders, prefix="one-"),
            "many": ActForm(folders),
            "trash_id": next((folder.id for folder in folders if folder.role == "trash"), None),
            "waiting": len(waiting),
            "says_waiting": bool(waiting) and (is_late or account.health not in (Health.NEW, Health.HEALTHY)),
            "untold": changes.summary(untold),
            "untold_subjects": [change.subject for change in untold if change.subject][:3],
            "up_to": max((change.id for change in untold), default=0),
            "here": here,
        }
    }


def written_about(session: Session, person: Person, message_id: int) -> Sequence[OutgoingMessage]:
    """What `person` wrote about a message: what they sent, and what they are still writing; the oldest first."""
    mine = OutgoingMessage.person_id == person.id, OutgoingMessage.about_id == message_id
    is_touched = (OutgoingMessage.version > 1) | (OutgoingMessage.progress == Progress.SENT)
    return session.scalars(select(OutgoingMessage).where(*mine, is_touched).order_by(OutgoingMessage.id)).all()


def has_more_recipients(account: Account, message: Message) -> bool:
    """Whether an answer to everybody goes to more people than one to the sender."""
    own = {account.address.lower(), account.sender_address.lower(), message.from_address.lower()}
    return bool(set(message.recipients.split()) - own)


def targets(session: Session, account: Account) -> list[Folder]:
    """The folders into which messages can be moved, as people expect them, also those that are not synced."""
    rows = {row.path: row for row in stored(session, account.id) if not row.is_gone and not row.locked}
    order = [one.path for one in in_order(seen(session, account, None))]
    return [rows[path] for path in order if path in rows]


def told(change: PendingChange, folders: Sequence[Folder]) -> str:
    """What a change that waits will do, in a few words."""
    names = {folder.id: folder.name for folder in folders}
    if change.kind is ChangeKind.MOVE:
        return t("Move to {name}", name=names.get(change.target_id or 0, t("another folder")))
    if change.kind is ChangeKind.DELETE:
        return t("Delete for good")
    if change.kind is ChangeKind.APPEND:
        return t("Put a copy into {name}", name=names.get(change.folder_id, t("another folder")))
    words = {"\\Seen": (t("read"), t("unread")), "\\Flagged": (t("flagged"), t("not flagged"))}
    words["\\Answered"] = (t("answered"), t("not answered"))
    said = [words[flag][0] for flag in change.added.split() if flag in words]
    said += [words[flag][1] for flag in change.removed.split() if flag in words]
    return t("Mark as {words}", words=", ".join(said))
