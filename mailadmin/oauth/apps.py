"""The OAuth app of a provider: what of it can be used, and as what."""

from urllib.parse import parse_qsl

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.accounts import service as accounts
from mailadmin.authorization import Client, ClientAuth
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import ServiceType
from mailadmin.oauth.app_rules import TENANTS
from mailadmin.oauth.models import GrantKind, OAuthApp
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.vault import Unsealable

SECRET, KEY, SERVICE_KEY = "client secret", "client key", "service account key"


def app_of(session: Session, provider: Provider | None) -> OAuthApp | None:
    """The OAuth app of `provider`, finished or not."""
    return session.scalar(select(OAuthApp).where(OAuthApp.provider_id == provider.id)) if provider else None


def redirect_uri(provider_id: int, public_url: str) -> str:
    """Where a provider sends browsers back to: one address each, so that answers cannot be mixed up."""
    return f"{public_url}/oauth/callback/{provider_id}"


def can(app: OAuthApp | None, kind: GrantKind) -> bool:
    """Whether `app` has all that is needed for a grant of this kind."""
    return not why_not(app, kind)


def why_not(app: OAuthApp | None, kind: GrantKind) -> str:
    """What `app` lacks for a grant of this kind, a sentence; empty: nothing."""
    if app is None:
        return t("This provider has no OAuth app yet. Set one up first.")
    if kind is GrantKind.SERVICE_ACCOUNT:
        return "" if app.service_key_id and app.token_url else t("The OAuth app has no key of a service account.")
    if lacking := _lacking({"client ID": app.client_id, "token URL": app.token_url}):
        return lacking
    has_proof = _has_proof(app)
    if kind is GrantKind.APPLICATION:
        if refused := _why_not_alone(app):
            return refused
        if app.client_auth is ClientAuth.NONE or not has_proof:
            return t("The OAuth app has neither a secret nor a certificate, so it cannot speak for itself.")
        return "" if app.app_scopes else t("The OAuth app has no scopes for mailboxes without a person.")
    if lacking := _lacking({"authorization URL": app.authorize_url, "scopes": app.scopes}):
        return lacking
    return "" if has_proof else t("The OAuth app has no client secret, or no certificate, to show who it is.")


def _lacking(texts: dict[str, str]) -> str:
    """Which of two fields is empty, a sentence; empty: neither."""
    names = [name for name, text in texts.items() if not text]
    if len(names) > 1:
        return t("The OAuth app has no {one} and no {other}.", one=t(names[0]), other=t(names[1]))
    return t("The OAuth app has no {one}.", one=t(names[0])) if names else ""


def _why_not_alone(app: OAuthApp) -> str:
    """Why the provider lets no app like this in without a person, whatever it can show; empty: it may."""
    if app.provider.service_type is ServiceType.GOOGLE:
        return t("Google lets an app in without a person only as a service account. Upload its key.")
    if app.provider.service_type is ServiceType.MICROSOFT and app.tenant in ("", *TENANTS):
        return t("For mailboxes without a person, Microsoft wants the organisation’s own Directory (tenant) ID.")
    return ""


def _has_proof(app: OAuthApp) -> bool:
    """Whether there is with what `app` is to show who it is."""
    if app.client_auth is ClientAuth.KEY:
        return app.key_id is not None and bool(app.certificate)
    return app.client_auth is ClientAuth.NONE or app.secret_id is not None


def holds_secrets(session: Session, provider: Provider) -> bool:
    """Whether the servers of `provider` are sent what somebody else must not have: stored passwords and tokens of
    accounts, or the token of an app that opens mailboxes by itself."""
    app = app_of(session, provider)
    is_alone = can(app, GrantKind.APPLICATION) or can(app, GrantKind.SERVICE_ACCOUNT)
    return is_alone or accounts.has_passwords(session, provider)


def client_of(session: Session, app: OAuthApp, kind: GrantKind = GrantKind.PERSON) -> Client:
    """`app` as a client, its secrets opened and its tenant filled in. Raises RuleBroken if it cannot be used."""
    if missing := why_not(app, kind):
        raise RuleBroken(missing)
    scopes = app.scopes if kind is GrantKind.PERSON else app.app_scopes
    try:
        secret = sealed.reveal(session, app.secret_id).reveal() if app.secret_id else ""
        key = sealed.reveal(session, app.key_id).reveal() if app.key_id else ""
    except (Unsealable, LookupError) as error:
        said = t("The secret of the OAuth app cannot be opened with this installation's keys. Enter it again.")
        raise RuleBroken(said) from error
    return Client(
        client_id=app.client_id,
        token_url=url(app, app.token_url),
        auth=app.client_auth,
        secret=secret,
        key=key,
        certificate=app.certificate,
        authorize_url=url(app, app.authorize_url),
        issuer=url(app, app.issuer),
        jwks_url=url(app, app.jwks_url),
        userinfo_url=url(app, app.userinfo_url),
        revocation_url=url(app, app.revocation_url),
        scopes=tuple(scopes.split()),
        parameters=tuple(parse_qsl(app.parameters)),
    )


def url(app: OAuthApp, template: str) -> str:
    """`template` with the app's tenant."""
    return template.replace("{tenant}", app.tenant or "organizations")


def service_key(session: Session, app: OAuthApp) -> str:
    """The key file of Google's service account. Raises RuleBroken."""
    if app.service_key_id is None:
        raise RuleBroken(why_not(app, GrantKind.SERVICE_ACCOUNT))
    try:
        return sealed.reveal(session, app.service_key_id).reveal()
    except (Unsealable, LookupError) as error:
        said = t("The key of the service account cannot be opened with this installation's keys. Upload it again.")
        raise RuleBroken(said) from error
