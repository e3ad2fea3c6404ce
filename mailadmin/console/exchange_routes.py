"""Providers as a file: handed out, looked at, taken in."""

from flask import Response

from mailadmin import db, web
from mailadmin.console.blueprint import providers as bp
from mailadmin.console.provider_forms import ImportForm, ImportNowForm
from mailadmin.console.provider_words import told
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.providers import service
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/providers/export")
@web.allow(Permission.MANAGE_PROVIDERS)
def hand_out() -> Response:
    """All providers as one file, without secrets."""
    name = f"mailadmin-providers-{now():%Y-%m-%d}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(service.export(db.session()), mimetype="application/json", headers=headers)


@bp.route("/providers/import", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def take_in() -> Answer:
    """Ask for a file, and show what it would do."""
    form = ImportForm()
    if form.validate_on_submit():
        try:
            return _shown(_planned(form.given()), ImportNowForm(formdata=None), 200)
        except RuleBroken as broken:
            form.refuse(broken)
    return web.page("providers/import.html", status=422 if form.is_submitted() else 200, form=form)


@bp.post("/providers/import/now")
@web.allow(Permission.MANAGE_PROVIDERS)
def take_in_now() -> Answer:
    """Do what was shown; where something changed meanwhile, show it again."""
    session, form = db.session(), ImportNowForm()
    try:
        planned = _planned((form.content.data or "").encode())
    except RuleBroken as broken:  # What was shown could be read.
        return web.error_answer(400, broken.message)
    try:
        if planned.fingerprint != form.seen.data:
            raise RuleBroken(t("Something changed here since you looked. This is what the import would do now."))
        number = service.apply_import(session, planned, is_same_company=form.is_same_company.data, actor=web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
        return _shown(planned, form, 422)
    words = t("1 provider was imported") if number == 1 else t("{n} providers were imported", n=f"{number:,}")
    return web.done("console.providers", said=words)


def _planned(content: bytes) -> service.Plan:
    return service.plan_import(db.session(), content, has_passwords=oauth.holds_secrets)


def _shown(planned: service.Plan, form: ImportNowForm, status: int) -> Answer:
    form.show(planned)
    return web.page("providers/import_now.html", status=status, plan=planned, form=form, told=told)
