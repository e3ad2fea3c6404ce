"""How often servers may be tested that were not proved to be ours, and domains looked up.

The console is no port scanner and no oracle.
"""

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mailadmin.connections.models import UnprovedTest
from mailadmin.db import now
from mailadmin.errors import RuleBroken
from mailadmin.permissions import Actor
from mailadmin.text import t

PER_PERSON, PERSON_SPAN = 10, timedelta(minutes=1)
PER_HOST, HOST_SPAN = 60, timedelta(hours=1)
LOOKUPS, LOOKUP_SPAN = 30, timedelta(minutes=1)  # of one person: half of what all together have
_LOCK = 0x7465737473  # "tests": whoever counts does so alone


def spend(session: Session, *, actor: Actor, hosts: Iterable[str]) -> None:
    """Count one test of `hosts` by `actor`. Raises RuleBroken, a sentence with the wait, when it is one too many."""
    hosts, moment = list(dict.fromkeys(hosts)), now()
    _count_alone(session)
    mine = (UnprovedTest.tested_by == _key(actor), UnprovedTest.tested_at > moment - PERSON_SPAN)
    # One test may have two hosts; both rows bear the same moment.
    if (session.scalar(select(func.count(UnprovedTest.tested_at.distinct())).where(*mine)) or 0) >= PER_PERSON:
        said = "You have tested {n} new servers within a minute. Wait a minute, then test again."
        raise RuleBroken(t(said, n=PER_PERSON))
    for host in hosts:
        recent = (UnprovedTest.host == host, UnprovedTest.tested_at > moment - HOST_SPAN)
        if (session.scalar(select(func.count(UnprovedTest.id)).where(*recent)) or 0) >= PER_HOST:
            said = "{host} was tested {n} times within an hour before it let anybody in. Wait an hour, then test again."
            raise RuleBroken(t(said, host=host, n=PER_HOST))
    note(session, actor=actor, hosts=hosts)


def note(session: Session, *, actor: Actor, hosts: Iterable[str]) -> None:
    """Count one test of `hosts`, whoever may be over a limit: the rows are the count, for all processes together."""
    moment = now()
    session.execute(delete(UnprovedTest).where(UnprovedTest.tested_at < moment - HOST_SPAN))
    for host in dict.fromkeys(hosts):
        session.add(UnprovedTest(tested_by=_key(actor), host=host, tested_at=moment))
    session.flush()


def spend_lookup(session: Session, *, actor: Actor) -> None:
    """Count one lookup of a domain for `actor`. Raises RuleBroken, a sentence with the wait, when it is one too many.

    It is a row like that of a test, of no host and under a name of its own: neither count knows of the other.
    """
    key, moment = f"{_key(actor)}, looking up", now()
    _count_alone(session)
    mine = (UnprovedTest.tested_by == key, UnprovedTest.tested_at > moment - LOOKUP_SPAN)
    if (session.scalar(select(func.count(UnprovedTest.id)).where(*mine)) or 0) >= LOOKUPS:
        said = "You have looked up {n} domains within a minute. Wait a minute, then try again."
        raise RuleBroken(t(said, n=LOOKUPS))
    session.execute(delete(UnprovedTest).where(UnprovedTest.tested_at < moment - HOST_SPAN))
    session.add(UnprovedTest(tested_by=key, host="", tested_at=moment))
    session.flush()


def _count_alone(session: Session) -> None:
    """Let nobody else count until the commit."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite lets one write at a time anyway.
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def _key(actor: Actor) -> str:
    return f"person {actor.person_id}" if actor.person_id is not None else actor.name
