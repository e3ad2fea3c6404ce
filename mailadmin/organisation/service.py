"""What holds for the whole company: its name, and whether it uses its mail here."""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.organisation.models import Organisation
from mailadmin.permissions import Actor
from mailadmin.text import t

ONLY_ID = 1
NAME_LENGTH = 120


def name(session: Session) -> str:
    """The company's name, empty before the first set-up."""
    row = session.get(Organisation, ONLY_ID)
    return row.name if row else ""


def uses_mail(session: Session) -> bool:
    """Whether mail is synced, and shown to workers, at this moment; asked anew each time, for a run lasts long."""
    return session.scalar(select(Organisation.uses_mail).where(Organisation.id == ONLY_ID)) is not False


def mail_is_used() -> ColumnElement[bool]:
    """What `uses_mail` says, as a rule for a query of any table."""
    return ~exists().where(Organisation.id == ONLY_ID, Organisation.uses_mail.is_(False))


def why_off() -> str:
    """The sentence for whoever wants what the switch forbids."""
    return t("Integrated e-mail is switched off for the whole organisation. An administrator can switch it on.")


def rename(session: Session, *, name: str) -> None:
    """Call the company `name`."""
    row = session.get(Organisation, ONLY_ID)
    if row is None:
        session.add(Organisation(id=ONLY_ID, name=name))
    else:
        row.name = name
    session.flush()


def change(session: Session, *, name: str, uses_mail: bool, actor: Actor) -> set[str]:
    """Call the company `name`, and use its mail here or not; what changed, in words.

    Nothing but the switch changes: runs and pages look at it, so nothing is lost and all goes on where it was. Raises
    RuleBroken at the field `name`.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= NAME_LENGTH:
        raise RuleBroken(t("The name has 1 to {most} characters.", most=NAME_LENGTH), field="name")
    row = session.get(Organisation, ONLY_ID, with_for_update=True, populate_existing=True)
    if row is None:
        row = Organisation(id=ONLY_ID, name="", uses_mail=True)
        session.add(row)
    changed = set()
    if row.name != name:
        activity.record(session, actor, "changed the name of the organisation", detail=name)
        changed.add("name")
    if row.uses_mail is not uses_mail:
        activity.record(session, actor, f"switched integrated e-mail {'on' if uses_mail else 'off'}")
        changed.add("uses mail")
    row.name, row.uses_mail = name, uses_mail
    session.flush()
    return changed
