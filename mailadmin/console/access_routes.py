"""Who may use an account, and with which rights; and what is said to somebody who may not read it."""

from typing import Any

from flask import request, url_for
from flask_login import current_user

from mailadmin import db, web
from mailadmin.access import service as access
from mailadmin.access import slots
from mailadmin.access.models import SLOTS
from mailadmin.access.service import NotYours
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Kind
from mailadmin.console import people_list
from mailadmin.console.account_pages import head
from mailadmin.console.blueprint import bp
from mailadmin.console.people_forms import RightsForm
from mailadmin.errors import RuleBroken
from mailadmin.people import staff, teams
from mailadmin.people.models import Person
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

LONGEST_SEARCH = 200


@bp.get("/accounts/<int:account_id>/access")
@web.allow(Permission.SEE_CONSOLE)
def account_access(account_id: int) -> Answer:
    return web.page("console/account_access.html", **_page(accounts.get(db.session(), account_id)))


@bp.get("/accounts/<int:account_id>/access/people")
@web.allow(Permission.MANAGE_PEOPLE)
def found_people(account_id: int) -> Answer:
    """What the picker shows while somebody types."""
    found = accounts.get(db.session(), account_id)
    return web.page("console/account_access.html", "console/_people.html", **_page(found))


@bp.post("/accounts/<int:account_id>/access")
@web.allow(Permission.MANAGE_PEOPLE)
def give_access(account_id: int) -> Answer:
    """Give the account to the person, or to everybody in the team, that was picked."""
    session, rights = db.session(), RightsForm().rights()
    account = accounts.get(session, account_id)
    try:
        if "team" in request.form:
            team = teams.get(session, request.form.get("team", 0, web.row_id))
            only = not staff.is_full(current_user.person)
            actor = web.actor()
            given = slots.give_team(session, team=team, account=account, rights=rights, actor=actor, only_workers=only)
            said, tone = _told(given)
        else:
            person = _changeable(request.form.get("worker", 0, web.row_id))
            slots.give(session, person=person, account=account, rights=rights, actor=web.actor())
            said, tone = t("{name} can open {address} now.", name=person.name, address=account.address), "ok"
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        return web.page("console/account_access.html", status=422, **_page(account), refused=broken.message)
    if request.form.get("then") == "mailbox":
        return web.done("mailbox.show", account_id=account_id)
    return web.done("console.account_access", said=said, tone=tone, account_id=account_id)


@bp.post("/accounts/<int:account_id>/access/<int:person_id>/rights")
@web.allow(Permission.MANAGE_PEOPLE)
def change_access(account_id: int, person_id: int) -> Answer:
    session, rights = db.session(), RightsForm().rights()
    account, person = accounts.get(session, account_id), _changeable(person_id)
    slots.set_rights(session, person=person, account=account, rights=rights, actor=web.actor())
    session.commit()
    said = t("{name}: {rights}.", name=person.name, rights=slots.RIGHTS_WORDS[rights].lower())
    return web.done("console.account_access", said=said, account_id=account_id)


@bp.post("/accounts/<int:account_id>/access/<int:person_id>/remove")
@web.allow(Permission.MANAGE_PEOPLE)
def take_access(account_id: int, person_id: int) -> Answer:
    session = db.session()
    account, person = accounts.get(session, account_id), _changeable(person_id)
    slots.take(session, person=person, account=account, actor=web.actor())
    session.commit()
    said = t("{name} cannot open {address} any more.", name=person.name, address=account.address)
    return web.done("console.account_access", said=said, account_id=account_id)


@bp.app_errorhandler(NotYours)
def closed_mailbox(error: NotYours) -> Answer:
    """For a mailbox that this person does not read, whichever of its pages was asked for.

    A page that was open when the access was taken goes to the mailbox's own page and learns the reason there. Only
    administrators are told that the account exists: they see all of them anyway.
    """
    if web.is_htmx():
        return web.go(url_for("mailbox.show", account_id=error.account_id))
    session, person = db.session(), current_user.person
    account = session.get(Account, error.account_id)
    if account is None or account.deleting_at is not None or not person.may(Permission.SEE_CONSOLE):
        return web.error_answer(404, error.message)
    has_room = slots.count(session, person) < SLOTS
    may_give = person.may(Permission.MANAGE_PEOPLE) and staff.may_change(person, person)
    values = {**head(account, "access"), "has_room": has_room, "me_id": person.id, "may_give": may_give}
    return web.page("console/closed_mailbox.html", status=404, **values)


def _changeable(person_id: int) -> Person:
    return staff.get_changeable(db.session(), person_id, by=current_user.person)


def _told(given: slots.Given) -> tuple[str, str]:
    """What became of giving a team an account, in words, and the tone."""
    names = [person.name for person in given.now_have]
    said = t("{names} can open it now.", names=", ".join(names)) if names else t("Nobody was added.")
    if given.full:
        said += " " + t("Without a free place: {names}.", names=", ".join(person.name for person in given.full))
    if given.left_out:
        others = ", ".join(person.name for person in given.left_out)
        said += " " + t("Administrators, whom you cannot change: {names}.", names=others)
    return said, "ok" if names and not given.full else "warn"


def _page(account: Account) -> dict[str, Any]:
    """What the tab shows: who has the account in a place of theirs, who through its team, and who could be added."""
    session, words = db.session(), " ".join(request.args.get("q", "").split())[:LONGEST_SEARCH]
    given = slots.of_account(session, account)
    members = teams.members(session, account.team) if account.kind is Kind.TEAM and account.team else []
    ids = [slot.person_id for slot in given]
    return {
        **head(account, "access"),
        "is_full": staff.is_full(current_user.person),
        "readers": access.readers(session, account),
        "given": [(slot, access.rights_of(slot)) for slot in given],
        "members": [person for person in members if person.is_active],
        "used": slots.counts(session, ids),
        "teams_of": teams.of_people(session, ids),
        "pick": people_list.pick_people(session, account, words),
        "words": words,
        "form": RightsForm(formdata=None),
        "most": SLOTS,
    }
