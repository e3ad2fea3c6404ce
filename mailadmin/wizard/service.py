"""What is known of an address before somebody has an account there: our providers, the catalogue, and the network.

What the network says is a row for each domain, which a job fills in and which is good for an hour.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mailadmin.connections import service as connections
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.findings import Discovery, as_plain, from_plain
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.permissions import Actor
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.text import t
from mailadmin.wizard.models import Lookup

FRESH = timedelta(hours=1)
FRESH_IF_INCOMPLETE = timedelta(minutes=1)  # Nothing was found, and somebody did not answer in time.
LOST = timedelta(seconds=15)  # A lookup takes five: one that began so long ago has lost its job.
PATIENCE = timedelta(seconds=30)  # Nobody waits longer at a page, whatever has become of the job.
KEPT = timedelta(days=1)
MOST, SPAN = 60, timedelta(minutes=1)  # new lookups of all people together


@dataclass(frozen=True, slots=True)
class Taken:
    """A lookup that a job has taken: `began_at` says that it is still this job's."""

    domain: str
    began_at: datetime


def recognised(session: Session, address: str) -> Provider | KnownProvider | None:
    """Whose address it is, by its domain alone: one of our providers, else one of the catalogue. Asks no network."""
    if provider := providers.recognise(session, address):
        return provider
    try:
        return known_providers.by_domain(providers.normalised_domain(address.rpartition("@")[2]))
    except RuleBroken:
        return None


def look_up(session: Session, domain: str, *, actor: Actor) -> Lookup:
    """The lookup of `domain`, which is begun if there is no fresh one; then ring `detect` after the commit.

    Raises RuleBroken if that is no domain, or if too many were looked up within a minute, by `actor` or by all.
    """
    domain = providers.normalised_domain(domain)
    lookup = session.get(Lookup, domain, with_for_update=True)
    if lookup is not None and _is_fresh(lookup):
        return lookup
    recent = session.scalar(select(func.count()).where(Lookup.asked_at > now() - SPAN)) or 0
    if recent >= MOST:
        raise RuleBroken(t("{n} domains were looked up within a minute. Wait a minute, then try again.", n=MOST))
    connections.spend_lookup(session, actor=actor)
    if lookup is None:
        return _added(session, domain)
    lookup.asked_at, lookup.started_at, lookup.ended_at, lookup.found = now(), None, None, None
    session.flush()
    return lookup


def known_lookup(session: Session, domain: str) -> Lookup | None:
    """The lookup of `domain` (lower case, IDNA) if there is one that is still good, running or ended."""
    lookup = session.get(Lookup, domain)
    return lookup if lookup is not None and now() - lookup.asked_at < FRESH else None


def discovery_of(lookup: Lookup) -> Discovery | None:
    """What `lookup` found, or None while it runs; one that nobody ends is given up after a while."""
    if lookup.ended_at is not None and lookup.found is not None:
        return from_plain(lookup.found)
    if lookup.ended_at is None and now() - lookup.asked_at < PATIENCE:
        return None
    return _broken_off(lookup.domain)


def take_due(session: Session, *, limit: int) -> list[Taken]:
    """Take up to `limit` lookups that nobody does; those that were lost for too long are ended."""
    moment = now()
    is_lost = Lookup.started_at < moment - LOST
    query = (
        select(Lookup)
        .where(Lookup.ended_at.is_(None), or_(Lookup.started_at.is_(None), is_lost))
        .order_by(Lookup.asked_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = []
    for lookup in session.scalars(query):
        has_failed = lookup.started_at is not None
        lookup.started_at = moment
        if has_failed and moment - lookup.asked_at >= PATIENCE:  # It ends its job each time, or nobody waits any more.
            lookup.ended_at, lookup.found = moment, as_plain(_broken_off(lookup.domain))
        else:
            taken.append(Taken(lookup.domain, moment))
    session.flush()
    return taken


def finish(session: Session, taken: Taken, discovery: Discovery | None) -> None:
    """Write what was found, unless the lookup was taken from its job; None: it broke off."""
    found = as_plain(discovery or _broken_off(taken.domain))
    mine = (Lookup.domain == taken.domain, Lookup.started_at == taken.began_at, Lookup.ended_at.is_(None))
    session.execute(update(Lookup).where(*mine).values(ended_at=now(), found=found))


def are_waiting(session: Session, *, longer_than: timedelta) -> bool:
    """Whether lookups have waited `longer_than` that for a job, or have lost it."""
    moment = now()
    is_due = or_(
        Lookup.started_at.is_(None) & (Lookup.asked_at < moment - longer_than), Lookup.started_at < moment - LOST
    )
    return session.scalar(select(Lookup.domain).where(Lookup.ended_at.is_(None), is_due).limit(1)) is not None


def forget_old_lookups(session: Session) -> None:
    """Delete lookups that were asked for long ago."""
    session.execute(delete(Lookup).where(Lookup.asked_at < now() - KEPT))


def _is_fresh(lookup: Lookup) -> bool:
    age = now() - lookup.asked_at
    if lookup.ended_at is None:
        return age < PATIENCE
    found = discovery_of(lookup)
    is_good = found is not None and not found.is_incomplete and found.attempts
    return age < (FRESH if is_good else FRESH_IF_INCOMPLETE)


def _added(session: Session, domain: str) -> Lookup:
    lookup = Lookup(domain=domain, asked_at=now())
    try:
        with session.begin_nested():
            session.add(lookup)
            session.flush()
    except IntegrityError:  # Somebody else asked for it a moment ago.
        return session.get_one(Lookup, domain)
    return lookup


def _broken_off(domain: str) -> Discovery:
    problem = t("The search broke off. Try again in a minute, or enter the servers by hand.")
    return Discovery(domain, problem=problem)
