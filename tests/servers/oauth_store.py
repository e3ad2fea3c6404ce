"""What the OAuth server of the tests remembers: apps, people, codes, tokens and service accounts."""

import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from joserfc.jwk import ECKey, RSAKey


@dataclass
class App(ClientMixin):
    """An OAuth app. `auth` are the ways in which it may show who it is, `key` its public key for private_key_jwt."""

    client_id: str
    secret: str = ""
    redirect_uris: tuple[str, ...] = ()
    auth: tuple[str, ...] = ("client_secret_post", "client_secret_basic")
    key: RSAKey | ECKey | None = None
    thumbprint: str = ""  # x5t#S256 of its certificate, if the assertion has to name it
    scopes: frozenset[str] | None = None  # those it may ask for; None: all
    grants: tuple[str, ...] = ("authorization_code", "refresh_token", "client_credentials")

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uris[0] if self.redirect_uris else ""

    def get_allowed_scope(self, scope: str) -> str:
        if self.scopes is None:
            return scope
        return " ".join(one for one in (scope or "").split() if one in self.scopes)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri in self.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        return bool(self.secret) and secrets.compare_digest(self.secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in self.auth

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


@dataclass
class Person:
    """Somebody with a mailbox. `claims` are added to the id token and the userinfo answer.

    They proved who they are at `proved_at` by `methods` (`amr`), and can reach the `classes` (`acr`), the least first.
    """

    address: str
    name: str = ""
    verified: bool = True
    claims: dict[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    proved_at: float = field(default_factory=time.time)

    @property
    def sub(self) -> str:
        return f"sub-{self.address}"


@dataclass
class Code:
    """An authorization code, good for one use within a minute."""

    code: str
    client_id: str
    redirect_uri: str
    scope: str
    user: Person
    nonce: str
    code_challenge: str
    code_challenge_method: str
    wants_refresh: bool
    proofs: dict[str, Any] = field(default_factory=dict)
    family: str = field(default_factory=lambda: secrets.token_hex(8))
    ends_at: float = field(default_factory=lambda: time.time() + 60)

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class Token(TokenMixin):
    """An access token and the refresh token that came with it; all that one sign-in led to is one `family`."""

    access: str
    refresh: str
    client_id: str
    identity: str
    scope: str
    family: str
    expires_in: int
    issued_at: float = field(default_factory=time.time)
    user: Person | None = None
    is_ended: bool = False  # the access token
    is_used: bool = False  # the refresh token, where each is good once

    def check_client(self, client: App) -> bool:
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_expires_in(self) -> int:
        return self.expires_in

    def is_expired(self) -> bool:
        return time.time() >= self.issued_at + self.expires_in

    def is_revoked(self) -> bool:
        return self.is_ended

    @property
    def is_good(self) -> bool:
        return not self.is_ended and not self.is_expired()


@dataclass
class ServiceAccount:
    """May ask for tokens for everybody at `domains`."""

    email: str
    key: RSAKey
    domains: tuple[str, ...]
    scopes: tuple[str, ...]


class Store:
    """Everything by its key, behind one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clear()

    def clear(self) -> None:
        self.apps: dict[str, App] = {}
        self.people: dict[str, Person] = {}
        self.codes: dict[str, Code] = {}
        self.used_codes: dict[str, str] = {}  # and the family of the tokens that came of it
        self.access: dict[str, Token] = {}
        self.refresh: dict[str, Token] = {}
        self.service_accounts: dict[str, ServiceAccount] = {}
        self.used_assertions: set[str] = set()

    def keep(self, token: Token) -> None:
        with self.lock:
            self.access[token.access] = token
            if token.refresh:
                self.refresh[token.refresh] = token

    def take_code(self, code: str, client_id: str) -> Code | None:
        """The code, which from now on is used; one that comes a second time ends what it led to (RFC 6749 4.1.2)."""
        with self.lock:
            found = self.codes.pop(code, None)
            if found is None:
                self.end_family(self.used_codes.get(code, ""))
                return None
            self.used_codes[code] = found.family
        return found if found.client_id == client_id and found.ends_at > time.time() else None

    def take_refresh(self, refresh: str, *, once: bool) -> Token | None:
        """The tokens of `refresh`; where it is good `once`, a second use ends the whole family (RFC 9700 4.14.2)."""
        with self.lock:
            found = self.refresh.get(refresh)
            if found is None:
                return None
            if once and found.is_used:
                self.end_family(found.family)
                return None
            found.is_used = True
            return found

    def end_family(self, family: str) -> None:
        with self.lock:
            for token in [*self.access.values(), *self.refresh.values()]:
                if token.family == family:
                    token.is_ended = True
                    self.refresh.pop(token.refresh, None)

    def end_person(self, identity: str) -> None:
        """Withdraw whatever `identity` ever agreed to."""
        with self.lock:
            for family in {token.family for token in self.access.values() if token.identity == identity}:
                self.end_family(family)
