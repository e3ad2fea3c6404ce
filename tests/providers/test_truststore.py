"""What may enter a provider's truststore, and what is remembered of it."""

import ssl
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.activity.models import Activity
from mailadmin.db import now
from mailadmin.errors import NotFound, RuleBroken
from mailadmin.permissions import SYSTEM, Actor
from mailadmin.providers import service
from mailadmin.providers.models import Provider, ProviderCertificate
from mailadmin.providers.service import Validity
from tests.accounts.factories import a_provider
from tests.conftest import both_databases
from tests.servers.certificates import Authority

ADA = Actor("Ada Lindqvist", 1)


@pytest.fixture
def provider(session: Session) -> Provider:
    return a_provider(session)


def add(session: Session, provider: Provider, pem: str) -> list[ProviderCertificate]:
    return service.add_certificates(session, provider, pem=pem, has_passwords=False, actor=ADA)


def refusal(session: Session, provider: Provider, pem: str) -> str:
    with pytest.raises(RuleBroken) as caught:
        add(session, provider, pem)
    assert caught.value.field == "pem"
    return caught.value.message


def trail(session: Session) -> list[tuple[str, str, str]]:
    return [(a.person_name, a.what, a.detail) for a in session.scalars(select(Activity).order_by(Activity.id))]


@both_databases
def test_certificate_is_stored_with_what_it_says(session: Session, provider: Provider, pem: str) -> None:
    seen = provider.version
    [row] = add(session, provider, pem)
    session.commit()
    with db.reading() as other:
        stored = service.get(other, provider.id)
        [kept] = stored.certificates
    assert (kept.subject, kept.issuer) == ("CN=Test authority of mailadmin",) * 2
    assert (kept.sha256, kept.added_by, len(kept.sha256)) == (row.sha256, "Ada Lindqvist", 64)
    assert kept.starts_at < now() < kept.ends_at
    assert (stored.version, stored.trust.authorities) == (seen + 1, pem)


def test_who_added_and_removed_a_certificate_is_remembered(session: Session, provider: Provider, pem: str) -> None:
    [row] = add(session, provider, pem)
    seen = provider.version
    service.remove_certificate(session, provider, row.id, actor=ADA)
    detail = f"CN=Test authority of mailadmin, SHA-256 {row.sha256}"
    assert trail(session)[-2:] == [
        ("Ada Lindqvist", "added a trusted certificate to the provider Harbour Mail", detail),
        ("Ada Lindqvist", "removed a trusted certificate from the provider Harbour Mail", detail),
    ]
    assert (provider.version, provider.trust.authorities) == (seen + 1, "")


def test_several_certificates_in_one_text_are_added_and_known_ones_left_alone(
    session: Session, provider: Provider, authority: Authority, pem: str
) -> None:
    add(session, provider, pem)
    leaf = authority.issue("leaf")[0].read_text()
    added = add(session, provider, f"Our authority\n{pem}\nand our server\n{leaf}{leaf}")
    assert [row.subject for row in added] == ["CN=localhost"]
    assert [row.issuer for row in provider.certificates] == ["CN=Test authority of mailadmin"] * 2


def test_certificate_in_der_is_converted(session: Session, provider: Provider, pem: str) -> None:
    der = ssl.PEM_cert_to_DER_cert(pem)
    assert add(session, provider, service.as_pem(der))[0].pem == pem
    assert service.as_pem(pem.encode()) == pem


@both_databases
def test_the_same_certificate_twice_is_refused(session: Session, provider: Provider, pem: str) -> None:
    add(session, provider, pem)
    assert refusal(session, provider, pem) == "Harbour Mail trusts this already."


def test_private_key_is_refused_even_beside_a_certificate(
    session: Session, provider: Provider, authority: Authority
) -> None:
    certificate, key = (file.read_text() for file in authority.issue("leaf"))
    expected = "This file holds a private key. Upload the certificate alone."
    assert refusal(session, provider, key) == expected
    assert refusal(session, provider, certificate + key) == expected
    assert provider.certificates == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Choose a file, or paste a certificate."),
        ("hello", "There is no certificate in this."),
        (service.as_pem(b"\x30\x82\xff\x00"), "There is no certificate in this."),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "A certificate in this is damaged."),
        ("-----BEGIN CERTIFICATE-----\n", "A certificate in this is damaged."),
        ("é" * (32 * 1024 + 1), "That is too large"),
    ],
)
def test_what_is_no_certificate_is_refused(session: Session, provider: Provider, text: str, words: str) -> None:
    assert refusal(session, provider, text).startswith(words)


def test_half_a_certificate_after_a_whole_one_is_refused(session: Session, provider: Provider, pem: str) -> None:
    assert refusal(session, provider, pem + pem[: len(pem) // 2]).startswith("A certificate in this is damaged.")


def test_only_so_many_are_trusted(session: Session, provider: Provider, authority: Authority) -> None:
    many = [authority.issue("leaf")[0].read_text() for _ in range(51)]
    add(session, provider, "".join(many[:50]))
    assert refusal(session, provider, many[50]) == "A provider has at most 50 trusted certificates."


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ((-10, -1), Validity.EXPIRED),
        ((-10, 20), Validity.ENDING),
        ((-10, 40), Validity.VALID),
        ((1, 40), Validity.EARLY),
    ],
)
def test_certificate_is_taken_at_any_age_and_its_validity_is_told(
    session: Session, provider: Provider, authority: Authority, days: tuple[int, int], expected: Validity
) -> None:
    [row] = add(session, provider, authority.issue("leaf", days=days)[0].read_text())
    assert service.validity(row) is expected
    assert service.days_left(row) == days[1] - 1


def test_validity_follows_the_clock(session: Session, provider: Provider, pem: str) -> None:
    [row] = add(session, provider, pem)
    assert service.validity(row, row.ends_at) is Validity.EXPIRED
    assert service.validity(row, row.starts_at - timedelta(seconds=1)) is Validity.EARLY


def test_certificate_of_another_provider_is_not_found(session: Session, provider: Provider, pem: str) -> None:
    other = a_provider(session, name="Other Mail", domains=("other.example",))
    [row] = add(session, other, pem)
    for attempt in (row.id, row.id + 1):
        with pytest.raises(NotFound):
            service.remove_certificate(session, provider, attempt, actor=SYSTEM)
    assert other.certificates == [row]


@both_databases
def test_deleting_a_provider_deletes_its_truststore(session: Session, provider: Provider, pem: str) -> None:
    add(session, provider, pem)
    session.commit()
    service.delete(session, provider, actor=SYSTEM)
    session.commit()
    assert session.scalars(select(ProviderCertificate)).all() == []
