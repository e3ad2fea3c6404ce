"""The job that does the connection tests."""

import time

from mailadmin import boot, db, queue
from mailadmin.connections import service
from mailadmin.connections.children import MOST, Child, Children
from mailadmin.connections.probe import Task

TAKING_SECONDS = 60.0  # Then a new job goes on, so that this one ends within its time at the queue.
LOOK_SECONDS = 1.0


def drain_checks() -> None:
    """Do all due checks, many at once, and end when none is due.

    Repeatable: a check is taken by one job at a time, a finished one is left alone, and one whose job died is due again
    after a minute.
    """
    settings = boot.settings()
    until = time.monotonic() + TAKING_SECONDS
    with Children(settings.rules, settings.check_seconds) as children:
        try:
            while True:
                if time.monotonic() < until:
                    for task in _claim(MOST - len(children), settings.check_seconds):
                        children.start(task)
                if not len(children):
                    break
                _write(children.wait(LOOK_SECONDS))
        finally:
            _give_back(children.tasks)  # None, unless the queue ended us.
    if time.monotonic() >= until:
        queue.ring("check")


def _claim(free: int, seconds: float) -> list[Task]:
    if free <= 0:
        return []
    lost_after = max(service.LOST_SECONDS, seconds + 45)
    with db.transaction() as session:
        return service.claim_due(session, limit=free, lost_after=lost_after)


def _write(moved: list[Child]) -> None:
    if not moved:
        return
    with db.transaction() as session:
        for child in moved:
            if child.was_stopped:
                service.give_back(session, [child.result.task])
            elif child.is_gone:
                service.finish(session, child.result)
            else:
                service.note_stages(session, child.result)


def _give_back(tasks: list[Task]) -> None:
    if tasks:
        with db.transaction() as session:
            service.give_back(session, tasks)
