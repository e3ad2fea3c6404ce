"""The list of contacts, the mail with one of them, and how one is deleted."""

from flask import request
from flask_login import current_user

from mailadmin import db, web
from mailadmin.console import contact_mail
from mailadmin.console import contacts as queries
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm, SearchForm
from mailadmin.contacts import service
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.writing import service as writing
from mailadmin.writing.addresses import Mailbox


@bp.get("/contacts")
@web.allow(Permission.READ_MAIL)
def contacts() -> Answer:
    form = SearchForm(request.args, label=t("Search by name or address"))
    page, order = request.args.get("page", 1, int), request.args.get("sort", "name")
    order = order if order in queries.ORDERS else "name"
    found = queries.find(db.session(), current_user.person, typed=form.words(), page=page, order=order)
    return web.page("console/contacts.html", form=form, found=found, words=form.words(), order=order)


@bp.get("/contacts/<int:contact_id>")
@web.allow(Permission.READ_MAIL)
def contact(contact_id: int) -> Answer:
    session, person = db.session(), current_user.person
    found = queries.get_visible(session, person, contact_id)
    mail = contact_mail.with_contact(session, person, found, page=request.args.get("page", 1, int))
    writes_as = next(iter(writing.senders(session, person)), None)
    writes_to = str(Mailbox(" ".join(found.name.split()), found.address))
    return web.page("console/contact.html", contact=found, mail=mail, writes_as=writes_as, writes_to=writes_to)


@bp.get("/contacts/<int:contact_id>/messages/<int:message_id>")
@web.allow(Permission.READ_MAIL)
def contact_message(contact_id: int, message_id: int) -> Answer:
    """The text of a message in somebody else's account, as far as its owner shows it."""
    session, person = db.session(), current_user.person
    found = queries.get_visible(session, person, contact_id)
    line, text = contact_mail.shown_text(session, person, found, message_id)
    return web.page("console/contact_message.html", contact=found, line=line, text=text)


@bp.post("/contacts/<int:contact_id>/delete")
@web.allow(Permission.MANAGE_ACCOUNTS)
def delete_contact(contact_id: int) -> Answer:
    session = db.session()
    contact = queries.get_visible(session, current_user.person, contact_id)
    if not DeleteForm().validate_on_submit():
        return web.error_answer(400, expired=True)
    said = t("{address} was deleted.", address=contact.address)
    service.forget(session, contact, actor=web.actor())
    session.commit()
    words = request.args.get("q", "")[: queries.LONGEST_SEARCH]
    page, sort = request.args.get("page", 1, int), request.args.get("sort", "name")
    return web.done(
        "console.contacts",
        said=said,
        q=words or None,
        sort=sort if sort in queries.ORDERS and sort != "name" else None,
        page=page if page > 1 else None,
    )
