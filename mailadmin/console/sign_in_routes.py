"""Where the organisation's people may sign in instead of here: the settings of single sign-on."""

from typing import Any

from flask import request, url_for
from wtforms import BooleanField, PasswordField, StringField
from wtforms.validators import InputRequired, Length, Optional

from mailadmin import boot, db, web
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm
from mailadmin.errors import RuleBroken
from mailadmin.form import Form
from mailadmin.mail.errors import MailError
from mailadmin.people import single_sign_on
from mailadmin.people.models import SignInProvider
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer


class SignInProviderForm(Form):
    """A provider of OpenID Connect, and who is let in from there."""

    name = StringField(
        t("Name on the button"),
        [InputRequired(t("The name is missing.")), Length(max=60, message=t("At most {n} letters.", n=60))],
    )
    issuer = StringField(
        t("Issuer"), [InputRequired(t("The issuer is missing.")), Length(max=500, message=t("This is too long."))]
    )
    client_id = StringField(
        t("Client ID"), [InputRequired(t("The client ID is missing.")), Length(max=255, message=t("This is too long."))]
    )
    secret = PasswordField(t("Client secret"), [Optional()])
    domains = StringField(t("Mail domains"), [Length(max=2000, message=t("This is too long."))])
    proofs = StringField(t("What stands for a second factor"), [Length(max=1000, message=t("This is too long."))])
    adds_people = BooleanField(t("Whoever comes for the first time becomes a worker"))
    is_on = BooleanField(t("Offer it at the sign-in"), default=True)

    def wanted(self) -> single_sign_on.Wanted:
        """The form as the service wants it."""
        return single_sign_on.Wanted(
            name=" ".join((self.name.data or "").split()),
            issuer=(self.issuer.data or "").strip(),
            client_id=(self.client_id.data or "").strip(),
            secret=self.secret.data or "",
            domains=self.domains.data or "",
            proofs=self.proofs.data or "",
            adds_people=self.adds_people.data,
            is_on=self.is_on.data,
        )


@bp.get("/settings/sign-in")
@web.allow(Permission.MANAGE_COMPANY)
def sign_in_providers() -> Answer:
    return web.page("console/sign_in_providers.html", providers=single_sign_on.providers(db.session()))


@bp.route("/settings/sign-in/new", methods=["GET", "POST"], defaults={"provider_id": None})
@bp.route("/settings/sign-in/<int:provider_id>", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_COMPANY)
def edit_sign_in_provider(provider_id: int | None) -> Answer:
    session = db.session()
    provider = single_sign_on.get(session, provider_id) if provider_id else None
    form = SignInProviderForm(obj=provider)
    if form.validate_on_submit():
        try:
            saved = single_sign_on.save(session, provider, form.wanted(), actor=web.actor())
            session.commit()
            return web.done("console.sign_in_providers", said=_tried(saved), tone="ok")
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    redirect_uri = _redirect_uri(provider) if provider else ""
    values: dict[str, Any] = {"form": form, "provider": provider, "redirect_uri": redirect_uri}
    return web.page("console/sign_in_provider.html", status=422 if form.errors else 200, **values)


def _redirect_uri(provider: SignInProvider) -> str:
    base = boot.settings().public_url or request.url_root.rstrip("/")
    return base + url_for("people.signed_in_elsewhere", provider_id=provider.id)


def _tried(provider: SignInProvider) -> str:
    """What to say after saving: whether the issuer answers."""
    name, issuer = provider.name, provider.issuer
    try:
        single_sign_on.published(issuer, boot.settings().rules)
    except MailError as error:
        return t("{name} is saved, but its issuer does not answer: {why}", name=name, why=error.message)
    return t("{name} is saved, and its issuer answers. Register the redirect URI there.", name=name)


@bp.route("/settings/sign-in/<int:provider_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_COMPANY)
def delete_sign_in_provider(provider_id: int) -> Answer:
    session = db.session()
    provider, form = single_sign_on.get(session, provider_id), DeleteForm()
    name, full, partial = provider.name, "console/sign_in_provider_delete.html", "console/_sign_in_provider_delete.html"
    if form.validate_on_submit():
        try:
            single_sign_on.delete(session, provider, actor=web.actor())
            session.commit()
            return web.done("console.sign_in_providers", said=t("The sign-in with {name} was deleted.", name=name))
        except RuleBroken as broken:
            session.rollback()
            form.form_errors.append(broken.message)
    number = single_sign_on.only_there(session, provider)
    return web.page(full, partial, 422 if form.form_errors else 200, provider=provider, form=form, number=number)
