"""What we ask a provider for: consent through the browser, tokens for it, and that they end."""

import secrets
from typing import Any

from authlib.common.urls import add_params_to_uri
from authlib.integrations.requests_client import OAuth2Session

from mailadmin.authorization import answers, keys
from mailadmin.authorization.contract import Client, ClientAuth, OAuthError, Tokens
from mailadmin.authorization.session import check, opened
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Rules

_DONE = 200
# Not to be replaced by what an administrator adds to a request.
_OURS = frozenset(
    {"client_id", "response_type", "redirect_uri", "scope", "state", "nonce", "login_hint"}
    | {"code_challenge", "code_challenge_method", "response_mode", "request", "request_uri"}
)


def new_verifier() -> str:
    """A PKCE code verifier (RFC 7636 4.1)."""
    return secrets.token_urlsafe(64)


def authorization_url(
    client: Client, *, redirect_uri: str, state: str, verifier: str, nonce: str, login_hint: str = ""
) -> str:
    """Where the browser goes to ask the owner (RFC 6749 4.1.1), with PKCE S256 (RFC 7636 4.2). Raises OAuthError."""
    added = [(name, value) for name, value in client.parameters if name not in _OURS]
    with OAuth2Session(
        client.client_id, scope=" ".join(client.scopes), redirect_uri=redirect_uri, code_challenge_method="S256"
    ) as session:
        url, _ = session.create_authorization_url(
            add_params_to_uri(check(client.authorize_url), added),
            state=state,
            code_verifier=verifier,
            nonce=nonce or None,
            login_hint=login_hint or None,
        )
    return str(url)


def exchange(
    client: Client, rules: Rules, deadline: Deadline, *, code: str, verifier: str, redirect_uri: str
) -> Tokens:
    """Turn an authorization code into tokens (RFC 6749 4.1.3). Raises OAuthError or MailError."""
    return _tokens(
        client,
        rules,
        deadline,
        grant_type="authorization_code",
        code=code,
        code_verifier=verifier,
        redirect_uri=redirect_uri,
    )


def refresh(client: Client, rules: Rules, deadline: Deadline, *, refresh_token: str) -> Tokens:
    """New tokens (RFC 6749 6). `invalid_grant` is category oauth and permanent; 5xx, 429 and silence are not.

    No scope is sent: without one a provider gives what the owner once agreed to, with one it refuses what they did not.
    """
    return _tokens(client, rules, deadline, grant_type="refresh_token", refresh_token=refresh_token)


def client_credentials(client: Client, rules: Rules, deadline: Deadline) -> Tokens:
    """A token for the app itself (RFC 6749 4.4), for `client.scopes`."""
    return _tokens(client, rules, deadline, grant_type="client_credentials", scope=" ".join(client.scopes))


def _tokens(client: Client, rules: Rules, deadline: Deadline, **fields: str) -> Tokens:
    url = check(client.token_url)
    with opened(client, rules, deadline) as session:
        return answers.tokens(session.fetch_token(url, **fields))


def service_account(
    key_file: str, rules: Rules, deadline: Deadline, *, subject: str, scopes: tuple[str, ...], token_url: str
) -> Tokens:
    """A token for the mailbox `subject` with the JSON key of a Google service account (RFC 7523 2.1)."""
    url = check(token_url)
    assertion = keys.service_account_assertion(key_file, subject=subject, scopes=scopes, token_url=url)
    nobody = Client("", url, ClientAuth.NONE)  # The assertion itself shows who asks.
    with opened(nobody, rules, deadline) as session:
        return answers.tokens(session.fetch_token(url, grant_type=keys.JWT_BEARER, assertion=assertion, auth=_as_it_is))


def _as_it_is(request: Any) -> Any:
    return request


def revoke(client: Client, rules: Rules, deadline: Deadline, *, token: str, hint: str = "refresh_token") -> None:
    """Tell the provider that `token` is not needed any more (RFC 7009). Raises OAuthError or MailError."""
    url = check(client.revocation_url)
    with opened(client, rules, deadline) as session:
        answer = session.revoke_token(url, token=token, token_type_hint=hint)
        if answer.status_code == _DONE:
            return
        try:
            answers.read(answer)
        except OAuthError as error:
            if error.error == "invalid_token":  # Google's way to say that it is gone already; RFC 7009 2.2 says 200.
                return
            raise


def try_app(client: Client, rules: Rules, deadline: Deadline, *, redirect_uri: str) -> OAuthError | None:
    """Ask for tokens with a code that cannot be good: None if the app itself was accepted (`invalid_grant`), else what
    is wrong with it. Raises MailError when the server was not reached, or gave no answer that says anything."""
    made_up = secrets.token_urlsafe(32)
    try:
        exchange(client, rules, deadline, code=made_up, verifier=new_verifier(), redirect_uri=redirect_uri)
    except OAuthError as error:
        if error.error == "invalid_grant":
            return None
        if error.permanent:
            return error
        raise
    return OAuthError(Category.PROTOCOL, "The provider gives tokens for a code that we made up.", permanent=True)
