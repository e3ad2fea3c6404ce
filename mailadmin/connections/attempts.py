"""An attempt to connect with OAuth as its page tells it: how far it is, why it ended, and what can be done next.

No web in here.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import service
from mailadmin.connections.diagnosis import diagnose
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.timeline import Timeline, timeline
from mailadmin.db import now
from mailadmin.mail.types import Direction
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, AttemptState, GrantKind, KeptPassword
from mailadmin.oauth.words import short_name
from mailadmin.text import t

SILENT = timedelta(seconds=10)
# How far an attempt is, in one word each. The first four go on by themselves.
AWAY, ASKING, TESTING, LATE, CONNECTED, UNTESTED, SOMEBODY_ELSE, FAILED, REFUSED = (
    "away",  # the browser is at the provider
    "asking",
    "testing",
    "late",  # nobody came back in time
    "connected",
    "untested",  # the account has the grant, and its test failed
    "somebody else",
    "failed",  # the test failed, and the account is as it was
    "refused",
)
_GOES_ON = {AWAY: 2, ASKING: 1, TESTING: 1}  # seconds between two looks
_WHAT = {
    AWAY: "Waiting for you to come back from {name}",
    ASKING: "Asking {name} for access",
    TESTING: "Testing the new connection",
    LATE: "Nobody came back from {name} in time",
    CONNECTED: "{address} is connected",
    UNTESTED: "{name} agreed, but the connection does not work yet",
    SOMEBODY_ELSE: "Somebody else signed in",
    FAILED: "{name} agreed, but the new connection does not work",
    REFUSED: "{address} was not connected",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An attempt for its page. `stage` is one of the words above, `name` the provider's; `every`: look again after so
    many seconds, 0 when it has ended. `check` is the test of what was granted, and `test` its time line."""

    attempt: Attempt
    account: Account
    stage: str
    name: str
    title: str
    check: Check | None = None
    test: Timeline | None = None
    diagnosis: dict[str, Any] | None = None
    kept: KeptPassword | None = None
    is_silent: bool = False

    @property
    def every(self) -> int:
        """Seconds until the page asks again."""
        return _GOES_ON.get(self.stage, 0)

    @property
    def is_person(self) -> bool:
        """Whether somebody signs in, rather than the organisation letting us in."""
        return self.attempt.kind is GrantKind.PERSON

    @property
    def can_be_delegate(self) -> bool:
        """Whether an administrator may still say that who signed in is a delegate of the mailbox."""
        return self.stage == SOMEBODY_ELSE and self.attempt.secret_id is not None and self.attempt.expires_at > now()

    @property
    def is_first_time(self) -> bool:
        """Whether the account waits for this to be set up."""
        return not self.account.is_set_up


def told(session: Session, attempt: Attempt) -> Told:
    """How `attempt` goes, or went."""
    account, check = attempt.account, service.of_attempt(session, attempt.id)
    stage, name = _stage(attempt, check), short_name(attempt.app.provider)
    return Told(
        attempt,
        account,
        stage,
        name,
        title=t(_WHAT[stage], name=name, address=account.address),
        check=check,
        test=timeline(check) if check else None,
        diagnosis=_diagnosis(attempt) if stage in (REFUSED, SOMEBODY_ELSE) else None,
        kept=oauth.kept_password(session, account.id) if stage == CONNECTED else None,
        is_silent=stage == ASKING and attempt.started_at is None and _waits_long(attempt),
    )


def _stage(attempt: Attempt, check: Check | None) -> str:
    if attempt.state is AttemptState.WAITING:
        return AWAY if attempt.expires_at > now() else LATE
    if attempt.state is AttemptState.ANSWERED:
        return ASKING
    is_running = check is not None and check.finished_at is None
    if attempt.state is AttemptState.GRANTED or is_running:
        return TESTING
    has_failed = check is not None and check.outcome is CheckOutcome.FAILED
    if attempt.state is AttemptState.DONE:
        return UNTESTED if has_failed else CONNECTED
    if attempt.failed_code == oauth.WRONG_IDENTITY:
        return SOMEBODY_ELSE
    return FAILED if has_failed else REFUSED


def _diagnosis(attempt: Attempt) -> dict[str, Any]:
    account = attempt.account
    return diagnose(
        oauth.failure_of(attempt),
        direction=Direction.INCOMING,
        server=accounts.server_of(account, Direction.INCOMING),
        user_name=accounts.user_name(account, Direction.INCOMING),
        address=account.address,
        alone=attempt.kind is not GrantKind.PERSON,
    )


def _waits_long(attempt: Attempt) -> bool:
    return attempt.answered_at is not None and now() - attempt.answered_at > SILENT
