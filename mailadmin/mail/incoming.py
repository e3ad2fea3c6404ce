"""Opens a server for receiving, whichever of the two protocols it speaks."""

from mailadmin.mail import dial
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.imap import Imap, open_imap
from mailadmin.mail.pop3 import Pop3, open_pop3
from mailadmin.mail.types import Report, Rules, Server, ServerProtocol


def open_incoming(
    server: Server,
    rules: Rules,
    deadline: Deadline,
    report: Report | None = None,
    *,
    budget: int = dial.BUDGET,
    secrets: tuple[str, ...] = (),
) -> Imap | Pop3:
    """Connect to `server` and return the greeted session, not yet signed in; see `open_imap`. Raises MailError."""
    opening = open_pop3 if server.protocol is ServerProtocol.POP3 else open_imap
    return opening(server, rules, deadline, report, budget=budget, secrets=secrets)
