"""An OAuth app as an administrator wants it, and how it becomes so: rules, a guard of what is secret, the audit trail.

To whom is a secret sent? The client secret and the refresh tokens of accounts go to the token URL and the revocation
URL, access tokens to the userinfo URL, and people type their passwords where the authorization URL leads them. Whoever
may change these addresses must not get at any of it by that: a server that was not among them before wants the secret
typed again, and, while accounts sign in with the app, somebody who says that the same company runs it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.authorization import ClientAuth
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail import certificates
from mailadmin.mail.known_oauth import KnownOAuth
from mailadmin.mail.types import SignInMethod
from mailadmin.oauth import app_rules
from mailadmin.oauth.app_rules import URLS
from mailadmin.oauth.apps import KEY, SECRET, SERVICE_KEY, app_of
from mailadmin.oauth.grants import app_changed
from mailadmin.oauth.models import Attempt, Cloud, Grant, OAuthApp, Publishing
from mailadmin.permissions import Actor
from mailadmin.providers.models import Provider
from mailadmin.providers.service import hold
from mailadmin.sealed import Secret
from mailadmin.text import t

_NOTHING = Secret("")
_ASKED = ("authorize_url", "token_url", "userinfo_url", "revocation_url", "issuer")  # get what is secret, or vouch
_WITH_SECRET = (ClientAuth.POST, ClientAuth.BASIC)
_TOLD = {
    "client_id": "client ID",
    "client_auth": "way to show the secret",
    "tenant": "tenant",
    "cloud": "cloud",
    "publishing": "publishing status",
    "secret_ends_on": "end of the secret",
    **{name: name.replace("_url", " URL") for name in URLS},
    "scopes": "scopes",
    "app_scopes": "scopes without a person",
    "parameters": "parameters",
}


@dataclass(frozen=True, slots=True)
class AppWish:
    """An OAuth app as somebody wants it. An empty secret, key or file keeps what is stored; `forgets` names those of
    `secret`, `key` (with its certificate) and `service_key` that go. `certificate` and `key` come together, PEM;
    `service_key` is the JSON file of a Google service account. `is_same_company`: see the top of this file."""

    client_id: str = ""
    client_auth: ClientAuth = ClientAuth.POST
    tenant: str = ""
    cloud: Cloud = Cloud.GLOBAL
    publishing: Publishing = Publishing.UNKNOWN
    secret_ends_on: date | None = None
    issuer: str = ""
    authorize_url: str = ""
    token_url: str = ""
    jwks_url: str = ""
    userinfo_url: str = ""
    revocation_url: str = ""
    scopes: str = ""
    app_scopes: str = ""
    parameters: str = ""
    secret: Secret = _NOTHING
    certificate: str = ""
    key: Secret = _NOTHING
    service_key: Secret = _NOTHING
    forgets: frozenset[str] = field(default_factory=frozenset)
    is_same_company: bool = False


class AppRefused(RuleBroken):
    """Some fields have to change; `all` has a sentence for each, at its field. It is the first of them."""

    def __init__(self, broken: list[RuleBroken]) -> None:
        self.all = broken
        super().__init__(broken[0].message, field=broken[0].field)


def wish_of(app: OAuthApp) -> AppWish:
    """`app` as it is, for somebody who wants a part of it to be different."""
    return AppWish(**{name: getattr(app, name) for name in _TOLD})


def wish_from(known: KnownOAuth | None) -> AppWish:
    """A new app, as far as the catalogue knows it."""
    if known is None:
        return AppWish(scopes="openid email offline_access")
    at = known.at()
    return AppWish(
        client_auth=ClientAuth(known.client_auth),
        tenant=known.tenant,
        **{name: getattr(at, name) for name in URLS},
        scopes=" ".join(at.scopes),
        app_scopes=" ".join(at.app_scopes),
        parameters=known.parameters,
    )


def settled(wish: AppWish, known: KnownOAuth | None) -> AppWish:
    """`wish` with the addresses and scopes of its cloud, wherever those of another cloud stand."""
    if known is None or not known.clouds:
        return wish
    names = (*URLS, "scopes", "app_scopes")
    every = [_texts(known.at(cloud)) for cloud in Cloud]
    there = _texts(known.at(wish.cloud))
    moved: dict[str, Any] = {name: there[name] for name in names if getattr(wish, name) in {one[name] for one in every}}
    return replace(wish, **moved)


def _texts(known: KnownOAuth) -> dict[str, str]:
    return {name: getattr(known, name) for name in URLS} | {
        "scopes": " ".join(known.scopes),
        "app_scopes": " ".join(known.app_scopes),
    }


def edition(app: OAuthApp | None) -> int | None:
    """What tells two versions of the app's settings apart: its row is written to by "Verify set-up" as well."""
    return round(app.changed_at.timestamp() * 1_000_000) if app else None


def users(session: Session, app: OAuthApp) -> int:
    """How many accounts sign in with the app."""
    return session.scalar(select(func.count()).select_from(Grant).where(Grant.app_id == app.id)) or 0


def save(session: Session, provider: Provider, *, wish: AppWish, version: int | None, actor: Actor) -> OAuthApp:
    """Make the OAuth app of `provider`, or a new one, what `wish` says. Ring "token" after the commit.

    `version` is the `edition` as the administrator saw it. Raises AppRefused with every field that has to change, and
    RuleBroken at `version` when somebody else was faster.
    """
    hold(session, provider)  # Its servers must not change while an app comes that opens mailboxes there.
    app = session.scalar(
        select(OAuthApp)
        .where(OAuthApp.provider_id == provider.id)
        .with_for_update(of=OAuthApp)
        .execution_options(populate_existing=True)
    )
    if edition(app) != version:
        said = (
            "Somebody else changed this app meanwhile. Look at it in another tab; to put your values in place of"
            " theirs, save again."
        )
        raise RuleBroken(t(said), field="version")
    wish = replace(wish, scopes=" ".join(wish.scopes.split()), app_scopes=" ".join(wish.app_scopes.split()))
    kept = _checked(session, provider, app, wish)
    is_new, app = app is None, app or OAuthApp(provider=provider, provider_id=provider.id, client_auth=wish.client_auth)
    changed = _take(app, wish)
    _add(session, app)
    changed += _take_secrets(session, app, wish, kept)
    if changed:
        app.changed_at = now()
        app_changed(session, app)
        what = f"set up the OAuth app of {provider.name}" if is_new else f"changed the OAuth app of {provider.name}"
        activity.record(session, actor, what, detail="" if is_new else ", ".join(changed), kind=ActivityKind.PROVIDERS)
    session.flush()
    return app


def need_apps(session: Session) -> set[int]:
    """The ids of the providers that let nobody in but with OAuth, and have no app for it."""
    has_app = select(OAuthApp.provider_id).where(OAuthApp.token_url != "")
    wanted = Provider.methods == SignInMethod.OAUTH.value
    return set(session.scalars(select(Provider.id).where(wanted, Provider.id.not_in(has_app))))


def delete(session: Session, app: OAuthApp, *, actor: Actor) -> None:
    """Delete `app` with its secrets, and what was begun with it. Raises RuleBroken while accounts sign in with it."""
    if number := users(session, app):
        said = (
            t("{n} accounts sign in with this app.", n=number) if number > 1 else t("1 account signs in with this app.")
        )
        raise RuleBroken(said + " " + t("Connect them in another way first."))
    secrets = secrets_of(session, app.provider)
    session.delete(app)
    session.flush()
    forget(session, secrets)
    activity.record(session, actor, f"deleted the OAuth app of {app.provider.name}", kind=ActivityKind.PROVIDERS)


def secrets_of(session: Session, provider: Provider) -> list[UUID]:
    """What the OAuth app of `provider`, and attempts with it, hold in secret; whoever deletes them forgets it then."""
    app = app_of(session, provider)
    if app is None:
        return []
    attempts = session.scalars(select(Attempt.secret_id).where(Attempt.app_id == app.id))
    return [secret_id for secret_id in (*attempts, app.secret_id, app.key_id, app.service_key_id) if secret_id]


def forget(session: Session, secrets: Sequence[UUID]) -> None:
    """Delete `secrets`, to which nothing points any more."""
    for secret_id in secrets:
        sealed.forget(session, secret_id)


# What may be.


def _checked(session: Session, provider: Provider, app: OAuthApp | None, wish: AppWish) -> dict[str, Any]:
    """What is kept of the files in `wish`: `ends_at` of the certificate, `service_key`. Raises AppRefused."""
    broken = list(app_rules.faults({name: getattr(wish, name) for name in app_rules.LONGEST}, provider.service_type))
    broken += _missing(app, wish)
    kept: dict[str, Any] = {}
    for check in (_check_pair, _check_service_key):
        try:
            kept |= check(wish)
        except RuleBroken as one:
            broken.append(one)
    if "microsoft" in (wish.token_url or "") and app_rules.is_secret_id(wish.secret.reveal()):
        said = t("This is the Secret ID. Copy what stands under Value beside it; Microsoft shows it only once.")
        broken.append(RuleBroken(said, field="secret"))
    if not broken and app is not None:
        broken += _guarded(session, app, wish)
    if broken:
        raise AppRefused(broken)
    return kept


def _missing(app: OAuthApp | None, wish: AppWish) -> list[RuleBroken]:
    """What has to be there for the app to be of any use, or to become so by asking the issuer."""
    found = []
    has_service_key = bool(wish.service_key) or _stays(app, "service_key_id", wish)
    has_key = bool(wish.key) or _stays(app, "key_id", wish)
    if not wish.client_id and not has_service_key:
        found.append(RuleBroken(t("Enter the client ID that the provider gave the app."), field="client_id"))
    if not wish.token_url and not wish.issuer:
        found.append(RuleBroken(t("Enter the token URL, or the issuer, which tells it."), field="token_url"))
    if wish.client_auth is ClientAuth.KEY and not has_key:
        found.append(RuleBroken(t("Choose the certificate and its private key."), field="certificate"))
    has_secret = bool(wish.secret) or app is not None or has_service_key or has_key
    if wish.client_auth in _WITH_SECRET and not has_secret:
        found.append(RuleBroken(t("Paste the client secret."), field="secret"))
    if wish.secret and wish.secret_ends_on and wish.secret_ends_on < now().date():
        found.append(RuleBroken(t("This day is over. Enter the one of the new secret."), field="secret_ends_on"))
    if wish.client_auth is ClientAuth.NONE and wish.secret:
        said = t("An app that shows no secret has none. Choose how it shows this one, or take it out.")
        found.append(RuleBroken(said, field="client_auth"))
    return found


def _stays(app: OAuthApp | None, column: str, wish: AppWish) -> bool:
    return app is not None and getattr(app, column) is not None and column.removesuffix("_id") not in wish.forgets


def _check_pair(wish: AppWish) -> dict[str, datetime]:
    if not wish.certificate and not wish.key:
        return {}
    if not wish.certificate or not wish.key:
        lacks = "key" if wish.certificate else "certificate"
        raise RuleBroken(t("A certificate and its private key come together. Choose both files."), field=lacks)
    try:
        told, _ = certificates.read_pem(wish.certificate)[0]
    except (ValueError, IndexError) as error:
        said = t("There is no certificate in this file. It begins with -----BEGIN CERTIFICATE-----.")
        raise RuleBroken(said, field="certificate") from error
    try:
        certificates.check_pair(wish.certificate, wish.key.reveal())
    except ValueError as error:
        raise RuleBroken(t(str(error)), field="key") from error
    ends_at = datetime.fromisoformat(told["ends"])
    if ends_at <= now():
        raise RuleBroken(t("This certificate has expired. Make a new one."), field="certificate")
    return {"ends_at": ends_at}


def _check_service_key(wish: AppWish) -> dict[str, dict[str, Any]]:
    return {"service_key": app_rules.checked_key_file(wish.service_key.reveal())} if wish.service_key else {}


# Who gets what is secret.


def _guarded(session: Session, app: OAuthApp, wish: AppWish) -> list[RuleBroken]:
    """What has to be typed or ticked before `app` would ask servers that it has not asked before."""
    had = {_server(getattr(app, name)) for name in _ASKED}  # Whoever gives keys alone was sent nothing yet.
    fresh = sorted({_server(getattr(wish, name)) for name in _ASKED} - had - {""})
    found = []
    if app.secret_id and not wish.secret and "secret" not in wish.forgets:
        if fresh:
            said = "{host} is new, so paste the secret again: we do not send a stored secret to a new server."
            found.append(RuleBroken(t(said, host=fresh[0]), field="secret"))
        elif app.client_id and wish.client_id != app.client_id:
            found.append(RuleBroken(t("The client ID is another one, so paste its secret."), field="secret"))
    if fresh and not wish.is_same_company and (number := users(session, app)):
        said = (
            "{host} is new, and would be sent the tokens of the accounts here, {n} in all. Tick this if that is right."
        )
        found.append(RuleBroken(t(said, host=", ".join(fresh), n=f"{number:,}"), field="is_same_company"))
    return found


def _server(url: str) -> str:
    return urlsplit(url.replace("{tenant}", "")).netloc.lower().removesuffix(":443") if url else ""


# How it becomes so.


def _take(app: OAuthApp, wish: AppWish) -> list[str]:
    """Put the plain fields of `wish` into `app`; what changed, in words."""
    changed = [name for name in _TOLD if getattr(app, name) != getattr(wish, name)]
    for name in changed:
        setattr(app, name, getattr(wish, name))
    return [
        f"{_TOLD[name]} at {_server(getattr(wish, name)) or 'no server'}" if name in URLS else _TOLD[name]
        for name in changed
    ]


def _add(session: Session, app: OAuthApp) -> None:
    try:
        with session.begin_nested():
            session.add(app)
            session.flush()
    except IntegrityError as error:  # Two administrators at once; the unique column has the last word.
        raise RuleBroken(
            t("Somebody else has set up this app a moment ago. Load the page again."), field="version"
        ) from error


def _take_secrets(session: Session, app: OAuthApp, wish: AppWish, kept: dict[str, Any]) -> list[str]:
    """Seal what was handed in, and forget what it replaces or what goes; what changed, in words."""
    told = []
    service_key = Secret(json.dumps(kept["service_key"])) if "service_key" in kept else _NOTHING
    for name, secret, purpose in (
        ("secret", wish.secret, SECRET),
        ("key", wish.key, KEY),
        ("service_key", service_key, SERVICE_KEY),
    ):
        goes = name in wish.forgets and getattr(app, f"{name}_id") is not None
        if secret or goes:
            _replace(session, app, f"{name}_id", secret, purpose)
            told.append(purpose)
    if wish.key or "key" in wish.forgets:
        app.certificate, app.certificate_ends_at = (wish.certificate, kept["ends_at"]) if wish.key else ("", None)
    if service_key or "service_key" in wish.forgets:
        app.service_account = kept["service_key"]["client_email"][:254] if service_key else ""
    if "secret" in wish.forgets and not wish.secret:
        app.secret_ends_on = None
    return told


def _replace(session: Session, app: OAuthApp, column: str, secret: Secret, purpose: str) -> None:
    before: UUID | None = getattr(app, column)
    setattr(app, column, sealed.keep(session, secret, purpose=purpose) if secret else None)
    session.flush()
    if before is not None:
        sealed.forget(session, before)
