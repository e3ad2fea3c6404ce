"""Teams: their list, and the page of one with its members and accounts."""

from typing import Any

from flask_login import current_user

from mailadmin import db, web
from mailadmin.access import teams as access
from mailadmin.accounts import teams as team_accounts
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm
from mailadmin.console.people_forms import MemberForm, TeamForm
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import service as people
from mailadmin.people import staff, teams
from mailadmin.people.models import Team
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer


@bp.route("/teams", endpoint="teams", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PEOPLE)
def all_teams() -> Answer:
    """The list, and below it the form for one more."""
    session, form = db.session(), TeamForm()
    if form.validate_on_submit():
        try:
            team = teams.create(session, name=form.name.data, actor=web.actor())
            session.commit()
            return web.done("console.team", said=t("The team {name} is there.", name=team.name), team_id=team.id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    found = people.teams(session)
    ids = [team.id for team in found]
    return web.page(
        "console/teams.html",
        status=422 if form.errors else 200,
        form=form,
        found=found,
        sizes=teams.sizes(session),
        accounts=team_accounts.of(session, ids),
        **_rules(),
    )


@bp.get("/teams/<int:team_id>")
@web.allow(Permission.MANAGE_PEOPLE)
def team(team_id: int) -> Answer:
    return web.page("console/team.html", **_page(teams.get(db.session(), team_id)))


@bp.post("/teams/<int:team_id>/name")
@web.allow(Permission.MANAGE_PEOPLE)
def rename_team(team_id: int) -> Answer:
    session, form = db.session(), TeamForm()
    found = teams.get(session, team_id)
    if form.validate_on_submit():
        try:
            teams.rename(session, found, name=form.name.data, actor=web.actor())
            session.commit()
            return web.done("console.team", said=t("The team is called {name} now.", name=found.name), team_id=team_id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("console/team.html", status=422, **{**_page(found), "form": form})


@bp.post("/teams/<int:team_id>/members")
@web.allow(Permission.MANAGE_PEOPLE)
def join_team(team_id: int) -> Answer:
    session = db.session()
    found = teams.get(session, team_id)
    form = _member_form(found)
    if form.validate_on_submit() and form.person.data:
        person = staff.get_changeable(session, form.person.data, by=current_user.person)
        try:
            access.join(session, found, person=person, actor=web.actor())
            session.commit()
            return web.done("console.team", said=t("{name} is in the team.", name=person.name), team_id=team_id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    return web.page("console/team.html", status=422, **{**_page(found), "member_form": form})


@bp.post("/teams/<int:team_id>/members/<int:person_id>/remove")
@web.allow(Permission.MANAGE_PEOPLE)
def leave_team(team_id: int, person_id: int) -> Answer:
    session = db.session()
    found, person = teams.get(session, team_id), staff.get_changeable(session, person_id, by=current_user.person)
    access.leave(session, found, person=person, actor=web.actor())
    session.commit()
    return web.done("console.team", said=t("{name} left the team.", name=person.name), team_id=team_id)


@bp.route("/teams/<int:team_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PEOPLE)
def delete_team(team_id: int) -> Answer:
    session = db.session()
    found = teams.get(session, team_id)
    if DeleteForm().validate_on_submit():
        said = t("The team {name} is no more.", name=found.name)
        access.delete(session, found, actor=web.actor())
        session.commit()
        return web.done("console.teams", said=said)
    return web.page("console/team_delete.html", "console/_team_delete.html", **_page(found))


def _member_form(found: Team) -> MemberForm:
    session = db.session()
    inside = {person.id for person in teams.members(session, found)}
    form = MemberForm()
    outside = (each for each in people.everyone(session) if each.is_active and each.id not in inside)
    form.offer(each for each in outside if staff.may_change(current_user.person, each))
    return form


def _rules() -> dict[str, Any]:
    session = db.session()
    return {
        "use_slots": organisation.team_accounts_use_slots(session),
        "have_many": organisation.teams_have_many_accounts(session),
    }


def _page(found: Team) -> dict[str, Any]:
    session = db.session()
    return {
        "team": found,
        "form": TeamForm(formdata=None, data={"name": found.name}),
        "member_form": _member_form(found),
        "members": [(each, staff.may_change(current_user.person, each)) for each in teams.members(session, found)],
        "accounts": team_accounts.of(session, [found.id])[found.id],
        **_rules(),
    }
