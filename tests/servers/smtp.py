"""An SMTP server that keeps what it is sent: plain, STARTTLS or implicit TLS, with sign-in, or refusing on purpose."""

import logging
import ssl
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from tests.servers.certificates import Authority
from tests.servers.dovecot import USERS, free_ports


class Sink:
    """A server on 127.0.0.1. `mode` is `implicit`, `starttls` or `none`; `messages` are (sender, recipients, bytes).

    `refuses` answers every sign-in with that line, `without` are mechanisms that it does not offer, `newest` is the
    newest version of TLS that it speaks; `sign_ins` counts.
    """

    def __init__(
        self,
        folder: Path,
        mode: str,
        *,
        users: dict[str, str] = USERS,
        refuses: str = "",
        without: tuple[str, ...] = (),
        offers_auth: bool = True,
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        authority = Authority(folder)
        self.ca_file = authority.ca_file
        self.port = free_ports(1)[0]
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.sign_ins = 0
        self._users, self._refuses = users, refuses
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = newest
        context.load_cert_chain(*authority.issue("smtp"))
        settings: dict[str, Any] = {"auth_exclude_mechanism": without}
        if offers_auth:
            settings |= {"authenticator": self._judge, "auth_require_tls": mode == "starttls"}
        if mode == "implicit":
            settings["ssl_context"] = context
        elif mode == "starttls":
            settings |= {"tls_context": context, "require_starttls": True}
        self._controller = Controller(_Handler(self), hostname="127.0.0.1", port=self.port, **settings)
        if not offers_auth:
            self._controller.factory = lambda: _Mute(_Handler(self), **self._controller.SMTP_kwargs)

    def _judge(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        self.sign_ins += 1
        if self._refuses:
            return AuthResult(success=False, handled=False, message=self._refuses)
        known = self._users.get(data.login.decode())
        return AuthResult(success=known is not None and known.encode() == data.password, handled=False)

    def start(self) -> Self:
        """Listen."""
        self._controller.start()
        return self

    def close(self) -> None:
        """Stop listening."""
        self._controller.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *args: object) -> None:
        self.close()


class _Handler:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self._sink.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"


class _Mute(SMTP):
    """A server that offers no sign-in at all."""

    async def push(self, status: str | bytes) -> None:
        text = status if isinstance(status, bytes) else status.encode()
        if not text.startswith(b"250-AUTH"):
            await super().push(status)
