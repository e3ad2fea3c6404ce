"""What becomes of a message that somebody wrote: taken back, settled, thrown away; and the list of what is not sent."""

from collections.abc import Callable

from flask import flash, request
from flask_login import current_user

from mailadmin import db, web
from mailadmin.access.service import get_visible
from mailadmin.accounts.service import state_of
from mailadmin.errors import RuleBroken
from mailadmin.form import Form
from mailadmin.mailbox.writing_lost import bp
from mailadmin.mailbox.writing_routes import own, ring, there
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.writing import service
from mailadmin.writing.models import OutgoingMessage, Progress


@bp.get("/mailbox/<int:account_id>/drafts")
@web.allow(Permission.READ_MAIL)
def drafts(account_id: int) -> Answer:
    """What this person wrote as the account and has not sent."""
    session, person = db.session(), current_user.person
    account = get_visible(session, person, account_id)
    found = [(each, service.waits_for(session, each)) for each in service.listed(session, person, account_id)]
    return web.page("mailbox/drafts.html", account=account, state=state_of(account), mailbox_id=account_id, found=found)


@bp.post("/mailbox/drafts/<int:outgoing_id>/take-back")
@web.allow(Permission.READ_MAIL)
def take_back(outgoing_id: int) -> Answer:
    """Make a draft again of a message that waits."""
    return _settled(outgoing_id, lambda outgoing: service.take_back(db.session(), outgoing))


@bp.post("/mailbox/drafts/<int:outgoing_id>/settle")
@web.allow(Permission.READ_MAIL)
def settle(outgoing_id: int) -> Answer:
    """Say what became of a message of which the server did not say it."""
    arrived = request.form.get("arrived")
    if arrived not in ("yes", "no"):
        return there(outgoing_id)
    has_arrived = arrived == "yes"
    return _settled(outgoing_id, lambda each: service.settle_unclear(db.session(), each, has_arrived=has_arrived))


def _settled(outgoing_id: int, deed: Callable[[OutgoingMessage], None]) -> Answer:
    session, outgoing = db.session(), own(outgoing_id)
    try:
        deed(outgoing)
        waits = outgoing.progress is Progress.WAITING
        session.commit()
        if waits:
            ring()
    except RuleBroken as broken:
        session.rollback()
        flash(broken.message, "warn")
    return there(outgoing_id)


@bp.route("/mailbox/drafts/<int:outgoing_id>/discard", methods=["GET", "POST"])
@web.allow(Permission.READ_MAIL)
def discard(outgoing_id: int) -> Answer:
    """Throw it away, after a question."""
    session, outgoing = db.session(), own(outgoing_id)
    if not Form().validate_on_submit():
        return web.page(
            "mailbox/discard.html", "mailbox/_discard.html", outgoing=outgoing, mailbox_id=outgoing.account_id
        )
    account_id = outgoing.account_id
    try:
        service.discard(session, outgoing)
        session.commit()
    except RuleBroken as broken:
        session.rollback()
        flash(broken.message, "warn")
        return there(outgoing_id)
    return web.done("mailbox.show", said=t("The draft is gone."), account_id=account_id)
