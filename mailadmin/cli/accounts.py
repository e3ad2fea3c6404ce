"""`mailadmin accounts`: take many accounts over from a CSV file, and list what there is."""

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

import click
from sqlalchemy.orm import Session

from mailadmin import db, queue
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Kind, Window
from mailadmin.cli import needs_boot
from mailadmin.connections import service as connections
from mailadmin.errors import MailAdminError, RuleBroken
from mailadmin.mail.scrub import visible
from mailadmin.permissions import COMMAND_LINE
from mailadmin.providers import service as providers
from mailadmin.sealed import Secret

COLUMNS = (
    *("address", "name", "kind", "owner", "team", "provider", "incoming", "outgoing"),
    *("username", "method", "password", "since", "folders"),
)


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

    Rows that cannot be taken are reported with their line and the reason; the others are taken. Only the column
    address is required.
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


def describe(account: Account) -> dict[str, Any]:
    """What `list --json` says of `account`."""
    return {
        "address": account.address,
        "name": account.name,
        "kind": account.kind.value,
        "owner": account.owner.email if account.owner else None,
        "provider": account.provider.name if account.provider else None,
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
            account = service.create(session, wish=_wish(session, row.cells), actor=COMMAND_LINE)
            service.choose_window(session, account, window=_window(row.cells.get("since", "")))
            connections.request_many(session, accounts_=[account], actor=COMMAND_LINE)
            return Outcome(row.line, account.address, "imported")
    except RuleBroken as broken:
        return Outcome(row.line, address, "refused", broken.message)


def _wish(session: Session, cells: dict[str, str]) -> service.AccountWish:
    """The account that `cells` describe. Raises RuleBroken."""

    def cell(name: str) -> str:
        text = cells.get(name, "").strip()
        if not text.isprintable():
            raise RuleBroken(f"The cell {name} has a line break or a control character.")
        return text

    if cell("method").lower() not in ("", "password"):
        raise RuleBroken(f"“{cell('method')}” is not a sign-in method here; write password.")
    password = cells.get("password", "")
    if not password:
        raise RuleBroken("The password is missing.")
    return service.AccountWish(
        address=cell("address"),
        name=cell("name"),
        kind=_kind(cell("kind").lower(), owner=cell("owner"), team=cell("team")),
        owner_id=_owner(session, cell("owner")),
        provider_id=_provider(session, cell("provider")),
        incoming=service.parse_server(cell("incoming")) if cell("incoming") else None,
        outgoing=service.parse_server(cell("outgoing")) if cell("outgoing") else None,
        login=service.Login(cell("username"), Secret(password)),
        wanted_folders=cell("folders"),
    )


def _kind(text: str, *, owner: str, team: str) -> Kind:
    if text == Kind.TEAM or team:
        raise RuleBroken("There are no teams yet; write shared or personal.")
    if text not in ("", Kind.SHARED, Kind.PERSONAL):
        raise RuleBroken(f"“{text}” is not a kind of account; write shared or personal.")
    return Kind(text) if text else Kind.PERSONAL if owner else Kind.SHARED


def _owner(session: Session, email: str) -> int | None:
    if not email:
        return None
    for person in service.possible_owners(session):
        if person.email == email.lower():
            return person.id
    raise RuleBroken(f"Nobody here has the address {email}.")


def _provider(session: Session, name: str) -> int | None:
    if not name:
        return None
    provider = providers.find(session, name)
    if provider is None:
        raise RuleBroken(f"There is no provider called {name}.")
    return provider.id


def _window(text: str) -> Window:
    word = text.strip().lower()
    if word and word not in set(Window):
        raise RuleBroken(f"“{word}” says not how far back to sync; write {', '.join(Window)}.")
    return Window(word) if word else Window.THREE_MONTHS


def _said(outcome: Outcome) -> str:
    reason = f": {outcome.reason}" if outcome.reason else ""
    # A file may come from somebody else; a terminal obeys control characters.
    return visible(f"line {outcome.line}  {outcome.outcome}  {outcome.address}{reason}")
