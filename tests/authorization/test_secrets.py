"""Nothing that opens a mailbox stands in an error, a log or the text of a value, whatever a provider sends back."""

import base64
import json
import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from flask import Response, request

from mailadmin import authorization
from mailadmin.authorization import Client, ClientAuth, OAuthError
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import MailError
from tests.authorization.conftest import BACK, SECRET, client_of, exchanged, refreshed
from tests.authorization.test_keys import PRIVATE, ROBOT, asked_for, certificate, pem
from tests.servers import oauth_odd
from tests.servers.oauth import OAuthServer
from tests.servers.town import Town

CODE, VERIFIER, REFRESH, ACCESS = "the-code-0815", "the-verifier" * 4, "the-refresh-token", "the-access-token"


def parrot(status: int, kind: str) -> Callable[[], Response]:
    """Send back all that came, in many spellings."""

    def answer() -> Response:
        body = request.get_data(as_text=True)
        values = [*request.form.values(), *request.args.values(), request.headers.get("Authorization", "")]
        spelt = [*values, *(base64.b64encode(value.encode()).decode() for value in values), *map(quote, values)]
        said = " ".join([*spelt, body])
        if kind == "json":
            return Response(json.dumps({"error": "invalid_request", "error_description": said}), status=status)
        return Response(f"<p>{said}</p>", status=status, content_type="text/html")

    return answer


def asks(idp: OAuthServer) -> dict[str, Callable[[], object]]:
    """Everything that we ever ask, with secrets of known looks."""
    rules, at = idp.rules, Deadline(20)
    keyed = client_of(idp, auth=ClientAuth.KEY, key=pem(PRIVATE["rsa"]), certificate=certificate(PRIVATE["rsa"]))
    file = idp.add_service_account(ROBOT, domains=("example.org",), scopes=("mail",))
    posted, basic = client_of(idp), client_of(idp, auth=ClientAuth.BASIC)
    told = authorization.Tokens(ACCESS, expires_at=None)  # type: ignore[arg-type]
    fields = {"code": CODE, "verifier": VERIFIER, "redirect_uri": BACK}
    return {
        "exchange": lambda: authorization.exchange(posted, rules, at, **fields),
        "basic": lambda: authorization.exchange(basic, rules, at, **fields),
        "refresh": lambda: authorization.refresh(posted, rules, at, refresh_token=REFRESH),
        "key": lambda: authorization.refresh(keyed, rules, at, refresh_token=REFRESH),
        "revoke": lambda: authorization.revoke(posted, rules, at, token=REFRESH),
        "service": lambda: asked_for(idp, file),
        "userinfo": lambda: authorization.identity(client_of(idp, jwks_url=""), rules, at, tokens=told, nonce=""),
    }


@pytest.mark.parametrize("kind", ["json", "html"])
@pytest.mark.parametrize("name", ["exchange", "basic", "refresh", "key", "revoke", "service", "userinfo"])
def test_what_a_provider_sends_back_is_masked(idp: OAuthServer, name: str, kind: str) -> None:
    for endpoint in ("token", "revoke", "userinfo"):
        idp.odd[endpoint] = parrot(400, kind)
    with pytest.raises(OAuthError) as raised:
        asks(idp)[name]()
    error = raised.value
    told = "".join(traceback.format_exception(error)) + repr(error) + error.detail
    assert "***" in error.detail
    sent = [
        value for _, fields in idp.calls for key, value in fields.items() if "assertion" in key and "type" not in key
    ]
    for secret in (CODE, VERIFIER, REFRESH, ACCESS, SECRET, *sent):
        assert secret not in told
        assert secret[-24:] not in told  # nor the end of it, for a long one
        assert quote(secret) not in told
        assert base64.b64encode(secret.encode()).decode() not in told


def test_nothing_secret_is_logged_however_much_is_logged(
    idp: OAuthServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = exchanged(idp, client)
    authorization.identity(client, idp.rules, Deadline(5), tokens=tokens, nonce="nonce")
    newer = refreshed(idp, client, tokens.refresh)
    authorization.try_app(client, idp.rules, Deadline(5), redirect_uri=BACK)
    authorization.revoke(client, idp.rules, Deadline(5), token=newer.refresh)
    sent = [
        fields[name]
        for _, fields in idp.calls
        for name in ("code", "code_verifier", "refresh_token", "client_secret", "token")
        if name in fields
    ]
    assert len(sent) >= 9
    for secret in (SECRET, tokens.access, tokens.refresh, tokens.id_token, newer.access, newer.refresh, *sent):
        assert secret not in caplog.text


def test_a_token_in_the_url_that_mail_ru_wants_is_logged_and_told_nowhere(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with OAuthServer(town.folder, town=town, host="oauth.mail.ru") as there:
        client = client_of(there, jwks_url="")
        told = authorization.Tokens(ACCESS, expires_at=datetime.now(UTC))
        for odd in (oauth_odd.html(), oauth_odd.moved("/"), oauth_odd.error("invalid_token"), oauth_odd.huge()):
            there.odd["userinfo"] = odd
            with pytest.raises(MailError) as raised:
                authorization.identity(client, there.rules, Deadline(5), tokens=told, nonce="")
            assert ACCESS not in "".join(traceback.format_exception(raised.value)) + raised.value.detail
        assert there.count("userinfo", access_token=ACCESS) == 4
    with pytest.raises(MailError) as raised:  # Nobody listens there any more.
        authorization.identity(client, there.rules, Deadline(5), tokens=told, nonce="")
    assert ACCESS not in "".join(traceback.format_exception(raised.value)) + caplog.text


def test_no_value_shows_what_it_holds(idp: OAuthServer, client: Client) -> None:
    tokens = exchanged(idp, client)
    keyed = client_of(idp, auth=ClientAuth.KEY, key=pem(PRIVATE["ec"]))
    shown = repr([client, keyed, tokens]) + str(tokens)
    for secret in (SECRET, "PRIVATE KEY", tokens.access, tokens.refresh, tokens.id_token):
        assert secret not in shown
