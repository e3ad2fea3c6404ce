"""A connection test as the page tells it: a line for each stage, a title, and what can be done next. No web in here."""

from dataclasses import dataclass, field
from typing import Any

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.probe import planned
from mailadmin.db import now
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Direction, Server, StageName, StageOutcome
from mailadmin.text import t

_TONES = {
    StageOutcome.RUNNING: "run",
    StageOutcome.PASSED: "ok",
    StageOutcome.FAILED: "bad",
    StageOutcome.SKIPPED: "off",
}
WAITING = "wait"


@dataclass(frozen=True, slots=True)
class Line:
    """One stage: tone (run ok bad off wait), what is done, how it went, how long it took, and why it failed."""

    tone: str
    what: str
    detail: str = ""
    took: str = ""
    diagnosis: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """Receiving or sending. `remark` says why there are no lines."""

    title: str
    server: Server | None
    lines: list[Line] = field(default_factory=list)
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A whole test. `general` is a diagnosis that belongs to no stage."""

    is_running: bool
    has_passed: bool
    title: str
    lede: str
    status: str
    sides: list[Side]
    steps: int
    passed: int
    general: dict[str, Any] | None = None


def timeline(account: Account, check: Check) -> Timeline:
    """How `check` goes, or went, for `account`."""
    is_running = check.finished_at is None
    has_passed = check.outcome is CheckOutcome.PASSED
    sides = [_side(account, check, direction) for direction in Direction]
    lines = [line for side in sides for line in side.lines]
    shown = any(line.diagnosis for line in lines)
    failed = next((stage for stage in check.stages if stage["outcome"] == StageOutcome.FAILED), None)
    return Timeline(
        is_running,
        has_passed,
        title=_title(check, failed),
        lede=_lede(is_running, has_passed, account.is_set_up),
        status=_status(check, lines),
        sides=sides,
        steps=len(lines),
        passed=sum(line.tone == "ok" for line in lines),
        general=check.diagnosis if not shown and not is_running else None,
    )


def _title(check: Check, failed: dict[str, Any] | None) -> str:
    if check.finished_at is None:
        return t("Testing the connection")
    if check.outcome is CheckOutcome.PASSED:
        return t("The connection works")
    if check.category in (Category.TIMEOUT, Category.POLICY, Category.CONFIG):
        return {
            Category.TIMEOUT: t("The server did not answer in time"),
            Category.POLICY: t("This connection is not allowed"),
            Category.CONFIG: t("A setting has to be changed first"),
        }[check.category]
    titles = {
        StageName.DNS: t("The server was not found"),
        StageName.TCP: t("The server was not reached"),
        StageName.TLS: t("Encryption did not work"),
        StageName.GREETING: t("The server did not greet"),
        StageName.SIGN_IN: t("Signing in did not work"),
        StageName.FOLDERS: t("The folders could not be listed"),
    }
    return titles[StageName(failed["name"])] if failed else t("The connection could not be tested")


def _lede(is_running: bool, has_passed: bool, is_set_up: bool) -> str:
    if is_running:
        return t("This takes a few seconds. You may leave the page; the test goes on.")
    if has_passed:
        return t("Mail can be synced.") if is_set_up else t("You can go on to the folders.")
    return (
        t("One step failed. Nothing is lost: mail waits at the provider.")
        if is_set_up
        else t("One step failed. Your entries are kept.")
    )


def _status(check: Check, lines: list[Line]) -> str:
    """The one sentence for screen readers."""
    if check.outcome is CheckOutcome.PASSED:
        return t("The test passed.")
    if check.finished_at is not None:
        return t("The test failed: {why}.", why=check.diagnosis["title"]) if check.diagnosis else t("The test failed.")
    at = next((n for n, line in enumerate(lines, 1) if line.tone == "run"), 0)
    if not at:
        return t("The test waits for its turn.") if check.started_at is None else t("The test is running.")
    return t("Step {n} of {all} is running: {what}.", n=at, all=len(lines), what=lines[at - 1].what)


def _side(account: Account, check: Check, direction: Direction) -> Side:
    title = t("Receiving") if direction is Direction.INCOMING else t("Sending")
    server = accounts.server_of(account, direction)
    told = {StageName(stage["name"]): stage for stage in check.stages if stage["direction"] == direction}
    if server is None:
        return Side(title, None, remark=t("This account has no server for it, so nothing was tested."))
    order = [*told, *(name for name in planned(server, direction) if name not in told)]
    user = accounts.user_name(account, direction)
    diagnosis = _diagnosis_of(check, direction)
    lines = [_line(name, told.get(name), check, server, user, diagnosis) for name in order]
    return Side(title, server, lines)


def _diagnosis_of(check: Check, direction: Direction) -> dict[str, Any] | None:
    found = check.diagnosis
    while found and found["direction"] != direction:
        found = found.get("also")
    return found


def _line(
    name: StageName,
    stage: dict[str, Any] | None,
    check: Check,
    server: Server,
    user: str,
    diagnosis: dict[str, Any] | None,
) -> Line:
    what = _what(name, server, user)
    if stage is None:
        tone = WAITING if check.finished_at is None else "off"
        return Line(tone, what, "" if tone == WAITING else t("Skipped"))
    outcome = StageOutcome(stage["outcome"])
    if outcome is StageOutcome.RUNNING:
        return Line("run", what, t("Waiting for an answer"), _running_for(check))
    if outcome is StageOutcome.FAILED:
        return Line("bad", what, "" if diagnosis else stage["detail"], duration(stage["ms"]), diagnosis)
    if outcome is StageOutcome.SKIPPED:
        return Line("off", what, stage["detail"])
    return Line(_TONES[outcome], what, _passed(name, stage["detail"], check, server), duration(stage["ms"]))


def _what(name: StageName, server: Server, user: str) -> str:
    words = {
        StageName.DNS: t("Find the server"),
        StageName.TCP: t("Reach port {port}", port=server.port),
        StageName.TLS: t("Agree on encryption"),
        StageName.GREETING: t("Hear the greeting"),
        StageName.SIGN_IN: t("Sign in as {user}", user=user),
        StageName.FOLDERS: t("List folders"),
    }
    return words[name]


def _passed(name: StageName, detail: str, check: Check, server: Server) -> str:
    if name is StageName.DNS:
        return t("{host} is {address}", host=server.host, address=detail) if detail != server.host else t("Found")
    if name is StageName.TLS:
        version = detail.replace("TLSv", "TLS ")
        return t("{version}, the certificate is trusted", version=version) if version else t("Certificate trusted")
    if name is StageName.FOLDERS and check.folders:
        return _folders(check.folders)
    words = {
        StageName.TCP: t("Connection accepted"),
        StageName.GREETING: t("The server greets"),
        StageName.SIGN_IN: t("Password accepted"),
    }
    return words.get(name, detail)


def _folders(folders: list[dict[str, Any]]) -> str:
    messages = sum(folder.get("messages") or 0 for folder in folders)
    number = t("1 folder") if len(folders) == 1 else t("{n} folders", n=f"{len(folders):,}")
    return (
        t("{folders}, 1 message", folders=number)
        if messages == 1
        else t("{folders}, {n} messages", folders=number, n=f"{messages:,}")
    )


def _running_for(check: Check) -> str:
    """How long the running stage has lasted: what is left when the ended stages are taken away."""
    if check.started_at is None:
        return ""
    ended = sum(stage["ms"] for stage in check.stages)
    return duration(max((now() - check.started_at).total_seconds() * 1000 - ended, 0.0))


def duration(ms: float) -> str:
    """`ms` in words: `12 ms`, `1.9 s`."""
    return t("{n} s", n=f"{ms / 1000:.1f}") if ms >= 1000 else t("{n} ms", n=max(round(ms), 1))
