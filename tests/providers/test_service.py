"""Providers keep their names, domains and servers in order."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import boot, db
from mailadmin.activity.models import Activity
from mailadmin.config import Settings
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.mail.types import Direction, TLSMode, TLSVersion
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from mailadmin.providers.models import LoginFormat, Provider
from tests.accounts.factories import a_provider, a_provider_wish, an_account, imap, pop3, smtp
from tests.conftest import both_databases


def save(session: Session, provider: Provider, *, has_passwords: bool = False, **wanted: object) -> Provider:
    wish = a_provider_wish(**wanted)
    return service.save(
        session, provider=provider, wish=wish, version=provider.version, has_passwords=has_passwords, actor=SYSTEM
    )


def refused(session: Session, provider: Provider | None = None, **wanted: object) -> RuleBroken:
    version = provider.version if provider else None
    with pytest.raises(RuleBroken) as caught:
        service.save(session, provider=provider, wish=a_provider_wish(**wanted), version=version, actor=SYSTEM)
    return caught.value


@both_databases
def test_provider_is_stored_whole(session: Session) -> None:
    made = a_provider(
        session, domains=("@Example.NET", "example.net", "bücher.example"), login_format=LoginFormat.BY_HAND
    )
    session.commit()
    with db.reading() as other:
        provider = service.get(other, made.id)
    assert [row.domain for row in provider.domains] == ["example.net", "xn--bcher-kva.example"]
    assert (provider.server(Direction.INCOMING), provider.server(Direction.OUTGOING)) == (imap(), smtp())
    assert (provider.login_format, provider.version) == (LoginFormat.BY_HAND, 1)


def test_address_is_recognised_by_its_domain(session: Session) -> None:
    provider = a_provider(session, domains=("bücher.example", "example.net"))
    assert service.recognise(session, "jo@BÜCHER.example") is provider
    assert service.recognise(session, "jo@example.net") is provider
    assert service.recognise(session, "jo@sub.example.net") is None
    assert service.recognise(session, "nonsense") is None


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("name", {"name": "  "}),
        ("name", {"name": "a\nb"}),
        ("domains", {"domains": ("exa mple",)}),
        ("domains", {"domains": ("https://example.com",)}),
        ("domains", {"domains": ("192.0.2.1",)}),
        ("imap_host", {"incoming": imap("")}),
        ("imap_host", {"incoming": imap("192.168.1.1")}),
        ("imap_port", {"incoming": imap(port=587)}),
        ("smtp_port", {"outgoing": smtp(port=65536)}),
        ("smtp_tls_mode", {"outgoing": smtp(tls_mode=TLSMode.NONE)}),
        ("imap_host", {"incoming": None}),
        ("pop3_port", {"pop3": pop3(port=993)}),
        ("smtp_host", {"servers": (imap(), smtp(), smtp("other.example.net"))}),
        ("methods", {"methods": frozenset()}),
        ("least_minutes", {"least_minutes": 0}),
        ("least_minutes", {"least_minutes": 1441}),
        ("most_connections", {"most_connections": -1}),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(session: Session, field: str, wanted: dict[str, Any]) -> None:
    assert refused(session, **wanted).field == field


@pytest.mark.parametrize("domain", ["gmail", "localhost", "com."])
def test_domain_without_a_dot_is_a_slip_where_only_public_servers_are_reached(
    session: Session, settings: Settings, monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    provider = a_provider(session, domains=(domain,))  # This installation reaches a network of its own.
    other = replace(settings, rules=replace(settings.rules, networks=()))
    monkeypatch.setattr(boot, "settings", lambda: other)
    with pytest.raises(RuleBroken, match="has no dot") as caught:
        a_provider(session, name="Another", domains=(domain,))
    assert caught.value.field == "domains"
    assert list(service.sort_out_domains(session, [domain, "a.example"], None)[1]) == [domain]
    save(session, provider, domains=(domain, "a.example"))  # What it has already stays.


def test_wrong_port_says_which_would_be_right(session: Session) -> None:
    assert refused(session, outgoing=smtp(port=993)).message == "993 is for IMAP. SMTP uses 465 or 587."


@both_databases
def test_names_and_domains_belong_to_one_provider(session: Session) -> None:
    a_provider(session)
    assert refused(session, name="harbour mail").field == "name"
    broken = refused(session, name="Other", domains=("new.example", "example.net"))
    assert (broken.field, broken.message) == ("domains", "example.net belongs to Harbour Mail already.")


@both_databases
def test_domains_of_a_provider_come_and_go(session: Session) -> None:
    provider = a_provider(session, domains=("a.example", "b.example"))
    save(session, provider, domains=("b.example", "c.example"))
    session.commit()
    with db.reading() as other:
        assert [row.domain for row in service.get(other, provider.id).domains] == ["b.example", "c.example"]
    assert provider.version == 2


@both_databases
def test_second_of_two_administrators_is_told(session: Session) -> None:
    provider = a_provider(session)
    seen = provider.version
    save(session, provider, name="First")
    with pytest.raises(RuleBroken) as caught:
        service.save(session, provider=provider, wish=a_provider_wish(name="Second"), version=seen, actor=SYSTEM)
    assert (caught.value.field, provider.name) == ("version", "First")


def test_sending_can_be_given_up(session: Session) -> None:
    provider = save(session, a_provider(session), outgoing=None)
    assert provider.server(Direction.OUTGOING) is None


@both_databases
def test_provider_in_use_cannot_be_deleted(session: Session) -> None:
    provider = a_provider(session)
    account = an_account(session, provider_id=provider.id)
    session.commit()
    with pytest.raises(RuleBroken, match="Accounts use Harbour Mail"):
        service.delete(session, provider, actor=SYSTEM)
    session.delete(account)
    service.delete(session, provider, actor=SYSTEM)
    session.commit()
    with pytest.raises(NotFound):
        service.get(session, provider.id)


def test_very_many_domains_are_refused(session: Session) -> None:
    domains = tuple(f"d{n}.example" for n in range(service.DOMAINS + 1))
    with pytest.raises(RuleBroken, match="at most 1,000") as caught:
        service.save(session, wish=a_provider_wish(domains=domains), actor=SYSTEM)
    assert caught.value.field == "domains"


def trail(session: Session) -> list[tuple[str, str]]:
    return [(a.what, a.detail) for a in session.scalars(select(Activity).order_by(Activity.id))]


@both_databases
def test_lowest_tls_version_is_stored_and_its_change_recorded(session: Session) -> None:
    provider = a_provider(session)
    assert provider.trust.minimum is TLSVersion.TLS_1_2
    save(session, provider, minimum_tls=TLSVersion.TLS_1_3)
    session.commit()
    with db.reading() as other:
        assert service.get(other, provider.id).trust.minimum is TLSVersion.TLS_1_3
    assert trail(session)[1:] == [("changed the provider Harbour Mail", "lowest TLS version: “1.2” to “1.3”")]
    assert provider.version == 2


def test_lowering_below_1_2_is_a_line_of_its_own(session: Session) -> None:
    provider = a_provider(session)
    save(session, provider, name="Harbour", minimum_tls=TLSVersion.TLS_1_0)
    save(session, provider, name="Harbour", minimum_tls=TLSVersion.TLS_1_1)
    assert trail(session)[1:] == [
        ("changed the provider Harbour", "lowest TLS version: “1.2” to “1.0”; name: “Harbour Mail” to “Harbour”"),
        ("lowered the lowest TLS version of the provider Harbour from 1.2 to 1.0", ""),
        ("changed the provider Harbour", "lowest TLS version: “1.0” to “1.1”"),
    ]


def test_a_new_provider_with_old_tls_is_remembered_as_such(session: Session) -> None:
    a_provider(session, minimum_tls=TLSVersion.TLS_1_1)
    assert trail(session)[1] == ("lowered the lowest TLS version of the provider Harbour Mail from 1.2 to 1.1", "")


def test_saving_what_is_there_changes_nothing(session: Session) -> None:
    provider = a_provider(session)
    save(session, provider)
    assert (provider.version, len(trail(session))) == (1, 1)
