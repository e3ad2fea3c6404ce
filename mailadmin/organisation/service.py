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
TEXT_KILOBYTES = 256
KEEPABLE_KILOBYTES = (0, 64, 256, 512)
NAME_LENGTH = 120
ACTIVITY_MONTHS = 24
KEEPABLE_MONTHS = (6, 12, 24, 36, 60, 120)


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


def team_accounts_use_slots(session: Session) -> bool:
    """Whether the accounts of somebody's teams count among their five."""
    return session.scalar(select(Organisation.team_accounts_use_slots).where(Organisation.id == ONLY_ID)) is True


def teams_have_many_accounts(session: Session) -> bool:
    """Whether a team may have more than one account."""
    return session.scalar(select(Organisation.teams_have_many_accounts).where(Organisation.id == ONLY_ID)) is True


def requires_second_factor(session: Session) -> bool:
    """Whether everybody who signs in with a password has to prove more."""
    return session.scalar(select(Organisation.requires_second_factor).where(Organisation.id == ONLY_ID)) is True


def require_second_factor(session: Session, *, is_required: bool, actor: Actor) -> None:
    """Ask everybody for a second factor, or leave it to them."""
    said = f"{'requires' if is_required else 'no longer requires'} a second factor of all"
    _switch(session, "requires_second_factor", on=is_required, said=said, actor=actor)


def workers_add_accounts(session: Session) -> bool:
    """Whether workers may connect mailboxes of their own without an administrator."""
    return session.scalar(select(Organisation.workers_add_accounts).where(Organisation.id == ONLY_ID)) is True


def let_workers_add_accounts(session: Session, *, may: bool, actor: Actor) -> None:
    """Let workers connect mailboxes of their own, or leave it to administrators; what is connected stays."""
    said = f"changed a setting: workers {'add' if may else 'no longer add'} personal accounts by themselves"
    _switch(session, "workers_add_accounts", on=may, said=said, actor=actor)


def _switch(session: Session, column: str, *, on: bool, said: str, actor: Actor) -> None:
    row = session.get(Organisation, ONLY_ID, with_for_update=True, populate_existing=True)
    if row is not None and getattr(row, column) is not on:
        setattr(row, column, on)
        activity.record(session, actor, said)
        session.flush()


def activity_months(session: Session) -> int:
    """For how many months the audit trail is kept."""
    return session.scalar(select(Organisation.activity_months).where(Organisation.id == ONLY_ID)) or ACTIVITY_MONTHS


def keep_activity(session: Session, *, months: int, actor: Actor) -> None:
    """Keep the audit trail for `months`, one of KEEPABLE_MONTHS. Raises RuleBroken at `activity_months`."""
    if months not in KEEPABLE_MONTHS:
        raise RuleBroken(t("Choose how long from the list."), field="activity_months")
    row = session.get(Organisation, ONLY_ID, with_for_update=True, populate_existing=True)
    if row is not None and row.activity_months != months:
        activity.record(
            session, actor, "changed how long the audit log is kept", detail=f"{row.activity_months} to {months} months"
        )
        row.activity_months = months
        session.flush()


def text_kilobytes(session: Session) -> int:
    """How much of a message's text is kept, in thousands of characters; 0: none of it."""
    kept = session.scalar(select(Organisation.text_kilobytes).where(Organisation.id == ONLY_ID))
    return TEXT_KILOBYTES if kept is None else kept


def keep_texts(session: Session, *, kilobytes: int, actor: Actor) -> None:
    """Keep the first `kilobytes` of texts, one of KEEPABLE_KILOBYTES. Raises RuleBroken at `text_kilobytes`.

    It counts for what is fetched from now on; what is kept already stays as it is.
    """
    if kilobytes not in KEEPABLE_KILOBYTES:
        raise RuleBroken(t("Choose how much from the list."), field="text_kilobytes")
    row = session.get(Organisation, ONLY_ID, with_for_update=True, populate_existing=True)
    if row is not None and row.text_kilobytes != kilobytes:
        change = f"{row.text_kilobytes} to {kilobytes} KB"
        activity.record(session, actor, "changed how much of a message's text is kept", detail=change)
        row.text_kilobytes = kilobytes
        session.flush()


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


def change_teams(session: Session, *, use_slots: bool, have_many_accounts: bool, actor: Actor) -> None:
    """Let accounts of teams count among a worker's five or not, and let teams have several accounts or one.

    Who would have more than five is the caller's question (access.teams.check_counting), asked before.
    """
    row = session.get(Organisation, ONLY_ID, with_for_update=True, populate_existing=True)
    if row is None:
        row = Organisation(id=ONLY_ID, name="", team_accounts_use_slots=False, teams_have_many_accounts=False)
        session.add(row)
    if row.team_accounts_use_slots is not use_slots:
        counted = "counted among" if use_slots else "no longer counted among"
        activity.record(session, actor, f"changed a setting: accounts of teams are {counted} a worker's five")
    if row.teams_have_many_accounts is not have_many_accounts:
        number = "several accounts" if have_many_accounts else "one account"
        activity.record(session, actor, f"changed a setting: a team may have {number}")
    row.team_accounts_use_slots, row.teams_have_many_accounts = use_slots, have_many_accounts
    session.flush()
