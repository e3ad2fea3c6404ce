"""What is asked about a provider's OAuth app."""

from dataclasses import replace
from typing import Any

from flask_wtf.file import FileField
from werkzeug.datastructures import FileStorage
from wtforms import (
    BooleanField,
    DateField,
    PasswordField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import Optional

from mailadmin.authorization import ClientAuth
from mailadmin.errors import RuleBroken
from mailadmin.form import Form, VersionedForm
from mailadmin.mail.known_oauth import URLS, KnownOAuth
from mailadmin.mail.types import ServiceType
from mailadmin.oauth import service
from mailadmin.oauth.models import Cloud, OAuthApp, Publishing
from mailadmin.providers.models import Provider
from mailadmin.sealed import Secret
from mailadmin.text import t

LARGEST_FILE = 64 * 1024
AUTH_WORDS = {
    ClientAuth.POST: "A secret in the request",
    ClientAuth.BASIC: "A secret in the header (HTTP Basic)",
    ClientAuth.KEY: "A certificate and its key (private_key_jwt)",
    ClientAuth.NONE: "Nothing; it has no secret",
}
CLOUD_WORDS = {
    Cloud.GLOBAL: "Worldwide, also GCC",
    Cloud.US: "US Government, GCC High",
    Cloud.US_DOD: "US Government, DoD",
    Cloud.CHINA: "China, operated by 21Vianet",
}
PUBLISHING_WORDS = {
    Publishing.UNKNOWN: "Not known",
    Publishing.INTERNAL: "Internal: people of our Google Workspace only",
    Publishing.PRODUCTION: "External, in production",
    Publishing.TESTING: "External, in testing",
}
_FORGETTABLE = ("secret", "key", "service_key")


class DayField(DateField):
    """A day; what is none is told in our words, and stays where it can be corrected."""

    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError as error:
            raise ValueError(t("Enter a day like 2027-11-20.")) from error


class OAuthAppForm(VersionedForm):
    """The OAuth app of a provider, new or changed. What is secret is never shown; left empty it stays as it is.

    Fields that are not on the page of this provider stay as they are too.
    """

    client_id = StringField(t("Client ID"))
    secret = PasswordField(t("Client secret"))
    secret_ends_on = DayField(t("Secret valid until"), [Optional()])
    tenant = StringField(t("Directory (tenant) ID"))
    cloud = SelectField(t("Cloud"), choices=[SelectChoice(c.value, t(word)) for c, word in CLOUD_WORDS.items()])
    publishing = SelectField(
        t("Audience and publishing status"),
        choices=[SelectChoice(status.value, t(word)) for status, word in PUBLISHING_WORDS.items()],
    )
    client_auth = SelectField(
        t("How the app shows who it is"), choices=[SelectChoice(a.value, t(word)) for a, word in AUTH_WORDS.items()]
    )
    issuer = StringField(t("Issuer"))
    authorize_url = StringField(t("Authorization URL"))
    token_url = StringField(t("Token URL"))
    jwks_url = StringField(t("Keys (JWKS) URL"))
    userinfo_url = StringField(t("Userinfo URL"))
    revocation_url = StringField(t("Revocation URL"))
    scopes = TextAreaField(t("Scopes"))
    app_scopes = TextAreaField(t("Scopes without a person"))
    parameters = StringField(t("More parameters of the authorization request"))
    certificate = FileField(t("Certificate"))
    key = FileField(t("Its private key"))
    service_key = FileField(t("Key of the service account"))
    forgets_secret = BooleanField(t("Remove the client secret"))
    forgets_key = BooleanField(t("Remove the certificate and its key"))
    forgets_service_key = BooleanField(t("Remove the key of the service account"))
    is_same_company = BooleanField(t("The same company runs these servers; send them the tokens"))

    def __init__(self, provider: Provider, app: OAuthApp | None, known: KnownOAuth | None, **more: Any) -> None:
        self.provider, self.app, self.known = provider, app, known
        wish = service.app_wish_of(app) if app else service.app_from(known)
        offered: dict[str, str] = more.pop("offered", {})
        super().__init__(data={**_values(wish), **offered, "version": service.app_edition(app)}, **more)
        if self.is_submitted():
            self._settle()

    @property
    def is_google(self) -> bool:
        """Whether Google is asked, which has service accounts and a publishing status."""
        return self.provider.service_type is ServiceType.GOOGLE

    @property
    def is_microsoft(self) -> bool:
        """Whether Microsoft is asked, which has tenants and, for companies, clouds."""
        return self.provider.service_type is ServiceType.MICROSOFT

    @property
    def has_clouds(self) -> bool:
        """Whether there is more than one place where this provider's mailboxes may be."""
        return self.known is not None and bool(self.known.clouds)

    @property
    def wants_tenant(self) -> bool:
        """Whether an address has a tenant in it."""
        return any("{tenant}" in (self[name].data or "") for name in URLS) or bool(self.tenant.data)

    def wish(self) -> service.AppWish:
        """What was typed, as the service takes it. Raises RuleBroken for a file that is too large."""
        texts = {name: (self[name].data or "").strip() for name in (*URLS, "client_id", "tenant", "parameters")}
        return service.AppWish(
            **texts,
            scopes=self.scopes.data or "",
            app_scopes=self.app_scopes.data or "",
            client_auth=ClientAuth(self.client_auth.data),
            cloud=Cloud(self.cloud.data),
            publishing=Publishing(self.publishing.data),
            secret_ends_on=self.secret_ends_on.data,
            secret=Secret((self.secret.data or "").strip()),
            certificate=_read(self.certificate),
            key=Secret(_read(self.key)),
            service_key=Secret(_read(self.service_key)),
            forgets=frozenset(name for name in _FORGETTABLE if self[f"forgets_{name}"].data),
            is_same_company=self.is_same_company.data,
        )

    def refuse(self, broken: RuleBroken) -> None:
        """Show every rule that was broken, at its field."""
        for one in getattr(broken, "all", [broken]):
            super().refuse(one)

    def _settle(self) -> None:
        """Show the addresses and scopes of the cloud that was chosen."""
        if not self.cloud.raw_data or self.cloud.data not in set(Cloud):
            return
        texts = {name: (self[name].data or "").strip() for name in (*URLS, "scopes", "app_scopes")}
        texts |= {name: " ".join(texts[name].split()) for name in ("scopes", "app_scopes")}
        wish = replace(service.AppWish(cloud=Cloud(self.cloud.data)), **texts)  # type: ignore[arg-type]
        moved = service.settled_app(wish, self.known)
        for name, text in texts.items():
            if getattr(moved, name) != text:
                self[name].data = getattr(moved, name)


class VerifyForm(Form):
    """With which mailbox the set-up is tried."""

    verify_mailbox = StringField(t("Mailbox to try"))


def _values(wish: service.AppWish) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(wish, name) for name in (*URLS, "client_id", "tenant", "parameters")}
    values |= {name: getattr(wish, name).value for name in ("client_auth", "cloud", "publishing")}
    values |= {name: "\n".join(getattr(wish, name).split()) for name in ("scopes", "app_scopes")}
    return values | {"secret_ends_on": wish.secret_ends_on}


def _read(field: FileField) -> str:
    given = field.data
    if not isinstance(given, FileStorage):
        return ""
    content = given.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise RuleBroken(t("This file is too large. At most 64 KiB are read."), field=field.name)
    return content.decode("utf-8-sig", "replace").strip()
