"""Decodes the encoded words of RFC 2047 as they are found in the wild, not only as they should be."""

import base64
import binascii
import re

from mailadmin.mail.charsets import decode

_BEGIN = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?")
_ESCAPED = re.compile(rb"(?:=[0-9A-Fa-f]{2})+")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]+")

_Word = tuple[str, str, str]  # charset, encoding (b or q), text


def decoded(text: str) -> str:
    """Return `text` with its encoded words (RFC 2047 section 4) decoded; what is no such word stays as it is.

    Neighbouring words are joined before their bytes are decoded, because senders cut characters in two, and blanks
    between them are dropped (section 6.2). Never raises; the work is linear in the length.
    """
    if "=?" not in text:
        return text
    out: list[str] = []
    run: list[_Word] = []
    position = 0
    while match := _BEGIN.search(text, position):
        end = text.find("?=", match.end())
        if end < 0:
            break
        between = text[position : match.start()]
        if between.strip() or not run:
            out += [_join(run), between]
            run = []
        run.append((match[1].lower(), match[2].lower(), text[match.end() : end]))
        position = end + 2
    return "".join([*out, _join(run), text[position:]])


def _join(run: list[_Word]) -> str:
    """The text of neighbouring words."""
    if not run:
        return ""
    pieces: list[tuple[str, bytes]] = []
    waiting = ""
    for index, (charset, encoding, text) in enumerate(run):
        if encoding == "b":
            text, waiting = waiting + text, ""
            following = run[index + 1][:2] if index + 1 < len(run) else None
            if following == (charset, "b") and len(text) % 4 and not text.endswith("="):
                waiting = text  # A sender cut the base64 itself in two.
                continue
        raw = _from_base64(text) if encoding == "b" else _from_q(text)
        if pieces and pieces[-1][0] == charset:
            pieces[-1] = (charset, pieces[-1][1] + raw)
        else:
            pieces.append((charset, raw))
    return "".join(decode(raw, charset) for charset, raw in pieces)


def _from_base64(text: str) -> bytes:
    clean = _NOT_BASE64.sub("", text)
    clean = clean[:-1] if len(clean) % 4 == 1 else clean  # One character alone holds no whole byte.
    try:
        return base64.b64decode(clean + "=" * (-len(clean) % 4))
    except binascii.Error:
        return text.encode("utf-8", "replace")


def _from_q(text: str) -> bytes:
    raw = text.encode("utf-8", "replace").replace(b"_", b" ")
    return _ESCAPED.sub(lambda run: binascii.unhexlify(run[0].replace(b"=", b"")), raw)
