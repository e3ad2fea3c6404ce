"""The truststore and the lowest TLS version on the provider page."""

import ssl
from io import BytesIO

import pytest

from mailadmin import db
from mailadmin.mail.types import TLSVersion
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from mailadmin.providers.models import Provider, ProviderCertificate
from tests import factories
from tests.accounts.factories import a_provider, an_account
from tests.pages import Browser, Page
from tests.providers.test_routes import FILLED
from tests.servers.certificates import Authority


@pytest.fixture
def provider(booted: object) -> Provider:
    with db.transaction() as session:
        return a_provider(session)


@pytest.fixture
def path(provider: Provider) -> str:
    return f"/providers/{provider.id}/certificates"


def trusted(provider: Provider) -> list[ProviderCertificate]:
    with db.reading() as session:
        return service.get(session, provider.id).certificates


def trust(provider: Provider, pem: str) -> int:
    with db.transaction() as session:
        found = service.get(session, provider.id)
        return service.add_certificates(session, found, pem=pem, has_passwords=False, actor=SYSTEM)[0].id


def renewed(page: Page) -> str | None:
    """The version that the form for the rest of the provider gets."""
    return page.one("input", id="version").get("value")


def test_pasted_certificate_is_trusted_and_shown(ada_at: Browser, provider: Provider, path: str, pem: str) -> None:
    answer = ada_at.post(path, {"pem": pem})
    assert (answer.status, answer.location) == (303, f"/providers/{provider.id}#certificates")
    [row] = trusted(provider)
    assert row.added_by == "Ada Lindqvist"
    page = ada_at.get(f"/providers/{provider.id}")
    shown = page.words(page.one("article"))
    assert "The certificate is trusted now" in page.text
    assert "CN=Test authority of mailadmin" in shown
    assert " ".join(row.sha256.upper()[n : n + 4] for n in range(0, 64, 4)) in shown
    assert "Added by Ada Lindqvist" in shown


@pytest.mark.parametrize("name", ["ca.pem", "ca.der"])
def test_file_is_trusted(ada_at: Browser, provider: Provider, path: str, pem: str, name: str) -> None:
    content = ssl.PEM_cert_to_DER_cert(pem) if name == "ca.der" else pem.encode()
    assert ada_at.post(path, {"file": (BytesIO(content), name), "pem": ""}).status == 303
    assert [row.pem for row in trusted(provider)] == [pem]


def test_htmx_gets_the_list_a_toast_and_the_new_version(
    ada_at: Browser, provider: Provider, path: str, pem: str
) -> None:
    page = ada_at.post(path, {"pem": pem, "version": str(provider.version)}, htmx=True)
    assert page.status == 200
    assert page.all("section", id="certificates")
    assert "The certificate is trusted now" in page.words(page.one("dialog"))
    assert renewed(page) == str(provider.version + 1)
    assert page.value("pem") == ""


def test_certificate_does_not_hide_what_somebody_else_changed(
    ada_at: Browser, provider: Provider, path: str, pem: str
) -> None:
    filled = {**FILLED, "version": str(provider.version)}
    ada_at.post(f"/providers/{provider.id}", {**filled, "domains": "first.example"})
    page = ada_at.post(path, {"pem": pem, "version": str(provider.version)}, htmx=True)
    assert renewed(page) == str(provider.version)
    late = ada_at.post(f"/providers/{provider.id}", {**filled, "domains": "second.example"})
    assert "Somebody else changed this provider meanwhile" in late.text


@pytest.mark.parametrize("htmx", [True, False])
def test_refusal_stands_at_its_field_and_what_was_pasted_stays(ada_at: Browser, path: str, htmx: bool) -> None:
    page = ada_at.post(path, {"pem": "no certificate"}, htmx=htmx)
    assert page.status == 422
    assert page.error("pem").startswith("There is no certificate in this.")
    assert page.value("pem") == "no certificate"
    assert bool(page.all("h1")) is not htmx


def test_whole_page_shows_the_provider_beside_a_refusal(ada_at: Browser, path: str) -> None:
    page = ada_at.post(path, {"pem": "no certificate"})
    assert page.value("name") == "Harbour Mail"
    assert page.one("input", type="hidden", name="domains").get("value") == "example.net"


def test_wrong_file_is_told_at_the_file(ada_at: Browser, path: str) -> None:
    page = ada_at.post(path, {"file": (BytesIO(b"\x30\x00\xff"), "x.p12"), "pem": ""})
    assert page.error("file").startswith("There is no certificate in this.")
    assert page.error("pem") == ""


def test_stored_passwords_have_to_be_vouched_for(ada_at: Browser, provider: Provider, path: str, pem: str) -> None:
    assert not ada_at.get(f"/providers/{provider.id}").all("input", name="is_vouched_for")
    with db.transaction() as session:
        an_account(session, address="wim@example.net", provider_id=provider.id)
    assert len(ada_at.get(f"/providers/{provider.id}").all("input", name="is_vouched_for")) == 1
    page = ada_at.post(path, {"pem": pem})
    assert "will be sent the stored passwords" in page.error("is_vouched_for")
    assert trusted(provider) == []
    assert ada_at.post(path, {"pem": pem, "is_vouched_for": "y"}).status == 303
    assert len(trusted(provider)) == 1


def test_private_key_never_comes_back(ada_at: Browser, provider: Provider, path: str, authority: Authority) -> None:
    key = authority.issue("leaf")[1].read_text()
    page = ada_at.post(path, {"pem": key})
    assert page.error("pem") == "This file holds a private key. Upload the certificate alone."
    assert page.value("pem") == ""
    assert key.splitlines()[1] not in page.text
    assert trusted(provider) == []


@pytest.mark.parametrize("size", [65 * 1024, 2_000_000])
def test_too_large_file_is_refused(ada_at: Browser, provider: Provider, path: str, size: int) -> None:
    page = ada_at.post(path, {"file": (BytesIO(b"x" * size), "x.pem"), "pem": ""})
    assert page.status == (422 if size < 1_000_000 else 413)
    assert trusted(provider) == []


def test_certificate_is_deleted_after_a_question(ada_at: Browser, provider: Provider, path: str, pem: str) -> None:
    delete = f"{path}/{trust(provider, pem)}/delete"
    assert "CN=Test authority of mailadmin" in ada_at.get(delete).text
    assert ada_at.get(delete, htmx=True).one("h2", id="dialog-title").text == "Delete this certificate?"
    assert len(trusted(provider)) == 1
    answer = ada_at.post(delete, htmx=True)
    assert answer.headers["HX-Redirect"].endswith("#certificates")
    assert trusted(provider) == []
    assert ada_at.post(delete).status == 404


@pytest.mark.parametrize(
    ("days", "notice", "badge"),
    [
        ((-10, -1), "A trusted certificate has expired", "Expired"),
        ((-10, 20), "A trusted certificate ends soon", "Ends in 19 days"),
        ((1, 40), "", "Not valid yet"),
        ((-1, 40), "", "Valid"),
    ],
)
def test_page_warns_of_a_certificate_at_its_end(
    ada_at: Browser, provider: Provider, authority: Authority, days: tuple[int, int], notice: str, badge: str
) -> None:
    trust(provider, authority.issue("leaf", days=days)[0].read_text())
    page = ada_at.get(f"/providers/{provider.id}")
    assert [page.words(e) for e in page.all("strong")] == ([notice] if notice else [])
    assert page.words(page.one("span", class_="badge")) == badge


def test_expired_certificate_is_taken_with_a_word(ada_at: Browser, path: str, authority: Authority) -> None:
    expired = authority.issue("leaf", days=(-10, -1))[0].read_text()
    page = ada_at.post(path, {"pem": expired}, htmx=True)
    assert "Added, but CN=localhost has expired" in page.words(page.one("dialog"))


def test_strangers_and_forged_forms_change_nothing(
    browser: Browser, ada: Person, provider: Provider, path: str, pem: str
) -> None:
    assert browser.post(path, {"pem": pem}).location.startswith("/sign-in")
    browser.sign_in(ada.email, factories.PASSWORD)
    assert browser.post_without_token(path, {"pem": pem}).status == 400
    assert trusted(provider) == []


def test_lowest_tls_version_is_chosen(ada_at: Browser, provider: Provider) -> None:
    path = f"/providers/{provider.id}"
    assert ada_at.get(path).value("minimum_tls") == "1.2"
    assert ada_at.post(path, {**FILLED, "version": "1", "minimum_tls": "1.0"}).status == 303
    with db.reading() as session:
        assert service.get(session, provider.id).minimum_tls is TLSVersion.TLS_1_0
    assert ada_at.get(path).value("minimum_tls") == "1.0"
    assert ada_at.post(path, {**FILLED, "version": "2", "minimum_tls": "ssl3"}).status == 422
