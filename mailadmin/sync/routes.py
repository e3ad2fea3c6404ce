"""Pages of sync: the folders of an account, how far back it is synced, and its runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, render_template, request

from mailadmin import db, queue, web
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, NewContacts, Window
from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.form import Form
from mailadmin.mail.scrub import visible
from mailadmin.mail.types import ServerProtocol
from mailadmin.permissions import Permission
from mailadmin.sync import dry, service
from mailadmin.sync.folders import MAPPED, Seen, creatable, tally
from mailadmin.sync.forms import FoldersForm, WindowForm
from mailadmin.sync.history import history
from mailadmin.sync.models import Folder, RunKind
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("sync", __name__)


@bp.get("/accounts/<int:account_id>/folders")
@web.allow(Permission.MANAGE_ACCOUNTS)
def folders(account_id: int) -> Answer:
    account = accounts.get(db.session(), account_id)
    if _is_untested(account):
        return web.done("wizard.resume", account_id=account_id)
    seen = _seen(account)
    return web.page("sync/folders.html", **_context(account, seen), form=_form(account, seen))


@bp.post("/accounts/<int:account_id>/folders")
@web.allow(Permission.MANAGE_ACCOUNTS)
def choose(account_id: int) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    seen = _seen(account)
    form = _form(account, seen)
    if form.validate_on_submit():
        try:
            rows = service.take_over(session, account=account, check=connections.last_passed(session, account_id))
            changed = service.choose_folders(session, account, **_choice(form, rows), actor=web.actor())
            return _chosen(account, changed=changed)
        except RuleBroken as broken:
            session.rollback()
            account = accounts.get(session, account_id)
            form.refuse(broken)
    return web.page("sync/folders.html", "sync/_folders.html", 422, **_context(account, seen, form), form=form)


def _form(account: Account, seen: Sequence[Seen]) -> FoldersForm:
    return FoldersForm(seen, creatable=creatable(seen), only_active=account.protocol is ServerProtocol.POP3)


def _choice(form: FoldersForm, rows: Mapping[str, Folder]) -> dict[str, Any]:
    wished = form.wished()
    chosen = {role: field.data for role, field in form.roles().items() if role not in wished}
    return {
        "active": {rows[path].id for path in form.active.data or []},
        "roles": {role: rows[path].id if path else None for role, path in chosen.items()},
        "wished": wished,
    }


def _chosen(account: Account, *, changed: bool) -> Answer:
    """Save, and go on: to the next step of the set-up, or, with a sync if there is something new, to the account."""
    if not account.is_set_up:
        db.session.commit()
        return web.done("sync.window", account_id=account.id)
    said = t("The folders were saved.")
    return _synced(account, said) if changed else web.done("console.account", said=said, account_id=account.id)


def _synced(account: Account, said: str) -> Answer:
    """Save, have the account synced if it may be, and go to it."""
    may_run = accounts.state_of(account) != "paused"
    name = web.actor().name
    run = service.request_run_if_used(db.session(), account=account, requested_by=name) if may_run else None
    db.session.commit()
    reached = run is None or queue.ring("sync", run.id)
    return _done("console.account", said, reached=reached, account_id=account.id)


@bp.post("/accounts/<int:account_id>/folders/count")
@web.allow(Permission.MANAGE_ACCOUNTS)
def count(account_id: int) -> Answer:
    """What the ticks come to that somebody just changed; nothing is stored."""
    account = accounts.get(db.session(), account_id)
    chosen = tally(_seen(account), set(request.form.getlist("active")))
    return render_template("sync/_count.html", account=account, tally=chosen)


@bp.route("/accounts/<int:account_id>/reinitialise", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_ACCOUNTS)
def reinitialise(account_id: int) -> Answer:
    """Ask whether a folder, or without one the whole account, is to be read again, and have it done."""
    session = db.session()
    account = accounts.get(session, account_id)
    folder = None
    if "folder" in request.values:  # What cannot be a folder is not the whole account.
        folder = service.get_folder(session, account, request.values.get("folder", 0, web.row_id))
    form = Form()
    if form.validate_on_submit():
        service.reinitialise(session, account, folder=folder, actor=web.actor())
        return _synced(account, _said_again(account, folder))
    context = {"account": account, "state": accounts.state_of(account), "tab": "folders", "folder": folder}
    full, partial = "sync/reinitialise.html", "sync/_reinitialise.html"
    return web.page(full, partial, 422 if form.errors else 200, **context, form=form)


def _said_again(account: Account, folder: Folder | None) -> str:
    if accounts.state_of(account) == "paused":
        return t("It is read again as soon as you resume {address}.", address=account.address)
    if folder is None:
        return t("{address} is being read again from the server.", address=account.address)
    return t("“{name}” is being read again from the server.", name=visible(folder.name))


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
    if _is_untested(account):
        return web.done("wizard.resume", account_id=account_id)
    form = WindowForm(account, chosen=request.args)
    if form.validate_on_submit():
        try:
            return _connected(account, Window(form.window.data), NewContacts(form.new_contacts.data))
        except RuleBroken as broken:
            session.rollback()
            account = accounts.get(session, account_id)
            form.form_errors.append(broken.message)
    seen = _seen(account)
    context = {
        "account": account,
        "form": form,
        "starts": {w.value: accounts.window_start(w, now()) for w in Window},
        "chosen": tally(seen, {folder.path for folder in seen if folder.is_active}),
        **dry.shown(session, account),
    }
    return web.page("sync/window.html", "sync/_window.html", 422 if form.errors else 200, **context)


def _connected(account: Account, window: Window, new_contacts: NewContacts) -> Answer:
    """End the set-up and begin the first sync. Raises RuleBroken."""
    session, actor = db.session(), web.actor()
    service.set_up(session, account, window=window, new_contacts=new_contacts, actor=actor)
    run = service.request_run_if_used(session, account=account, requested_by=actor.name)
    session.commit()
    reached = run is None or queue.ring("sync", run.id)
    return _done("wizard.finished", reached=reached, account_id=account.id)  # That page says all the rest.


@bp.post("/accounts/<int:account_id>/sync")
@web.allow(Permission.MANAGE_ACCOUNTS)
def begin(account_id: int) -> Answer:
    return _asked(account_id, RunKind.USUAL, t("The sync of {address} was asked for"))


@bp.post("/accounts/<int:account_id>/audit")
@web.allow(Permission.MANAGE_ACCOUNTS)
def compare(account_id: int) -> Answer:
    """Have every folder compared with the server in full."""
    return _asked(account_id, RunKind.AUDIT, t("A full comparison of {address} was asked for"))


def _asked(account_id: int, kind: RunKind, said: str) -> Answer:
    session = db.session()
    account = accounts.get(session, account_id)
    try:
        run = service.request_run(session, account=account, requested_by=web.actor().name, kind=kind)
    except RuleBroken as broken:
        return _answered(account, "warn", broken.message)
    session.commit()
    if not queue.ring("sync", run.id):
        return _answered(account, "warn", _queue_is_away())
    return _answered(account, "ok", said.format(address=account.address))


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


@bp.get("/accounts/<int:account_id>/syncs")
@web.allow(Permission.SEE_CONSOLE)
def syncs(account_id: int) -> Answer:
    """All runs that are kept."""
    account = accounts.get(db.session(), account_id)
    found = history(db.session(), account, page=request.args.get("page", 1, int))
    state = accounts.state_of(account)
    return web.page("sync/syncs.html", account=account, state=state, tab="syncs", history=found)


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
    run = service.request_run_if_used(session, account=account, requested_by=web.actor().name) if may_run else None
    session.commit()
    reached = run is None or queue.ring("sync", run.id)
    return _done(
        "console.account", t("{address} goes on.", address=account.address), reached=reached, account_id=account_id
    )


def _done(endpoint: str, said: str = "", *, reached: bool, account_id: int) -> Answer:
    if reached:
        return web.done(endpoint, said=said, account_id=account_id)
    return web.done(endpoint, said=f"{said} {_queue_is_away()}".strip(), tone="warn", account_id=account_id)


def _queue_is_away() -> str:
    return t("The queue cannot be reached. The work starts by itself when it is back.")


def _is_untested(account: Account) -> bool:
    """Whether these steps of a set-up have to wait for a test that passes."""
    return not account.is_set_up and connections.last_passed(db.session(), account.id) is None


def _seen(account: Account) -> list[Seen]:
    return service.seen(db.session(), account, connections.last_passed(db.session(), account.id))


def _context(account: Account, seen: Sequence[Seen], form: FoldersForm | None = None) -> dict[str, Any]:
    present = [folder for folder in seen if not folder.is_gone]
    active = set(form.active.data or []) if form else {folder.path for folder in present if folder.is_active}
    check = connections.last_passed(db.session(), account.id)
    return {
        "account": account,
        "state": accounts.state_of(account),
        "tab": "folders",
        "present": present,
        "lost": [f for f in seen if f.is_gone and f.role in MAPPED and f.role not in {p.role for p in present}],
        "without": [role for role in MAPPED if role not in {folder.role for folder in present}],
        "creatable": creatable(present),
        "tally": tally(present, active),
        "read_at": service.listed_at(db.session(), account.id, check),
    }
