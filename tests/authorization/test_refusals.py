"""Errors and odd answers of a provider: what they mean, whether only a person can help, and what is left of them."""

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mailadmin import authorization
from mailadmin.authorization import Client
from mailadmin.mail.errors import Category, MailError
from tests.authorization.conftest import WIM, refreshed, refused
from tests.servers import oauth_odd
from tests.servers.oauth import OAuthServer

C = Category


@pytest.mark.parametrize(
    ("error", "status", "category", "permanent"),
    [
        ("invalid_grant", 400, C.OAUTH, True),
        ("interaction_required", 400, C.OAUTH, True),
        ("consent_required", 400, C.OAUTH, True),
        ("access_denied", 403, C.OAUTH, True),
        ("invalid_code", 200, C.OAUTH, True),
        ("invalid_client", 401, C.CONFIG, True),
        ("unauthorized_client", 400, C.CONFIG, True),
        ("invalid_scope", 400, C.CONFIG, True),
        ("invalid_request", 400, C.CONFIG, True),
        ("redirect_uri_mismatch", 400, C.CONFIG, True),
        ("unsupported_grant_type", 400, C.CONFIG, True),
        ("temporarily_unavailable", 400, C.UNAVAILABLE, False),
        ("server_error", 400, C.UNAVAILABLE, False),
        ("slow_down", 400, C.UNAVAILABLE, False),
        ("invalid_grant", 500, C.UNAVAILABLE, False),
        ("invalid_client", 503, C.UNAVAILABLE, False),
        ("invalid_grant", 408, C.UNAVAILABLE, False),
        ("invalid_grant", 429, C.THROTTLED, False),
        ("something_new", 400, C.PROTOCOL, False),
    ],
)
def test_an_error_is_judged_by_its_name_and_status_alone(
    idp: OAuthServer, client: Client, error: str, status: int, category: Category, permanent: bool
) -> None:
    idp.odd["token"] = oauth_odd.error(error, "The refresh token has expired; invalid_client.", status=status)
    said = refused(refreshed, idp, client)
    assert (said.error, said.category, said.permanent) == (error, category, permanent)


@pytest.mark.parametrize(
    ("body", "category"),
    [
        ({"error": "new_word", "suberror": "consent_required"}, C.OAUTH),
        ({"error": {"code": 403, "message": "No.", "status": "PERMISSION_DENIED"}}, C.OAUTH),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, C.THROTTLED),
        ({"error": 17}, C.PROTOCOL),
        ({"error": ["invalid_grant"]}, C.PROTOCOL),
        ({"error": {"status": ["x"]}}, C.PROTOCOL),
        ({"message": "No such page"}, C.PROTOCOL),
    ],
)
def test_errors_in_other_shapes_are_read_too(
    idp: OAuthServer, client: Client, body: object, category: Category
) -> None:
    idp.odd["token"] = oauth_odd.says(json.dumps(body), status=400)
    assert refused(refreshed, idp, client).category is category


@pytest.mark.parametrize(
    ("odd", "category"),
    [
        (oauth_odd.html(), C.PROTOCOL),
        (oauth_odd.html(400), C.PROTOCOL),
        (oauth_odd.html(502), C.UNAVAILABLE),
        (oauth_odd.broken(), C.PROTOCOL),
        (oauth_odd.huge(), C.PROTOCOL),
        (oauth_odd.packed(), C.PROTOCOL),
        (oauth_odd.says(""), C.PROTOCOL),
        (oauth_odd.says("[]"), C.PROTOCOL),
        (oauth_odd.says('"access_token"'), C.PROTOCOL),
        (oauth_odd.says("[" * 100_000), C.PROTOCOL),
        (oauth_odd.says(b"\xff\xfe\x00{"), C.PROTOCOL),
        (oauth_odd.says('{"expires_in": ' + "9" * 9999 + "}"), C.PROTOCOL),
        (oauth_odd.status(500), C.UNAVAILABLE),
        (oauth_odd.status(408), C.UNAVAILABLE),
        (oauth_odd.throttled(), C.THROTTLED),
        (oauth_odd.moved("https://localhost/elsewhere"), C.PROTOCOL),
        (oauth_odd.moved("https://localhost/elsewhere", 302), C.PROTOCOL),
        (oauth_odd.says("{}"), C.PROTOCOL),
        (oauth_odd.says('{"access_token": ""}'), C.PROTOCOL),
        (oauth_odd.says('{"access_token": ["a"]}'), C.PROTOCOL),
        (oauth_odd.says('{"access_token": "a\\r\\nb"}'), C.PROTOCOL),
        (oauth_odd.says('{"access_token": "a\\u0001auth=Bearer b"}'), C.PROTOCOL),
        (oauth_odd.says('{"access_token": "a", "refresh_token": "\\ud800"}'), C.PROTOCOL),
        (oauth_odd.says('{"access_token": "a", "token_type": "DPoP"}'), C.PROTOCOL),
        (oauth_odd.says('{"access_token": "a", "token_type": 5}'), C.PROTOCOL),
    ],
)
def test_what_is_no_answer_is_an_error_that_passes(
    idp: OAuthServer, client: Client, odd: oauth_odd.Odd, category: Category
) -> None:
    idp.odd["token"] = odd
    with pytest.raises(MailError) as raised:
        refreshed(idp, client)
    assert (raised.value.category, raised.value.permanent) == (category, False)
    assert idp.counts() == {"token": 1}  # Neither asked again, nor followed elsewhere.


def test_silence_ends_with_the_deadline(idp: OAuthServer, client: Client) -> None:
    idp.odd["token"] = oauth_odd.silence(60, idp.closing)
    begin = time.monotonic()
    with pytest.raises(MailError) as raised:
        refreshed(idp, client, seconds=1)
    assert (raised.value.category, raised.value.permanent) == (C.TIMEOUT, False)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        ("999999999", 86400, 86400),
        ("in ten minutes", 500, 600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 86400, 86400),
    ],
)
def test_a_provider_may_say_when_to_come_back_within_a_day(
    idp: OAuthServer, client: Client, said: str, least: float, most: float
) -> None:
    if said == "in ten minutes":
        said = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    idp.odd["token"] = oauth_odd.throttled(said)
    assert least <= (refused(refreshed, idp, client).retry_after or 0) <= most


@pytest.mark.parametrize("said", ["soon", "-5", "1.5", "٣", "99999999999999999999", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_a_time_that_cannot_be_read_is_none(idp: OAuthServer, client: Client, said: str) -> None:
    idp.odd["token"] = oauth_odd.says("{}", status=503, Retry_After=said.encode().decode("latin-1"))
    assert refused(refreshed, idp, client).retry_after is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (7200, 7200),
        ("7200", 7200),
        ("7200.5", 7200.5),
        (1799.9, 1799.9),
        (None, 3600),
        ("an hour", 3600),
        ([], 3600),
        (True, 3600),
        (0, 60),
        (-5, 60),
        ("-1e9", 60),
        (10**12, 86400),
        (10**400, 86400),
        (float("nan"), 3600),
        (float("inf"), 86400),
        (float("-inf"), 60),
    ],
)
def test_a_token_is_good_between_a_minute_and_a_day_whatever_the_provider_says(
    idp: OAuthServer, client: Client, said: object, seconds: float
) -> None:
    idp.change_answer = lambda answer: answer.update(expires_in=said)
    begin = datetime.now(UTC)
    tokens = refreshed(idp, client, idp.issue(WIM).refresh)
    assert 0 <= (tokens.expires_at - begin).total_seconds() - seconds < 3


@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ("mail openid", {"mail", "openid"}),
        ("mail,openid", {"mail", "openid"}),
        (["mail", "openid", 5, "\ud800"], {"mail", "openid"}),
        ("", None),
        (None, None),
        ({"mail": 1}, None),
    ],
)
def test_granted_scopes_are_read_however_they_are_written(
    idp: OAuthServer, client: Client, said: object, scopes: set[str] | None
) -> None:
    idp.change_answer = lambda answer: answer.update(scope=said)
    assert refreshed(idp, client, idp.issue(WIM).refresh).scopes == scopes


def test_who_does_not_name_the_kind_of_token_means_bearer(idp: OAuthServer, client: Client) -> None:
    idp.change_answer = lambda answer: (answer.pop("token_type"), answer.update(error=None))
    assert refreshed(idp, client, idp.issue(WIM).refresh).access


def test_an_expired_secret_is_explained_and_can_be_looked_up_by_microsoft(idp: OAuthServer, client: Client) -> None:
    idp.odd["token"] = oauth_odd.expired_secret()
    error = refused(refreshed, idp, client)
    assert (error.category, error.permanent, error.code) == (C.CONFIG, True, "aadsts_7000222")
    assert error.detail.startswith("invalid_client: AADSTS7000222: The provided client secret keys")
    assert error.detail.endswith("Correlation ID: 6b7e1f2a-0000-4000-8000-00000000dcba Timestamp: 2026-11-22 10:00:00Z")


def test_what_support_asks_for_is_kept_however_long_the_rest_is(idp: OAuthServer, client: Client) -> None:
    body = {
        "error": "invalid_grant",
        "suberror": "bad_token",
        "error_description": "AADSTS700082: " + "word " * 400,
        "correlation_id": "c-1",
        "timestamp": "2026-11-22 10:00:00Z",
    }
    idp.odd["token"] = oauth_odd.says(json.dumps(body), status=400)
    error = refused(refreshed, idp, client)
    assert error.suberror == "bad_token"
    assert error.detail.startswith("invalid_grant (bad_token): AADSTS700082: word word")
    assert error.detail.endswith("… Correlation ID: c-1 Timestamp: 2026-11-22 10:00:00Z")
    assert len(error.detail) <= 500


@pytest.mark.parametrize(
    ("error", "description", "host", "code", "category"),
    [
        (
            "access_denied",
            "AADSTS65004: User declined.",
            "login.microsoftonline.com",
            "aadsts_65004",
            C.OAUTH,
        ),
        ("invalid_grant", "Token has been expired or revoked.", "oauth2.googleapis.com", "g_invalid_grant", C.OAUTH),
        ("invalid_client", "Unauthorized", "oauth2.googleapis.com", "g_invalid_client", C.CONFIG),
        ("invalid_scope", "", "id.harbour.test", "oauth_invalid_scope", C.CONFIG),
        ("temporarily_unavailable", "", "id.harbour.test", "oauth_temporarily", C.UNAVAILABLE),
        ("", "", "", "", C.PROTOCOL),
    ],
)
def test_the_words_of_each_provider_find_their_rule(
    error: str, description: str, host: str, code: str, category: Category
) -> None:
    refusal = authorization.refusal(error, description, host=host)
    assert (refusal.code, refusal.category) == (code, category)


def test_words_that_contradict_the_error_explain_nothing() -> None:
    refusal = authorization.refusal("server_error", "AADSTS700081: The refresh token has expired.")
    assert (refusal.category, refusal.permanent, refusal.code) == (C.UNAVAILABLE, False, "")


def test_what_a_stranger_puts_into_the_address_bar_is_harmless() -> None:
    refusal = authorization.refusal("<b>\u202eX" * 50, "evil\x1b[31m\r\n" + "y" * 5000, host="x")
    assert len(refusal.error) <= 60
    assert len(refusal.detail) <= 500
    assert not {"\x1b", "\r", "\n", "\u202e"} & set(refusal.detail + refusal.error + refusal.message)
