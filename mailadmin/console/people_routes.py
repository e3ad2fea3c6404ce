"""The list of workers, and the page of one: the five accounts, role and teams, and the signature."""

from collections.abc import Callable
from typing import Any

from flask import request

from mailadmin import db, web
from mailadmin.access import service as access
from mailadmin.access import slots
from mailadmin.access import teams as access_teams
from mailadmin.access.models import SLOTS
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.console import people_list
from mailadmin.console.blueprint import bp
from mailadmin.console.people_forms import RightsForm, RoleForm, SignatureForm, TeamsForm, WorkerFilter
from mailadmin.errors import RuleBroken
from mailadmin.people import service as people_service
from mailadmin.people import signatures, teams
from mailadmin.people import staff as people
from mailadmin.people.models import Person
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/workers")
@web.allow(Permission.MANAGE_PEOPLE)
def workers() -> Answer:
    session = db.session()
    form = WorkerFilter(request.args, teams=people_service.teams(session))
    wanted = form.wanted(page=request.args.get("page", 1, int))
    return web.page("console/workers.html", form=form, wanted=wanted, found=people_list.find(session, wanted))


@bp.get("/workers/<int:person_id>")
@web.allow(Permission.MANAGE_PEOPLE)
def worker(person_id: int) -> Answer:
    person = people.get(db.session(), person_id)
    return web.page("console/worker.html", **page_of(person))


@bp.get("/workers/<int:person_id>/accounts/new")
@web.allow(Permission.MANAGE_PEOPLE)
def pick_account(person_id: int) -> Answer:
    person = people.get(db.session(), person_id)
    return web.page("console/pick_account.html", "console/_pick_account.html", **_picker(person))


@bp.get("/workers/<int:person_id>/accounts/found")
@web.allow(Permission.MANAGE_PEOPLE)
def found_accounts(person_id: int) -> Answer:
    """What the picker shows while somebody types."""
    person = people.get(db.session(), person_id)
    return web.page("console/pick_account.html", "console/_picks.html", **_picker(person))


@bp.post("/workers/<int:person_id>/accounts")
@web.allow(Permission.MANAGE_PEOPLE)
def give_account(person_id: int) -> Answer:
    """Give what was picked; a refusal is said in the picker, which stays open."""
    session, rights = db.session(), RightsForm().rights()
    person = people.get(session, person_id)
    account = accounts.get(session, request.form.get("account", 0, web.row_id))
    try:
        slots.give(session, person=person, account=account, rights=rights, actor=web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        refused = {"title": t("{address} was not added", address=account.address), "text": broken.message}
        picker = _picker(person) if web.is_htmx() else page_of(person)
        return web.page("console/worker.html", "console/_pick_account.html", 422, **picker, refused=refused)
    said = t("{name} uses {address} now.", name=person.name, address=account.address)
    return web.done("console.worker", said=said, person_id=person_id)


@bp.post("/workers/<int:person_id>/accounts/remove")
@web.allow(Permission.MANAGE_PEOPLE)
def take_account(person_id: int) -> Answer:
    def take(person: Person, account: Account) -> None:
        slots.take(db.session(), person=person, account=account, actor=web.actor())

    return _change(person_id, take)


@bp.post("/workers/<int:person_id>/accounts/move")
@web.allow(Permission.MANAGE_PEOPLE)
def move_account(person_id: int) -> Answer:
    position = request.form.get("position", 0, int)

    def move(person: Person, account: Account) -> None:
        slots.move(db.session(), person=person, account=account, position=position, actor=web.actor())

    return _change(person_id, move, t("{address} was not moved"))


@bp.post("/workers/<int:person_id>/accounts/rights")
@web.allow(Permission.MANAGE_PEOPLE)
def change_rights(person_id: int) -> Answer:
    rights = RightsForm().rights()

    def change(person: Person, account: Account) -> None:
        slots.set_rights(db.session(), person=person, account=account, rights=rights, actor=web.actor())

    return _change(person_id, change)


@bp.post("/workers/<int:person_id>/primary")
@web.allow(Permission.MANAGE_PEOPLE)
def make_primary(person_id: int) -> Answer:
    def star(person: Person, account: Account) -> None:
        slots.make_primary(db.session(), person=person, account=account, actor=web.actor())

    return _change(person_id, star)


@bp.post("/workers/<int:person_id>/teams")
@web.allow(Permission.MANAGE_PEOPLE)
def change_teams(person_id: int) -> Answer:
    session = db.session()
    person = people.get(session, person_id)
    form = _teams_form(person)
    if form.validate_on_submit():
        try:
            access_teams.set_teams(session, person=person, wanted=form.teams.data or [], actor=web.actor())
            session.commit()
            return web.done("console.worker", said=t("The teams are saved."), person_id=person_id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("console/worker.html", "console/_teams.html", 422, **page_of(person, teams_form=form))


@bp.get("/workers/<int:person_id>/signature/preview")
@web.allow(Permission.MANAGE_PEOPLE)
def preview_signature(person_id: int) -> Answer:
    """What the signature looks like while somebody writes it."""
    if not web.is_htmx():
        return web.done("console.worker", person_id=person_id)
    person = people.get(db.session(), person_id)
    written = request.args.get("signature", "")[: signatures.LONGEST]
    return web.page("console/_signature_preview.html", preview=_filled(person, written))


@bp.post("/workers/<int:person_id>/signature")
@web.allow(Permission.MANAGE_PEOPLE)
def change_signature(person_id: int) -> Answer:
    session = db.session()
    person, form = people.get(session, person_id), SignatureForm()
    if form.validate_on_submit():
        try:
            signatures.set_signature(session, person, text=form.signature.data or "", actor=web.actor())
            session.commit()
            return web.done("console.worker", said=t("The signature is saved."), person_id=person_id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("console/worker.html", "console/_signature.html", 422, **page_of(person, signature_form=form))


def _change(person_id: int, deed: Callable[[Person, Account], Any], refused: str = "") -> Answer:
    """Do something with the account that the form names; the answer is the list of the five places."""
    session = db.session()
    person = people.get(session, person_id)
    account = accounts.get(session, request.form.get("account", 0, web.row_id))
    try:
        deed(person, account)
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        title = refused.format(address=account.address)
        said = {"refused": {"title": title, "text": broken.message}}
        return web.page("console/worker.html", "console/_slots.html", 422, **page_of(person), **said)
    if not web.is_htmx():
        return web.done("console.worker", person_id=person_id)
    return web.page("console/_slots.html", **_places(person))


def _places(person: Person) -> dict[str, Any]:
    """What the list of the five places shows."""
    session = db.session()
    return {
        "person": person,
        "slots": [
            slot and (slot, access.rights_of(slot), accounts.state_of(slot.account))
            for slot in slots.of(session, person)
        ],
        "used": slots.count(session, person),
        "most": SLOTS,
        "through_teams": access_teams.accounts_through_teams(session, person),
        "own": people_list.own_accounts(session, person),
        "state_of": accounts.state_of,
    }


def _picker(person: Person) -> dict[str, Any]:
    session, words = db.session(), " ".join(request.args.get("q", "").split())[:200]
    places = slots.of(session, person)
    return {
        "person": person,
        "words": words,
        "picks": people_list.pick_accounts(session, person, words),
        "form": RightsForm(formdata=None),
        "state_of": accounts.state_of,
        "next_place": next((n for n, slot in enumerate(places, 1) if slot is None), None),
        "most": SLOTS,
    }


def _teams_form(person: Person) -> TeamsForm:
    session = db.session()
    mine = [team.id for team in teams.of_people(session, [person.id])[person.id]]
    form = TeamsForm(data={"teams": mine})
    form.offer(people_service.teams(session))
    return form


def _filled(person: Person, text: str) -> str:
    """`text` as it would stand under a message from the account with which `person` writes first."""
    session = db.session()
    mine = teams.of_people(session, [person.id])[person.id]
    account = access.primary(session, person)
    address = account.address if account else next((a for _, a in access.mailboxes(session, person)), person.email)
    return signatures.fill(text, name=person.name, team=mine[0].name if mine else "", account=address)


def role_form(person: Person) -> RoleForm:
    """What `person` is, and could be."""
    form = RoleForm(data={"role": str(person.custom_role_id or person.role.value)})
    form.offer(people.custom_roles(db.session()))
    return form


def page_of(person: Person, **refused: Any) -> dict[str, Any]:
    """What the page of `person` shows; a form that was `refused` (role_form, …) stands in the place of its own."""
    signature_form = refused.get("signature_form") or SignatureForm(data={"signature": person.signature})
    return {
        **_places(person),
        "has_factor": people.has_second_factor(db.session(), person),
        "role_form": refused.get("role_form") or role_form(person),
        "teams_form": refused.get("teams_form") or _teams_form(person),
        "signature_form": signature_form,
        "preview": _filled(person, signature_form.signature.data or ""),
    }
