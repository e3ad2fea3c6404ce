"""The command `check`: one connection test on the command line; nothing is stored."""

import dataclasses
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from mailadmin import boot, db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.service import Leg
from mailadmin.cli import needs_boot
from mailadmin.connections import limits, service
from mailadmin.connections.children import Children
from mailadmin.connections.probe import Task
from mailadmin.connections.result import Result
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Bearer, Direction, Password, Server, Stage, StageOutcome
from mailadmin.permissions import COMMAND_LINE
from mailadmin.providers import service as providers
from mailadmin.providers.servers import direction_of

_SECRETS = {"password": "password", "oauth": "access token"}
_MARKS = {StageOutcome.PASSED: "passed", StageOutcome.FAILED: "FAILED", StageOutcome.SKIPPED: "skipped"}
_DIAGNOSIS = (
    *("rule", "title", "cause", "action", "server_text", "command", "links", "turn", "retry"),
    *("direction", "certificate", "fixes"),
)
_FOLDER = ("path", "name", "role", "role_source", "selectable", "messages")


@click.command()
@click.option("--address", required=True, help="The e-mail address.")
@click.option(
    "--incoming",
    metavar="SERVER",
    help="PROTOCOL:HOST:PORT:TLSMODE, such as imap:mail.example.com:993:implicit or pop3:[::1]:995:implicit.",
)
@click.option("--outgoing", metavar="SERVER", help="The same for sending, such as smtp:mail.example.com:465:implicit.")
@click.option("--username", help="What to sign in as; otherwise the account or its provider says, or the address.")
@click.option("--method", type=click.Choice(list(_SECRETS)), default="password", help="How to sign in.")
@click.option(
    "--secret-stdin", is_flag=True, help="Read the password or access token from the first line of standard input."
)
@click.option(
    "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificates to trust as well."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@needs_boot
def check(
    address: str,
    incoming: str | None,
    outgoing: str | None,
    username: str | None,
    method: str,
    secret_stdin: bool,
    ca: Path | None,
    as_json: bool,
) -> None:
    """Test one connection; nothing is stored.

    Without --incoming and --outgoing the servers of the saved account, or of the provider with the address's domain,
    are tested.
    """
    word = _SECRETS[method]
    if not secret_stdin:
        raise click.UsageError(f"Give the {word} on standard input, with --secret-stdin.")
    servers, known_as = _targets(_address(address), incoming, outgoing)
    secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise click.UsageError(f"There is no {word} on standard input.")
    how = Bearer(username or known_as, secret) if method == "oauth" else Password(username or known_as, secret)
    _count(list(servers.values()))
    rules = boot.settings().rules
    if ca:
        rules = dataclasses.replace(rules, ca_file=str(ca))
    legs = {direction: Leg(server, how) for direction, server in servers.items()}
    result = _test(Task(legs), Children(rules, boot.settings().check_seconds), aloud=not as_json)
    told = service.summary(result, address=address)
    if as_json:
        click.echo(json.dumps(_door(told)))
    else:
        _say_end(told)
    if not result.has_passed:
        raise SystemExit(1)


def _count(servers: list[Server]) -> None:
    """Count this test among the console's, where there is a database. Whoever has a shell is not refused."""
    with suppress(OperationalError, ProgrammingError), db.transaction() as session:
        limits.note(session, actor=COMMAND_LINE, hosts=[server.host for server in servers])


def _targets(address: str, incoming: str | None, outgoing: str | None) -> tuple[dict[Direction, Server], str]:
    """The servers to test, and what to sign in as. What is written on the command line stands above what is stored."""
    written = {Direction.INCOMING: incoming, Direction.OUTGOING: outgoing}
    servers = {d: _parsed(d, text) for d, text in written.items() if text}
    if servers:
        return servers, address
    try:
        return _stored(address)
    except (OperationalError, ProgrammingError):
        _unknown(address)


def _address(text: str) -> str:
    try:
        return accounts.check_address(text)
    except RuleBroken as broken:
        raise click.UsageError(broken.message) from broken


def _parsed(direction: Direction, text: str) -> Server:
    try:
        server = accounts.parse_server(text)
        if direction_of(server.protocol) is not direction:
            raise RuleBroken(f"{server.protocol.upper()} is not for {direction}.")
    except RuleBroken as broken:
        raise click.UsageError(f"--{direction}: {broken.message}") from broken
    return server


def _stored(address: str) -> tuple[dict[Direction, Server], str]:
    with db.reading() as session:
        account = accounts.find(session, address)
        if account:
            found = {d: accounts.server_of(account, d) for d in Direction}
            name = accounts.user_name(account, Direction.INCOMING)
        elif provider := providers.recognise(session, address):
            found = {d: provider.server(d) for d in Direction}
            name = provider.login_format.user_name(address)
        else:
            _unknown(address)
    return {d: server for d, server in found.items() if server}, name


def _unknown(address: str) -> NoReturn:
    domain = address.rpartition("@")[2]
    raise click.UsageError(
        f"No saved account and no provider says where mail of {domain} lives."
        " Name the servers with --incoming and --outgoing."
    )


def _test(task: Task, children: Children, *, aloud: bool) -> Result:
    shown: set[object] = set()
    with children:
        children.start(task)
        while len(children):
            moved = children.wait(60.0)
            if aloud and moved:
                _show(moved[0].result, shown)
    return moved[0].result


def _show(result: Result, shown: set[object]) -> None:
    for key, stage in result.stages.items():
        if key not in shown and stage.outcome is not StageOutcome.RUNNING:
            shown.add(key)
            click.echo(_line(stage))


def _line(stage: Stage) -> str:
    took = f"{stage.ms:.0f} ms" if stage.outcome is not StageOutcome.SKIPPED else ""
    return f"{stage.direction:<9} {stage.name:<9} {_MARKS[stage.outcome]:<8} {took:>8}  {stage.detail}".rstrip()


def _say_end(told: dict[str, Any]) -> None:
    diagnosis = told["diagnosis"]
    if diagnosis is None:
        click.echo(f"The connection works ({told['seconds']:.1f} s, {len(told['folders'])} folders).")
        return
    click.echo(f"\n{diagnosis['title']}\n{diagnosis['cause']}")
    for number, sentence in enumerate(diagnosis["action"], 1):
        click.echo(f"  {number}. {sentence}")
    if diagnosis["command"]:
        click.echo(f"  {diagnosis['command']}")
    for fix in diagnosis["fixes"]:
        click.echo(f"This works instead: {fix['server']}")
    if diagnosis["server_text"]:
        click.echo(f"The server's own words: {diagnosis['server_text']}")


def _door(told: dict[str, Any]) -> dict[str, Any]:
    """What `docs/commands.md` promises, and nothing else."""
    diagnosis = told["diagnosis"]
    return told | {
        "diagnosis": diagnosis and {name: diagnosis[name] for name in _DIAGNOSIS},
        "folders": [{name: folder[name] for name in _FOLDER} for folder in told["folders"]],
    }
