"""The templates of the organisation: texts that everybody here can put into a message."""

from collections.abc import Sequence
from typing import Any

from flask_login import current_user

from mailadmin import db, web
from mailadmin.console.blueprint import bp
from mailadmin.console.forms import DeleteForm
from mailadmin.console.template_forms import TemplateForm
from mailadmin.errors import RuleBroken
from mailadmin.people import signatures, teams
from mailadmin.permissions import Permission
from mailadmin.text import t
from mailadmin.web import Answer
from mailadmin.writing import service as writing
from mailadmin.writing import templates
from mailadmin.writing.models import MailTemplate


@bp.get("/templates")
@web.allow(Permission.MANAGE_COMPANY)
def mail_templates() -> Answer:
    found = templates.everything(db.session())
    return web.page("console/mail_templates.html", found=found, most=templates.MOST)


@bp.route("/templates/new", methods=["GET", "POST"], defaults={"template_id": None})
@bp.route("/templates/<int:template_id>", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_COMPANY)
def edit_mail_template(template_id: int | None) -> Answer:
    session = db.session()
    template = _of(template_id)
    form = TemplateForm(obj=template, version=templates.version_of(template) if template else None)
    if form.validate_on_submit():
        try:
            if template is None:
                template = templates.add(session, **form.wanted(), actor=web.actor())
            else:
                version = form.version.data or 0
                templates.change(session, template, **form.wanted(), actor=web.actor(), version=version)
            said = t("The template {name} is saved.", name=template.name)
            session.commit()
            return web.done("console.mail_templates", said=said)
        except RuleBroken as broken:
            session.rollback()
            template = _of(template_id)
            form.refuse(broken)
            if template is not None and broken.field == "version":  # Told so, they may save over it.
                form.renew_version(templates.version_of(template))
    return _page(template, form)


@bp.post("/templates/preview", defaults={"template_id": None})
@bp.post("/templates/<int:template_id>/preview")
@web.allow(Permission.MANAGE_COMPANY)
def preview_mail_template(template_id: int | None) -> Answer:
    """What it looks like while somebody writes it; nothing is stored."""
    template = _of(template_id)
    form = TemplateForm()
    if web.is_htmx():
        return web.page("console/_mail_template_preview.html", preview=_preview(form))
    return _page(template, form)


@bp.route("/templates/<int:template_id>/delete", methods=["GET", "POST"])
@web.allow(Permission.MANAGE_COMPANY)
def delete_mail_template(template_id: int) -> Answer:
    session = db.session()
    template = templates.get(session, template_id)
    if DeleteForm().validate_on_submit():
        said = t("The template {name} is deleted.", name=template.name)
        templates.remove(session, template, actor=web.actor())
        session.commit()
        return web.done("console.mail_templates", said=said)
    full, partial = "console/mail_template_delete.html", "console/_mail_template_delete.html"
    return web.page(full, partial, template=template)


def _of(template_id: int | None) -> MailTemplate | None:
    """The template of a page, or None on that of a new one. Raises NotFound."""
    return None if template_id is None else templates.get(db.session(), template_id)


def _page(template: MailTemplate | None, form: TemplateForm) -> Answer:
    return web.page(
        "console/mail_template.html",
        status=422 if form.errors else 200,
        template=template,
        form=form,
        placeholders=_placeholders(),
        preview=_preview(form),
    )


def _placeholders() -> Sequence[tuple[str, str, str]]:
    """Each placeholder, what stands there then, and an example."""
    example = _example()
    meanings = {
        "name": t("the name of whoever writes"),
        "team": t("the team of the account, or of whoever writes"),
        "account": t("the address that the message is from"),
        "contact": t("the name of the first recipient, or the address"),
    }
    return [(f"{{{word}}}", meaning, example[word]) for word, meaning in meanings.items()]


def _example() -> dict[str, str]:
    """What stands for each placeholder in a preview: this person's own values, as far as there are any."""
    session, person = db.session(), current_user.person
    sender = next(iter(writing.senders(session, person)), None)
    team = (sender and sender.team) or next(iter(teams.of_people(session, [person.id])[person.id]), None)
    return {
        "name": person.name,
        "team": team.name if team else t("Sales"),
        "account": (sender.sender_address or sender.address) if sender else person.email,
        "contact": t("Nora Feldt"),
    }


def _preview(form: TemplateForm) -> dict[str, Any]:
    """What stands in a message then."""
    own = _example()
    contact = own.pop("contact")
    typed = {name: value.strip()[: templates.TEXT_LENGTH] for name, value in form.wanted().items() if name != "name"}
    return {
        name: contact.join(signatures.fill(piece, **own) for piece in text.split("{contact}"))
        for name, text in typed.items()
    }
