"""A connection test as the page tells it: a line for each stage, a title, and what can be done next. No web in here."""

from dataclasses import dataclass, field
from typing import Any

from mailadmin.accounts import service as accounts
from mailadmin.connections import facts, headline
from mailadmin.connections.facts import Ability, Shown
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.probe import planned
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName, StageOutcome, TLSMode
from mailadmin.text import t

WAITING = "wait"


@dataclass(frozen=True, slots=True)
class Line:
    """One stage: tone (run ok warn bad off wait), what is done, how it went, what the server said, how long it took,
    and why it failed: the diagnosis, and the certificate that it speaks of."""

    tone: str
    what: str
    detail: str = ""
    took: str = ""
    said: str = ""
    diagnosis: dict[str, Any] | None = None
    certificate: Shown | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What else is known of one server."""

    cipher: str
    mechanism: str
    certificate: Shown | None
    abilities: list[Ability]


@dataclass(frozen=True, slots=True)
class Side:
    """Receiving or sending. `remark` says why there are no lines."""

    title: str
    direction: Direction
    server: Server | None
    lines: list[Line] = field(default_factory=list)
    remark: str = ""
    details: Details | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the connection is not encrypted."""
        return self.server is not None and self.server.tls_mode is TLSMode.NONE

    @property
    def has_failed(self) -> bool:
        """Whether a line failed."""
        return any(line.tone == "bad" for line in self.lines)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A whole test. `general` is a diagnosis that belongs to no stage; `pushes`: new mail is told at once; `signs_in`:
    it was more than a test of the servers."""

    is_running: bool
    has_passed: bool
    title: str
    lede: str
    status: str
    sides: list[Side]
    steps: int
    passed: int
    took: str = ""
    pushes: bool = False
    signs_in: bool = True
    general: dict[str, Any] | None = None


def timeline(check: Check) -> Timeline:
    """How `check` goes, or went."""
    is_running = check.finished_at is None
    sides = [_side(check, direction) for direction in Direction]
    lines = [line for side in sides for line in side.lines]
    is_shown = any(line.diagnosis for line in lines)
    has_passed = check.outcome is CheckOutcome.PASSED
    failed = {side.direction for side in sides if side.has_failed}
    working = {direction for direction in Direction if _signed_in(check, direction)} - failed
    told = _stage(check, Direction.INCOMING, StageName.SIGN_IN) or {}
    return Timeline(
        is_running,
        has_passed,
        title=headline.title(check),
        lede=headline.lede(check, failed, working),
        status=headline.status(check, [(line.tone, line.what) for line in lines]),
        sides=sides,
        steps=sum(line.tone != "off" or not has_passed for line in lines),
        passed=sum(line.tone in ("ok", "warn") for line in lines),
        took=facts.duration((check.seconds or 0.0) * 1000),
        signs_in=headline.signs_in(check),
        pushes="IDLE" in ((told.get("facts") or {}).get("capabilities") or ()),
        general=check.diagnosis if not is_shown and not is_running else None,
    )


def tested(check: Check, direction: Direction) -> tuple[Server | None, str]:
    """The server and the user name of `check` for `direction`; old tests did not keep them, so what is set counts."""
    written = (check.servers or {}).get(direction)
    if written:
        try:
            return accounts.parse_server(written), (check.users or {}).get(direction, "")
        except RuleBroken:  # Written by another version.
            return None, ""
    if check.servers or check.account is None:
        return None, ""
    return accounts.server_of(check.account, direction), accounts.user_name(check.account, direction)


def _side(check: Check, direction: Direction) -> Side:
    title = t("Receiving") if direction is Direction.INCOMING else t("Sending")
    server, user = tested(check, direction)
    if server is None:
        whose = t("There is no server for it, so nothing was tested.")
        if check.account_id is not None:
            whose = t("This account has no server for it, so nothing was tested.")
        return Side(title, direction, None, remark=whose)
    sends = bool(check.message_to) and direction is Direction.OUTGOING
    told = [StageName(stage["name"]) for stage in check.stages if stage["direction"] == direction]
    order = [*told, *(name for name in planned(server, direction, sends=sends) if name not in told)]
    if check.finished_at is not None and StageName.COPY not in told:
        order = [name for name in order if name is not StageName.COPY]  # A test from before there were copies.
    diagnosis = _diagnosis_of(check, direction)
    one = _OneSide(check, direction, server, user, diagnosis)
    lines = [one.line(name) for name in order if name is not StageName.ARRIVAL]
    return Side(title, direction, server, lines, details=one.details())


def _diagnosis_of(check: Check, direction: Direction) -> dict[str, Any] | None:
    found = check.diagnosis
    while found and found["direction"] != direction:
        found = found.get("also")
    return found


def _stage(check: Check, direction: Direction, name: StageName) -> dict[str, Any] | None:
    here = (stage for stage in check.stages if stage["direction"] == direction and stage["name"] == name)
    return next(here, None)


def _signed_in(check: Check, direction: Direction) -> bool:
    stage = _stage(check, direction, StageName.SIGN_IN)
    return stage is not None and stage["outcome"] == StageOutcome.PASSED


def _filed(learned: dict[str, Any]) -> str:
    """What became of the copy of a message."""
    folder = visible(str(learned.get("folder", "")))
    if learned.get("found"):
        return t("{folder} has one already, so none was added", folder=folder)
    if learned.get("created"):
        return t("Put into {folder}, which is new", folder=folder)
    return t("Put into {folder}", folder=folder)


@dataclass(frozen=True, slots=True)
class _OneSide:
    """Makes the lines of one direction."""

    check: Check
    direction: Direction
    server: Server
    user: str
    diagnosis: dict[str, Any] | None

    def line(self, name: StageName) -> Line:
        stage, what = self._at(name), self._what(name)
        if stage is None:
            if self.check.finished_at is None:
                return Line(WAITING, what)
            only = "Skipped, because only the server is tested"
            why = "Skipped, because the test ended before" if self.user else only
            return Line("off", what, t(why))
        if name is StageName.MESSAGE and stage["outcome"] == StageOutcome.PASSED:
            return self._message(what, stage)
        return self._told(name, what, stage)

    def details(self) -> Details | None:
        """None where nothing was learned that is worth a look."""
        tls, sign_in = self._facts(StageName.TLS), self._facts(StageName.SIGN_IN)
        if not tls and not sign_in:
            return None
        return Details(
            cipher=tls.get("cipher", ""),
            mechanism=sign_in.get("mechanism", ""),
            certificate=facts.shown(tls.get("certificate")),
            abilities=facts.abilities(self.server.protocol, sign_in.get("capabilities")),
        )

    def _told(self, name: StageName, what: str, stage: dict[str, Any]) -> Line:
        outcome = StageOutcome(stage["outcome"])
        if outcome is StageOutcome.RUNNING:
            return Line("run", what, t("Waiting for an answer"), self._running_for())
        if outcome is StageOutcome.FAILED:
            return self._failed(what, stage)
        if outcome is StageOutcome.SKIPPED:
            return Line("off", what, stage["detail"])
        tone, detail = self._passed(name, stage["detail"])
        said = facts.greeting(self._facts(name)) if name is StageName.GREETING else ""
        return Line(tone, what, "" if said else detail, facts.duration(stage["ms"]), said)

    def _failed(self, what: str, stage: dict[str, Any], detail: str = "") -> Line:
        # Of two steps of one side that fail, the copy and the arrival, the diagnosis speaks of the first.
        found = self.diagnosis if (self.diagnosis or {}).get("stage") in (None, stage["name"]) else None
        detail = detail or ("" if found else stage["detail"])
        certificate = facts.shown(found.get("certificate")) if found else None
        return Line("bad", what, detail, facts.duration(stage["ms"]), diagnosis=found, certificate=certificate)

    def _message(self, what: str, sent: dict[str, Any]) -> Line:
        """A message that was handed over; where its arrival is waited for, that belongs to it."""
        to_itself = self.check.message_to == self.check.address
        to = t("To itself") if to_itself else t("To {recipient}", recipient=self.check.message_to)
        handed_over = t("{to}; handed over", to=to)
        arrival = self._at(StageName.ARRIVAL)
        if arrival is None:
            is_waiting = self.check.awaits and self.check.finished_at is None
            return Line("run" if is_waiting else "ok", what, handed_over, facts.duration(sent["ms"]))
        if arrival["outcome"] == StageOutcome.RUNNING:
            return Line("run", what, t("{to}; waiting for its arrival", to=to), self._running_for())
        if arrival["outcome"] == StageOutcome.FAILED:
            return self._failed(what, arrival, handed_over)
        if arrival["outcome"] == StageOutcome.SKIPPED:
            said = ". ".join(filter(None, [handed_over, arrival["detail"]]))
            return Line("ok", what, said, facts.duration(sent["ms"]))
        seconds = self._facts(StageName.ARRIVAL).get("seconds", 0.0)
        said = (
            t("{to}; arrived after {n} s", to=to, n=f"{seconds:.1f}") if seconds else t("{to}; arrived at once", to=to)
        )
        return Line("ok", what, said, facts.duration(sent["ms"] + arrival["ms"]))

    def _what(self, name: StageName) -> str:
        words = {
            StageName.DNS: t("Find the server"),
            StageName.TCP: t("Reach port {port}", port=self.server.port),
            StageName.TLS: t("Agree on encryption"),
            StageName.GREETING: t("Hear the greeting"),
            StageName.SIGN_IN: t("Sign in as {user}", user=self.user) if self.user else t("Sign in"),
            StageName.FOLDERS: t("Count messages") if self._is_pop3 else t("List folders"),
            StageName.MESSAGE: t("Send a test message"),
            StageName.COPY: t("Put a copy into Sent"),
        }
        return words[name]

    def _passed(self, name: StageName, detail: str) -> tuple[str, str]:
        """The tone and the sentence of a stage that passed."""
        learned = self._facts(name)
        if name is StageName.TLS:
            return facts.encryption(learned, detail)
        if name is StageName.FOLDERS and (learned or self.check.folders):
            return facts.listing(learned, self.check.folders, has_folders=not self._is_pop3)
        if name is StageName.DNS:
            return "ok", self._found(detail)
        if name is StageName.TCP:
            several = len(self._facts(StageName.DNS).get("addresses", ())) > 1
            return "ok", t("{address} accepted the connection", **learned) if several else t("Connection accepted")
        if name is StageName.SIGN_IN:
            mechanism = learned.get("mechanism")
            if mechanism in ("OAUTHBEARER", "XOAUTH2"):
                return "ok", t("Access token accepted ({name})", name=mechanism)
            return "ok", t("Password accepted ({name})", name=mechanism) if mechanism else t("Password accepted")
        if name is StageName.COPY:
            return "ok", _filed(learned)
        return "ok", t("The server greets") if name is StageName.GREETING else detail

    @property
    def _is_pop3(self) -> bool:
        """POP3 knows no folders."""
        return self.server.protocol is ServerProtocol.POP3

    def _found(self, detail: str) -> str:
        addresses = ", ".join(self._facts(StageName.DNS).get("addresses") or [detail])
        if addresses == self.server.host:
            return t("Found")
        return t("{host} is {address}", host=self.server.host, address=addresses)

    def _at(self, name: StageName) -> dict[str, Any] | None:
        return _stage(self.check, self.direction, name)

    def _facts(self, name: StageName) -> dict[str, Any]:
        return (self._at(name) or {}).get("facts") or {}

    def _running_for(self) -> str:
        """How long the running stage has lasted: what is left when the ended stages are taken away."""
        if self.check.started_at is None:
            return ""
        ended = sum(stage["ms"] for stage in self.check.stages)
        return facts.duration(max((now() - self.check.started_at).total_seconds() * 1000 - ended, 0.0))
