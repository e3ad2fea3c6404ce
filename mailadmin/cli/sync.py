"""`mailadmin accounts sync` and `reinitialise`: sync accounts now, in the foreground, and end."""

import json
import time
from dataclasses import dataclass

import click
from sqlalchemy.orm import Session

from mailadmin import db, leases
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.cli import needs_boot
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import Category
from mailadmin.permissions import COMMAND_LINE
from mailadmin.sync import service
from mailadmin.sync.folders import stored
from mailadmin.sync.models import Folder, RunKind, RunOutcome, SyncRun
from mailadmin.sync.run import perform
from mailadmin.text import t

WAIT_SECONDS = 3600.0
LOOK_SECONDS = 0.3


@dataclass(slots=True)
class Report:
    """What is printed of one account. `reason` goes to standard error."""

    address: str
    outcome: RunOutcome = RunOutcome.FAILED
    category: Category | None = None
    new: int = 0
    changed: int = 0
    gone: int = 0
    unreadable: int = 0
    stored: int = 0
    seconds: float = 0.0
    reason: str = ""

    def as_json(self) -> str:
        """One object on one line, as docs/commands.md promises it."""
        return json.dumps({name: getattr(self, name) for name in Report.__slots__ if name != "reason"})

    def tell(self, *, as_json: bool) -> None:
        """Print it."""
        click.echo(self.as_json() if as_json else self.as_words())
        if self.reason:
            click.echo(f"{self.address}: {self.reason}", err=True)

    def as_words(self) -> str:
        """One line for a person."""
        return t(
            "{address}: {outcome}, {new:,} new, {changed:,} changed, {gone:,} gone, {stored:,} stored, {seconds:.1f} s",
            **{name: getattr(self, name) for name in Report.__slots__},
        )


@click.command()
@click.argument("addresses", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All accounts that are set up and not paused.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per account and line.")
@needs_boot
def sync(addresses: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Sync ADDRESSES now, in the foreground, and end."""
    if bool(addresses) == every:
        raise click.UsageError(t("Give addresses, or --all."))
    reports = []
    for account_id, address in chosen(addresses):
        reports.append(_sync(account_id, address))
        reports[-1].tell(as_json=as_json)
    if any(report.outcome is RunOutcome.FAILED for report in reports):
        raise SystemExit(1)


@click.command()
@click.argument("address")
@click.argument("folder", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@needs_boot
def reinitialise(address: str, folder: str | None, as_json: bool) -> None:
    """Forget what was read of ADDRESS, or of its FOLDER alone, and read it again now, in the foreground.

    Purposes, chosen folders and history stay, and people see the old list until the new one is whole.
    """
    [(account_id, known_as)] = chosen((address,))
    with db.transaction() as session:
        account = accounts.get(session, account_id)
        row = _folder(session, account, folder) if folder else None
        service.reinitialise(session, account, folder=row, actor=COMMAND_LINE)
    report = _sync(account_id, known_as)
    report.tell(as_json=as_json)
    if report.outcome is RunOutcome.FAILED:
        raise SystemExit(1)


def _folder(session: Session, account: Account, path: str) -> Folder:
    """The folder with `path`, capitalised in any way where only one is meant."""
    read = [row for row in stored(session, account.id) if row.is_active and not row.is_gone and not row.is_wished]
    found = [row for row in read if row.path == path] or [row for row in read if row.path.lower() == path.lower()]
    if len(found) != 1:
        raise click.UsageError(t("There is no folder “{path}” that is synced.", path=path))
    return found[0]


def chosen(addresses: tuple[str, ...]) -> list[tuple[int, str]]:
    """The ids and addresses of the accounts that were asked for; all that can be synced where none was named."""
    with db.reading() as session:
        if not addresses:
            live = accounts.all_live(session)
            return [(a.id, a.address) for a in live if a.is_set_up and accounts.state_of(a) != "paused"]
        found = [(accounts.find(session, address), address) for address in addresses]
    unknown = [address for account, address in found if account is None]
    if unknown:
        raise click.UsageError(t("There is no account {addresses}.", addresses=", ".join(unknown)))
    return [(account.id, account.address) for account, _ in found if account is not None]


def _sync(account_id: int, address: str) -> Report:
    """Sync one account; a run that somebody else began earlier is waited for, and followed by one of our own."""
    report, began = Report(address), time.monotonic()
    try:
        is_ours = False
        while not is_ours:
            run_id, is_ours = _request(account_id)
            _add(report, _await(run_id, until=began + WAIT_SECONDS))
    except RuleBroken as broken:
        report.outcome, report.reason = RunOutcome.FAILED, broken.message
    report.seconds = round(time.monotonic() - began, 3)
    return report


def audited(account_id: int) -> str:
    """Audit one account, together with whoever syncs it already; why it is not complete, or nothing.

    Raises RuleBroken where it cannot be synced.
    """
    until = time.monotonic() + WAIT_SECONDS
    while True:
        run_id, _ = _request(account_id, RunKind.AUDIT)
        run = _await(run_id, until=until)
        if run.kind is RunKind.AUDIT:
            return run.reason


def _request(account_id: int, kind: RunKind = RunKind.USUAL) -> tuple[int, bool]:
    """The account's open run, and whether it began after we asked, so that it sees what is on the server now."""
    with db.transaction() as session:
        leases.break_dead(session)
        account = accounts.get(session, account_id)
        run = service.request_run(session, account=account, requested_by=COMMAND_LINE.name, kind=kind)
        return run.id, run.started_at is None


def _await(run_id: int, *, until: float) -> SyncRun:
    """Work on the run, or wait for whoever does. Raises RuleBroken when that takes too long."""
    while time.monotonic() < until:
        perform(run_id)
        with db.reading() as session:
            run = service.get_run(session, run_id)
        if run.finished_at is not None:
            return run
        time.sleep(LOOK_SECONDS)
        with db.transaction() as session:
            leases.break_dead(session)
    raise RuleBroken(t("Somebody else has been syncing this account for an hour."))


def _add(report: Report, run: SyncRun) -> None:
    assert run.outcome is not None
    report.outcome, report.category, report.reason = run.outcome, run.category, run.reason
    report.stored, report.unreadable = run.stored, run.unreadable
    report.new += run.new
    report.changed += run.changed
    report.gone += run.gone
