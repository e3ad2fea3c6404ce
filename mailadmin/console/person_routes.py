"""What administrators do about people: add them, send links, keep them out, delete them; and roles of one's own."""

from typing import Any

from flask import request, url_for
from flask_login import current_user

from mailadmin import boot, db, queue, web
from mailadmin.accounts import owners, system_mail
from mailadmin.accounts import service as accounts
from mailadmin.console import person_letters
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm
from mailadmin.console.people_routes import chosen_role
from mailadmin.console.person_forms import DELETE, LINK, MAIL, PASSWORD, CustomRoleForm, LeavingForm, NewPersonForm
from mailadmin.errors import RuleBroken
from mailadmin.people import factors, staff
from mailadmin.people import service as people
from mailadmin.people.models import Person
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer


@bp.route("/workers/new", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PEOPLE)
def new_person() -> Answer:
    session, form = db.session(), NewPersonForm()
    is_full = staff.is_full(current_user.person)
    form.offer(staff.custom_roles(session), has_mail=can_write(), only_workers=not is_full)
    if form.validate_on_submit():
        try:
            return _added(form)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    status = 422 if request.method == "POST" else 200
    return web.page("console/person_new.html", "console/_person_form.html", status, form=form)


def _added(form: NewPersonForm) -> Answer:
    session = db.session()
    role, custom_role = chosen_role(form.role.data)
    staff.check_reach(current_user.person, role=role)
    values = {"email": form.email.data, "name": form.name.data, "role": role, "actor": web.actor()}
    if form.way.data == PASSWORD:
        person = people.add(session, password=form.password.data or "", **values)
        person.custom_role_id = custom_role.id if custom_role else None
        session.commit()
        return web.done("console.worker", said=t("{name} can sign in now.", name=person.name), person_id=person.id)
    person = staff.invite(session, custom_role=custom_role, **values)
    return _linked(person, by_mail=form.way.data == MAIL)


@bp.post("/workers/<int:person_id>/link")
@web.allow(Permission.MANAGE_PEOPLE)
def send_person_link(person_id: int) -> Answer:
    """A link for choosing a password: sent if the console can write and nobody wants to pass it on, else shown."""
    person = staff.get_changeable(db.session(), person_id, by=current_user.person)
    return _linked(person, by_mail=can_write() and request.form.get("way") != LINK)


def _linked(person: Person, *, by_mail: bool) -> Answer:
    session = db.session()
    link = address_of(staff.make_link(session, person, actor=web.actor()))
    if by_mail:
        person_letters.send_link(session, person, link, asked_by=current_user.person.name)
    name, email, person_id = person.name, person.email, person.id
    session.commit()
    if not by_mail:  # It is shown once, and not kept.
        return web.page("console/person_link.html", link=link, person=person)
    queue.ring("notice")
    said = t("A link is on its way to {email}.", email=email)
    return web.done("console.worker", said=f"{name}: {said}", person_id=person_id)


def can_write() -> bool:
    """Whether the console can send e-mail, and knows under which address it is reached."""
    return bool(boot.settings().public_url) and system_mail.sender(db.session()) is not None


def address_of(code: str) -> str:
    """The whole address of the link `code`; as this browser reaches the console unless the settings say how."""
    base = boot.settings().public_url or request.url_root.rstrip("/")
    return base + url_for("people.choose_password", code=code)


@bp.post("/workers/<int:person_id>/reset-factor")
@web.allow(Permission.MANAGE_PEOPLE)
def reset_factor(person_id: int) -> Answer:
    """For somebody whose phone is lost, and the recovery codes with it."""
    session = db.session()
    person = staff.get_changeable(session, person_id, by=current_user.person)
    factors.reset(session, person, actor=web.actor())
    session.commit()
    said = t("{name} signs in with the password alone, and should set up a new second factor.", name=person.name)
    return web.done("console.worker", said=said, tone="warn", person_id=person_id)


@bp.route("/workers/<int:person_id>/deactivate", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PEOPLE)
def deactivate_person(person_id: int) -> Answer:
    session = db.session()
    person, form = staff.get(session, person_id), DeleteForm()
    if form.validate_on_submit():
        staff.deactivate(session, person, by=current_user.person, actor=web.actor())
        session.commit()
        return web.done("console.worker", said=t("{name} is kept out.", name=person.name), person_id=person_id)
    return web.page("console/person_deactivate.html", "console/_person_deactivate.html", person=person, form=form)


@bp.post("/workers/<int:person_id>/reactivate")
@web.allow(Permission.MANAGE_PEOPLE)
def reactivate_person(person_id: int) -> Answer:
    session = db.session()
    person = staff.get(session, person_id)
    staff.reactivate(session, person, by=current_user.person, actor=web.actor())
    session.commit()
    return web.done("console.worker", said=t("{name} can sign in again.", name=person.name), person_id=person_id)


@bp.route("/workers/<int:person_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PEOPLE)
def delete_person(person_id: int) -> Answer:
    session, form = db.session(), LeavingForm()
    person = staff.get(session, person_id)
    own = owners.owned_by(session, person)
    others = [each for each in people.everyone(session) if each.is_active and each.id != person.id]
    form.offer([each for each in others if staff.may_change(current_user.person, each)])
    if form.validate_on_submit():
        try:
            return _deleted(person, form)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    values: dict[str, Any] = {"person": person, "form": form, "own": own}
    return web.page("console/person_delete.html", None, 422 if form.errors else 200, **values)


def _deleted(person: Person, form: LeavingForm) -> Answer:
    session, name, gone = db.session(), person.name, []
    staff.check_reach(current_user.person, person)
    own = owners.owned_by(session, person)
    if own and form.accounts.data == DELETE:
        for account in own:
            accounts.request_deletion(session, account, actor=web.actor())
            gone.append(account.id)
    elif own:
        if not form.heir.data:
            raise RuleBroken(t("Choose who gets the accounts of {name}.", name=name), field="heir")
        heir = staff.get_changeable(session, int(form.heir.data), by=current_user.person)
        for account in own:
            owners.hand_over(session, account, heir=heir, actor=web.actor())
    staff.remove(session, person, by=current_user.person, actor=web.actor())
    session.commit()
    for account_id in gone:
        queue.ring("purge", account_id)
    return web.done("console.workers", said=t("{name} was deleted.", name=name))


# Roles of one's own.


@bp.get("/roles")
@web.allow(Permission.MANAGE_PEOPLE)
def roles() -> Answer:
    values: dict[str, Any] = {"roles": staff.custom_roles(db.session()), "is_full": staff.is_full(current_user.person)}
    return web.page("console/roles.html", **values)


@bp.route("/roles/new", methods=["GET", "POST"], defaults={"role_id": None})
@bp.route("/roles/<int:role_id>", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PEOPLE)
def edit_role(role_id: int | None) -> Answer:
    session = db.session()
    role = staff.get_role(session, role_id) if role_id else None
    stored = {"name": role.name, "permissions": role.words.split(",")} if role else {}
    form = CustomRoleForm(data=stored)
    form.offer()
    if form.validate_on_submit():
        try:
            name, wanted = form.name.data or "", form.permissions.data or []
            by, actor = current_user.person, web.actor()
            saved = staff.save_role(session, role, name=name, permissions=wanted, by=by, actor=actor)
            session.commit()
            return web.done("console.roles", said=t("The role {name} is saved.", name=saved.name))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    is_full = staff.is_full(current_user.person)
    return web.page("console/role.html", None, 422 if form.errors else 200, form=form, role=role, is_full=is_full)


@bp.route("/roles/<int:role_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PEOPLE)
def delete_role(role_id: int) -> Answer:
    session = db.session()
    role = staff.get_role(session, role_id)
    if not DeleteForm().validate_on_submit():
        full, partial = "console/role_delete.html", "console/_role_delete.html"
        return web.page(full, partial, role=role, holders=staff.holders(session, role))
    try:
        staff.delete_role(session, role, by=current_user.person, actor=web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return web.done("console.roles", said=broken.message, tone="bad")
    return web.done("console.roles", said=t("The role was deleted."))
