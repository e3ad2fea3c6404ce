"""The way through the browser, tokens, revocation and the trial of an app, against a real OAuth server."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from mailadmin import authorization
from mailadmin.authorization import Client, ClientAuth, OAuthError
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Rules
from tests.authorization.conftest import BACK, WIM, client_of, code_for, exchanged, query, refreshed, refused
from tests.servers import oauth_odd
from tests.servers.oauth import SCOPES, OAuthServer

URL = {"redirect_uri": BACK, "state": "state", "verifier": "v" * 43, "nonce": "nonce"}


@pytest.mark.parametrize("auth", [ClientAuth.POST, ClientAuth.BASIC])
def test_a_code_becomes_tokens_whatever_signs_stand_in_the_secret(
    idp: OAuthServer, client: Client, auth: ClientAuth
) -> None:
    tokens = exchanged(idp, client_of(idp, auth=auth))
    assert tokens.access in idp.store.access
    assert tokens.refresh in idp.store.refresh
    assert tokens.scopes == frozenset(SCOPES)
    assert 3590 < (tokens.expires_at - datetime.now(UTC)).total_seconds() <= 3600


def test_an_app_without_a_secret_is_held_by_pkce(idp: OAuthServer) -> None:
    idp.add_app("mailadmin", redirect_uris=(BACK,), auth=("none",))
    client = client_of(idp, auth=ClientAuth.NONE, secret="")
    tokens = exchanged(idp, client)
    assert refreshed(idp, client, tokens.refresh).access != tokens.access


def test_the_url_for_the_browser_asks_for_what_was_set_up_and_is_ours_in_all_that_counts(idp: OAuthServer) -> None:
    added = (
        ("access_type", "offline"),
        ("state", "theirs"),
        ("redirect_uri", "https://evil.test/"),
        ("scope", "all"),
        ("url", "x"),
    )
    client = client_of(idp, authorize_url=f"{idp.authorize_url}?tenant=harbour", parameters=added)
    url = authorization.authorization_url(client, **URL, login_hint=WIM)
    asked = query(url)
    assert url.startswith(f"{idp.authorize_url}?tenant=harbour&")
    assert (asked["state"], asked["redirect_uri"], asked["nonce"], asked["login_hint"]) == ("state", BACK, "nonce", WIM)
    assert (asked["scope"], asked["access_type"], asked["tenant"]) == (" ".join(SCOPES), "offline", "harbour")
    assert asked["url"] == "x"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len(asked["code_challenge"]) == 43
    assert "v" * 43 not in url


@pytest.mark.parametrize("url", ["", "http://id.test/authorize", "javascript:alert(1)", "https://a@id.test/", "https:"])
def test_no_browser_is_sent_to_what_is_not_https(idp: OAuthServer, url: str) -> None:
    error = refused(authorization.authorization_url, client_of(idp, authorize_url=url), **URL)
    assert (error.category, error.permanent) == (Category.CONFIG, True)


def test_verifiers_are_as_long_as_they_may_be_and_never_the_same() -> None:
    verifiers = {authorization.new_verifier() for _ in range(50)}
    assert len(verifiers) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier) for verifier in verifiers)


def test_who_denies_leads_to_a_refusal(idp: OAuthServer, client: Client) -> None:
    back = query(idp.agree(authorization.authorization_url(client, **URL), WIM, allow=False))
    error = authorization.refusal(back["error"], back["error_description"], host=idp.host)
    assert (error.error, error.category, error.permanent) == ("access_denied", Category.OAUTH, True)
    assert (back["state"], back["iss"]) == ("state", idp.issuer)


def test_scopes_that_were_not_agreed_to_are_missing(idp: OAuthServer, client: Client) -> None:
    verifier = authorization.new_verifier()
    url = authorization.authorization_url(client, **{**URL, "verifier": verifier})
    code = query(idp.agree(url, WIM, without=("mail",)))["code"]
    fields = {"code": code, "verifier": verifier, "redirect_uri": BACK}
    tokens = authorization.exchange(client, idp.rules, Deadline(5), **fields)
    assert tokens.scopes == frozenset(SCOPES) - {"mail"}


@pytest.mark.parametrize("wrong", [{"verifier": "w" * 43}, {"redirect_uri": BACK + "2"}, {"code": "other"}])
def test_a_code_is_worth_nothing_without_its_verifier_and_redirect_uri(
    idp: OAuthServer, client: Client, wrong: dict[str, str]
) -> None:
    verifier = authorization.new_verifier()
    fields = {"code": code_for(idp, client, verifier), "verifier": verifier, "redirect_uri": BACK} | wrong
    error = refused(authorization.exchange, client, idp.rules, Deadline(5), **fields)
    assert (error.error, error.category, error.permanent) == ("invalid_grant", Category.OAUTH, True)


def test_a_code_that_comes_twice_ends_what_came_of_it(idp: OAuthServer, client: Client) -> None:
    verifier = authorization.new_verifier()
    fields = {"code": code_for(idp, client, verifier), "verifier": verifier, "redirect_uri": BACK}
    tokens = authorization.exchange(client, idp.rules, Deadline(5), **fields)
    assert refused(authorization.exchange, client, idp.rules, Deadline(5), **fields).error == "invalid_grant"
    assert refused(refreshed, idp, client, tokens.refresh).error == "invalid_grant"


def test_a_rotated_refresh_token_is_good_once(idp: OAuthServer, client: Client) -> None:
    first = exchanged(idp, client)
    second = refreshed(idp, client, first.refresh)
    assert second.refresh not in ("", first.refresh)
    assert not idp.store.access[first.access].is_good
    error = refused(refreshed, idp, client, first.refresh)
    assert (error.error, error.code, error.permanent) == ("invalid_grant", "oauth_invalid_grant", True)
    assert refused(refreshed, idp, client, second.refresh).error == "invalid_grant"  # The whole family is gone.


def test_of_many_who_use_a_refresh_token_at_once_one_gets_something(idp: OAuthServer, client: Client) -> None:
    refresh = idp.issue(WIM).refresh

    def ask(_: int) -> bool:
        try:
            return bool(refreshed(idp, client, refresh).access)
        except OAuthError as error:
            assert error.error == "invalid_grant"  # noqa: PT017
            return False

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(ask, range(6))) == 1


def test_a_provider_that_does_not_rotate_gives_no_new_refresh_token(idp: OAuthServer, client: Client) -> None:
    idp.rotates = False
    idp.change_answer = lambda answer: answer.pop("refresh_token", None) if idp.count("token") > 1 else None
    tokens = exchanged(idp, client)
    assert [refreshed(idp, client, tokens.refresh).refresh for _ in range(2)] == ["", ""]


def test_a_refresh_asks_for_no_scopes(idp: OAuthServer, client: Client) -> None:
    refreshed(idp, client, idp.issue(WIM).refresh)
    assert "scope" not in next(fields for name, fields in idp.calls if name == "token")


def test_an_app_gets_a_token_for_itself(idp: OAuthServer) -> None:
    tokens = authorization.client_credentials(client_of(idp, scopes=("mail.all",)), idp.rules, Deadline(5))
    assert (tokens.scopes, tokens.refresh) == (frozenset({"mail.all"}), "")
    assert idp.store.access[tokens.access].identity == "mailadmin"


def test_what_is_revoked_is_gone_and_may_be_revoked_again(idp: OAuthServer, client: Client) -> None:
    tokens = exchanged(idp, client)
    for _ in range(2):
        authorization.revoke(client, idp.rules, Deadline(5), token=tokens.refresh)
    assert not idp.store.access[tokens.access].is_good
    assert refused(refreshed, idp, client, tokens.refresh).error == "invalid_grant"


def test_a_token_that_google_does_not_know_any_more_counts_as_revoked(idp: OAuthServer, client: Client) -> None:
    idp.odd["revoke"] = oauth_odd.error("invalid_token", "Token expired or revoked")
    authorization.revoke(client, idp.rules, Deadline(5), token="gone")


@pytest.mark.parametrize(
    ("odd", "category"),
    [
        (oauth_odd.error("unsupported_token_type"), Category.CONFIG),
        (oauth_odd.status(503), Category.UNAVAILABLE),
        (oauth_odd.html(404), Category.PROTOCOL),
    ],
)
def test_a_revocation_that_fails_says_so(
    idp: OAuthServer, client: Client, odd: oauth_odd.Odd, category: Category
) -> None:
    idp.odd["revoke"] = odd
    assert refused(authorization.revoke, client, idp.rules, Deadline(5), token="x").category is category


def test_an_app_is_tried_with_a_code_that_cannot_be_good(idp: OAuthServer, client: Client) -> None:
    assert authorization.try_app(client, idp.rules, Deadline(5), redirect_uri=BACK) is None
    wrong = authorization.try_app(client_of(idp, secret="wrong"), idp.rules, Deadline(5), redirect_uri=BACK)
    assert wrong is not None
    assert (wrong.error, wrong.category, wrong.code) == ("invalid_client", Category.CONFIG, "oauth_invalid_client")
    unknown = authorization.try_app(client_of(idp, client_id="nobody"), idp.rules, Deadline(5), redirect_uri=BACK)
    assert unknown is not None
    assert unknown.permanent


def test_a_trial_that_nobody_answers_says_nothing_about_the_app(idp: OAuthServer, client: Client) -> None:
    for odd in (oauth_odd.status(500), oauth_odd.throttled(), oauth_odd.html()):
        idp.odd["token"] = odd
        error = refused(authorization.try_app, client, idp.rules, Deadline(5), redirect_uri=BACK)
        assert not error.permanent


def test_who_gives_tokens_for_a_made_up_code_is_not_believed(idp: OAuthServer, client: Client) -> None:
    idp.odd["token"] = oauth_odd.says('{"access_token": "a", "token_type": "bearer"}')
    error = authorization.try_app(client, idp.rules, Deadline(5), redirect_uri=BACK)
    assert error is not None
    assert error.permanent


def test_token_urls_obey_the_rules_for_servers(idp: OAuthServer, client: Client) -> None:
    with pytest.raises(MailError) as raised:
        authorization.refresh(client, Rules(ca_file=str(idp.ca_file)), Deadline(5), refresh_token="old")
    assert raised.value.category is Category.POLICY
    with pytest.raises(MailError) as raised:
        authorization.refresh(client, Rules(idp.rules.networks), Deadline(5), refresh_token="old")
    assert raised.value.category is Category.TLS
    assert idp.count("token") == 0
