"""What a failure means and what to do about it: the rules of rules/*.toml, and how the right one is found.

A rule is found in one of three ways. Something that we saw ourselves (a name that does not exist, STARTTLS that is not
offered) names its rule: the `code` of a MailError is the id of a rule. Text of a server is compared with the patterns
of all rules that fit where it was said, in the order of the files and within them; the first that fits wins, so
particular rules stand before general ones: those of providers, what systems and TLS libraries say, particular words of
every protocol (words.toml), codes of each protocol, vaguer words (general.toml). Where none fits, all the words
together may point to a category (guess.py), whose general rule then holds; it also holds where they speak loudly
against what a rule heard, the louder, the more particular the rule. Whoever must not err asks to be `sure`: then
nothing is guessed. What fits nothing gets the general rule of its category.

Each rule in a file:
    id        stable; found in tables, exports and tests
    category  one of the fifteen, or "harmless": the text is no failure
    title     one line, what happened
    cause     why, in a sentence or two
    action    what to do, likeliest first; each a sentence in the imperative
    turn      whose turn it is: administrator, owner (of the mailbox), server (whoever runs it), nobody
    retry     no, later (back off and try again), refresh (the access token), reconnect (at once, nothing is wrong)
    command   where it exists, the exact line to run, for example of PowerShell
    links     pages of the provider that help, https
    heard     the pattern for a server's text, compared without regard to case; see legible.py
    sample    a real text that `heard` fits
    broad     true where few words decide, so that all the words together may more easily speak against it
    vague     false in the file of vague rules (general.toml) where one is exact
    where     protocols and layers in which it is said: imap smtp pop3 oauth graph net tls local; none means all
    family    provider families: google microsoft yahoo ...; none means all
    method    "password" or "oauth" where it is about one of them only
    stages    of a general rule: the stages in which it holds
    direction of a general rule: incoming or outgoing
    permanent of a general rule: holds only for errors that are permanent, or only for those that are not
    seen      true for what we see ourselves: found by its id and in no other way
In title, cause, action and command may stand {host} {port} {protocol} {direction} {user} {other_user} {address}
{tls_port} {starttls_port} {said}, the last being our own sentence about the failure.
"""

import re
import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from mailadmin.mail.errors import Category
from mailadmin.mail.families import family_in as family_in
from mailadmin.mail.families import family_of as family_of
from mailadmin.mail.guess import HARMLESS, guess
from mailadmin.mail.legible import LONGEST, legible
from mailadmin.mail.types import Direction, StageName

FOLDER = Path(__file__).parent / "rules"
FILES = (
    "entra",
    "google",
    "microsoft",
    "oauth",
    "graph",
    "providers",
    "network",
    "words",
    "pop3",
    "smtp",
    "imap",
    "general",
    "own",
)
VAGUE = "general"
EXACT = frozenset({"entra", "google", "microsoft", "oauth", "graph", "providers", "network"})
# How much likelier (log-odds) a guess has to be than a vague or broad rule, than others, than one of an exact file, and
# how much that changes with what the rule says. Found with texts that were new to both.
_OVER_VAGUE, _OVER_OTHERS, _OVER_EXACT = 1.7, 2.4, 4.0
_SURER = {
    Category.AUTH: -0.4,
    Category.PERMISSION: -0.5,
    Category.POLICY: -0.3,
    Category.UNAVAILABLE: -0.3,
    Category.UNSUPPORTED: -0.2,
    Category.CONFIG: 0.3,
    Category.TIMEOUT: 0.3,
    Category.THROTTLED: 0.4,
    Category.PROTOCOL: 0.5,
    Category.QUOTA: 0.6,
    Category.TLS: 0.6,
    Category.DNS: 0.8,
}
_PROTOCOLS = {"imap", "smtp", "pop3"}
_LAYERS = {"net", "tls", "oauth", "graph", "local"}
_TOKEN_LAYERS = {"oauth", "graph"}  # What they say is about a token, which nobody has who signs in with a password.
_TOKENS = re.compile(
    r"AADSTS\d|X?OAUTH(2|BEARER)|invalid_(grant|token)|(access|refresh|bearer|expired|id|auth)[ _]?token"
    r"|\btoken\b.{0,40}(expired|revoked|invalid|rejected)|\bjwt\b|eyJzdGF0dXMiOi",
    re.IGNORECASE,
)
_SPOKEN = {
    "oauth": re.compile(
        r"AADSTS\d|\b(?i:invalid_(grant|client|scope|request)|unauthorized_client|error_description)\b|oauthlib"
        r"|oauth2client|RefreshError|\b(Msal|Adal)\w*Exception|TokenResponseException|OAuth2::Error"
        r"|IdentityProvider\w*Exception|authori[sz]ation code\b"
    ),
    "graph": re.compile(
        r"ODataError|GraphServiceException|GraphError|graph\.microsoft\.com/|MS ?Graph\b|EWS/Exchange\.asmx"
        r"|(?i:exchange\.?(webservices|lib|service))|\bEWS\b|\bError[A-Z][a-z]+[A-Z][a-z]|gmail/v1|gmail\.googleapis"
        r"|(?<!HTTP/1\.[01] )\b(401 Unauth|403 Forb|404 Not Found|429 Too Many|50[0-4] (Internal|Bad G|Gateway))"
        r"|googleapi: |GoogleJsonResponse|Google\.?Apis?|Google\WService|HttpError \d{3} when|Code: [A-Z]\w+ Message: "
    ),
    "pop3": re.compile(r"^[^a-z]{0,3}[-+](ERR|OK)\b|(?<!\w)-ERR\b|poplib|POP3", re.IGNORECASE),
    "imap": re.compile(
        r"\[AUTHENTICATIONFAILED\]|^(\*|[A-Z]{0,6}\.?\d{1,8}) (OK|NO|BAD|BYE)\b|^(NO|BAD) |(?i:imap)|\[(NO|BAD), "
        r"|\* BYE|^\[(?!ERROR|WARN|INFO|DEBUG|FATAL)[A-Z-]{4,}\]"
        r"|\b(?i:open|select|list|creat|delet|renam|subscrib)\w* (the )?(?i:mailbox|folder)s?\b"
        r"|mbsync|javax\.mail\.\w*(Folder|Store)|(?<!\S)[A-Z]{0,8}\d{1,8} (NO|BAD) "
    ),
    "smtp": re.compile(
        r"^\W{0,3}[245]\d\d[- ]|\b[45]\.\d\.\d{1,3}\b|\([45]\d\d, |(?i:smtp|expected response code)"
        r"|\b(535|550|554|530)\b"
    ),
    "tls": re.compile(r"x509|\[SSL[:\]]|SSL routines|SSLHandshake|\btls: "),
}
# Between the words of a name such as MailboxNotFoundException.
_JOINED = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
# Wherever this stands, what else is said may be friendly, but is not the matter.
_REFUSED = re.compile(
    r"(?<!\w)-ERR\b|(?<!\S)[A-Z]{0,8}\d{1,8} (NO|BAD) |\b[45]\d\d[ -]#?[45]\.\d|AUTHENTICATIONFAILED"
    r"|(?i:Exception\b(?!:? ?$)|could ?n.t (open|connect)|could not (open|connect|authenticate))"
)


class Turn(StrEnum):
    """Who has to do something."""

    ADMINISTRATOR = "administrator"
    OWNER = "owner"
    SERVER = "server"
    NOBODY = "nobody"


class Retry(StrEnum):
    """What trying again is good for."""

    NO = "no"
    LATER = "later"
    REFRESH = "refresh"
    RECONNECT = "reconnect"


@dataclass(frozen=True, slots=True)
class Rule:
    """One diagnosis and when it holds; see the top of this file. `category` None is harmless.

    `guessed_by` are the words that point to it, where nothing more than words does, and `likely` (0 to 1) how strongly.
    """

    id: str
    category: Category | None
    title: str
    cause: str
    action: tuple[str, ...]
    turn: Turn
    retry: Retry
    command: str = ""
    links: tuple[str, ...] = ()
    heard: re.Pattern[str] | None = None
    sample: str = ""
    where: frozenset[str] = frozenset()
    family: frozenset[str] = frozenset()
    method: str = ""
    stages: frozenset[StageName] = frozenset()
    direction: Direction | None = None
    permanent: bool | None = None
    seen: bool = False
    broad: bool = False
    vague: bool = False
    exact: bool = False
    guessed_by: tuple[str, ...] = ()
    likely: float = 1.0


@cache
def rules() -> tuple[Rule, ...]:
    """All rules, in the order in which they are looked through."""
    return tuple(
        _rule({"vague": name == VAGUE, "exact": name in EXACT} | entry) for name in FILES for entry in _entries(name)
    )


def _entries(name: str) -> list[dict[str, Any]]:
    data = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    sentences = data.get("sentences", {})
    for entry in data["rule"]:
        entry["action"] = tuple(sentences.get(text.strip("{}"), text) for text in entry["action"])
    return list(data["rule"])


def _rule(entry: dict[str, Any]) -> Rule:
    made = dict(entry)
    made["category"] = None if entry["category"] == "harmless" else Category(entry["category"])
    made["turn"], made["retry"] = Turn(entry["turn"]), Retry(entry["retry"])
    made["stages"] = frozenset(map(StageName, entry.get("stages", ())))
    for name in ("where", "family"):
        made[name] = frozenset(entry.get(name, ()))
    made["links"] = tuple(entry.get("links", ()))
    if "heard" in entry:
        made["heard"] = re.compile(entry["heard"], re.IGNORECASE)
    if "direction" in entry:
        made["direction"] = Direction(entry["direction"])
    return Rule(**made)


@cache
def _by_id() -> dict[str, Rule]:
    return {rule.id: rule for rule in rules()}


def rule(code: str) -> Rule | None:
    """The rule with the id `code`."""
    return _by_id().get(code)


def find(text: str, *, where: str = "", family: str = "", method: str = "", sure: bool = False) -> Rule | None:
    """The first rule whose pattern fits `text`, unless there is none or all its words point elsewhere.

    `where` is the protocol or layer in which it was said, `family` the provider's, `method` password or oauth; an empty
    one is not known. The text itself may show them; without a family, rules for particular ones do not fit, and where
    nothing speaks of a token, a password is meant. With `sure` nothing is guessed.
    """
    heard = legible(text)
    whole = f"{text[:LONGEST]} {heard}"
    family, spoken = family or family_in(whole), layer_in(heard)
    if not method and _TOKENS.search(whole):
        method = "oauth"
    best = _first(heard, where, spoken, family, method)
    if best is None and (spread := _JOINED.sub(" ", heard)) != heard:
        best = _first(spread, where, layer_in(spread), family, method)
    return best if sure else _guessed(heard, where or spoken, family, method, best)


def _first(heard: str, where: str, spoken: str, family: str, method: str) -> Rule | None:
    """The first rule whose pattern fits, `spoken` being the layer that the text shows.

    What no rule of its layer fits is looked for in others, for programs pass on what they were told; but one protocol's
    rules say nothing about another protocol. A layer that is only guessed counts for less than words of the network,
    unless the text holds a server's refusal; and beside a refusal no remark that all is well counts.
    """
    guessed = not where and spoken in _PROTOCOLS
    if not where or (where in _PROTOCOLS and spoken == "graph"):
        where = spoken
    refused = bool(_REFUSED.search(heard))
    found = (
        rule
        for rule in _order(where, family, method, guessed and not refused)
        if rule.heard and rule.heard.search(heard)
    )
    return next((rule for rule in found if rule.category or rule.retry is Retry.RECONNECT or not refused), None)


@lru_cache(maxsize=256)
def _order(where: str, family: str, method: str, network_first: bool) -> tuple[Rule, ...]:
    """The rules that may hold, those of the layer `where` first; the network's before vague ones where it is unsure."""
    fitting = [rule for rule in rules() if rule.heard is not None and _holds(rule, family, method)]
    here = [rule for rule in fitting if not where or not rule.where or where in rule.where]
    if network_first:
        network = [rule for rule in fitting if "net" in rule.where and not rule.vague]
        here = [*(rule for rule in here if not rule.vague), *network, *(rule for rule in here if rule.vague)]
    layers = _LAYERS if method == "oauth" else _LAYERS - _TOKEN_LAYERS
    elsewhere = [rule for rule in fitting if where not in _PROTOCOLS or rule.where & layers]
    return tuple(dict.fromkeys((*here, *elsewhere)))


def _guessed(heard: str, where: str, family: str, method: str, best: Rule | None) -> Rule | None:
    """The general rule of the category to which the words point; `best` where they say no more than it does."""
    found = "" if best is None else best.category or HARMLESS
    guessed = guess(heard, where=where, family=family, method=method, found=found, trust=trust(best))
    if guessed is None:
        return best
    direction = Direction.OUTGOING if where == "smtp" else Direction.INCOMING
    rule = general(guessed.category, direction=direction)
    return replace(rule, guessed_by=guessed.words, likely=guessed.likely)


def trust(best: Rule | None) -> float:
    """How much likelier (log-odds) than what the rule `best` says a guess has to be to take its place."""
    if best is None:
        return 0
    over = _OVER_VAGUE if best.vague or best.broad else _OVER_EXACT if best.exact else _OVER_OTHERS
    return over + _SURER.get(best.category, 0) if best.category else over


def layer_in(text: str) -> str:
    """The protocol or layer whose way of speaking `text` shows, such as pop3 or tls; empty where it shows none."""
    return next((layer for layer, mark in _SPOKEN.items() if mark.search(text)), "")


def _holds(rule: Rule, family: str, method: str) -> bool:
    right_family = not rule.family or family in rule.family
    return right_family and rule.method in ("", method or "password")


def general(
    category: Category, *, stage: StageName | None = None, direction: Direction | None = None, permanent: bool = False
) -> Rule:
    """The rule for a failure of which only this is known."""
    return next(
        rule
        for rule in rules()
        if rule.heard is None
        and rule.category is category
        and not rule.seen
        and (not rule.stages or stage in rule.stages)
        and rule.direction in (None, direction)
        and rule.permanent in (None, permanent)
    )
