"""Makes text of servers and programs legible for the patterns of the catalogue, however people paste it."""

import base64
import binascii
import html
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote_plus

LONGEST = 4000
GLOSSARY = Path(__file__).parent / "rules" / "glossary.txt"
_FIRST_UNSPACED = "\u3000"  # From here on are letters of languages that put no spaces between words.
_FEWEST = 2  # Foreign words that make a text a foreign one; a single one may be a name.
_ENCODED = re.compile(r"%20|error_description=|[?&]error=")
_UNICODE = re.compile(r"\\+u00([2-7][0-9a-f])", re.IGNORECASE)
_ESCAPED = re.compile(r"\\+[rnt]")
_BREAKS = re.compile(r"(?:\\+r)?\\+n|\r?\n|<br ?/?>")
# What a server for sending offers, in lines that something joined.
_OFFERS = re.compile(
    r"250[- ](SIZE( \d+)?|AUTH[= ]([A-Z\d_-]+ ?)+|PIPELINING|VRFY|ETRN|STARTTLS|ENHANCEDSTATUSCODES|8BITMIME|DSN"
    r"|SMTPUTF8|CHUNKING|HELP)(?![a-z])"
)
# Lines of a stack: they say where in a program it happened, and their names mislead.
_STACK = re.compile(
    r"\s*(at (async |new )?[\w$.<>:`\[\]]+( ?\(|::|$)|#\d+ \S|from \S+:\d+:in|\.\.\. \d+ (more|frames))"
)
_FRAME = re.compile(r'^\s*File "[^"\n]+", line \d+(, in \S+)?[ \t]*(\n[ \t]+\S.*)?', re.MULTILINE)
# In a record of a conversation: what the server refuses, and what goes well or comes from us.
_SPEAKER = r"^(?:.{0,90}?(?:\b[SR]:|SERVER -> CLIENT:|SENT:|(?:POP3|SMTP|IMAP)\d?<|<[-=<]{0,3} ))?[^\w+*-]{0,6}"
_REFUSAL = re.compile(
    _SPEAKER
    + r"(-ERR\b|(\*|[A-Z]{0,8}\.?\d{1,8}) (NO|BAD|BYE)\b|[45]\d\d[ -])|^.{0,60}(SMTP (ERROR|Error)\b|curl: \(\d)"
)
_ASSENT = re.compile(
    _SPEAKER
    + r"(\+(OK\b| (?!eyJ|\w+-\w|CategoryInfo|Fully)|$)|\*( \d+)? (?!NO|BAD|BYE)[A-Z]{2}|[A-Z]{0,8}\.?\d{1,8} OK\b"
    r"|[23]\d\d[ -](?!eyJ))"
)
_OURS = re.compile(r"^(?:.{0,90}?(?:CLIENT -> SERVER|(?:POP3|SMTP|IMAP)\d?>|RECEIVED):|\W{0,3}C:|>{1,3} |[-=]+>)")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d\u00a0", "''\"\" ")
# Words that a program puts before those of the server: what a code means to it, or what was refused (msmtp); how
# PowerShell says that something failed; and what JavaMail makes of a lost connection.
_WRAPPED = re.compile(
    r"\* BYE (?=Ja\w+ ?Mail Exception)"
    r"|msmtp: (envelope from|recipient) address .{1,200}? not accepted by the server (?=msmtp: server message:)"
    r"|(exception calling|ausnahme beim aufrufen von) \"\w+\" \w+ \"?\d\"? argument\S* ?"
    r"|(requires a secure connection or the client was not authenticated|mailbox unavailable|mailbox name not allowed"
    r"|transaction failed|exceeded storage allocation|error in processing|user not local\S*"
    r"|insufficient system storage|client does not have permission to submit mail to this server)"
    r"\. The server response was:(?= ?\S*[\d.#() -]*[a-z]{2,}\W+[a-z])",
    re.IGNORECASE,
)
# How lettre, which many programs in Rust send with, shows a reply code: by the names of its three digits.
_SPELT = re.compile(r"severity: (\w+), category: (\w+), detail: (\w+)")
_SEVERITIES = {"TransientNegativeCompletion": 4, "PermanentNegativeCompletion": 5}
_CATEGORIES = ("Syntax", "Information", "Connections", "Unspecified3", "Unspecified4", "MailSystem")
_DETAILS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_CONTINUED = re.compile(r"\b([245]\d\d)-")
_BASE64 = re.compile(r"(?<![\w+/])(?:ey[JA]|ewo)[\w+/]{16,800}={0,2}")


def legible(text: str) -> str:
    """`text` as the patterns expect it, at most 4000 characters of its two ends.

    One line with single spaces, whatever wrapped or escaped it, be it an address, JSON or HTML; straight quotation
    marks; the code that SMTP repeats on every line (RFC 5321 4.2.1) only once; the JSON inside a base64 challenge
    (RFC 7628 3.2.2) added at the end.
    """
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} {text[-LONGEST // 2 :]}"
    text = html.unescape(unquote_plus(text) if _ENCODED.search(text) else text)
    text = _without_noise(text)
    text = _ESCAPED.sub(" ", _UNICODE.sub(lambda match: chr(int(match[1], 16)), text)).translate(_QUOTES)
    text = " ".join(_CONTROLS.sub(" ", text).split())
    text = _once(_WRAPPED.sub("", text))
    return " ".join([_SPELT.sub(_number, text), *_in_english(text), *_challenges(text)])


def _without_noise(text: str) -> str:
    """`text` without the lines of a stack and, where it records a conversation, without what came before a refusal."""
    lines = _FRAME.sub("", "\n".join(_BREAKS.split(text))).split("\n")
    told = [line for line in lines if not _STACK.match(line)] or lines
    if any(_REFUSAL.match(line) for line in told):
        told = [line for line in told if _REFUSAL.match(line) or not (_OURS.match(line) or _ASSENT.match(line))]
    if len(offers := list(_OFFERS.finditer(text))) > 2 and re.search(r"\b[45]\d\d[ -]", text[offers[-1].end() :]):
        told = [_OFFERS.sub(" ", line) for line in told]
    return "\n".join(told)


def _number(spelt: re.Match[str]) -> str:
    severity, category, detail = spelt.groups()
    if severity not in _SEVERITIES or category not in _CATEGORIES or detail not in _DETAILS:
        return spelt[0]
    return f"{_SEVERITIES[severity]}{_CATEGORIES.index(category)}{_DETAILS.index(detail)}"


def _once(text: str) -> str:
    if not (first := _CONTINUED.search(text)):
        return text
    again = re.compile(rf"(?<= ){first[1]}[- ](?:\d\.\d{{1,3}}\.\d{{1,3}} )?")
    return text[: first.end()] + again.sub("", text[first.end() :])


def _challenges(text: str) -> list[str]:
    """The JSON objects that stand in `text` in base64."""
    found = []
    for match in _BASE64.finditer(text):
        try:
            decoded = base64.b64decode(match[0] + "=" * (-len(match[0]) % 4)).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue
        if decoded.startswith("{"):
            found.append(decoded)
    return found


def _in_english(text: str) -> list[str]:
    """What the words of other languages in `text` mean, in their order; nothing where they are too few."""
    meanings, pattern = _glossary()
    found = [meanings[match[0]] for match in pattern.finditer(text.lower())]
    return found if len(set(found)) >= _FEWEST else []


@cache
def _glossary() -> tuple[dict[str, str], re.Pattern[str]]:
    """The English for each foreign word, and a pattern that finds the words, longer ones first."""
    lines = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    entries = (line.split(": ") for line in lines)
    meanings = {word: english for english, words in entries for word in words.split(", ")}
    by_first_letter: dict[str, list[str]] = {}
    for word in sorted(meanings, key=len, reverse=True):
        by_first_letter.setdefault(word[0], []).append(re.escape(word[1:]))
    spaced = [f"{first}(?:{'|'.join(rest)})" for first, rest in by_first_letter.items() if first < _FIRST_UNSPACED]
    unspaced = [f"{first}(?:{'|'.join(rest)})" for first, rest in by_first_letter.items() if first >= _FIRST_UNSPACED]
    return meanings, re.compile(rf"\b(?:{'|'.join(spaced)})|{'|'.join(unspaced)}")
