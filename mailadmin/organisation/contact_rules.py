"""What holds for contacts in the whole company: which domains are its own, and whether free mail counts."""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin.activity import service as activity
from mailadmin.errors import RuleBroken
from mailadmin.organisation.models import Organisation
from mailadmin.organisation.service import ONLY_ID
from mailadmin.permissions import Actor
from mailadmin.text import t

MOST_DOMAINS = 200
_DOMAIN = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")


def own_domains(session: Session) -> list[str]:
    """The domains that the settings name as the company's own, in lower case."""
    return (session.scalar(select(Organisation.own_domains).where(Organisation.id == ONLY_ID)) or "").split()


def free_mail_contacts(session: Session) -> bool:
    """Whether people with addresses at free-mail providers become contacts."""
    return session.scalar(select(Organisation.free_mail_contacts).where(Organisation.id == ONLY_ID)) is not False


def checked_domains(text: str) -> list[str]:
    """The domains in `text`, separated by blanks, commas or lines, as they are stored. Raises RuleBroken."""
    found: dict[str, None] = {}
    for word in text.replace(",", " ").replace(";", " ").split():
        plain = word.lower().lstrip("@").rstrip(".")
        try:
            domain = plain if plain.isascii() else plain.encode("idna").decode()
        except UnicodeError:
            domain = ""
        if not _DOMAIN.fullmatch(domain):
            said = t("“{word}” is not a domain. Write it like example.com.", word=word[:60])
            raise RuleBroken(said, field="own_domains")
        found[domain] = None
    if len(found) > MOST_DOMAINS:
        raise RuleBroken(t("At most {most} domains.", most=MOST_DOMAINS), field="own_domains")
    return sorted(found)


def change_contacts(session: Session, *, domains: str, free_mail: bool, actor: Actor) -> tuple[set[str], bool]:
    """Let the `domains`, as somebody typed them, be the company's own, and free mail count or not.

    The answer is which domains are new among them, and whether more people may become contacts than before. Raises
    RuleBroken at `own_domains`.
    """
    wanted = checked_domains(domains)
    row = session.get(Organisation, ONLY_ID, with_for_update=True, populate_existing=True)
    if row is None:
        row = Organisation(id=ONLY_ID, name="", own_domains="", free_mail_contacts=True)
        session.add(row)
    before, was_welcome = row.own_domains.split(), row.free_mail_contacts
    if before != wanted:
        activity.record(session, actor, "changed the organisation's own domains", detail=" ".join(wanted)[:500])
    if was_welcome is not free_mail:
        whether = "become contacts" if free_mail else "no longer become contacts"
        activity.record(session, actor, f"changed a setting: people at free-mail providers {whether}")
    row.own_domains, row.free_mail_contacts = " ".join(wanted), free_mail
    session.flush()
    return set(wanted) - set(before), bool(set(before) - set(wanted)) or (free_mail and not was_welcome)
