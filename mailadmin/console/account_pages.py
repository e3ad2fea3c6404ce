"""The pages of one account that look across domains: overview, access, activity, and its deletion."""

from typing import Any

from flask import request

from mailadmin import db, queue, web
from mailadmin.access import service as access
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.console import account_log, days, goes
from mailadmin.console.account_log import WINDOWS
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import TypeToDeleteForm
from mailadmin.invites import service as invites
from mailadmin.mail.types import Direction
from mailadmin.oauth import service as oauth
from mailadmin.permissions import Permission
from mailadmin.sync import service as sync
from mailadmin.text import t
from mailadmin.web import Answer

LATELY = 6


@bp.get("/accounts/<int:account_id>")
@web.allow(Permission.SEE_CONSOLE)
def account(account_id: int) -> Answer:
    session = db.session()
    found, asked = accounts.get(session, account_id), invites.open_of(session, account_id)
    return web.page(
        "console/account.html",
        **head(found, "overview"),
        incoming=accounts.server_of(found, Direction.INCOMING),
        outgoing=accounts.server_of(found, Direction.OUTGOING),
        user_name=accounts.user_name(found, Direction.INCOMING),
        grant=oauth.grant_of(session, account_id),
        kept=oauth.kept_password(session, account_id),
        diagnosis=sync.diagnosis(session, account_id),
        entries=account_log.latest(session, account_id, limit=LATELY),
        strip=days.of_account(session, account_id),
        readers=access.readers(session, found),
        windows=WINDOWS,
        minutes=sync.minutes_between(found),
        asked=asked,
        asked_why=invites.why(asked) if asked else "",
        is_link_old=asked is not None and invites.has_expired(asked),
        **sync.panel(session, found),
    )


@bp.get("/accounts/<int:account_id>/activity")
@web.allow(Permission.SEE_CONSOLE)
def account_activity(account_id: int) -> Answer:
    session = db.session()
    found = accounts.get(session, account_id)
    log = account_log.log(session, account_id, page=request.args.get("page", 1, int))
    return web.page("console/account_activity.html", **head(found, "activity"), log=log)


@bp.route("/accounts/<int:account_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def delete_account(account_id: int) -> Answer:
    session = db.session()
    found = accounts.get(session, account_id)
    form = TypeToDeleteForm(found.address)
    if form.validate_on_submit():
        accounts.request_deletion(session, found, actor=web.actor())
        session.commit()
        queue.ring("purge", account_id)
        return web.done("console.accounts", said=t("{address} is being deleted", address=found.address))
    status = 422 if form.errors else 200
    return web.page(
        "console/account_delete.html",
        "console/_account_delete.html",
        status,
        **head(found, ""),
        form=form,
        goes=goes.with_account(session, found),
    )


def head(found: Account, tab: str) -> dict[str, Any]:
    """What the head of all pages of an account needs."""
    return {"account": found, "state": accounts.state_of(found), "tab": tab}
