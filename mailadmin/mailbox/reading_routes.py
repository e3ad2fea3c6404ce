"""What a page of a message asks for: its text, the frame with its HTML, and its files."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from flask import Response, render_template, request, url_for
from flask_login import current_user
from markupsafe import Markup

from mailadmin import db, queue, web
from mailadmin.access.service import get_visible
from mailadmin.accounts.models import Account
from mailadmin.errors import NotFound
from mailadmin.mailbox import letters
from mailadmin.mailbox.routes import bp
from mailadmin.permissions import Permission
from mailadmin.sync import reading
from mailadmin.sync.reading import Opened
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/mailbox/<int:account_id>/messages/<int:message_id>/text")
@web.allow(Permission.READ_MAIL)
@web.polled
def text(account_id: int, message_id: int) -> Answer:
    """What has come of the text by now."""
    if not web.is_htmx():
        return web.done("mailbox.message", account_id=account_id, message_id=message_id)
    account, opened = _opened(account_id, message_id)
    polls = request.args.get("polls", 0, int)
    if polls % letters.RINGS_EVERY == 0:
        letters.ring(db.session(), opened)
    context = letters.context(db.session(), opened, pictures=letters.may_load_pictures(request), polls=polls)
    return web.page("mailbox/_text.html", None, account=account, message=opened.message, **context)


@bp.get("/mailbox/<int:account_id>/messages/<int:message_id>/body")
@web.allow(Permission.READ_MAIL)
def body(account_id: int, message_id: int) -> Answer:
    """The HTML of a message as a page of its own, for a frame in ours."""
    _, opened = _opened(account_id, message_id)
    pictures = letters.may_load_pictures(request)
    safe = letters.framed(db.session(), opened, pictures=pictures)
    # What is marked as safe here has gone through the allow-list of mail/markup.py.
    page = render_template("mailbox/body.html", body=Markup(safe.html))  # noqa: S704
    answer = Response(page, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = letters.POLICY.format(pictures=" https:" if pictures else "")
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cross-Origin-Opener-Policy"] = "unsafe-none"  # A sandbox of no origin cannot have another.
    return answer


@bp.get("/mailbox/<int:account_id>/messages/<int:message_id>/files/<int(min=0):place>")
@web.allow(Permission.READ_MAIL)
def file(account_id: int, message_id: int, place: int) -> Answer:
    """The file itself, to be saved; or, as long as it is not here, a page that waits for it."""
    account, opened = _opened(account_id, message_id)
    part = _part(opened, place)
    if reading.are_kept(db.session(), part):
        return _saved(part)
    _ring(opened, place)
    context = _waiting(opened, place, polls=0)
    return web.page("mailbox/file.html", account=account, mailbox_id=account_id, **context)


@bp.get("/mailbox/<int:account_id>/messages/<int:message_id>/files/<int(min=0):place>/state")
@web.allow(Permission.READ_MAIL)
@web.polled
def file_state(account_id: int, message_id: int, place: int) -> Answer:
    """Whether the file is here by now."""
    if not web.is_htmx():
        return web.done("mailbox.file", account_id=account_id, message_id=message_id, place=place)
    account, opened = _opened(account_id, message_id)
    polls = request.args.get("polls", 0, int)
    if polls % letters.RINGS_EVERY == 0:
        _ring(opened, place)
    return web.page("mailbox/_file.html", None, account=account, **_waiting(opened, place, polls=polls))


@bp.post("/mailbox/<int:account_id>/messages/<int:message_id>/fetch")
@web.allow(Permission.READ_MAIL)
def fetch(account_id: int, message_id: int) -> Answer:
    """Try once more to fetch what did not come: the file at `place`, or the text."""
    session = db.session()
    _opened(account_id, message_id)  # Whether this person may.
    place = request.form.get("place", None, int)
    reading.forget_troubles(session, message_id, [place] if place is not None else [])
    session.commit()
    if place is None:
        queue.ring("text", message_id)
        return web.go(url_for("mailbox.message", account_id=account_id, message_id=message_id))
    queue.ring("file", message_id, place)
    return web.go(url_for("mailbox.file", account_id=account_id, message_id=message_id, place=place))


def _opened(account_id: int, message_id: int) -> tuple[Account, Opened]:
    account = get_visible(db.session(), current_user.person, account_id)
    return account, reading.open_message(db.session(), account_id, message_id)


def _part(opened: Opened, place: int) -> dict[str, Any]:
    if place >= len(opened.parts):
        raise NotFound(t("This message has no such file."))
    return opened.parts[place]


def _ring(opened: Opened, place: int) -> None:
    part = _part(opened, place)
    is_too_large = part["size"] > reading.LARGEST_FILE
    if not part.get("trouble") and not is_too_large and not reading.are_kept(db.session(), part):
        queue.ring("file", opened.message.id, place)


def _waiting(opened: Opened, place: int, *, polls: int) -> dict[str, Any]:
    part = _part(opened, place)
    return {
        "message": opened.message,
        "part": part,
        "place": place,
        "is_here": reading.are_kept(db.session(), part),
        "is_too_large": part["size"] > reading.LARGEST_FILE,
        "largest": reading.LARGEST_FILE,
        "polls": polls + 1,
        "is_given_up": polls >= letters.POLLS,
    }


def _saved(part: dict[str, Any]) -> Response:
    """The file as something to be saved, never to be shown by the browser, whatever it says that it is."""
    answer = Response(_pieces(part), mimetype="application/octet-stream")
    plain = part["name"].encode("ascii", "replace").decode("ascii").replace("?", "_").replace('"', "_")
    named = f'attachment; filename="{plain.replace(chr(92), "_")}"'
    answer.headers["Content-Disposition"] = f"{named}; filename*=UTF-8''{quote(part['name'], safe='')}"
    answer.headers["Content-Length"] = str(part["size"])
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return answer


def _pieces(part: dict[str, Any]) -> Iterator[bytes]:
    # The session of the request is over when the last piece is sent.
    with db.reading() as session:
        yield from reading.pieces(session, part)
