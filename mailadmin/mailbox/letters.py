"""How a message is shown: its text with links, its HTML in a frame of its own, its pictures and files."""

import base64
import re
from collections.abc import Iterator
from typing import Any

from flask import Request
from markupsafe import Markup, escape
from sqlalchemy.orm import Session

from mailadmin import queue
from mailadmin.mail import markup
from mailadmin.mail.scrub import visible
from mailadmin.sync import reading
from mailadmin.sync.reading import Opened

POLLS = 90  # after which a page stops asking for what nobody fetches
RINGS_EVERY = 5  # polls
MOST_LINKS = 500
_LINK = re.compile(r"\bhttps?://[^\s<>\"'\u202a-\u202e\u2066-\u2069]{3,2000}", re.IGNORECASE)
_TRAILING = ".,;:!?)]}'*_"
_LINES = re.compile(r"[^\n]+")
# The page in the frame: no scripts, forms or plug-ins, nothing from anywhere; it is of no origin, so that nothing in it
# could act as the person who reads. Pictures are in the page, or, once somebody wants them, from the internet.
POLICY = (
    "default-src 'none'; img-src data:{pictures}; style-src 'self' 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)


def ring(session: Session, opened: Opened) -> None:
    """Ask for what the page of the message needs and does not have."""
    if not opened.is_known:
        if not opened.trouble and not opened.message.unreadable:
            queue.ring("text", opened.message.id)
        return
    if missing := _missing(session, opened):
        queue.ring("file", opened.message.id, *missing)


def _missing(session: Session, opened: Opened) -> list[int]:
    """The places of pictures that the HTML shows and that are still to be fetched."""
    parts = opened.parts
    return [n for n in opened.pictures() if not parts[n].get("trouble") and not reading.are_kept(session, parts[n])]


def context(session: Session, opened: Opened, *, pictures: bool, polls: int = 0) -> dict[str, Any]:
    """What `mailbox/_text.html` needs."""
    html = opened.text.html if opened.text and opened.is_known else ""
    is_late = not opened.is_known or bool(_missing(session, opened))
    safe = markup.sanitised(html) if html else None
    return {
        "opened": opened,
        "safe": safe,
        "plain": paragraphs(opened.text.text) if opened.text and opened.is_known and not html else None,
        "pictures": pictures,
        "polls": polls + 1 if is_late and not opened.trouble and not opened.message.unreadable else None,
        "is_given_up": polls >= POLLS,
        "files": opened.files(),
        "largest": reading.LARGEST_FILE,
    }


def may_load_pictures(request: Request) -> bool:
    """Whether this person has asked for pictures on our page: no other page, and no letter, can do it for them."""
    return "pictures" in request.args and request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"


def framed(session: Session, opened: Opened, *, pictures: bool) -> markup.Safe:
    """The HTML of a message as it may stand in the frame."""
    html = opened.text.html if opened.text else ""
    own = {str(opened.parts[n]["cid"]): address for n, address in _addresses(session, opened)}
    return markup.sanitised(html, pictures=pictures, inner=own)


def _addresses(session: Session, opened: Opened) -> Iterator[tuple[int, str]]:
    for place in opened.pictures():
        part = opened.parts[place]
        content = b"".join(reading.pieces(session, part))
        if 0 < len(content) <= reading.LARGEST_PICTURE:
            yield place, f"data:{part['type']};base64,{base64.b64encode(content).decode('ascii')}"


def paragraphs(text: str) -> list[Markup]:
    """A plain text as paragraphs, in which addresses of web pages can be followed."""
    found = []
    links = 0
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = []
        for line in _LINES.findall(block):
            links += 1
            lines.append(_linked(line) if links < MOST_LINKS else escape(_shown(line)))
        if lines:
            found.append(Markup("<br>").join(lines))
    return found


def _linked(line: str) -> Markup:
    pieces, position = [], 0
    for match in _LINK.finditer(line):
        address = match[0].rstrip(_TRAILING)
        link = Markup('<a href="{0}" target="_blank" rel="noopener noreferrer nofollow">{0}</a>').format(address)
        pieces += [escape(_shown(line[position : match.start()])), link]
        position = match.start() + len(address)
    return Markup("").join([*pieces, escape(_shown(line[position:]))])


def _shown(line: str) -> str:
    """`line` with blanks at its beginning kept, and without anything that turns it around."""
    bare = line.lstrip(" \t")
    indent = min(line[: len(line) - len(bare)].expandtabs(4).count(" "), 40)
    return "\u00a0" * indent + visible(bare.replace("\t", "    "))
