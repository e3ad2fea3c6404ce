"""Providers that come from the catalogue: adopted once, following it, changed by hand, reset."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.activity.models import Activity
from mailadmin.errors import RuleBroken
from mailadmin.mail import known_providers
from mailadmin.mail.types import Direction, LoginFormat, ServerProtocol, SignInMethod
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from tests.accounts.factories import a_provider, imap, pop3, smtp
from tests.conftest import both_databases
from tests.providers.factories import LAKESIDE, SERVERS, Says


def adopt(session: Session, domain: str = "lake.example", **facts: Any) -> Provider:
    provider = service.adopt(session, replace(LAKESIDE, **facts), domain=domain, actor=SYSTEM)
    assert provider is not None
    return provider


def changed(session: Session, provider: Provider, **facts: Any) -> Provider:
    """`provider`, after a person changed these facts."""
    wish = replace(service.wish_of(provider), **facts)
    return service.save(
        session, provider=provider, wish=wish, version=provider.version, has_passwords=False, actor=SYSTEM
    )


def hosts(provider: Provider) -> list[str]:
    return sorted(str(row.server) for row in provider.servers)


def domains(provider: Provider) -> list[str]:
    return [row.domain for row in provider.domains]


def trail(session: Session) -> list[tuple[str, str]]:
    return [(a.what, a.detail) for a in session.scalars(select(Activity).order_by(Activity.id))]


# Made when it is first used.


@both_databases
def test_first_use_makes_the_provider_whole(session: Session) -> None:
    made = adopt(session)
    session.commit()
    with db.reading() as other:
        provider = service.get(other, made.id)
    assert (provider.name, domains(provider), hosts(provider)) == ("Lakeside", [*LAKESIDE.domains], [*SERVERS])
    assert provider.sign_in_methods == {SignInMethod.OAUTH, SignInMethod.APP_PASSWORD}
    assert (provider.files_sent, provider.most_connections, provider.least_minutes) == (True, 15, 10)
    assert service.changed_here(provider) == frozenset()


def test_second_use_finds_the_provider_and_adds_a_company_s_domain(session: Session) -> None:
    first, second = adopt(session), adopt(session, domain="Bücher.example")
    assert first is second
    assert domains(first) == ["lake.example", "pond.example", "xn--bcher-kva.example"]
    assert service.recognise(session, "info@bücher.example") is first
    assert service.changed_here(first) == frozenset()


def test_domain_of_another_provider_stays_there(session: Session) -> None:
    harbour = a_provider(session, domains=("pond.example", "harbour.example"))
    lakeside = adopt(session, domain="harbour.example")
    assert domains(lakeside) == ["lake.example"]
    assert domains(harbour) == ["harbour.example", "pond.example"]


def test_name_that_is_taken_gets_a_number(session: Session) -> None:
    a_provider(session, name="lakeside")
    assert adopt(session).name == "Lakeside (2)"


@both_databases
def test_two_at_once_make_one_provider(booted: object) -> None:
    def use(domain: str) -> int:
        with db.transaction() as session:
            return adopt(session, domain=domain).id

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(use, ["lake.example", "a.example", "b.example", "a.example"]))
    with db.reading() as session:
        assert session.scalar(select(func.count(Provider.id))) == len(ids) == 1
        assert domains(service.get(session, ids.pop())) == ["a.example", "b.example", *LAKESIDE.domains]


@pytest.mark.parametrize(
    ("facts", "domain"),
    [
        ({"servers": ("imap:mail.{domain}:993:implicit",)}, "lake.example"),
        ({"servers": (), "closed": "It has no IMAP."}, "lake.example"),
        ({"servers": SERVERS[1:]}, "lake.example"),
        ({"hosted_servers": ("imap:pro.lake.example:993:implicit",)}, "company.example"),
    ],
)
def test_what_one_row_cannot_stand_for_is_left_to_the_account(
    session: Session, facts: dict[str, Any], domain: str
) -> None:
    assert service.adopt(session, replace(LAKESIDE, **facts), domain=domain, actor=SYSTEM) is None
    assert session.scalar(select(func.count(Provider.id))) == 0


def test_every_entry_of_the_real_catalogue_that_can_be_shared_is_adopted(session: Session) -> None:
    for known in known_providers.everyone().values():
        if not service.can_be_shared(known):
            continue
        provider = service.adopt(
            session, known, domain=known.domains[0] if known.domains else "x.example", actor=SYSTEM
        )
        assert provider is None or not service.changed_here(provider), known.key


# Following the catalogue.


@both_databases
def test_new_release_moves_what_nobody_changed(session: Session, catalogue: Says) -> None:
    provider = adopt(session, domain="company.example")
    service_says = {"name": "Lakeside Mail", "least_minutes": 5, "domains": ("lake.example", "sea.example")}
    catalogue(servers=("imap:new.lake.example:993:implicit", *SERVERS[1:]), **service_says)
    assert service.follow_catalogue(session) == ["Lakeside Mail"]
    assert hosts(provider) == ["imap:new.lake.example:993:implicit", SERVERS[1]]
    assert domains(provider) == ["company.example", "lake.example", "sea.example"]
    assert (provider.name, provider.least_minutes) == ("Lakeside Mail", 5)
    assert trail(session)[-1] == (
        "followed the catalogue with the provider Lakeside Mail",
        "name, domains, servers, shortest time between syncs",
    )


def test_what_a_person_changed_stays(session: Session, catalogue: Says) -> None:
    own = imap("gateway.company.example")
    provider = changed(
        session, adopt(session), name="Our lake", servers=(own, smtp("smtp.lake.example")), files_sent=False
    )
    catalogue(
        name="Lakeside Mail",
        files_sent=True,
        most_connections=20,
        servers=("imap:new.lake.example:993:implicit", "smtp:new.lake.example:465:implicit"),
    )
    service.follow_catalogue(session)
    assert (provider.name, provider.files_sent, provider.most_connections) == ("Our lake", False, 20)
    assert hosts(provider) == [str(own), "smtp:new.lake.example:465:implicit"]
    assert service.changed_here(provider) == {"name", "files_sent", "servers"}


def test_domain_that_was_taken_away_here_does_not_come_back(session: Session, catalogue: Says) -> None:
    provider = changed(session, adopt(session), domains=("lake.example",))
    catalogue(least_minutes=3)
    service.follow_catalogue(session)
    assert (domains(provider), service.changed_here(provider)) == (["lake.example"], {"domains"})


def test_following_again_changes_nothing(session: Session, catalogue: Says) -> None:
    provider = adopt(session)
    catalogue(least_minutes=3)
    assert service.follow_catalogue(session) == ["Lakeside"]
    version = provider.version
    assert service.follow_catalogue(session) == []
    assert provider.version == version


def test_release_that_says_the_same_as_a_person_leaves_no_mark(session: Session, catalogue: Says) -> None:
    provider = changed(session, adopt(session), least_minutes=3)
    entries = len(trail(session))
    catalogue(least_minutes=3)
    assert service.follow_catalogue(session) == []
    assert (service.changed_here(provider), len(trail(session))) == (frozenset(), entries)


@pytest.mark.parametrize("facts", [{"is_gone": True}, {"servers": (), "closed": "It has no IMAP any more."}])
def test_entry_that_goes_leaves_the_provider_as_it_is(session: Session, catalogue: Says, facts: dict[str, Any]) -> None:
    provider = adopt(session)
    catalogue(**facts)
    assert service.follow_catalogue(session) == []
    assert hosts(provider) == [*SERVERS]


def test_names_and_domains_of_others_are_not_taken(session: Session, catalogue: Says) -> None:
    provider, harbour = adopt(session), a_provider(session, name="Lake", domains=("sea.example",))
    catalogue(name="Lake", domains=("lake.example", "sea.example"))
    service.follow_catalogue(session)
    assert (provider.name, domains(provider), domains(harbour)) == ("Lakeside", ["lake.example"], ["sea.example"])


# Back to the catalogue.


def reset(session: Session, provider: Provider, **more: Any) -> Provider:
    usual = {"version": provider.version, "has_passwords": False}
    return service.reset(session, provider, actor=SYSTEM, **{**usual, **more})


def test_reset_brings_back_what_the_catalogue_says(session: Session, catalogue: Says) -> None:
    provider = changed(
        session,
        adopt(session, domain="company.example"),
        name="Our lake",
        domains=("company.example", "lake.example"),
        servers=(imap("gateway.company.example"), pop3()),
        login_format=LoginFormat.LOCAL_PART,
        methods=frozenset({SignInMethod.PASSWORD}),
    )
    told = {one.fact: (one.here, one.there) for one in service.differences(session, provider)}
    assert told.keys() == {"name", "domains", "servers", "login_format", "methods"}
    assert told["methods"] == (["password"], ["oauth", "app password"])
    reset(session, provider)
    assert (provider.name, provider.login_format) == ("Lakeside", LoginFormat.ADDRESS)
    assert hosts(provider) == [*SERVERS]
    assert provider.server(Direction.INCOMING, ServerProtocol.POP3) is None
    assert domains(provider) == ["company.example", "lake.example", "pond.example"]
    assert (service.changed_here(provider), service.differences(session, provider)) == (frozenset(), [])


def test_reset_sends_stored_passwords_nowhere_new_without_a_word(session: Session, catalogue: Says) -> None:
    provider = changed(session, adopt(session), servers=(imap("gateway.company.example"),))
    with pytest.raises(RuleBroken) as caught:
        reset(session, provider, has_passwords=True)
    assert caught.value.field == "is_same_company"
    reset(session, provider, has_passwords=True, is_same_company=True)
    assert hosts(provider) == [*SERVERS]


def test_reset_by_the_second_of_two_administrators_is_refused(session: Session, catalogue: Says) -> None:
    provider = adopt(session)
    seen = provider.version
    changed(session, provider, name="Our lake")
    with pytest.raises(RuleBroken) as caught:
        reset(session, provider, version=seen)
    assert (caught.value.field, provider.name) == ("version", "Our lake")


def test_provider_made_by_hand_has_nothing_to_reset(session: Session, catalogue: Says) -> None:
    provider = a_provider(session)
    assert (service.known(provider), service.differences(session, provider)) == (None, [])
    with pytest.raises(RuleBroken, match="does not have this provider"):
        reset(session, provider)


def test_new_provider_begins_as_an_entry_once(session: Session, catalogue: Says) -> None:
    wish = replace(service.wish_of(adopt(session)), name="Second", domains=())
    with pytest.raises(RuleBroken, match="Lakeside is here already"):
        service.save(session, wish=wish, actor=SYSTEM)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("lakeside", "Lakeside"),
        ("POND.example", "Lakeside"),
        ("LAKE", "Lakeside"),
        ("nothing", ""),
        ("a", "Lakeside Sea"),
    ],
)
def test_catalogue_is_searched_by_name_and_domain(catalogue: Says, typed: str, found: str) -> None:
    catalogue(replace(LAKESIDE, key="sea", name="Sea", short_name="Sea", domains=()))
    assert " ".join(known.name for known in service.search_catalogue(typed)) == found
