"""What is asked about a provider, its certificates, and a file of providers."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from flask_wtf.file import FileField
from wtforms import BooleanField, Field, HiddenField, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length

from mailadmin.console.provider_words import LOGIN_WORDS, METHOD_WORDS, SERVICE_WORDS, TLS_VERSIONS
from mailadmin.errors import RuleBroken
from mailadmin.form import Form, VersionedForm, printable
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.mail.types import LoginFormat, Server, ServerProtocol, ServiceType, SignInMethod, TLSMode, TLSVersion
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from mailadmin.text import t

_MINUTES_LENGTH = 10


class DomainsField(Field):
    """Many domains under one name: hidden ones for the chips, and the text in which more are typed or pasted.

    `chips` are the good ones, `typed` is what stands in the text field. `data` is all of them.
    """

    def process_data(self, value: Iterable[str] | None) -> None:
        self.chips: list[str] = list(value or ())
        self.typed = ""
        self.data = self.chips

    def process_formdata(self, valuelist: list[str]) -> None:
        self.chips = service.split_domains(printable(" ".join(valuelist)) or "")
        self.data, self.typed = self.chips, ""

    def drop(self, domain: str) -> None:
        """Leave out `domain`."""
        self.data = self.chips = [one for one in self.chips if one != domain]

    def sort_out(self, good: list[str], wrong: dict[str, str]) -> None:
        """Show `good` as chips, and leave what is `wrong` where it can be corrected, with the reasons."""
        self.chips, self.typed = good, " ".join(wrong)
        self.data = [*good, *wrong]
        self.errors = list(dict.fromkeys(wrong.values()))[:3]


class ProviderForm(VersionedForm):
    """A provider, new or changed. A server is one whose host was given."""

    name = StringField(
        t("Name"),
        [
            DataRequired(t("Give the provider a name.")),
            Length(max=service.NAME_LENGTH, message=t("At most 120 letters.")),
        ],
    )
    domains = DomainsField(t("Domains"))
    service_type = SelectField(t("Service"), choices=[SelectChoice(s.value, t(w)) for s, w in SERVICE_WORDS.items()])
    imap_host = StringField(t("IMAP server"))
    imap_port = StringField(t("IMAP port"), default="993")
    imap_tls_mode = SelectField(t("IMAP security"), default=TLSMode.IMPLICIT)
    pop3_host = StringField(t("POP3 server"))
    pop3_port = StringField(t("POP3 port"), default="995")
    pop3_tls_mode = SelectField(t("POP3 security"), default=TLSMode.IMPLICIT)
    smtp_host = StringField(t("SMTP server"))
    smtp_port = StringField(t("SMTP port"), default="465")
    smtp_tls_mode = SelectField(t("SMTP security"), default=TLSMode.IMPLICIT)
    login_format = SelectField(
        t("Login format"), choices=[SelectChoice(f.value, t(word)) for f, word in LOGIN_WORDS.items()]
    )
    minimum_tls = SelectField(
        t("Lowest TLS version"),
        choices=[SelectChoice(version.value, t(words)) for version, words in TLS_VERSIONS.items()],
        default=TLSVersion.TLS_1_2,
    )
    files_sent = BooleanField(t("This provider keeps copies of sent messages by itself"))
    method_oauth = BooleanField(t(METHOD_WORDS[SignInMethod.OAUTH]))
    method_app_password = BooleanField(t(METHOD_WORDS[SignInMethod.APP_PASSWORD]))
    method_password = BooleanField(t(METHOD_WORDS[SignInMethod.PASSWORD]), default=True)
    least_minutes = StringField(t("Shortest time between syncs, in minutes"))
    is_same_company = BooleanField(t("The same company runs this server; send it the stored passwords"))

    def __init__(self, provider: Provider | None, begun: service.ProviderWish | None = None, **more: Any) -> None:
        self.provider = provider
        self._begun = service.wish_of(provider) if provider else begun
        values = _values(self._begun) if self._begun else {}
        super().__init__(data=values | ({"version": provider.version} if provider else {}), **more)
        for protocol in ServerProtocol:
            field = self[f"{protocol}_tls_mode"]
            field.choices = [SelectChoice(mode.value, t(service.TLS_WORDS[mode])) for mode in _offered(provider)]
        if self.is_submitted():
            for protocol in self._protocols():
                self._fill_port(protocol)

    @property
    def most_connections(self) -> int | None:
        """The connections that the provider allows to one account at once: a fact that nobody types."""
        return self._begun.most_connections if self._begun else None

    def methods(self) -> list[tuple[SignInMethod, BooleanField]]:
        """The ways to sign in, with their boxes."""
        return [(method, self[f"method_{method.replace(' ', '_')}"]) for method in SignInMethod]

    def validate(self, extra_validators: object = None) -> bool:
        super().validate(extra_validators)
        for protocol in self._protocols():
            host, port, tls_mode = self._typed(protocol)
            if tls_mode in set(TLSMode):
                direction, mode = service.direction_of(protocol), TLSMode(tls_mode)
                for broken in service.faults(
                    direction, host=host, port=port, tls_mode=mode, protocol=protocol, prefix=protocol
                ):
                    self.refuse(broken)
                self._check_port(protocol, mode)
        if not any(protocol is not ServerProtocol.SMTP for protocol in self._protocols()):
            self.refuse(RuleBroken(t("Enter an IMAP server or a POP3 server."), field="imap_host"))
        if not any(box.data for _, box in self.methods()):
            self.refuse(RuleBroken(t("Tick at least one way to sign in."), field="methods"))
        if self._minutes() is None and (self.least_minutes.data or "").strip():
            said = t("A whole number of minutes from 1 to 1,440, or nothing.")
            self.refuse(RuleBroken(said, field="least_minutes"))
        return not self.errors

    def wish(self) -> service.ProviderWish:
        """What was typed, as the service takes it."""
        return service.ProviderWish(
            name=self.name.data,
            domains=tuple(self.domains.data),
            servers=tuple(self._server(protocol) for protocol in self._protocols()),
            service_type=ServiceType(self.service_type.data),
            login_format=LoginFormat(self.login_format.data),
            methods=frozenset(method for method, box in self.methods() if box.data),
            minimum_tls=TLSVersion(self.minimum_tls.data),
            files_sent=self.files_sent.data,
            most_connections=self.most_connections,
            least_minutes=self._minutes(),
            catalogue_key=self._begun.catalogue_key if self._begun else "",
            is_same_company=self.is_same_company.data,
        )

    def settle_port(self, protocol: ServerProtocol) -> None:
        """Put the port that belongs to the TLS mode into the field, in front of whoever has just chosen the mode."""
        _, port, tls_mode = self._typed(protocol)
        if tls_mode in set(TLSMode):
            self[f"{protocol}_port"].data = service.settled_port(protocol, TLSMode(tls_mode), port)

    def _fill_port(self, protocol: ServerProtocol) -> None:
        _, port, tls_mode = self._typed(protocol)
        if tls_mode in set(TLSMode):
            self[f"{protocol}_port"].data = service.given_port(protocol, TLSMode(tls_mode), port)

    def _check_port(self, protocol: ServerProtocol, tls_mode: TLSMode) -> None:
        field = self[f"{protocol}_port"]
        had = self.provider.server(service.direction_of(protocol), protocol) if self.provider else None
        if why := service.mixed_up(protocol, tls_mode, field.data or "", had=had):
            self.refuse(RuleBroken(why, field=field.name))

    def refuse(self, broken: RuleBroken) -> None:
        """Show the rule that was broken at its field; the boxes for signing in are one field to the service."""
        field = "method_password" if broken.field == "methods" else broken.field
        super().refuse(RuleBroken(broken.message, field=field))

    def _typed(self, protocol: ServerProtocol) -> tuple[str, str, str]:
        host, port, tls_mode = (self[f"{protocol}_{part}"].data or "" for part in ("host", "port", "tls_mode"))
        return host, port, tls_mode

    def _protocols(self) -> list[ServerProtocol]:
        return [protocol for protocol in ServerProtocol if self._typed(protocol)[0].strip()]

    def _server(self, protocol: ServerProtocol) -> Server:
        host, port, tls_mode = self._typed(protocol)
        return Server(protocol, host, int(port), TLSMode(tls_mode))

    def _minutes(self) -> int | None:
        text = (self.least_minutes.data or "").strip()
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < _MINUTES_LENGTH else 0
        return number if 1 <= number <= service.MOST_MINUTES else None


class CertificateForm(VersionedForm):
    """Certificates to trust, as a file or pasted. `version` tells whether the rest of the page is still the newest."""

    file = FileField(t("Certificate file"))
    pem = TextAreaField(t("Or paste it"))
    is_vouched_for = BooleanField(t("Send the stored passwords to servers with this certificate"))

    def given(self) -> str:
        """All certificates that were handed in, as PEM."""
        content = self.file.data.read(service.LARGEST_CERTIFICATES + 1) if self.file.data else b""
        return "\n".join(text for text in (service.as_pem(content), self.pem.data or "") if text)

    def refuse(self, broken: RuleBroken) -> None:
        """Show the rule that was broken where the certificate was given. A private key is not shown again."""
        if broken.field == "pem" and self.file.data and not (self.pem.data or "").strip():
            broken = RuleBroken(broken.message, field="file")
        if service.holds_private_key(self.pem.data or ""):
            self.pem.data = ""
        super().refuse(broken)


class StartForm(Form):
    """Which entry of the catalogue a new provider begins as; it only reads, so it carries no token."""

    class Meta(Form.Meta):
        csrf = False

    catalogue = StringField(t("Start from the catalogue"))


class SearchForm(Form):
    """What narrows the list; it only reads, so it carries no token."""

    class Meta(Form.Meta):
        csrf = False

    q = StringField(t("Search providers"))


class ImportForm(Form):
    """A file of providers."""

    file = FileField(t("File"))

    def given(self) -> bytes:
        """What the file holds. Raises RuleBroken at `file` if there is none."""
        if not self.file.data:
            raise RuleBroken(t("Choose a file."), field="file")
        content: bytes = self.file.data.read(service.LARGEST_FILE + 1)
        return content


class ImportNowForm(Form):
    """A file that was read and shown. `seen` stands for what was shown of it."""

    content = HiddenField()
    seen = HiddenField()
    is_same_company = BooleanField(t("The same companies run these servers; send them the stored passwords"))

    def show(self, planned: service.Plan) -> None:
        """Carry what was `planned`, as it is shown now."""
        self.content.data, self.seen.data = planned.content, planned.fingerprint


class ResetForm(VersionedForm):
    """The question before a provider becomes what the catalogue says again."""

    is_same_company = BooleanField(t("The same company runs this server; send it the stored passwords"))


def begun_from(entry: KnownProvider) -> service.ProviderWish:
    """A new provider as the catalogue's `entry`; without servers where those differ from domain to domain."""
    is_shared = service.can_be_shared(entry)
    facts = service.facts_of(entry)
    return service.ProviderWish(
        name=facts["name"],
        domains=tuple(facts["domains"]),
        servers=tuple(service.parse_server(text) for text in facts["servers"].values()),
        service_type=entry.service_type,
        login_format=entry.login,
        methods=frozenset(entry.methods),
        files_sent=entry.files_sent,
        most_connections=entry.most_connections,
        least_minutes=entry.least_minutes,
        catalogue_key=entry.key if is_shared else "",
    )


def copied_from(provider: Provider) -> service.ProviderWish:
    """A new provider like `provider`, without its name and domains, which are its own."""
    return replace(service.wish_of(provider), name="", domains=(), catalogue_key="")


def _offered(provider: Provider | None) -> list[TLSMode]:
    """The TLS modes to choose from; what a provider has already is among them, so that the form shows the truth."""
    had = {row.tls_mode for row in provider.servers} if provider else set()
    return [mode for mode in service.TLS_WORDS if mode in had or mode in service.allowed_tls_modes()]


def _values(wish: service.ProviderWish) -> dict[str, object]:
    values: dict[str, object] = {
        "name": wish.name,
        "domains": wish.domains,
        "service_type": wish.service_type.value,
        "login_format": wish.login_format.value,
        "minimum_tls": wish.minimum_tls.value,
        "files_sent": wish.files_sent,
        "least_minutes": str(wish.least_minutes or ""),
    }
    for method in SignInMethod:
        values[f"method_{method.replace(' ', '_')}"] = method in wish.methods
    for server in wish.servers:
        values |= {
            f"{server.protocol}_host": server.host,
            f"{server.protocol}_port": str(server.port),
            f"{server.protocol}_tls_mode": server.tls_mode.value,
        }
    return values
