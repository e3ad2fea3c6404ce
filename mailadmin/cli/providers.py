"""`mailadmin providers`: hand them out as a file and take them in from one."""

import json
from pathlib import Path
from typing import BinaryIO

import click

from mailadmin import db
from mailadmin.cli import needs_boot
from mailadmin.errors import RuleBroken
from mailadmin.oauth import service as oauth
from mailadmin.permissions import COMMAND_LINE
from mailadmin.providers import service


@click.group()
def providers() -> None:
    """Export and import providers."""


@providers.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@needs_boot
def export(file: Path | None) -> None:
    """Write all providers to FILE, or to standard output, as JSON without secrets."""
    with db.reading() as session:
        told = service.export(session)
    if file is None:
        click.echo(told, nl=False)
        return
    try:
        file.write_text(told, encoding="utf-8")
    except OSError as error:
        raise RuleBroken(f"{file} cannot be written: {error.strerror}.") from error
    number = len(json.loads(told)["providers"])
    click.echo(f"{number} {'provider is' if number == 1 else 'providers are'} in {file}.")


@providers.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--same-company", is_flag=True, help="Stored passwords may be sent to new or less safe servers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per provider.")
@click.pass_context
@needs_boot
def take_in(ctx: click.Context, file: BinaryIO, dry_run: bool, same_company: bool, as_json: bool) -> None:
    """Make the providers in FILE (- is standard input) the ones here: all of them, or none while one is refused."""
    content = file.read(service.LARGEST_FILE + 1)
    with db.database().session() as session:
        planned = service.plan_import(session, content, has_passwords=oauth.holds_secrets)
        for line in planned.lines:
            told = {"name": line.name, "outcome": line.kind, "reasons": [*line.reasons, *line.exposures]}
            click.echo(json.dumps(told) if as_json else f"{line.kind}: {' '.join([line.name, *told['reasons']])}")
        if not dry_run and planned.can_be_done:
            if planned.exposes and not same_company:
                raise RuleBroken("Stored passwords would go there. Add --same-company if that is right.")
            service.apply_import(session, planned, is_same_company=same_company, actor=COMMAND_LINE)
            session.commit()
    if planned.count("refused"):
        click.echo("Nothing was imported: a file is taken whole or not at all.", err=True)
        ctx.exit(1)
