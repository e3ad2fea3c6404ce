"""Who signed in: by an id token that is verified, or by the userinfo URL."""

import hmac
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard
from urllib.parse import urlencode, urlsplit

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from mailadmin.authorization.contract import Client, Identity, OAuthError, Tokens
from mailadmin.authorization.metadata import TENANT
from mailadmin.authorization.session import fetched
from mailadmin.mail.catalogue import family_of
from mailadmin.mail.deadline import Deadline
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import Rules

LEEWAY = 120  # seconds by which a provider's clock may differ
# Signatures with a public key only: never none, and never one that is made with our secret.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
_KINDS: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_ADDRESS = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}")
_TENANT_NUMBER = re.compile(r"[0-9A-Fa-f-]{36}")
_GOOGLE = "https://accounts.google.com"
# The tenant of all personal accounts at Microsoft, where addresses are checked.
_CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
_NAMES = ("name", "displayName", "display_name", "real_name")


def identity(client: Client, rules: Rules, deadline: Deadline, *, tokens: Tokens, nonce: str) -> Identity:
    """Who signed in: from the id token, its signature, issuer, audience, times and `nonce` verified, else from the
    userinfo URL. Raises OAuthError if what is there cannot be believed."""
    claims: dict[str, Any] = {}
    if tokens.id_token and client.jwks_url and client.issuer:
        claims = _verified(client, rules, deadline, tokens.id_token, nonce)
        if addresses := _of_claims(client, claims):
            return Identity(addresses, "id_token", _name(claims), _subject(claims), (), *_proofs(claims))
    if not client.userinfo_url:
        return Identity((), "", "", _subject(claims), _doubted(claims), *_proofs(claims))
    fields = _userinfo(client, rules, deadline, tokens.access)
    if "sub" in claims and fields.get("sub", claims["sub"]) != claims["sub"]:  # OpenID Connect Core 5.3.2
        raise _unbelievable("The userinfo URL speaks of somebody else than the id token.", "oauth_issuer")
    addresses = _of_userinfo(client, claims, fields)
    doubted = _doubted(claims) + _doubted(fields)
    return Identity(addresses, "userinfo", _name(fields) or _name(claims), _subject(claims), doubted, *_proofs(claims))


def _verified(client: Client, rules: Rules, deadline: Deadline, text: str, nonce: str) -> dict[str, Any]:
    """The claims of an id token (OpenID Connect Core 3.1.3.7). Raises OAuthError."""
    try:
        header = jws.extract_compact(text.encode()).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _unbelievable("The id token of the provider cannot be read.", "oauth_signature") from None
    if header.get("alg") not in ALGORITHMS:
        raise _unbelievable("The id token of the provider is not signed in a way that we trust.", "oauth_signature")
    claims = _opened(text, _fitting(fetched(client.jwks_url, rules, deadline), header.get("kid")))
    _check_parties(client, claims)
    _check_times(claims)
    if nonce and not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise _unbelievable("The id token of the provider belongs to another attempt.", "oauth_state_mismatch")
    return claims


def _fitting(published: Mapping[str, Any], key_id: object) -> Iterable[RSAKey | ECKey | OKPKey]:
    """The keys that may have signed: by name where one is given (RFC 7515 4.1.4)."""
    listed = published.get("keys")
    for data in listed if isinstance(listed, list) else []:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig" or str(data.get("kty")) not in _KINDS:
            continue
        if key_id is None or data.get("kid") == key_id:
            try:
                yield _KINDS[data["kty"]].import_key(data)
            except (JoseError, ValueError, TypeError, KeyError):
                continue


def _opened(text: str, keys: Iterable[RSAKey | ECKey | OKPKey]) -> dict[str, Any]:
    for key in keys:
        try:
            return dict(jwt.decode(text, key, algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError, TypeError, RecursionError):
            continue
    raise _unbelievable("The signature of the provider’s id token is not good.", "oauth_signature")


def _check_parties(client: Client, claims: Mapping[str, Any]) -> None:
    """Whether the token is from this issuer and for this app. Raises OAuthError."""
    tenant = claims.get("tid")
    issuer = client.issuer
    if TENANT in issuer and isinstance(tenant, str) and _TENANT_NUMBER.fullmatch(tenant):
        issuer = issuer.replace(TENANT, tenant)
    allowed = [issuer, *([_GOOGLE.removeprefix("https://")] if issuer == _GOOGLE else [])]
    if claims.get("iss") not in allowed:
        raise _unbelievable("The id token is from another issuer than our app’s provider.", "oauth_issuer")
    audience = claims.get("aud")
    everybody = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp", client.client_id if len(everybody) == 1 else None)
    if client.client_id not in everybody or party != client.client_id:
        raise _unbelievable("The id token of the provider is for another app.", "oauth_audience")


def _check_times(claims: Mapping[str, Any]) -> None:
    """Whether the token is good now. Raises OAuthError."""
    now, end, made = time.time(), claims.get("exp"), claims.get("iat")
    begin = claims.get("nbf", made)
    if not _is_time(end) or not _is_time(made) or not _is_time(begin):
        raise _unbelievable("The id token of the provider does not say when it is good.", "oauth_clock")
    if end < now - LEEWAY or max(made, begin) > now + LEEWAY:
        raise _unbelievable(
            "The id token of the provider is not good now: its clock and that of this server differ.", "oauth_clock"
        )


def _is_time(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # NaN is not itself.


def _of_claims(client: Client, claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses that an id token vouches for; at Microsoft the sign-in name first."""
    names = [claims.get("preferred_username"), claims.get("upn")] if _is_of_microsoft(client, claims) else []
    return _addresses([*names, claims.get("email") if _may_count(client, claims) and _is_verified(claims) else None])


def _is_of_microsoft(client: Client, claims: Mapping[str, Any]) -> bool:
    hosts = (urlsplit(url).hostname or "" for url in (client.issuer, client.userinfo_url))
    return isinstance(claims.get("tid"), str) or any(family_of(host) == "microsoft" for host in hosts)


def _may_count(client: Client, claims: Mapping[str, Any]) -> bool:
    """Whether an address counts that is no sign-in name.

    At Microsoft it is whatever the administrators of a tenant typed, be it the address of somebody elsewhere: it counts
    where we know whose tenant that is, and where Microsoft says that the domain is theirs. A sign-in name stands for a
    domain that was proven; that of a guest does not.
    """
    is_known = bool(client.issuer) and TENANT not in client.issuer
    is_proven = str(claims.get("xms_edov", "")).lower() in {"1", "true"} or claims.get("tid") == _CONSUMERS
    return is_known or is_proven or not _is_of_microsoft(client, claims)


def _is_verified(fields: Mapping[str, Any]) -> bool:
    """Whether nobody says that the address was never checked (OpenID Connect Core 5.1; Google's older name)."""
    return all(str(fields.get(name, True)).lower() != "false" for name in ("email_verified", "verified_email"))


def _userinfo(client: Client, rules: Rules, deadline: Deadline, access: str) -> dict[str, Any]:
    """What the userinfo URL says; Yandex and Mail.ru want the token in their own places."""
    url, family = client.userinfo_url, family_of(urlsplit(client.userinfo_url).hostname or "")
    if family == "mailru":
        try:
            return fetched(f"{url}{'&' if '?' in url else '?'}{urlencode({'access_token': access})}", rules, deadline)
        except MailError as error:
            raise error from None  # What a library says of it names the whole URL.
    kind = "OAuth" if family == "yandex" else "Bearer"
    return fetched(url, rules, deadline, headers={"Authorization": f"{kind} {access}"})


def _of_userinfo(client: Client, claims: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str, ...]:
    """OpenID Connect and Mail.ru say `email`, Yandex `default_email` and `emails`, Graph `mail` and a sign-in name."""
    names = [fields.get("userPrincipalName")]
    if not _may_count(client, claims):
        return _addresses(names)
    others = fields.get("emails")
    found = [fields.get("email") if _is_verified(fields) else None, fields.get("default_email"), fields.get("mail")]
    return _addresses([*found, *(others if isinstance(others, list) else []), *names])


def _addresses(values: Iterable[object]) -> tuple[str, ...]:
    """Those of `values` that are addresses, each once; that of a guest at Microsoft is none."""
    found = [value.strip().lower() for value in values if isinstance(value, str) and "#EXT#" not in value]
    return tuple(dict.fromkeys(text for text in found if _ADDRESS.fullmatch(text) and text.isprintable()))


def _doubted(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Everything among `fields` that looks like the address of who signed in, whoever vouches for it."""
    found = [fields.get(name) for name in ("preferred_username", "upn", "userPrincipalName", "email", "mail")]
    texts = [value.strip().lower() for value in found if isinstance(value, str)]
    return tuple(dict.fromkeys(text for text in texts if _ADDRESS.fullmatch(text) and text.isprintable()))


def _name(fields: Mapping[str, Any]) -> str:
    found = next((fields[name] for name in _NAMES if isinstance(fields.get(name), str)), "")
    return visible(" ".join(found.split())[:120])


def _subject(claims: Mapping[str, Any]) -> str:
    found = claims.get("sub")
    return found if isinstance(found, str) and len(found) <= 255 and found.isprintable() else ""


def _proofs(claims: Mapping[str, Any]) -> tuple[frozenset[str], float]:
    """How somebody proved who they are, and when (OpenID Connect Core 2, RFC 8176); `acrs` is Microsoft's."""
    named: list[object] = []
    for claim in ("acr", "amr", "acrs"):
        value = claims.get(claim)
        named += value if isinstance(value, list) else [value]
    when = claims.get("auth_time")
    return frozenset(each for each in named if isinstance(each, str)), float(when) if _is_time(when) else 0.0


def _unbelievable(sentence: str, code: str) -> OAuthError:
    return OAuthError(Category.OAUTH, sentence, code=code)
