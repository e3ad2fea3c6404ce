"""Fifty hung tests beside a healthy one: it ends while they all still hang. How fast, `python -m bench.checks` says."""

import pytest
from sqlalchemy import select

from mailadmin import boot, db
from mailadmin.connections import service
from mailadmin.connections.children import MOST, Children
from mailadmin.connections.models import Check, CheckOutcome
from tests.connections.factories import a_check, an_account, stored
from tests.hostile.table import ALL, HUNG, PROPER
from tests.servers.crowd import Crowd

MANY = 50


@pytest.mark.usefixtures("booted")
def test_a_healthy_test_ends_while_fifty_others_hang(crowd: Crowd) -> None:
    for number in range(MANY):
        a_check(an_account(ALL[HUNG].server(crowd.ports[HUNG]), address=f"wim{number}@example.org"))
    healthy = a_check(an_account(ALL[PROPER].server(crowd.ports[PROPER]), address="ada@example.org"))
    with db.transaction() as session:
        tasks = service.claim_due(session, limit=MOST)
    assert [task.check_id for task in tasks][MANY:] == [healthy.id]  # It was asked for last.
    with Children(boot.settings().rules, 60.0) as children:
        for task in tasks:
            children.start(task)
        while not (gone := [child for child in children.wait(5.0) if child.is_gone]):
            pass
        with db.transaction() as session:
            service.finish(session, gone[0].result)
        assert len(children) == MANY
    assert stored(healthy).outcome is CheckOutcome.PASSED
    with db.reading() as session:
        assert len(session.scalars(select(Check).where(Check.finished_at.is_(None))).all()) == MANY
