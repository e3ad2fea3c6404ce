"""What stands in a message before anybody types: whom a reply goes to, its subject, and what is quoted."""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import takewhile

from mailadmin.accounts.models import Account
from mailadmin.mail import markup
from mailadmin.people.models import Person
from mailadmin.sync.models import Message
from mailadmin.sync.reading import Opened
from mailadmin.text import t, zone_named
from mailadmin.writing.addresses import Mailbox, joined, mailbox, read
from mailadmin.writing.models import OutgoingFile
from mailadmin.writing.typed import clean_name, clean_type

SUBJECT_LENGTH = 998
MOST_FILES = 100
MOST_REFERENCES = 20
# "Re:" and "Fwd:" as mail programs of other languages write them, also numbered: "AW:", "SV:", "Re[2]:".
_ANSWERED = r"re|aw|antw|antwort|sv|vs|rif|r|res|odp|ynt|atb|ответ|回复|回覆|答复"
_FORWARDED = r"fwd?|wg|tr|rv|enc|vb|vl|vid|pd|ilt|doorst|пересл|转发|轉寄"
_PREFIXES = {"Re": re.compile(rf"\s*(?:{_ANSWERED})\s*(?:[\[(]\d+[\])])?\s*[:：]\s*", re.IGNORECASE)}
_PREFIXES["Fwd"] = re.compile(rf"\s*(?:{_FORWARDED})\s*(?:[\[(]\d+[\])])?\s*[:：]\s*", re.IGNORECASE)
_ID = re.compile(r"<[^<>\s]{1,960}>")  # With the name of its field it has to fit on a line of 998 characters.
_BARE = re.compile(r"[^\s,;<>@]+@[^\s,;<>@]+")
_ANGLED = re.compile(r"<([^<>\s]+)>")
_MORE = re.compile(r" and [\d,]+ more$")


def subject(prefix: str, text: str) -> str:
    """`text` with the `prefix` Re or Fwd, once: one in another language counts."""
    text = " ".join(text.split())
    known = _PREFIXES[prefix]
    while match := known.match(text):
        text = text[match.end() :]
    return f"{prefix}: {text}"[:SUBJECT_LENGTH].strip()


def references(message: Message) -> tuple[str, str]:
    """In-Reply-To and References of an answer to `message` (RFC 5322 3.6.4); of too many ids the first and the last."""
    own = _ID.search(message.message_id)
    if own is None:
        return "", ""
    ids = [*dict.fromkeys(one for one in message.refers_to.split() if _ID.fullmatch(one) and one != own[0]), own[0]]
    if len(ids) > MOST_REFERENCES:
        del ids[1 : len(ids) - MOST_REFERENCES + 1]
    return own[0], " ".join(ids)


def answered(message: Message, own: Collection[str], *, to_all: bool) -> tuple[str, str]:
    """To and Cc of an answer to `message`; `own` are our addresses in lower case.

    Whoever answers a message of their own writes to those to whom it went; others to where its sender wants answers
    (Reply-To, RFC 5322 3.6.2).
    """
    sender = mailbox(str(Mailbox(message.from_name, message.from_address))) or mailbox(message.from_address)
    named = list(_named(message.to))
    if sender is not None and sender.address.lower() not in own:
        to = list(_named(message.reply_to)) or [sender]
    else:
        to = [box for box in named if box.address.lower() not in own] or ([sender] if sender else [])
    if not to_all:
        return joined(to), ""
    taken = {box.address.lower() for box in to} | set(own)
    names = {box.address.lower(): box for box in named}
    others = [names.get(one) or mailbox(one) for one in [*names, *message.recipients.split()]]
    cc = {box.address.lower(): box for box in others if box is not None and box.address.lower() not in taken}
    return joined(to), joined(cc.values())


def _named(text: str) -> Iterator[Mailbox]:
    """The mailboxes of what `Message.to` has; those that nobody can write to are left out."""
    for name, address in _shown(text):
        if box := mailbox(str(Mailbox(name, address))) or mailbox(address):
            yield box


def _shown(text: str) -> Iterator[tuple[str, str]]:
    """Names and addresses in `text`, where names are unquoted and may have commas. The work is linear in the length."""
    text, begin = _MORE.sub("", text), 0
    for angled in _ANGLED.finditer(text):
        *parts, last = text[begin : angled.start()].split(",")
        bare = list(takewhile(lambda part: not part.strip() or _BARE.fullmatch(part.strip()), parts))
        yield from _bare(bare)
        yield ",".join([*parts[len(bare) :], last]).strip(), angled[1]
        begin = angled.end()
    yield from _bare(text[begin:].split(","))


def _bare(parts: Iterable[str]) -> Iterator[tuple[str, str]]:
    return (("", part.strip()) for part in parts if _BARE.fullmatch(part.strip()))


def own_addresses(account: Account) -> set[str]:
    """Under which addresses `account` gets mail, in lower case."""
    found = {account.address, account.sender_address}
    found |= {box.address for box in read(account.reply_to)[0]}
    return {address.lower() for address in found if address}


def quoted(opened: Opened, person: Person) -> str:
    """What stands below a reply: who wrote when, and the lines of the message after `> `."""
    message = opened.message
    moment, who = message.sent_at or message.received_at, message.from_name or message.from_address
    if moment is None:
        head = t("{who} wrote:", who=who)
    else:
        here = moment.astimezone(zone_named(person.time_zone))
        when = t(
            "{day} {month} {year} at {time}", day=here.day, month=f"{here:%B}", year=here.year, time=f"{here:%H:%M}"
        )
        head = t("On {when}, {who} wrote:", when=when, who=who)
    lines = [f">{line}" if line.startswith(">") else f"> {line}".rstrip() for line in words(opened).split("\n")]
    return "\n".join([head, *lines])


def forwarded(opened: Opened, person: Person) -> str:
    """What stands below what is written to whom a message is forwarded: its heading and its text."""
    message = opened.message
    moment = message.sent_at or message.received_at
    when = f"{moment.astimezone(zone_named(person.time_zone)):%a, %d %b %Y %H:%M %z}" if moment else ""
    heading = (
        (t("From"), str(Mailbox(message.from_name, message.from_address))),
        (t("Date"), when),
        (t("Subject"), message.subject),
        (t("To"), message.to),
    )
    lines = [f"{name}: {value}" for name, value in heading if value]
    return "\n".join([t("---------- Forwarded message ----------"), *lines, "", words(opened)]).rstrip("\n")


def words(opened: Opened) -> str:
    """The text of a message, as far as it is kept here."""
    text = opened.text
    if text is None:
        return ""
    found = text.text or (markup.as_text(text.html) if text.html else "")
    return found.replace("\r\n", "\n").strip("\n")


def files_of(opened: Opened) -> list[OutgoingFile]:
    """The files of a message that is forwarded; the message itself as one file where not all of its text is here, or
    it has more than a message can have here."""
    parts = opened.parts
    is_whole = opened.is_known and opened.text is not None and not opened.text.is_cut and len(parts) <= 1 + MOST_FILES
    places = range(1, len(parts)) if is_whole else [0]
    return [_file(place, parts[place]) for place in places]


def _file(place: int, part: dict[str, object]) -> OutgoingFile:
    size = int(str(part["size"] or 0))
    if str(part.get("encoding", "")).lower() == "base64":
        size = size * 3 // 4  # The server tells what is transferred.
    return OutgoingFile(name=clean_name(str(part["name"])), type=clean_type(str(part["type"])), size=size, place=place)
