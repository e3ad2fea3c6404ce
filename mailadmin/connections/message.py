"""The test message: one fixed text to one address, and the wait for its arrival."""

import time
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from mailadmin.connections.collecting import Collector
from mailadmin.connections.copies import Filing
from mailadmin.db import now
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import Imap
from mailadmin.mail.smtp import Smtp
from mailadmin.mail.stages import Stages
from mailadmin.mail.types import Direction, Report, StageName
from mailadmin.text import t

ARRIVAL_SECONDS = 30.0  # A job counts on it: see the time that it has in jobs.py.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """A test message to send, whether its arrival in the account's own mailbox is waited for, and what becomes of a
    copy."""

    sender: str
    recipient: str
    awaits: bool = False
    filing: Filing = field(default_factory=Filing)


def written(parcel: Parcel) -> EmailMessage:
    """The message. Only the two addresses come from people, and a header cannot hold a line break (RFC 5322 2.2)."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = parcel.sender, parcel.recipient
    message["Subject"] = t("Connection test")
    message["Date"] = format_datetime(now())
    message["Message-ID"] = make_msgid(domain=parcel.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please.
    message.set_content(t("An administrator has tested whether {address} can send. You can delete this message.",
                          address=parcel.sender))  # fmt: skip
    return message


def send(smtp: Smtp, parcel: Parcel, report: Report) -> EmailMessage:
    """Send the message, report the stage, and answer what was sent. Raises MailError."""
    with Stages(Direction.OUTGOING, report).stage(StageName.MESSAGE) as passing:
        try:
            message = written(parcel)
        except ValueError as error:
            raise MailError(Category.CONFIG, t("This address cannot stand in a message.")) from error
        smtp.send(message, parcel.sender, parcel.recipient)
        passing.facts = {"recipient": parcel.recipient}
    return message


def await_arrival(imap: Imap | Collector, message_id: str, until: Deadline, report: Report, *, seconds: float) -> None:
    """Look for the message until it is there, and report the stage. Raises MailError, also when it does not come.

    `until` began when the message was sent and lasts `seconds`.
    """
    began = time.monotonic() - (seconds - until.left())
    imap.deadline = until
    with Stages(Direction.OUTGOING, report).stage(StageName.ARRIVAL) as passing:
        while until.left() > _LOOK_SECONDS * 2:
            if folder := imap.find(message_id):
                passing.facts = {"seconds": round(time.monotonic() - began, 1), "folder": folder}
                return
            time.sleep(_LOOK_SECONDS)
        sentence = t("The message was sent, and did not arrive within {n} seconds.", n=round(seconds))
        raise MailError(Category.TIMEOUT, sentence, code="message-late")
