"""Makes what people type, and what browsers say of files, fit to be stored and sent."""

import re

from mailadmin.text import t

UNKNOWN_TYPE = "application/octet-stream"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,120}")
_NEVER = ("message/", "multipart/")  # These may not be sent in base64 (RFC 2046 5.1, 5.2), as all our files are.
_HIDDEN = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # An ending must be what it seems to be.
_NAME_LENGTH = 200


def tidy_text(text: str) -> str:
    """`text` with simple line ends and without control characters."""
    return _CONTROL.sub("", _LINE_ENDS.sub("\n", text))


def tidy_line(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join(tidy_text(text).split())


def clean_type(text: str) -> str:
    """`text` if it is a type that a file can have here, or that of any file."""
    kind = text.strip().lower()
    return kind if _TYPE.fullmatch(kind) and not kind.startswith(_NEVER) else UNKNOWN_TYPE


def clean_name(text: str) -> str:
    """The name of a file without folders and without what cannot be seen, at most 200 characters."""
    name = _HIDDEN.sub("", tidy_line(re.split(r"[/\\]", text)[-1])).strip(". ")
    stem, dot, ending = name.rpartition(".")
    if len(name) > _NAME_LENGTH:
        name = f"{stem[: _NAME_LENGTH - 1 - len(ending)]}.{ending}" if dot and len(ending) < 20 else name[:_NAME_LENGTH]
    return name or t("file")
