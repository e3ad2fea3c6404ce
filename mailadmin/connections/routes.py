"""Pages of connections: one account's connection test, live."""

from typing import Any

from flask import Blueprint

from mailadmin import db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.connections import service
from mailadmin.connections.timeline import timeline
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("connections", __name__)


@bp.get("/accounts/<int:account_id>/connection")
@web.allow(Permission.MANAGE_ACCOUNTS)
def show(account_id: int) -> Answer:
    return web.page("connections/show.html", **_context(account_id))


@bp.post("/accounts/<int:account_id>/connection")
@web.allow(Permission.MANAGE_ACCOUNTS)
def begin(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    service.request_check(db.session(), account=account, actor=web.actor())
    db.session.commit()
    if queue.ring("check"):
        return web.done("connections.show", account_id=account_id)
    said = t("The queue cannot be reached. The test starts by itself when it is back.")
    return web.done("connections.show", said=said, tone="warn", account_id=account_id)


@bp.get("/accounts/<int:account_id>/connection/check")
@web.allow(Permission.MANAGE_ACCOUNTS)
@web.polled
def check(account_id: int) -> Answer:
    context = _context(account_id)
    running = context["check"] is not None and context["check"].finished_at is None
    if not running and not web.is_htmx():
        return web.done("connections.show", account_id=account_id)
    # Without JavaScript the page refreshes itself through this address, so that waiting does not keep a session alive.
    return web.page("connections/show.html", "connections/_check.html", **context)


def _context(account_id: int) -> dict[str, Any]:
    account = accounts.get(db.session(), account_id)
    newest = service.latest(db.session(), account_id)
    silent = newest is not None and service.is_silent(newest)
    return {
        "account": account,
        "state": accounts.state_of(account),
        "tab": "connection",
        "check": newest,
        "test": timeline(account, newest) if newest else None,
        "is_silent": silent,
        "queue_is_away": silent and queue.waiting() is None,
        "is_old": newest is not None and newest.account_version != account.version,
    }
