"""The pages of connect links: an administrator's, and the owner's, which nobody has to sign in for."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, make_response, request
from flask import session as cookie
from flask_limiter.util import get_remote_address

from mailadmin import boot, db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts import system_mail
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.invites import letters, links, owner, service
from mailadmin.invites.forms import AskForm, OwnerForm
from mailadmin.invites.models import Invite
from mailadmin.invites.progress import CONNECTED, MOST_TRIES, Progress, owner_of, progress
from mailadmin.oauth.routes import binder, leaving
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("invites", __name__)
COOKIE = "invite"  # the link with which this browser went to a provider, or OWN and the number of the account
OWN = "own"  # No link begins so with a colon after it.


# An administrator's.


@bp.route("/accounts/<int:account_id>/invite", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def ask(account_id: int) -> Answer:
    """Ask the owner, and see how far the question is."""
    session = db.session()
    account = accounts.get(session, account_id)
    form = AskForm(data={"send_to": account.address})
    if form.validate_on_submit():
        try:
            values = {"send_to": form.send_to.data or "", "public_url": _public_url()}
            invite = service.ask(session, account, actor=web.actor(), **values)
            return _sent(invite)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("invites/ask.html", None, 422 if form.errors else 200, form=form, **_context(account_id))


@bp.post("/accounts/<int:account_id>/invite/resend")
@web.allow(Permission.MANAGE_ACCOUNTS)
def resend(account_id: int) -> Answer:
    session = db.session()
    try:
        invite = service.get_open(session, account_id)
        service.resend(session, invite, actor=web.actor(), public_url=_public_url())
        return _sent(invite)
    except RuleBroken as broken:
        session.rollback()
        return web.done("invites.ask", said=broken.message, tone="bad", account_id=account_id)


@bp.post("/accounts/<int:account_id>/invite/revoke")
@web.allow(Permission.MANAGE_ACCOUNTS)
def revoke(account_id: int) -> Answer:
    session = db.session()
    service.revoke(session, service.get_open(session, account_id), actor=web.actor())
    session.commit()
    return web.done("invites.ask", said=t("The link is worth nothing any more"), account_id=account_id)


def _sent(invite: Invite) -> Answer:
    send_to, account_id = invite.send_to, invite.account_id
    db.session.commit()
    if not send_to:
        return web.done("invites.ask", said=t("The link is ready. Copy it from this page."), account_id=account_id)
    if queue.ring("notice"):
        return web.done("invites.ask", said=t("The link is on its way to {who}", who=send_to), account_id=account_id)
    said = t("The queue cannot be reached. The link is sent when it is back, or copy it from this page.")
    return web.done("invites.ask", said=said, tone="warn", account_id=account_id)


def _context(account_id: int) -> dict[str, Any]:
    session = db.session()
    account, invite = accounts.get(session, account_id), service.latest(session, account_id)
    why_not = ""
    try:
        service.way_of(session, account)
    except RuleBroken as broken:
        why_not = broken.message
    is_open = invite is not None and invite.ended_at is None and not service.is_own(invite)
    return {
        "account": account,
        "state": accounts.state_of(account),
        "tab": "",
        "invite": invite,
        "is_open": is_open,
        "has_expired": invite is not None and service.has_expired(invite),
        "link": service.link_of(invite, _public_url()) if invite is not None and is_open else "",
        "notice_sent": service.notice_of(session, invite) if invite is not None and invite.send_to else None,
        "sender": system_mail.sender(session),
        "why_not": why_not,
        "most_tries": MOST_TRIES,
    }


def _public_url() -> str:
    """How this console is reached: as its settings say, else as this browser does."""
    return boot.settings().public_url or request.url_root.rstrip("/")


# The owner's. A link is looked up anew at every request.


def _typed_link() -> str:
    """Tries are counted by link, whoever makes them; made-up links by where they come from."""
    number = links.number_in((request.view_args or {}).get("token", ""))
    return f"invite:{number}" if number else f"from:{get_remote_address()}"


@bp.get("/c/<token>")
@web.public
def show(token: str) -> Answer:
    """Who asks and what for; while a try goes on how far it is, and afterwards what became of it."""
    invite = links.find(db.session(), token)
    if owner.standing(db.session(), invite) == owner.GOOD and invite.opened_at is None and request.method == "GET":
        with db.transaction() as own:  # This request only reads.
            owner.note_opened(own, links.find(own, token, locked=True))
    return _answer(invite, token)


@bp.get("/c/<token>/progress")
@web.public
@web.polled
def look(token: str) -> Answer:
    """The same, asked by the page itself."""
    return _answer(links.find(db.session(), token), token)


@bp.post("/c/<token>")
@web.public
@web.limiter.limit("5 per minute", key_func=_typed_link)
@web.limiter.limit("20 per minute")
def connect(token: str) -> Answer:
    """Try to connect: with what was typed, or by going to the provider."""
    session = db.session()
    invite = links.find(session, token, locked=True)
    way, form = owner.asked_way(session, invite), OwnerForm()
    actor = owner_of(invite, request.remote_addr or "")
    try:
        if way is not None and way.is_oauth:
            public_url = boot.settings().public_url
            url = owner.begin_oauth(session, invite, binder=binder(), public_url=public_url, actor=actor)
            session.commit()
            if url:
                cookie[COOKIE] = token
                return _closed(leaving(url, account=invite.account, name=way.name))
        elif form.validate_on_submit():
            typed = {"password": form.password.data, "seen": form.seen.data or ""}
            owner.try_password(session, invite, actor=actor, **typed)
            session.commit()
            queue.ring("check")
        else:
            return _answer(invite, token, form=form)
        return web.done("invites.show", token=token)
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
    return _answer(links.find(session, token), token, form=form)


@bp.post("/c/<token>/refuse")
@web.public
@web.limiter.limit("20 per minute")
def refuse(token: str) -> Answer:
    return _deed(token, owner.refuse)


@bp.post("/c/<token>/renew")
@web.public
@web.limiter.limit("20 per minute")
def renew(token: str) -> Answer:
    return _deed(token, owner.ask_again)


@bp.get("/c/back")
@web.public
def back() -> Answer:
    """Where the owner comes back to from the provider; the browser itself knows with which link it went."""
    token = str(cookie.get(COOKIE, ""))
    if not token:
        raise NotFound(t("Open the link from your e-mail once more."))
    kind, _, number = token.partition(":")
    if kind == OWN:
        return web.done("invites.look_own", account_id=int(number))
    return _closed(web.done("invites.show", token=token))


def _deed(token: str, deed: Callable[..., None]) -> Answer:
    session = db.session()
    try:
        deed(session, links.find(session, token, locked=True), from_address=request.remote_addr or "")
        session.commit()
        queue.ring("notice")
    except RuleBroken:  # Two clicks, or an old page: the link says what has become of it.
        session.rollback()
    return web.done("invites.show", token=token)


def _answer(invite: Invite, token: str, *, form: OwnerForm | None = None) -> Answer:
    """The page of a link as it stands now."""
    session = db.session()
    standing = owner.standing(session, invite)
    told = progress(session, invite) if standing == owner.GOOD else Progress(standing)
    if standing == owner.GOOD and told.goes_on:
        context = {**_who_asks(invite, token), "told": told}
        return _closed(web.page("invites/testing.html", "invites/_testing.html", **context))
    if request.endpoint == "invites.look":  # The try has ended by now.
        return _closed(web.done("invites.show", token=token))
    if standing == owner.GOOD:
        return _connect_page(invite, token, told, form)
    page = {CONNECTED: "connected", owner.EXPIRED: "expired"}.get(standing, "ended")
    context = {
        **_who_asks(invite, token),
        "standing": standing,
        "way": owner.asked_way(session, invite) if standing == CONNECTED else None,
        "is_tried_out": invite.tries >= MOST_TRIES,
    }
    return _closed(web.page(f"invites/{page}.html", None, 200 if page != "ended" else 410, **context))


def _connect_page(invite: Invite, token: str, told: Progress, form: OwnerForm | None) -> Answer:
    """The question, with what was wrong with the last answer."""
    way, status = owner.asked_way(db.session(), invite), 422 if form else 200
    form = form or OwnerForm(formdata=None)
    if way is not None:
        form.name_password(invite.address, way.method)
        form.note_refusal(told.diagnosis, way.host)
    short = f"{invite.expires_at.day} {invite.expires_at:%b}"
    context = {**_who_asks(invite, token), "told": told, "way": way, "form": form, "until_short": short}
    context["takes_over"] = letters.has_password(invite.account)
    return _closed(web.page("invites/connect.html", None, status, **context))


def _who_asks(invite: Invite, token: str) -> dict[str, Any]:
    return {
        "invite": invite,
        "address": invite.address,
        "token": token,
        "look": "invites.look",
        "where": {"token": token},
        "organisation_name": letters.organisation_name(db.session()),
        "until": letters.day(invite.expires_at),
        "tells": letters.tells(db.session()),
    }


def _closed(answer: Answer) -> Answer:
    """`answer`, for nobody's index."""
    response = make_response(answer)
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response
