"""The OAuth app of a provider: set up, verified, deleted."""

from typing import Any

from flask import request

from mailadmin import db, queue, web
from mailadmin.console import oauth_page
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm
from mailadmin.console.oauth_forms import OAuthAppForm, VerifyForm
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.oauth import service
from mailadmin.oauth.models import OAuthApp
from mailadmin.permissions import Permission
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.web import Answer


@bp.route("/providers/<int:provider_id>/oauth", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def oauth_app(provider_id: int) -> Answer:
    """The app's form, new or not; with `discovered` as its issuer says, for somebody to look at and save."""
    session = db.session()
    provider = providers.get(session, provider_id)
    app, known = service.app_of(session, provider), oauth_page.known_of(provider)
    offer = oauth_page.offered(app) if "discovered" in request.args else {}
    form = OAuthAppForm(provider, app, known, offered=offer)
    if form.validate_on_submit():
        try:
            version = form.version.data
            saved = service.save_app(session, provider, wish=form.wish(), version=version, actor=web.actor())
            session.commit()
            queue.ring("token")  # What failed because of the app is tried again.
            said = t("The OAuth app of {name} is saved", name=provider.name)
            # With the same address, but for its anchor, a browser would scroll and show the old form.
            number = saved.version
            return web.done("console.oauth_app", said=said, provider_id=provider.id, saved=number, _anchor="verify")
        except RuleBroken as broken:
            session.rollback()
            app = service.app_of(session, provider)
            form.refuse(broken)
            if broken.field == "version":
                form.version.data, form.version.raw_data = service.app_edition(app), None
    status = 422 if request.method == "POST" else 200
    context = _about(provider, app) | {"form": form, "known": known, "has_offer": bool(offer)}
    return web.page("providers/oauth.html", "providers/_oauth_form.html", status, **context)


@bp.post("/providers/<int:provider_id>/oauth/verify")
@web.allow(Permission.MANAGE_PROVIDERS)
def verify_oauth_app(provider_id: int) -> Answer:
    """Ask a job to try everything that can be tried without a person."""
    session = db.session()
    provider, app = _found(provider_id)
    form = VerifyForm()
    status = 200
    try:
        service.want_verification(session, app, mailbox=form.verify_mailbox.data or "")
        session.commit()
        queue.ring("token")
        if not web.is_htmx():
            return web.done("console.oauth_app", provider_id=provider.id, _anchor="verify")
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
        status = 422
    context = _about(provider, app, form)
    if web.is_htmx():
        return web.page("providers/_oauth_verification.html", status=status, **context)
    known = oauth_page.known_of(provider)
    context |= {"form": OAuthAppForm(provider, app, known, formdata=None), "known": known, "has_offer": False}
    return web.page("providers/oauth.html", status=status, **context)


@bp.get("/providers/<int:provider_id>/oauth/verification")
@web.allow(Permission.MANAGE_PROVIDERS)
@web.polled
def oauth_verification(provider_id: int) -> Answer:
    """How "Verify set-up" goes; asked for again until it has ended."""
    provider, app = _found(provider_id)
    if not web.is_htmx():
        return web.done("console.oauth_app", provider_id=provider.id, _anchor="verify")
    return web.page("providers/_oauth_verification.html", **_about(provider, app))


@bp.route("/providers/<int:provider_id>/oauth/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def delete_oauth_app(provider_id: int) -> Answer:
    session = db.session()
    provider, app = _found(provider_id)
    form = DeleteForm()
    if form.validate_on_submit():
        try:
            service.delete_app(session, app, actor=web.actor())
            session.commit()
            said = t("The OAuth app of {name} was deleted", name=provider.name)
            return web.done("providers.edit", said=said, provider_id=provider.id)
        except RuleBroken:  # Somebody connected an account a moment ago; the page says how many there are.
            session.rollback()
    status = 422 if request.method == "POST" else 200
    full, partial = "providers/oauth_delete.html", "providers/_oauth_delete.html"
    return web.page(full, partial, status, provider=provider, used=service.app_users(session, app), form=form)


def _found(provider_id: int) -> tuple[Provider, OAuthApp]:
    session = db.session()
    provider = providers.get(session, provider_id)
    app = service.app_of(session, provider)
    if app is None:
        raise NotFound(t("This provider has no OAuth app any more."))
    return provider, app


def _about(provider: Provider, app: OAuthApp | None, verify_form: VerifyForm | None = None) -> dict[str, Any]:
    """What the page shows beside the form."""
    known = oauth_page.known_of(provider)
    mailbox = app.verify_mailbox if app else ""
    return {
        "provider": provider,
        "app": app,
        "steps": oauth_page.steps_of(provider, known),
        "redirect": oauth_page.redirect_of(provider),
        "troubles": service.app_troubles(app) if app else [],
        "used": service.app_users(db.session(), app) if app else 0,
        "begun": oauth_page.begun_accounts(provider),
        "verify_form": verify_form or VerifyForm(formdata=None, data={"verify_mailbox": mailbox}),
        **oauth_page.verification(app),
    }
