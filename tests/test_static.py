"""The files that browsers get: copies are as published, and templates keep to the content security policy."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "mailadmin" / "static"
VENDOR = STATIC / "vendor"
LEDGER = json.loads((VENDOR / "vendor.json").read_text("utf-8"))
COPIED = {name: entry for name, entry in LEDGER.items() if "sha384" in entry}
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
IN_SPRITE = set(re.findall(r'<symbol id="([a-z0-9-]+)"', (STATIC / "icons.svg").read_text("utf-8")))

# Where a template names an icon in plain text. The names in the tables of _m.html stand in quotes after a tone.
_ICON_NAMES = [
    re.compile(r"""\bicon\(\s*['"]([a-z0-9-]+)['"]"""),
    re.compile(r"""\b_svg\(\s*['"]([a-z0-9-]+)['"]"""),
    re.compile(r"""\bicon(?:_name)?\s*=\s*['"]([a-z0-9-]+)['"]"""),
    re.compile(r"""\b(?:badge|toast)\(\s*['"](?:ok|run|warn|bad|off)['"],\s*['"]([a-z0-9-]+)['"]"""),
    re.compile(r"""\(\s*['"](?:ok|run|warn|bad|off)['"],\s*['"]([a-z0-9-]+)['"]"""),
    re.compile(r"""icons\.svg['")\s}]*#([a-z0-9-]+)"""),
]

_FORBIDDEN = {
    "an inline style": re.compile(r"""(?<![\w-])style\s*=\s*["']""", re.I),
    "a style element": re.compile(r"<style\b", re.I),
    "an inline script": re.compile(r"<script\b(?![^>]*\bsrc=)", re.I),
    "an event attribute": re.compile(r"""\son[a-z]+\s*=\s*["']""", re.I),
    "hx-on": re.compile(r"\bhx-on\b", re.I),
    "js: in a value": re.compile(r"\b(?:js|javascript):", re.I),
    "an event filter": re.compile(r"""hx-trigger\S*=["'][^"']*\w\["""),
    "the safe filter": re.compile(r"\|\s*safe\b|\bautoescape\s+false\b"),
    "another server": re.compile(r"""\b(?:src|srcset)\s*=\s*["'](?:https?:)?//""", re.I),
}
_FIELD = re.compile(r"""<(?:textarea|select)\b|<input\b[^>]*type=["'](?:text|email|password|number|radio)["']""")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT / "templates"))


def _without_comments(text: str) -> str:
    return re.sub(r"\{#.*?#\}", "", text, flags=re.S)


@pytest.mark.parametrize("name", COPIED)
def test_copied_file_is_what_its_makers_published(name):
    digest = hashlib.sha384((VENDOR / name).read_bytes()).digest()
    assert base64.b64encode(digest).decode() == COPIED[name]["sha384"]


@pytest.mark.parametrize("entry", LEDGER.values(), ids=list(LEDGER))
def test_what_others_made_comes_with_its_licence(entry):
    assert all(entry[key] for key in ("package", "version", "licence"))
    assert (VENDOR / entry["licence_file"]).stat().st_size > 200


def test_nothing_lies_in_vendor_unlisted():
    listed = {"vendor.json", *COPIED} | {entry["licence_file"] for entry in LEDGER.values()}
    assert {path.name for path in VENDOR.iterdir()} == listed


def test_the_file_name_of_htmx_says_its_version():
    scripts = {name: entry["version"] for name, entry in COPIED.items() if entry["package"] == "htmx.org"}
    assert scripts == {f"htmx-{version}.min.js": version for version in scripts.values()}
    base = (ROOT / "templates" / "base.html").read_text("utf-8")
    for name in scripts:
        assert f"asset('vendor/{name}')" in base
        assert f"vendor_integrity('{name}')" in base


def test_the_sprite_says_where_its_icons_come_from():
    entry = LEDGER["../icons.svg"]
    head = (STATIC / "icons.svg").read_text("utf-8").splitlines()[0]
    assert f"Tabler Icons {entry['version']}, {entry['licence']} licence" in head


def test_the_style_sheet_asks_only_for_files_that_are_here():
    addresses = re.findall(r"""url\(\s*["']?([^"')]+)""", (STATIC / "console.css").read_text("utf-8"))
    assert addresses
    for address in addresses:
        assert (STATIC / address).is_file()


@pytest.mark.parametrize("path", TEMPLATES, ids=_name)
def test_every_icon_of_a_template_is_in_the_sprite(path):
    text = _without_comments(path.read_text("utf-8"))
    named = {name for pattern in _ICON_NAMES for name in pattern.findall(text)}
    if path.name == "_m.html":
        for table in re.findall(r"set _(?:TONE_ICONS|GLYPHS) = \{(.*?)\}", text):
            named.update(re.findall(r":\s*'([a-z0-9-]+)'", table))
    assert named <= IN_SPRITE


@pytest.mark.parametrize("path", TEMPLATES, ids=_name)
def test_template_keeps_to_the_content_security_policy(path):
    text = _without_comments(path.read_text("utf-8"))
    assert [what for what, pattern in _FORBIDDEN.items() if pattern.search(text)] == []


def test_field_markup_stands_in_one_file():
    strays = {}
    for path in TEMPLATES:
        text = _without_comments(path.read_text("utf-8"))
        # A search field, tick boxes of a table and hidden values are not fields of a form object.
        found = _FIELD.findall(text)
        if found and path.name != "_form.html":
            strays[_name(path)] = found
    assert strays == {}
