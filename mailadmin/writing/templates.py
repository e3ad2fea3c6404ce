"""The texts with which people of the organisation begin a message, and how administrators keep them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.permissions import Actor
from mailadmin.text import t
from mailadmin.writing.models import MailTemplate
from mailadmin.writing.typed import tidy_line, tidy_text

MOST, NAME_LENGTH, SUBJECT_LENGTH, TEXT_LENGTH = 200, 60, 200, 20_000
PLACEHOLDERS = ("name", "team", "account", "contact")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def everything(session: Session) -> Sequence[MailTemplate]:
    """All templates, by name."""
    return session.scalars(select(MailTemplate).order_by(func.lower(MailTemplate.name), MailTemplate.id)).all()


def get(session: Session, template_id: int) -> MailTemplate:
    """The template `template_id`. Raises NotFound."""
    found = session.get(MailTemplate, template_id)
    if found is None:
        raise NotFound(t("This template does not exist any more."))
    return found


def add(session: Session, *, name: str, subject: str, text: str, actor: Actor) -> MailTemplate:
    """A new template. Raises RuleBroken at the field `name`, `subject` or `text`."""
    if (session.scalar(select(func.count()).select_from(MailTemplate)) or 0) >= MOST:
        raise RuleBroken(t("There can be {n} templates at most.", n=MOST), field="name")
    template = MailTemplate()
    _take(session, template, name, subject, text)
    session.add(template)
    _store(session, template)
    activity.record(session, actor, f"added the template {template.name}")
    return template


def version_of(template: MailTemplate) -> int:
    """A number that is another one after every change."""
    return (template.changed_at - _BEGINNING) // timedelta(microseconds=1)


def change(
    session: Session,
    template: MailTemplate,
    *,
    name: str,
    subject: str,
    text: str,
    actor: Actor,
    version: int | None = None,
) -> None:
    """Let `template` be this from now on; `version` is that of the template as the administrator saw it.

    Raises RuleBroken as `add` does, and at the field `version` when somebody else was faster.
    """
    if version is not None:
        _lock(session, template, version)
    before = {"name": template.name, "subject": template.subject, "text": template.text}
    _take(session, template, name, subject, text)
    after = {"name": template.name, "subject": template.subject, "text": template.text}
    if before == after:
        return
    template.changed_at = now()
    _store(session, template)
    detail = activity.difference(before, after)
    activity.record(session, actor, f"changed the template {template.name}", detail=detail)


def _lock(session: Session, template: MailTemplate, version: int) -> None:
    """Let two administrators who save at once go one after the other."""
    session.refresh(template, with_for_update=True)
    if version_of(template) != version:
        said = t("Somebody else changed this template meanwhile. To put what you see here in its place, save again.")
        raise RuleBroken(said, field="version")


def remove(session: Session, template: MailTemplate, *, actor: Actor) -> None:
    """Delete `template`; what was begun with it stays."""
    session.delete(template)
    activity.record(session, actor, f"deleted the template {template.name}")
    session.flush()


def _take(session: Session, template: MailTemplate, name: str, subject: str, text: str) -> None:
    name = _line(name, field="name", most=NAME_LENGTH)
    if not name:
        raise RuleBroken(t("Give the template a name."), field="name")
    same = select(MailTemplate.id).where(func.lower(MailTemplate.name) == name.lower())
    if template.id is not None:
        same = same.where(MailTemplate.id != template.id)
    with session.no_autoflush:
        if session.scalar(same.limit(1)) is not None:
            raise _taken(name)
    subject = _line(subject, field="subject", most=SUBJECT_LENGTH)
    text = tidy_text(text).strip("\n").rstrip()
    if not text:
        raise RuleBroken(t("Type the text of the template."), field="text")
    if len(text) > TEXT_LENGTH:
        raise RuleBroken(t("At most {n} characters can stand here.", n=f"{TEXT_LENGTH:,}"), field="text")
    template.name, template.subject, template.text = name, subject, text


def _line(text: str, *, field: str, most: int) -> str:
    line = tidy_line(text)
    if len(line) > most:
        raise RuleBroken(t("At most {n} characters can stand here.", n=most), field=field)
    return line


def _store(session: Session, template: MailTemplate) -> None:
    name = template.name
    try:
        with session.begin_nested():
            session.flush()
    except IntegrityError as error:
        raise _taken(name) from error


def _taken(name: str) -> RuleBroken:
    return RuleBroken(t("There is a template called “{name}” already.", name=name), field="name")
