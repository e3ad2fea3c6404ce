"""An OAuth 2.0 and OpenID Connect server for tests, over https, with a consent page, and odd answers on demand.

    with OAuthServer(folder) as idp:                        # at localhost and a free port, or
    with OAuthServer(folder, town=town, host="id.harbour.test") as idp:  # port 443 of a name that the town resolves
        app = idp.add_app("mailadmin", secret="hush", redirect_uris=(CALLBACK,))
        idp.add_person("wim@example.org")
        back = idp.agree(authorization_url, "wim@example.org")  # what Allow on the consent page leads to
        token = idp.issue("wim@example.org")                # tokens without any of that: .access, .refresh
        idp.may_open.add(("delegate@example.org", "shared@example.org"))
        idp.odd["token"] = oauth_odd.throttled(120)         # by endpoint: authorize decide token revoke userinfo jwks
                                                            # rfc8414 openid; `del idp.odd["token"]` ends it
        idp.count("token", grant_type="refresh_token")

Mail servers ask at `introspection_url` whether a token is good: Dovecot(..., introspection_url=...) and Sink(...,
introspection_url=...) do. `?mailbox=` there names the mailbox that is to be opened: its own owner's token opens it, and
that of everybody (a delegate, or an app by its client id) who `may_open` it, if the token has one of `mail_scopes`.
"""

import base64
import json
import secrets
import ssl
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import Flask
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from mailadmin.mail.types import Rules
from tests.servers import oauth_site
from tests.servers.certificates import Authority
from tests.servers.oauth_odd import Odd
from tests.servers.oauth_store import App, Person, ServiceAccount, Store, Token
from tests.servers.town import Town

SCOPES = ("openid", "email", "offline_access", "mail")


@cache
def _key(name: str) -> RSAKey:
    """One key of each name for the whole run: making them is slow."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


class OAuthServer:
    """`flavour` is generic (strict rotation, `iss` beside the code), google (no rotation, refresh tokens only offline
    with consent) or microsoft (refresh tokens only for offline_access, which stay good; a tenant in the issuer).
    """

    def __init__(
        self,
        folder: Path,
        *,
        town: Town | None = None,
        host: str = "localhost",
        flavour: str = "generic",
        expires_in: int = 3600,
        tenant: str = "11111111-2222-4333-8444-555555555555",
    ) -> None:
        self.flavour, self.host, self.tenant = flavour, host, tenant
        self._usual_seconds = expires_in
        self.store = Store()
        self.reset()
        self.closing = threading.Event()
        self._town, self._servers = town, []
        self._address = town.room_for(host) if town else "127.0.0.1"
        self.authority = town.authority if town else Authority(folder, f"oauth-{host}")
        self.ca_file = self.authority.ca_file
        self._files = self.authority.issue(f"oauth-{host}-site", (host, "127.0.0.1"))

    def reset(self) -> None:
        """Forget everything and everybody, and behave again."""
        self.store.clear()
        self.rotates, self.says_issuer = self.flavour == "generic", self.flavour == "generic"
        self.expires_in = self._usual_seconds
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.paths: list[str] = []
        self.may_open: set[tuple[str, str]] = set()
        self.mail_scopes: frozenset[str] = frozenset()  # empty: any token opens mailboxes
        self.odd: dict[str, Odd] = {}
        self.odd_return: dict[str, str] = {}  # put into the answer that the browser carries
        self.change_answer: Callable[[dict[str, Any]], object] = lambda answer: None  # of the token URL
        self.change_claims: Callable[[dict[str, Any]], object] = lambda claims: None  # of id tokens
        self.userinfo: Callable[[Person], dict[str, Any]] = self._claims
        self.userinfo_takes = ("Bearer",)  # ways to show the token there: OAuth at Yandex, in the query at Mail.ru
        self.algorithm, self.key, self.signing_key = "RS256", _key("first"), _key("first")
        self.token_size = 32  # bytes of randomness; Microsoft's tokens have about 1,500

    def __enter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files)
        self.port = self._serve(oauth_site.make(self), self._address, 443 if self._town else 0, context)
        plain = self._serve(oauth_site.introspection(self), "127.0.0.1", 0, None)
        self.introspection_url = f"http://127.0.0.1:{plain}/introspect"
        return self

    def _serve(self, app: Flask, address: str, port: int, context: ssl.SSLContext | None) -> int:
        server = make_server(address, port, app, threaded=True, request_handler=_Quiet)
        if context is not None:  # A browser that opens a connection and says nothing must not hold up the others.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            server.ssl_context = context
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self._servers.append((server, thread))
        return int(server.port)

    def __exit__(self, *args: object) -> None:
        self.closing.set()
        servers: list[tuple[BaseWSGIServer, threading.Thread]] = self._servers
        for server, thread in servers:
            server.shutdown()
            thread.join(5)
            server.server_close()

    @property
    def url(self) -> str:
        return f"https://{self.host}" + (f":{self.port}" if self.port != 443 else "")

    @property
    def issuer(self) -> str:
        return f"{self.url}/{self.tenant}/v2.0" if self.flavour == "microsoft" else self.url

    @property
    def authorize_url(self) -> str:
        return f"{self.url}/authorize"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    @property
    def userinfo_url(self) -> str:
        return f"{self.url}/userinfo"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/jwks"

    @property
    def revocation_url(self) -> str:
        return f"{self.url}/revoke"

    @property
    def rules(self) -> Rules:
        """Rules by which this server can be reached and is trusted."""
        if self._town:
            return self._town.rules
        return Rules((ip_network("127.0.0.0/8"), ip_network("::1/128")), ca_file=str(self.ca_file))

    def add_app(self, client_id: str = "mailadmin", **given: Any) -> App:
        """Register an app; see App for what may be given."""
        self.store.apps[client_id] = App(client_id, **given)
        return self.store.apps[client_id]

    def add_person(self, address: str, **given: Any) -> Person:
        """Let somebody have an account here; see Person for what may be given."""
        self.store.people[address] = Person(address, **given)
        return self.store.people[address]

    def add_service_account(self, email: str, *, domains: tuple[str, ...], scopes: tuple[str, ...]) -> str:
        """Register a service account that acts for everybody at `domains`, and return its key file as Google makes
        it, except that its `token_uri` leads elsewhere: nobody should believe it."""
        key = _key(email)
        self.store.service_accounts[email] = ServiceAccount(email, key, domains, scopes)
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "harbour",
                "private_key_id": key.kid,
                "private_key": key.as_pem(private=True).decode(),
                "client_email": email,
                "client_id": "100000000000000000001",
                "token_uri": "https://elsewhere.test/token",
            }
        )

    def issue(
        self,
        identity: str,
        *,
        client_id: str = "mailadmin",
        scopes: Iterable[str] = SCOPES,
        refresh: bool = True,
        expires_in: int | None = None,
    ) -> Token:
        """Tokens for a person, or for an app by its client id, as if all had been asked and agreed."""
        token = Token(
            access=self.new_token(),
            refresh=self.new_token() if refresh else "",
            client_id=client_id,
            identity=identity,
            scope=" ".join(scopes),
            family=self.new_token(),
            expires_in=self.expires_in if expires_in is None else expires_in,
            user=self.store.people.get(identity),
        )
        self.store.keep(token)
        return token

    def new_token(self) -> str:
        return secrets.token_urlsafe(self.token_size)

    def expire(self, access: str) -> None:
        """Let the time of an access token be over."""
        self.store.access[access].expires_in = 0

    def withdraw(self, identity: str) -> None:
        """Let somebody take back whatever they agreed to: no token of theirs is good any more."""
        self.store.end_person(identity)

    def opens(self, token: Token, mailbox: str) -> bool:
        """Whether a mail server lets `token` into `mailbox`; empty stands for the owner's own."""
        if not token.is_good or (self.mail_scopes and not self.mail_scopes & set(token.scope.split())):
            return False
        return mailbox in ("", token.identity) or (token.identity, mailbox) in self.may_open

    def agree(self, url: str, who: str, *, allow: bool = True, without: tuple[str, ...] = ()) -> str:
        """Do what a person does in a browser at the authorization `url`; return where it leads them."""
        scopes = [scope for scope in _query(url).get("scope", "").split() if scope not in without]
        fields = [("who", who), ("decision", "allow" if allow else "deny"), *(("agreed", scope) for scope in scopes)]
        context = ssl.create_default_context(cafile=self.ca_file)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect)
        there = url.replace(f"//{self.host}", f"//{self._address}", 1)
        with opener.open(urllib.request.Request(there, urlencode(fields).encode()), timeout=10) as answer:
            return str(answer.headers.get("Location", ""))

    def note(self, endpoint: str, fields: dict[str, str]) -> None:
        with self.store.lock:
            self.calls.append((endpoint, fields))

    def count(self, endpoint: str, **fields: str) -> int:
        """How often `endpoint` was called, with these fields."""
        with self.store.lock:
            return sum(name == endpoint and fields.items() <= said.items() for name, said in self.calls)

    def counts(self) -> Counter[str]:
        """How often each endpoint was called."""
        with self.store.lock:
            return Counter(name for name, _ in self.calls)

    def wants_refresh(self, asked: dict[str, str], person: Person) -> bool:
        """Whether a request leads to a refresh token."""
        if self.flavour == "google":
            first = not any(t.identity == person.address for t in self.store.refresh.values())
            return asked.get("access_type") == "offline" and (first or "consent" in asked.get("prompt", ""))
        return self.flavour != "microsoft" or "offline_access" in asked.get("scope", "").split()

    def _claims(self, person: Person) -> dict[str, Any]:
        claims: dict[str, Any] = {"sub": person.sub, "name": person.name or person.address}
        if self.flavour == "microsoft":
            claims |= {"preferred_username": person.address, "tid": self.tenant}
        else:
            claims |= {"email": person.address, "email_verified": person.verified}
        return claims | person.claims

    def id_token(self, person: Person, client_id: str, nonce: str, proofs: dict[str, Any] | None = None) -> str:
        """Who signed in, and how, signed."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": client_id, "iat": now, "nbf": now, "exp": now + 3600}
        claims |= self._claims(person) | (proofs or {}) | ({"nonce": nonce} if nonce else {})
        self.change_claims(claims)
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return jwt.encode(header, claims, self.signing_key, algorithms=[self.algorithm])

    def forge(self) -> None:
        """Sign id tokens from now on with a key that is not the published one, under its name."""
        self.signing_key = _key("another")

    @staticmethod
    def claims_of(text: str) -> dict[str, Any]:
        """What a JWT claims, not verified. Raises ValueError."""
        part = [*text.split("."), ""][1]
        return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))

    def metadata(self) -> dict[str, Any]:
        """What the discovery documents say."""
        tenant = "{tenantid}" if self.flavour == "microsoft" else ""
        return {
            "issuer": f"{self.url}/{tenant}/v2.0" if tenant else self.issuer,
            "authorization_endpoint": self.authorize_url,
            "token_endpoint": self.token_url,
            "jwks_uri": self.jwks_url,
            "userinfo_endpoint": self.userinfo_url,
            "revocation_endpoint": self.revocation_url,
            "response_types_supported": ["code"],
            "scopes_supported": list(SCOPES),
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.says_issuer,
        }


class _Quiet(WSGIRequestHandler):
    def log(self, kind: str, message: str, *args: Any) -> None:
        pass


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, request: Any, answer: Any, code: int, message: str, headers: Any) -> Any:
        return answer

    http_error_301 = http_error_303 = http_error_307 = http_error_302


def _query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))
