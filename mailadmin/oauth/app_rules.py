"""What the fields of an OAuth app may hold: each rule as a sentence at its field."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mailadmin.errors import RuleBroken
from mailadmin.mail import catalogue, certificates
from mailadmin.mail.addresses import check_host
from mailadmin.mail.types import ServiceType
from mailadmin.text import t

URLS = ("issuer", "authorize_url", "token_url", "jwks_url", "userinfo_url", "revocation_url")
LONGEST = {"client_id": 255, "tenant": 120, "scopes": 4000, "app_scopes": 4000, "parameters": 1000} | dict.fromkeys(
    URLS, 500
)
LARGEST_FILE = 64 * 1024
# What is said of who signs in; it belongs to no resource.
ABOUT_PEOPLE = frozenset({"openid", "email", "profile", "offline_access", "address", "phone"})
TENANTS = ("organizations", "consumers", "common")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
# What we say ourselves in every authorization request.
_OURS = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"}
)
_OUTLOOK = re.compile(r"(^|\.)(outlook\.(office|office365)\.com|outlook\.office365\.us|partner\.outlook\.cn)$")
_ENTRA = re.compile(r"(^|\.)(microsoftonline\.(com|us|cn)|chinacloudapi\.cn)$")
_MIXED, _WRONG_SCOPE = "aadsts_700022", "aadsts_70011"


def faults(texts: Mapping[str, str], service_type: ServiceType) -> Iterator[RuleBroken]:
    """What is wrong with the fields, by their names; what has to be there is no matter of this."""
    for name, most in LONGEST.items():
        if len(texts[name]) > most or not texts[name].isprintable():
            yield RuleBroken(t("At most {n} characters on one line.", n=f"{most:,}"), field=name)
    yield from _addresses(texts)
    if service_type is ServiceType.MICROSOFT and _is_no_client_id(texts["client_id"], texts["token_url"]):
        said = "The Application (client) ID looks like 8b6f0c3a-…: copy it from the Overview page of the app in Entra."
        yield RuleBroken(t(said), field="client_id")
    if texts["tenant"] and not _is_tenant(texts["tenant"]):
        said = "The Directory (tenant) ID looks like 8b6f0c3a-…, or is a domain of the company, or one of {words}."
        yield RuleBroken(t(said, words=", ".join(TENANTS)), field="tenant")
    yield from _scopes(texts, service_type)
    yield from _parameters(texts["parameters"])


def _addresses(texts: Mapping[str, str]) -> Iterator[RuleBroken]:
    for name in URLS:
        if texts[name] and (why := _why_no_address(texts[name])):
            yield RuleBroken(why, field=name)


def _why_no_address(text: str) -> str:
    """Why nobody should be sent to `text`, which may hold {tenant}; empty: it is right."""
    try:
        parts = urlsplit(text.replace("{tenant}", "tenant"))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return t("This address cannot be read. A right one begins like https://login.example.com/.")
    if parts.scheme != "https":
        return t("Only addresses that begin with https:// are asked, or secrets could be read on their way.")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return t("There is a user name in this address. Take it out.")
    if parts.fragment or "#" in text:
        return t("Take out the part that begins with #.")
    if any(c.isspace() for c in text) or not text.isascii() or port == 0 or "{" in text.replace("{tenant}", ""):
        return t("This address has letters that no web address has.")
    try:
        check_host(host)
    except ValueError as error:
        return str(error)
    return ""


def _is_no_client_id(text: str, token_url: str) -> bool:
    """Whether `text` is none of Entra, whose are GUIDs. An AD FS of one's own names its clients as it likes."""
    return bool(text) and is_entra(token_url) and not _GUID.fullmatch(text)


def is_entra(url: str) -> bool:
    """Whether Microsoft's own sign-in, in one of its clouds, answers at `url`, which may hold {tenant}."""
    try:
        return bool(_ENTRA.search(urlsplit(url).hostname or ""))
    except ValueError:
        return False


def _is_tenant(text: str) -> bool:
    return (
        text in TENANTS or bool(_GUID.fullmatch(text)) or bool(re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", text.lower()))
    )


def _scopes(texts: Mapping[str, str], service_type: ServiceType) -> Iterator[RuleBroken]:
    for name in ("scopes", "app_scopes"):
        wrong = [scope for scope in texts[name].split() if not _SCOPE.fullmatch(scope)]
        if wrong:
            yield RuleBroken(t("“{scope}” is not written like a scope.", scope=wrong[0][:80]), field=name)
        elif service_type is ServiceType.MICROSOFT and (why := why_mixed(texts[name], alone=name == "app_scopes")):
            yield RuleBroken(why, field=name)


def why_mixed(scopes: str, *, alone: bool = False) -> str:
    """Why Microsoft gives no token for `scopes`, in the words of the catalogue; empty: they are of one resource.

    With `alone` they are for an app that signs in for itself, which asks for `.default` and nothing else.
    """
    split = scopes.split()
    resources = {resource_of(scope) for scope in split} - {""}
    if len(resources) > 1:
        return _said(_MIXED) + " " + t("Keep those of {one} alone.", one=sorted(resources, reverse=True)[0])
    defaults = [scope for scope in split if scope.endswith("/.default")]
    if (defaults and len(split) > 1) or (alone and split and not defaults):
        return _said(_WRONG_SCOPE) + " " + t("Without a person it is one alone: https://outlook.office365.com/.default")
    return ""


def resource_of(scope: str) -> str:
    """The service that a scope of Microsoft is for; empty for what is said of people. A bare name is one of Graph."""
    if scope in ABOUT_PEOPLE:
        return ""
    host = urlsplit(scope).hostname if "://" in scope else "graph.microsoft.com"
    return "outlook.office.com" if _OUTLOOK.search(host or "") else host or ""


def _said(rule_id: str) -> str:
    rule = catalogue.rule(rule_id)
    return f"{t(rule.title)}. {t(rule.cause)}" if rule else ""


def _parameters(text: str) -> Iterator[RuleBroken]:
    if not text:
        return
    try:
        pairs = parse_qsl(text, strict_parsing=True, keep_blank_values=True)
    except ValueError:
        said = t("Write them like access_type=offline&prompt=consent, or leave the field empty.")
        yield RuleBroken(said, field="parameters")
        return
    if taken := sorted({name for name, _ in pairs} & _OURS):
        said = t("{names}: we say this ourselves, so take it out.", names=", ".join(taken))
        yield RuleBroken(said, field="parameters")


def is_secret_id(secret: str) -> bool:
    """Whether `secret` is what Microsoft shows beside a secret: its ID, which everybody copies once."""
    return bool(_GUID.fullmatch(secret.strip()))


def checked_key_file(text: str) -> dict[str, Any]:
    """What we keep of the JSON key of a Google service account. Raises RuleBroken at `service_key`."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_key_file(t("This is not a JSON file.")) from error
    if not isinstance(told, dict) or told.get("type") != "service_account":
        said = "This is not the key of a service account. It is the JSON file that Google gives under Keys > Add key."
        raise _no_key_file(t(said))
    kept = {name: told.get(name) for name in ("client_email", "client_id", "private_key", "private_key_id")}
    if not all(isinstance(value, str) and value for value in kept.values()) or "@" not in str(kept["client_email"]):
        raise _no_key_file(t("This key file is not complete. Make a new key, and upload the file as it comes."))
    try:
        certificates.check_key(str(kept["private_key"]))
    except ValueError as error:
        raise _no_key_file(str(error)) from error
    return kept


def _no_key_file(said: str) -> RuleBroken:
    return RuleBroken(said, field="service_key")
