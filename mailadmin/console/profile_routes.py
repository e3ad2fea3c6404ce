"""What everybody has who signs in: a way in, profile, password, sessions, and help when the password is lost."""

from typing import Any
from zoneinfo import available_timezones

from flask import request, url_for
from flask_login import current_user

from mailadmin import db, queue, web
from mailadmin.access import service as access
from mailadmin.access import slots
from mailadmin.accounts import owners
from mailadmin.accounts import service as accounts
from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.console import person_letters
from mailadmin.console.blueprint import bp
from mailadmin.console.people_routes import filled
from mailadmin.console.person_forms import ChangePasswordForm, ForgottenForm, ProfileForm
from mailadmin.console.person_routes import address_of, can_write
from mailadmin.errors import RuleBroken
from mailadmin.form import options
from mailadmin.people import browsers, sessions, staff
from mailadmin.people import service as people
from mailadmin.people.models import Person
from mailadmin.permissions import Actor, Permission
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/home")
@web.allow(Permission.READ_MAIL)
def home() -> Answer:
    """Where somebody who manages nothing begins: their primary mailbox, or why there is none."""
    session, person = db.session(), current_user.person
    first = access.primary(session, person)
    mailboxes = access.mailboxes(session, person)
    if first is not None:
        return web.done("mailbox.show", account_id=first.id)
    if mailboxes:
        return web.done("mailbox.show", account_id=mailboxes[0][0])
    return web.page("console/no_mailbox.html", may_add=owners.may_add(session, person))


@bp.route("/profile", methods=["GET", "POST"])
@web.allow(Permission.READ_MAIL)
def profile() -> Answer:
    session, person = db.session(), current_user.person
    form = ProfileForm(data={"name": person.name, "time_zone": person.time_zone, "signature": person.signature})
    _offer_zones(form)
    if form.validate_on_submit():
        try:
            zone, signature = form.time_zone.data or "", form.signature.data or ""
            staff.change_profile(session, person, name=form.name.data, time_zone=zone, signature=signature)
            session.commit()
            return web.done("console.profile", said=t("Your profile is saved."))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("console/profile.html", "console/_profile_form.html", _status(form), **_profile(form=form))


def _offer_zones(form: ProfileForm) -> None:
    names = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix/")))
    form.time_zone.choices = options([("", "UTC"), *((name, name.replace("_", " ")) for name in names)])


def _profile(**values: Any) -> dict[str, Any]:
    session, person = db.session(), current_user.person
    return {
        "person": person,
        "password_form": ChangePasswordForm(formdata=None),
        "has_factor": staff.has_second_factor(session, person),
        "shortest": staff.shortest_password(session, person),
        "sessions": sessions.of_person(session, person),
        "browser_of": sessions.browser_of,
        "is_this": lambda found: sessions.is_of(found, current_user.get_id()),
        "own": [(account, accounts.state_of(account)) for account in owners.owned_by(session, person)],
        "may_add": owners.may_add(session, person),
        "slots": [slot for slot in slots.of(session, person) if slot is not None],
        "own_mailboxes": access.mailboxes(session, person),
        "preview": filled(person, values["form"].signature.data or ""),
        **values,
    }


def _status(form: Any) -> int:
    return 422 if form.errors and request.method == "POST" else 200


@bp.post("/profile/password")
@web.allow(Permission.READ_MAIL)
@web.limiter.limit(browsers.PROOFS, key_func=browsers.signed_in)
def change_password() -> Answer:
    session, person, form = db.session(), current_user.person, ChangePasswordForm()
    if form.validate_on_submit():
        if person.password_hash is None and not current_user.is_fresh:
            said = t("Sign in once more, to show that it is you.")
            return web.done("people.sign_in", said=said, tone="warn", next=url_for("console.profile"))
        try:
            values = {"old": form.old_password.data, "new": form.password.data, "keep": current_user.get_id()}
            staff.change_password(session, person, actor=web.actor(), **values)
            session.commit()
            return web.done("console.profile", said=t("Your password is changed. You are signed out everywhere else."))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    stored = {"name": person.name, "time_zone": person.time_zone, "signature": person.signature}
    profile_form = ProfileForm(formdata=None, data=stored)
    _offer_zones(profile_form)
    values = _profile(form=profile_form, password_form=form)
    return web.page("console/profile.html", "console/_password_form.html", 422, **values)


@bp.post("/profile/accounts/<int:account_id>/primary")
@web.allow(Permission.READ_MAIL)
def choose_primary(account_id: int) -> Answer:
    session, person = db.session(), current_user.person
    account = access.get_visible(session, person, account_id)
    slots.make_primary(session, person=person, account=account, actor=web.actor())
    session.commit()
    return web.done("console.profile", said=t("{address} comes first now.", address=account.address))


@bp.post("/profile/sessions/<int:sign_in_id>/end")
@web.allow(Permission.READ_MAIL)
def end_session(sign_in_id: int) -> Answer:
    sessions.end_one(db.session(), current_user.person, sign_in_id)
    db.session().commit()
    return web.done("console.profile", said=t("That session has ended."), _anchor="sessions")


@bp.post("/profile/sessions/end")
@web.allow(Permission.READ_MAIL)
def end_other_sessions() -> Answer:
    sessions.end_all(db.session(), current_user.person, but=current_user.get_id())
    db.session().commit()
    return web.done("console.profile", said=t("You are signed out everywhere else."), _anchor="sessions")


# A lost password.


@bp.route("/forgotten", methods=["GET", "POST"])
@web.public
@web.limiter.limit("5 per minute", methods=["POST"])
def forgotten() -> Answer:
    """Send whoever forgot a password a link; the answer is the same for people that are not here."""
    form, session = ForgottenForm(), db.session()
    if not can_write():
        return web.page("console/forgotten.html", form=form, can_write=False, is_asked=False)
    if form.validate_on_submit():
        _owe_link(people.find(session, form.email.data))
        return web.page("console/forgotten.html", form=form, can_write=True, is_asked=True)
    return web.page("console/forgotten.html", None, _status(form), form=form, can_write=True, is_asked=False)


def _owe_link(person: Person | None) -> None:
    """Send a link, unless one is on its way; for nobody the same is done and taken back, so that it takes as long."""
    session, nobody = db.session(), Person(name="", email="nobody@localhost")
    is_owed = person is not None and staff.may_ask_for_reset(session, person)
    with session.begin_nested() as attempt:
        link = address_of(staff.ask_for_reset(session, person))
        whom = person if person is not None and is_owed else nobody
        person_letters.send_link(session, whom, link, asked_by=whom.name)
        if not is_owed:
            attempt.rollback()
    name, person_id = (person.name, person.id) if person else (t("An unknown address"), None)
    activity.record(
        session,
        Actor(name, person_id, request.remote_addr or ""),
        "asked for a new password",
        kind=ActivityKind.SIGN_INS,
    )
    session.commit()
    queue.ring("notice")
