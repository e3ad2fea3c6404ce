"""Says in plain words what an error means and what to do: takes the rule of the catalogue and fills in its words."""

from typing import Any

from mailadmin.mail import catalogue, powershell
from mailadmin.mail.catalogue import Rule, Turn
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.tls import STARTTLS_PORTS, TLS_PORTS
from mailadmin.mail.types import Direction, Server, ServerProtocol, StageName
from mailadmin.text import t

# These follow from a code (RFC 6749 5.2, a status), which decides; the rule that fits the words beside it explains.
_DECIDED = (Category.OAUTH, Category.THROTTLED)
_OF_PEOPLE = (Category.OAUTH, Category.AUTH)


def diagnose(
    error: MailError,
    *,
    direction: Direction,
    stage: StageName | None = None,
    server: Server | None = None,
    user_name: str = "",
    address: str = "",
    alone: bool = False,
) -> dict[str, Any]:
    """What `error` means, fit for JSON: {rule, category, title, cause, action (sentences, likeliest first), command,
    links, turn, retry, server_text, direction, certificate, stage}.

    `stage` is where it happened, `user_name` what we signed in with, `address` the account's. `server_text` is the
    server's own text, scrubbed by whoever raised the error; `certificate` what it showed, where that was the trouble.
    `alone`: the app signs in by itself, so there is no owner who could sign in again.
    """
    rule = catalogue.rule(error.code) or catalogue.general(
        error.category, stage=stage, direction=direction, permanent=error.permanent
    )
    words = _words(error, direction, server, user_name, address)
    category = error.category if error.category in _DECIDED else rule.category or error.category
    is_for_person = category in _OF_PEOPLE and rule.turn is not Turn.ADMINISTRATOR
    return (
        _told(rule, words)
        | (_for_app(address) if alone and is_for_person else {})
        | {
            "category": category.value,
            "server_text": error.detail,
            "direction": direction.value,
            "certificate": error.certificate,
            "stage": stage.value if stage else None,
        }
    )


def _for_app(address: str) -> dict[str, Any]:
    """What is done where an app or a service account was turned away, and no person."""
    mailbox = address or t("the mailbox")
    return {
        "action": [
            t("Check at the provider that the app, or the service account, may open {mailbox}.", mailbox=mailbox),
            t("“Verify set-up” on the page of the OAuth app, with {mailbox}, shows which step fails.", mailbox=mailbox),
        ],
        "links": [],
        "turn": Turn.ADMINISTRATOR.value,
    }


def _told(rule: Rule, words: dict[str, object]) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "title": t(rule.title, **words),
        "cause": t(rule.cause, **words),
        "action": [t(sentence, **words) for sentence in rule.action],
        "command": t(rule.command, **words | {"address": powershell.word(str(words["address"]))}),
        "links": list(rule.links),
        "turn": rule.turn.value,
        "retry": rule.retry.value,
    }


def _words(
    error: MailError, direction: Direction, server: Server | None, user_name: str, address: str
) -> dict[str, object]:
    usual = ServerProtocol.IMAP if direction is Direction.INCOMING else ServerProtocol.SMTP
    protocol = server.protocol if server else usual
    user = user_name or address
    return {
        "host": server.host if server else t("the server"),
        "port": server.port if server else TLS_PORTS[protocol],
        "protocol": protocol.upper(),
        "direction": t("receiving") if direction is Direction.INCOMING else t("sending"),
        "user": user,
        "other_user": user.partition("@")[0] if "@" in user else address or t("the whole address"),
        "address": address,
        "tls_port": TLS_PORTS[protocol],
        "starttls_port": STARTTLS_PORTS[protocol],
        "said": error.message,
    }
