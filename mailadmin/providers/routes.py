"""Pages where a provider is added and changed; the list and the way to delete one are the console's."""

from flask import Blueprint, request

from mailadmin import db, web
from mailadmin.errors import RuleBroken
from mailadmin.permissions import Permission
from mailadmin.providers import service
from mailadmin.providers.forms import ProviderForm
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("providers", __name__)


@bp.route("/providers/new", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def new() -> Answer:
    return _edit("providers/new.html", None)


@bp.route("/providers/<int:provider_id>", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def edit(provider_id: int) -> Answer:
    return _edit("providers/edit.html", service.get(db.session(), provider_id))


def _edit(full: str, provider: Provider | None) -> Answer:
    session = db.session()
    form = ProviderForm(provider)
    if form.validate_on_submit():
        try:
            saved = service.save(
                session, provider=provider, wish=form.wish(), version=form.version.data, actor=web.actor()
            )
            session.commit()
            return web.done("console.providers", said=t("{name} is saved", name=saved.name))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
            if provider and broken.field == "version":
                form.renew_version(provider.version)
    status = 422 if request.method == "POST" else 200
    return web.page(full, "providers/_form.html", status, form=form, provider=provider)
