"""The file in which providers travel between installations: JSON, no secrets, no ids; written, and read as hostile.

A file holds `{"mailadmin": "providers", "version": 1, "providers": [...]}`. An entry has the words of the catalogue
(`facts_of`), servers as `imap:HOST:PORT:TLSMODE`, `minimum_tls`, `certificates` (PEM), and, where it came from the
catalogue, its key and what the catalogue said of it. Only `name` and `servers` have to be there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from mailadmin.errors import RuleBroken
from mailadmin.mail.certificates import Certificate
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import LoginFormat, ServerProtocol, ServiceType, SignInMethod, TLSVersion
from mailadmin.providers import truststore
from mailadmin.providers.catalogue import Facts, facts_of
from mailadmin.providers.domains import normalised
from mailadmin.providers.models import Provider
from mailadmin.providers.saving import ProviderWish, check_facts, checked_servers, named
from mailadmin.providers.servers import parse_server
from mailadmin.text import t

LARGEST = 5_000_000
MOST_ENTRIES = 2000
VERSION = 1
_FACTS = {
    "name",
    "service_type",
    "domains",
    "servers",
    "login_format",
    "methods",
    "files_sent",
    "most_connections",
    "least_minutes",
}
_FIELDS = _FACTS | {"minimum_tls", "certificates", "catalogue"}
_LONGEST_LIST = 1000
Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of a file that can be: what the provider is to be, whom it trusts, and its place in the catalogue."""

    wish: ProviderWish
    certificates: Sequence[tuple[Certificate, str]] = ()
    key: str | None = None
    said: Facts | None = None


def written(providers: Sequence[Provider]) -> str:
    """`providers` as a file, by name; the same providers make the same file."""
    entries = [entry_of(provider) for provider in sorted(providers, key=lambda provider: provider.name.casefold())]
    told = {"mailadmin": "providers", "version": VERSION, "providers": entries}
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"


def entry_of(provider: Provider) -> dict[str, Any]:
    """`provider` as a file has it."""
    entry = {
        **_with_list(facts_of(provider)),
        "minimum_tls": provider.minimum_tls.value,
        "certificates": [row.pem for row in sorted(provider.certificates, key=lambda row: row.sha256)],
    }
    if provider.catalogue_key and provider.catalogue_copy:
        entry["catalogue"] = {"key": provider.catalogue_key, "said": _with_list(provider.catalogue_copy)}
    return entry


def entries(content: bytes) -> list[Any]:
    """The entries of a file as they stand there, whatever they are. Raises RuleBroken at `file` if it is none."""
    if len(content) > LARGEST:
        raise _no_file(t("This file is too large. At most {n} MB are read.", n=LARGEST // 1_000_000))
    try:
        told = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once_each, parse_constant=_no_number)
    except RecursionError as error:
        raise _no_file(t("This file is nested too deeply to be a file of providers.")) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise _no_file(t("This is no JSON file in UTF-8. An export of Mailadmin is one.")) from error
    if not isinstance(told, dict) or told.get("mailadmin") != "providers":
        raise _no_file(t('This is JSON, but no file of providers: they begin with "mailadmin": "providers".'))
    if told.get("version") != VERSION or isinstance(told["version"], bool):
        raise _no_file(t("This file has another version than {n}. A newer Mailadmin reads it.", n=VERSION))
    found = told.get("providers")
    if not isinstance(found, list) or told.keys() - {"mailadmin", "version", "providers"}:
        raise _no_file(t("This file has no list of providers, or more beside it than belongs there."))
    if len(found) > MOST_ENTRIES:
        raise _no_file(t("This file has more than {n} providers. Split it.", n=f"{MOST_ENTRIES:,}"))
    return found


def shown_name(entry: Any) -> str:
    """What to call an entry, whatever it is."""
    name = entry.get("name") if isinstance(entry, dict) else None
    return visible(name)[:80] if isinstance(name, str) and name.strip() else t("Without a name")


def wanted(entry: Any) -> Wanted:
    """What `entry` wants. Raises RuleBroken with what is wrong; whether others have its domains is not asked."""
    if not isinstance(entry, dict):
        raise RuleBroken(t("This entry is not an object."))
    if unknown := entry.keys() - _FIELDS:
        raise RuleBroken(t("“{name}” is nothing that a provider has.", name=visible(min(unknown))[:40]))
    facts = _facts(entry)
    wish = ProviderWish(
        name=named(facts["name"]),
        domains=tuple(facts["domains"]),
        servers=tuple(checked_servers([parse_server(text) for text in _texts(entry, "servers", needed=True)])),
        service_type=ServiceType(facts["service_type"]),
        login_format=LoginFormat(facts["login_format"]),
        methods=frozenset(SignInMethod(method) for method in facts["methods"]),
        minimum_tls=_word(entry, "minimum_tls", TLSVersion, TLSVersion.TLS_1_2),
        **{name: facts[name] for name in ("files_sent", "most_connections", "least_minutes")},
    )
    check_facts(wish)
    trusted = [one for pem in _texts(entry, "certificates") for one in truststore.read(pem)]
    return Wanted(wish, trusted, *_place(entry))


def as_entry(one: Wanted) -> dict[str, Any]:
    """`one` as a file written here would have it: to compare it with `entry_of` of a provider."""
    wish, certificates = one.wish, {told["sha256"]: text for told, text in one.certificates}
    servers = {server.protocol: str(server) for server in wish.servers}
    entry: dict[str, Any] = {
        "name": wish.name,
        "service_type": wish.service_type.value,
        "domains": sorted(wish.domains),
        "servers": [servers[protocol] for protocol in ServerProtocol if protocol in servers],
        "login_format": wish.login_format.value,
        "methods": [method.value for method in SignInMethod if method in wish.methods],
        "files_sent": wish.files_sent,
        "most_connections": wish.most_connections,
        "least_minutes": wish.least_minutes,
        "minimum_tls": wish.minimum_tls.value,
        "certificates": [certificates[sha256] for sha256 in sorted(certificates)],
    }
    if one.key is not None and one.said is not None:
        entry["catalogue"] = {"key": one.key, "said": _with_list(one.said)}
    return entry


def _with_list(facts: Facts) -> Facts:
    return {**facts, "servers": list(facts["servers"].values())}


def _facts(entry: dict[str, Any]) -> Facts:
    """The facts in `entry`, each of the right type; servers by protocol."""
    servers = [parse_server(text) for text in _texts(entry, "servers")]
    methods = {_word({"methods": text}, "methods", SignInMethod, None) for text in _texts(entry, "methods")}
    by_protocol = {server.protocol: str(server) for server in servers}
    return {
        "name": _text(entry, "name"),
        "service_type": _word(entry, "service_type", ServiceType, ServiceType.OTHER).value,
        "domains": sorted({normalised(text) for text in _texts(entry, "domains")}),
        "servers": {protocol.value: by_protocol[protocol] for protocol in ServerProtocol if protocol in by_protocol},
        "login_format": _word(entry, "login_format", LoginFormat, LoginFormat.ADDRESS).value,
        "methods": [method.value for method in SignInMethod if method in methods]
        or ([SignInMethod.PASSWORD.value] if "methods" not in entry else []),
        "files_sent": _flag(entry, "files_sent"),
        "most_connections": _number(entry, "most_connections"),
        "least_minutes": _number(entry, "least_minutes"),
    }


def _place(entry: dict[str, Any]) -> tuple[str | None, Facts | None]:
    """The key in the catalogue and what the catalogue said, or neither."""
    place = entry.get("catalogue")
    if place is None:
        return None, None
    if not isinstance(place, dict) or place.keys() != {"key", "said"} or not isinstance(place["said"], dict):
        raise _wrong("catalogue")
    key = _text(place, "key")
    if not key.replace("-", "").replace("_", "").isalnum() or not key.isascii() or len(key) > 40:
        raise _wrong("catalogue")
    if place["said"].keys() != _FACTS:
        raise _wrong("catalogue")
    said = _facts(place["said"])
    named(said["name"])  # Everything else in it has been read as what it is.
    return key, said


def _text(entry: dict[str, Any], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise _wrong(name)
    return value


def _texts(entry: dict[str, Any], name: str, *, needed: bool = False) -> list[str]:
    value = entry.get(name, None if needed else [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value) or len(value) > _LONGEST_LIST:
        raise _wrong(name)
    return value


def _flag(entry: dict[str, Any], name: str) -> bool:
    value = entry.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(name)
    return value


def _number(entry: dict[str, Any], name: str) -> int | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise _wrong(name)
    return value


def _word(entry: dict[str, Any], name: str, words: type[Word], otherwise: Word | None) -> Word:
    value = entry.get(name, otherwise)
    if not isinstance(value, str) or value not in set(words):
        raise _wrong(name)
    return words(value)


def _wrong(name: str) -> RuleBroken:
    return RuleBroken(t("“{name}” is missing, or is not what belongs there.", name=name))


def _no_file(said: str) -> RuleBroken:
    return RuleBroken(said, field="file")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A name stands twice in one object.")
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number.")
