"""What one child does: open an account's servers, sign in, list folders, and say each step. It knows no database."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from mailadmin.accounts.service import Leg
from mailadmin.connections import copies, message
from mailadmin.connections.collecting import Collector
from mailadmin.connections.copies import COPY_SECONDS
from mailadmin.connections.fixes import fixes
from mailadmin.connections.message import ARRIVAL_SECONDS, Parcel
from mailadmin.mail import sasl
from mailadmin.mail.dial import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import Imap
from mailadmin.mail.incoming import open_incoming
from mailadmin.mail.scrub import mask
from mailadmin.mail.smtp import open_smtp
from mailadmin.mail.types import Bearer, Direction, Folder, Rules, Server, Stage, StageName, StageOutcome, TLSMode
from mailadmin.text import t

Message = dict[str, Any]
Say = Callable[[Message], None]

# Of the time that a test has: receiving leaves some for sending, and the child ends a moment before it is killed.
INCOMING_SHARE, OWN_SHARE = 0.6, 0.95
BUDGET = 20_000_000  # bytes that a server may send in a test: a list of a hundred thousand folders


@dataclass(frozen=True, slots=True)
class Broken:
    """A direction that cannot be tested, because there is nothing to sign in with at `server`; `error` says why."""

    server: Server
    error: MailError


@dataclass(frozen=True, slots=True)
class Task:
    """One test to do. `started_at` is its mark: what a job that lost the check to another one says is not believed.

    Without `signs_in` the servers are only greeted. A `parcel` is a test message to send. What is `broken` has failed
    before it began.
    """

    legs: dict[Direction, Leg]
    check_id: int = 0
    started_at: datetime | None = None
    signs_in: bool = True
    parcel: Parcel | None = None
    broken: dict[Direction, Broken] = field(default_factory=dict)

    @property
    def waits(self) -> float:
        """How many seconds the test may take beyond the usual, for a message to arrive, and for its copy."""
        if self.parcel is None:
            return 0.0
        return ARRIVAL_SECONDS if self.parcel.awaits else COPY_SECONDS * (not self.parcel.filing.skipped)


def planned(server: Server, direction: Direction, *, sends: bool = False, waits: bool = False) -> list[StageName]:
    """The stages of a connection to `server`, in the order in which they happen; `sends` a message, `waits` for it."""
    middle = [StageName.TLS, StageName.GREETING]
    if server.tls_mode is not TLSMode.IMPLICIT:
        middle.reverse()
    if direction is Direction.INCOMING:
        last = [StageName.FOLDERS]
    else:
        last = [StageName.MESSAGE, StageName.COPY] * sends + [StageName.ARRIVAL] * waits
    return [StageName.DNS, StageName.TCP, *middle, StageName.SIGN_IN, *last]


def probe(task: Task, rules: Rules, seconds: float, say: Say) -> None:
    """Test the connections of `task` within `seconds` and what it waits beyond, at most one sign-in for each.

    `say` gets {"stage": ...} for each step, then for each direction {"proved": direction} or {"error": ...}, before
    that perhaps {"folders": [...]}, afterwards {"fix": ...} for each change that would help, and {"end": True} last.
    """
    _Probe(task, rules, seconds, say).run()


class _Probe:
    """One test while it runs."""

    def __init__(self, task: Task, rules: Rules, seconds: float, say: Say) -> None:
        self._task, self._rules, self._tell = task, rules, say
        self._whole = Deadline(seconds * OWN_SHARE)
        self._share = Deadline(seconds * (INCOMING_SHARE if Direction.OUTGOING in task.legs else OWN_SHARE))
        self._errors: dict[Direction, MailError] = {}
        self._signed_in: set[Direction] = set()
        self._listed: list[Folder] = []
        self._secrets = [leg.how.secret for leg in task.legs.values()]

    def run(self) -> None:
        imap = sent = None
        if incoming := self._task.legs.get(Direction.INCOMING):
            imap = self._receive(incoming)
        if outgoing := self._task.legs.get(Direction.OUTGOING):
            sent = self._send(outgoing)
        if self._task.parcel and sent:
            self._follow_up(imap, self._task.parcel, sent)
        if imap:
            imap.close()
        for direction, error in self._errors.items():
            if direction in self._signed_in:
                continue  # It was the right door.
            for fix in fixes(self._task.legs[direction], direction, error, self._rules, self._whole):
                self._say({"fix": fix})
        self._say({"end": True})

    def _receive(self, leg: Leg) -> Imap | Collector | None:
        """The mailbox, where it is wanted for a message."""
        imap = None
        try:
            imap = open_incoming(
                leg.server, self._rules, self._share, self._report, budget=BUDGET, secrets=sasl.forms(leg.how)
            )
            if not self._task.signs_in:
                self._skip(Direction.INCOMING, StageName.SIGN_IN, t("Skipped, because only the server is tested"))
            else:
                imap.sign_in(leg.how)
                self._listed = imap.folders()
                self._say({"folders": [asdict(folder) for folder in self._listed]})
            self._say({"proved": Direction.INCOMING})
            if self._task.waits and isinstance(imap, Imap):  # for a message, which is looked for or filed
                return imap
            if self._task.waits:
                imap.close()
                return Collector(leg, self._rules, self._whole, imap.capabilities)
        except MailError as error:
            self._fail(Direction.INCOMING, error)
        if imap:
            imap.close()
        return None

    def _send(self, leg: Leg) -> EmailMessage | None:
        """The message that was sent, if one was asked for."""
        sent = None
        try:
            smtp = open_smtp(leg.server, self._rules, self._whole, self._report, secrets=sasl.forms(leg.how))
            try:
                if not self._task.signs_in:
                    self._skip(Direction.OUTGOING, StageName.SIGN_IN, t("Skipped, because only the server is tested"))
                elif self._was_refused(leg):
                    # A second refusal within seconds may lock the account at the provider.
                    same = "access token" if isinstance(leg.how, Bearer) else "password"
                    why = t("Skipped, because it uses the same {secret}", secret=t(same))
                    self._skip(Direction.OUTGOING, StageName.SIGN_IN, why)
                    return None
                else:
                    smtp.sign_in(leg.how)
                if self._task.parcel:
                    sent = message.send(smtp, self._task.parcel, self._report)
            finally:
                smtp.close()
        except MailError as error:
            self._fail(Direction.OUTGOING, error)
            return None
        self._say({"proved": Direction.OUTGOING})
        return sent

    def _was_refused(self, leg: Leg) -> bool:
        """Whether the server for receiving has just refused the same user name and password."""
        error, incoming = self._errors.get(Direction.INCOMING), self._task.legs.get(Direction.INCOMING)
        refused = error is not None and error.category in (Category.AUTH, Category.OAUTH)
        return refused and incoming is not None and incoming.how == leg.how

    def _follow_up(self, imap: Imap | Collector | None, parcel: Parcel, sent: EmailMessage) -> None:
        """Put a copy into Sent and wait for the arrival, as `parcel` wants; neither failure spoils the other."""
        seconds = self._task.waits
        until = Deadline(seconds)
        why = parcel.filing.skipped or ("" if imap else t("Skipped, because receiving does not work"))
        if isinstance(imap, Collector):
            why = why or t("Skipped, because POP3 knows no folders")
        if why:
            copies.skip(self._report, why)
        try:
            if isinstance(imap, Imap) and not why:
                copies.file_copy(imap, self._listed, sent, parcel.filing, self._report)
        except MailError as error:
            self._fail(Direction.OUTGOING, error)
        try:
            if isinstance(imap, Collector) and parcel.awaits and imap.why_not:
                self._skip(Direction.OUTGOING, StageName.ARRIVAL, imap.why_not)
            elif imap and parcel.awaits:
                message.await_arrival(imap, str(sent["Message-ID"]), until, self._report, seconds=seconds)
        except MailError as error:
            self._fail(Direction.OUTGOING, error)

    def _fail(self, direction: Direction, error: MailError) -> None:
        self._errors[direction] = error
        self._say(_told(direction, error))

    def _skip(self, direction: Direction, name: StageName, why: str) -> None:
        self._report(Stage(direction, name, StageOutcome.SKIPPED, 0.0, why))

    def _report(self, stage: Stage) -> None:
        if stage.name is StageName.SIGN_IN and stage.outcome is StageOutcome.PASSED:
            self._signed_in.add(stage.direction)
        self._say({"stage": asdict(stage)})

    def _say(self, message: Message) -> None:
        """Hand on `message`, its words of the server without our secrets: they may come back at any step, for a server
        that was given one before can say it in its greeting."""
        self._tell({name: _masked(value, self._secrets) for name, value in message.items()})


_OF_THE_SERVER = ("detail", "facts", "certificate")
_READ_AGAIN = ("starts", "ends", "sha256")  # by machines: a password such as 2026 would break them


def _masked(value: Any, secrets: list[str], *, is_servers: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            k: v if k in _READ_AGAIN else _masked(v, secrets, is_servers=is_servers or k in _OF_THE_SERVER)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_masked(each, secrets, is_servers=is_servers) for each in value]
    return mask(value, secrets) if is_servers and type(value) is str else value


def _told(direction: Direction, error: MailError) -> Message:
    about = {name: getattr(error, name) for name in ("category", "message", "detail", "permanent", "code")}
    return {"error": {"direction": direction, "certificate": error.certificate, **about}}
