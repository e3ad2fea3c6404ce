"""Reads addresses as people type them, strictly where a message is sent to them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from functools import cached_property

from mailadmin.accounts.service import check_address
from mailadmin.errors import RuleBroken
from mailadmin.mail.addresses import check_host
from mailadmin.mail.words import decoded
from mailadmin.text import is_written, t

MOST = 100  # recipients of a message
FIELDS = ("to", "cc", "bcc")
LONGEST = 30_000  # characters of a field
_NAME_LENGTH = 200
_SHOWN = 3  # bad ones that a sentence names
_BLANKS = re.compile(r"\s+")
_SPECIAL = re.compile(r'[,;:<>"@()\[\]\\]')
_ENCODED = "=?"  # Encoded words begin like this.
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Mailbox:
    """Somebody who is written to. The domain of `address` is as it was typed, `envelope` has it as the DNS knows it."""

    name: str
    address: str

    @cached_property
    def envelope(self) -> str:
        """The address as a mail server is told it (IDNA; RFC 5321 2.3.5)."""
        local, _, domain = self.address.rpartition("@")
        return f"{local}@{check_host(domain)}"

    @property
    def is_beyond_ascii(self) -> bool:
        """Whether it can only be written to where the server has SMTPUTF8 (RFC 6531)."""
        return not self.envelope.isascii()

    @property
    def header(self) -> Address:
        """The mailbox as it stands in a header. Raises ValueError if it cannot.

        The library decodes encoded words (RFC 2047) when it folds, and what they hide would be mailboxes of their own.
        """
        local, _, domain = self.envelope.rpartition("@")
        if local.startswith(_ENCODED):
            raise ValueError(f"{local!r} is an encoded word")
        return Address(self.name.replace(_ENCODED, "= ?"), local, domain)

    def __str__(self) -> str:
        """The mailbox as somebody would type it."""
        if not self.name:
            return self.address
        name = self.name
        if _SPECIAL.search(name):
            name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{name} <{self.address}>"


@dataclass(frozen=True, slots=True)
class Recipients:
    """Who gets a message, by field."""

    to: Sequence[Mailbox] = ()
    cc: Sequence[Mailbox] = ()
    bcc: Sequence[Mailbox] = ()

    def __iter__(self) -> Iterator[Mailbox]:
        yield from (*self.to, *self.cc, *self.bcc)

    @property
    def envelope(self) -> list[str]:
        """All addresses, each once."""
        return list({box.envelope.lower(): box.envelope for box in reversed(list(self))}.values())[::-1]


class WrongRecipients(RuleBroken):
    """Some recipients cannot be written to; `fields` says at each form field what is wrong, `field` is the first."""

    def __init__(self, fields: dict[str, str]) -> None:
        field, said = next(iter(fields.items()))
        super().__init__(said, field=field)
        self.fields = fields


def recipients(*, to: str, cc: str, bcc: str) -> Recipients:
    """Who is written to, as typed into the three fields. Raises WrongRecipients, also where there is nobody."""
    found: dict[str, list[Mailbox]] = {}
    wrong: dict[str, str] = {}
    for field, text in zip(FIELDS, (to, cc, bcc), strict=True):
        found[field], bad = read(text)
        if bad:
            wrong[field] = _sentence(bad)
    if wrong:
        raise WrongRecipients(wrong)
    whole = Recipients(**found)
    if not whole.envelope:
        raise WrongRecipients({"to": t("Say who gets this message.")})
    if len(whole.envelope) > MOST:
        said = t("A message can go to {most} people at most; this one has {n}.", most=MOST, n=len(whole.envelope))
        raise WrongRecipients({next(field for field in FIELDS if found[field]): said})
    return whole


def _sentence(bad: Sequence[str]) -> str:
    shown = ", ".join(f"“{one}”" for one in bad[:_SHOWN])
    if len(bad) > _SHOWN:
        shown = t("{some} and {n} more", some=shown, n=len(bad) - _SHOWN)
    if len(bad) == 1:
        return t("{which} is not an address. One looks like this: name@example.com.", which=shown)
    return t("{which} are not addresses. One looks like this: name@example.com.", which=shown)


def read(text: str) -> tuple[list[Mailbox], list[str]]:
    """The mailboxes in `text`, and what in it is none, cut to what can be shown."""
    good: list[Mailbox] = []
    bad: list[str] = []
    for part in filter(None, map(str.strip, pieces(text))):
        box = mailbox(part)
        if box is None:
            bad.append(part if len(part) <= 80 else part[:79] + "…")
        elif box.envelope.lower() not in {other.envelope.lower() for other in good[-2 * MOST :]}:
            good.append(box)
    return good, bad


def mailbox(text: str) -> Mailbox | None:
    """The one mailbox that `text` is (RFC 5322 3.4, with or without quotes around the name), or None."""
    text = _BLANKS.sub(" ", text).strip()
    name, address = "", text
    if text.endswith(">") and "<" in text:
        name, _, address = text[:-1].rpartition("<")
        name, address = name.strip(), address.strip()
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = _ESCAPED.sub(r"\1", name[1:-1]).strip()
        name = decoded(name)  # Somebody may paste what stands in a header.
    if not is_written(text + name) or len(name) > _NAME_LENGTH or "<" in name or address.startswith(_ENCODED):
        return None
    try:
        check_address(address)
    except RuleBroken:
        return None
    return Mailbox(name, address.removesuffix("."))


def pieces(text: str) -> list[str]:
    """`text` cut at commas, semicolons and line ends that are not within quotes or angle brackets."""
    parts, begin, quoted, angled, escaped = [], 0, False, False, False
    for place, char in enumerate(text):
        if escaped or (quoted and char == "\\"):
            escaped = not escaped
        elif char in "\r\n":  # Whatever was opened ends here.
            parts.append(text[begin:place])
            begin, quoted, angled = place + 1, False, False
        elif char == '"' and not angled:
            quoted = not quoted
        elif quoted:
            continue
        elif char in "<>":
            angled = char == "<"
        elif char in ",;" and not angled:
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]


def joined(boxes: Iterable[Mailbox]) -> str:
    """The mailboxes as somebody would type them."""
    return ", ".join(map(str, boxes))
