"""The pages on which messages are listed and read; what is fetched for them is in reading_routes.py."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, request, url_for
from flask_login import current_user
from sqlalchemy.orm import lazyload

from mailadmin import db, queue, web
from mailadmin.access.service import get_visible
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import state_of
from mailadmin.errors import NotFound
from mailadmin.mailbox import acting, freshness, letters, service
from mailadmin.permissions import Permission
from mailadmin.sync import changes, overlay, reading, threads
from mailadmin.sync.reading import Opened
from mailadmin.web import Answer

bp = Blueprint("mailbox", __name__)
LONGEST_SEARCH = 200


@bp.get("/mailbox/<int:account_id>")
@web.allow(Permission.READ_MAIL)
def show(account_id: int) -> Answer:
    account = get_visible(db.session(), current_user.person, account_id)
    return web.page("mailbox/show.html", **listed(account), opened=None, open_id=None)


@bp.get("/mailbox/<int:account_id>/messages/<int:message_id>")
@web.allow(Permission.READ_MAIL)
def message(account_id: int, message_id: int) -> Answer:
    """A message beside the list from which it was opened; what has to be fetched for it is asked for at once."""
    session = db.session()
    account = get_visible(session, current_user.person, account_id)
    opened = reading.open_message(session, account_id, message_id)
    letters.ring(session, opened)
    return web.page("mailbox/show.html", **reader(account, opened))


def reader(account: Account, opened: Opened) -> dict[str, Any]:
    """What the page of a message needs: the list from which it was opened, its text, its conversation."""
    session, message = db.session(), opened.message
    beside = listed(account, folder=str(opened.folder.id))
    return {
        **beside,
        "message": message,
        "open_id": message.id,
        "list": url_for("mailbox.show", account_id=account.id, **beside["where"]),
        "conversation": threads.of(session, message, beside["folders"]),
        "written": acting.written_about(session, current_user.person, message.id),
        "can_reply_to_all": acting.has_more_recipients(account, message),
        **letters.context(session, opened, pictures=letters.may_load_pictures(request)),
    }


@bp.post("/mailbox/<int:account_id>/messages/<int:message_id>/seen")
@web.allow(Permission.READ_MAIL)
def seen(account_id: int, message_id: int) -> Answer:
    """The page of a message says that it is open: it counts as read, if this person may change that."""
    session = db.session()
    account = get_visible(session, current_user.person, account_id)
    opened = reading.open_message(session, account_id, message_id)
    act = acting.context(session, account, current_user.person, here="")["act"]
    run_id = None
    if act["may_write"] and not act["why_not"] and not opened.message.is_read:
        changes.mark(session, account, messages=[message_id], flag="read", is_set=True, actor=web.actor())
        run = changes.hurry(session, account, requested_by=web.actor().name)
        run_id = run.id if run else None
        session.commit()
    if run_id is not None:
        queue.ring("sync", run_id)
    if not web.is_htmx():
        return web.done("mailbox.message", account_id=account_id, message_id=message_id)
    session.refresh(opened.message)
    return web.page("mailbox/_read.html", None, account=account, message=opened.message)


@bp.get("/mailbox/<int:account_id>/news")
@web.allow(Permission.READ_MAIL)
@web.polled
def news(account_id: int) -> Answer:
    """What has changed since an open page was made; nothing (204) where nothing has, and it asks as often as it should.

    Whoever may not read this mail any more is led to a page that says so.
    """
    here = url_for("mailbox.show", account_id=account_id)
    try:
        account = get_visible(db.session(), current_user.person, account_id, lazyload("*"))  # Mostly that is all.
    except NotFound:
        return web.go(here)
    if not web.is_htmx():
        return web.go(here)
    since = _moment(request.args.get("since", ""))
    is_news = request.args.get("mark") != freshness.mark(db.session(), account, current_user.person)
    if not is_news and request.args.get("pace", 0, int) == freshness.pace(since):
        return "", 204
    open_id = request.args.get("opened", None, web.row_id)
    place = "mailbox.message" if open_id else "mailbox.show"
    beside = listed(account, since=db.now() if is_news else since)
    beside["act"]["here"] = url_for(place, account_id=account_id, message_id=open_id, **beside["where"])
    return web.page("mailbox/_news_now.html", None, is_news=is_news, open_id=open_id, **beside)


def _moment(text: str) -> datetime:
    """When a page was made, as it says itself; one that makes no sense was made long ago."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def listed(account: Account, *, folder: str = "", since: datetime | None = None) -> dict[str, Any]:
    """The folders and the list beside a message, or alone; `folder` where the address does not name one."""
    session = db.session()
    since, mark = (
        since or db.now(),
        freshness.mark(session, account, current_user.person),
    )  # Before what is shown: rather too old than too new.
    folders = service.folders(session, account.id)
    words = " ".join(request.args.get("q", "").replace("\0", "").split())[:LONGEST_SEARCH]
    folder = request.args.get("folder", folder)
    within = service.chosen(folders, folder)
    listing = service.messages(session, within, words=words, page=request.args.get("page", 1, int))
    return {
        "account": account,
        "state": state_of(account),
        "mailbox_id": account.id,
        "folders": folders,
        "names": {f.id: f.name for f in folders},
        "within": within[0] if folder != "all" and within else None,
        "folder": folder,
        "words": words,
        "listing": listing,
        "where": {
            "folder": folder or None,
            "q": words or None,
            "page": listing.page if listing.page > 1 else None,
        },
        "mark": mark,
        "since": since.isoformat(timespec="seconds"),
        "pace": freshness.pace(since),
        "shift": overlay.unread_shift(session, account.id),
        **acting.context(session, account, current_user.person, here=request.full_path.rstrip("?")),
    }
