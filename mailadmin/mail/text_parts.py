"""Chooses the parts of a message that are read, undoes their encodings, and makes one text of them."""

import binascii
import codecs
import html as markup_of
import mimetypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mailadmin.mail.charsets import codec_for, decode
from mailadmin.mail.markup import as_text
from mailadmin.mail.scrub import visible
from mailadmin.mail.structure import Part

MOST_SECTIONS = 5  # texts that are read as one; what comes after them is a file
PREVIEW_LENGTH = 300
_META = re.compile(rb"<meta[^>]{0,300}charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_BARE_RETURN = re.compile(rb"\r(?!\n)")
_LINE = re.compile(r"[^\n]+")
_RULE = re.compile(r"[-=_*~#.\s]{4,}")
_CONTROLS = bytes(code for code in (*range(0x20), 0x7F) if chr(code) not in "\t\n")


@dataclass(frozen=True, slots=True)
class Section:
    """One piece of what a person reads, plainly and as HTML, or only one of the two."""

    plain: Part | None = None
    html: Part | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a message is read, in order, and what is listed as files; `inner` are pictures that HTML may show."""

    sections: tuple[Section, ...] = ()
    files: tuple[Part, ...] = ()
    inner: tuple[Part, ...] = ()

    @property
    def texts(self) -> list[Part]:
        """The parts that have to be fetched to read the message."""
        return [part for section in self.sections for part in (section.plain, section.html) if part is not None]


@dataclass(frozen=True, slots=True)
class Text:
    """What was made of a message: `text` for searching, `html` as it came or empty, `preview` in one line."""

    text: str = ""
    html: str = ""
    preview: str = ""
    is_cut: bool = False


def choose(whole: Part | None) -> Choice:
    """Of the alternatives of a message (RFC 2046 5.1.4) the plain one and the HTML; of everything else the texts.

    Every part that is no multipart is in exactly one place of the answer, but for alternatives nobody needs. Never
    raises.
    """
    if whole is None:
        return Choice()
    sections, rest = _sections(whole)
    surplus = [part for section in sections[MOST_SECTIONS:] for part in (section.plain, section.html) if part]
    read = tuple(sections[:MOST_SECTIONS])
    has_html = any(section.html for section in read)
    inner = tuple(part for part in rest if has_html and _is_inner(part))
    files = tuple(part for part in (*rest, *surplus) if part not in inner)
    return Choice(read, files, inner)


def _sections(part: Part) -> tuple[list[Section], list[Part]]:
    if part.type == "multipart/alternative":
        return _alternatives(part)
    if part.type.startswith("multipart/"):
        sections: list[Section] = []
        rest: list[Part] = []
        for child in part.children:
            if _is_body(child) and child.name and sections:
                rest.append(child)
                continue
            more, others = _sections(child)
            if part.type == "multipart/related":  # What belongs to HTML is no attachment, whatever it calls itself.
                others = [replace(other, disposition="inline") if other.cid else other for other in others]
            sections += more
            rest += others
        return sections, rest
    if _is_body(part):
        return [Section(html=part) if part.type == "text/html" else Section(plain=part)], []
    return [], [part]


def _alternatives(part: Part) -> tuple[list[Section], list[Part]]:
    """The first plain text and the last HTML are one section; what is neither is a file."""
    plains: list[Section] = []
    htmls: list[Section] = []
    rest: list[Part] = []
    for child in part.children:
        found, others = _sections(child)
        rest += others
        if any(section.html for section in found):
            htmls = found
        elif not plains:
            plains = found
    if len(plains) == len(htmls) == 1 and htmls[0].plain is None:
        return [Section(plains[0].plain, htmls[0].html)], rest
    return htmls or plains, rest


def _is_inner(part: Part) -> bool:
    return bool(part.cid) and part.type.startswith("image/") and part.disposition != "attachment"


def _is_body(part: Part) -> bool:
    return part.type in ("text/plain", "text/html") and part.disposition != "attachment"


def file_name(part: Part) -> str:
    """What the file of `part` is called when it is saved."""
    extension = mimetypes.guess_extension(part.type) or ".bin"
    return part.name or f"part-{part.number or '0'}{extension}"


# From bytes to text.


def read(choice: Choice, contents: Mapping[str, bytes], *, most: int, asked: int) -> Text:
    """The text of a message of which `contents` has the first `asked` bytes of parts by number, as transferred.

    At most `most` characters of each part are kept. Never raises.
    """
    has_html = any(section.html for section in choice.sections)
    plains, htmls, is_cut = [], [], False
    for section in choice.sections:
        plain, cut = _piece(section.plain, contents, most, asked)
        html, also_cut = _piece(section.html, contents, most, asked)
        is_cut = is_cut or cut or also_cut
        if html:
            htmls.append(html)
        elif plain and has_html:
            htmls.append(f"<pre>{markup_of.escape(plain)}</pre>")
        plains.append(plain.strip() or (as_text(html) if html else ""))
    text = "\n\n".join(filter(None, plains))
    return Text(text, "\n".join(htmls), preview(text), is_cut)


def _piece(part: Part | None, contents: Mapping[str, bytes], most: int, asked: int) -> tuple[str, bool]:
    raw = contents.get(part.number) if part else None
    if part is None or raw is None:
        return "", False
    is_cut = len(raw) >= asked
    text = _without_controls(_as_characters(unpacked(raw, part.encoding), part, is_cut=is_cut))
    if part.is_flowed:
        text = _unfolded(text)
    return text[:most], is_cut or len(text) > most


def _without_controls(text: str) -> str:
    """`text` with line feeds as the only ends of lines, and tabs as the only other controls."""
    raw = text.encode("utf-8", "surrogatepass")  # With bytes it takes a fiftieth of the time.
    if _BARE_RETURN.search(raw):
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return raw.translate(None, _CONTROLS).decode("utf-8", "surrogatepass")


def _as_characters(raw: bytes, part: Part, *, is_cut: bool) -> str:
    charset = part.charset
    if part.type == "text/html" and not codec_for(charset) and (match := _META.search(raw[:2000])):
        charset = match[1].decode("ascii", "replace")
    if is_cut:  # The last character may be half there, which is no reason to take all others for another charset.
        for codec in filter(None, (codec_for(charset), "utf_8")):
            try:
                return codecs.getincrementaldecoder(codec)().decode(raw)
            except (UnicodeError, ValueError):
                continue
    return decode(raw, charset)


def unpacked(raw: bytes, encoding: str) -> bytes:
    """`raw` without its transfer encoding (RFC 2045 6), however damaged. Never raises."""
    undo = Unpacking(encoding)
    return undo.feed(raw) + undo.finish()


class Unpacking:
    """Undoes a transfer encoding piece by piece, so that a file never has to be in memory as a whole."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._held = b""

    def feed(self, raw: bytes) -> bytes:
        """What is complete of `raw` and what was held back."""
        if self._encoding == "base64":
            clean = self._held + _NOT_BASE64.sub(b"", raw)
            whole = len(clean) - len(clean) % 4
            self._held = clean[whole:]
            return binascii.a2b_base64(clean[:whole])
        if self._encoding == "quoted-printable":
            joined = self._held + raw
            end = joined.rfind(b"\n") + 1
            if len(joined) - end > 100_000:  # A line without an end.
                end = len(joined)
            self._held = joined[end:]
            return binascii.a2b_qp(joined[:end])
        return raw

    def finish(self) -> bytes:
        """What is left."""
        held, self._held = self._held, b""
        if self._encoding == "base64":
            return binascii.a2b_base64(held + b"=" * (4 - len(held))) if len(held) > 1 else b""
        return binascii.a2b_qp(held)


def _unfolded(text: str) -> str:
    """The paragraphs of format=flowed (RFC 3676 4.2): a line that ends in a blank goes on in the next."""
    lines: list[str] = []
    goes_on = False
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        bare = line.removeprefix(" ") if not depth else line
        if goes_on and not depth:
            lines[-1] += bare
        else:
            lines.append(bare)
        goes_on = line.endswith(" ") and line != "-- " and not depth
    return "\n".join(lines)


def preview(text: str) -> str:
    """The beginning of `text` in one line: without what is quoted, as long as there is something else."""
    beginning = text[:20_000]
    return visible(_spoken(beginning, quotes=False) or _spoken(beginning, quotes=True))[:PREVIEW_LENGTH]


def _spoken(text: str, *, quotes: bool) -> str:
    """What is said in `text`, as much as a preview shows: most of a long message is never looked at."""
    said: list[str] = []
    room = PREVIEW_LENGTH
    for found in _LINE.finditer(text):
        line = found[0]
        if line.isspace() or _RULE.fullmatch(line) or (line.startswith(">") and not quotes):
            continue
        if words := " ".join(line.lstrip("> ").split()):
            said.append(words)
            room -= len(words) + 1
        if room <= 0:
            break
    return " ".join(said)[:PREVIEW_LENGTH]


def listed(choice: Choice) -> Iterator[dict[str, str | int]]:
    """The files and inner pictures of a message as plain values: number, name, type, encoding, size, cid."""
    for part in (*choice.files, *choice.inner):
        yield {
            "number": part.number,
            "name": file_name(part),
            "type": part.type,
            "encoding": part.encoding,
            "size": part.size * 3 // 4 if part.encoding == "base64" else part.size,
            "cid": part.cid if part in choice.inner else "",
        }
