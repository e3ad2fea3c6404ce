"""The company's switch against a real Dovecot: a sync stops at the next batch, and loses nothing."""

from mailadmin import db
from mailadmin.accounts.models import Health
from mailadmin.clock import Clock
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM
from mailadmin.sync.models import RunOutcome
from tests.conftest import both_databases
from tests.sync.factories import Box, account_now, flags_of, messages_of, synced
from tests.sync.test_run import Wrapped


def switch(*, on: bool) -> None:
    with db.transaction() as session:
        organisation.change(session, name="Example Ltd", uses_mail=on, actor=SYSTEM)


@both_databases
def test_a_sync_that_runs_stops_at_the_next_batch_and_goes_on_where_it_was(box: Box) -> None:
    box.deliver(9)
    account = box.account()
    run = synced(account, opening=lambda leg: Wrapped(leg, lambda n: switch(on=False) if n == 2 else None))
    assert (run.outcome, run.stored, run.category) == (RunOutcome.PARTIAL, 3, None)
    assert "Integrated e-mail is switched off" in run.reason
    kept = {message.uid: message.id for message in messages_of(account)}
    now = account_now(account)
    assert (now.health, now.health_category, now.incomplete, now.running_since) == (Health.NEW, None, "", None)
    assert now.next_sync_at <= db.now()

    clock = Clock()
    clock.tick()
    switch(on=True)
    clock.tick()  # Asks for a run of its own.
    run = synced(account)
    assert (run.requested_by, run.outcome, run.new, run.stored) == ("Schedule", RunOutcome.COMPLETE, 6, 9)
    assert flags_of(account) == box.flags()
    after = {message.uid: message.id for message in messages_of(account)}
    assert kept.items() <= after.items()
