"""Pages of sync: the folders of an account, how far back it is synced, and its runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, render_template

from mailadmin import db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Window
from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.permissions import Permission
from mailadmin.sync import service
from mailadmin.sync.folders import MAPPED, Seen
from mailadmin.sync.forms import FoldersForm, WindowForm
from mailadmin.sync.models import Folder
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("sync", __name__)


@bp.get("/accounts/<int:account_id>/folders")
@web.allow(Permission.MANAGE_ACCOUNTS)
def folders(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    seen = _seen(account)
    return web.page("sync/folders.html", **_context(account, seen), form=FoldersForm(seen))


@bp.post("/accounts/<int:account_id>/folders")
@web.allow(Permission.MANAGE_ACCOUNTS)
def choose(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    seen = _seen(account)
    form = FoldersForm(seen)
    if form.validate_on_submit():
        try:
            rows = service.take_over(session, account=account, check=connections.last_passed(session, account_id))
            changed = service.choose_folders(session, account, **_choice(form, rows), actor=web.actor())
            return _chosen(account, changed=changed)
        except RuleBroken as broken:
            session.rollback()
            account = accounts.get(session, account_id)
            form.refuse(broken)
    return web.page("sync/folders.html", "sync/_folders.html", 422, **_context(account, seen), form=form)


def _choice(form: FoldersForm, rows: Mapping[str, Folder]) -> dict[str, Any]:
    return {
        "active": {rows[path].id for path in form.active.data or []},
        "roles": {role: rows[field.data].id if field.data else None for role, field in form.roles().items()},
    }


def _chosen(account: Account, *, changed: bool) -> Answer:
    """Save, and go on: to the next step of the set-up, or, with a sync if there is something new, to the account."""
    if not account.is_set_up:
        db.session.commit()
        return web.done("sync.window", account_id=account.id)
    may_run = changed and accounts.state_of(account) != "paused"
    run = service.request_run(db.session(), account=account, requested_by=web.actor().name) if may_run else None
    db.session.commit()
    reached = run is None or queue.ring("sync", run.id)
    return _done("console.account", t("The folders were saved."), reached=reached, account_id=account.id)


@bp.post("/accounts/<int:account_id>/folders/reload")
@web.allow(Permission.MANAGE_ACCOUNTS)
def reload(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    connections.request_check(db.session(), account=account, actor=web.actor())
    db.session.commit()
    return _done("connections.show", "", reached=queue.ring("check"), account_id=account_id)


@bp.route("/accounts/<int:account_id>/window", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def window(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    if account.is_set_up:
        return web.done("console.account", account_id=account_id)
    form = WindowForm(data={"window": account.window.value})
    if form.validate_on_submit():
        try:
            service.set_up(session, account, window=Window(form.window.data), actor=web.actor())
            run = service.request_run(session, account=account, requested_by=web.actor().name)
            session.commit()
            said = t("{address} is connected. The first sync begins.", address=account.address)
            return _done("console.account", said, reached=queue.ring("sync", run.id), account_id=account_id)
        except RuleBroken as broken:
            session.rollback()
            account = accounts.get(session, account_id)
            form.form_errors.append(broken.message)
    starts = {w.value: accounts.window_start(w, now()) for w in Window}
    context = {"account": account, "form": form, "starts": starts}
    return web.page("sync/window.html", "sync/_window.html", 422 if form.errors else 200, **context)


@bp.post("/accounts/<int:account_id>/sync")
@web.allow(Permission.MANAGE_ACCOUNTS)
def begin(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    try:
        run = service.request_run(session, account=account, requested_by=web.actor().name)
    except RuleBroken as broken:
        return _answered(account, "warn", broken.message)
    session.commit()
    if not queue.ring("sync", run.id):
        return _answered(account, "warn", _queue_is_away())
    return _answered(account, "ok", t("The sync of {address} was asked for", address=account.address))


def _answered(account: Account, tone: str, said: str) -> Answer:
    """A toast, with the panel as it is now for the page that shows it; or the account page."""
    if not web.is_htmx():
        return web.done("console.account", said=said, tone=tone, account_id=account.id)
    context = service.panel(db.session(), account)
    return render_template("sync/_begun.html", account=account, tone=tone, title=said, **context)


@bp.get("/accounts/<int:account_id>/sync")
@web.allow(Permission.SEE_CONSOLE)
@web.polled
def panel(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    if not web.is_htmx():
        return web.done("console.account", account_id=account_id)
    return render_template("sync/_panel.html", account=account, **service.panel(db.session(), account))


@bp.post("/accounts/<int:account_id>/pause")
@web.allow(Permission.MANAGE_ACCOUNTS)
def pause(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    accounts.pause(db.session(), account, actor=web.actor())
    db.session.commit()
    said = t("{address} is paused. Nothing is synced until you resume it.", address=account.address)
    return web.done("console.account", said=said, account_id=account_id)


@bp.post("/accounts/<int:account_id>/resume")
@web.allow(Permission.MANAGE_ACCOUNTS)
def resume(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    accounts.resume(session, account, actor=web.actor())
    may_run = account.is_set_up and account.next_sync_at is not None
    run = service.request_run(session, account=account, requested_by=web.actor().name) if may_run else None
    session.commit()
    reached = run is None or queue.ring("sync", run.id)
    return _done(
        "console.account", t("{address} goes on.", address=account.address), reached=reached, account_id=account_id
    )


def _done(endpoint: str, said: str, *, reached: bool, account_id: int) -> Answer:
    if reached:
        return web.done(endpoint, said=said, account_id=account_id)
    return web.done(endpoint, said=f"{said} {_queue_is_away()}".strip(), tone="warn", account_id=account_id)


def _queue_is_away() -> str:
    return t("The queue cannot be reached. The work starts by itself when it is back.")


def _seen(account: Account) -> list[Seen]:
    return service.seen(db.session(), account, connections.last_passed(db.session(), account.id))


def _context(account: Account, seen: Sequence[Seen]) -> dict[str, Any]:
    present = [folder for folder in seen if not folder.is_gone]
    check = connections.last_passed(db.session(), account.id)
    return {
        "account": account,
        "state": accounts.state_of(account),
        "tab": "folders",
        "present": present,
        "lost": [f for f in seen if f.is_gone and f.role in MAPPED and f.role not in {p.role for p in present}],
        "without": [role for role in MAPPED if role not in {folder.role for folder in present}],
        "read_at": service.listed_at(db.session(), account.id, check),
    }
