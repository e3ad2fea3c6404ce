"""`python -m bench.runner ADDRESS`: a process that syncs when it is told to, and says what that cost it.

It stands for a runner: what it needs was imported long ago. A line on standard input is a wish: `sync`, `profile` (the
same, with the dearest functions on standard error), or `forget`, which makes the next sync the first one. Each is
answered with one JSON object. Seconds and CPU seconds are those of the run alone, from its request to its end.
"""

import cProfile
import json
import os
import pstats
import resource
import sys
import time
from typing import Any

from sqlalchemy import delete, select, update

from mailadmin import boot, db
from mailadmin.accounts.models import Account
from mailadmin.config import read_settings
from mailadmin.contacts.models import Contact
from mailadmin.mail import dial
from mailadmin.sync import service
from mailadmin.sync.models import Folder, Message
from mailadmin.sync.run import perform


def sync(account_id: int) -> dict[str, Any]:
    """One run, and what it cost."""
    with db.transaction() as session:
        run = service.request_run(session, account=session.get_one(Account, account_id), requested_by="bench")
    began, used = time.perf_counter(), time.process_time()
    perform(run.id)
    cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
    with db.reading() as session:
        ended = service.get_run(session, run.id)
        told = {name: getattr(ended, name) for name in ("outcome", "reason", "new", "changed", "gone", "stored")}
    return {**cost, **told, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


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
        session.execute(delete(Contact))
        session.execute(update(Folder).values(is_complete=False, stored=0, unread=0, window="", **nothing))
    return {}


def main() -> None:
    """Answer wishes until there are no more."""
    boot.start(read_settings(os.environ))
    dial.warm_up(boot.settings().rules)
    with db.reading() as session:
        account_id = session.scalars(select(Account.id).where(Account.address == sys.argv[1])).one()
    for line in sys.stdin:
        told = {"sync": sync, "profile": profile, "forget": forget}[line.strip()](account_id)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
