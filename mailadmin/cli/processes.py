"""The processes one by one, as the Procfile runs them: `migrate`, `web`, `runner`, `watcher`."""

import json
import os

import click

from mailadmin.cli import needs_boot, settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@needs_boot
def migrate(as_json: bool) -> None:
    """Bring the database up to date; while there is no administrator, print a one-time set-up link."""
    path = _migrate()
    if as_json:
        click.echo(json.dumps({"setup": path or None}))
        return
    click.echo("The database is up to date.")
    if path:
        public_url = settings().public_url
        click.echo(f"Make the first administrator with this link. It works once: {public_url}{path}")


@click.command()
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1, or every one when PORT is set]")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on.  [default: PORT, or 8000]")
@click.option("--migrate", "migrates", is_flag=True, help="Bring the database up to date before.")
@click.option("--tell", type=int, hidden=True, help="The open file to write the path of a set-up link to.")
def web(host: str | None, port: int | None, migrates: bool, tell: int | None) -> None:
    """Serve the console."""
    from mailadmin.cli.web import serve

    environ_port = os.environ.get("PORT", "")
    if environ_port and not environ_port.isdecimal():
        raise click.UsageError(f"PORT has to be a number, not {environ_port!r}.")
    path = needs_boot(_migrate)() if migrates else ""
    if tell is not None:
        with open(tell, "w", encoding="ascii") as supervisor:
            supervisor.write(path)
    serve(
        settings(),
        host=host or ("0.0.0.0" if environ_port else "127.0.0.1"),  # noqa: S104 - a platform's router comes from outside
        port=port or int(environ_port or 8000),
        processes=int(os.environ.get("WEB_CONCURRENCY") or 1),
    )


@click.command()
def runner() -> None:
    """Run jobs, and the clock that starts what is due."""
    from mailadmin.runner import run

    run(settings())


@click.command()
def watcher() -> None:
    """Wait for mail servers to tell of new mail, and have it synced at once."""
    from mailadmin.watcher import run

    run(settings())


def _migrate() -> str:
    """Bring the database up to date. While there is no administrator, the path of a new set-up link, or nothing."""
    from mailadmin import db, schema
    from mailadmin.people import service as people
    from mailadmin.providers import service as providers

    schema.upgrade(db.database().engine)
    with db.transaction() as session:
        providers.follow_catalogue(session)
        path = "" if people.has_administrator(session) else f"/setup?code={people.make_setup_link(session)}"
    db.database().engine.dispose()  # Processes that are forked from here must not find it open.
    return path
