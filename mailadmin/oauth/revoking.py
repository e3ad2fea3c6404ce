"""Gives a grant back to its provider (RFC 7009) when an account goes."""

import logging

from sqlalchemy import func, select

from mailadmin import authorization, db, sealed
from mailadmin.authorization import Client
from mailadmin.errors import RuleBroken
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from mailadmin.mail.types import Rules
from mailadmin.oauth import apps
from mailadmin.oauth.models import Grant
from mailadmin.vault import Unsealable

TALK_SECONDS = 10.0
log = logging.getLogger(__name__)


def revoke_of(account_id: int, rules: Rules) -> None:
    """Revoke the grant of the account, where its provider offers that; tried once, since the account goes anyway.

    A person's grant to an app is one at many providers, so it stays while another account here lives on it.
    """
    found = _refresh_token(account_id)
    if found is None:
        return
    client, token = found
    try:
        authorization.revoke(client, rules, Deadline(TALK_SECONDS), token=token)
    except MailError as error:
        log.warning("The grant of account %s could not be revoked: %s", account_id, error.message)


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
