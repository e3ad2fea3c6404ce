"""What is asked around connection tests."""

from collections.abc import Iterator
from dataclasses import replace

from wtforms import BooleanField, EmailField, StringField

from mailadmin.accounts.service import Leg
from mailadmin.errors import RuleBroken
from mailadmin.form import Form
from mailadmin.mail.types import Direction, Password, Server, ServerProtocol, TLSMode, TLSVersion, Trust
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.text import t


class MessageForm(Form):
    """A test message: to whom, and whether its arrival is waited for."""

    recipient = EmailField(t("To"))
    awaits = BooleanField(t("Wait until it arrives"), default=True)


class ServersForm(Form):
    """The servers of a provider's form, as they are typed; the other fields of that form are not looked at."""

    imap_host = StringField(t("IMAP server"))
    imap_port = StringField(t("IMAP port"))
    imap_tls_mode = StringField(t("IMAP security"))
    pop3_host = StringField(t("POP3 server"))
    pop3_port = StringField(t("POP3 port"))
    pop3_tls_mode = StringField(t("POP3 security"))
    smtp_host = StringField(t("SMTP server"))
    smtp_port = StringField(t("SMTP port"))
    smtp_tls_mode = StringField(t("SMTP security"))
    minimum_tls = StringField(t("Lowest TLS version"))

    def legs(self, provider: Provider | None) -> dict[Direction, Leg]:
        """Where to connect, without anybody to sign in as: for receiving to IMAP where both are given.

        `provider` is the one whose form it is, unless it is new. Raises RuleBroken; `why` has all that is wrong then.
        """
        typed = list(self._typed())
        for protocol, _, port, tls_mode in typed:
            self._check(protocol, port, tls_mode, provider)
        if self.minimum_tls.data not in set(TLSVersion):
            self.refuse(RuleBroken(t("Choose one of the versions."), field="minimum_tls"))
        if all(protocol is ServerProtocol.SMTP for protocol, *_ in typed):
            self.refuse(RuleBroken(t("Enter an IMAP server or a POP3 server."), field="imap_host"))
        if self.why:
            raise RuleBroken(self.why[0])
        trust = Trust(TLSVersion(self.minimum_tls.data), provider.trust.authorities if provider else "")
        found: dict[Direction, Leg] = {}
        for protocol, host, port, tls_mode in typed:
            direction = providers.direction_of(protocol)
            server = providers.checked_server(Server(protocol, host, int(port), TLSMode(tls_mode)), direction)
            found.setdefault(direction, Leg(replace(server, trust=trust), Password("", "")))
        return found

    @property
    def why(self) -> list[str]:
        """What is wrong, a sentence for each field."""
        return [t("{field}: {why}", field=field.label.text, why=why) for field in self for why in field.errors]

    def _typed(self) -> Iterator[tuple[ServerProtocol, str, str, str]]:
        """Each server that was given: protocol, host, port, TLS mode."""
        for protocol in ServerProtocol:
            host, port, tls_mode = (self[f"{protocol}_{part}"].data or "" for part in ("host", "port", "tls_mode"))
            if host.strip():
                yield protocol, host, _port(protocol, port, tls_mode), tls_mode

    def _check(self, protocol: ServerProtocol, port: str, tls_mode: str, provider: Provider | None) -> None:
        if tls_mode not in set(TLSMode):
            self.refuse(RuleBroken(t("Choose one of the kinds of security."), field=f"{protocol}_tls_mode"))
            return
        direction, mode, host = providers.direction_of(protocol), TLSMode(tls_mode), self[f"{protocol}_host"].data
        for broken in providers.faults(
            direction, host=host, port=port, tls_mode=mode, protocol=protocol, prefix=protocol
        ):
            self.refuse(broken)
        had = provider.server(direction, protocol) if provider else None
        if why := providers.mixed_up(protocol, mode, port, had=had):
            self.refuse(RuleBroken(why, field=f"{protocol}_port"))


def _port(protocol: ServerProtocol, typed: str, tls_mode: str) -> str:
    return providers.given_port(protocol, TLSMode(tls_mode), typed) if tls_mode in set(TLSMode) else typed
