"""The page on which an account's messages are listed."""

from flask import Blueprint, request
from flask_login import current_user

from mailadmin import db, web
from mailadmin.access.service import get_visible
from mailadmin.accounts.service import state_of
from mailadmin.mailbox import service
from mailadmin.permissions import Permission
from mailadmin.web import Answer

bp = Blueprint("mailbox", __name__)
LONGEST_SEARCH = 200


@bp.get("/mailbox/<int:account_id>")
@web.allow(Permission.READ_MAIL)
def show(account_id: int) -> Answer:
    session = db.session()
    account = get_visible(session, current_user.person, account_id)
    folders = service.folders(session, account_id)
    words = " ".join(request.args.get("q", "").replace("\0", "").split())[:LONGEST_SEARCH]
    folder = request.args.get("folder", "")
    within = service.chosen(folders, folder)
    return web.page(
        "mailbox/show.html",
        account=account,
        state=state_of(account),
        mailbox_id=account_id,
        folders=folders,
        names={f.id: f.name for f in folders},
        within=within[0] if folder != "all" and within else None,
        folder=folder,
        words=words,
        listing=service.messages(session, within, words=words, page=request.args.get("page", 1, int)),
    )
