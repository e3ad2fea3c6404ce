"""The way to the organisation's own sign-in and back."""

import logging
from datetime import timedelta

from flask import Response, make_response, request, url_for
from flask import session as cookie
from flask_login import current_user

from mailadmin import boot, db, web
from mailadmin.authorization import Identity
from mailadmin.errors import RuleBroken
from mailadmin.mail.errors import MailError
from mailadmin.people import sessions, single_sign_on, staff
from mailadmin.people.models import Person, SignInProvider
from mailadmin.people.routes import FRESH, ask_second_factor, bp, enter, refused, where_to
from mailadmin.text import t
from mailadmin.web import Answer

log = logging.getLogger(__name__)
METHOD = "single sign-on"
STATE = "single-sign-on"  # in the cookie: the state with which this browser went away


def back_to(provider: SignInProvider) -> str:
    """The redirect URI: a path of its own for each provider, so that no other can answer in its place."""
    base = boot.settings().public_url or request.url_root.rstrip("/")
    return base + url_for("people.signed_in_elsewhere", provider_id=provider.id)


@bp.post("/sign-in/with/<int:provider_id>")
@web.public
@web.limiter.limit("20 per minute")
def sign_in_elsewhere(provider_id: int) -> Answer:
    session = db.session()
    provider = single_sign_on.get(session, provider_id)
    if not provider.is_on:
        return _failed(t("Signing in with {name} is switched off.", name=provider.name))
    issuer, name = provider.issuer, provider.name
    session.rollback()  # Nothing is held while we wait for others.
    try:
        found = single_sign_on.published(issuer, boot.settings().rules)
        provider = single_sign_on.get(session, provider_id)
        url, state = single_sign_on.leave(
            session,
            provider,
            found,
            back=back_to(provider),
            goes_to=request.args.get("next", ""),
            seconds=_oldest().total_seconds(),
        )
    except MailError as error:
        return _failed(t("{name} cannot be reached: {why}", name=name, why=error.message))
    session.commit()
    cookie[STATE] = state
    return _leaving(url, name)


def _oldest() -> timedelta:
    """How long ago somebody may have shown there who they are: who is signed in here comes to show it anew."""
    return FRESH if current_user.is_authenticated else sessions.ABSOLUTE


def _leaving(url: str, name: str) -> Response:
    """A page that leads away: an answer that redirects a form elsewhere would need a wider `form-action`."""
    answer = make_response(web.page("people/leave.html", url=url, name=name))
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


@bp.get("/sign-in/with/<int:provider_id>/back")
@web.public
@web.limiter.limit("20 per minute")
def signed_in_elsewhere(provider_id: int) -> Answer:
    state = request.args.get("state", "")
    db.session.remove()  # What a GET is given only reads; this one comes from elsewhere and has to write.
    session = db.session(reading=False)
    ours = cookie.pop(STATE, None)
    if not state or ours != state:
        return _failed(t("This browser did not ask for that. Sign in anew."))
    try:
        provider = single_sign_on.get(session, provider_id)
        asked = single_sign_on.come_back(session, state, provider_id)
        issuer = provider.issuer
        session.commit()  # The state is used up, whatever comes now.
        identity = _ask_who(provider_id, issuer, asked)
        provider = single_sign_on.get(session, provider_id)
        person = single_sign_on.admit(session, provider, identity)
        has_proved = single_sign_on.has_proved(provider, identity)
    except RuleBroken as broken:
        session.rollback()
        refused(None, t("failed to sign in elsewhere"))
        return _failed(broken.message)
    except MailError as error:
        session.rollback()
        log.warning("A sign-in with provider %s failed: %s", provider_id, error)
        refused(None, t("failed to sign in elsewhere"))
        return _failed(error.message)
    return _let_in(person, asked, has_proved=has_proved, ago=timedelta(seconds=single_sign_on.seconds_ago(identity)))


def _let_in(person: Person, asked: single_sign_on.Asked, *, has_proved: bool, ago: timedelta) -> Answer:
    """Sign `person` in, after their second factor if they have one here and showed none there."""
    session = db.session()
    if not has_proved and staff.has_second_factor(session, person):
        return ask_second_factor(person, method=METHOD, goes_to=asked.goes_to)
    # What was shown there long ago is not fresh here either; for the rest a session counts from now on.
    since = db.now() - min(ago, FRESH)
    enter(person, method=METHOD, has_second_factor=has_proved, since=since)
    session.commit()
    return where_to(asked.goes_to)


def _ask_who(provider_id: int, issuer: str, asked: single_sign_on.Asked) -> Identity:
    """Whoever the provider says has signed in. Raises RuleBroken and MailError."""
    session, rules = db.session(), boot.settings().rules
    if request.args.get("error"):
        raise RuleBroken(t("The sign-in was not finished there. Try again."))
    found = single_sign_on.published(issuer, rules)
    said = request.args.get("iss", "")
    if (said or found.says_issuer) and said != found.issuer:  # RFC 9207 2.4
        raise RuleBroken(t("The answer came from another provider than the one that was asked."))
    provider = single_sign_on.get(session, provider_id)
    client, back = single_sign_on.client_of(session, provider, found), back_to(provider)
    session.rollback()  # Nothing is held while we wait for others.
    return single_sign_on.who(client, rules, asked=asked, code=request.args.get("code", ""), back=back)


def _failed(why: str) -> Answer:
    return web.done("people.sign_in", said=why, tone="bad")
