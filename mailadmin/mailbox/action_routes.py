"""What people do with messages: read, flagged, answered, moved, deleted; and a new folder.

Every action is a plain POST that comes back to where it was asked for. The rows are changed and the wish is stored in
one transaction; then a run is rung for, which tells the server.
"""

from flask import Blueprint, flash, request, url_for
from flask_login import current_user

from mailadmin import db, queue, web
from mailadmin.access.service import get_visible, get_writable
from mailadmin.accounts.models import Account
from mailadmin.accounts.service import state_of
from mailadmin.errors import RuleBroken
from mailadmin.mailbox import acting
from mailadmin.mailbox.action_forms import NewFolderForm
from mailadmin.permissions import Permission
from mailadmin.sync import changes
from mailadmin.sync.new_folders import create_folder
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("actions", __name__)
_MARKS = {
    "read": ("read", True),
    "unread": ("read", False),
    "flag": ("flagged", True),
    "unflag": ("flagged", False),
    "answered": ("answered", True),
    "unanswered": ("answered", False),
}


@bp.post("/mailbox/<int:account_id>/messages")
@web.allow(Permission.READ_MAIL)
def act(account_id: int) -> Answer:
    """Do with the ticked messages what the button says; deleting for good asks once more."""
    account = get_writable(db.session(), current_user.person, account_id)
    ids = request.form.getlist("message", web.row_id)
    deed = request.form.get("do", "")
    try:
        if deed == "delete" and len(changes.in_trash(db.session(), account, ids)) == len(ids) > 0:
            return _ask(account, ids)
        count = _do(account, deed, ids)
    except RuleBroken as broken:
        db.session.rollback()
        flash(broken.message, "warn")
        return web.go(_back(account_id))
    return _settled(account, _said(deed, count) if count else t("There was nothing to change."), goes=_goes(deed))


def _do(account: Account, deed: str, ids: list[int]) -> int:
    """How many messages it changed. Raises RuleBroken."""
    session, actor = db.session(), web.actor()
    if deed in _MARKS:
        flag, is_set = _MARKS[deed]
        return changes.mark(session, account, messages=ids, flag=flag, is_set=is_set, actor=actor)
    if deed == "move":
        target = request.form.get("target", None, web.row_id) or request.form.get("one-target", None, web.row_id)
        if target is None:
            raise RuleBroken(t("Choose where to move it first."))
        return changes.move(session, account, messages=ids, target_id=target, actor=actor)
    if deed == "delete":
        return changes.remove(session, account, messages=ids, actor=actor)
    if deed == "destroy":
        return changes.destroy(session, account, messages=ids, actor=actor)
    raise RuleBroken(t("Tick messages, then choose what to do with them."))


def _ask(account: Account, ids: list[int]) -> Answer:
    back, after = _back(account.id), _back(account.id, goes=True)
    return web.page("mailbox/destroy.html", account=account, mailbox_id=account.id, ids=ids, back=back, list=after)


def _goes(deed: str) -> bool:
    """Whether the page of a message is left: it is elsewhere, or would count as read again at once."""
    return deed in {"move", "delete", "destroy", "unread"}


def _said(deed: str, count: int) -> str:
    one, many = {
        "read": (t("Marked as read."), t("{n} messages marked as read.", n=count)),
        "unread": (t("Marked as unread."), t("{n} messages marked as unread.", n=count)),
        "flag": (t("Flagged."), t("{n} messages flagged.", n=count)),
        "unflag": (t("The flag is removed."), t("The flags of {n} messages are removed.", n=count)),
        "answered": (t("Marked as answered."), t("{n} messages marked as answered.", n=count)),
        "unanswered": (t("Marked as not answered."), t("{n} messages marked as not answered.", n=count)),
        "move": (t("The message is moved."), t("{n} messages are moved.", n=count)),
        "delete": (t("The message is in Trash."), t("{n} messages are in Trash.", n=count)),
        "destroy": (t("The message is deleted for good."), t("{n} messages are deleted for good.", n=count)),
    }[deed]
    return one if count == 1 else many


def _settled(account: Account, said: str, *, goes: bool = False) -> Answer:
    """Save, ring for a run that tells the server, and go back."""
    session = db.session()
    run = changes.hurry(session, account, requested_by=web.actor().name)
    waits = run is None and bool(changes.waiting(session, account.id))
    account_id, run_id = account.id, run.id if run else None
    session.commit()
    if waits:
        said = f"{said} {t('The server learns of it once this account works again.')}"
    elif run_id is not None and not queue.ring("sync", run_id):
        said, waits = f"{said} {t('The queue cannot be reached; the server learns of it when it is back.')}", True
    flash(said, "warn" if waits else "ok")
    return web.go(_back(account_id, goes=goes))


def _back(account_id: int, *, goes: bool = False) -> str:
    """Where an action was asked for, or, if the message `goes` away, the list in which it was."""
    asked = (request.form.get("list") if goes else None) or request.form.get("back") or ""
    return asked if web.is_local(asked) else url_for("mailbox.show", account_id=account_id)


# What waits, and what was refused.


@bp.get("/mailbox/<int:account_id>/changes")
@web.allow(Permission.READ_MAIL)
def waiting(account_id: int) -> Answer:
    session = db.session()
    account = get_visible(session, current_user.person, account_id)
    found = changes.waiting(session, account_id)
    folders = acting.targets(session, account)
    told = [(change, acting.told(change, folders)) for change in found]
    act = acting.context(session, account, current_user.person, here=request.path)["act"]
    return web.page(
        "mailbox/changes.html", account=account, state=state_of(account), mailbox_id=account_id, told=told, act=act
    )


@bp.post("/mailbox/<int:account_id>/changes")
@web.allow(Permission.READ_MAIL)
def take_back(account_id: int) -> Answer:
    """Undo changes that wait: the ticked ones, or the one whose button was pressed."""
    session = db.session()
    account = get_writable(session, current_user.person, account_id)
    count = changes.take_back(session, account, changes=request.form.getlist("change", web.row_id))
    session.commit()
    said = t("The change is taken back.") if count == 1 else t("{n} changes are taken back.", n=count)
    return web.done("actions.waiting", said=said, account_id=account_id)


@bp.post("/mailbox/<int:account_id>/changes/seen")
@web.allow(Permission.READ_MAIL)
def dismiss(account_id: int) -> Answer:
    session = db.session()
    get_visible(session, current_user.person, account_id)
    up_to = request.form.get("up_to", 0, web.row_id)
    changes.dismiss(session, account_id, person_id=current_user.person.id, up_to=up_to)
    session.commit()
    return web.go(_back(account_id))


# A new folder.


@bp.route("/mailbox/<int:account_id>/folders/new", methods=["GET", "POST"])
@web.allow(Permission.READ_MAIL)
def new_folder(account_id: int) -> Answer:
    session = db.session()
    account = get_writable(session, current_user.person, account_id)
    form = NewFolderForm(acting.targets(session, account))
    if form.validate_on_submit():
        try:
            parent = int(form.parent.data) if form.parent.data else None
            folder = create_folder(session, account, name=form.name.data or "", parent_id=parent, actor=web.actor())
            return _settled(account, t("The folder {name} is being created.", name=folder.name))
        except RuleBroken as broken:
            session.rollback()
            account = get_writable(session, current_user.person, account_id)
            form.refuse(broken)
    full, partial = "mailbox/new_folder.html", "mailbox/_new_folder.html"
    return web.page(full, partial, 422 if form.errors else 200, account=account, mailbox_id=account_id, form=form)
