"""Signing in with a passkey, and one's own passkeys. What the browser does is in static/passkeys.js."""

from flask import Response, request
from flask import session as cookie
from flask_login import current_user

from mailadmin import boot, db, web
from mailadmin.errors import RuleBroken
from mailadmin.people import browsers, factors, passkeys
from mailadmin.people.factor_routes import ADDING, REMOVING, fresh, knows, unproved
from mailadmin.people.forms import NewPasskeyForm, RemovePasskeyForm
from mailadmin.people.routes import bp, enter, refused, where_to
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

PENDING = "passkey"  # in the cookie: the ticket with the challenge


def place() -> passkeys.Place:
    """Where the console is reached."""
    return passkeys.Place(boot.settings().public_url or request.url_root.rstrip("/"))


def _asked(options: str, code: str) -> Response:
    cookie[PENDING] = code
    db.session().commit()
    return Response(options, mimetype="application/json")


@bp.post("/sign-in/passkey/options")
@web.public
@web.limiter.limit("30 per minute")
def passkey_sign_in_options() -> Response:
    return _asked(*passkeys.begin_sign_in(db.session(), place()))


@bp.post("/sign-in/passkey")
@web.public
@web.limiter.limit("20 per minute")
def passkey_sign_in() -> Answer:
    session = db.session()
    try:
        answer, code = request.form.get("answer", ""), cookie.pop(PENDING, "")
        person = passkeys.sign_in(session, place(), code=code, answer=answer)
    except RuleBroken as broken:
        session.rollback()
        refused(None, t("failed to sign in with a passkey"))
        return web.done("people.sign_in", said=broken.message, tone="bad")
    enter(person, method="passkey", has_second_factor=True)
    session.commit()
    return where_to()


@bp.post("/profile/second-factor/passkeys/options")
@web.allow(Permission.READ_MAIL)
@fresh
def passkey_options() -> Answer:
    return _asked(*passkeys.begin_adding(db.session(), current_user.person, place()))


@bp.post("/profile/second-factor/passkeys")
@web.allow(Permission.READ_MAIL)
@fresh
def add_passkey() -> Answer:
    session, person = db.session(), current_user.person
    has_codes = factors.left(session, person) > 0
    try:
        form = NewPasskeyForm(prefix=ADDING)
        code, answer, name = cookie.pop(PENDING, ""), form.answer.data or "", form.name.data or ""
        actor = web.actor()
        passkeys.add(session, person, place(), code=code, answer=answer, name=name, actor=actor)
    except RuleBroken as broken:
        session.rollback()
        return web.done("people.own_factors", said=broken.message, tone="bad")
    current_user.note_second_factor()
    codes = [] if has_codes else factors.new_recovery_codes(session, person)
    session.commit()
    if codes:
        return web.page("people/recovery_codes.html", codes=codes)
    return web.done("people.own_factors", said=t("The passkey is added."))


@bp.post("/profile/second-factor/passkeys/remove")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(browsers.PROOFS, key_func=browsers.signed_in)
def remove_passkey() -> Answer:
    session, person = db.session(), current_user.person
    form = RemovePasskeyForm(prefix=REMOVING)
    form.offer(passkeys.of_person(session, person))
    if not form.validate_on_submit() or not knows(person, form.password.data or ""):
        return unproved()
    passkeys.remove(session, person, form.passkey.data, actor=web.actor())
    factors.forget_recovery_if_alone(session, person)
    session.commit()
    return web.done("people.own_factors", said=t("The passkey is removed."))
