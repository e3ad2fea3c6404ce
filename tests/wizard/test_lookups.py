"""Lookups: one row for each domain, filled in by a job that may run twice and die, and good for an hour."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import clock, db, queue
from mailadmin.config import Settings
from mailadmin.connections import limits
from mailadmin.errors import RuleBroken
from mailadmin.mail.discovery import discover
from mailadmin.mail.findings import Attempt, Discovery, Source, as_plain
from mailadmin.mail.known_providers import KnownProvider
from mailadmin.permissions import Actor
from mailadmin.providers.models import Provider
from mailadmin.wizard import jobs, service
from mailadmin.wizard.models import Lookup
from tests.accounts.factories import a_provider
from tests.conftest import both_databases
from tests.servers import dns
from tests.servers.town import Town

ADA, WIM = Actor("Ada", 1), Actor("Wim", 2)


@pytest.fixture
def settings(settings: Settings, town: Town) -> Settings:
    """An installation that lives in the town."""
    return dataclasses.replace(settings, rules=town.rules, ispdb=town.ispdb)


def asked(domain: str) -> Lookup:
    with db.transaction() as session:
        return service.look_up(session, domain, actor=ADA)


def stored(domain: str) -> Lookup:
    with db.reading() as session:
        return session.get_one(Lookup, domain)


def a_lookup(domain: str, *, ago: timedelta = timedelta(), **values: Any) -> None:
    with db.transaction() as session:
        session.add(Lookup(domain=domain, asked_at=db.now() - ago, **values))


def ended(found: Discovery) -> dict[str, Any]:
    return {"started_at": db.now(), "ended_at": db.now(), "found": as_plain(found)}


NOTHING = Discovery("old.test", attempts=(Attempt(Source.MX, "old.test", problem="There is none."),))
LATE = Discovery("old.test", attempts=(Attempt(Source.MX, "old.test", problem="Late.", timed_out=True),))


@both_databases
def test_a_lookup_is_done_by_the_job(booted: Settings, town: Town) -> None:
    town.add_srv("lookup.test", imap=("imap.lookup.test", 993))
    assert service.discovery_of(asked("Lookup.Test")) is None
    jobs.drain_lookups()
    found = service.discovery_of(stored("lookup.test"))
    assert found is not None
    assert [(one.source, str(one.servers[0])) for one in found.findings] == [
        (Source.SRV, "imap:imap.lookup.test:993:implicit")
    ]


@both_databases
def test_many_lookups_are_done_at_once(booted: Settings, town: Town) -> None:
    domains = [f"many-{n}.test" for n in range(12)]
    for domain in domains:
        asked(domain)
    jobs.drain_lookups()
    found = [service.discovery_of(stored(domain)) for domain in domains]
    assert [one and one.problem for one in found] == [f"There is no domain called {domain}." for domain in domains]


def test_the_job_may_run_twice(booted: Settings, town: Town) -> None:
    asked("nowhere.test")
    jobs.drain_lookups()
    first = stored("nowhere.test")
    jobs.drain_lookups()
    assert stored("nowhere.test").ended_at == first.ended_at


def test_a_fresh_lookup_is_not_done_again(session: Session) -> None:
    a_lookup("old.test", ago=timedelta(minutes=59), **ended(NOTHING))
    assert service.look_up(session, "old.test", actor=ADA).ended_at is not None


@pytest.mark.parametrize(
    ("found", "age"), [(NOTHING, timedelta(minutes=61)), (LATE, timedelta(seconds=61))], ids=["an hour", "a minute"]
)
def test_an_old_lookup_is_begun_anew(session: Session, found: Discovery, age: timedelta) -> None:
    a_lookup("old.test", ago=age, **ended(found))
    renewed = service.look_up(session, "old.test", actor=ADA)
    assert (renewed.started_at, renewed.ended_at, renewed.found) == (None, None, None)
    assert service.discovery_of(renewed) is None


def test_pages_see_what_is_fresh_and_nothing_older(session: Session) -> None:
    a_lookup("new.test", ago=timedelta(minutes=1), **ended(NOTHING))
    a_lookup("old.test", ago=service.FRESH, **ended(NOTHING))
    assert service.known_lookup(session, "new.test")
    assert service.known_lookup(session, "old.test") is None
    assert service.known_lookup(session, "never.test") is None


def test_what_is_no_domain_is_refused(session: Session) -> None:
    with pytest.raises(RuleBroken, match="not a domain"):
        service.look_up(session, "not a domain", actor=ADA)


def test_very_many_lookups_a_minute_are_refused(session: Session) -> None:
    for n in range(service.MOST):
        a_lookup(f"many-{n}.test", **ended(NOTHING))
    with pytest.raises(RuleBroken, match="Wait a minute"):
        service.look_up(session, "another.test", actor=ADA)
    assert service.look_up(session, "many-1.test", actor=ADA).ended_at  # What is known costs nothing.


@both_databases
def test_one_person_cannot_use_up_the_lookups_of_all(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(limits.LOOKUPS):
        service.look_up(session, f"many-{n}.test", actor=ADA)
    with pytest.raises(RuleBroken, match="You have looked up 30 domains"):
        service.look_up(session, "another.test", actor=ADA)
    service.look_up(session, "many-1.test", actor=ADA)  # What is known, or goes on, costs nothing.
    service.look_up(session, "another.test", actor=WIM)
    limits.spend(session, actor=ADA, hosts=["mail.test"])  # Tests are counted by themselves.
    soon = db.now() + limits.LOOKUP_SPAN
    monkeypatch.setattr(limits, "now", lambda: soon)
    monkeypatch.setattr(service, "now", lambda: soon)
    service.look_up(session, "one-more.test", actor=ADA)


def test_a_lookup_that_nobody_does_is_given_up_on_the_page(session: Session) -> None:
    a_lookup("waiting.test", ago=service.PATIENCE)
    found = service.discovery_of(session.get_one(Lookup, "waiting.test"))
    assert found is not None
    assert found.problem.startswith("The search broke off.")
    assert service.look_up(session, "waiting.test", actor=ADA).asked_at > db.now() - timedelta(seconds=5)


@both_databases
def test_a_lookup_whose_job_died_is_done_by_the_next_one(booted: Settings, town: Town) -> None:
    a_lookup("absent.test", ago=timedelta(seconds=16), started_at=db.now() - timedelta(seconds=16))
    clock.find_waiting_lookups()
    assert (queue.waiting() or {})[queue.Line.LOOKUP] == 1
    jobs.drain_lookups()
    assert stored("absent.test").ended_at


def test_a_lookup_that_kills_its_jobs_is_ended(booted: Settings) -> None:
    a_lookup("deadly.test", ago=service.PATIENCE, started_at=db.now() - service.LOST)
    jobs.drain_lookups()
    found = service.discovery_of(stored("deadly.test"))
    assert found is not None
    assert found.problem.startswith("The search broke off.")


def test_a_lookup_that_another_job_has_taken_is_left_to_it(booted: Settings) -> None:
    a_lookup("taken.test", started_at=db.now())
    jobs.drain_lookups()
    clock.find_waiting_lookups()
    assert stored("taken.test").ended_at is None
    assert (queue.waiting() or {})[queue.Line.LOOKUP] == 0
    late = service.Taken("taken.test", db.now() - timedelta(seconds=20))
    with db.transaction() as session:
        service.finish(session, late, NOTHING)
    assert stored("taken.test").ended_at is None


def test_a_search_that_breaks_off_is_told_and_the_others_go_on(
    booted: Settings, town: Town, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(domain: str, *args: Any, **options: Any) -> Discovery:
        if domain == "unlucky.test":
            raise ZeroDivisionError
        return discover(domain, *args, **options)

    monkeypatch.setattr(jobs, "discover", stumble)
    for domain in ("unlucky.test", "lucky.test"):
        asked(domain)
    jobs.drain_lookups()
    found = [service.discovery_of(stored(domain)) for domain in ("unlucky.test", "lucky.test")]
    assert [one and one.problem.partition(".")[0] for one in found] == [
        "The search broke off",
        "There is no domain called lucky",
    ]
    assert [record.message for record in caplog.records] == ["The lookup of unlucky.test broke off."]


def test_a_lookup_that_nobody_took_is_rung_for(booted: Settings) -> None:
    a_lookup("new.test")
    clock.find_waiting_lookups()
    assert (queue.waiting() or {})[queue.Line.LOOKUP] == 0
    a_lookup("waiting.test", ago=clock.CHECK_PATIENCE)
    clock.find_waiting_lookups()
    clock.find_waiting_lookups()  # Once is enough.
    assert (queue.waiting() or {})[queue.Line.LOOKUP] == 1


def test_old_lookups_are_swept_up(booted: Settings) -> None:
    a_lookup("old.test", ago=service.KEPT, **ended(NOTHING))
    a_lookup("new.test", **ended(NOTHING))
    clock.sweep()
    with db.reading() as session:
        assert session.scalars(select(Lookup.domain)).all() == ["new.test"]


def test_a_slow_domain_does_not_hold_up_the_others(booted: Settings, town: Town) -> None:
    town.names.habits["slow.test"] = dns.silence
    for domain in ("slow.test", "quick.test"):
        asked(domain)
    jobs.drain_lookups(seconds=1)
    slow, quick = stored("slow.test"), stored("quick.test")
    assert slow.ended_at
    assert quick.ended_at
    assert quick.ended_at < slow.ended_at


def test_our_own_providers_are_recognised_before_the_catalogue(session: Session) -> None:
    own = a_provider(session, domains=("gmail.com",))
    assert service.recognised(session, "ada@gmail.com") is own
    assert isinstance(own, Provider)


def test_the_catalogue_is_recognised_without_any_row(session: Session) -> None:
    known = service.recognised(session, "Ada@GMail.com")
    assert isinstance(known, KnownProvider)
    assert known.key == "google"


@pytest.mark.parametrize("address", ["ada@nobody.test", "ada@", "", "@", "ada@not a domain"])
def test_nobody_is_recognised_by_an_address_that_says_nothing(session: Session, address: str) -> None:
    assert service.recognised(session, address) is None
