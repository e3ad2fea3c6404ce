"""What is asked around connection tests."""

from dataclasses import replace

from wtforms import BooleanField, EmailField, StringField

from mailadmin.accounts.service import Leg
from mailadmin.errors import RuleBroken
from mailadmin.form import Form
from mailadmin.mail.types import Direction, Password, Server, ServerProtocol, TLSMode, TLSVersion, Trust
from mailadmin.providers import service as providers
from mailadmin.text import t


class MessageForm(Form):
    """A test message: to whom, and whether its arrival is waited for."""

    recipient = EmailField(t("To"))
    awaits = BooleanField(t("Wait until it arrives"), default=True)


class ServersForm(Form):
    """The servers of a provider's form, as they are typed; the other fields of that form are not looked at."""

    imap_host = StringField()
    imap_port = StringField()
    imap_tls_mode = StringField()
    pop3_host = StringField()
    pop3_port = StringField()
    pop3_tls_mode = StringField()
    smtp_host = StringField()
    smtp_port = StringField()
    smtp_tls_mode = StringField()
    minimum_tls = StringField()

    def legs(self, authorities: str) -> dict[Direction, Leg]:
        """Where to connect, without anybody to sign in as: for receiving to IMAP where both are given.

        Raises RuleBroken with the first thing that is wrong.
        """
        found: dict[Direction, Leg] = {}
        for protocol in ServerProtocol:
            direction = providers.direction_of(protocol)
            host, port, tls_mode = (self[f"{protocol}_{part}"].data or "" for part in ("host", "port", "tls_mode"))
            if direction in found or not host.strip():
                continue
            if tls_mode not in set(TLSMode) or self.minimum_tls.data not in set(TLSVersion):
                raise RuleBroken(t("Choose one of the kinds of security."))
            mode = TLSMode(tls_mode)
            port = providers.settled_port(protocol, mode, port)
            for broken in providers.faults(direction, host=host, port=port, tls_mode=mode, protocol=protocol):
                raise broken
            trust = Trust(TLSVersion(self.minimum_tls.data), authorities)
            typed = providers.checked_server(Server(protocol, host, int(port), mode), direction)
            found[direction] = Leg(replace(typed, trust=trust), Password("", ""))
        if Direction.INCOMING not in found:
            raise RuleBroken(t("Enter an IMAP server or a POP3 server."))
        return found
