"""The tests of an account that are kept, each with what was different from the one before. No web in here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any

from mailadmin.accounts import service as accounts
from mailadmin.connections import facts
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName
from mailadmin.providers.servers import TLS_WORDS
from mailadmin.text import t

_A_LOT = 0.2  # of the messages


@dataclass(frozen=True, slots=True)
class Past:
    """One finished test: how it ended, when and after how long, who asked, and `changes`: sentences on what was
    different from the test before."""

    check: Check
    has_passed: bool
    outcome: str
    at: datetime
    took: str
    by: str
    changes: list[str] = field(default_factory=list)


def history(checks: Sequence[Check]) -> list[Past]:
    """`checks` (finished, newest first) as a page lists them."""
    return [_past(check, before) for check, before in zip_longest(checks, checks[1:])]


def _past(check: Check, before: Check | None) -> Past:
    assert check.finished_at is not None
    has_passed = check.outcome is CheckOutcome.PASSED
    failed = check.diagnosis["title"] if check.diagnosis else t("The test failed")
    return Past(
        check,
        has_passed,
        outcome=t("Everything works") if has_passed else failed,
        at=check.finished_at,
        took=facts.duration((check.seconds or 0.0) * 1000),
        by=check.requested_by,
        changes=list(_changes(check, before)) if before else [],
    )


def _changes(check: Check, before: Check) -> Iterator[str]:
    yield from _outcome(check, before)
    if check.message_to:
        yield t("With a test message")
    for direction in Direction:
        side = t("Receiving") if direction is Direction.INCOMING else t("Sending")
        yield from _server(check, before, direction, side)
        yield from _connection(check, before, direction, side)
    new, old = _folders(check), _folders(before)
    if new and old and new[0] != old[0]:
        yield t("{new} folders instead of {old}", new=f"{new[0]:,}", old=f"{old[0]:,}")
    if new and old and abs(new[1] - old[1]) > max(100, _A_LOT * old[1]):
        yield t("{new} messages instead of {old}", new=f"{new[1]:,}", old=f"{old[1]:,}")


def _outcome(check: Check, before: Check) -> Iterator[str]:
    if check.outcome is not before.outcome:
        yield t("Works again") if check.outcome is CheckOutcome.PASSED else t("Failed, worked before")
    elif _rule(check) != _rule(before):
        yield t("Another cause than before")


def _rule(check: Check) -> tuple[object, object]:
    return (check.category, check.diagnosis["rule"]) if check.diagnosis else (check.category, None)


def _server(check: Check, before: Check, direction: Direction, side: str) -> Iterator[str]:
    new, old = _parsed(check, direction), _parsed(before, direction)
    if new and old and (new.host, new.port) != (old.host, old.port):
        said = {"side": side, "new": f"{new.host}:{new.port}", "old": f"{old.host}:{old.port}"}
        yield t("{side}: {new} instead of {old}", **said)
    if new and old and new.tls_mode is not old.tls_mode:
        yield t("{side}: {new} instead of {old}", side=side, new=_tls(new), old=_tls(old))
    user, user_before = ((one.users or {}).get(direction) for one in (check, before))
    if user and user_before and user != user_before:
        yield t("{side}: user name {new} instead of {old}", side=side, new=user, old=user_before)


def _parsed(check: Check, direction: Direction) -> Server | None:
    written = (check.servers or {}).get(direction)
    try:
        return accounts.parse_server(written) if written else None
    except RuleBroken:
        return None


def _tls(server: Server) -> str:
    return t(TLS_WORDS[server.tls_mode])


def _connection(check: Check, before: Check, direction: Direction, side: str) -> Iterator[str]:
    """What the server showed of itself otherwise than before, as far as both tests came to it."""
    for name, key, sentence in (
        (StageName.TCP, "address", t("{side}: reached at {new} instead of {old}")),
        (StageName.TLS, "version", t("{side}: TLS {new} instead of TLS {old}")),
    ):
        new, old = (_facts(one, direction, name).get(key) for one in (check, before))
        if new and old and new != old:
            yield t(sentence, side=side, new=new, old=old)
    new_one, old_one = (_facts(one, direction, StageName.TLS).get("certificate") or {} for one in (check, before))
    certificate = facts.shown(new_one)
    if certificate and old_one and new_one["sha256"] != old_one["sha256"]:
        yield t("{side}: a new certificate, valid until {ends}", side=side, ends=certificate.ends)
    told, told_before = (_told(one, direction) for one in (check, before))
    if told and told_before:
        if won := sorted(told - told_before):
            yield t("{side}: now offers {names}", side=side, names=", ".join(won))
        if lost := sorted(told_before - told):
            yield t("{side}: no longer offers {names}", side=side, names=", ".join(lost))


def _told(check: Check, direction: Direction) -> set[str]:
    capabilities = _facts(check, direction, StageName.SIGN_IN).get("capabilities")
    usual = ServerProtocol.IMAP if direction is Direction.INCOMING else ServerProtocol.SMTP
    protocol = (check.servers or {}).get(direction, usual).partition(":")[0]
    return {ability.name for ability in facts.abilities(ServerProtocol(protocol), capabilities) if ability.is_there}


def _folders(check: Check) -> tuple[int, int] | None:
    learned = _facts(check, Direction.INCOMING, StageName.FOLDERS)
    return facts.counts(learned, check.folders) if learned or check.folders else None


def _facts(check: Check, direction: Direction, name: StageName) -> dict[str, Any]:
    here = (stage for stage in check.stages if stage["direction"] == direction and stage["name"] == name)
    return next((stage.get("facts") or {} for stage in here), {})
