"""`mailadmin accounts audit`: compare accounts in full with their servers now, and print what was found."""

import json
from collections.abc import Iterator
from typing import Any

import click

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.cli import needs_boot
from mailadmin.cli.sync import audited as audited_now
from mailadmin.cli.sync import chosen
from mailadmin.errors import RuleBroken
from mailadmin.mail.scrub import visible
from mailadmin.sync import audited
from mailadmin.sync.models import Folder
from mailadmin.text import t


@click.command()
@click.argument("addresses", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All accounts that are set up and not paused.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per account and line.")
@needs_boot
def audit(addresses: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Compare ADDRESSES with their servers in full, repair what differs, and print what was found.

    Ends with 1 if one of them does not agree with its server, or could not be compared.
    """
    if bool(addresses) == every:
        raise click.UsageError(t("Give addresses, or --all."))
    agree = True
    for account_id, address in chosen(addresses):
        reason = ""
        try:
            reason = audited_now(account_id)
        except RuleBroken as broken:
            reason = broken.message
        told = tell(account_id, address, reason)
        agree = agree and told["agrees"]
        for line in [json.dumps(told)] if as_json else as_table(told):
            click.echo(line)
    if not agree:
        raise SystemExit(1)


def tell(account_id: int, address: str, reason: str) -> dict[str, Any]:
    """What the audit of an account found, as docs/commands.md promises it; `reason` says why it is not complete."""
    with db.reading() as session:
        account = accounts.get(session, account_id)
        folders = [_folder(row) for row in audited.synced(session, account_id)]
        return {
            "address": address,
            "agrees": bool(account.audit_agrees) and not reason,
            "audited_at": account.audited_at.isoformat() if account.audited_at else None,
            "reason": reason,
            "folders": folders,
        }


def _folder(row: Folder) -> dict[str, Any]:
    found: dict[str, Any] = row.audit or {}
    return {
        "folder": row.path,
        **{name: found.get(name) for name in audited.NUMBERS},
        "why": dict(found.get("why", [])),
    }


def as_table(told: dict[str, Any]) -> Iterator[str]:
    """The same for a person: a line for the account, and one for each folder."""
    yield visible(
        f"{told['address']}: {t('agrees with the server') if told['agrees'] else told['reason'] or t('differs')}"
    )
    width = max((len(visible(folder["folder"])) for folder in told["folders"]), default=0)
    for folder in told["folders"]:
        name = visible(folder["folder"]).ljust(min(width, 60))
        if folder["server"] is None:
            yield f"  {name}  {t('not compared')}"
        else:
            yield visible(f"  {name}  {_numbers(folder)}")


def _numbers(folder: dict[str, Any]) -> str:
    said = t("server {server:>9,} / stored {stored:>9,} / unreadable {unreadable:,}", **folder)
    if folder["why"]:
        said += f" ({'; '.join(f'{number:,} x {reason}' for reason, number in folder['why'].items())})"
    if any(folder[name] for name in ("missing", "extra", "flags")):
        said += t("; found {missing:,} missing, {extra:,} too many, {flags:,} with other flags", **folder)
        said += t(", {left:,} are left", **folder) if folder["left"] else t(", repaired")
    return said
