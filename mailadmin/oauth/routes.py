"""The way to a provider and back: asking its owner to let us into a mailbox, and taking what the browser brings."""

import logging
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, make_response, request
from flask import session as cookie
from flask_login import current_user

from mailadmin import boot, db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.oauth import service
from mailadmin.oauth.models import GrantKind
from mailadmin.oauth.words import short_name
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

log = logging.getLogger(__name__)
bp = Blueprint("oauth", __name__)
BINDER, PROBLEM = "oauth_binder", "oauth_problem"
# Where somebody comes from, and goes back to when nothing can be begun.
BEFORE = {"wizard": "wizard.method", "account": "console.account", "move": "moves.progress"}


def binder() -> str:
    """What this browser alone has, made when first asked for: an answer counts only where it was asked for."""
    if BINDER not in cookie:
        cookie[BINDER] = secrets.token_urlsafe(32)
    return str(cookie[BINDER])


@bp.post("/accounts/<int:account_id>/oauth")
@web.allow(Permission.MANAGE_ACCOUNTS)
def connect(account_id: int) -> Answer:
    """Begin to connect, or to reconnect; the account stays as it is until what is granted has passed a test.

    Without a kind it is done as it was done before.
    """
    account, came_from = accounts.get(db.session(), account_id), request.form.get("came_from", "")
    came_from = came_from if came_from in BEFORE else "account"
    kind, is_delegate = request.form.get("kind", ""), request.form.get("is_delegate") == "1"
    before = service.grant_of(db.session(), account_id)
    if kind not in set(GrantKind):
        kind, is_delegate = (before.kind, before.is_delegate) if before else (GrantKind.PERSON, is_delegate)
    chooses = request.form.get("chooses") == "1"
    try:
        return connecting(account, kind=GrantKind(kind), came_from=came_from, is_delegate=is_delegate, chooses=chooses)
    except RuleBroken as broken:
        db.session.rollback()
        where = {} if came_from == "move" else {"account_id": account_id}
        return web.done(BEFORE[came_from], said=broken.message, tone="bad", **where)


def connecting(
    account: Account, *, kind: GrantKind, came_from: str, is_delegate: bool = False, chooses: bool = False
) -> Answer:
    """Begin an attempt to connect `account`, commit, and answer with the way on: to the provider, or to the attempt.

    With `chooses` the provider lets the person choose one of its accounts. Raises RuleBroken if it cannot be begun.
    """
    session, actor = db.session(), web.actor()
    if kind is GrantKind.PERSON:
        attempt, url = service.begin(
            session,
            account,
            binder=binder(),
            actor=actor,
            came_from=came_from,
            public_url=boot.settings().public_url,
            is_delegate=is_delegate,
            chooses=chooses,
        )
        session.commit()
        return leaving(url, account=account, name=short_name(attempt.app.provider), is_delegate=is_delegate)
    attempt = service.begin_alone(session, account, kind=kind, actor=actor, came_from=came_from)
    session.commit()
    return on_the_way(attempt.id)


def leaving(url: str, *, account: Account, name: str, is_delegate: bool = False) -> Answer:
    """A page that leads to `url`, at the provider `name`. A redirect would not do: it would follow a form, and our
    forms lead to ourselves alone (Content-Security-Policy, form-action)."""
    back_at = urlsplit(boot.settings().public_url).netloc  # A sign-in here does not count there.
    about: dict[str, Any] = {"account": account, "name": name, "is_delegate": is_delegate}
    elsewhere = "" if back_at == request.host else back_at
    answer = make_response(web.page("oauth/leave.html", url=url, elsewhere=elsewhere, **about))
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def on_the_way(attempt_id: int) -> Answer:
    """Ring for the tokens, after the commit, and go where the attempt is seen."""
    if queue.ring("token"):
        return web.done("connections.attempt", attempt_id=attempt_id)
    said = t("The queue cannot be reached. It goes on by itself when the queue is back.")
    return web.done("connections.attempt", said=said, tone="warn", attempt_id=attempt_id)


@bp.get("/oauth/callback/<int:provider_id>")
@web.public
def callback(provider_id: int) -> Answer:
    """Where a provider sends the browser back to. Who may come is in the attempt: state, binder and person decide.

    It always redirects, so that neither code nor state stay in the address bar.
    """
    person_id = current_user.person.id if current_user.is_authenticated else None
    # What comes twice counts as nothing (RFC 6749 3.1): nobody knows which of them was meant.
    answer = {name: values[0] for name, values in request.args.lists() if len(values) == 1}
    try:
        if BINDER not in cookie:  # Then it was begun elsewhere, and the database need not be asked.
            raise RuleBroken(t("This sign-in was begun in another browser, or too long ago."))
        with db.transaction() as session:
            attempt = service.receive(
                session, provider_id=provider_id, binder=binder(), person_id=person_id, answer=answer
            )
            attempt_id, came_from = attempt.id, attempt.came_from
    except RuleBroken as broken:
        log.info("%s: an answer of provider %s was not taken: %s", web.number(), provider_id, broken.message)
        cookie[PROBLEM] = broken.message
        return _quiet(web.done("oauth.lost"))
    if came_from == service.OWNERS:
        queue.ring("token")
        return _quiet(web.done("invites.back"))
    return _quiet(on_the_way(attempt_id))


@bp.get("/oauth/lost")
@web.public
def lost() -> Answer:
    """Why what a browser brought back was not taken, and how to begin again."""
    problem = cookie.pop(PROBLEM, "")
    return web.page("oauth/lost.html", status=400 if problem else 200, problem=problem)


def _quiet(answer: Answer) -> Answer:
    response = make_response(answer)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
