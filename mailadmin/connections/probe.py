"""What one child does: open an account's servers, sign in, list folders, and say each step. It knows no database."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mailadmin.accounts.service import Leg
from mailadmin.mail.dial import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import open_imap
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Direction, Report, Rules, Server, Stage, StageName, StageOutcome, TLSMode
from mailadmin.text import t

Message = dict[str, Any]
Say = Callable[[Message], None]

# Of the time that a test has: receiving leaves some for sending, and the child ends a moment before it is killed.
INCOMING_SHARE, OWN_SHARE = 0.6, 0.95


@dataclass(frozen=True, slots=True)
class Task:
    """One test to do. `started_at` is its mark: what a job that lost the check to another one says is not believed."""

    legs: dict[Direction, Leg]
    check_id: int = 0
    started_at: datetime | None = None


def planned(server: Server, direction: Direction) -> list[StageName]:
    """The stages of a connection to `server`, in the order in which they happen."""
    middle = [StageName.TLS, StageName.GREETING]
    if server.tls_mode is not TLSMode.IMPLICIT:
        middle.reverse()
    last = [StageName.SIGN_IN, StageName.FOLDERS] if direction is Direction.INCOMING else [StageName.SIGN_IN]
    return [StageName.DNS, StageName.TCP, *middle, *last]


def probe(task: Task, rules: Rules, seconds: float, say: Say) -> None:
    """Test the connections of `task` within `seconds`, at most one sign-in for each.

    `say` gets {"stage": ...} for each step, then for each direction {"proved": direction} or {"error": ...}, before
    that perhaps {"folders": [...]}, and {"end": True} last.
    """
    whole = Deadline(seconds * OWN_SHARE)
    incoming, outgoing = task.legs.get(Direction.INCOMING), task.legs.get(Direction.OUTGOING)
    refused = False
    if incoming:
        refused = _receive(incoming, rules, Deadline(seconds * (INCOMING_SHARE if outgoing else OWN_SHARE)), say)
    if outgoing:
        knows = refused and incoming is not None and incoming.how == outgoing.how
        _send(outgoing, rules, whole, say, skip_sign_in=knows)
    say({"end": True})


def _receive(leg: Leg, rules: Rules, deadline: Deadline, say: Say) -> bool:
    """Whether the server refused the credentials."""
    try:
        imap = open_imap(leg.server, rules, deadline, _reporter(say))
        try:
            imap.sign_in(leg.how)
            say({"folders": [asdict(folder) for folder in imap.folders()]})
        finally:
            imap.close()
    except MailError as error:
        say(_told(Direction.INCOMING, error))
        return error.category in (Category.AUTH, Category.OAUTH)
    say({"proved": Direction.INCOMING})
    return False


def _send(leg: Leg, rules: Rules, deadline: Deadline, say: Say, *, skip_sign_in: bool) -> None:
    try:
        smtp = open_smtp(leg.server, rules, deadline, _reporter(say))
        try:
            if skip_sign_in:
                # A second refusal within seconds may lock the account at the provider.
                why = t("Skipped, because it uses the same password")
                say(_plain(Stage(Direction.OUTGOING, StageName.SIGN_IN, StageOutcome.SKIPPED, 0.0, why)))
                return
            smtp.sign_in(leg.how)
        finally:
            smtp.close()
    except MailError as error:
        say(_told(Direction.OUTGOING, error))
        return
    say({"proved": Direction.OUTGOING})


def _reporter(say: Say) -> Report:
    return lambda stage: say(_plain(stage))


def _plain(stage: Stage) -> Message:
    return {"stage": asdict(stage)}


def _told(direction: Direction, error: MailError) -> Message:
    about = {"category": error.category, "message": error.message, "detail": error.detail, "permanent": error.permanent}
    return {"error": {"direction": direction, **about}}
