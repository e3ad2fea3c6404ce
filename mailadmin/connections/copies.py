"""A copy of the test message in the folder Sent: whether one is wanted, and how it gets there.

The message has been sent when this begins, so nothing that goes wrong here says anything about sending.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

from mailadmin.accounts.models import Account, SentCopies
from mailadmin.db import now
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.imap import Imap
from mailadmin.mail.imap_write import NAMES
from mailadmin.mail.stages import Stages
from mailadmin.mail.types import Direction, Folder, Report, Role, ServerProtocol, Stage, StageName, StageOutcome
from mailadmin.text import t

COPY_SECONDS = 10.0  # A job counts on it: see the time that it has in jobs.py.
FILED_SECONDS = 2.0  # Some servers file their own copy a moment after they took the message.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Filing:
    """What is to be done about a copy. `skipped` says in one phrase why there will be none, or is empty.

    `unless_there`: none where the folder has one already. `folder` is the path of what sync knows as Sent, a person's
    choice before all; without, or where it is not there any more, the server's word counts, then the name.
    """

    skipped: str = ""
    unless_there: bool = False
    folder: str = ""


def filing_of(account: Account) -> Filing:
    """What `account` wants."""
    is_automatic = account.sent_copies is SentCopies.AUTOMATIC
    if account.sent_copies is SentCopies.NEVER:
        return Filing(t("Skipped, because this account keeps no copies of what it sends"))
    if account.protocol is ServerProtocol.POP3:
        return Filing(t("Skipped, because POP3 knows no folders"))
    if is_automatic and account.provider is not None and account.provider.files_sent:
        return Filing(t("Skipped, because {name} files a copy by itself", name=account.provider.name))
    return Filing(unless_there=is_automatic, folder=account.sent_folder or "")


def skip(report: Report, why: str) -> None:
    """Report that there will be no copy, and why in one phrase."""
    report(Stage(Direction.OUTGOING, StageName.COPY, StageOutcome.SKIPPED, 0.0, why))


def file_copy(imap: Imap, listed: Sequence[Folder], message: EmailMessage, filing: Filing, report: Report) -> None:
    """Put a copy of `message` into Sent, one of the folders `listed` or a new one, and report the stage.

    Raises MailError.
    """
    imap.deadline = Deadline(COPY_SECONDS)
    with Stages(Direction.OUTGOING, report).stage(StageName.COPY) as passing:
        path = _sent(listed, filing.folder)
        passing.facts = {"folder": path}
        if not path:
            path = imap.place_for(NAMES[Role.SENT], listed)
            passing.facts = {"folder": path, "created": True}
            imap.create(path, Role.SENT)
        elif filing.unless_there and _is_there(imap, path, str(message["Message-ID"])):
            passing.facts["found"] = True
            return
        imap.append(path, message.as_bytes(policy=SMTP), flags=("\\Seen",), moment=now())


def _sent(listed: Sequence[Folder], chosen: str) -> str:
    """The path of Sent, or nothing where there is none."""
    there = [folder for folder in listed if folder.path == chosen and not folder.locked]
    there += [folder for folder in listed if folder.role is Role.SENT]
    return there[0].path if there else ""


def _is_there(imap: Imap, path: str, message_id: str) -> bool:
    until = Deadline(FILED_SECONDS)
    while not (found := imap.holds(path, message_id)) and not until.is_over:
        time.sleep(_LOOK_SECONDS)
    return found
