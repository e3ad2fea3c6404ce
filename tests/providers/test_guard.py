"""Stored passwords go to no new server of a provider, and over no weaker connection, without somebody's word."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin.config import Settings
from mailadmin.errors import RuleBroken
from mailadmin.mail.types import Server, TLSMode, TLSVersion
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from tests.accounts.factories import a_provider, a_provider_wish, imap, pop3, smtp


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation that allows connections without encryption."""
    return replace(settings, rules=replace(settings.rules, plaintext=True))


@pytest.fixture
def provider(session: Session) -> Provider:
    return a_provider(session)


def save(session: Session, provider: Provider, **wanted: Any) -> Provider:
    wish = a_provider_wish(**wanted)
    return service.save(session, provider=provider, wish=wish, version=provider.version, actor=SYSTEM)


EXPOSING: list[tuple[dict[str, Any], str]] = [
    ({"incoming": imap("new.example.net")}, "new.example.net, port 993, is new."),
    ({"incoming": imap("smtp.example.net")}, "smtp.example.net, port 993, is new."),
    ({"outgoing": smtp("imap.example.net")}, "imap.example.net, port 465, is new."),
    ({"incoming": imap(port=143, tls_mode=TLSMode.STARTTLS)}, "imap.example.net, port 143, is new."),
    ({"outgoing": smtp(tls_mode=TLSMode.NONE)}, "smtp.example.net would be reached without encryption."),
    ({"pop3": pop3("pop.example.net")}, "pop.example.net, port 995, is new."),
    ({"pop3": pop3("imap.example.net")}, "imap.example.net, port 995, is new."),
    ({"minimum_tls": TLSVersion.TLS_1_1}, "TLS 1.1 would be allowed."),
]


@pytest.mark.parametrize(("wanted", "why"), EXPOSING)
def test_what_is_less_safe_has_to_be_vouched_for(
    session: Session, provider: Provider, wanted: dict[str, Any], why: str
) -> None:
    with pytest.raises(RuleBroken) as caught:
        save(session, provider, **wanted)
    assert (caught.value.field, caught.value.message.startswith(why)) == ("is_same_company", True)
    save(session, provider, is_same_company=True, **wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "Harbour"},
        {"domains": ()},
        {"minimum_tls": TLSVersion.TLS_1_3},
        {"outgoing": None},
        {"incoming": imap(tls_mode=TLSMode.STARTTLS)},
    ],
)
def test_what_is_as_safe_as_before_is_not_asked_about(
    session: Session, provider: Provider, wanted: dict[str, Any]
) -> None:
    save(session, provider, **wanted)


@pytest.mark.parametrize("server", [imap("new.example.net"), imap(tls_mode=TLSMode.NONE)])
def test_nothing_is_asked_where_no_password_is_stored(session: Session, provider: Provider, server: Server) -> None:
    wish = a_provider_wish(incoming=server)
    service.save(session, provider=provider, wish=wish, version=1, has_passwords=False, actor=SYSTEM)


def test_certificate_has_to_be_vouched_for(session: Session, provider: Provider, pem: str) -> None:
    with pytest.raises(RuleBroken) as caught:
        service.add_certificates(session, provider, pem=pem, actor=SYSTEM)
    assert (caught.value.field, provider.certificates) == ("is_vouched_for", [])
    assert service.add_certificates(session, provider, pem=pem, is_vouched_for=True, actor=SYSTEM)
