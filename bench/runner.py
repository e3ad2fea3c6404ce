"""The process that `python -m bench.sync` and `python -m bench.fleet` measure: it syncs, and says what that cost it.

It stands for a runner: what it needs was imported long ago. A line on standard input is a wish: `sync`, `profile` (the
same, with the dearest functions on standard error), `forget`, which makes the next sync the first one, `finish`, which
syncs until nothing is left to fetch, `previews` or `texts`, which says how much of texts is kept from now on, or
`fleet`, a sync of all accounts. Each is answered with one JSON object. Seconds and CPU seconds are those of the runs
alone, from their request to their end; those of the phases that follow when all is stored are told beside them.
"""

import cProfile
import json
import os
import pstats
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select, text, update

from mailadmin import boot, clock, db
from mailadmin.accounts.models import Account
from mailadmin.config import read_settings
from mailadmin.contacts.models import Contact
from mailadmin.mail import dial
from mailadmin.organisation import service as organisation
from mailadmin.permissions import Actor
from mailadmin.sync import claims, jobs, quiet, service, settling, texts
from mailadmin.sync.models import Folder, Message, MessageName, RunOutcome, SyncRun
from mailadmin.sync.run import perform

_phases: dict[str, tuple[float, float]] = {}


def sync(account_id: int) -> dict[str, Any]:
    """One run, and what it cost."""
    with db.transaction() as session:
        run = service.request_run(session, account=session.get_one(Account, account_id), requested_by="bench")
    _phases.clear()
    began, used = time.perf_counter(), time.process_time()
    perform(run.id)
    cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used, "phases": dict(_phases)}
    with db.reading() as session:
        ended = service.get_run(session, run.id)
        told = {name: getattr(ended, name) for name in ("outcome", "reason", "new", "changed", "gone", "stored")}
        is_waiting = bool(quiet.restless(session, [account_id]))
    return {**cost, **told, "is_waiting": is_waiting, "megabytes": megabytes()}


def megabytes() -> int:
    """The most that this process had in memory so far."""
    # Not ru_maxrss, in which Linux counts what the process that started this one needed.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def timed(name: str, phase: Callable[..., None]) -> Callable[..., None]:
    """`phase`, which says afterwards what it cost."""

    def measured(*args: Any) -> None:
        began, used = time.perf_counter(), time.process_time()
        phase(*args)
        _phases[name] = time.perf_counter() - began, time.process_time() - used

    return measured


def profile(account_id: int) -> dict[str, Any]:
    """The same under the profiler, whose own cost is in it."""
    watch = cProfile.Profile()
    told: dict[str, Any] = watch.runcall(sync, account_id)
    for order in ("tottime", "cumtime"):
        pstats.Stats(watch, stream=sys.stderr).sort_stats(order).print_stats(45)
    return told


def forget(account_id: int) -> dict[str, Any]:
    """Make the next sync the first one."""
    nothing = dict.fromkeys(("uidvalidity", "uidnext", "modseq", "messages", "wanted", "synced_at", "first_uid"))
    with db.transaction() as session:
        ids = session.scalars(select(Folder.id).where(Folder.account_id == account_id)).all()
        session.execute(delete(Message).where(Message.folder_id.in_(ids)))
        session.execute(delete(MessageName).where(MessageName.account_id == account_id))
        session.execute(delete(Contact))
        # Nor is what was deleted to be put together with what comes.
        session.execute(text("INSERT INTO message_words (message_words) VALUES ('delete-all')"))
        session.execute(update(Folder).values(is_complete=False, stored=0, unread=0, window="", **nothing))
    return {}


def finish(account_id: int) -> dict[str, Any]:
    """Sync until all texts are here; a run has twenty seconds for them."""
    while sync(account_id)["is_waiting"]:
        pass
    return {}


def keep(kilobytes: int) -> dict[str, Any]:
    """Keep so much of the texts that are fetched from now on."""
    with db.transaction() as session:
        organisation.rename(session, name="Example Ltd")  # Before somebody has done that, nothing can be chosen.
        organisation.keep_texts(session, kilobytes=kilobytes, actor=Actor("bench"))
    return {}


def fleet(_: int) -> dict[str, Any]:
    """One run of each account, as a runner does them: many at a time."""
    began, used = time.perf_counter(), time.process_time()
    with db.transaction() as session:
        # On a busy machine not every connection test has passed.
        accounts = session.scalars(select(Account).where(Account.is_set_up).order_by(Account.id)).all()
        runs = [service.request_run(session, account=account, requested_by="bench") for account in accounts]
        is_first = claims.is_first(runs[0])
    (jobs.run_first_sync if is_first else jobs.run_sync)(runs[0].id)
    cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
    with db.reading() as session:
        ids = [run.id for run in runs]
        complete = select(func.count()).where(SyncRun.id.in_(ids), SyncRun.outcome == RunOutcome.COMPLETE)
        stored = session.scalar(select(func.count()).select_from(Message))
        is_all = session.scalar(complete) == len(ids)
    outcome = RunOutcome.COMPLETE if is_all else RunOutcome.PARTIAL
    return {**cost, "outcome": outcome, "accounts": len(ids), "stored": stored, "megabytes": megabytes()}


def look(_: int) -> dict[str, Any]:
    """All accounts are due, and on none of their servers is anything new: from the clock's tick to the last word."""
    moment = db.now()
    with db.transaction() as session:
        due = {"next_sync_at": moment, "audited_at": moment, "audit_agrees": True}
        session.execute(update(Account).where(Account.is_set_up).values(**due))
        runs = session.scalar(select(func.count()).select_from(SyncRun))
    began, used = time.perf_counter(), time.process_time()
    clock.start_due_syncs()
    clock.find_due_looks()
    jobs.look_around()
    cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
    with db.reading() as session:
        looked_at = Account.synced_at >= moment, Account.next_sync_at > moment
        number = session.scalar(select(func.count()).where(*looked_at))
        is_all = number == session.scalar(select(func.count(Account.id)).where(Account.is_set_up))
        is_all = is_all and runs == session.scalar(select(func.count()).select_from(SyncRun))
        stored = session.scalar(select(func.count()).select_from(Message))
    outcome = RunOutcome.COMPLETE if is_all else RunOutcome.PARTIAL
    return {**cost, "outcome": outcome, "accounts": number, "stored": stored, "megabytes": megabytes()}


def profiled_look(account_id: int) -> dict[str, Any]:
    """The same under the profiler, which only sees the thread that talks to the database."""
    watch = cProfile.Profile()
    told: dict[str, Any] = watch.runcall(look, account_id)
    for order in ("tottime", "cumtime"):
        pstats.Stats(watch, stream=sys.stderr).sort_stats(order).print_stats(45)
    return told


def main() -> None:
    """Answer wishes until there are no more."""
    boot.start(read_settings(os.environ))
    dial.warm_up(boot.settings().rules)
    settling.settle, texts.fetch = timed("settling", settling.settle), timed("texts", texts.fetch)
    with db.reading() as session:
        account_id = session.scalars(select(Account.id).where(Account.address == sys.argv[1])).one()
    wishes = {"sync": sync, "profile": profile, "forget": forget, "finish": finish, "fleet": fleet}
    wishes |= {"look": look, "profiled look": profiled_look}
    wishes |= {"previews": lambda _: keep(0), "texts": lambda _: keep(organisation.TEXT_KILOBYTES)}
    for line in sys.stdin:
        print(json.dumps(wishes[line.strip()](account_id)), flush=True)


if __name__ == "__main__":
    main()
