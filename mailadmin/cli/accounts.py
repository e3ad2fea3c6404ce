"""`mailadmin accounts`: take many accounts over from a CSV file, and list what there is."""

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

import click

from mailadmin import db, queue
from mailadmin.access.teams import check_members
from mailadmin.accounts import service
from mailadmin.accounts.models import Account
from mailadmin.cli import needs_boot
from mailadmin.cli.account_cells import COLUMNS, wish_of_cells
from mailadmin.connections import service as connections
from mailadmin.errors import MailAdminError, RuleBroken
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import Direction
from mailadmin.permissions import COMMAND_LINE


@dataclass(frozen=True, slots=True)
class Row:
    """One account of the file: the line where it begins, its cells by column, and why it cannot be read, if so."""

    line: int
    cells: dict[str, str]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: imported, or refused for a reason."""

    line: int
    address: str
    outcome: str
    reason: str = ""


@click.group()
def accounts() -> None:
    """Import, list and sync mail accounts."""


@accounts.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8-sig"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per row.")
@click.pass_context
@needs_boot
def import_(ctx: click.Context, file: IO[str], as_json: bool) -> None:
    """Add the accounts of FILE, a CSV file, and have each tested; those that pass set themselves up.

    Rows that cannot be taken are reported with their line and the reason; the others are taken. Only the columns
    address and password are required.
    """
    outcomes = []
    for row in read_rows(file):
        outcomes.append(take(row))
        click.echo(json.dumps(asdict(outcomes[-1])) if as_json else _said(outcomes[-1]))
    imported = [outcome for outcome in outcomes if outcome.outcome == "imported"]
    refused = len(outcomes) - len(imported)
    if imported and not queue.ring("check"):
        click.echo("The queue cannot be reached. The tests start by themselves when it is back.", err=True)
    if not as_json:
        click.echo(f"{len(imported)} imported, {refused} refused.")
    ctx.exit(1 if refused else 0)


@accounts.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per account.")
@needs_boot
def list_(as_json: bool) -> None:
    """All accounts with their state."""
    with db.reading() as session:
        for account in service.all_live(session):
            told = describe(account)
            click.echo(json.dumps(told) if as_json else f"{told['state']:<12}{told['stored']:>9,}  {told['address']}")


@accounts.command("show")
@click.argument("account")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@needs_boot
def show(account: str, as_json: bool) -> None:
    """Everything that ACCOUNT is, its address or its ID, but for secrets."""
    with db.reading() as session:
        found = service.named(session, account)
        if found is None:
            raise MailAdminError(f"There is no account called {account}.")
        told = describe(found)
    if as_json:
        click.echo(json.dumps(told))
        return
    for name, value in told.items():
        for n, line in enumerate(str("" if value is None else value).splitlines() or [""]):
            click.echo(visible(f"{'' if n else name:<15}{line}".rstrip()))


def describe(account: Account) -> dict[str, Any]:
    """What `list --json` and `show` say of `account`; where it can be imported, in the words of the file."""
    servers = {direction: service.server_of(account, direction) for direction in Direction}
    return {
        "address": account.address,
        "slug": account.slug,
        "name": account.name,
        "kind": account.kind.value,
        "owner": account.owner.email if account.owner else None,
        "team": account.team.name if account.team else None,
        "primary": account.is_primary,
        "provider": account.provider.name if account.provider else None,
        "protocol": account.protocol.value,
        "incoming": str(servers[Direction.INCOMING] or "") or None,
        "outgoing": str(servers[Direction.OUTGOING] or "") or None,
        "login_format": account.login_format.value if account.login_format else None,
        "username": service.user_name(account, Direction.INCOMING),
        "method": account.method.value if account.method else None,
        "sender_name": account.sender_name,
        "sender_address": account.sender_address,
        "reply_to": account.reply_to,
        "sent_copies": account.sent_copies.value,
        "contacts": account.new_contacts.value,
        "since": account.window.value,
        "sync_minutes": account.sync_minutes,
        "notes": account.notes,
        "state": service.state_of(account),
        "reason": account.health_reason or account.outgoing_reason,
        "stored": account.stored,
        "synced_at": account.synced_at.isoformat() if account.synced_at else None,
    }


def read_rows(file: IO[str]) -> Iterator[Row]:
    """The rows of a CSV file with a header, separated by commas, or by semicolons as some spreadsheets do.

    Raises MailAdminError when it has no such header, or is not text.
    """
    try:
        header = file.readline()
        delimiter = ";" if ";" in header and "," not in header else ","
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
        _check_header(names)
        reader, begins = csv.reader(file, delimiter=delimiter), 2
        for cells in reader:
            if any(cell.strip() for cell in cells):
                trouble = "This row has more cells than there are columns." if len(cells) > len(names) else ""
                yield Row(begins, dict(zip(names, cells, strict=False)), trouble)
            begins = reader.line_num + 2
    except UnicodeDecodeError as error:
        raise MailAdminError("The file is not UTF-8 text. Save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise MailAdminError(f"From line {begins} on, the file is not CSV: {error}.") from error


def _check_header(names: list[str]) -> None:
    if "address" not in names:
        raise MailAdminError("The first line has to name the columns, and one of them has to be address.")
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise MailAdminError(f"There is no column {unknown[0]!r}. There are: {', '.join(COLUMNS)}.")
    if len(set(names)) < len(names):
        raise MailAdminError("A column stands there twice.")


def take(row: Row) -> Outcome:
    """Add the account of `row` in a transaction of its own, and ask for a test of it."""
    address = row.cells.get("address", "").strip()
    try:
        if row.trouble:
            raise RuleBroken(row.trouble)
        with db.transaction() as session:
            account = service.create(session, wish=wish_of_cells(session, row.cells), actor=COMMAND_LINE)
            check_members(session, account)
            connections.request_many(session, accounts_=[account], actor=COMMAND_LINE)
            return Outcome(row.line, account.address, "imported")
    except RuleBroken as broken:
        return Outcome(row.line, address, "refused", broken.message)


def _said(outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    # A file may come from somebody else; a terminal obeys control characters.
    return visible(f"line {outcome.line}  {outcome.outcome}  {outcome.address}{reason}")
