"""All providers with the accounts at each, and the way to delete one."""

from flask import request

from mailadmin import db, web
from mailadmin.console import queries
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm
from mailadmin.console.provider_forms import SearchForm
from mailadmin.console.provider_words import METHOD_WORDS
from mailadmin.errors import RuleBroken
from mailadmin.moves import service as moves
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.providers import service
from mailadmin.text import t
from mailadmin.web import Answer

SEARCHED_FROM = 20


@bp.get("/providers")
@web.allow(Permission.SEE_CONSOLE)
def providers() -> Answer:
    session = db.session()
    words = request.args.get("q", "").replace("\0", "").strip()
    number = queries.provider_count(session)
    return web.page(
        "console/providers.html",
        rows=queries.providers(session, words),
        number=number,
        words=words,
        search=SearchForm(formdata=None, data={"q": words}) if number > SEARCHED_FROM or words else None,
        method_words=METHOD_WORDS,
        need_apps=oauth.need_apps(session),
        legacy=moves.count(session),
    )


@bp.route("/providers/<int:provider_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def delete_provider(provider_id: int) -> Answer:
    session = db.session()
    provider = service.get(session, provider_id)
    users, number = queries.holding(session, provider)
    form = DeleteForm()
    if not users and form.validate_on_submit():
        try:
            secrets = oauth.app_secrets(session, provider)
            service.delete(session, provider, actor=web.actor())
            oauth.forget_app_secrets(session, secrets)
            session.commit()
            return web.done("console.providers", said=t("{name} was deleted", name=provider.name))
        except RuleBroken:  # An account chose this provider a moment ago.
            session.rollback()
            users, number = queries.holding(session, service.get(session, provider_id))
    status = 422 if request.method == "POST" else 200
    full, partial = "console/provider_delete.html", "console/_provider_delete.html"
    return web.page(full, partial, status, provider=provider, users=users, number=number, form=form)
