"""The page with what holds for the whole company; it names the account through which the console itself writes."""

from typing import Any

from flask import Blueprint, request
from flask_login import current_user

from mailadmin import db, queue, web
from mailadmin.accounts import system_mail
from mailadmin.errors import RuleBroken
from mailadmin.notices import service as notices
from mailadmin.organisation import service
from mailadmin.organisation.forms import CompanyForm
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("organisation", __name__)


@bp.route("/settings", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_COMPANY)
def settings() -> Answer:
    session = db.session()
    sender = system_mail.sender(session)
    values = {"name": service.name(session), "uses_mail": service.uses_mail(session), "sender": sender and sender.id}
    form = CompanyForm(data=values)
    form.offer_senders(system_mail.possible_senders(session), sender)
    if form.validate_on_submit():
        try:
            changed = service.change(session, name=form.name.data, uses_mail=form.uses_mail.data, actor=web.actor())
            system_mail.choose_sender(session, form.sender.data, actor=web.actor())
            session.commit()
            return web.done("organisation.settings", said=_said(changed, uses_mail=form.uses_mail.data))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "is_off": not service.uses_mail(session), **_trial()}
    return web.page("organisation/settings.html", "organisation/_settings.html", status, **context)


@bp.post("/settings/test-message")
@web.allow(Permission.MANAGE_COMPANY)
def send_trial() -> Answer:
    """Send an e-mail to whoever asks, as the console sends its own."""
    session, person = db.session(), current_user.person
    if system_mail.sender(session) is None:
        said = t("First choose the account through which e-mail is sent, and save.")
        return web.done("organisation.settings", said=said, tone="warn")
    text = t("Hello {name},\n\nthis console can send you e-mail. You asked for this test.\n", name=person.name)
    notices.take_back(session, _about())
    notices.put(session, recipient=person.email, subject=t("Test of this console"), text=text, about=_about())
    session.commit()
    queue.ring("notice")
    return web.done("organisation.settings", _anchor="sender")


@bp.get("/settings/test-message")
@web.allow(Permission.MANAGE_COMPANY)
@web.polled
def trial() -> Answer:
    """What became of it."""
    if not web.is_htmx():
        return web.done("organisation.settings")
    return web.page("organisation/_trial.html", None, **_trial())


def _trial() -> dict[str, Any]:
    notice = notices.latest(db.session(), _about())
    return {
        "trial": notice,
        "trial_waits": notice is not None and notices.is_waiting(notice),
        "sender": system_mail.sender(db.session()),
    }


def _about() -> str:
    return f"test for person {current_user.person.id}"


def _said(changed: set[str], *, uses_mail: bool) -> str:
    if "uses mail" not in changed:
        return t("The settings are saved.")
    if uses_mail:
        return t("Integrated e-mail is on. Accounts that are due begin within five minutes.")
    return t("Integrated e-mail is off. Syncs that run stop within 30 seconds; nothing is lost.")
