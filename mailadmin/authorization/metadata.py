"""What an issuer publishes about itself (RFC 8414, OpenID Connect Discovery 1.0)."""

import re
from urllib.parse import urlsplit

from mailadmin.authorization.answers import strange
from mailadmin.authorization.contract import Metadata, OAuthError
from mailadmin.authorization.session import check, fetched
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category
from mailadmin.mail.https import Moved
from mailadmin.mail.types import Rules

TENANT = "{tenantid}"
_URLS = {
    "authorize_url": "authorization_endpoint",
    "token_url": "token_endpoint",
    "jwks_url": "jwks_uri",
    "userinfo_url": "userinfo_endpoint",
    "revocation_url": "revocation_endpoint",
}
# Microsoft's: the tenant, by number or by name, and the version behind it.
_OF_A_TENANT = re.compile(r"https://[^/]+/(?P<tenant>[^/]+)/v2\.0")
_NUMBER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def discover(issuer: str, rules: Rules, deadline: Deadline) -> Metadata:
    """What `issuer` publishes (RFC 8414 3, else OpenID Connect Discovery 4). Raises OAuthError or MailError."""
    parts = urlsplit(check(issuer))
    if parts.query:
        raise OAuthError(Category.CONFIG, "The issuer is a URL without a question mark.")
    place, path = f"https://{parts.netloc}", parts.path.rstrip("/")
    first = f"{place}/.well-known/oauth-authorization-server{path}"
    second = f"{place}{path}/.well-known/openid-configuration"
    try:
        return _published(first, issuer, rules, deadline)
    except (OAuthError, Moved) as error:  # Where nothing is, there may be all sorts of answers.
        first_error = error
    try:
        return _published(second, issuer, rules, deadline)
    except (OAuthError, Moved) as second_error:
        raise (first_error if first_error.permanent else second_error) from None


def _published(url: str, issuer: str, rules: Rules, deadline: Deadline) -> Metadata:
    fields = fetched(url, rules, deadline)
    said = fields.get("issuer")
    if not isinstance(said, str) or not is_same(issuer, said):
        raise strange("What the issuer publishes is about another issuer.", permanent=True)
    urls = {ours: check(fields[theirs]) for ours, theirs in _URLS.items() if isinstance(fields.get(theirs), str)}
    if "token_url" not in urls:
        raise strange("What the issuer publishes does not say where tokens are to be had.", permanent=True)
    methods = fields.get("code_challenge_methods_supported")
    return Metadata(
        issuer=said,
        scopes=_words(fields.get("scopes_supported")),
        has_pkce="S256" in methods if isinstance(methods, list) else None,
        says_issuer=fields.get("authorization_response_iss_parameter_supported") is True,
        **urls,
    )


def _words(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    return tuple(word for word in listed if isinstance(word, str) and word.isprintable())


def is_same(asked: str, said: str) -> bool:
    """Whether an issuer that calls itself `said` is the one that was `asked` (RFC 8414 3.3).

    A slash at the end is what people forget. Microsoft answers for a tenant with its number, or with a place for one.
    """
    if asked.rstrip("/") == said.rstrip("/"):
        return True
    ours, theirs = _OF_A_TENANT.fullmatch(asked.rstrip("/")), _OF_A_TENANT.fullmatch(said)
    if ours is None or theirs is None or (_NUMBER.fullmatch(ours["tenant"]) and theirs["tenant"] != TENANT):
        return False
    is_tenant = theirs["tenant"] == TENANT or _NUMBER.fullmatch(theirs["tenant"]) is not None
    return is_tenant and said == asked.rstrip("/").replace(f"/{ours['tenant']}/", f"/{theirs['tenant']}/", 1)
