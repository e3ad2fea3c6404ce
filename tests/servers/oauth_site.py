"""The pages and endpoints of the OAuth server of the tests, as one Flask app."""

import json
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import OAuth2Error
from flask import Flask, Response, jsonify, request
from werkzeug.routing import BaseConverter

from tests.servers import oauth_grants, oauth_odd
from tests.servers.oauth_store import App, Token

if TYPE_CHECKING:
    from tests.servers.oauth import OAuthServer

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui;max-width:32rem;margin:3rem auto}}button{{margin-right:.5rem}}</style>
<h1>{title}</h1>{body}</html>"""


def make(idp: "OAuthServer") -> Flask:
    """The site of `idp`."""
    app = Flask("oauth")
    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    server = AuthorizationServer(
        app, query_client=lambda name: idp.store.apps.get(name), save_token=lambda *given: _keep(idp, *given)
    )
    server.register_token_generator("default", lambda **asked: _made(idp, **asked))
    oauth_grants.register(idp, server)
    _judge_first(app, idp)
    _authorization(app, idp, server)
    _tokens(app, idp, server)
    _people(app, idp)
    _metadata(app, idp)
    return app


def _judge_first(app: Flask, idp: "OAuthServer") -> None:
    @app.before_request
    def odd() -> Response | None:
        endpoint = request.endpoint or ""
        idp.paths.append(request.path)
        idp.note(endpoint, request.form.to_dict() if request.method == "POST" else request.args.to_dict())
        return idp.odd[endpoint]() if endpoint in idp.odd else None


def _authorization(app: Flask, idp: "OAuthServer", server: AuthorizationServer) -> None:
    @app.get("/authorize", endpoint="authorize")
    def ask() -> Response | str | tuple[str, int]:
        try:
            grant = server.get_consent_grant(end_user=None)
        except OAuth2Error as error:
            return _refused(idp, server, error)
        return _consent(idp, grant)

    @app.post("/authorize", endpoint="decide")
    def decide() -> Response | tuple[str, int]:
        person = idp.store.people.get(request.form.get("who", ""))
        allowed = request.form.get("decision") == "allow"
        try:
            grant = server.get_consent_grant(end_user=person)
        except OAuth2Error as error:
            return _refused(idp, server, error)
        grant.request.agreed_scope = " ".join(request.form.getlist("agreed"))
        answer = server.create_authorization_response(grant=grant, grant_user=person if allowed else None)
        return _returned(idp, answer)


def _consent(idp: "OAuthServer", grant: Any) -> str:
    """A page on which somebody says who they are, and whether and to what they agree."""
    asked = grant.request.payload
    hint = asked.data.get("login_hint", "")
    people = "".join(
        f'<p><label><input type="radio" name="who" value="{escape(person.address)}" required'
        f"{' checked' if person.address == hint else ''}> {escape(person.address)}</label></p>"
        for person in idp.store.people.values()
    )
    scopes = "".join(
        f'<p><label><input type="checkbox" name="agreed" value="{escape(scope)}" checked> {escape(scope)}</label></p>'
        for scope in (asked.scope or "").split()
    )
    body = (
        f'<p>The app <b>{escape(asked.client_id)}</b> asks for access.</p><form method="post">'
        f"<fieldset><legend>Who signs in</legend>{people}</fieldset>"
        f"<fieldset><legend>What it may do</legend>{scopes}</fieldset><p>"
        '<button name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny" formnovalidate>Deny</button></p></form>'
    )
    return _PAGE.format(title=escape(f"Sign in at {urlsplit(idp.url).hostname}"), body=body)


def _refused(idp: "OAuthServer", server: AuthorizationServer, error: OAuth2Error) -> Response | tuple[str, int]:
    """What is wrong with a request: told to the app only where its redirect URI is known to be its own."""
    if getattr(error, "redirect_uri", None):
        return _returned(idp, server.handle_error_response(None, error))
    said = f"{error.error}: {error.description or error.get_error_description()}"
    return _PAGE.format(title="This request is not right", body=f"<p>{escape(said)}</p>"), 400


def _returned(idp: "OAuthServer", answer: Response) -> Response:
    """Say who we are beside the answer (RFC 9207), and the provider's own words beside an error."""
    if not answer.location:
        return answer
    place, _, query = answer.location.partition("?")
    fields = dict(parse_qsl(query))
    if words := oauth_odd.text(idp.flavour, fields.get("error", "")):
        fields["error_description"] = words
    if idp.says_issuer:
        fields["iss"] = idp.issuer
    answer.location = f"{place}?{urlencode(fields | idp.odd_return)}"
    return answer


def _made(idp: "OAuthServer", *, grant_type: str, client: App, user: Any = None, scope: str = "", **asked: Any) -> Any:
    """A fresh token answer."""
    made = {"token_type": "Bearer", "access_token": idp.new_token(), "expires_in": idp.expires_in}
    if asked.get("include_refresh_token", True) and grant_type != "client_credentials":
        made["refresh_token"] = idp.new_token()
    return made | ({"scope": scope} if scope else {})


def _keep(idp: "OAuthServer", made: dict[str, Any], asked: Any) -> None:
    """Remember a token answer, and finish it."""
    code, before = asked.authorization_code, asked.refresh_token
    if code is not None and not code.wants_refresh:
        made.pop("refresh_token", None)
    person = asked.user
    token = Token(
        access=made["access_token"],
        refresh=made.get("refresh_token", ""),
        client_id=asked.client.client_id,
        identity=person.address if person else asked.client.client_id,
        scope=made.get("scope", ""),
        family=code.family if code else before.family if before else idp.new_token(),
        expires_in=idp.expires_in,
        user=person,
    )
    idp.store.keep(token)
    if before is not None and idp.rotates:
        before.is_ended = True
    if "openid" in token.scope.split() and person:
        told = code.proofs if code else {}
        made["id_token"] = idp.id_token(person, token.client_id, code.nonce if code else "", told)


def _tokens(app: Flask, idp: "OAuthServer", server: AuthorizationServer) -> None:
    @app.post("/token", endpoint="token")
    def token() -> Response:
        if request.form.get("grant_type") == oauth_grants.JWT_BEARER:
            try:
                answer = jsonify(oauth_grants.for_a_service_account(idp, request.form.to_dict()))
            except OAuth2Error as error:
                answer = jsonify(dict(error.get_body()))
                answer.status_code = 400
            return answer
        answer = server.create_token_response()
        fields = json.loads(answer.get_data())
        if words := oauth_odd.text(idp.flavour, fields.get("error", ""), request.form.get("client_id", "")):
            fields["error_description"] = words
        if "access_token" in fields:
            idp.change_answer(fields)
        answer.set_data(json.dumps(fields))
        return answer

    @app.post("/revoke", endpoint="revoke")
    def revoke() -> Response:
        return server.create_endpoint_response("revocation")


def _people(app: Flask, idp: "OAuthServer") -> None:
    @app.get("/userinfo", endpoint="userinfo")
    def userinfo() -> Response:
        kind, _, access = request.headers.get("Authorization", "").partition(" ")
        token = idp.store.access.get(access or request.args.get("access_token", ""))
        if kind not in idp.userinfo_takes or token is None or not token.is_good or token.user is None:
            refusal = jsonify(error="invalid_token")
            refusal.status_code = 401
            return refusal
        return jsonify(idp.userinfo(token.user))

    @app.get("/jwks", endpoint="jwks")
    def jwks() -> Response:
        return jsonify(keys=[idp.key.as_dict(private=False)])


class _Tenant(BaseConverter):
    regex = "[^.].*?"
    part_isolating = False


def _metadata(app: Flask, idp: "OAuthServer") -> None:
    app.url_map.converters["tenant"] = _Tenant

    @app.get("/.well-known/oauth-authorization-server", endpoint="rfc8414")
    @app.get("/.well-known/oauth-authorization-server/<tenant:tenant>", endpoint="rfc8414")
    def rfc8414(tenant: str = "") -> Response:
        return jsonify(idp.metadata())

    @app.get("/.well-known/openid-configuration", endpoint="openid")
    @app.get("/<tenant:tenant>/.well-known/openid-configuration", endpoint="openid")
    def openid(tenant: str = "") -> Response:
        return jsonify(idp.metadata())


def introspection(idp: "OAuthServer") -> Flask:
    """What mail servers ask, on plain http: whether a token is good, and whose it is."""
    app = Flask("introspection")

    @app.post("/introspect", endpoint="introspect")
    def introspect() -> Response:
        mailbox = request.args.get("mailbox", "")
        idp.note("introspect", {"mailbox": mailbox})
        token = idp.store.access.get(request.form.get("token", ""))
        if token is None or not idp.opens(token, mailbox):
            return jsonify(active=False)
        end = int(token.issued_at + token.expires_in)
        user = mailbox or token.identity
        return jsonify(active=True, username=user, scope=token.scope, client_id=token.client_id, exp=end)

    return app
