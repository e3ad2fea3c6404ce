"""What the stages of a test learned of a server, in words and values for pages. It knows no web and no database.

Old tests have no facts; then the phrase that the stage left behind has to do.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailadmin.db import now
from mailadmin.mail.types import ServerProtocol
from mailadmin.text import t

SOON_DAYS = 14
FULL = 0.9  # of a quota
_CAPABILITIES = re.compile(r"\[CAPABILITY [^\]]*\] ?", re.IGNORECASE)
# What we look for in the capabilities, each with what it is good for.
_GOOD_FOR = {
    ServerProtocol.IMAP: {
        "IDLE": "pushes new mail",
        "CONDSTORE": "finds changed flags",
        "QRESYNC": "resumes after breaks",
        "SPECIAL-USE": "names folder roles",
        "UIDPLUS": "finds filed messages",
        "MOVE": "moves messages safely",
        "COMPRESS": "saves network traffic",
        "OBJECTID": "recognises moved messages",
    },
    ServerProtocol.POP3: {
        "UIDL": "tells messages apart",
        "TOP": "shows headers alone",
        "PIPELINING": "saves round trips",
        "RESP-CODES": "says why it refuses",
        "UTF8": "takes international names",
    },
    ServerProtocol.SMTP: {
        "SIZE": "tells size limits",
        "8BITMIME": "takes accented text",
        "SMTPUTF8": "takes international addresses",
        "PIPELINING": "saves round trips",
        "DSN": "reports on delivery",
        "CHUNKING": "takes large messages",
    },
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate as a page shows it: days and the fingerprint in words, and what is wrong with its time."""

    names: list[str]
    subject: str
    issuer: str
    starts: str
    ends: str
    fingerprint: str
    is_early: bool
    has_expired: bool
    days_left: int

    @property
    def is_its_own(self) -> bool:
        """Whether nobody else vouches for it."""
        return self.subject == self.issuer


@dataclass(frozen=True, slots=True)
class Ability:
    """One capability: whether the server has it, and what it is good for in a few words."""

    name: str
    is_there: bool
    good_for: str


def shown(certificate: dict[str, Any] | None) -> Shown | None:
    """What mail/certificates.py read, for a page; None where there is none."""
    if not certificate:
        return None
    starts, ends = (datetime.fromisoformat(certificate[key]) for key in ("starts", "ends"))
    left = ends - now()
    return Shown(
        names=list(certificate["names"]),
        subject=certificate["subject"],
        issuer=certificate["issuer"],
        starts=day(starts),
        ends=day(ends),
        fingerprint=fingerprint(certificate["sha256"]),
        is_early=starts > now(),
        has_expired=left.total_seconds() < 0,
        days_left=left.days,
    )


def fingerprint(sha256: str) -> str:
    """64 hexadecimal digits in groups that can be read out on the telephone."""
    digits = sha256.upper()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def day(moment: datetime) -> str:
    """`4 Mar 2027`."""
    return f"{moment.day} {moment:%b %Y}"


def duration(ms: float) -> str:
    """`ms` in words: `12 ms`, `1.9 s`."""
    return t("{n} s", n=f"{ms / 1000:.1f}") if ms >= 1000 else t("{n} ms", n=max(round(ms), 1))


def greeting(facts: dict[str, Any]) -> str:
    """What the server greeted with, without the list of capabilities that some put into it (RFC 3501 7.1)."""
    return _CAPABILITIES.sub("", facts.get("text") or "")


def encryption(facts: dict[str, Any], detail: str) -> tuple[str, str]:
    """The tone and the sentence for a connection that is encrypted."""
    version = t("TLS {version}", version=facts.get("version") or detail.removeprefix("TLSv"))
    certificate = shown(facts.get("certificate"))
    if certificate is None:
        return "ok", t("{version}, the certificate is trusted", version=version) if detail else t("Certificate trusted")
    said = {"version": version, "ends": certificate.ends}
    if facts.get("pinned"):
        if certificate.has_expired:
            return "warn", t("{version}, pinned certificate, which ended on {ends}", **said)
        return "ok", t("{version}, pinned certificate", **said)
    if certificate.days_left < SOON_DAYS:
        return "warn", t("{version}, the certificate ends soon: on {ends}", **said)
    return "ok", t("{version}, certificate valid until {ends}", **said)


def listing(facts: dict[str, Any], folders: list[dict[str, Any]], *, has_folders: bool = True) -> tuple[str, str]:
    """The tone and the sentence for the folders of a mailbox, and how full it is."""
    number, messages = counts(facts, folders)
    words = [t("1 folder") if number == 1 else t("{n} folders", n=f"{number:,}")] if has_folders else []
    words.append(t("1 message") if messages == 1 else t("{n} messages", n=f"{messages:,}"))
    quota = facts.get("quota") or {}
    share = quota["used"] / quota["limit"] if quota.get("limit") else 0.0
    if share:
        size = _volume(quota["limit"])
        percent = round(share * 100)
        words.append(t("{n} % of {size} used", n=percent, size=size) if percent else t("{size} of room", size=size))
    return "warn" if share > FULL else "ok", ", ".join(words)


def counts(facts: dict[str, Any], folders: list[dict[str, Any]]) -> tuple[int, int]:
    """How many folders and messages there are."""
    number, messages = facts.get("folders"), facts.get("messages")
    if isinstance(number, int) and isinstance(messages, int):
        return number, messages
    return len(folders), sum(folder.get("messages") or 0 for folder in folders)


def abilities(protocol: ServerProtocol, capabilities: list[str] | None) -> list[Ability]:
    """Which of the capabilities that we know a server has; none where it was not asked."""
    if capabilities is None:
        return []
    told = {word.upper().partition("=")[0].partition(" ")[0] for word in capabilities}
    if "QRESYNC" in told:  # RFC 7162 3.2.3: it comes with CONDSTORE.
        told.add("CONDSTORE")
    return [Ability(name, name in told, t(good_for)) for name, good_for in _GOOD_FOR[protocol].items()]


def _volume(kibibytes: int) -> str:
    """A mailbox size as providers write it."""
    gigabytes = kibibytes / 1024**2
    return f"{gigabytes:,.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1024:.0f} MB"
