"""What an error of a provider means. `error`, `suberror` and the status decide; the words beside them only explain."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from mailadmin.authorization.contract import OAuthError
from mailadmin.mail import catalogue
from mailadmin.mail.errors import PERMANENT, Category
from mailadmin.mail.scrub import LONGEST, scrub

LONGEST_WAIT = 24 * 3600  # seconds
TOO_MANY = 429
_REQUEST_TIMEOUT = 408
_SERVER_ERRORS = range(500, 600)

# RFC 6749 4.1.2.1 and 5.2, RFC 7009 2.2.1, OpenID Connect Core 3.1.2.6, and what providers added to them.
_MEANINGS = {
    Category.OAUTH: "invalid_grant access_denied interaction_required login_required consent_required user_cancelled"
    " account_selection_required invalid_token expired_token insufficient_scope unmet_authentication_requirements"
    " invalid_code bad_verification_code unauthenticated permission_denied",
    Category.CONFIG: "invalid_client unauthorized_client invalid_scope invalid_request unsupported_grant_type"
    " unsupported_response_type unsupported_token_type redirect_uri_mismatch invalid_redirect_uri invalid_resource"
    " invalid_target deleted_client disabled_client org_internal admin_policy_enforced invalid_client_secret"
    " incorrect_client_credentials unsupported_response_mode request_not_supported",
    Category.UNAVAILABLE: "temporarily_unavailable server_error slow_down unavailable internal internal_failure",
    Category.THROTTLED: "resource_exhausted rate_limit_exceeded ratelimitexceeded too_many_requests quota_exceeded",
}
_CATEGORIES = {error: category for category, errors in _MEANINGS.items() for error in errors.split()}
_SENTENCES = {
    "invalid_grant": "The provider no longer accepts this sign-in.",
    "access_denied": "Whoever signed in did not agree, or was not allowed to.",
    "invalid_client": "The provider does not accept the credentials of our app.",
    "unauthorized_client": "The provider does not allow our app to sign in this way.",
    "invalid_scope": "The provider does not know a permission that we ask for.",
    "redirect_uri_mismatch": "The provider does not know the redirect URI of our app.",
    "invalid_redirect_uri": "The provider does not know the redirect URI of our app.",
}
_USUALLY = {
    Category.OAUTH: "The provider wants somebody to sign in again.",
    Category.CONFIG: "The provider refuses our request: something in the app’s settings is not right.",
    Category.UNAVAILABLE: "The provider’s sign-in service is not available at the moment.",
    Category.THROTTLED: "The provider wants fewer requests for tokens.",
    Category.PROTOCOL: "The provider refuses with an error that we do not know.",
}
_JWT = re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)*")
_MARK = re.compile(r"[\w:. +-]{1,60}")  # whatever is longer is something else, and may be secret
_TRACES = re.compile(r"\s*(?:Trace ID|Correlation ID|Timestamp): .*$", re.DOTALL)


def refusal(error: str, description: str, *, host: str = "") -> OAuthError:
    """What an error that came back through the browser (RFC 6749 4.1.2.1) means."""
    return refused({"error": error, "error_description": description}, host=host)


def refused(
    fields: Mapping[str, Any],
    *,
    host: str,
    status: int = 400,
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
) -> OAuthError:
    """The error that the `fields` of an answer, its `status` and `headers` stand for; `secrets` are masked in it."""
    error, description = _said(fields)
    suberror = _text(fields.get("suberror"))
    category = _category(error, suberror, status)
    permanent = category in PERMANENT
    known = _legible(error)
    return OAuthError(
        category,
        _SENTENCES.get(known, _USUALLY[category]),
        error=known,
        suberror=_legible(suberror),
        retry_after=retry_after(headers or {}) if not permanent else None,
        detail=_detail(error, suberror, description, fields, tuple(secrets)),
        permanent=permanent,
        code=_explained(f"{error}: {description}" if description else error, host, permanent),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds after which we may come back (RFC 9110 10.2.3), at most a day; None if that is not said."""
    said = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", said, re.ASCII):
        seconds = float(said)
    else:
        try:
            moment = parsedate_to_datetime(said)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), float(LONGEST_WAIT))


def _category(error: str, suberror: str, status: int) -> Category:
    if status == TOO_MANY:
        return Category.THROTTLED
    if status in _SERVER_ERRORS or status == _REQUEST_TIMEOUT:
        return Category.UNAVAILABLE
    # Where the error is a word that we do not know, Microsoft's finer one may be known.
    found = (_CATEGORIES.get(_legible(word)) for word in (error, suberror))
    return next((category for category in found if category), Category.PROTOCOL)


def _said(fields: Mapping[str, Any]) -> tuple[str, str]:
    """The error and the words beside it; Google's other services put both into an object."""
    error = fields.get("error")
    if isinstance(error, Mapping):
        name = error.get("status") or error.get("code")
        return _text(name), _text(error.get("message"))
    return _text(error), _text(fields.get("error_description") or fields.get("message"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def _legible(word: str) -> str:
    """An error as we compare and store it: short, lower case, and nothing but a word."""
    return re.sub(r"[^a-z0-9_.-]+", "_", word.strip().lower())[:60]


def _detail(error: str, suberror: str, description: str, fields: Mapping[str, Any], secrets: tuple[str, ...]) -> str:
    """The provider's words, and at their end what its support asks for (Entra: correlation id and time)."""
    names = {"Correlation ID": "correlation_id", "Timestamp": "timestamp"}
    marks = {label: _text(fields.get(name)) or _after(description, label) for label, name in names.items()}
    end = cleaned("".join(f" {label}: {mark}" for label, mark in marks.items() if _MARK.fullmatch(mark)), secrets)
    said = f"{error} ({suberror})" if suberror else error
    words = _TRACES.sub("", description) if end else description
    begin = cleaned(": ".join(part for part in (said, words) if part), secrets)
    room = LONGEST - len(end) - 1
    return f"{begin if len(begin) <= room else begin[: room - 1] + '…'} {end}".strip()


def _after(description: str, label: str) -> str:
    found = re.search(rf"{label}: ([\w-]+(?:[ T][\d:.]+Z?)?)", description)
    return found[1] if found else ""


def cleaned(text: str, secrets: Iterable[str]) -> str:
    """`text` of a provider, fit to be stored: scrubbed, and without anything that looks like a token."""
    return _JWT.sub("***", scrub(text, secrets))


def _explained(text: str, host: str, permanent: bool) -> str:
    """The id of the rule that explains `text`: none where it contradicts what the error itself says."""
    found = catalogue.find(text, where="oauth", family=catalogue.family_of(host), method="oauth", sure=True)
    if found is None or found.category is None or (found.category in PERMANENT) != permanent:
        return ""
    return found.id
