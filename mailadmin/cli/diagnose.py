"""The command `diagnose`: explains any text of a server or a program; needs no settings, no database and no network."""

import json
import re
import sys
from typing import Any

import click

from mailadmin.mail import catalogue
from mailadmin.mail.answers import REFUSED_TOKEN, blames_password
from mailadmin.mail.catalogue import Rule, Turn
from mailadmin.mail.scrub import scrub
from mailadmin.text import t

LONGEST = 1_000_000
_LAYERS = ("imap", "smtp", "pop3", "oauth", "graph", "net", "tls", "local")
# The category of what we do not know, where the layer in which it was said allows no other.
_UNKNOWN_IN = {"tls": "tls", "net": "network", "oauth": "oauth"}
_UNKNOWN = "unknown"
_NOBODY = {"other", "unknown", "none", "any"}
# Port of SSL/TLS and of STARTTLS. Where the protocol is not known, all three are named.
_PORTS = {"imap": ("993", "143"), "smtp": ("465", "587"), "pop3": ("995", "110")}
_ANY_PORTS = ("993, 995 or 465", "143, 110 or 587")
# Where a sentence only adds a name that we do not have: “the server name ({host})”, “the own address, {address}, or”.
_ADDED = re.compile(r" \(\{(host|user|address)\}\)|, \{(host|user|address)\}(?=[,.:])")
_TURNS = {
    Turn.ADMINISTRATOR: "yours, as the administrator",
    Turn.OWNER: "the owner’s of the mailbox",
    Turn.SERVER: "that of whoever runs the mail server",
    Turn.NOBODY: "nobody’s; it passes by itself",
}


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.option("--protocol", type=click.Choice(_LAYERS), help="Where it was said; otherwise the text may show it.")
@click.option("--provider", default="", metavar="NAME", help="Such as google, microsoft, or the server's host name.")
@click.option("--method", type=click.Choice(["password", "oauth"]), help="How the account signs in.")
@click.option("--address", default="", help="The account's address; stands in commands and sentences then.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.argument("text", nargs=-1, type=click.UNPROCESSED)
def diagnose(
    text: tuple[str, ...], protocol: str | None, provider: str, method: str | None, address: str, as_json: bool
) -> None:
    """Explain TEXT, which a server or a program said; "-" or nothing reads standard input."""
    said = " ".join(text)
    if said in ("", "-"):
        said = sys.stdin.buffer.read(LONGEST).decode("utf-8", "replace")
    if not said.strip():
        raise click.UsageError("There is no text to explain.")
    told = explain(said, protocol=protocol or "", provider=provider, method=method or "", address=address)
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else _sentences(told))


def explain(text: str, *, protocol: str, provider: str, method: str, address: str) -> dict[str, Any]:
    """What `text` means, as `docs/commands.md` promises it."""
    provider = "" if provider.lower() in _NOBODY else provider.lower()
    family = catalogue.family_of(provider if "." in provider else f"{provider}.com") or provider
    found = catalogue.find(text, where=protocol, family=family, method=method)
    if found and method == "oauth" and blames_password(found.category, found.id):
        found = catalogue.rule(REFUSED_TOKEN)
    rule = found or catalogue.rule(_UNKNOWN)
    assert rule is not None
    category = rule.category if found else _UNKNOWN_IN.get(protocol, rule.category)
    words = _words(protocol or catalogue.layer_in(text), address)
    return {
        "rule": rule.id,
        "category": category or "harmless",
        "title": _filled(rule.title, words),
        "cause": _grounds(rule) + _filled(rule.cause, words),
        "sure": not rule.guessed_by and found is not None,
        "action": [_filled(sentence, words) for sentence in rule.action],
        "command": t(rule.command, **words | {"address": address or "ADDRESS", "user": address or "ADDRESS"}),
        "links": list(rule.links),
        "turn": rule.turn,
        "retry": rule.retry,
        "server_text": scrub(text),
    }


def _words(protocol: str, address: str) -> dict[str, str]:
    """What stands for the places of a rule, most of which a text alone cannot tell."""
    tls_port, starttls_port = _PORTS.get(protocol, _ANY_PORTS)
    return {
        "host": t("the server"),
        "port": "",
        "protocol": protocol.upper() if protocol in _PORTS else t("the mail service"),
        "direction": t("sending") if protocol == "smtp" else t("receiving"),
        "user": address or t("this account"),
        "other_user": address.partition("@")[0] or t("the whole address, or only the part before the @"),
        "address": address or t("the address"),
        "tls_port": tls_port,
        "starttls_port": starttls_port,
        "said": t("The text says no more than that."),
    }


def _grounds(rule: Rule) -> str:
    """How a guess came about; nothing for what a rule really heard."""
    said = ", ".join(f"“{word}”" for word in rule.guessed_by)
    if not said:
        return ""
    return t("No rule fits these words well; because of {words} they probably mean this. ", words=said)


def _filled(sentence: str, words: dict[str, str]) -> str:
    sentence = _ADDED.sub(lambda added: added[0] if "@" in words[added[1] or added[2]] else "", sentence)
    sentence = t(sentence.replace("port {port}", "the port").replace("Port {port}", "The port"), **words).strip()
    return sentence[:1].upper() + sentence[1:]


def _sentences(told: dict[str, Any]) -> str:
    is_guess = not told["sure"] and told["rule"] != _UNKNOWN
    lines = [t("Probably: {title}", title=told["title"]) if is_guess else told["title"], told["cause"]]
    lines += [f"  {number}. {sentence}" for number, sentence in enumerate(told["action"], 1)]
    lines += [t("Command: {line}", line=told["command"])] if told["command"] else []
    lines += [t("More: {link}", link=link) for link in told["links"]]
    lines.append(t("Whose turn: {turn}.", turn=t(_TURNS[told["turn"]])))
    lines.append(t("Category {category}, rule {rule}.", category=told["category"], rule=told["rule"]))
    return "\n".join(lines)
