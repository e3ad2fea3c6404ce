"""Gives grants back to their providers (RFC 7009): when an account goes, and when nobody here needs them any more.

What waits to be given back is a sealed secret that nothing else points to, so that it is given back after the commit,
by a job, and never twice.
"""

import json
import logging
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin import authorization, db, sealed
from mailadmin.authorization import Client
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Rules
from mailadmin.oauth import apps
from mailadmin.oauth.models import Attempt, AttemptState, Grant, OAuthApp
from mailadmin.sealed import SealedSecret, Secret
from mailadmin.vault import Unsealable

TALK_SECONDS = 10.0
PURPOSE = "oauth revocation"
log = logging.getLogger(__name__)


def revoke_of(account_id: int, rules: Rules) -> None:
    """Revoke the grant of the account, where its provider offers that; tried once, since the account goes anyway.

    A person's grant to an app is one at many providers, so it stays while another account here lives on it.
    """
    found = _refresh_token(account_id)
    if found is None:
        return
    client, token = found
    _revoke(client, token, rules, f"of account {account_id}")


def hand_over(session: Session, app: OAuthApp, *, identity: str, refresh: str) -> None:
    """Have what `identity` granted given back, if the provider offers that. Ring "token" after the commit."""
    if refresh and app.revocation_url:
        known = {"app": app.id, "identity": identity, "refresh": refresh}
        sealed.keep(session, Secret(json.dumps(known)), purpose=PURPOSE)


def waiting(session: Session, *, limit: int, longer_than: timedelta = timedelta(0)) -> list[UUID]:
    """What waits (for so long already) to be given back."""
    old = SealedSecret.created_at <= now() - longer_than
    return list(session.scalars(select(SealedSecret.id).where(SealedSecret.purpose == PURPOSE, old).limit(limit)))


def revoke_waiting(secret_id: UUID, rules: Rules) -> None:
    """Give back what waits in this row; tried once, by one job.

    It stays while an account here lives on it, or is about to.
    """
    found = _taken(secret_id)
    if found is not None:
        client, token = found
        _revoke(client, token, rules, "that nobody needs any more")


def _taken(secret_id: UUID) -> tuple[Client, str] | None:
    with db.transaction() as session:
        query = select(SealedSecret.id).where(SealedSecret.id == secret_id).with_for_update(skip_locked=True)
        if session.scalar(query) is None:
            return None
        try:
            known = json.loads(sealed.reveal(session, secret_id).reveal())
            app = session.get(OAuthApp, known["app"])
            is_needed = app is None or _is_needed(session, app.id, known["identity"])
            return None if app is None or is_needed else (apps.client_of(session, app), known["refresh"])
        except (RuleBroken, Unsealable, LookupError):
            return None
        finally:
            sealed.forget(session, secret_id)


def _is_needed(session: Session, app_id: int, identity: str) -> bool:
    grants = select(func.count(Grant.id)).where(Grant.app_id == app_id, Grant.identity == identity)
    attempts = select(func.count(Attempt.id)).where(Attempt.app_id == app_id, Attempt.identity == identity)
    is_open = Attempt.state.in_((AttemptState.ANSWERED, AttemptState.GRANTED))
    return bool(session.scalar(grants) or session.scalar(attempts.where(is_open)))


def _revoke(client: Client, token: str, rules: Rules, whose: str) -> None:
    try:
        authorization.revoke(client, rules, Deadline(TALK_SECONDS), token=token)
    except MailError as error:
        log.warning("The grant %s could not be revoked: %s", whose, error.message)


def _refresh_token(account_id: int) -> tuple[Client, str] | None:
    with db.reading() as session:
        grant = session.scalar(select(Grant).where(Grant.account_id == account_id))
        if grant is None or grant.refresh_id is None or not grant.app.revocation_url:
            return None
        same = (Grant.app_id == grant.app_id, Grant.identity == grant.identity, Grant.id != grant.id)
        if session.scalar(select(func.count(Grant.id)).where(*same)):
            return None
        try:
            return apps.client_of(session, grant.app), sealed.reveal(session, grant.refresh_id).reveal()
        except (RuleBroken, Unsealable, LookupError):
            return None
