"""`mailadmin people`: who may sign in."""

import json
import sys

import click

from mailadmin import boot, db
from mailadmin.cli import needs_boot
from mailadmin.errors import RuleBroken
from mailadmin.people import factors, service, staff
from mailadmin.people.models import Person
from mailadmin.permissions import COMMAND_LINE, PersonRole


@click.group()
def people() -> None:
    """Add people, let them choose a password, list them."""


@people.command()
@click.option("--email", required=True, help="The address with which the person signs in.")
@click.option("--name", required=True, help="First and last name.")
@click.option("--role", required=True, type=click.Choice([role.value for role in PersonRole]))
@click.option("--password-stdin", is_flag=True, required=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@needs_boot
def add(email: str, name: str, role: str, password_stdin: bool, as_json: bool) -> None:
    """Add a person."""
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise RuleBroken("The password is missing: send it on standard input.")
    with db.transaction() as session:
        person = service.add(
            session, email=email, name=name, role=PersonRole(role), password=password, actor=COMMAND_LINE
        )
    click.echo(json.dumps(_described(person)) if as_json else f"{person.name} can sign in as {person.email}.")


@people.command()
@click.argument("email")
@needs_boot
def link(email: str) -> None:
    """Print a link with which a person chooses a password; earlier ones end."""
    with db.transaction() as session:
        person = service.find(session, email)
        if person is None:
            raise RuleBroken(f"Nobody here has the address {email}.")
        code = staff.make_link(session, person, actor=COMMAND_LINE)
    address = boot.settings().public_url or "https://THE-ADDRESS-OF-THE-CONSOLE"
    click.echo(f"{address}/c/p/{code}")


@people.command("reset-factor")
@click.argument("email")
@needs_boot
def reset_factor(email: str) -> None:
    """Take the second factor from somebody who has lost it; the password alone opens again."""
    with db.transaction() as session:
        person = service.find(session, email)
        if person is None:
            raise RuleBroken(f"Nobody here has the address {email}.")
        factors.reset(session, person, actor=COMMAND_LINE)
    click.echo(f"{person.name} signs in with the password alone now, and is signed out everywhere.")


@people.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per person.")
@needs_boot
def list_people(as_json: bool) -> None:
    """List everybody."""
    with db.reading() as session:
        for person in service.everyone(session):
            state = "" if person.is_active else ", deactivated"
            words = f"{person.name} <{person.email}>, {person.role}{state}"
            click.echo(json.dumps(_described(person)) if as_json else words)


def _described(person: Person) -> dict[str, object]:
    return {"email": person.email, "name": person.name, "role": person.role, "active": person.is_active}
