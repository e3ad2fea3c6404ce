"""The job that does the connection tests."""

import time

from mailadmin import boot, db, queue
from mailadmin.connections import claims, endings
from mailadmin.connections.children import MOST, Child, Children
from mailadmin.connections.message import ARRIVAL_SECONDS
from mailadmin.connections.probe import Task

TAKING_SECONDS = 40.0  # Then a new job goes on, so that this one ends within its time at the queue.
LOOK_SECONDS = 1.0


def drain_checks() -> None:
    """Do all due checks, many at once, and end when none is due.

    Repeatable: a check is taken by one job at a time, a finished one is left alone, and one whose job died is due again
    after a minute.
    """
    settings = boot.settings()
    until = time.monotonic() + TAKING_SECONDS
    look_at = 0.0
    with Children(settings.rules, settings.check_seconds) as children:
        try:
            while True:
                if look_at <= time.monotonic() < until:
                    look_at = time.monotonic() + LOOK_SECONDS
                    for task in _claim(MOST - len(children), settings.check_seconds):
                        children.start(task)
                if not len(children):
                    break
                moved = children.wait(LOOK_SECONDS)
                _write(moved)
                if any(child.is_gone for child in moved):
                    look_at = 0.0  # There is room for another, perhaps at the same host.
        finally:
            _give_back(children.tasks)  # None, unless the queue ended us.
    if time.monotonic() >= until:
        queue.ring("check")


def _claim(free: int, seconds: float) -> list[Task]:
    if free <= 0:
        return []
    lost_after = max(claims.LOST_SECONDS, seconds + ARRIVAL_SECONDS + 15)
    with db.transaction() as session:
        return claims.claim_due(session, limit=free, lost_after=lost_after)


def _write(moved: list[Child]) -> None:
    if not moved:
        return
    with db.transaction() as session:
        for child in moved:
            if child.was_stopped:
                claims.give_back(session, [child.result.task])
            elif child.is_gone:
                endings.finish(session, child.result)
            else:
                claims.note_stages(session, child.result)


def _give_back(tasks: list[Task]) -> None:
    if tasks:
        with db.transaction() as session:
            claims.give_back(session, tasks)
