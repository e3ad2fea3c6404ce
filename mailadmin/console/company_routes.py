"""The page with what holds for the whole company; it names the account through which the console itself writes."""

from typing import Any

from flask import Blueprint, request
from flask_login import current_user

from mailadmin import db, queue, web
from mailadmin.access.teams import check_counting
from mailadmin.accounts import system_mail
from mailadmin.contacts import service as contacts
from mailadmin.errors import RuleBroken
from mailadmin.notices import service as notices
from mailadmin.organisation import contact_rules, service
from mailadmin.organisation.forms import CompanyForm
from mailadmin.permissions import Permission
from mailadmin.sync import settling
from mailadmin.text import t
from mailadmin.web import Answer

bp = Blueprint("organisation", __name__)
TEAMS = ("team_accounts_use_slots", "teams_have_many_accounts")


@bp.route("/settings", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_COMPANY)
def settings() -> Answer:
    session = db.session()
    sender = system_mail.sender(session)
    values = {"name": service.name(session), "uses_mail": service.uses_mail(session), "sender": sender and sender.id}
    values |= {name: getattr(service, name)(session) for name in TEAMS}
    values |= {"own_domains": "\n".join(contact_rules.own_domains(session))}
    values |= {"free_mail_contacts": contact_rules.free_mail_contacts(session)}
    values["workers_add_accounts"] = service.workers_add_accounts(session)
    values["second_factor"] = service.requires_second_factor(session)
    values["text_kilobytes"] = service.text_kilobytes(session)
    values["activity_months"] = service.activity_months(session)
    form = CompanyForm(data=values)
    form.offer_senders(system_mail.possible_senders(session), sender)
    form.offer_months()
    form.offer_kilobytes()
    if form.validate_on_submit():
        try:
            changed = service.change(session, name=form.name.data, uses_mail=form.uses_mail.data, actor=web.actor())
            _change_teams(form)
            _change_contacts(form)
            system_mail.choose_sender(session, form.sender.data, actor=web.actor())
            service.let_workers_add_accounts(session, may=form.workers_add_accounts.data, actor=web.actor())
            service.require_second_factor(session, is_required=form.second_factor.data, actor=web.actor())
            service.keep_texts(session, kilobytes=form.text_kilobytes.data or 0, actor=web.actor())
            service.keep_activity(session, months=form.activity_months.data or 0, actor=web.actor())
            session.commit()
            return web.done("organisation.settings", said=_said(changed, uses_mail=form.uses_mail.data))
        except RuleBroken as broken:
            session.rollback()
            form.refuse(broken)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "is_off": not service.uses_mail(session), **_trial()}
    return web.page("organisation/settings.html", "organisation/_settings.html", status, **context)


def _change_teams(form: CompanyForm) -> None:
    """What holds for accounts of teams. Raises RuleBroken if somebody would have more than five."""
    session, use_slots = db.session(), form.team_accounts_use_slots.data
    if use_slots and not service.team_accounts_use_slots(session):
        check_counting(session)
    many = form.teams_have_many_accounts.data
    service.change_teams(session, use_slots=use_slots, have_many_accounts=many, actor=web.actor())


def _change_contacts(form: CompanyForm) -> None:
    """Who becomes a contact. Those at domains that are our own now go; if more people may, all mail is looked at again.

    Raises RuleBroken.
    """
    session = db.session()
    new, more = contact_rules.change_contacts(
        session, domains=form.own_domains.data or "", free_mail=form.free_mail_contacts.data, actor=web.actor()
    )
    contacts.forget_domains(session, new)
    if more:
        settling.go_through_again(session)


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
