"""Pages where a provider and its truststore change; the list and the way to delete a provider are the console's."""

from typing import Any

from flask import Blueprint, render_template, request

from mailadmin import db, web
from mailadmin.errors import RuleBroken
from mailadmin.permissions import Permission
from mailadmin.providers import service
from mailadmin.providers.forms import CertificateForm, ProviderForm
from mailadmin.providers.models import Provider, ProviderCertificate
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
    context = {"form": form, "provider": provider}
    if provider is not None:
        context |= _certificates(provider, CertificateForm(formdata=None, data={"version": provider.version}))
    return web.page(full, "providers/_form.html", status, **context)


@bp.post("/providers/<int:provider_id>/certificates")
@web.allow(Permission.MANAGE_PROVIDERS)
def add_certificates(provider_id: int) -> Answer:
    session = db.session()
    provider = service.get(session, provider_id)
    form = CertificateForm()
    try:
        added = service.add_certificates(session, provider, pem=form.given(), actor=web.actor())
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
        context = _certificates(provider, form) | {"form": ProviderForm(provider, formdata=None)}
        return web.page("providers/edit.html", "providers/_certificates.html", 422, provider=provider, **context)
    said, tone = _said(added)
    if not web.is_htmx():
        return web.done("providers.edit", said=said, tone=tone, provider_id=provider.id, _anchor="certificates")
    # The form above may go on, unless somebody else had changed the provider before.
    version = provider.version if form.version.data == provider.version - 1 else form.version.data
    context = _certificates(provider, CertificateForm(formdata=None, data={"version": version}))
    return render_template(
        "providers/_certificates_added.html", provider=provider, version=version, title=said, tone=tone, **context
    )


@bp.route("/providers/<int:provider_id>/certificates/<int:certificate_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_PROVIDERS)
def delete_certificate(provider_id: int, certificate_id: int) -> Answer:
    session = db.session()
    provider = service.get(session, provider_id)
    row = service.get_certificate(session, provider, certificate_id)
    if request.method == "GET":
        full, partial = "providers/certificate_delete.html", "providers/_certificate_delete.html"
        return web.page(full, partial, provider=provider, certificate=row)
    service.remove_certificate(session, provider, row.id, actor=web.actor())
    session.commit()
    # With the same address, but for its anchor, a browser would scroll and show the old list.
    return web.done(
        "providers.edit",
        said=t("{name} trusts this certificate no longer", name=provider.name),
        provider_id=provider.id,
        removed=row.id,
        _anchor="certificates",
    )


def _certificates(provider: Provider, form: CertificateForm) -> dict[str, Any]:
    """What the list of trusted certificates shows."""
    trusted = [(row, service.validity(row), service.days_left(row)) for row in provider.certificates]
    return {"trusted": trusted, "certificate_form": form}


def _said(added: list[ProviderCertificate]) -> tuple[str, str]:
    """What a toast says about new certificates, and its tone."""
    expired = [row for row in added if service.validity(row) is service.Validity.EXPIRED]
    if expired:
        return t("Added, but {subject} has expired", subject=expired[0].subject), "warn"
    if len(added) == 1:
        return t("The certificate is trusted now"), "ok"
    return t("{n} certificates are trusted now", n=len(added)), "ok"
