"""An SMTP server that keeps what it is sent: plain, STARTTLS or implicit TLS, with sign-in, or refusing on purpose."""

import asyncio
import base64
import binascii
import json
import logging
import re
import ssl
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, LoginPassword

from tests.ports import free_port
from tests.servers.certificates import Authority
from tests.servers.dovecot import USERS


class Sink:
    """A server on 127.0.0.1. `mode` is `implicit`, `starttls` or `none`; `messages` are (sender, recipients, bytes).

    `refuses` answers every sign-in with that line, `without` are mechanisms that it does not offer, `newest` is the
    newest version of TLS that it speaks; `sign_ins` counts. Recipients in `unknown` are refused. With the
    `introspection_url` of an OAuthServer it takes XOAUTH2 and OAUTHBEARER too; `challenge` is what it says before it
    refuses a token (the RFC's text if empty).
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
        introspection_url: str = "",
        challenge: str = "",
    ) -> None:
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        authority = Authority(folder)
        self.ca_file = authority.ca_file
        self.port = free_port()
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.sign_ins = 0
        self.unknown: set[str] = set()
        self._users, self._refuses = users, refuses
        self.introspection_url, self.challenge = introspection_url, challenge
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = newest
        context.load_cert_chain(*authority.issue("smtp"))
        settings: dict[str, Any] = {"auth_exclude_mechanism": without, "ready_timeout": 60}
        if offers_auth:
            settings |= {"authenticator": self._judge, "auth_require_tls": mode == "starttls"}
        if mode == "implicit":
            settings["ssl_context"] = context
        elif mode == "starttls":
            settings |= {"tls_context": context, "require_starttls": True}
        self._controller = Controller(_Handler(self), hostname="127.0.0.1", port=self.port, **settings)
        if introspection_url:
            self._controller.factory = lambda: _Tokens(self, **self._controller.SMTP_kwargs)
        if not offers_auth:
            self._controller.factory = lambda: _Mute(_Handler(self), **self._controller.SMTP_kwargs)

    async def judge_token(self, user: str, token: str) -> AuthResult:
        """Ask the OAuth server whether `token` opens the mailbox `user`."""
        self.sign_ins += 1
        is_good = not self._refuses and await asyncio.to_thread(_opens, self.introspection_url, user, token)
        return AuthResult(success=is_good, handled=False, message=None if is_good else self._refuses or None)

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

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self._sink.unknown:
            return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        self._sink.messages.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"


class _Mute(SMTP):
    """A server that offers no sign-in at all."""

    async def push(self, status: str | bytes) -> None:
        text = status if isinstance(status, bytes) else status.encode()
        if not text.startswith(b"250-AUTH"):
            await super().push(status)


class _Tokens(SMTP):
    """A server that takes tokens; they may be as long as Microsoft's."""

    line_length_limit = 16_384

    def __init__(self, sink: Sink, **settings: Any) -> None:
        self._sink = sink
        super().__init__(_Handler(sink), **settings)
        self.command_size_limits = defaultdict(lambda: self.line_length_limit)

    async def auth_XOAUTH2(self, _: object, args: list[str]) -> AuthResult:
        return await self._token(args, r"user=(?P<user>[^\x01]*)\x01auth=Bearer (?P<token>[^\x01]+)\x01\x01")

    async def auth_OAUTHBEARER(self, _: object, args: list[str]) -> AuthResult:
        more = r"(?:\w+=[^\x01]*\x01)*"
        return await self._token(args, rf"n,a=(?P<user>[^,]*),\x01{more}?auth=Bearer (?P<token>[^\x01]+)\x01{more}\x01")

    async def _token(self, args: list[str], form: str) -> AuthResult:
        if len(args) > 1:
            try:
                said = base64.b64decode(args[1], validate=True)
            except binascii.Error:
                return AuthResult(success=False, handled=False, message="501 5.5.2 Cannot decode the response")
        elif (said := await self.challenge_auth("")) is MISSING:
            return AuthResult(success=False)
        match = re.fullmatch(form, said.decode("utf-8", "replace"))
        if match is None:
            return AuthResult(success=False, handled=False, message="501 5.5.2 That is no such response")
        user = match["user"].replace("=2C", ",").replace("=3D", "=")
        result = await self._sink.judge_token(user, match["token"])
        if not result.success:
            challenge = self._sink.challenge or '{"status":"invalid_token","schemes":"bearer","scope":"mail"}'
            if await self.challenge_auth(challenge) is MISSING:
                return AuthResult(success=False)
        return result


def _opens(url: str, user: str, token: str) -> bool:
    body = urlencode({"token": token}).encode()
    with urllib.request.urlopen(f"{url}?{urlencode({'mailbox': user})}", body, timeout=60) as answer:
        return bool(json.load(answer)["active"])
