"""The pages on which somebody who is signed in connects a mailbox of their own: the owner's, within the console."""

from typing import Any

from flask import request
from flask import session as cookie
from flask_login import current_user

from mailadmin import boot, db, queue, web
from mailadmin.accounts.models import Account
from mailadmin.accounts.owners import own_account
from mailadmin.errors import RuleBroken
from mailadmin.invites import letters, own, owner, service
from mailadmin.invites.forms import OwnerForm
from mailadmin.invites.progress import CONNECTED, IDLE, Progress, progress
from mailadmin.invites.routes import COOKIE, OWN, bp
from mailadmin.invites.ways import Way
from mailadmin.oauth.routes import binder, leaving
from mailadmin.people import browsers
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

OFTEN = "5 per minute;30 per hour;60 per day"  # by one person, whatever the account
HELP = "5 per hour;10 per day"
LIST = "console.own_accounts"


@bp.get("/profile/accounts/<int:account_id>/connect")
@web.allow(Permission.READ_MAIL)
def connect_own(account_id: int) -> Answer:
    """What will happen, and the way in; while a try goes on how far it is."""
    return _answer(_own(account_id))


@bp.get("/profile/accounts/<int:account_id>/connect/progress")
@web.allow(Permission.READ_MAIL)
@web.polled
def look_own(account_id: int) -> Answer:
    """The same, asked by the page itself."""
    return _answer(_own(account_id))


@bp.post("/profile/accounts/<int:account_id>/connect")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(OFTEN, key_func=browsers.signed_in)
def try_own(account_id: int) -> Answer:
    """Try to connect, with what was typed or by going to the provider; the account is as before until a test passes."""
    session, form = db.session(), OwnerForm()
    account = _own(account_id)
    try:
        way = own.way(session, account)
        if way is not None and way.is_oauth:
            return _leave(account, way)
        if way is None or not form.validate_on_submit():
            return _answer(account, form)
        invite = own.ask_oneself(session, account, person=current_user.person, actor=web.actor())
        typed = {"password": form.password.data, "seen": form.seen.data or ""}
        owner.try_password(session, invite, actor=web.actor(), **typed)
        session.commit()
        queue.ring("check")
        return web.done("invites.look_own", account_id=account_id)
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
    return _answer(_own(account_id), form)


@bp.post("/profile/accounts/<int:account_id>/help")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(HELP, key_func=browsers.signed_in)
def ask_for_help(account_id: int) -> Answer:
    """Tell the administrators that this account cannot be connected by its owner alone."""
    session = db.session()
    own.ask_for_help(session, _own(account_id), person=current_user.person, actor=web.actor())
    session.commit()
    queue.ring("notice")
    return web.done(LIST, said=t("Your administrators see that you need help. You find here how it goes on."))


def _own(account_id: int) -> Account:
    """The account, if it is theirs. Raises NotFound."""
    return own_account(db.session(), current_user.person, account_id)


def _leave(account: Account, way: Way) -> Answer:
    """Begin to sign in at the provider, and show the way there. Raises RuleBroken."""
    session, actor = db.session(), web.actor()
    invite = own.ask_oneself(session, account, person=current_user.person, actor=actor)
    where = {"binder": binder(), "public_url": boot.settings().public_url}
    url = owner.begin_oauth(session, invite, actor=actor, **where)
    session.commit()
    if not url:  # A try goes on already.
        return web.done("invites.look_own", account_id=account.id)
    cookie[COOKIE] = f"{OWN}:{account.id}"
    return leaving(url, account=account, name=way.name)


def _answer(account: Account, form: OwnerForm | None = None) -> Answer:
    """The page as it stands now."""
    session = db.session()
    invite = own.open_question(session, account)
    told = progress(session, invite) if invite is not None else Progress(IDLE)
    was_looking = request.endpoint == "invites.look_own"
    if (told.stage == CONNECTED and form is None) or (was_looking and invite is None and _has_ended_well(account)):
        more = "" if account.is_set_up else t("Its usual folders are read within a minute.")
        return web.done(LIST, said=f"{t('{address} is connected.', address=account.address)} {more}".strip())
    if told.goes_on:
        return web.page("invites/own_testing.html", "invites/_testing.html", **_context(account, told))
    if was_looking:  # The try has ended by now, and not well.
        return web.done("invites.connect_own", account_id=account.id)
    return _form_page(account, told, form)


def _has_ended_well(account: Account) -> bool:
    """Whether the clock was faster than the page, and has written down already that the last try was the right one."""
    last = service.latest(db.session(), account.id)
    return last is not None and last.ending == CONNECTED


def _form_page(account: Account, told: Progress, form: OwnerForm | None) -> Answer:
    way, status = own.way(db.session(), account), 422 if form else 200
    form = form or OwnerForm(formdata=None)
    if way is not None:
        form.name_password(account.address, way.method)
        form.note_refusal(told.diagnosis, way.host)
    return web.page("invites/own_connect.html", None, status, **_context(account, told), way=way, form=form)


def _context(account: Account, told: Progress) -> dict[str, Any]:
    return {
        "account": account,
        "address": account.address,
        "told": told,
        "organisation_name": letters.organisation_name(db.session()),
        "first_name": t("an administrator"),
        "look": "invites.look_own",
        "where": {"account_id": account.id},
    }
