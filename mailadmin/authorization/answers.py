"""What came back from a token URL and its like: one JSON object, or a reason why there is none."""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from mailadmin.authorization.contract import OAuthError, Tokens
from mailadmin.authorization.refusals import TOO_MANY, cleaned, refused
from mailadmin.mail.errors import Category

SHORTEST, USUAL, LONGEST = 60, 3600, 24 * 3600  # seconds of an access token
_GOOD = range(200, 300)
_BUSY = (408, TOO_MANY, *range(500, 600))
_PARAMETER = re.compile(r'\b(error|error_description)="([^"\\]{1,500})"')
# What of our requests nobody may see in an error.
_SECRET = frozenset(
    {"code", "code_verifier", "refresh_token", "client_secret", "client_assertion", "assertion", "token"}
)


def read(answer: Any) -> dict[str, Any]:
    """The fields of `answer`, a response of requests. Raises OAuthError for an error and for what is no answer."""
    host, secrets = urlsplit(answer.url).hostname or "", secrets_of(answer.request)
    failed = answer.status_code not in _GOOD
    fields = _object(answer.content)
    if fields is None and failed:
        fields = _challenge(answer.headers)
    if fields is not None and (fields.get("error") or failed):
        raise refused(fields, host=host, status=answer.status_code, headers=answer.headers, secrets=secrets)
    if failed and answer.status_code in _BUSY:
        raise refused({}, host=host, status=answer.status_code, headers=answer.headers)
    if fields is None:
        raise strange(
            f"The provider’s answer (status {answer.status_code}) is not one of a sign-in service.",
            detail=cleaned(answer.content, secrets),
        )
    return fields


def strange(sentence: str, *, detail: str = "", permanent: bool = False) -> OAuthError:
    """An answer that cannot be understood."""
    return OAuthError(Category.PROTOCOL, sentence, detail=detail, permanent=permanent)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _challenge(headers: Mapping[str, str]) -> dict[str, Any] | None:
    """The error of a header, where a resource says it (RFC 6750 3)."""
    found = dict(_PARAMETER.findall(headers.get("WWW-Authenticate", "")))
    return found if "error" in found else None


def secrets_of(request: Any) -> tuple[str, ...]:
    """What of `request` is secret: it is masked should the provider repeat it."""
    body = request.body or ""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    found = [value for name, value in parse_qsl(text) if name in _SECRET]
    found += [value for name, value in parse_qsl(urlsplit(request.url or "").query) if name == "access_token"]
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return (*found, *([credentials, *_password(kind, credentials)] if credentials else ()))


def _password(kind: str, credentials: str) -> Iterable[str]:
    if kind.lower() != "basic":
        return ()
    try:
        password = base64.b64decode(credentials).decode("utf-8", "replace").partition(":")[2]
    except binascii.Error:
        return ()
    return (password, unquote(password))


def tokens(fields: dict[str, Any]) -> Tokens:
    """The tokens among the `fields` of an answer (RFC 6749 5.1). Raises OAuthError."""
    access, refresh = _text(fields.get("access_token")), _text(fields.get("refresh_token"))
    if not access or not f"{access}{refresh}".isascii() or not f"{access}{refresh}".isprintable():
        raise strange("The provider’s answer holds no access token, or one with signs that no token has.")
    kind = fields.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise strange("The provider gives a kind of token that mail servers do not take.")
    return Tokens(
        access=access,
        expires_at=datetime.now(UTC) + timedelta(seconds=_seconds(fields.get("expires_in"))),
        refresh=refresh,
        scopes=_scopes(fields.get("scope")),
        id_token=_text(fields.get("id_token")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float:
    """How long a token is good, by whatever a provider wrote there; between a minute and a day."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return USUAL
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return LONGEST if isinstance(value, int) and value > 0 else USUAL
    return USUAL if math.isnan(seconds) else min(max(seconds, SHORTEST), LONGEST)


def _scopes(value: object) -> frozenset[str] | None:
    """What was granted: words with blanks between them (RFC 6749 3.3); some write commas, or a list."""
    if isinstance(value, str):
        value = value.split() if " " in value else value.split(",")
    if not isinstance(value, list):
        return None
    return frozenset(scope for scope in value if isinstance(scope, str) and scope and scope.isprintable()) or None
