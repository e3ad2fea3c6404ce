"""What every route stands on: who may enter, page or partial, one way out, error pages, headers, times and words."""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    current_app,
    flash,
    g,
    redirect,
    render_template,
    request,
    url_for,
)
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter
from werkzeug.urls import iri_to_uri
from werkzeug.wrappers import Response as BaseResponse

from mailadmin import db
from mailadmin.errors import MailAdminError, NotFound, RuleBroken
from mailadmin.mail.errors import MailError
from mailadmin.mail.scrub import visible
from mailadmin.permissions import Actor, Permission
from mailadmin.shown import ago, clock, exact, hour, is_ahead, num, size
from mailadmin.text import t

log = logging.getLogger(__name__)
bp = Blueprint("web", __name__)
# Counts tries in the queue's server, so that all web processes count together; while it is away each counts by itself.
limiter = Limiter(key_func=get_remote_address, in_memory_fallback_enabled=True, strategy="moving-window")
Answer = BaseResponse | str | tuple[str, int]
View = TypeVar("View", bound=Callable[..., Any])

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
LINKS = "/c/"  # addresses that begin so are secrets
LETTER_STYLE = "letter.css"  # asked for by the frame around a letter, a sandbox of no origin
LARGEST_ID = 2**31 - 1  # of a row, as PostgreSQL has them
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; object-src 'none';"
        " script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
        " frame-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Flask-WTF wants a Referer over https, so it may not be switched off.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


# Who may enter: closed unless opened.


def allow(permission: Permission) -> Callable[[View], View]:
    """Open a route to people whose role has `permission`."""

    def mark(view: View) -> View:
        view.permission = permission  # type: ignore[attr-defined]
        return view

    return mark


def public(view: View) -> View:
    """Open a route to everybody."""
    view.permission = None  # type: ignore[attr-defined]
    return view


def polled(view: View) -> View:
    """Mark a route that a page asks by itself: it does not count as the person's activity."""
    view.polled = True  # type: ignore[attr-defined]
    return view


def gives_back(view: View) -> View:
    """Mark a route whose blueprint answers whoever is not signed in any more (401) with what they typed."""
    view.gives_back = True  # type: ignore[attr-defined]
    return view


def _guard() -> BaseResponse | None:
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None:
        return None  # No such address: Flask answers 404 or 405.
    permission: Permission | str | None = getattr(view, "permission", "closed")
    if permission is None:
        return None
    if not isinstance(permission, Permission):
        log.error("The route %s states no permission.", request.endpoint)
        abort(403)
    if not current_user.is_authenticated:
        if getattr(view, "gives_back", False):
            abort(401)
        return to_sign_in()
    if not current_user.person.may(permission):
        log.warning("%s: person %s may not use %s", number(), current_user.person.id, request.endpoint)
        abort(403)
    return None


def may_open(endpoint: str) -> bool:
    """Whether whoever is signed in comes past the guard of `endpoint`: a page offers nobody what they may not do."""
    permission = getattr(current_app.view_functions[endpoint], "permission", None)
    return permission is None or (current_user.is_authenticated and current_user.person.may(permission))


def to_sign_in() -> BaseResponse:
    """The way to sign in, and from there back to where somebody wanted to go."""
    here = request.full_path.rstrip("?") if request.method in SAFE_METHODS and not is_htmx() else None
    return go(url_for("people.sign_in", next=here))


def is_polled() -> bool:
    """Whether this request was made by a page that refreshes itself."""
    return bool(getattr(current_app.view_functions.get(request.endpoint or ""), "polled", False))


def row_id(text: str) -> int:
    """The number of a row in `text`, for `request.args.get(..., type=row_id)`. Raises ValueError if no row has it."""
    found = int(text) if len(text) <= len(str(LARGEST_ID)) else 0
    if not 0 < found <= LARGEST_ID:
        raise ValueError(text[:20])
    return found


def actor() -> Actor:
    """Who makes this request, for the audit trail."""
    return Actor(current_user.person.name, current_user.person.id, request.remote_addr or "")


# Page or partial, and one way out.


def is_htmx() -> bool:
    """Whether htmx asks and takes a partial; a boosted link or a restored page wants the whole page."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"


def page(full: str, partial: str | None = None, status: int = 200, **context: Any) -> Answer:
    """The page `full`, or for htmx its piece `partial`, with `status`."""
    template = partial if partial and is_htmx() else full
    # By its name, see CONTRIBUTING: htmx may ask for a whole page too, and then the frame around it needs its values.
    g.is_whole = not template.rpartition("/")[2].startswith("_")
    return render_template(template, **context), status


def done(endpoint: str, *, said: str = "", tone: str = "ok", **values: Any) -> BaseResponse:
    """After a success: go to `endpoint` (303, or HX-Redirect for htmx), where a toast says `said`."""
    if said:
        flash(said, tone)
    return go(url_for(endpoint, **values))


def go(address: str) -> BaseResponse:
    """The way to `address`: 303, or for htmx HX-Redirect, or HX-Refresh where the browser is there already."""
    # A 303 would be followed by fetch and swapped into the form; HX-Redirect makes the browser go.
    if is_htmx():
        place, mark, _ = iri_to_uri(address).partition("#")
        here = request.headers.get("HX-Current-URL", "").partition("#")[0]
        if mark and here == urljoin(here, place):  # The browser would only scroll, and show what was there before.
            return Response(status=204, headers={"HX-Refresh": "true"})
        return Response(status=204, headers={"HX-Redirect": iri_to_uri(address)})
    return redirect(address, 303)


def is_local(address: str) -> bool:
    """Whether `address` is a path of this console, and not a way to somebody else's."""
    return address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()


@bp.get("/partials/empty-dialog")
@public
def empty_dialog() -> Response:
    """What the one dialog holds while it is closed."""
    answer = Response(render_template("_dialog_empty.html"))
    answer.cache_control.max_age = 31_536_000
    answer.cache_control.public = answer.cache_control.immutable = True
    return answer


def cookie_name(name: str) -> str:
    """`name` as the cookie is called: over https it is bound to this host alone (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{name}" if current_app.config["SESSION_COOKIE_SECURE"] else name


def set_cookie(answer: BaseResponse, name: str, value: str, *, lasts: timedelta) -> None:
    """Send the cookie `name`, which no script reads and no other site sends, with `answer`."""
    secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
    name, age = cookie_name(name), int(lasts.total_seconds())
    answer.set_cookie(name, value, max_age=age, secure=secure, httponly=True, samesite="Lax")


# Errors as pages.

TITLES = {
    400: "That could not be understood",
    403: "This page is for administrators",
    404: "There is nothing at this address",
    405: "That does not work here",
    409: "That cannot be done",
    413: "That is too much at once",
    429: "Too many tries",
    503: "The console is busy",
}


def error_answer(status: int, text: str = "", *, expired: bool = False) -> Answer:
    """The error page for `status` with `text` instead of its own words, or a toast when htmx asks."""
    g.has_failed = True  # The frame around pages asks the database; an error page has to do without.
    if is_htmx():
        title = t("This page was open too long") if expired else t(TITLES.get(status, "Something broke on our side"))
        return render_template("errors/_toast.html", title=title, text=text, number=number()), status
    known = {409: 400}.get(status, status) if status in TITLES else 500
    return render_template(f"errors/{known}.html", text=text, number=number(), expired=expired), status


def number() -> str:
    """The number of this request, which error pages and the log share."""
    if "number" not in g:
        g.number = f"req-{secrets.token_hex(5)}"
    return str(g.number)


def _on_ours(error: MailAdminError) -> Answer:
    if isinstance(error, NotFound):
        return error_answer(404, error.message)
    # Not 422: htmx would swap that into the form that asked.
    return error_answer(409 if isinstance(error, RuleBroken) else 500, error.message)


def _on_mail_error(error: MailError) -> Answer:
    return error_answer(503, error.message)


def _on_csrf(error: CSRFError) -> Answer:
    log.warning("%s: a form without its token at %s: %s", number(), request.endpoint, visible(str(error.description)))
    return error_answer(400, expired=True)


def _on_http(error: HTTPException) -> Answer | HTTPException:
    if error.code is None or error.code < 400:
        return error
    answer = current_app.make_response(error_answer(error.code))
    if retry_after := getattr(error, "retry_after", None):
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def wait_after_limit() -> int:
    """How many seconds until the limit that was just met lets somebody try again; the log says who met it."""
    met = limiter.current_limit
    log.warning("%s: too many tries at %s from %s", number(), request.endpoint, visible(request.remote_addr or ""))
    return max(1, int(met.reset_at - time.time())) if met else 60


def _on_database(error: OperationalError) -> Answer:
    log.error("%s: the database did not answer: %s", number(), error.orig)
    db.session.rollback()
    return error_answer(503)


def _on_gone(error: Exception) -> Answer:
    # Two administrators at once: what this one wants to change was deleted since the page was asked for.
    log.warning("%s: %s", number(), type(error).__name__)
    db.session.rollback()
    return error_answer(409, t("Somebody else changed or deleted this a moment ago. Load the page again."))


def _on_anything(error: Exception) -> Answer:
    log.exception("%s: %s %s", number(), request.method, visible(_without_secrets(request.path)))
    db.session.rollback()
    return error_answer(500)


def _without_secrets(path: str) -> str:
    """`path` as a log may keep it: a connect link opens something for whoever reads it."""
    return f"{LINKS}…" if path.startswith(LINKS) else path


# Headers, times and words.


def _after(response: Response) -> Response:
    if request.endpoint == "static" and request.view_args == {"filename": LETTER_STYLE}:
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure or current_app.config["SESSION_COOKIE_SECURE"]:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        response.vary.add("HX-Request")
        if not response.cache_control:
            response.cache_control.no_store = True
    return response


@cache
def _static_hash(path: str) -> str:
    content = (Path(__file__).parent / "static" / path).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]


def asset(path: str) -> str:
    """The address of a static file; it changes with the content, so that browsers may keep it for ever."""
    return _asset(request.root_path, path)


@cache
def _asset(_root: str, path: str) -> str:
    return url_for("static", filename=path, v=_static_hash(path))  # A page asks for it at every icon.


@cache
def vendor_integrity(name: str) -> str:
    """The `integrity` value of a vendored script, from vendor.json."""
    vendored = json.loads((Path(__file__).parent / "static/vendor/vendor.json").read_text(encoding="utf-8"))
    return f"sha384-{vendored[name]['sha384'].removeprefix('sha384-')}"


class _IdConverter(IntegerConverter):
    """The number of a row in an address; a larger one than any row has is an address that does not exist."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max": LARGEST_ID, **kwargs})


def _open_session() -> None:
    if request.endpoint != "static":
        db.session(reading=request.method in SAFE_METHODS)


def _close_session(_error: BaseException | None = None) -> None:
    db.session.remove()


def furnish(app: Flask) -> None:
    """Give `app` the guard, the session, error pages, headers and the words of every template."""
    app.url_map.converters["int"] = _IdConverter
    app.register_blueprint(bp)
    public(app.view_functions["static"])
    app.before_request(_open_session)
    app.before_request(_guard)
    app.after_request(_after)
    app.teardown_request(_close_session)
    app.register_error_handler(MailAdminError, _on_ours)
    app.register_error_handler(MailError, _on_mail_error)
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(OperationalError, _on_database)
    for gone in (ObjectDeletedError, StaleDataError):
        app.register_error_handler(gone, _on_gone)
    app.register_error_handler(Exception, _on_anything)
    app.jinja_env.globals.update(t=t, asset=asset, vendor_integrity=vendor_integrity, may_open=may_open)
    app.jinja_env.filters.update(
        ago=ago,
        clock=clock,
        exact=exact,
        hour=hour,
        is_ahead=is_ahead,
        num=num,
        size=size,
        visible=visible,
        iso=lambda moment: moment.isoformat(timespec="seconds"),
    )
