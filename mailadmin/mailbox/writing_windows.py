"""Tells two windows in which somebody writes the same draft from one that is slower than itself.

A page saves while somebody types, and may send before it has heard that the last saving is done: then it names a
version that it has made old itself. So every page has a name of its own, and the session in the browser says which page
saved last, and what came of it. Another window, or another browser, is told.
"""

import secrets

from flask import session as cookie

_LAST = "written"


def a_name() -> str:
    """A name for a page."""
    return secrets.token_urlsafe(6)


def note(outgoing_id: int, window: str, version: int) -> None:
    """Remember that this page saved last."""
    cookie[_LAST] = [outgoing_id, window[:20], version]


def version_of(outgoing_id: int, window: str, version: int, stored: int) -> int:
    """The version that a page means with `version`: the `stored` one if the page made that itself."""
    is_own = bool(window) and cookie.get(_LAST) == [outgoing_id, window[:20], stored]
    return stored if is_own else version
