"""What is asked about a provider."""

import re
from typing import Any

from flask_wtf.file import FileField
from wtforms import BooleanField, SelectChoice, SelectField, StringField, TextAreaField, ValidationError
from wtforms.validators import DataRequired, Length

from mailadmin.errors import RuleBroken
from mailadmin.form import VersionedForm
from mailadmin.mail.types import Direction, Server, TLSMode, TLSVersion
from mailadmin.providers import service
from mailadmin.providers.models import LoginFormat, Provider
from mailadmin.text import t

LOGIN_WORDS = {
    LoginFormat.ADDRESS: "Whole address",
    LoginFormat.LOCAL_PART: "Part before the @",
    LoginFormat.BY_HAND: "Typed by hand",
}
TLS_VERSIONS = {
    TLSVersion.TLS_1_2: "TLS 1.2",
    TLSVersion.TLS_1_3: "TLS 1.3",
    TLSVersion.TLS_1_1: "TLS 1.1 (old servers only)",
    TLSVersion.TLS_1_0: "TLS 1.0 (old servers only)",
}


class ProviderForm(VersionedForm):
    """A provider, new or changed. A server for sending is one whose host was given."""

    name = StringField(
        t("Name"),
        [
            DataRequired(t("Give the provider a name.")),
            Length(max=service.NAME_LENGTH, message=t("At most 120 letters.")),
        ],
    )
    domains = TextAreaField(t("Domains"))
    incoming_host = StringField(t("IMAP server"))
    incoming_port = StringField(t("IMAP port"), default="993")
    incoming_tls_mode = SelectField(t("Security"), default=TLSMode.IMPLICIT)
    outgoing_host = StringField(t("SMTP server"))
    outgoing_port = StringField(t("SMTP port"), default="465")
    outgoing_tls_mode = SelectField(t("Security"), default=TLSMode.IMPLICIT)
    login_format = SelectField(
        t("Login format"), choices=[SelectChoice(f.value, t(word)) for f, word in LOGIN_WORDS.items()]
    )
    minimum_tls = SelectField(
        t("Lowest TLS version"),
        choices=[SelectChoice(version.value, t(words)) for version, words in TLS_VERSIONS.items()],
        default=TLSVersion.TLS_1_2,
    )
    is_same_company = BooleanField(t("The same company runs the new server; send it the stored passwords"))

    def __init__(self, provider: Provider | None, **more: Any) -> None:
        super().__init__(data=_values(provider) if provider else None, **more)
        for field in (self.incoming_tls_mode, self.outgoing_tls_mode):
            field.choices = [SelectChoice(mode.value, t(service.TLS_WORDS[mode])) for mode in _offered(provider)]

    def validate(self, extra_validators: object = None) -> bool:
        super().validate(extra_validators)
        for direction in self._directions():
            host, port, tls_mode = (self[f"{direction}_{part}"].data for part in ("host", "port", "tls_mode"))
            if tls_mode in set(TLSMode):
                for broken in service.faults(direction, host=host, port=port, tls_mode=TLSMode(tls_mode)):
                    self.refuse(broken)
        return not self.errors

    def validate_domains(self, field: TextAreaField) -> None:
        for text in self._domains()[: service.DOMAINS]:
            try:
                service.normalised_domain(text)
            except RuleBroken as broken:
                raise ValidationError(broken.message) from broken

    def wish(self) -> service.ProviderWish:
        """What was typed, as the service takes it."""
        servers = {direction: self._server(direction) for direction in self._directions()}
        return service.ProviderWish(
            name=self.name.data,
            domains=tuple(self._domains()),
            incoming=servers[Direction.INCOMING],
            outgoing=servers.get(Direction.OUTGOING),
            login_format=LoginFormat(self.login_format.data),
            minimum_tls=TLSVersion(self.minimum_tls.data),
            is_same_company=self.is_same_company.data,
        )

    def _directions(self) -> list[Direction]:
        return list(Direction) if (self.outgoing_host.data or "").strip() else [Direction.INCOMING]

    def _domains(self) -> list[str]:
        return [text for text in re.split(r"[\s,;]+", self.domains.data or "") if text]

    def _server(self, direction: Direction) -> Server:
        host, port, tls_mode = (self[f"{direction}_{part}"].data for part in ("host", "port", "tls_mode"))
        return Server(service.PROTOCOLS[direction], host, int(port), TLSMode(tls_mode))


class CertificateForm(VersionedForm):
    """Certificates to trust, as a file or pasted. `version` tells whether the rest of the page is still the newest."""

    file = FileField(t("Certificate file"))
    pem = TextAreaField(t("Or paste it"))

    def given(self) -> str:
        """All certificates that were handed in, as PEM."""
        content = self.file.data.read(service.LARGEST_CERTIFICATES + 1) if self.file.data else b""
        return "\n".join(text for text in (service.as_pem(content), self.pem.data or "") if text)

    def refuse(self, broken: RuleBroken) -> None:
        """Show the rule that was broken where the certificate was given. A private key is not shown again."""
        if self.file.data and not (self.pem.data or "").strip():
            broken = RuleBroken(broken.message, field="file")
        if service.holds_private_key(self.pem.data or ""):
            self.pem.data = ""
        super().refuse(broken)


def _offered(provider: Provider | None) -> list[TLSMode]:
    """The TLS modes to choose from; what a provider has already is among them, so that the form shows the truth."""
    had = {row.tls_mode for row in provider.servers} if provider else set()
    return [mode for mode in service.TLS_WORDS if mode in had or mode in service.allowed_tls_modes()]


def _values(provider: Provider) -> dict[str, object]:
    values: dict[str, object] = {
        "version": provider.version,
        "name": provider.name,
        "domains": "\n".join(row.domain for row in provider.domains),
        "login_format": provider.login_format.value,
        "minimum_tls": provider.trust.minimum.value,
    }
    for direction in Direction:
        if server := provider.server(direction):
            values |= {
                f"{direction}_host": server.host,
                f"{direction}_port": str(server.port),
                f"{direction}_tls_mode": server.tls_mode.value,
            }
    return values
