"""Makes text from strangers fit to be stored and shown: short, without our secrets, with nothing invisible in it."""

import base64
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote

LONGEST = 500
_MASK = "***"

# C0 has pictures of its own in Unicode. Everything else that could hide or turn text around gets its number: C1, DEL,
# the embeddings, overrides and isolates of the bidirectional algorithm, and line separators.
_MARKS = {code: chr(0x2400 + code) for code in range(0x20)}
_MARKS |= {code: f"<U+{code:04X}>" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F))}
_MARKS |= {code: f"<U+{code:04X}>" for code in range(0x2066, 0x206A)}
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """Return `text` with control and bidi characters as visible marks and lone surrogates as U+FFFD."""
    if text.isprintable() or not _UNSAFE.search(text):
        return text
    return _SURROGATES.sub("\ufffd", text).translate(_MARKS)


def scrub(text: str | bytes, secrets: Iterable[str] = ()) -> str:
    """Return at most 500 characters of what a server said, secrets masked, control and bidi characters visible.

    Each of `secrets` is masked as it stands and in base64, wherever in a base64 text it begins.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = visible(" ".join(mask(text, secrets).split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with every form of `secrets` replaced by three stars."""
    for form in sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True):
        text = text.replace(form, _MASK)
    return text


def _forms(secret: str) -> set[str]:
    """All spellings under which `secret` could come back to us."""
    if not secret:
        return set()
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {
        secret,
        " ".join(secret.split()) or secret,
        base64.b64encode(raw).decode("ascii"),
        quote(secret, errors="replace"),
    }
    forms.add(secret.replace("\\", "\\\\").replace('"', '\\"'))  # as within a quoted string
    with suppress(UnicodeEncodeError):
        forms.add(secret.encode("latin-1").decode("utf-8", "replace"))  # as an old server may send it back
    for offset in range(3):
        # A secret inside a longer payload begins at one of three places of a base64 group: the characters that mix it
        # with its neighbours are left out, the rest always looks the same.
        encoded = base64.b64encode(b"\0" * offset + raw).decode("ascii").rstrip("=")
        inner = encoded[(0, 2, 3)[offset] : (offset + len(raw)) * 8 // 6]
        if len(inner) >= 4:
            forms.add(inner)
    return forms
