"""What was typed must come back, whatever happens on its way: a session that has ended, a page that is too old, a file
that is too large.

Most requests of this console fail before anything of them is read, and that is right. These carry what somebody wrote
for half an hour. So who is not signed in any more gets their text back, with a way to sign in beside it, and may send
it again; it is never stored before that. It is given back only to a page of ours, for it is our page on which it is
shown. Whoever has signed in here before may also send more than other forms do: the files of a message.
"""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, current_app, request, url_for
from flask import session as cookie
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import RequestEntityTooLarge, TooManyRequests, Unauthorized

from mailadmin import db, web
from mailadmin.errors import NotFound
from mailadmin.mailbox import writing_page
from mailadmin.mailbox.writing_forms import ComposerForm
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.writing import service

bp = Blueprint("writing", __name__)
LARGEST = 64_000_000  # bytes of a request; what is more than a message may have is refused with all that was typed
LARGEST_TYPED = 8_000_000  # bytes of what was typed, as a form encodes it
SWALLOWED = 256_000_000  # bytes that are thrown away: who is not listened to hears no answer either
_PIECE = 262_144


@bp.url_value_preprocessor
def _prepare(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Before anything is read: how much may come. Nobody has the cookie of Flask-Login who never signed in."""
    if _keeps(endpoint) and "_user_id" in cookie:
        request.max_content_length, request.max_form_memory_size = LARGEST, LARGEST_TYPED


def _keeps(endpoint: str | None) -> bool:
    return bool(getattr(current_app.view_functions.get(endpoint or ""), "gives_back", False))


def _is_our_page() -> bool:
    """Whether a page of this console sends this; browsers say where every POST comes from (RFC 6454 7)."""
    return urlsplit(request.headers.get("Origin", "")).netloc == request.host


@bp.errorhandler(Unauthorized)
def _signed_out(_error: Unauthorized) -> Answer:
    if request.method in web.SAFE_METHODS and web.is_htmx():  # Asked by a page on which somebody types: it stays.
        return "", 401
    return _given_back(401) if _is_our_page() else web.to_sign_in()


@bp.errorhandler(CSRFError)
def _is_old(error: CSRFError) -> Answer:
    """The page is of a session that has ended; whoever signed in again meanwhile gets a new token and goes on."""
    if not _keeps(request.endpoint) or not _is_our_page():
        return web.error_answer(400, expired=True)
    return _given_back(400)


@bp.errorhandler(TooManyRequests)
def _too_often(_error: TooManyRequests) -> Answer:
    if web.is_htmx() or not _keeps(request.endpoint) or not _is_our_page():
        return web.error_answer(429)
    return _given_back(429)


def _given_back(status: int) -> Answer:
    is_signed_in = current_user.is_authenticated
    if web.is_htmx():  # The page has it all; it only learns what to do.
        return web.page("mailbox/_lost.html", None, status, is_signed_in=is_signed_in)
    typed = [(name, value) for name, value in request.form.items(multi=True) if name not in ("csrf_token", "text")]
    address = url_for("writing.save", **(request.view_args or {}))
    values = {"typed": typed, "typed_text": ComposerForm().text, "address": address, "is_too_often": status == 429}
    has_files = any(each.filename for each in request.files.getlist("files"))
    return web.page("mailbox/lost.html", None, status, is_signed_in=is_signed_in, has_files=has_files, **values)


@bp.errorhandler(RequestEntityTooLarge)
def _too_large(_error: RequestEntityTooLarge) -> Answer:
    """So much that nothing of it was read. The page has what was typed, and says at the files what is wrong."""
    if not _keeps(request.endpoint) or not current_user.is_authenticated:
        return web.error_answer(413)
    _swallow()
    said = t("The files have more than {n} MB in all, and most servers refuse that.", n=service.LARGEST // 1_000_000)
    if not web.is_htmx():
        return web.error_answer(413, f"{said} {t('Go back: what you typed is still there.')}")
    session = db.session()
    try:
        outgoing = service.get_own(session, current_user.person, (request.view_args or {})["outgoing_id"])
    except NotFound:
        return web.error_answer(413)
    form = writing_page.filled(session, outgoing)
    form.files.errors = [said]
    return web.page("mailbox/_enclosed.html", None, 413, **writing_page.composer(session, outgoing, form))


def _swallow() -> None:
    """Let the browser finish, for it reads no answer before; of what is much too large not all."""
    left = min(request.content_length or 0, SWALLOWED)
    stream = request.environ["wsgi.input"]
    while left > 0 and (piece := stream.read(min(_PIECE, left))):
        left -= len(piece)
