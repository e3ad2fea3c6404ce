"""The job that asks the network about mail domains."""

import logging
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from mailadmin import boot, db, queue
from mailadmin.mail.discovery import SECONDS, Discovery, discover
from mailadmin.wizard import service
from mailadmin.wizard.service import Taken

MOST = 8  # at once
TAKING_SECONDS = 40.0  # Then a new job goes on, so that this one ends within its time at the queue.
LOOK_SECONDS = 0.5
log = logging.getLogger(__name__)


def drain_lookups(seconds: float = SECONDS) -> None:
    """Do all due lookups, several at once, and end when none is due.

    Each ends by itself within `seconds`, so threads will do. Repeatable: a lookup is taken by one job at a time, an
    ended one is left alone, and one whose job died is due again after a quarter of a minute.
    """
    settings = boot.settings()
    until = time.monotonic() + TAKING_SECONDS
    running: dict[Future[Discovery], Taken] = {}
    with ThreadPoolExecutor(MOST) as pool:
        while True:
            for taken in _take(MOST - len(running)) if time.monotonic() < until else ():
                future = pool.submit(discover, taken.domain, settings.rules, seconds=seconds, ispdb=settings.ispdb)
                running[future] = taken
            if not running:
                break
            ended, _ = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for future in ended:
                _write(running.pop(future), future)
    if time.monotonic() >= until:
        queue.ring("detect")


def _take(free: int) -> list[Taken]:
    if not free:
        return []
    with db.transaction() as session:
        return service.take_due(session, limit=free)


def _write(taken: Taken, future: Future[Discovery]) -> None:
    try:
        found = future.result()
    except Exception:  # The edge of the job: whoever waits at the page is told, and the others go on.
        log.exception("The lookup of %s broke off.", taken.domain)
        found = None
    with db.transaction() as session:
        service.finish(session, taken, found)
