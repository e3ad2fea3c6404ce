"""What is asked around connection tests."""

from dataclasses import replace

from wtforms import BooleanField, EmailField, StringField

from mailadmin.accounts.service import Leg
from mailadmin.errors import RuleBroken
from mailadmin.form import Form
from mailadmin.mail.types import Direction, Password, Server, TLSMode, TLSVersion, Trust
from mailadmin.providers import service as providers
from mailadmin.text import t


class MessageForm(Form):
    """A test message: to whom, and whether its arrival is waited for."""

    recipient = EmailField(t("To"))
    awaits = BooleanField(t("Wait until it arrives"), default=True)


class ServersForm(Form):
    """The servers of a provider's form, as they are typed; the other fields of that form are not looked at."""

    incoming_host = StringField()
    incoming_port = StringField()
    incoming_tls_mode = StringField()
    outgoing_host = StringField()
    outgoing_port = StringField()
    outgoing_tls_mode = StringField()
    minimum_tls = StringField()

    def legs(self, authorities: str) -> dict[Direction, Leg]:
        """Where to connect, without anybody to sign in as. Raises RuleBroken with the first thing that is wrong."""
        found = {}
        for direction in Direction:
            host, port, tls_mode = (self[f"{direction}_{part}"].data or "" for part in ("host", "port", "tls_mode"))
            if direction is Direction.OUTGOING and not host.strip():
                continue
            if tls_mode not in set(TLSMode) or self.minimum_tls.data not in set(TLSVersion):
                raise RuleBroken(t("Choose one of the kinds of security."))
            for broken in providers.faults(direction, host=host, port=port, tls_mode=TLSMode(tls_mode)):
                raise broken
            typed = Server(providers.PROTOCOLS[direction], host, int(port), TLSMode(tls_mode))
            trust = Trust(TLSVersion(self.minimum_tls.data), authorities)
            server = replace(providers.checked_server(typed, direction), trust=trust)
            found[direction] = Leg(server, Password("", ""))
        return found
