"""The page with what holds for the whole company."""

from flask import Blueprint, request

from mailadmin import db, web
from mailadmin.errors import RuleBroken
from mailadmin.organisation import service
from mailadmin.organisation.forms import CompanyForm
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("organisation", __name__)


@bp.route("/settings", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_COMPANY)
def settings() -> Answer:
    session = db.session()
    form = CompanyForm(data={"name": service.name(session), "uses_mail": service.uses_mail(session)})
    if form.validate_on_submit():
        try:
            values = {"name": form.name.data, "uses_mail": form.uses_mail.data}
            changed = service.change(session, **values, actor=web.actor())
            session.commit()
            return web.done("organisation.settings", said=_said(changed, uses_mail=form.uses_mail.data))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "is_off": not service.uses_mail(session)}
    return web.page("organisation/settings.html", "organisation/_settings.html", status, **context)


def _said(changed: set[str], *, uses_mail: bool) -> str:
    if "uses mail" not in changed:
        return t("The settings are saved.")
    if uses_mail:
        return t("Integrated e-mail is on. Accounts that are due begin within five minutes.")
    return t("Integrated e-mail is off. Syncs that run stop within 30 seconds; nothing is lost.")
