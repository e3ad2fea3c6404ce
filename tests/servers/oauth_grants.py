"""The grants of the OAuth server of the tests: Authlib's, with PKCE and strict rotation, and Google's by hand."""

import json
import time
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import InvalidRequestError, grants
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidGrantError, OAuth2Error, UnauthorizedClientError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc7636 import CodeChallenge
from joserfc import jws, jwt
from joserfc.errors import JoseError

from tests.servers.oauth_store import App, Code, Person, Token

if TYPE_CHECKING:
    from tests.servers.oauth import OAuthServer

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_METHODS = ["private_key_jwt", "client_secret_basic", "client_secret_post", "none"]


def register(idp: "OAuthServer", server: Any) -> None:
    """Teach `server` all grants, with `idp` as its memory."""

    class ForTheApp(grants.ClientCredentialsGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = _METHODS[:-1]

    server.register_client_auth_method("private_key_jwt", assertion(idp))
    server.register_grant(by_code(idp), [CodeChallenge(required=True)])
    server.register_grant(by_refresh_token(idp))
    server.register_grant(ForTheApp)
    server.register_endpoint(revocation(idp))


def by_code(idp: "OAuthServer") -> type[grants.AuthorizationCodeGrant]:
    """RFC 6749 4.1, with PKCE (RFC 7636) for everybody."""

    class Authorization(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

        def validate_authorization_request(self) -> str:
            redirect_uri = str(super().validate_authorization_request())
            asked = self.request.payload.data
            if not asked.get("code_challenge") or asked.get("code_challenge_method") != "S256":
                raise InvalidRequestError("PKCE with S256 is required.", redirect_uri=redirect_uri)
            return redirect_uri

        def save_authorization_code(self, code: str, request: Any) -> None:
            asked = request.payload.data
            idp.store.codes[code] = Code(
                code=code,
                client_id=request.client.client_id,
                redirect_uri=request.payload.redirect_uri or "",
                scope=request.agreed_scope,
                user=request.user,
                nonce=asked.get("nonce", ""),
                code_challenge=asked["code_challenge"],
                code_challenge_method="S256",
                wants_refresh=idp.wants_refresh(asked, request.user),
                proofs=proofs(asked, request.user),
            )

        def query_authorization_code(self, code: str, client: App) -> Code | None:
            return idp.store.take_code(code, client.client_id)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            pass  # It went when it was asked for: two requests at once do not get two answers.

        def authenticate_user(self, authorization_code: Code) -> Person:
            return authorization_code.user

    return Authorization


def proofs(asked: dict[str, str], person: Person) -> dict[str, Any]:
    """What an id token says of how `person` proved who they are (OpenID Connect Core 2 and 3.1.2.1).

    Whoever did so longer than `max_age` ago does it again. `acrs` is Microsoft's way to ask for a class and to tell it.
    """
    told: dict[str, Any] = {"amr": list(person.methods)} if person.methods else {}
    if asked.get("max_age"):
        if time.time() - person.proved_at > int(asked["max_age"]):
            person.proved_at = time.time()
        told["auth_time"] = int(person.proved_at)
    if asked.get("acr_values") and person.classes:
        told["acr"] = next((each for each in asked["acr_values"].split() if each in person.classes), person.classes[0])
    wanted = json.loads(asked.get("claims") or "{}").get("id_token", {}).get("acrs", {})
    reached = {wanted.get("value"), *wanted.get("values", ())} & set(person.classes)
    return told | ({"acrs": sorted(reached)} if reached else {})


def by_refresh_token(idp: "OAuthServer") -> type[grants.RefreshTokenGrant]:
    """RFC 6749 6, with rotation where the provider has it."""

    class Refresh(grants.RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = _METHODS
        INCLUDE_NEW_REFRESH_TOKEN = idp.flavour != "google"

        def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
            return idp.store.take_refresh(refresh_token, once=idp.rotates)

        def authenticate_user(self, refresh_token: Token) -> Person | None:
            return refresh_token.user

        def revoke_old_credential(self, refresh_token: Token) -> None:
            pass  # Done when it was used.

    return Refresh


def assertion(idp: "OAuthServer") -> JWTBearerClientAssertion:
    """How an app shows who it is by a signature (RFC 7523 2.2), as Microsoft wants it: with its certificate's hash."""

    class Assertion(JWTBearerClientAssertion):
        CLIENT_AUTH_METHOD = "private_key_jwt"

        def get_audiences(self) -> list[str]:
            return [idp.token_url]

        def resolve_client_public_key(self, client: App) -> Any:
            if client.key is None:
                raise InvalidClientError(description="The client has no key.")
            return client.key

        def process_assertion_claims(self, assertion: str, resolve_key: Any) -> Any:
            header, claims = self.extract_assertion(assertion)
            app = idp.store.apps[claims["sub"]]
            if app.thumbprint and header.get("x5t#S256") != app.thumbprint:
                raise InvalidClientError(description="The certificate is not one of this app.")
            # Keys are judged by their own kind: RSA by PS256, as Microsoft recommends, EC by ES256.
            try:
                token = jwt.decode(assertion, resolve_key, algorithms=["PS256", "ES256"])
            except JoseError as error:
                raise InvalidClientError(description="The assertion is not signed by this app.") from error
            self.verify_claims(token)
            return token.claims

        def verify_claims(self, claims: Any) -> None:
            super().verify_claims(claims.claims)

        def validate_jti(self, claims: Any, jti: str) -> bool:
            with idp.store.lock:
                is_new = jti not in idp.store.used_assertions
                idp.store.used_assertions.add(jti)
            return is_new

    return Assertion()


def revocation(idp: "OAuthServer") -> type[RevocationEndpoint]:
    """RFC 7009; a token takes everything of its family with it."""

    class Revocation(RevocationEndpoint):
        CLIENT_AUTH_METHODS = _METHODS

        def query_token(self, token_string: str, token_type_hint: str) -> Token | None:
            return idp.store.refresh.get(token_string) or idp.store.access.get(token_string)

        def revoke_token(self, token: Token, request: Any) -> None:
            idp.store.end_family(token.family)

    return Revocation


def for_a_service_account(idp: "OAuthServer", form: dict[str, str]) -> dict[str, Any]:
    """The answer to a signed request of a service account (RFC 7523 2.1). Raises OAuth2Error in Google's words."""
    text = form.get("assertion", "")
    try:
        issuer = idp.claims_of(text).get("iss", "")
        account = idp.store.service_accounts.get(issuer)
        if account is None:
            raise InvalidGrantError(description="Invalid grant: account not found")
        if jws.extract_compact(text.encode()).headers().get("kid") != account.key.kid:
            raise InvalidGrantError(description="Invalid JWT Signature.")
        claims = jwt.decode(text, account.key, algorithms=["RS256"]).claims
    except (JoseError, ValueError) as error:
        raise InvalidGrantError(description="Invalid JWT Signature.") from error
    _check_times(claims)
    if claims.get("aud") != idp.token_url:
        raise OAuth2Error(error="invalid_grant", description="Invalid JWT: Failed audience check.")
    subject, scopes = str(claims.get("sub", "")), str(claims.get("scope", "")).split()
    if subject.rpartition("@")[2] not in account.domains or not set(scopes) <= set(account.scopes):
        raise UnauthorizedClientError(
            description="Client is unauthorized to retrieve access tokens using this method, or client not authorized "
            "for any of the scopes requested."
        )
    if subject not in idp.store.people:
        raise InvalidGrantError(description="Invalid email or User ID")
    access = idp.issue(subject, client_id=account.email, scopes=scopes, refresh=False).access
    return {"access_token": access, "expires_in": idp.expires_in, "token_type": "Bearer"}


def _check_times(claims: dict[str, Any]) -> None:
    now, begin, end = time.time(), claims.get("iat", 0), claims.get("exp", 0)
    if not (now - 300 < begin <= now + 300 and now < end and end - begin <= 3600):
        raise InvalidGrantError(
            description="Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim."
        )
