"""The list of contacts, and how one is deleted."""

from flask import request
from flask_login import current_user

from mailadmin import db, web
from mailadmin.console import contacts as queries
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm, SearchForm
from mailadmin.contacts import service
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer


@bp.get("/contacts")
@web.allow(Permission.SEE_CONSOLE)
def contacts() -> Answer:
    form = SearchForm(request.args, label=t("Search by name or address"))
    page = request.args.get("page", 1, int)
    found = queries.find(db.session(), current_user.person, words=form.words(), page=page)
    return web.page("console/contacts.html", form=form, found=found, words=form.words())


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
    page = request.args.get("page", 1, int)
    return web.done("console.contacts", said=said, q=words or None, page=page if page > 1 else None)
