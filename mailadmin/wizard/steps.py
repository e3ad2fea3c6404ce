"""Where an unfinished account stands in its set-up, and what has to come before a step."""

from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.connections import service as connections
from mailadmin.mail.types import Direction
from mailadmin.sync import service as sync
from mailadmin.text import t

ADDRESS, METHOD, SERVERS, TEST, FOLDERS, WINDOW, DONE = (
    "wizard.address",
    "wizard.method",
    "wizard.servers",
    "connections.show",
    "sync.folders",
    "sync.window",
    "wizard.finished",
)


def first_undone(session: Session, account: Account) -> str:
    """The endpoint of the first step of `account` that is not done; DONE once it is set up."""
    if account.is_set_up:
        return DONE
    if account.credential(Direction.INCOMING) is None or account.server(Direction.INCOMING) is None:
        return METHOD if account.server(Direction.INCOMING) else SERVERS
    passed = connections.last_passed(session, account.id)
    if passed is None:
        return TEST
    read_at = sync.listed_at(session, account.id, None)  # The list is stored when somebody has chosen from it.
    return WINDOW if read_at and passed.finished_at and read_at >= passed.finished_at else FOLDERS


def missing_before_servers(account: Account) -> str:
    """Why the servers cannot be asked yet, in one sentence; empty when they can."""
    # Without a server there is nothing to know of its ways to sign in, and the password is typed beside it.
    is_open = account.credential(Direction.INCOMING) or account.server(Direction.INCOMING) is None
    return "" if is_open else t("First choose how to sign in.")
