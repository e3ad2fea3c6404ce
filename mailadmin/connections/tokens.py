"""What has to be asked of providers: tokens, tests of apps, and to take grants back.

Connection tests wait for new access tokens here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from mailadmin.accounts.models import Account
from mailadmin.connections.models import Check
from mailadmin.db import now
from mailadmin.mail.errors import Category, MailError
from mailadmin.oauth import service as oauth
from mailadmin.oauth.models import Attempt, AttemptState, Grant, OAuthApp
from mailadmin.text import t

LOST = timedelta(seconds=90)  # Whatever a job asked for so long ago has lost its job; none takes longer than a minute.


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to ask a provider for: tokens for an attempt, a new one for an account, whether an app is right, or to
    take back what somebody granted (`revocation_id`, the secret that holds it)."""

    attempt_id: int | None = None
    account_id: int | None = None
    app_id: int | None = None
    revocation_id: UUID | None = None


def claim(session: Session, *, limit: int) -> list[Work]:
    """Take up to `limit` things that nobody asks for yet, those that somebody waits for at a page first.

    What was taken a minute ago and has not ended lost its job, and is taken again.
    """
    moment = now()
    work: list[Work] = []
    attempts = select(Attempt).where(_is_open_attempt(), _is_free(Attempt.started_at)).order_by(Attempt.id)
    for attempt in session.scalars(attempts.limit(limit).with_for_update(skip_locked=True, of=Attempt)):
        attempt.started_at = moment
        work.append(Work(attempt_id=attempt.id))
    apps = select(OAuthApp).where(OAuthApp.verify_wanted_at.is_not(None), _is_free(OAuthApp.verify_started_at))
    for app in session.scalars(apps.limit(limit - len(work)).with_for_update(skip_locked=True, of=OAuthApp)):
        # Not through the row: its version says whether somebody changed the app.
        session.execute(update(OAuthApp).where(OAuthApp.id == app.id).values(verify_started_at=moment))
        work.append(Work(app_id=app.id))
    grants = select(Grant).where(Grant.wanted_at.is_not(None), _is_free(Grant.started_at)).order_by(Grant.wanted_at)
    for grant in session.scalars(grants.limit(limit - len(work)).with_for_update(skip_locked=True, of=Grant)):
        grant.started_at = moment
        work.append(Work(account_id=grant.account_id))
    given_back = oauth.waiting_revocations(session, limit=limit - len(work))
    work += [Work(revocation_id=secret_id) for secret_id in given_back]
    session.flush()
    return work


def are_waiting(session: Session, *, longer_than: timedelta = timedelta(0)) -> bool:
    """Whether something has waited to be asked for longer than that."""
    before = now() - longer_than
    queries = (
        select(Attempt.id).where(_is_open_attempt(), Attempt.answered_at <= before, _is_free(Attempt.started_at)),
        select(OAuthApp.id).where(OAuthApp.verify_wanted_at <= before, _is_free(OAuthApp.verify_started_at)),
        select(Grant.id).where(Grant.wanted_at <= before, _is_free(Grant.started_at)),
    )
    if oauth.waiting_revocations(session, limit=1, longer_than=longer_than):
        return True
    return any(session.scalar(query.limit(1)) is not None for query in queries)


def end(session: Session, account_id: int) -> None:
    """Nobody waits for a token of the account any more: it is there, or why not is known."""
    session.execute(
        update(Grant)
        .where(Grant.account_id == account_id)
        .values(wanted_at=None, started_at=None)
        .execution_options(synchronize_session=False)
    )


def give_up(session: Session, work: Work) -> None:
    """A fault of ours broke `work` off: whoever waits is told, and nobody tries for ever."""
    said = MailError(Category.UNAVAILABLE, t("Something broke on our side. Try again; the log has the details."))
    if work.attempt_id is not None:
        attempt = session.get(Attempt, work.attempt_id, with_for_update={"of": Attempt})
        if attempt is not None and attempt.state in (AttemptState.ANSWERED, AttemptState.GRANTED):
            oauth.refuse(session, attempt, said)
    if work.app_id is not None:
        values = {"verify_wanted_at": None, "verify_started_at": None}
        session.execute(update(OAuthApp).where(OAuthApp.id == work.app_id).values(values))
    if work.account_id is not None:
        end(session, work.account_id)


def is_awaited(session: Session, check: Check) -> bool:
    """Whether `check` has to wait for a new access token of its account, which is asked for then."""
    grant = oauth.grant_of(session, check.account_id) if check.account_id is not None else None
    if check.account is None or check.account.deleting_at is not None:  # Nobody would ask for one, see make_fresh.
        return False
    if grant is None or oauth.is_fresh(grant) or oauth.trouble_of(grant, since=check.requested_at):
        return False
    oauth.want_token(session, grant)
    return True


def trouble_of(session: Session, account: Account) -> MailError | None:
    """Why there is no fresh access token for `account`; None if there is one, or it needs none."""
    grant = oauth.grant_of(session, account.id)
    return None if grant is None or oauth.is_fresh(grant) else oauth.trouble_of(grant)


def is_passing(error: MailError) -> bool:
    """Whether `error`, met while a token was asked for, says nothing about the account."""
    return not error.permanent


def try_again(session: Session, check: Check, categories: Collection[Category]) -> bool:
    """Have `check` done once more with a new token if a server refused the one there was. Ring "token" then."""
    grant = oauth.grant_of(session, check.account_id) if check.account_id is not None else None
    if check.renewed or grant is None or Category.OAUTH not in categories:
        return False
    if check.started_at is None or grant.refreshed_at >= check.requested_at or oauth.is_dead(grant):
        return False
    check.renewed, check.started_at, check.stages = True, None, []
    oauth.want_token(session, grant, refused=True)
    return True


def _is_open_attempt() -> ColumnElement[bool]:
    """An attempt for which tokens have to be asked for, or a test of those that came."""
    is_tested = exists().where(Check.attempt_id == Attempt.id)
    return or_(Attempt.state == AttemptState.ANSWERED, and_(Attempt.state == AttemptState.GRANTED, ~is_tested))


def _is_free(started_at: Any) -> ColumnElement[bool]:
    return or_(started_at.is_(None), started_at < now() - LOST)
