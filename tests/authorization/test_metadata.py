"""What issuers publish about themselves, in both places, and what of it is not believed."""

import json

import pytest

from mailadmin import authorization
from mailadmin.authorization import Metadata, metadata
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from tests.authorization.conftest import refused
from tests.servers import oauth_odd
from tests.servers.oauth import SCOPES, OAuthServer

GUID = "22222222-2222-4333-8444-555555555555"


def found(idp: OAuthServer, issuer: str = "") -> Metadata:
    return authorization.discover(issuer or idp.issuer, idp.rules, Deadline(5))


def publish(idp: OAuthServer, **fields: object) -> None:
    """In both places what is right, with these `fields` instead."""
    made = {name: value for name, value in (idp.metadata() | fields).items() if value is not None}
    idp.odd["rfc8414"] = idp.odd["openid"] = oauth_odd.says(json.dumps(made))


def test_an_issuer_says_where_everything_is(idp: OAuthServer) -> None:
    assert found(idp) == Metadata(
        idp.issuer,
        idp.authorize_url,
        idp.token_url,
        idp.jwks_url,
        idp.userinfo_url,
        idp.revocation_url,
        SCOPES,
        has_pkce=True,
        says_issuer=True,
    )
    assert idp.counts() == {"rfc8414": 1}


@pytest.mark.parametrize(
    "odd", [oauth_odd.html(404), oauth_odd.html(), oauth_odd.moved("https://x.test/"), oauth_odd.status(500)]
)
def test_where_the_first_place_is_empty_the_second_is_asked(idp: OAuthServer, odd: oauth_odd.Odd) -> None:
    idp.odd["rfc8414"] = odd
    assert found(idp).token_url == idp.token_url
    assert idp.counts() == {"rfc8414": 1, "openid": 1}


def test_a_path_stands_behind_the_first_place_and_before_the_second(idp: OAuthServer) -> None:
    issuer = f"{idp.url}/harbour/mail"
    publish(idp, issuer=issuer)
    assert found(idp, issuer).issuer == issuer
    idp.odd["rfc8414"] = oauth_odd.status(404)
    assert found(idp, issuer).issuer == issuer
    assert idp.paths == [
        "/.well-known/oauth-authorization-server/harbour/mail",
        "/.well-known/oauth-authorization-server/harbour/mail",
        "/harbour/mail/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize(
    ("fields", "category"),
    [
        ({"issuer": "https://evil.test"}, Category.PROTOCOL),
        ({"issuer": None}, Category.PROTOCOL),
        ({"issuer": 5}, Category.PROTOCOL),
        ({"token_endpoint": None}, Category.PROTOCOL),
        ({"token_endpoint": "http://localhost/token"}, Category.CONFIG),
        ({"authorization_endpoint": "javascript:alert(1)"}, Category.CONFIG),
        ({"jwks_uri": "https://user@localhost/jwks"}, Category.CONFIG),
        ({"userinfo_endpoint": "https:///userinfo"}, Category.CONFIG),
        ({"revocation_endpoint": "https://localhost/revo ke"}, Category.CONFIG),
    ],
)
def test_what_cannot_be_right_is_not_believed(idp: OAuthServer, fields: dict[str, object], category: Category) -> None:
    publish(idp, **fields)
    error = refused(found, idp)
    assert (error.category, error.permanent) == (category, True)


@pytest.mark.parametrize(
    ("said", "has_pkce"), [(["S256", "plain"], True), (["plain"], False), ([], False), (None, None), ("S256", None)]
)
def test_pkce_is_known_if_it_is_said(idp: OAuthServer, said: object, has_pkce: bool | None) -> None:
    publish(idp, code_challenge_methods_supported=said, scopes_supported="mail")
    assert (found(idp).has_pkce, found(idp).scopes) == (has_pkce, ())


@pytest.mark.parametrize(
    "issuer", ["", "http://localhost", "localhost", "https://localhost/?a=b", "https://a@localhost"]
)
def test_an_issuer_is_an_https_url(idp: OAuthServer, issuer: str) -> None:
    assert refused(authorization.discover, issuer, idp.rules, Deadline(5)).category is Category.CONFIG


def test_an_issuer_that_is_not_there_is_a_matter_of_the_network(idp: OAuthServer) -> None:
    with pytest.raises(MailError) as raised:
        authorization.discover("https://127.0.0.1:9", idp.rules, Deadline(5))
    assert raised.value.category is Category.REFUSED


@pytest.mark.parametrize(
    ("asked", "said", "is_same"),
    [
        ("https://a.test", "https://a.test", True),
        ("https://a.test/", "https://a.test", True),
        ("https://a.test", "https://a.test/", True),
        ("https://a.test", "https://a.test/b", False),
        ("https://a.test", "https://A.test", False),
        ("https://m.test/common/v2.0", "https://m.test/{tenantid}/v2.0", True),
        (f"https://m.test/{GUID}/v2.0", "https://m.test/{tenantid}/v2.0", True),
        ("https://m.test/harbour.test/v2.0", f"https://m.test/{GUID}/v2.0", True),
        (f"https://m.test/{GUID}/v2.0", f"https://m.test/{GUID.replace('2', '3')}/v2.0", False),
        ("https://m.test/common/v2.0", "https://evil.test/{tenantid}/v2.0", False),
        ("https://m.test/common/v2.0", "https://m.test/other/v2.0", False),
        ("https://m.test/{tenantid}", "https://m.test/x", False),
    ],
)
def test_an_issuer_answers_for_itself_and_microsoft_for_its_tenants(asked: str, said: str, is_same: bool) -> None:
    assert metadata.is_same(asked, said) is is_same


def test_microsofts_issuer_keeps_the_place_of_the_tenant(tmp_path_factory: pytest.TempPathFactory) -> None:
    with OAuthServer(tmp_path_factory.mktemp("microsoft"), flavour="microsoft") as idp:
        for tenant in ("common", "organizations", "harbour.test", idp.tenant):
            assert found(idp, f"{idp.url}/{tenant}/v2.0").issuer == f"{idp.url}/{{tenantid}}/v2.0"
