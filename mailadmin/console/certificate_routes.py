"""The truststore on a provider's page: certificates come and go."""

from flask import render_template, request

from mailadmin import db, web
from mailadmin.console.blueprint import providers as bp
from mailadmin.console.provider_forms import CertificateForm
from mailadmin.console.provider_page import certificates, refused_certificate_page
from mailadmin.errors import RuleBroken
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.providers import service
from mailadmin.providers.models import ProviderCertificate
from mailadmin.text import t
from mailadmin.web import Answer


@bp.post("/providers/<int:provider_id>/certificates")
@web.allow(Permission.MANAGE_PROVIDERS)
def add_certificates(provider_id: int) -> Answer:
    session = db.session()
    provider = service.get(session, provider_id)
    form = CertificateForm()
    try:
        service.hold(session, provider)
        added = service.add_certificates(
            session,
            provider,
            pem=form.given(),
            is_vouched_for=form.is_vouched_for.data,
            has_passwords=oauth.holds_secrets(session, provider),
            actor=web.actor(),
        )
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        form.refuse(broken)
        return refused_certificate_page(form, provider)
    said, tone = _said(added)
    if not web.is_htmx():
        return web.done("providers.edit", said=said, tone=tone, provider_id=provider.id, _anchor="certificates")
    # The form above may go on, unless somebody else had changed the provider before.
    version = provider.version if form.version.data == provider.version - 1 else form.version.data
    context = certificates(provider, CertificateForm(formdata=None, data={"version": version}))
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


def _said(added: list[ProviderCertificate]) -> tuple[str, str]:
    """What a toast says about new certificates, and its tone."""
    expired = [row for row in added if service.validity(row) is service.Validity.EXPIRED]
    if expired:
        return t("Added, but {subject} has expired", subject=expired[0].subject), "warn"
    if len(added) == 1:
        return t("The certificate is trusted now"), "ok"
    return t("{n} certificates are trusted now", n=len(added)), "ok"
