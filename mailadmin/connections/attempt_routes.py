"""The page of one attempt to connect with OAuth, live, and what an administrator says about who signed in."""

from typing import Any

from mailadmin import db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.connections import attempts
from mailadmin.connections.routes import bp
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/oauth/attempts/<int:attempt_id>")
@web.allow(Permission.MANAGE_ACCOUNTS)
@web.polled
def attempt(attempt_id: int) -> Answer:
    """How far it is. Whoever may manage accounts may look, and not only who began it.

    When it has ended the page comes anew, since it changes what stands around: the account's head, or the steps.
    """
    context = _context(attempt_id)
    if web.is_htmx() and not context["told"].every:
        return web.done("connections.attempt", attempt_id=attempt_id)
    return web.page("connections/attempt.html", "connections/_attempt.html", **context)


@bp.post("/oauth/attempts/<int:attempt_id>/delegate")
@web.allow(Permission.MANAGE_ACCOUNTS)
def accept_delegate(attempt_id: int) -> Answer:
    """Go on with the grant of somebody who is not the owner, without asking them once more."""
    session = db.session()
    oauth.accept_delegate(session, oauth.get_attempt(session, attempt_id), actor=web.actor())
    session.commit()
    if queue.ring("token"):
        return web.done("connections.attempt", attempt_id=attempt_id)
    said = t("The queue cannot be reached. It goes on by itself when the queue is back.")
    return web.done("connections.attempt", said=said, tone="warn", attempt_id=attempt_id)


def _context(attempt_id: int) -> dict[str, Any]:
    session = db.session()
    found = attempts.told(session, oauth.get_attempt(session, attempt_id))
    # A deleted account is nobody's to look at.
    account = accounts.get(session, found.account.id)
    return {
        "told": found,
        "account": account,
        "state": accounts.state_of(account),
        "tab": "",
        "queue_is_away": found.is_silent and queue.waiting() is None,
    }
