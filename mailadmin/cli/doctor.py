"""`mailadmin doctor`: what works in this installation, and what to do about the rest."""

import json
from dataclasses import asdict, dataclass
from uuid import uuid4

import click
from sqlalchemy.exc import SQLAlchemyError

from mailadmin import boot, db, leases, queue, schema
from mailadmin.cli import settings
from mailadmin.config import Settings, without_password
from mailadmin.errors import SettingMissing
from mailadmin.organisation import service as organisation
from mailadmin.sealed import SealedSecret, reveal
from mailadmin.sync import watching
from mailadmin.vault import Unsealable, open_vault


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: its name, whether it works, and what was found or what to do."""

    name: str
    ok: bool
    text: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what works in this installation, and what to do about the rest."""
    found = examine()
    ok = all(finding.ok for finding in found)
    if as_json:
        click.echo(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in found]}))
    else:
        for finding in found:
            mark = click.style("ok", fg="green") if finding.ok else click.style("NO", fg="red", bold=True)
            click.echo(f"{mark}  {finding.name:<11}{finding.text}")
    ctx.exit(0 if ok else 1)


def examine() -> list[Finding]:
    """Everything that is looked at, in the order in which it is best mended."""
    try:
        current = settings()
        boot.start(current)
    except SettingMissing as error:
        return [Finding("settings", False, error.message)]
    address = current.public_url or "not set: give it as PUBLIC_URL when the console is reached through another name"
    found = [Finding("settings", True, f"read; the console's address is {address}")]
    found += _database(current)
    if all(finding.ok for finding in found):
        found += [_key(current), _runner(), _clock(), _watcher(), _mail()]
    return [*found, _queue(current), Finding("outbound", True, _outbound(current))]


def _database(current: Settings) -> list[Finding]:
    where = without_password(current.database_url)
    try:
        with db.database().engine.connect() as connection:
            is_current = schema.is_current(connection)
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        return [Finding("database", False, f"{where} does not answer ({cause}). Look at DATABASE_URL.")]
    migrated = "up to date" if is_current else "not up to date: run `mailadmin migrate`"
    return [Finding("database", True, where), Finding("migrations", is_current, migrated)]


def _key(current: Settings) -> Finding:
    vault = open_vault(keys=current.vault_keys, secret_key=current.secret_key)
    proof, context = "it opens", uuid4().bytes
    works = vault.open(vault.seal(proof, context=context), context=context) == proof
    with db.reading() as session:
        newest = session.query(SealedSecret.id).order_by(SealedSecret.created_at.desc()).limit(1).scalar()
        try:
            if newest is not None:
                reveal(session, newest)
        except Unsealable:
            text = "the stored secrets do not open: give back the SECRET_KEY or MAILADMIN_KEYS that sealed them"
            return Finding("key", False, text)
    return Finding("key", works, "seals and opens" + (", also what is stored" if newest is not None else ""))


def _runner() -> Finding:
    with db.reading() as session:
        alive = leases.held_now(session, "runner:")
    if not alive:
        return Finding("runner", False, "none was seen in the last 30 s: start `mailadmin runner`, or `mailadmin up`")
    return Finding("runner", True, ", ".join(f"{lease.holder}, since {lease.taken_at:%H:%M:%S} UTC" for lease in alive))


def _clock() -> Finding:
    with db.reading() as session:
        leads = leases.held_now(session, "clock")
    text = f"led by {leads[0].holder}" if leads else "stands still: a runner has to run; a new one may need 20 s"
    return Finding("clock", bool(leads), text)


def _watcher() -> Finding:
    with db.reading() as session:
        alive, watched = leases.held_now(session, "watcher:"), watching.count(session)
    if not alive:
        return Finding("watcher", False, "none was seen in the last 30 s: start `mailadmin watcher`, or `mailadmin up`")
    who = ", ".join(f"{lease.holder}, since {lease.taken_at:%H:%M:%S} UTC" for lease in alive)
    return Finding("watcher", True, f"{who}; servers tell of new mail for {watched:,} accounts")


def _mail() -> Finding:
    with db.reading() as session:
        is_used = organisation.uses_mail(session)
    off = "integrated e-mail is switched off for the whole organisation (Settings in the console): nothing is synced"
    return Finding("mail", True, "integrated e-mail is on" if is_used else off)


def _queue(current: Settings) -> Finding:
    where, waiting = without_password(current.redis_url), queue.waiting()
    if waiting is None:
        return Finding("queue", False, f"{where} does not answer: start `mailadmin up`, or look at REDIS_URL")
    return Finding("queue", True, f"{where}; waiting: " + ", ".join(f"{n} {line}" for line, n in waiting.items()))


def _outbound(current: Settings) -> str:
    rules = current.rules
    said = ["to public addresses" + "".join(f", to {network}" for network in rules.networks)]
    if rules.ports:
        said.append("also ports " + ", ".join(map(str, sorted(rules.ports))))
    said.append("plaintext allowed" if rules.plaintext else "always encrypted")
    if rules.ca_file:
        said.append(f"also trusting {rules.ca_file}")
    if rules.name_servers:
        said.append("asking the name servers " + ", ".join(f"{host} port {port}" for host, port in rules.name_servers))
    if not current.ispdb:
        said.append("without the public list of mail domains")
    return "; ".join(said)
