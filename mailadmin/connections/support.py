"""A test as one block of plain text, to hand to whoever is asked for help. No secrets are in it: no test knows any.

It stays in English whatever the page speaks, because it goes to people elsewhere.
"""

import platform
import ssl
from collections.abc import Iterator
from typing import Any

from mailadmin import __version__
from mailadmin.connections.facts import fingerprint
from mailadmin.connections.models import Check
from mailadmin.mail.types import Direction, StageOutcome

_SIDES = {Direction.INCOMING: "Receiving", Direction.OUTGOING: "Sending"}


def support_text(check: Check) -> str:
    """What was tested, how each stage went, what came of it, and the versions of what tested."""
    return "\n".join(" ".join(line.split("\n")).rstrip() for line in _lines(check)) + "\n"


def _lines(check: Check) -> Iterator[str]:
    yield f"Mailadmin {__version__}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    yield f"Test {check.id}, {check.finished_at or check.requested_at:%Y-%m-%d %H:%M:%S} UTC"
    yield f"Account: {check.address or (check.account.address if check.account else 'none, only servers')}"
    if check.message_to:
        yield f"Test message to: {check.message_to}"
    seconds = "" if check.seconds is None else f" after {check.seconds:.1f} s"
    yield f"Outcome: {check.outcome or 'still running'}{seconds}"
    for direction, side in _SIDES.items():
        yield from _side(check, direction, side)
    diagnosis = check.diagnosis
    while diagnosis:
        yield from _diagnosis(diagnosis)
        diagnosis = diagnosis.get("also")


def _side(check: Check, direction: Direction, side: str) -> Iterator[str]:
    stages = [stage for stage in check.stages if stage["direction"] == direction]
    server = (check.servers or {}).get(direction)
    if not stages and not server:
        return
    yield ""
    yield f"{side}: {server or 'server not kept'}, user name {(check.users or {}).get(direction) or 'none'}"
    for stage in stages:
        yield f"  {stage['name']:<9} {stage['outcome']:<8} {stage['ms']:>7.0f} ms  {_learned(stage)}"


def _learned(stage: dict[str, Any]) -> str:
    facts = dict(stage.get("facts") or {})
    certificate = facts.pop("certificate", None)
    words = [f"{name}: {_flat(value)}" for name, value in facts.items() if value not in ("", None, [], False)]
    if certificate:
        words.append(_certificate(certificate))
    # What went well is told by its facts; the phrase beside them says the same again.
    return "; ".join(
        words or [stage["detail"]] if stage["outcome"] == StageOutcome.PASSED else [stage["detail"], *words]
    )


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(part)}" for name, part in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _certificate(certificate: dict[str, Any]) -> str:
    names = ", ".join(certificate["names"]) or "no names"
    return (
        f"certificate for {names}, subject {certificate['subject']}, issuer {certificate['issuer']}, "
        f"{certificate['starts']} to {certificate['ends']}, SHA-256 {fingerprint(certificate['sha256'])}"
    )


def _diagnosis(diagnosis: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{_SIDES[Direction(diagnosis['direction'])]} failed: {diagnosis['title']}"
    yield f"  Category: {diagnosis['category']}, rule: {diagnosis['rule']}, stage: {diagnosis.get('stage') or 'none'}"
    yield f"  Server text: {diagnosis.get('server_text') or 'none'}"
    if certificate := diagnosis.get("certificate"):
        yield f"  It showed: {_certificate(certificate)}"
