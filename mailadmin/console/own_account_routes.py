"""Your own accounts: everybody looks after their personal accounts, and adds some where the organisation allows it.

Each route begins with `own_account`: what belongs to somebody else does not exist here, not for administrators either.
How one is connected is in invites/own_routes.py.
"""

from typing import Any

from flask import request, url_for
from flask_login import current_user

from mailadmin import db, queue, web
from mailadmin.accounts import owners
from mailadmin.accounts import service as accounts
from mailadmin.accounts.forms import OwnAccountForm
from mailadmin.accounts.owners import MOST_OWN, own_account
from mailadmin.console import account_deeds, goes, owned
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import TypeToDeleteForm
from mailadmin.console.own_account_forms import OwnAddressForm
from mailadmin.errors import RuleBroken
from mailadmin.people import browsers
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.wizard import service as wizard
from mailadmin.wizard.choices import Outlook

OFTEN = "10 per minute;30 per hour"  # Each address that is tried says whether it is here already.
HELP = "5 per hour;10 per day"
DEEDS = ("sync", "pause", "resume")
LOCKED_OUT = ("refused", "signin", "waiting")


@bp.get("/profile/accounts")
@web.allow(Permission.READ_MAIL)
def own_accounts() -> Answer:
    """All of them, and how each is."""
    return web.page("console/own_accounts.html", **_listed())


@bp.get("/profile/accounts/now")
@web.allow(Permission.READ_MAIL)
@web.polled
def own_accounts_now() -> Answer:
    """The same, asked by the page itself while something goes on."""
    if not web.is_htmx():
        return web.done("console.own_accounts")
    return web.page("console/_own_accounts.html", None, **_listed())


def _listed() -> dict[str, Any]:
    session, person = db.session(), current_user.person
    found = owned.listed(session, person)
    may_add = owners.may_add(session, person)
    return {"own": found, "may_add": may_add, "has_room": len(found) < MOST_OWN, "most": MOST_OWN}


# A new one.


@bp.route("/profile/accounts/new", methods=["GET", "POST"])
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(OFTEN, methods=["POST"], key_func=browsers.signed_in)
def own_account_new() -> Answer:
    """Its address, and who runs the mailbox; what was typed stands in the address of the page."""
    session, person = db.session(), current_user.person
    form, seen = OwnAddressForm(data={"address": request.args.get("address", "")}), Outlook()
    try:
        if request.method == "GET":
            seen = owned.look(session, form.address.data) if form.address.data else seen
        elif form.validate():
            owners.check_room(session, person)
            seen = owned.look(session, form.address.data)
            chosen = owned.fitting(seen)
            if chosen is not None and (seen.is_sure or form.asked.data == seen.domain):
                account = owned.begin(session, person, address=form.address.data, chosen=chosen, actor=web.actor())
                return _begun(account.id)
            _look_up(seen)
            return web.done("console.own_account_new", address=form.address.data)
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
    status = 422 if form.errors or form.form_errors else 200
    return web.page("console/own_account_new.html", None, status, **_new(form, seen))


@bp.get("/profile/accounts/new/lookup")
@web.allow(Permission.READ_MAIL)
@web.polled
def own_account_lookup() -> Answer:
    """The lookup that goes on: the page asks for it again and again until it has ended."""
    address = request.args.get("address", "")
    if not web.is_htmx():
        return web.done("console.own_account_new", address=address)
    form = OwnAddressForm(formdata=None, data={"address": address})
    return web.page("console/_own_found.html", None, **_new(form, owned.look(db.session(), address)))


@bp.post("/profile/accounts/new/help")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(HELP, key_func=browsers.signed_in)
def own_account_without_servers() -> Answer:
    """Leave to an administrator who runs the mailbox."""
    session, form = db.session(), OwnAddressForm()
    if form.validate():
        try:
            owned.begin_without_servers(session, current_user.person, address=form.address.data, actor=web.actor())
            session.commit()
            queue.ring("notice")
            return web.done("console.own_accounts", said=t("Your administrators see that you need help."))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("console/own_account_new.html", None, 422, **_new(form, Outlook()))


def _look_up(seen: Outlook) -> None:
    lookup = wizard.look_up(db.session(), seen.domain, actor=web.actor())
    has_ended = lookup.ended_at is not None
    db.session.commit()
    if not has_ended:
        queue.ring("detect")


def _begun(account_id: int) -> Answer:
    db.session.commit()
    return web.done("invites.connect_own", account_id=account_id)


def _new(form: OwnAddressForm, seen: Outlook) -> dict[str, Any]:
    """What the page of a new account needs."""
    address = form.address.data or ""
    form.asked.data = seen.domain
    here = url_for("console.own_account_new", address=address)
    found = {"seen": seen, "chosen": owned.fitting(seen), "here": here}
    return {"form": form, "address": address, "queue_is_away": seen.is_slow and queue.waiting() is None, **found}


# One that there is.


@bp.route("/profile/accounts/<int:account_id>", methods=["GET", "POST"])
@web.allow(Permission.READ_MAIL)
def own_account_settings(account_id: int) -> Answer:
    """What its owner says of it."""
    session, person = db.session(), current_user.person
    account = own_account(session, person, account_id)
    form = OwnAccountForm(account)
    if form.validate_on_submit():
        try:
            owners.change_own(
                session,
                account,
                person=person,
                sender_name=form.sender_name.data or "",
                sent_copies=form.copies,
                visibility=form.shows,
                version=form.version.data or 0,
                actor=web.actor(),
            )
            session.commit()
            return web.done("console.own_accounts", said=t("What you changed is saved."))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
            account = own_account(session, person, account_id)
            if broken.field == "version":
                form.renew_version(account.version)
    status = 422 if form.errors or form.form_errors else 200
    context = {"form": form, "account": account, "state": accounts.state_of(account)}
    return web.page("console/own_account.html", "console/_own_account.html", status, **context)


@bp.post("/profile/accounts/<int:account_id>/deed")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit("20 per minute", key_func=browsers.signed_in)
def own_account_deed(account_id: int) -> Answer:
    """Sync it now, pause it, or let it go on."""
    session, do = db.session(), request.form.get("do", "")
    account = own_account(session, current_user.person, account_id)
    if do not in DEEDS:
        return web.error_answer(400, expired=True)
    if do == "sync" and accounts.state_of(account) in LOCKED_OUT:  # One more knock may lock the mailbox there.
        return web.done("invites.connect_own", said=t("First let us in again."), tone="warn", account_id=account_id)
    if do == "resume" and not owners.may_resume(account, current_user.person):
        return web.done(
            "console.own_accounts", said=t("An administrator paused it. Ask one to resume it."), tone="warn"
        )
    try:
        done = account_deeds.DEEDS[do](session, [account], web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return web.done("console.own_accounts", said=broken.message, tone="bad")
    for ring in done.rings:
        queue.ring(*ring)
    return web.done("console.own_accounts", said=done.said, tone="ok" if done.number else "run")


@bp.route("/profile/accounts/<int:account_id>/remove", methods=["GET", "POST"])
@web.allow(Permission.READ_MAIL)
def own_account_remove(account_id: int) -> Answer:
    """Remove it here, with all its mail; nothing happens at the provider."""
    session = db.session()
    account = own_account(session, current_user.person, account_id)
    form = TypeToDeleteForm(account.address)
    if form.validate_on_submit():
        accounts.request_deletion(session, account, actor=web.actor())
        session.commit()
        queue.ring("purge", account_id)
        return web.done("console.own_accounts", said=t("{address} is being removed.", address=account.address))
    status = 422 if form.errors else 200
    context = {"account": account, "form": form, "goes": goes.with_account(session, account)}
    return web.page("console/own_account_remove.html", "console/_own_account_remove.html", status, **context)
