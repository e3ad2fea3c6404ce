"""The list of workers, and the page of one: the five accounts, role and teams, and the signature."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import request
from flask_login import current_user

from mailadmin import db, web
from mailadmin.access import service as access
from mailadmin.access import slots
from mailadmin.access import teams as access_teams
from mailadmin.access.models import SLOTS, Access
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.console import people_list
from mailadmin.console.blueprint import bp
from mailadmin.console.people_forms import ROLE_WORDS, RightsForm, SignatureForm, StandingForm, WorkerFilter
from mailadmin.errors import RuleBroken
from mailadmin.people import service as people_service
from mailadmin.people import signatures, teams
from mailadmin.people import staff as people
from mailadmin.people.models import CustomRole, Person
from mailadmin.permissions import Permission, PersonRole
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
    person = _changeable(person_id)
    return web.page("console/pick_account.html", "console/_pick_account.html", **_picker(person))


@bp.get("/workers/<int:person_id>/accounts/found")
@web.allow(Permission.MANAGE_PEOPLE)
def found_accounts(person_id: int) -> Answer:
    """What the picker shows while somebody types."""
    person = _changeable(person_id)
    return web.page("console/pick_account.html", "console/_picks.html", **_picker(person))


@bp.post("/workers/<int:person_id>/accounts")
@web.allow(Permission.MANAGE_PEOPLE)
def give_account(person_id: int) -> Answer:
    """Give what was picked; a refusal is said in the picker, which stays open."""
    session, rights = db.session(), RightsForm().rights()
    person = _changeable(person_id)
    account = accounts.get(session, request.form.get("account", 0, web.row_id))
    try:
        slots.give(session, person=person, account=account, rights=rights, actor=web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        refused = {"title": t("{address} was not added", address=account.address), "text": broken.message}
        values = {**page_of(person), **_picker(person)}  # Somebody else may have filled a place meanwhile.
        return web.page("console/worker.html", "console/_pick_refused.html", 422, **values, refused=refused)
    said = t("{name} uses {address} now.", name=person.name, address=account.address)
    return web.done("console.worker", said=said, person_id=person_id)


@bp.post("/workers/<int:person_id>/accounts/remove")
@web.allow(Permission.MANAGE_PEOPLE)
def take_account(person_id: int) -> Answer:
    def take(person: Person, account: Account) -> None:
        slots.take(db.session(), person=person, account=account, actor=web.actor())

    return _change(person_id, take, focus="next")


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

    return _change(person_id, star, focus="star")


@bp.post("/workers/<int:person_id>/role")
@web.allow(Permission.MANAGE_PEOPLE)
def change_standing(person_id: int) -> Answer:
    """What somebody is, and their teams: one form, of which all is saved or nothing."""
    session, person = db.session(), _changeable(person_id)
    form = _standing_form(person)
    if form.validate_on_submit():
        person = slots.lock(session, person)
        _change_standing(person, form)
        if not form.errors:
            session.commit()
            said = t("Role and teams of {name} are saved.", name=person.name)
            return web.done("console.worker", said=said, person_id=person_id)
        session.rollback()
    return web.page("console/worker.html", "console/_standing.html", 422, **page_of(person, standing_form=form))


def _change_standing(person: Person, form: StandingForm) -> None:
    """Do what `form` says; what is refused is told at its field, all of it at once."""
    session, by, actor = db.session(), current_user.person, web.actor()
    now = access_teams.standing(session, person)
    if form.version.data not in (None, now):
        said = t("Somebody else changed the role or the teams meanwhile. To put yours in their place, save again.")
        form.refuse(RuleBroken(said))
        form.renew_version(now)
        return
    role, custom_role = chosen_role(form.role.data)
    try:
        people.change_role(session, person, role=role, custom_role=custom_role, by=by, actor=actor)
    except RuleBroken as broken:
        form.refuse(RuleBroken(broken.message, field="role"))
    try:
        access_teams.set_teams(session, person=person, wanted=form.teams.data or [], actor=actor)
    except RuleBroken as broken:
        form.refuse(RuleBroken(broken.message, field="teams"))


def chosen_role(chosen: str) -> tuple[PersonRole, CustomRole | None]:
    """What a form's choice of a role means. Raises NotFound for a role that is gone."""
    if chosen in set(PersonRole):
        return PersonRole(chosen), None
    number = int(chosen) if chosen.isascii() and chosen.isdecimal() and len(chosen) < 10 else 0
    return PersonRole.ADMINISTRATOR, people.get_role(db.session(), number)


@bp.get("/workers/<int:person_id>/signature/preview")
@web.allow(Permission.MANAGE_PEOPLE)
def preview_signature(person_id: int) -> Answer:
    """What the signature looks like while somebody writes it."""
    if not web.is_htmx():
        return web.done("console.worker", person_id=person_id)
    person = people.get(db.session(), person_id)
    written = request.args.get("signature", "")[: signatures.LONGEST]
    return web.page("console/_signature_preview.html", preview=filled(person, written))


@bp.get("/profile/signature/preview")
@web.allow(Permission.READ_MAIL)
def preview_own_signature() -> Answer:
    """The same for one's own."""
    if not web.is_htmx():
        return web.done("console.profile")
    written = request.args.get("signature", "")[: signatures.LONGEST]
    return web.page("console/_signature_preview.html", preview=filled(current_user.person, written))


@bp.post("/workers/<int:person_id>/signature")
@web.allow(Permission.MANAGE_PEOPLE)
def change_signature(person_id: int) -> Answer:
    session = db.session()
    person, form = _changeable(person_id), SignatureForm()
    if form.validate_on_submit():
        try:
            signatures.set_signature(session, person, text=form.signature.data or "", actor=web.actor())
            session.commit()
            return web.done("console.worker", said=t("The signature is saved."), person_id=person_id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("console/worker.html", "console/_signature.html", 422, **page_of(person, signature_form=form))


def _change(
    person_id: int, deed: Callable[[Person, Account], Any], refused: str = "", *, focus: str = "menu"
) -> Answer:
    """Do something with the account that the form names; the answer is the list of the five places.

    The focus goes to the star or the menu of the account, or, where that is gone, to the next one's menu.
    """
    session = db.session()
    person = _changeable(person_id)
    account = accounts.get(session, request.form.get("account", 0, web.row_id))
    before = slots.of(session, person)
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
    at = account.id if focus != "next" else _next_to(account, before)
    return web.page("console/_slots.html", **_places(person), focus=("menu" if focus == "next" else focus, at))


def _next_to(account: Account, places: Sequence[Access | None]) -> int:
    """The account in the place after that of `account`, or else in the first one; 0 if there is no other."""
    filled_ones = [slot.account_id for slot in places if slot is not None]
    at = filled_ones.index(account.id)
    return next((each for each in (*filled_ones[at + 1 :], *filled_ones) if each != account.id), 0)


def _changeable(person_id: int) -> Person:
    """The person of a deed, if whoever does it may. Raises NotFound and RuleBroken."""
    return people.get_changeable(db.session(), person_id, by=current_user.person)


def _places(person: Person) -> dict[str, Any]:
    """What the list of the five places shows."""
    session = db.session()
    return {
        "person": person,
        "may_change": people.may_change(current_user.person, person),
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


def _standing_form(person: Person) -> StandingForm:
    """What `person` is and could be, and the teams."""
    session = db.session()
    mine = [team.id for team in teams.of_people(session, [person.id])[person.id]]
    role, version = str(person.custom_role_id or person.role.value), access_teams.standing(session, person)
    form = StandingForm(data={"role": role, "teams": mine, "version": version})
    form.offer(people.custom_roles(session), people_service.teams(session))
    return form


def filled(person: Person, text: str) -> str:
    """`text` as it would stand under a message from the account with which `person` writes first."""
    session = db.session()
    mine = teams.of_people(session, [person.id])[person.id]
    account = access.primary(session, person)
    address = account.address if account else next((a for _, a in access.mailboxes(session, person)), person.email)
    team = (account.team if account else None) or next(iter(mine), None)
    return signatures.fill(text, name=person.name, team=team.name if team else "", account=address)


def _may_do(role: CustomRole) -> str:
    words = [t(permission.value) for permission in people.DIVISIBLE if permission in role.permissions]
    return t("May {deeds}", deeds=", ".join(words))


def page_of(person: Person, **refused: Any) -> dict[str, Any]:
    """What the page of `person` shows; a form that was `refused` stands in the place of its own."""
    signature_form = refused.get("signature_form") or SignatureForm(data={"signature": person.signature})
    return {
        **_places(person),
        "has_factor": people.has_second_factor(db.session(), person),
        "is_me": person.id == current_user.person.id,
        "role_word": person.custom_role.name if person.custom_role else ROLE_WORDS[person.role],
        "teams": [team.name for team in teams.of_people(db.session(), [person.id])[person.id]],
        "is_full": people.is_full(current_user.person),
        "role_hints": {str(role.id): _may_do(role) for role in people.custom_roles(db.session())},
        "standing_form": refused.get("standing_form") or _standing_form(person),
        "signature_form": signature_form,
        "preview": filled(person, signature_form.signature.data or ""),
    }
