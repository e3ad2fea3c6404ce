"""What a sync would bring: asked for, live while it is counted, and beside the choice of a window."""

from flask import render_template, request

from mailadmin import db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.errors import RuleBroken
from mailadmin.permissions import Permission
from mailadmin.sync import dry as runs
from mailadmin.sync.routes import bp
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/accounts/<int:account_id>/dry-run")
@web.allow(Permission.MANAGE_ACCOUNTS)
def dry(account_id: int) -> Answer:
    """What each window would bring, for an account that is set up; before that it stands at the last step."""
    account = accounts.get(db.session(), account_id)
    if not account.is_set_up:
        return web.done("sync.window", account_id=account_id)
    shown = runs.shown(db.session(), account)
    return web.page("sync/dry.html", account=account, state=accounts.state_of(account), tab="settings", **shown)


@bp.post("/accounts/<int:account_id>/dry-run")
@web.allow(Permission.MANAGE_ACCOUNTS)
def try_out(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    try:
        run = runs.request(session, account=account, requested_by=web.actor().name)
    except RuleBroken as broken:
        return _answered(account, broken.message)
    session.commit()
    reached = queue.ring("sync", run.id)
    return _answered(account, "" if reached else t("The queue cannot be reached. It begins by itself when it is back."))


def _answered(account: Account, trouble: str) -> Answer:
    """The part of the page, or the page again with what was chosen on it."""
    if web.is_htmx():
        shown = runs.shown(db.session(), account)
        return render_template("sync/_dry.html", account=account, trouble=trouble, **shown)
    if account.is_set_up:
        return web.done("sync.dry", said=trouble, tone="warn", account_id=account.id)
    kept = {name: request.form[name] for name in ("window", "new_contacts") if name in request.form}
    return web.done("sync.window", said=trouble, tone="warn", account_id=account.id, **kept)


@bp.get("/accounts/<int:account_id>/dry-run/now")
@web.allow(Permission.MANAGE_ACCOUNTS)
@web.polled
def dry_now(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    if not web.is_htmx():
        return web.done("sync.dry", account_id=account_id)
    return render_template("sync/_dry.html", account=account, **runs.shown(db.session(), account))
