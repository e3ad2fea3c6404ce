"""Who belongs to the organisation: people come by a link or with a password, are let in and kept out, and go.

A full administrator may do everything. Whoever has a role of the organisation's own may do what that allows; if that is
to manage people, then workers only. Nobody can so give what they do not have: no role that may do more, no way into the
account of somebody who may, and no mail to themselves, for they are administrators too.
One full administrator who can sign in is always left: whoever takes one away locks the rows of all of them first, so
two who would take away each other wait for one another.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin import sealed
from mailadmin.activity import service as activity
from mailadmin.activity.service import ActivityKind
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.organisation import service as organisation
from mailadmin.people import passwords, sessions, tickets
from mailadmin.people.models import CustomRole, Passkey, Person, SignInProvider, TicketPurpose
from mailadmin.people.service import checked_email, checked_name
from mailadmin.permissions import Actor, Permission, PersonRole
from mailadmin.text import t

LINK_LASTS = timedelta(days=7)
RESET_LASTS = timedelta(hours=1)
RESET_PAUSE = timedelta(minutes=15)  # between two links that somebody asked for
ROLE_NAME_LENGTH = 60
LINKS = (TicketPurpose.INVITE, TicketPurpose.RESET)
# What a role of one's own may hold; the rest comes with every role, or with that of a full administrator alone.
DIVISIBLE = (
    Permission.MANAGE_PROVIDERS,
    Permission.MANAGE_ACCOUNTS,
    Permission.MANAGE_PEOPLE,
    Permission.SEE_ACTIVITY,
)


def get(session: Session, person_id: int) -> Person:
    """The person `person_id`. Raises NotFound."""
    person = session.get(Person, person_id)
    if person is None:
        raise NotFound(t("This person is not here any more."))
    return person


# Who may change whom.


def is_full(person: Person) -> bool:
    """Whether `person` may do everything here."""
    return person.role is PersonRole.ADMINISTRATOR and person.custom_role_id is None and person.is_active


def may_change(by: Person, whom: Person) -> bool:
    """Whether `by`, who manages people, may change `whom`: what they are, what they read, how they sign in."""
    return whom.role is not PersonRole.ADMINISTRATOR or is_full(by)


def check_reach(by: Person, whom: Person | None = None, *, role: PersonRole | None = None) -> None:
    """Raise RuleBroken unless `by` may change `whom`, or give somebody `role`."""
    concerns = (whom is not None and not may_change(by, whom)) or role is PersonRole.ADMINISTRATOR
    if concerns and not is_full(by):
        raise RuleBroken(t("Only somebody who is an administrator for everything can change administrators."))


def get_changeable(session: Session, person_id: int, *, by: Person) -> Person:
    """The person `person_id`, if `by` may change them. Raises NotFound and RuleBroken."""
    person = get(session, person_id)
    check_reach(by, person)
    return person


def check_way_in(session: Session, *, without: str) -> None:
    """Raise RuleBroken if nobody who may do everything could sign in `without` the provider of this issuer."""
    full, able = _full(session, without=without)
    if full and not able:
        said = t("No administrator could sign in any more. Let one of you choose a password or add a passkey first.")
        raise RuleBroken(said)


def _full(session: Session, *, without: str = "") -> tuple[set[int], set[int]]:
    """Everybody who may do everything, their rows locked, and those of them who can sign in."""
    full = (
        select(Person.id, Person.password_hash, Person.subject, Person.issuer)
        .where(
            Person.role == PersonRole.ADMINISTRATOR, Person.custom_role_id.is_(None), Person.deactivated_at.is_(None)
        )
        .order_by(Person.id)
        .with_for_update()
    )
    keyed = set(session.scalars(select(Passkey.person_id)))
    open_ones = set(session.scalars(select(SignInProvider.issuer).where(SignInProvider.is_on))) - {without}
    rows = session.execute(full).all()
    able = {row.id for row in rows if row.password_hash or row.id in keyed or (row.subject and row.issuer in open_ones)}
    return {row.id for row in rows}, able


def _keep_one(session: Session, person: Person) -> None:
    """Raise RuleBroken if `person` is the last one who may do everything."""
    full, able = _full(session)
    if person.id in full and not able - {person.id}:
        raise RuleBroken(
            t("{name} is the last administrator who can sign in. Make somebody else one first.", name=person.name)
        )


# Coming.


def invite(
    session: Session, *, email: str, name: str, role: PersonRole, custom_role: CustomRole | None = None, actor: Actor
) -> Person:
    """A new person who has no password yet. Raises RuleBroken at the field that is wrong."""
    address, name = checked_email(email), checked_name(name, what=t("The name"), field="name")
    role_id = custom_role.id if custom_role and role is PersonRole.ADMINISTRATOR else None
    person = Person(email=address, name=name, role=role, custom_role_id=role_id)
    try:
        with session.begin_nested():
            session.add(person)
    except IntegrityError as error:
        raise RuleBroken(t("Somebody with this address is here already."), field="email") from error
    _note(session, actor, f"added {person.name} as {role_word(person, custom_role)}")
    return person


def make_link(session: Session, person: Person, *, actor: Actor) -> str:
    """The code of a link with which `person` chooses a password; earlier ones end. Raises RuleBroken if deactivated."""
    if not person.is_active:
        raise RuleBroken(t("{name} is deactivated and cannot sign in. Reactivate them first.", name=person.name))
    tickets.end(session, person, *LINKS)
    is_new = person.password_hash is None
    code = tickets.make(
        session,
        TicketPurpose.INVITE if is_new else TicketPurpose.RESET,
        lasts=LINK_LASTS,
        person=person,
        made_by=actor.name,
    )
    _note(session, actor, f"made a link with which {person.name} chooses a {'' if is_new else 'new '}password")
    return code


def may_ask_for_reset(session: Session, person: Person) -> bool:
    """Whether a link may be sent to `person`: whoever asks again and again fills nobody's mailbox."""
    last = tickets.newest(session, person, TicketPurpose.RESET)
    return person.is_active and (last is None or last.used_at is not None or last.created_at < now() - RESET_PAUSE)


def ask_for_reset(session: Session, person: Person | None) -> str:
    """The code of a link that somebody asked for; it lasts an hour, and ends no other: anybody may ask."""
    name = person.name if person else ""
    return tickets.make(session, TicketPurpose.RESET, lasts=RESET_LASTS, person=person, made_by=name)


def choose_password(session: Session, code: str, password: str, *, address: str = "") -> Person:
    """Give whoever has the link `code`, and comes from `address`, their password; end their sessions, use the link up.

    Raises RuleBroken: without a field if the link is worth nothing, else at `password`.
    """
    person, ticket = whose_link(session, code), tickets.look(session, code, *LINKS)
    _check_password(session, person, password)
    tickets.use(session, ticket)
    tickets.end(session, person, *LINKS)
    _set_password(session, person, password)
    sessions.end_all(session, person)
    actor = Actor(person.name, person.id, address)
    _note(session, actor, "chose a password with a link", kind=ActivityKind.SIGN_INS)
    return person


def whose_link(session: Session, code: str) -> Person:
    """The person for whom the link `code` is. Raises RuleBroken with the reason why it is worth nothing."""
    ticket = tickets.look(session, code, *LINKS)
    person = session.get(Person, ticket.person_id) if ticket.person_id else None
    if person is None or not person.is_active:
        raise RuleBroken(t("This link is worth nothing any more."))
    return person


def shortest_password(session: Session, person: Person) -> int:
    """How many characters a new password of `person` needs."""
    return passwords.SHORTEST if has_second_factor(session, person) else passwords.SHORTEST_ALONE


def change_password(session: Session, person: Person, *, old: str, new: str, keep: str, actor: Actor) -> None:
    """Let `person` have `new` instead of `old`; all their sessions but the one with the token `keep` end.

    Raises RuleBroken at the field `old_password` or `password`.
    """
    if person.password_hash is not None and not passwords.fits(old, person.password_hash):
        raise RuleBroken(t("This is not your password."), field="old_password")
    _check_password(session, person, new)
    _set_password(session, person, new)
    tickets.end(session, person, *LINKS)
    sessions.end_all(session, person, but=keep)
    _note(session, actor, "changed their password", kind=ActivityKind.SIGN_INS)


def _check_password(session: Session, person: Person, password: str) -> None:
    names = {"email": person.email, "name": person.name, "organisation": organisation.name(session)}
    passwords.check(password, is_only=not has_second_factor(session, person), **names)


def _set_password(session: Session, person: Person, password: str) -> None:
    person.password_hash = passwords.hash_password(password)
    session.flush()


def knows_password(person: Person, password: str) -> bool:
    """Whether `password` is that of `person`; whoever has none signs in elsewhere and is believed."""
    return person.password_hash is None or passwords.fits(password, person.password_hash)


def has_second_factor(session: Session, person: Person) -> bool:
    """Whether `person` proves more than the knowledge of a password."""
    if person.totp_since is not None:
        return True
    return session.scalar(select(Passkey.id).where(Passkey.person_id == person.id).limit(1)) is not None


# Staying.


def change_profile(session: Session, person: Person, *, name: str, time_zone: str, signature: str) -> None:
    """What somebody says of themselves. Raises RuleBroken at the field `name`."""
    person.name = checked_name(name, what=t("Your name"), field="name")
    person.time_zone, person.signature = time_zone, signature.strip()
    session.flush()


def change_role(
    session: Session, person: Person, *, role: PersonRole, custom_role: CustomRole | None, by: Person, actor: Actor
) -> None:
    """Make `person` a worker, an administrator for everything, or one with `custom_role`. Raises RuleBroken."""
    role_id = custom_role.id if custom_role and role is PersonRole.ADMINISTRATOR else None
    if (role, role_id) == (person.role, person.custom_role_id):
        return
    check_reach(by, person, role=role)
    if role is not PersonRole.ADMINISTRATOR or role_id is not None:
        _keep_one(session, person)
    before = role_word(person, person.custom_role)
    person.role, person.custom_role_id, person.custom_role = role, role_id, custom_role if role_id else None
    session.flush()
    _note(session, actor, f"changed the role of {person.name}", detail=f"{before} to {role_word(person, custom_role)}")


def deactivate(session: Session, person: Person, *, by: Person, actor: Actor) -> None:
    """Keep `person` out from now on; sessions end at once, and nothing of theirs is lost. Raises RuleBroken."""
    check_reach(by, person)
    _keep_one(session, person)
    if person.is_active:
        person.deactivated_at = now()
        sessions.end_all(session, person)
        tickets.end(session, person, *TicketPurpose)
        session.flush()
        _note(session, actor, f"deactivated {person.name}")


def reactivate(session: Session, person: Person, *, by: Person, actor: Actor) -> None:
    """Let `person` in again. Raises RuleBroken."""
    check_reach(by, person)
    if not person.is_active:
        person.deactivated_at = None
        session.flush()
        _note(session, actor, f"reactivated {person.name}")


# Going.


def remove(session: Session, person: Person, *, by: Person, actor: Actor) -> None:
    """Delete `person`, sessions, keys and access. Their accounts have been seen to before. Raises RuleBroken."""
    check_reach(by, person)
    _keep_one(session, person)
    name, email, totp_id = person.name, person.email, person.totp_id
    kept = tickets.all_kept(session, person)
    session.execute(delete(Person).where(Person.id == person.id).execution_options(synchronize_session=False))
    session.expunge(person)
    for secret_id in (*kept, *([totp_id] if totp_id else ())):
        sealed.forget(session, secret_id)
    _note(session, actor, f"deleted {name}", detail=email)


# Roles of one's own.


def role_word(person: Person, custom_role: CustomRole | None = None) -> str:
    """What `person` is here, in one or a few words."""
    return custom_role.name if custom_role and person.custom_role_id else str(person.role)


def custom_roles(session: Session) -> Sequence[CustomRole]:
    """All roles of the organisation's own, by name."""
    return session.scalars(select(CustomRole).order_by(func.lower(CustomRole.name))).all()


def get_role(session: Session, role_id: int) -> CustomRole:
    """The role `role_id`. Raises NotFound."""
    role = session.get(CustomRole, role_id)
    if role is None:
        raise NotFound(t("This role does not exist any more."))
    return role


def save_role(
    session: Session, role: CustomRole | None, *, name: str, permissions: Sequence[str], by: Person, actor: Actor
) -> CustomRole:
    """A new role, or `role` with another name or other permissions. Raises RuleBroken at `name` or `permissions`."""
    check_reach(by, role=PersonRole.ADMINISTRATOR)
    name = checked_name(name, what=t("The name"), field="name")
    if len(name) > ROLE_NAME_LENGTH:
        raise RuleBroken(t("At most {n} characters can stand here.", n=ROLE_NAME_LENGTH), field="name")
    wanted = [permission.value for permission in DIVISIBLE if permission.value in permissions]
    if not wanted:
        raise RuleBroken(t("Choose at least one thing that this role may do."), field="permissions")
    is_new = role is None
    role = role or CustomRole()
    try:
        with session.begin_nested():
            role.name, role.words = name, ",".join(wanted)
            session.add(role)
    except IntegrityError as error:
        raise RuleBroken(t("There is a role with this name already."), field="name") from error
    _note(session, actor, f"{'added' if is_new else 'changed'} the role {name}", detail=", ".join(wanted))
    return role


def holders(session: Session, role: CustomRole) -> int:
    """How many people have `role`."""
    return session.scalar(select(func.count(Person.id)).where(Person.custom_role_id == role.id)) or 0


def delete_role(session: Session, role: CustomRole, *, by: Person, actor: Actor) -> None:
    """Delete `role`. Raises RuleBroken while somebody has it."""
    check_reach(by, role=PersonRole.ADMINISTRATOR)
    if holders(session, role):
        raise RuleBroken(t("Somebody has this role. Give them another one first."))
    session.delete(role)
    session.flush()
    _note(session, actor, f"deleted the role {role.name}")


def _note(
    session: Session, actor: Actor, what: str, *, detail: str = "", kind: ActivityKind = ActivityKind.PEOPLE
) -> None:
    activity.record(session, actor, what, detail=detail, kind=kind)
