"""Odd answers that the OAuth server of the tests gives when it is told to: `idp.odd["token"] = html()`."""

import gzip
import json
import threading
from collections.abc import Callable

from flask import Response

Odd = Callable[[], Response | None]  # None: go on as usual

# What providers say beside the error, word for word; only the error beside it decides.
TEXTS = {
    "microsoft": {
        "invalid_client": "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request "
        "is the client secret value, not the client secret ID, for a secret added to app '{client_id}'.",
        "expired_secret": "AADSTS7000222: The provided client secret keys for app '{client_id}' are expired. Visit the "
        "Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate "
        "credentials for added security: https://aka.ms/certCreds.",
        "invalid_grant": "AADSTS70008: The provided authorization code or refresh token has expired due to inactivity. "
        "Send a new interactive authorization request for this user and resource.",
        "unauthorized_client": "AADSTS700016: Application with identifier '{client_id}' was not found in the directory "
        "'Harbour'.",
        "invalid_scope": "AADSTS70011: The provided request must include a 'scope' input parameter.",
        "access_denied": "AADSTS65004: User declined to consent to access the app.",
    },
    "google": {
        "invalid_client": "The provided client secret is invalid.",
        "expired_secret": "The provided client secret is invalid.",
        "invalid_grant": "Token has been expired or revoked.",
        "access_denied": "",
    },
}
_TRACE = (
    " Trace ID: 0f2c1a5e-0000-4000-8000-00000000abcd Correlation ID: 6b7e1f2a-0000-4000-8000-00000000dcba"
    " Timestamp: 2026-11-22 10:00:00Z"
)


def text(flavour: str, error: str, client_id: str = "") -> str:
    """What a provider of that `flavour` says beside `error`."""
    said = TEXTS.get(flavour, {}).get(error, "").format(client_id=client_id)
    return said + _TRACE if said.startswith("AADSTS") else said


def says(body: bytes | str, *, status: int = 200, kind: str = "application/json", **headers: str) -> Odd:
    """Exactly this; of the names of `headers` underscores become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: Response(body, status=status, content_type=kind, headers=named)


def error(code: str, description: str = "", *, status: int = 400, suberror: str = "") -> Odd:
    """An error of RFC 6749 5.2."""
    fields = {"error": code, "error_description": description, "suberror": suberror}
    return says(json.dumps({name: value for name, value in fields.items() if value}), status=status)


def expired_secret(client_id: str = "mailadmin") -> Odd:
    """What Microsoft says once the secret of an app has run out."""
    return error("invalid_client", text("microsoft", "expired_secret", client_id), status=401)


def html(status: int = 200) -> Odd:
    """The page of a proxy in the way."""
    return says("<!doctype html><title>Sign in to the network</title>", status=status, kind="text/html")


def broken() -> Odd:
    """JSON that breaks off."""
    return says('{"access_token": "half')


def huge(size: int = 3 << 20) -> Odd:
    """A good answer with more around it than anybody wants."""
    return says('{"access_token": "x", "token_type": "Bearer", "padding": "' + "x" * size + '"}')


def packed() -> Odd:
    """A gzip bomb: 64 MiB of blanks in 64 KiB."""
    return says(gzip.compress(b"{" + b" " * (64 << 20) + b"}", 9), Content_Encoding="gzip")


def throttled(seconds: int | str = 120) -> Odd:
    """Too many requests; come back after `seconds`."""
    return says('{"error": "temporarily_unavailable"}', status=429, Retry_After=str(seconds))


def status(code: int) -> Odd:
    """Nothing but a status."""
    return says("", status=code, kind="text/plain")


def moved(url: str, code: int = 307) -> Odd:
    """A redirect, which would take secrets along to `url`."""
    return says("", status=code, Location=url)


def silence(seconds: float, ended: threading.Event) -> Odd:
    """No answer for so long, or until the server is closed (`idp.closing`); then the usual one."""

    def wait() -> None:
        ended.wait(seconds)

    return wait
