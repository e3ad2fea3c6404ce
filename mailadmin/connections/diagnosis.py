"""Says in plain words what an error means and what to do: picks a rule of catalogue.toml and fills in its words."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName
from mailadmin.text import t

_TLS_PORTS = {ServerProtocol.IMAP: 993, ServerProtocol.SMTP: 465}
_STARTTLS_PORTS = {ServerProtocol.IMAP: 143, ServerProtocol.SMTP: 587}


@dataclass(frozen=True, slots=True)
class Rule:
    """One diagnosis and its conditions, as catalogue.toml explains them."""

    id: str
    category: Category
    title: str
    cause: str
    action: tuple[str, ...]
    stages: frozenset[StageName] = frozenset()
    said: re.Pattern[str] | None = None
    heard: re.Pattern[str] | None = None
    permanent: bool | None = None
    direction: Direction | None = None


@cache
def catalogue() -> tuple[Rule, ...]:
    """All rules, in the order in which they are looked through."""
    data = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8"))
    return tuple(_rule(entry, data["sentences"]) for entry in data["rule"])


def _rule(entry: dict[str, Any], sentences: dict[str, str]) -> Rule:
    entry["action"] = tuple(sentences.get(text.strip("{}"), text) for text in entry["action"])
    entry["category"] = Category(entry["category"])
    entry["stages"] = frozenset(map(StageName, entry.get("stages", ())))
    for name in ("said", "heard"):
        if name in entry:
            entry[name] = re.compile(entry[name], re.IGNORECASE)
    if "direction" in entry:
        entry["direction"] = Direction(entry["direction"])
    return Rule(**entry)


def diagnose(
    error: MailError,
    *,
    direction: Direction,
    stage: StageName | None = None,
    server: Server | None = None,
    user_name: str = "",
    address: str = "",
) -> dict[str, Any]:
    """What `error` means: {rule, title, cause, action (sentences, likeliest first), server_text, direction, category}.

    `stage` is where it happened, `user_name` what we signed in with, `address` the account's. `server_text` is the
    server's own text, scrubbed by whoever raised the error.
    """
    rule = next(rule for rule in catalogue() if _applies(rule, error, direction, stage))
    words = _words(error, direction, server, user_name, address)
    return {
        "rule": rule.id,
        "title": t(rule.title, **words),
        "cause": t(rule.cause, **words),
        "action": [t(sentence, **words) for sentence in rule.action],
        "server_text": error.detail,
        "direction": direction.value,
        "category": error.category.value,
    }


def _applies(rule: Rule, error: MailError, direction: Direction, stage: StageName | None) -> bool:
    return (
        rule.category is error.category
        and (not rule.stages or stage in rule.stages)
        and (rule.permanent is None or rule.permanent is error.permanent)
        and (rule.direction is None or rule.direction is direction)
        and (rule.said is None or bool(rule.said.search(error.message)))
        and (rule.heard is None or bool(rule.heard.search(error.detail)))
    )


def _words(
    error: MailError, direction: Direction, server: Server | None, user_name: str, address: str
) -> dict[str, object]:
    usual = ServerProtocol.IMAP if direction is Direction.INCOMING else ServerProtocol.SMTP
    protocol = server.protocol if server else usual
    user = user_name or address
    return {
        "host": server.host if server else t("the server"),
        "port": server.port if server else _TLS_PORTS[protocol],
        "protocol": protocol.upper(),
        "direction": t("receiving") if direction is Direction.INCOMING else t("sending"),
        "user": user,
        "other_user": user.partition("@")[0] if "@" in user else address or t("the whole address"),
        "address": address,
        "tls_port": _TLS_PORTS[protocol],
        "starttls_port": _STARTTLS_PORTS[protocol],
        "said": error.message,
    }
