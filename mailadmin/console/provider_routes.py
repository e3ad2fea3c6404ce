"""Pages about providers. They count accounts and know whose passwords are stored, so they stand on this floor."""

from flask import request

from mailadmin import db, web
from mailadmin.console import certificate_routes, exchange_routes
from mailadmin.console.blueprint import providers as bp
from mailadmin.console.provider_forms import ProviderForm, ResetForm, begun_from, copied_from
from mailadmin.console.provider_page import edit_page, new_page
from mailadmin.console.provider_words import told
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.types import ServerProtocol, SignInMethod
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.web import Answer

__all__ = [
    "bp",
    "certificate_routes",
    "exchange_routes",
]  # whoever registers the blueprint needs all modules that hang routes on it


@bp.route("/providers/new", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def new() -> Answer:
    """A new provider: empty, as the catalogue knows it (`catalogue`), or like another one (`copy`)."""
    session = db.session()
    typed, copied = request.args.get("catalogue", "").strip(), request.args.get("copy", type=web.row_id)
    found = service.search_catalogue(typed) if typed else []
    known = found[0] if len(found) == 1 else None
    if known and request.method == "GET" and (there := service.find_known(session, known.key)):
        words = t("{name} is here already", name=there.name)
        return web.done("providers.edit", said=words, tone="run", provider_id=there.id)
    like = copied_from(service.get(session, copied)) if copied else None
    form = ProviderForm(None, begun_from(known) if known else like)
    return _saved(form, None) or new_page(form, typed=typed, known=known)


@bp.route("/providers/<int:provider_id>", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def edit(provider_id: int) -> Answer:
    provider = service.get(db.session(), provider_id)
    form = ProviderForm(provider)
    return _saved(form, provider) or edit_page(form, provider)


@bp.post("/providers/domains")
@web.allow(Permission.MANAGE_PROVIDERS)
def domains() -> Answer:
    """The form as it was typed, with a domain more or less; nothing is saved."""
    session = db.session()
    provider_id = request.args.get("provider", type=web.row_id)
    provider = service.get(session, provider_id) if provider_id else None
    known = known_providers.everyone().get(request.args.get("catalogue", ""))
    form = ProviderForm(provider, begun_from(known) if known else None)
    form.domains.drop(request.form.get("remove", ""))
    _sort_out(form, provider)
    if web.is_htmx():
        return web.page("providers/_domains.html", form=form, provider=provider, known=known)
    return edit_page(form, provider, status=200) if provider else new_page(form, known=known, status=200)


@bp.get("/providers/port")
@web.allow(Permission.SEE_CONSOLE)  # Also the settings of an account ask for it; nothing that is stored is shown.
def port() -> Answer:
    """The port field of one server, for the TLS mode that was just chosen."""
    wanted = request.args.get("protocol", "")
    protocol = ServerProtocol(wanted) if wanted in set(ServerProtocol) else ServerProtocol.IMAP
    form = ProviderForm(None, formdata=request.args)
    form.settle_port(protocol)
    return web.page("providers/_port.html", form=form, protocol=protocol)


@bp.route("/providers/<int:provider_id>/reset", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def reset(provider_id: int) -> Answer:
    """Ask before a provider becomes what the catalogue says, and do it."""
    session = db.session()
    provider = service.get(session, provider_id)
    form = ResetForm(data={"version": provider.version})
    if form.validate_on_submit():
        try:
            service.hold(session, provider)
            service.reset(
                session,
                provider,
                version=form.version.data,
                is_same_company=form.is_same_company.data,
                has_passwords=oauth.holds_secrets(session, provider),
                actor=web.actor(),
            )
            session.commit()
            words = t("{name} is as the catalogue says", name=provider.name)
            return web.done("providers.edit", said=words, provider_id=provider.id)
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
            form.renew_version(provider.version)
    differences = service.differences(session, provider)
    changes = [line for one in differences for line in told(one.fact, one.here, one.there)]
    status = 422 if request.method == "POST" else 200
    full, partial = "providers/reset.html", "providers/_reset.html"
    return web.page(full, partial, status, provider=provider, form=form, changes=changes)


def _saved(form: ProviderForm, provider: Provider | None) -> Answer | None:
    """The answer once the provider is saved; None where the form has to be shown."""
    session = db.session()
    is_right = form.validate_on_submit()
    if form.is_submitted():
        _sort_out(form, provider)
    if not is_right or form.domains.errors:
        return None
    had_oauth = provider is not None and SignInMethod.OAUTH in provider.sign_in_methods
    try:
        if provider is not None:
            service.hold(session, provider)
        saved = service.save(
            session,
            provider=provider,
            wish=form.wish(),
            version=form.version.data,
            has_passwords=provider is not None and oauth.holds_secrets(session, provider),
            actor=web.actor(),
        )
        session.commit()
        return _done(saved, had_oauth=had_oauth)
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
        if provider and broken.field == "version":
            form.renew_version(provider.version)
        return None


def _done(saved: Provider, *, had_oauth: bool) -> Answer:
    """Back to the list; where OAuth has just come to be offered, to the page on which its app is set up next."""
    lacks_app = SignInMethod.OAUTH in saved.sign_in_methods and oauth.app_of(db.session(), saved) is None
    if lacks_app and not had_oauth:
        words = t("{name} is saved. Next: set up its OAuth app", name=saved.name)
        return web.done("providers.edit", said=words, provider_id=saved.id)
    return web.done("console.providers", said=t("{name} is saved", name=saved.name))


def _sort_out(form: ProviderForm, provider: Provider | None) -> None:
    form.domains.sort_out(*service.sort_out_domains(db.session(), form.domains.data, provider))
