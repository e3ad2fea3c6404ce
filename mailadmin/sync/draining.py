"""Works on all runs that may begin, many at a time in one process, until none is left.

Most of a run is waiting for a server, so runs are threads: fifty that hang cost fifty sleeping threads, and the one
beside them does not notice. claims.py says which runs may begin; each takes the lease of its account before it does
anything, so two processes that drain at once share the work and never do the same.

When the process is told to end, the runs are interrupted where they next look (going.py): they give back their leases
and stay open, and the clock rings for them.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from mailadmin import db, queue
from mailadmin.sync import claims
from mailadmin.sync.going import interruption

TAKING_SECONDS = 3300.0  # Then another job goes on, so that this one ends within its time at the queue.
LOOK_SECONDS = 0.3
SOON_SECONDS = 0.05
GRACE_SECONDS = 2.0  # for runs that are interrupted to give back their leases
AT_ONCE, FIRST_AT_ONCE = 32, 8  # first runs cost memory and time of the processor; the others mostly wait


def drain(work: Callable[[int], None], *, first: bool, wanted: int | None = None) -> None:
    """Have `work` done on each run that may begin, and come back when all have ended and none is left.

    `first`: the first runs of accounts, else the others; `wanted` is the run for which somebody rang.
    """
    most = FIRST_AT_ONCE if first else AT_ONCE
    until = time.monotonic() + TAKING_SECONDS
    going: set[Future[None]] = set()
    threads = ThreadPoolExecutor(most, thread_name_prefix="sync")
    is_over, look_at = False, 0.0
    try:
        while True:
            moment, room = time.monotonic(), most - len(going)
            # Many end within a moment; who comes next is not asked for each of them.
            if moment < until and room > 0 and (moment >= look_at or not going):
                claimed = _claim(first, room, wanted)
                for run_id in claimed:
                    if run_id != wanted:
                        queue.take_back(claims.FIRST if first else claims.USUAL, run_id)
                    going.add(threads.submit(work, run_id))
                wanted, look_at = None, moment + (SOON_SECONDS if len(claimed) == room else LOOK_SECONDS)
            if not going:
                break
            _, going = wait(going, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            _, going = wait(going, timeout=max(look_at - time.monotonic(), 0.0))
        is_over = True
    finally:
        if not is_over:
            interruption.set()
        try:
            wait(going, timeout=GRACE_SECONDS)
        finally:
            interruption.clear()
            threads.shutdown(wait=is_over, cancel_futures=True)


def _claim(first: bool, room: int, wanted: int | None) -> list[int]:
    """What may begin now; the database is only asked for a write where something waits."""
    if room <= 0:
        return []
    with db.transaction() as session:
        return claims.claim(session, first=first, limit=room, wanted=wanted)
