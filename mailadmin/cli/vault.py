"""`mailadmin vault`: keys for the vault, changing them while everything runs, and a look whether all secrets open."""

from uuid import UUID

import click

from mailadmin import db, sealed
from mailadmin.cli import needs_boot
from mailadmin.errors import MailAdminError
from mailadmin.vault import new_key

MOST_NAMED = 10


@click.group()
def vault() -> None:
    """Make, change and check the keys that seal all secrets.

    To change the key: put a new one behind the old one in MAILADMIN_KEYS and restart everything, so that all processes
    can read it; put it first and restart again; run `mailadmin vault rotate`; then take the old one away.
    """


@vault.command()
def key() -> None:
    """Print a new random key for MAILADMIN_KEYS."""
    click.echo(new_key())


@vault.command()
@needs_boot
def rotate() -> None:
    """Seal every secret with the first key; what has it already is left alone, so it may be run again."""
    seen, renewed, broken = _walk(renew=True)
    click.echo(
        f"{seen:,} secrets: {renewed:,} sealed anew, {seen - renewed - len(broken):,} had the first key already."
    )
    _complain(broken)
    click.echo("The other keys are not needed any more.")


@vault.command()
@needs_boot
def verify() -> None:
    """Open every secret, change nothing, and say which cannot be opened."""
    seen, _, broken = _walk(renew=False)
    _complain(broken)
    click.echo(f"{seen:,} secrets, and every one opens.")


def _walk(*, renew: bool) -> tuple[int, int, list[UUID]]:
    """How many secrets there are, how many were sealed anew, and which do not open; a short transaction per batch."""
    seen, renewed, broken = 0, 0, list[UUID]()
    after: UUID | None = None
    while True:
        with db.transaction() if renew else db.reading() as session:
            found = sealed.look_through(session, after=after, renew=renew)
        seen, renewed, after = seen + found.seen, renewed + found.renewed, found.last
        broken.extend(found.broken)
        if after is None:
            return seen, renewed, broken


def _complain(broken: list[UUID]) -> None:
    if not broken:
        return
    named = ", ".join(str(secret_id) for secret_id in broken[:MOST_NAMED])
    more = f" and {len(broken) - MOST_NAMED:,} more" if len(broken) > MOST_NAMED else ""
    raise MailAdminError(
        f"{len(broken):,} secrets cannot be opened: {named}{more}. Their key is missing in MAILADMIN_KEYS, or"
        " SECRET_KEY is another one than it was. Give the key back; if it is lost, the accounts need new passwords."
    )
