"""One OAuth server for the tests of a file, as it is at first for each of them, and an app that is registered there."""

import dataclasses
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest

from mailadmin import authorization
from mailadmin.authorization import Client, OAuthError, Tokens
from mailadmin.mail.deadline import Deadline
from tests.servers.oauth import SCOPES, OAuthServer

BACK = "https://mailadmin.test/oauth/back"
SECRET = "hush-hush~ /+&=%é"
WIM = "wim@example.org"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OAuthServer]:
    with OAuthServer(tmp_path_factory.mktemp("oauth")) as server:
        yield server


@pytest.fixture
def idp(server: OAuthServer) -> OAuthServer:
    server.reset()
    server.add_app("mailadmin", secret=SECRET, redirect_uris=(BACK,))
    server.add_person(WIM, name="Wim Example")
    return server


@pytest.fixture
def client(idp: OAuthServer) -> Client:
    return client_of(idp)


def client_of(idp: OAuthServer, **other: object) -> Client:
    """The app as an administrator would have set it up."""
    client = Client(
        "mailadmin",
        idp.token_url,
        secret=SECRET,
        authorize_url=idp.authorize_url,
        issuer=idp.issuer,
        jwks_url=idp.jwks_url,
        userinfo_url=idp.userinfo_url,
        revocation_url=idp.revocation_url,
        scopes=SCOPES,
        parameters=(("access_type", "offline"), ("prompt", "consent")),
    )
    return dataclasses.replace(client, **other)  # type: ignore[arg-type]


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def code_for(idp: OAuthServer, client: Client, verifier: str, *, nonce: str = "nonce", who: str = WIM) -> str:
    url = authorization.authorization_url(client, redirect_uri=BACK, state="state", verifier=verifier, nonce=nonce)
    return query(idp.agree(url, who))["code"]


def exchanged(idp: OAuthServer, client: Client, *, nonce: str = "nonce", who: str = WIM) -> Tokens:
    """The tokens that the whole way leads to."""
    verifier = authorization.new_verifier()
    code = code_for(idp, client, verifier, nonce=nonce, who=who)
    return authorization.exchange(client, idp.rules, Deadline(5), code=code, verifier=verifier, redirect_uri=BACK)


def refreshed(idp: OAuthServer, client: Client, refresh_token: str = "old", *, seconds: float = 5) -> Tokens:
    return authorization.refresh(client, idp.rules, Deadline(seconds), refresh_token=refresh_token)


def refused(ask: Callable[..., object], *args: object, **fields: object) -> OAuthError:
    """The error that asking ends in."""
    with pytest.raises(OAuthError) as raised:
        ask(*args, **fields)
    return raised.value
