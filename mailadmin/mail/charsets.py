"""Turns bytes of mail into text with the charset that they name, if it is one for text, or with a good guess."""

import functools
import re
from encodings.aliases import aliases

# Only these codecs are ever used for bytes from strangers: codecs such as zlib, base64, utf-7 and idna have names too.
_ALLOWED = frozenset({
    "ascii", "utf_8", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le", "latin_1",
    "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_5", "iso8859_6", "iso8859_7", "iso8859_8", "iso8859_9",
    "iso8859_10", "iso8859_11", "iso8859_13", "iso8859_14", "iso8859_15", "iso8859_16", "cp437", "cp737", "cp775",
    "cp850", "cp852", "cp855", "cp857", "cp858", "cp860", "cp861", "cp862", "cp863", "cp864", "cp865", "cp866",
    "cp869", "cp874", "cp932", "cp949", "cp950", "cp1006", "cp1125", "cp1250", "cp1251", "cp1252", "cp1253",
    "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "koi8_r", "koi8_t", "koi8_u", "kz1048", "ptcp154",
    "mac_cyrillic", "mac_greek", "mac_iceland", "mac_latin2", "mac_roman", "mac_turkish", "tis_620", "viscii",
    "big5", "big5hkscs", "gb2312", "gbk", "gb18030", "hz", "euc_jp", "euc_jis_2004", "euc_jisx0213", "shift_jis",
    "shift_jis_2004", "shift_jisx0213", "iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_2004",
    "iso2022_jp_3", "iso2022_jp_ext", "iso2022_kr", "euc_kr", "johab",
})  # fmt: skip
# Names that Python does not know, and names that senders use for more than they mean (a superset reads both).
_MEANT = {
    "ascii": "utf_8",
    "latin_1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_ext",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_6_i": "iso8859_6",
    "x_sjis": "cp932",
    "windows_31j": "cp932",
    "x_gbk": "gb18030",
    "x_euc_jp": "euc_jp",
    "x_mac_roman": "mac_roman",
    "macintosh": "mac_roman",
    "x_big5": "big5hkscs",
    "windows_874": "cp874",
    "unicode_1_1_utf_8": "utf_8",
}
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def codec_for(charset: str) -> str:
    """Return the Python codec for the MIME name `charset`, or an empty string if it is unknown or not for text."""
    return _codec(charset[:60])


@functools.lru_cache(maxsize=256)
def _codec(charset: str) -> str:
    name = _SEPARATORS.sub("_", charset.partition("*")[0].lower()).strip("_")
    if name in _MEANT:
        return _MEANT[name]
    codec = aliases.get(name, name)
    return _MEANT.get(codec, codec) if codec in _ALLOWED else ""


def decode(raw: bytes, charset: str = "") -> str:
    """Return `raw` as text: in `charset` if that fits, else UTF-8 if that fits, else Western European. Never raises."""
    for codec in filter(None, (codec_for(charset), "utf_8")):
        try:
            return raw.decode(codec)
        except (UnicodeError, ValueError):
            continue
    codec = codec_for(charset)
    if codec and codec != "utf_8" and len(raw) > 2:
        return raw.decode(codec, "replace")
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin_1")
