"""The command `detect`: where the mail of an address lives, and who says so; nothing is stored."""

import json
import textwrap
from contextlib import suppress
from dataclasses import asdict
from itertools import groupby
from typing import Any

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from mailadmin import boot, db
from mailadmin.cli import environment, settings
from mailadmin.config import read_ispdb, read_rules
from mailadmin.errors import RuleBroken, SettingMissing
from mailadmin.mail import known_providers
from mailadmin.mail.advice import advice
from mailadmin.mail.discovery import Attempt, Discovery, Finding, discover
from mailadmin.mail.types import LoginFormat
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider

_LOGINS = {
    LoginFormat.ADDRESS: "the address",
    LoginFormat.LOCAL_PART: "what stands before the @",
    LoginFormat.WINDOWS: "DOMAIN\\name",
    LoginFormat.BY_HAND: "a user name of its own",
}
_WIDTH = 100


@click.command()
@click.argument("address_or_domain")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def detect(address_or_domain: str, as_json: bool) -> None:
    """Say where the mail of ADDRESS_OR_DOMAIN lives: what the console's own providers, the catalogue and the network
    know. Servers are told the domain, never the address. Works without a database.
    """
    try:
        domain = providers.normalised_domain(address_or_domain.rpartition("@")[2])
    except RuleBroken as broken:
        raise click.UsageError(broken.message) from broken
    if own := _own(domain):
        told = _told(Discovery(domain), [own])
    else:
        found = discover(domain, read_rules(environment()), ispdb=read_ispdb(environment()))
        told = _told(found, [_finding(one) for one in found.findings])
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else _sentences(told))
    if not told["findings"]:
        raise SystemExit(1)


def _own(domain: str) -> dict[str, Any] | None:
    """What the console's own provider of `domain` says, if there is a console with one."""
    with suppress(SettingMissing, OperationalError, ProgrammingError):
        boot.start(settings())
        with db.reading() as session:
            if provider := providers.recognise(session, f"@{domain}"):
                return _of_provider(provider, domain)
    return None


def _of_provider(provider: Provider, domain: str) -> dict[str, Any]:
    return {
        "source": "provider",
        "detail": domain,
        "name": provider.name,
        "known": provider.catalogue_key or "",
        "servers": [str(row.server) for row in provider.servers],
        "login": provider.login_format.value,
        "methods": [method.value for method in provider.sign_in_methods],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        **{name: getattr(finding, name) for name in ("source", "detail", "name", "known")},
        "servers": [str(server) for server in finding.servers],
        "login": finding.login.value,
        "methods": [method.value for method in finding.methods],
    }


def _told(discovery: Discovery, findings: list[dict[str, Any]]) -> dict[str, Any]:
    """What `docs/commands.md` promises."""
    known = known_providers.everyone().get(findings[0]["known"]) if findings else None
    return {
        "domain": discovery.domain,
        "problem": discovery.problem,
        "gateway": discovery.gateway,
        "findings": findings,
        "advice": [asdict(one) for one in advice(known)] if known else [],
        "attempts": [_attempt(attempt) for attempt in discovery.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in ("source", "asked", "found", "problem")}


def _sentences(told: dict[str, Any]) -> str:
    lines = [told["problem"]] if told["problem"] else []
    if told["gateway"]:
        lines.append(
            f"A mail filter stands before the mailboxes: {told['gateway']}. Ask who runs the server behind it."
        )
    for finding in told["findings"]:
        lines += _about(finding)
    if not told["findings"] and not told["problem"]:
        lines.append(f"Nobody could say where mail of {told['domain']} lives.")
    for one in told["advice"]:
        lines += ["", *_wrapped(f"{one['title']}. {one['text']}"), *([one["url"]] if one["url"] else [])]
    if told["attempts"]:
        lines += ["", "Asked:"]
    for problem, attempts in groupby(told["attempts"], key=lambda attempt: attempt["problem"]):
        for attempt in attempts:
            mark = "found" if attempt["found"] else "-"
            lines.append(f"  {attempt['source']:<10} {mark:<6} {attempt['asked']}")
        lines += _wrapped(problem, indent=20)
    return "\n".join(lines)


def _about(finding: dict[str, Any]) -> list[str]:
    name = f"{finding['name']}, " if finding["name"] else ""
    signs_in = f"Signs in as {_LOGINS[LoginFormat(finding['login'])]}, by {' or '.join(finding['methods'])}."
    return [
        f"{finding['source']}: {name}{finding['detail']}",
        *(f"  {server}" for server in finding["servers"]),
        *([f"  {signs_in}"] if finding["servers"] else []),
    ]


def _wrapped(text: str, *, indent: int = 0) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)
