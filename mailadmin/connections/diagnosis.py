"""Says in plain words what an error means and what to do: takes the rule of the catalogue and fills in its words.

Where only a vague rule or none knows the server's words, what they probably mean is said beside it, as a guess. A guess
changes nothing but the words: category, turn and retry, by which accounts pause and sync tries again, stay.
"""

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
_MOST_ACTIONS = 4
_UNHEARD = "{cause} The server’s words are not known to us. They probably mean: {title}."
_HALF_HEARD = "{cause} All of the server’s words together may also mean: {title}."
_PROBABLE = 0.5  # What is less likely is not told to people whose account it is.


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
    links, turn, retry, server_text, direction, certificate, stage, probably}.

    `stage` is where it happened, `user_name` what we signed in with, `address` the account's. `server_text` is the
    server's own text, scrubbed by whoever raised the error; `certificate` what it showed, where that was the trouble.
    `probably` is {rule, category, title} of what its words may mean where no rule knows them, and cause and action say
    so; otherwise None.
    `alone`: the app signs in by itself, so there is no owner who could sign in again.
    """
    rule = catalogue.rule(error.code) or catalogue.general(
        error.category, stage=stage, direction=direction, permanent=error.permanent
    )
    words = _words(error, direction, server, user_name, address)
    category = error.category if error.category in _DECIDED else rule.category or error.category
    is_for_person = category in _OF_PEOPLE and rule.turn is not Turn.ADMINISTRATOR
    told = _told(rule, words) | (_for_app(address) if alone and is_for_person else {})
    return (
        told
        | _guessed(rule, _probable(error, rule, server), told, words)
        | {
            "category": category.value,
            "server_text": error.detail,
            "direction": direction.value,
            "certificate": error.certificate,
            "stage": stage.value if stage else None,
        }
    )


def _probable(error: MailError, rule: Rule, server: Server | None) -> Rule | None:
    """What the server's words may mean, if that is something else than `rule`, which knows no more than they say."""
    if not error.detail or rule.seen or not (rule.heard is None or rule.vague or rule.broad):
        return None
    found = catalogue.find(
        error.detail,
        where=server.protocol if server else "",
        family=catalogue.family_of(server.host) if server else "",
        method="oauth" if error.category is Category.OAUTH else "",
    )
    if found is None or not found.guessed_by or found.likely < _PROBABLE:
        return None
    known = {error.category, rule.category}
    return None if found.category in (known | {Category.AUTH} if Category.OAUTH in known else known) else found


def _guessed(rule: Rule, found: Rule | None, told: dict[str, Any], words: dict[str, object]) -> dict[str, Any]:
    """What is said besides `told`, which is `rule`'s, where the words may mean `found`; the server's verdict stays."""
    if found is None:
        return {"probably": None}
    title = t(found.title, **words)
    advice = [t(sentence, **words) for sentence in found.action]
    known = told["action"]
    return {
        "probably": {"rule": str(found.id), "category": str(found.category), "title": title},
        "cause": t(_UNHEARD if rule.heard is None else _HALF_HEARD, cause=told["cause"], title=title),
        "action": [*known[:1], *(each for each in (*advice, *known[1:]) if each not in known[:1])][:_MOST_ACTIONS],
    }


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
