"""The command `mailadmin`: its subcommands, where their settings come from, and how errors leave it.

Exit 0 means done, 1 failed as reported, 2 wrong usage. The modules of the subcommands are imported when one is called.
"""

import functools
import logging
import os
import resource
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from mailadmin import __version__
from mailadmin.cli import lines
from mailadmin.cli.data_folder import with_data_folder
from mailadmin.config import Settings, read_settings
from mailadmin.errors import MailAdminError
from mailadmin.mail.errors import MailError
from mailadmin.processes import die_with_supervisor

P = ParamSpec("P")
R = TypeVar("R")

COMMANDS = {
    "up": ("mailadmin.cli.up:up", "Everything in one: queue server, migrations, web, runner, watcher."),
    "migrate": ("mailadmin.cli.processes:migrate", "Bring the database up to date."),
    "web": ("mailadmin.cli.processes:web", "The web process."),
    "runner": ("mailadmin.cli.processes:runner", "The process that runs jobs and the clock."),
    "watcher": ("mailadmin.cli.processes:watcher", "The process that servers tell of new mail."),
    "doctor": ("mailadmin.cli.doctor:doctor", "Say what works here, and what to do about the rest."),
    "people": ("mailadmin.cli.people:people", "Add and list people."),
    "providers": ("mailadmin.cli.providers:providers", "Export and import providers."),
    "check": ("mailadmin.cli.check:check", "Test one connection; nothing is stored."),
    "detect": ("mailadmin.cli.detect:detect", "Say where the mail of an address lives, and who says so."),
    "diagnose": ("mailadmin.cli.diagnose:diagnose", "Explain what a server or a program said."),
    "accounts": ("mailadmin.cli.accounts:accounts", "Import, list and sync mail accounts."),
    "vault": ("mailadmin.cli.vault:vault", "Make, change and check the keys that seal all secrets."),
}
SUBCOMMANDS = {"accounts": ("mailadmin.cli.sync:sync", "mailadmin.cli.sync:reinitialise", "mailadmin.cli.audit:audit")}


class Commands(click.Group):
    """The subcommands by name, imported when they are called; our errors become a sentence and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = _load(COMMANDS[cmd_name][0])
        for path in SUBCOMMANDS.get(cmd_name, ()):
            assert isinstance(command, click.Group)
            command.add_command(_load(path))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (MailAdminError, MailError) as error:
            click.echo(error.message, err=True)
            ctx.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailadmin")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), help="The data folder of `mailadmin up`.")
@click.pass_context
def main(ctx: click.Context, data: Path | None) -> None:
    """A console for administrators of mail accounts: connect, test, understand, sync."""
    ctx.obj = data
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # A core file would hold keys and passwords.
    die_with_supervisor()
    lines.begin()
    logging.getLogger("alembic").setLevel(logging.WARNING)


def environment() -> Mapping[str, str]:
    """The environment of this command, completed from the data folder of `mailadmin up`, where there is one."""
    return with_data_folder(os.environ, click.get_current_context().find_object(Path))


def settings() -> Settings:
    """The settings of this command. Raises SettingMissing."""
    return read_settings(environment())


def needs_boot(command: Callable[P, R]) -> Callable[P, R]:
    """Let `command` use the database, the vault and the queue; put it below `@click.command()`."""

    @functools.wraps(command)
    def booted(*args: P.args, **kwargs: P.kwargs) -> R:
        from sqlalchemy.exc import OperationalError, ProgrammingError

        from mailadmin import boot

        boot.start(settings(), busy_seconds=30.0)
        try:
            return command(*args, **kwargs)
        except (OperationalError, ProgrammingError) as error:
            logging.getLogger(__name__).debug("The database refused.", exc_info=True)
            cause = str(error.orig).splitlines()[0]
            raise MailAdminError(
                f"The database cannot be used ({cause}). `mailadmin doctor` says what to do."
            ) from error

    return booted


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
