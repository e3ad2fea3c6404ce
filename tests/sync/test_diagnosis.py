"""The last word on an account: the newer of its last test and its last run, and of sending always the test."""

from datetime import timedelta
from typing import Any

import pytest

from mailadmin import db
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.sync import service
from mailadmin.sync.models import RunOutcome, SyncRun
from tests.connections.factories import an_account

pytestmark = pytest.mark.usefixtures("booted")
RECEIVING, SENDING = {"title": "In", "direction": "incoming"}, {"title": "Out", "direction": "outgoing"}


def told(tested: dict[str, Any] | None, ran: dict[str, Any] | None, *, run_is_newer: bool = True) -> Any:
    """What is told of an account whose last test found `tested` and whose last run found `ran`."""
    account = an_account(Server(ServerProtocol.IMAP, "127.0.0.1", 993, TLSMode.IMPLICIT))
    at, later = db.now() - timedelta(minutes=1), db.now()
    with db.transaction() as session:
        outcome = CheckOutcome.FAILED if tested else CheckOutcome.PASSED
        about = {"requested_by": "Ada", "account_id": account.id}
        session.add(
            Check(outcome=outcome, diagnosis=tested, finished_at=at if run_is_newer else later, stages=[], **about)
        )
        ended = RunOutcome.FAILED if ran else RunOutcome.COMPLETE
        session.add(SyncRun(outcome=ended, diagnosis=ran, finished_at=later if run_is_newer else at, **about))
    with db.reading() as session:
        return service.diagnosis(session, account.id)


@pytest.mark.parametrize(
    ("tested", "ran", "run_is_newer", "expected"),
    [
        (RECEIVING, None, True, None),
        (RECEIVING, None, False, RECEIVING),
        (None, RECEIVING, True, RECEIVING),
        (None, RECEIVING, False, None),
        (SENDING, None, True, SENDING),
        (RECEIVING | {"also": SENDING}, None, True, SENDING),
        (SENDING, RECEIVING, True, RECEIVING),
    ],
)
def test_the_newer_end_is_told_and_of_sending_the_test(
    tested: dict[str, Any] | None, ran: dict[str, Any] | None, run_is_newer: bool, expected: dict[str, Any] | None
) -> None:
    assert told(tested, ran, run_is_newer=run_is_newer) == expected
