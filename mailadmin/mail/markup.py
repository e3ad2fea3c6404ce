"""Makes HTML from strangers harmless, and text of it. The only import of nh3, which parses as browsers do.

What makes HTML dangerous to a browser is left out by an allow-list: scripts, forms, styles in blocks, whatever is not
known. Pictures from the internet are left out as well until somebody wants them, because each tells its sender that,
when and where the message is read. What makes HTML dangerous to us is depth: a tree of fifty thousand elements within
each other, or of formats that every paragraph opens anew, takes a parser minutes. That is counted first, and such
HTML is shown as the text that it contains.
"""

import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import nh3

DEEPEST = 600
MOST_REOPENED = 100_000  # formats times blocks
_HARMLESS = 600  # tags: they are neither deeper than that, nor are 300 formats times 300 blocks too many
LONGEST_LINK = 4000
_BLOCKS = (
    "address", "article", "aside", "blockquote", "center", "dd", "div", "dl", "dt", "figure", "footer", "h1", "h2",
    "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
)  # fmt: skip
_FORMATS = frozenset({"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"})
_BREAKS = frozenset({"br", *_BLOCKS})
_OF_ONE_LINE = frozenset({"br", "li", "tr", "dt", "dd"})
_TAGS = {
    *("abbr", "b", "bdi", "bdo", "big", "br", "caption", "cite", "code", "col", "colgroup", "del", "dfn", "em"),
    *("figcaption", "font", "i", "img", "ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong"),
    *("sub", "sup", "tbody", "td", "tfoot", "th", "thead", "tt", "u", "var", "wbr", "a", *_BLOCKS),
}
_GONE_WITH_CONTENT = {"script", "style", "title", "head", "noscript", "template", "iframe", "object", "svg", "math"}
_SIZES = {"align", "valign", "width", "height", "bgcolor"}
_ATTRIBUTES: dict[str, set[str]] = {
    "*": {"dir", "lang", "title", "style"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height", "border", "align"},
    "font": {"color", "face", "size"},
    "table": {*_SIZES, "border", "cellpadding", "cellspacing"},
    "tr": _SIZES,
    "td": {*_SIZES, "colspan", "rowspan", "nowrap"},
    "th": {*_SIZES, "colspan", "rowspan", "nowrap"},
    "col": {"span", "width"},
    "div": {"align"},
    "p": {"align"},
    "ol": {"start", "type"},
    "li": {"value"},
}
# None of these takes an address or moves anything out of its place.
_STYLES = {
    "background-color", "border", "border-bottom", "border-collapse", "border-color", "border-left", "border-radius",
    "border-right", "border-spacing", "border-style", "border-top", "border-width", "color", "direction", "display",
    "font", "font-family", "font-size", "font-style", "font-variant", "font-weight", "height", "letter-spacing",
    "line-height", "list-style-type", "margin", "margin-bottom", "margin-left", "margin-right", "margin-top",
    "max-height", "max-width", "min-height", "min-width", "padding", "padding-bottom", "padding-left",
    "padding-right", "padding-top", "table-layout", "text-align", "text-decoration", "text-indent", "text-transform",
    "vertical-align", "white-space", "width", "word-break", "word-spacing", "word-wrap",
}  # fmt: skip
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_CLOSED_BY_THE_NEXT = frozenset({"p", "li", "td", "th", "tr", "dd", "dt", "tbody", "thead", "tfoot", "option"})
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,20})")
_BREAK = re.compile(r"<(/?)([a-z0-9]+)[^>]*>")
_COLOUR = re.compile(r"\b(?:rgb|hsl)a?\([\d\s.,%/deg]*\)", re.IGNORECASE)
_CALLS = re.compile(r"[(\\@]")
_ANY_TAG = re.compile(r"<[^<>]*>?")
_PARAGRAPH = re.compile(r"\n ?\n[ \n]*")
_HIDDEN = "\u00ad\u034f\u061c\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"  # senders pad previews
_BLANKS = (  # all that Unicode has, but the space and the line feed
    "\t\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True, slots=True)
class Safe:
    """HTML that does no harm in a frame without scripts. `remote` is how many pictures from the internet it has.

    `is_text`: it was too deep to be read as HTML and is only the text of it.
    """

    html: str
    remote: int = 0
    is_text: bool = False


def sanitised(text: str, *, pictures: bool = False, inner: Mapping[str, str] | None = None) -> Safe:
    """`text`, HTML from anybody, as what a person may look at. Never raises.

    With `pictures` those from the internet stay, over https; `inner` are the addresses of the message's own by cid.
    """
    if _is_too_deep(text):
        return Safe(f"<pre>{html.escape(_bare(text))}</pre>", is_text=True)
    seen: list[str] = []
    own = inner or {}

    def keep(tag: str, name: str, value: str) -> str | None:
        if name == "src":
            return _picture(value, seen, own, pictures=pictures)
        if name == "href":
            return _link(value)
        return _harmless_style(value) if name == "style" else value[:LONGEST_LINK]

    cleaned = nh3.clean(
        text.replace("\0", ""),
        tags=_TAGS,
        clean_content_tags=_GONE_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        attribute_filter=keep,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto", "cid"},
        url_relative="deny",
        filter_style_properties=_STYLES,
    )
    return Safe(cleaned, remote=len(seen))


def _picture(value: str, seen: list[str], own: Mapping[str, str], *, pictures: bool) -> str | None:
    """The address of a picture that may be shown, or None; `seen` gets those from the internet."""
    address = value.strip()
    scheme, _, rest = address.partition(":")
    if scheme.lower() == "cid":
        return own.get(rest.strip("<>"))
    if scheme.lower() not in ("http", "https") or len(address) > LONGEST_LINK:
        return None
    seen.append(address)
    return f"https:{rest}" if pictures else None


def _link(value: str) -> str | None:
    """An address that may be followed, or None; nothing in it may be of our own console."""
    address = value.strip()
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if len(address) > LONGEST_LINK or parts.scheme.lower() not in ("http", "https", "mailto"):
        return None
    return address


def _harmless_style(value: str) -> str | None:
    """The declarations that call nothing but colours: no address can be in them, however it is written."""
    kept = (each for each in value[:LONGEST_LINK].split(";") if not _CALLS.search(_COLOUR.sub("", each)))
    return ";".join(kept) or None


def as_text(text: str) -> str:
    """What can be read in `text`, HTML from anybody, line by line, without what hides there. Never raises."""
    if _is_too_deep(text):
        return _bare(text)
    cleaned = nh3.clean(
        text.replace("\0", ""),
        tags=set(_BREAKS),
        clean_content_tags=_GONE_WITH_CONTENT,
        attributes={},
        link_rel=None,
    )
    flat = cleaned.replace("\r", " ").replace("\n", " ")
    return _tidy(html.unescape(_BREAK.sub(_line_end, flat)))


def _line_end(tag: re.Match[str]) -> str:
    if tag[2] in _OF_ONE_LINE:
        return "" if tag[1] else "\n"
    return "\n\n"


def _bare(text: str) -> str:
    """`text` without anything that looks like a tag."""
    return _tidy(html.unescape(_ANY_TAG.sub(" ", text)))


def _tidy(text: str) -> str:
    for hidden in _HIDDEN:
        text = text.replace(hidden, "")
    for blank in _BLANKS:
        text = text.replace(blank, " ")
    while "  " in text:
        text = text.replace("  ", " ")
    return _PARAGRAPH.sub("\n\n", text).replace(" \n\n", "\n\n").replace("\n ", "\n").strip()


def _is_too_deep(text: str) -> bool:
    """Whether a parser might need too long; what it would close by itself is left out of the count."""
    if text.count("<") <= _HARMLESS:
        return False
    opened: Counter[str] = Counter()
    depth = deepest = formats = most_formats = blocks = 0
    for match in _TAG.finditer(text):
        name = match[2].lower()
        if name in _VOID or name in _CLOSED_BY_THE_NEXT:
            blocks += 1
            continue
        step = (-1 if opened[name] else 0) if match[1] else 1
        opened[name] += step
        depth += step
        deepest = max(deepest, depth)
        if name in _FORMATS:
            formats += step
            most_formats = max(most_formats, formats)
        else:
            blocks += 1
    return deepest > DEEPEST or (most_formats > 3 and most_formats * blocks > MOST_REOPENED)
