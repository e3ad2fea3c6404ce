"""Who signed in: id tokens that are right, wrong and forged, and userinfo as providers answer it."""

import base64
import dataclasses
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mailadmin import authorization
from mailadmin.authorization import Client, Identity
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category
from tests.authorization.conftest import SECRET, WIM, client_of, exchanged, refused
from tests.servers import oauth_odd
from tests.servers.oauth import OAuthServer
from tests.servers.town import Town

GUID = "22222222-2222-4333-8444-555555555555"


def identity(idp: OAuthServer, client: Client, *, nonce: str = "nonce", who: str = WIM) -> Identity:
    tokens = exchanged(idp, client, who=who)
    return authorization.identity(client, idp.rules, Deadline(5), tokens=tokens, nonce=nonce)


def test_an_id_token_says_who_signed_in(idp: OAuthServer, client: Client) -> None:
    idp.add_person("Ada@Example.ORG", name="Ada\n E\u202e.")
    assert identity(idp, client) == Identity((WIM,), "id_token", "Wim Example")
    assert identity(idp, client, who="Ada@Example.ORG") == Identity(("ada@example.org",), "id_token", "Ada E<U+202E>.")
    assert idp.count("userinfo") == 0


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("PS256", RSAKey.generate_key(2048, {"kid": "first"})),
        ("ES256", ECKey.generate_key("P-256", {"kid": "first"})),
        ("ES384", ECKey.generate_key("P-384", {"kid": "first"})),
        ("Ed25519", OKPKey.generate_key("Ed25519", {"kid": "first"})),
        ("EdDSA", OKPKey.generate_key("Ed25519", {"kid": "first"})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_public_key_signatures_of_all_kinds_are_good(
    idp: OAuthServer, client: Client, algorithm: str, key: RSAKey | ECKey | OKPKey
) -> None:
    idp.algorithm, idp.key, idp.signing_key = algorithm, key, key
    assert identity(idp, client).addresses == (WIM,)


def set_claims(**claims: Any) -> Callable[[dict[str, Any]], None]:
    """A change of an id token: these claims, or none of that name."""

    def change(made: dict[str, Any]) -> None:
        now = int(time.time())
        made.update({n: now + int(v.total_seconds()) if isinstance(v, timedelta) else v for n, v in claims.items()})
        for name in [name for name, value in claims.items() if value is None]:
            del made[name]

    return change


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "https://evil.test"}, "oauth_issuer"),
        ({"iss": None}, "oauth_issuer"),
        ({"iss": ["https://localhost"]}, "oauth_issuer"),
        ({"aud": "another"}, "oauth_audience"),
        ({"aud": None}, "oauth_audience"),
        ({"aud": ["mailadmin", "another"]}, "oauth_audience"),
        ({"aud": ["mailadmin"], "azp": "another"}, "oauth_audience"),
        ({"exp": timedelta(seconds=-300)}, "oauth_clock"),
        ({"exp": None}, "oauth_clock"),
        ({"exp": "soon"}, "oauth_clock"),
        ({"exp": float("nan")}, "oauth_clock"),
        ({"exp": True}, "oauth_clock"),
        ({"iat": timedelta(seconds=900)}, "oauth_clock"),
        ({"iat": None}, "oauth_clock"),
        ({"nbf": timedelta(seconds=900)}, "oauth_clock"),
        ({"nbf": "later"}, "oauth_clock"),
        ({"nonce": "of another attempt"}, "oauth_state_mismatch"),
        ({"nonce": None}, "oauth_state_mismatch"),
        ({"nonce": ["nonce"]}, "oauth_state_mismatch"),
    ],
)
def test_an_id_token_that_is_not_for_us_now_is_not_believed(
    idp: OAuthServer, client: Client, claims: dict[str, Any], code: str
) -> None:
    idp.change_claims = set_claims(**claims)
    error = refused(identity, idp, client)
    assert (error.category, error.permanent, error.code) == (Category.OAUTH, True, code)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": timedelta(seconds=-60)},
        {"iat": timedelta(seconds=60), "nbf": timedelta(seconds=60)},
        {"nbf": None},
        {"aud": ["mailadmin"]},
        {"aud": ["mailadmin", "another"], "azp": "mailadmin"},
    ],
)
def test_clocks_differ_by_two_minutes_and_audiences_may_be_several(
    idp: OAuthServer, client: Client, claims: dict[str, Any]
) -> None:
    idp.change_claims = set_claims(**claims)
    assert identity(idp, client).addresses == (WIM,)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def forged(idp: OAuthServer, how: str) -> str:
    """An id token whose claims are all right, and which the provider did not sign."""
    good = idp.id_token(idp.store.people[WIM], "mailadmin", "nonce")
    header, payload, signature = good.split(".")
    claims, own = idp.claims_of(good), ECKey.generate_key("P-256")
    secret = encoded({"alg": "HS256", "kid": "first"}) + f".{payload}"
    forgeries: dict[str, Callable[[], str]] = {
        "none": lambda: f"{encoded({'alg': 'none'})}.{payload}.",
        "none in capitals": lambda: f"{encoded({'alg': 'NONE', 'kid': 'first'})}.{payload}.{signature}",
        "our secret": lambda: f"{secret}.{hashed(secret, SECRET.encode())}",
        "public key": lambda: f"{secret}.{hashed(secret, idp.key.as_pem(private=False))}",
        "no signature": lambda: f"{header}.{payload}.",
        "other claims": lambda: f"{header}.{encoded(claims | {'email': 'boss@example.org'})}.{signature}",
        "other name": lambda: jwt.encode({"alg": "RS256", "kid": "second"}, claims, idp.key),
        "own key": lambda: jwt.encode({"alg": "ES256", "kid": "first", "jwk": own.as_dict(private=False)}, claims, own),
        "nonsense": lambda: "a.b.c",
        "five parts": lambda: "a.b.c.d.e",
        "deep": lambda: f"{base64.urlsafe_b64encode(b'[' * 50_000).decode()}.{payload}.{signature}",
        "list for a name": lambda: f"{encoded({'alg': ['RS256'], 'kid': ['first']})}.{payload}.{signature}",
    }
    return forgeries[how]()


def hashed(text: str, secret: bytes) -> str:
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize(
    "how",
    [
        *("none", "none in capitals", "our secret", "public key", "no signature", "other claims", "other name"),
        *("own key", "nonsense", "five parts", "deep", "list for a name"),
    ],
)
def test_a_forged_id_token_is_not_believed(idp: OAuthServer, client: Client, how: str) -> None:
    tokens = exchanged(idp, client)
    tokens = authorization.Tokens(tokens.access, tokens.expires_at, id_token=forged(idp, how))
    fields = {"tokens": tokens, "nonce": "nonce"}
    error = refused(authorization.identity, client, idp.rules, Deadline(5), **fields)
    assert (error.category, error.code) == (Category.OAUTH, "oauth_signature")
    assert idp.count("userinfo") == 0  # A forgery does not become good by asking elsewhere.


def test_a_key_that_is_not_the_published_one_is_not_believed(idp: OAuthServer, client: Client) -> None:
    idp.forge()
    assert refused(identity, idp, client).code == "oauth_signature"


def test_keys_that_we_cannot_read_do_not_hide_the_right_one(idp: OAuthServer, client: Client) -> None:
    others = [
        {"kty": "RSA", "kid": "first"},
        {"kty": "oct", "k": "aHVzaA", "kid": "first"},
        {"kty": "new"},
        {"kty": []},
        "x",
        None,
    ]
    keys = [*others, idp.key.as_dict(private=False)]
    idp.odd["jwks"] = oauth_odd.says(json.dumps({"keys": keys}))
    assert identity(idp, client).addresses == (WIM,)
    for nothing in ("{}", '{"keys": 5}', '{"keys": []}'):
        idp.odd["jwks"] = oauth_odd.says(nothing)
        assert refused(identity, idp, client).code == "oauth_signature"


def test_an_address_that_was_never_verified_is_none(idp: OAuthServer, client: Client) -> None:
    for said in (False, "false", "False"):
        idp.change_claims = set_claims(email_verified=said)
        idp.userinfo = lambda person: {"sub": person.sub}
        assert identity(idp, client).addresses == ()
    idp.change_claims = set_claims(email_verified=None)
    assert identity(idp, client).addresses == (WIM,)


def microsoft(idp: OAuthServer, **claims: Any) -> Client:
    """The app at a provider that speaks like Microsoft, for people of any tenant."""
    issuer = f"{idp.url}/{{tenantid}}/v2.0"
    usual = {"iss": issuer.replace("{tenantid}", GUID), "tid": GUID, "preferred_username": "Wim@Example.org"}
    idp.change_claims = set_claims(**usual | {"email": None} | claims)
    return client_of(idp, issuer=issuer, userinfo_url="")


def test_microsofts_issuer_is_that_of_the_tenant(idp: OAuthServer) -> None:
    assert identity(idp, microsoft(idp)).addresses == (WIM,)
    assert identity(idp, microsoft(idp, upn="w.example@example.org")).addresses == (WIM, "w.example@example.org")
    for wrong in ({"tid": GUID.replace("2", "3")}, {"tid": None}, {"tid": "x/../y"}, {"iss": f"{idp.url}/v2.0"}):
        assert refused(identity, idp, microsoft(idp, **wrong)).code == "oauth_issuer"


def test_at_microsoft_an_address_counts_if_its_domain_was_proven(idp: OAuthServer) -> None:
    boss = {"preferred_username": "guest_other#EXT#@evil.onmicrosoft.com", "email": "boss@example.org"}
    assert identity(idp, microsoft(idp, **boss)).addresses == ()
    idp.userinfo = lambda person: {"email": "boss@example.org", "mail": "boss@example.org"}
    asking = dataclasses.replace(microsoft(idp, **boss), userinfo_url=idp.userinfo_url)
    assert identity(idp, asking) == Identity((), "userinfo", "Wim Example")
    assert identity(idp, microsoft(idp, **boss, xms_edov=True)).addresses == ("boss@example.org",)
    private = {"tid": "9188040d-6c67-4c5b-b112-36a304b66dad"}
    private["iss"] = f"{idp.url}/{private['tid']}/v2.0"
    assert identity(idp, microsoft(idp, **boss, **private)).addresses == ("boss@example.org",)
    client = microsoft(idp, **boss)
    pinned = client_of(idp, issuer=client.issuer.replace("{tenantid}", GUID), userinfo_url="")
    assert identity(idp, pinned).addresses == ("boss@example.org",)


@pytest.mark.parametrize(
    ("fields", "addresses"),
    [
        ({"sub": "1", "email": "Wim@Example.org", "email_verified": True}, (WIM,)),
        ({"sub": "1", "email": "wim@example.org", "email_verified": False}, ()),
        ({"id": "1", "email": "wim@example.org", "verified_email": False}, ()),
        ({"id": "1", "default_email": "w@ya.ru", "emails": ["w@yandex.ru", "w@ya.ru", 5]}, ("w@ya.ru", "w@yandex.ru")),
        ({"mail": "wim@example.org", "userPrincipalName": "w@example.org"}, (WIM, "w@example.org")),
        ({"mail": None, "userPrincipalName": "w@example.org"}, ("w@example.org",)),
        ({"email": "no address"}, ()),
        ({"email": "wim@example.org\r\nx@y"}, ()),
        ({"email": ["wim@example.org"]}, ()),
        ({"email": "wim\ud800@example.org", "mail": "wim\u202e@example.org"}, ()),
        ({}, ()),
    ],
)
def test_without_an_id_token_the_userinfo_url_is_asked(
    idp: OAuthServer, fields: dict[str, Any], addresses: tuple[str, ...]
) -> None:
    idp.userinfo = lambda person: fields
    for missing in ({"jwks_url": ""}, {"issuer": ""}):
        found = identity(idp, client_of(idp, **missing))
        assert (found.addresses, found.source) == (addresses, "userinfo")
    assert idp.count("jwks") == 0


def test_who_tells_nothing_is_not_guessed(idp: OAuthServer) -> None:
    assert identity(idp, client_of(idp, jwks_url="", userinfo_url="")) == Identity()


def test_the_userinfo_url_speaks_of_the_same_person(idp: OAuthServer, client: Client) -> None:
    idp.change_claims = set_claims(email=None)
    assert identity(idp, client) == Identity((WIM,), "userinfo", "Wim Example")
    idp.userinfo = lambda person: {"sub": "somebody else", "email": "boss@example.org"}
    error = refused(identity, idp, client)
    assert (error.category, error.code) == (Category.OAUTH, "oauth_issuer")


@pytest.mark.parametrize(
    ("odd", "category", "permanent"),
    [
        (oauth_odd.error("invalid_token", status=401), Category.OAUTH, True),
        (
            oauth_odd.says("", status=401, WWW_Authenticate='Bearer realm="x", error="insufficient_scope"'),
            Category.OAUTH,
            True,
        ),
        (oauth_odd.html(), Category.PROTOCOL, False),
        (oauth_odd.status(503), Category.UNAVAILABLE, False),
    ],
)
def test_a_userinfo_url_that_refuses_says_so(
    idp: OAuthServer, odd: oauth_odd.Odd, category: Category, permanent: bool
) -> None:
    idp.odd["userinfo"] = odd
    error = refused(identity, idp, client_of(idp, jwks_url=""))
    assert (error.category, error.permanent) == (category, permanent)


@pytest.mark.parametrize(
    ("host", "takes"), [("id.moor.test", "Bearer"), ("login.yandex.ru", "OAuth"), ("oauth.mail.ru", "")]
)
def test_the_token_is_shown_where_a_provider_wants_it(town: Town, host: str, takes: str) -> None:
    with OAuthServer(town.folder, town=town, host=host) as there:
        there.userinfo_takes = (takes,)
        there.add_person(WIM)
        there.add_app("mailadmin")
        token = there.issue(WIM)
        tokens = authorization.Tokens(token.access, datetime.now(UTC))
        found = authorization.identity(client_of(there), there.rules, Deadline(5), tokens=tokens, nonce="")
        assert found == Identity((WIM,), "userinfo", WIM)
