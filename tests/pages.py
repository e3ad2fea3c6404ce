"""A client that reads every page strictly: a page that would trouble a browser or a screen reader fails the test."""

from collections import Counter
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
from flask import Flask
from flask import session as cookie
from flask_wtf.csrf import generate_csrf
from werkzeug.test import TestResponse

HTML = "{http://www.w3.org/1999/xhtml}"
# html5lib speaks of HTML as it was before these attributes and elements; everything else it finds is a defect.
TOLERATED = {"unexpected-start-tag-implies-end-tag"}
UNLABELLED = {"hidden", "submit", "button", "reset"}


class Page:
    """One answer, parsed. Raises AssertionError for what no page may have."""

    def __init__(self, response: TestResponse) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.location = response.headers.get("Location", "")
        self.text = response.get_data(as_text=True)
        self.is_html = response.mimetype == "text/html" and bool(self.text)
        if self.is_html:
            whole = self.text.lstrip().lower().startswith("<!doctype")
            parser = html5lib.HTMLParser(strict=False)
            self.root: Element = parser.parse(self.text) if whole else _fragment(parser, self.text)
            problems = [code for _, code, _ in parser.errors if code not in TOLERATED]
            assert not problems, f"not valid HTML: {problems}"
            self._review(whole=whole)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements `tag` with these attributes, in order (`class_` matches one class among several)."""
        wanted_class = attributes.pop("class_", None)
        return [
            e
            for e in self.root.iter(HTML + tag)
            if all(e.get(k.replace("_", "-")) == v for k, v in attributes.items())
            and (wanted_class is None or wanted_class in e.get("class", "").split())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only such element."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} elements {tag} {attributes}"
        return found[0]

    def words(self, element: Element | None = None) -> str:
        """What can be read, with single spaces."""
        return " ".join("".join((self.root if element is None else element).itertext()).split())

    @property
    def title(self) -> str:
        return self.words(self.one("title"))

    def value(self, field_id: str) -> str | None:
        """What stands in the field `field_id`."""
        for tag in ("input", "select", "textarea"):
            for e in self.all(tag, id=field_id):
                if tag == "select":
                    chosen = [o for o in e.iter(HTML + "option") if o.get("selected") is not None]
                    return chosen[0].get("value") if chosen else None
                return e.get("value") if tag == "input" else self.words(e)
        raise AssertionError(f"there is no field {field_id}")

    def error(self, field_id: str) -> str:
        """The error shown next to the field `field_id`, or nothing."""
        found = [e for e in self.root.iter() if e.get("id") == f"{field_id}-error"]
        return self.words(found[0]) if found else ""

    def _review(self, *, whole: bool) -> None:
        ids = Counter(e.get("id") for e in self.root.iter() if e.get("id"))
        assert not [i for i, n in ids.items() if n > 1], f"ids that stand twice: {ids.most_common(3)}"
        if whole:
            title = self.words(self.one("title"))
            assert len(title) > len(" · Mailadmin"), f"empty title {title!r}"
            assert len(self.all("h1")) == 1, "a page has one h1"
        for form in self.all("form"):
            if form.get("method", "get").lower() == "post":
                assert form.get("action"), "a form without action"
        labelled = {e.get("for") for e in self.all("label")}
        inside = {id(e) for label in self.all("label") for e in label.iter()}
        for tag in ("input", "select", "textarea"):
            for e in self.all(tag):
                if e.get("type") in UNLABELLED or id(e) in inside or e.get("aria-label"):
                    continue
                assert e.get("id") in labelled, f"no label for {tag} {e.get('name')}"
        for e in self.root.iter():
            assert "style" not in e.attrib, "a style attribute"
            assert not [a for a in e.attrib if a.startswith(("on", "hx-on"))], "an inline script"
            for reference in (e.get("aria-describedby") or "").split():
                assert reference in ids, f"aria-describedby names {reference}, which is not there"
        for e in self.all("input", type="password"):
            assert not e.get("value"), "a password field with a value"


class Browser:
    """A client that keeps cookies, sends the CSRF token, and checks every page."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._client = app.test_client()

    def get(self, path: str, *, htmx: bool = False, follow: bool = False) -> Page:
        return Page(self._client.get(path, headers=_headers(htmx), follow_redirects=follow))

    def post(self, path: str, data: dict[str, Any] | None = None, *, htmx: bool = False, follow: bool = False) -> Page:
        """Send a form as a person would, with the token of the session."""
        fields = {**(data or {}), "csrf_token": self._token()}
        return Page(self._client.post(path, data=fields, headers=_headers(htmx), follow_redirects=follow))

    def post_without_token(self, path: str, data: dict[str, Any] | None = None) -> Page:
        return Page(self._client.post(path, data=data or {}))

    def sign_in(self, email: str, password: str) -> Page:
        return self.post("/sign-in", {"email": email, "password": password})

    def _token(self) -> str:
        """What the next page would have in its forms."""
        with self._client.session_transaction() as kept, self._app.test_request_context():
            cookie.update(kept)
            token = generate_csrf()
            if "csrf_token" not in kept:
                kept["csrf_token"] = cookie["csrf_token"]
        return token


def _headers(htmx: bool) -> dict[str, str]:
    return {"HX-Request": "true"} if htmx else {}


def _fragment(parser: html5lib.HTMLParser, text: str) -> Element:
    root: Element = parser.parseFragment(text)
    return root
