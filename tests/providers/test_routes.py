"""Adding and changing a provider in the browser."""

import threading
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.mail.types import Direction, ServerProtocol, TLSMode
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from tests.accounts.factories import a_provider, an_account, imap, pop3, smtp
from tests.pages import Browser, Page
from tests.real import eventually

FILLED = {
    "name": "Harbour Mail",
    "domains": "example.net, example.org\nharbour.example",
    "imap_host": "imap.example.net",
    "imap_port": "993",
    "imap_tls_mode": "implicit",
    "smtp_host": "smtp.example.net",
    "smtp_port": "465",
    "smtp_tls_mode": "implicit",
    "login_format": "address",
    "minimum_tls": "1.2",
    "service_type": "other",
    "method_password": "y",
}


@pytest.fixture
def provider(booted: object) -> Provider:
    with db.transaction() as session:
        return a_provider(session)


def chips(page: Page) -> list[str | None]:
    """The domains that the form would send, beside what is typed."""
    return [field.get("value") for field in page.all("input", type="hidden", name="domains")]


def stored(session: Session) -> Provider | None:
    return service.find(session, "Harbour Mail")


def filled(provider: Provider, **more: Any) -> dict[str, Any]:
    return {**FILLED, "version": str(provider.version), **more}


def test_provider_is_added_by_hand(ada_at: Browser, session: Session) -> None:
    assert ada_at.get("/providers/new").value("imap_port") == "993"
    assert ada_at.post("/providers/new", FILLED).location == "/providers"
    provider = stored(session)
    assert provider is not None
    assert [row.domain for row in provider.domains] == ["example.net", "example.org", "harbour.example"]
    assert provider.server(Direction.OUTGOING) == smtp()


def test_provider_that_comes_to_offer_oauth_leads_to_its_app_once(ada_at: Browser) -> None:
    offering = {**FILLED, "method_oauth": "y"}
    path = ada_at.post("/providers/new", offering).location
    assert path.startswith("/providers/")
    page = ada_at.get(path)
    assert "Next: set up its OAuth app" in page.words()
    assert page.all("a", href=f"{path}/oauth")
    assert ada_at.post(path, {**offering, "version": page.value("version")}).location == "/providers"


def test_form_answers_htmx_with_itself_and_then_sends_it_on(ada_at: Browser) -> None:
    refused = ada_at.post("/providers/new", {**FILLED, "name": ""}, htmx=True)
    assert refused.status == 422
    assert refused.error("name") == "Give the provider a name."
    assert ada_at.post("/providers/new", FILLED, htmx=True).headers["HX-Redirect"] == "/providers"


def test_every_mistake_is_shown_at_its_field_and_what_was_typed_stays(ada_at: Browser) -> None:
    wrong = {
        "imap_host": "https://imap.example.net",
        "smtp_port": "993",
        "domains": "exa_mple",
        "least_minutes": "soon",
    }
    page = ada_at.post("/providers/new", {**FILLED, **wrong, "service_type": "google", "files_sent": "y"})
    assert page.status == 422
    assert "without https://" in page.error("imap_host")
    assert page.error("smtp_port") == "993 is for IMAP. SMTP uses 465 or 587."
    assert page.error("domains") == "“exa_mple” is not a domain. A right one is example.com."
    assert page.error("least_minutes") == "A whole number of minutes from 1 to 1,440, or nothing."
    assert {name: page.value(name) for name in wrong} == wrong
    assert (page.value("service_type"), page.one("input", id="files_sent").get("checked")) == ("google", "")
    assert "Please correct 4 fields" in page.text


def test_receiving_and_a_way_to_sign_in_are_needed(ada_at: Browser) -> None:
    page = ada_at.post("/providers/new", {**FILLED, "imap_host": "", "method_password": ""} | {"method_oauth": ""})
    assert page.error("imap_host") == "Enter an IMAP server or a POP3 server."
    del (only := dict(FILLED))["method_password"]
    assert ada_at.post("/providers/new", only).error("method_password") == "Tick at least one way to sign in."


def test_provider_may_have_pop3_alone(ada_at: Browser, session: Session) -> None:
    pop = {"pop3_host": "pop.example.net", "pop3_port": "995", "pop3_tls_mode": "implicit", "imap_host": ""}
    assert ada_at.post("/providers/new", {**FILLED, **pop}).status == 303
    provider = stored(session)
    assert provider is not None
    assert provider.server(Direction.INCOMING) == pop3()


@pytest.mark.parametrize("port", ["imap", "-1", "65536", "9 93", "٩٩٣"])
def test_port_that_is_none_is_refused(ada_at: Browser, port: str) -> None:
    page = ada_at.post("/providers/new", {**FILLED, "imap_port": port})
    assert page.error("imap_port") == "A port is a whole number from 1 to 65535, for example 993."
    assert page.value("imap_port") == port


def test_no_encryption_is_not_offered(ada_at: Browser) -> None:
    page = ada_at.get("/providers/new")
    assert [o.get("value") for o in page.one("select", id="imap_tls_mode")] == ["implicit", "starttls"]
    assert ada_at.post("/providers/new", {**FILLED, "imap_tls_mode": "none"}).status == 422


def test_provider_is_changed(ada_at: Browser, provider: Provider, session: Session) -> None:
    path = f"/providers/{provider.id}"
    assert chips(ada_at.get(path)) == ["example.net"]
    assert ada_at.post(path, filled(provider, login_format="local part", smtp_host="")).status == 303
    changed = stored(session)
    assert changed is not None
    assert (changed.login_format.value, changed.server(Direction.OUTGOING)) == ("local part", None)


def test_second_of_two_administrators_is_told_and_loses_nothing(
    ada_at: Browser, provider: Provider, session: Session
) -> None:
    path = f"/providers/{provider.id}"
    ada_at.post(path, filled(provider, domains="first.example"))
    page = ada_at.post(path, filled(provider, domains="second.example"))
    assert page.status == 422
    assert "Somebody else changed this provider meanwhile" in page.text
    assert chips(page) == ["second.example"]
    again = filled(provider, domains="second.example", version=page.value("version"))
    assert ada_at.post(path, again).status == 303


def test_new_host_asks_for_a_tick_where_passwords_are_stored(
    ada_at: Browser, provider: Provider, session: Session
) -> None:
    path, moved = f"/providers/{provider.id}", filled(provider, imap_host="imap.harbour.example")
    with db.transaction() as writing:
        an_account(writing, address="wim@example.net", provider_id=provider.id)
    assert not ada_at.get(path).all("input", id="is_same_company")
    refused = ada_at.post(path, moved)
    assert "imap.harbour.example, port 993, is new." in refused.error("is_same_company")
    assert ada_at.post(path, {**moved, "is_same_company": "y"}).status == 303
    changed = stored(session)
    assert changed is not None
    assert changed.server(Direction.INCOMING) == imap("imap.harbour.example")


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)  # SQLite lets one write at a time anyway.
def test_password_that_is_stored_at_the_same_moment_is_not_sent_to_a_new_host(
    ada_at: Browser, provider: Provider, session: Session
) -> None:
    pages: list[Page] = []
    moved = filled(provider, imap_host="imap.harbour.example")
    saving = threading.Thread(target=lambda: pages.append(ada_at.post(f"/providers/{provider.id}", moved)))
    with db.transaction() as writing:
        an_account(writing, address="wim@example.net", provider_id=provider.id)
        saving.start()
        waiting = text("select count(*) from pg_locks where not granted")
        eventually(lambda: session.scalar(waiting) or not saving.is_alive())
    saving.join()
    assert "imap.harbour.example, port 993, is new." in pages[0].error("is_same_company")


def test_new_host_asks_nothing_where_no_password_is_stored(ada_at: Browser, provider: Provider) -> None:
    assert ada_at.post(f"/providers/{provider.id}", filled(provider, imap_host="imap.harbour.example")).status == 303


# Domains as chips.


def test_domains_come_as_chips_and_nothing_else_that_was_typed_is_lost(ada_at: Browser, session: Session) -> None:
    typed = {**FILLED, "name": "Quay", "domains": ["a.example", "b.example; Bücher.example\n@c.example"]}
    page = ada_at.post("/providers/domains", typed)
    assert page.status == 200
    assert chips(page) == ["a.example", "b.example", "xn--bcher-kva.example", "c.example"]
    assert (page.value("name"), page.value("domains"), page.value("imap_host")) == ("Quay", "", "imap.example.net")
    again = ada_at.post("/providers/domains", {**typed, "domains": chips(page), "remove": "b.example"}, htmx=True)
    assert chips(again) == ["a.example", "xn--bcher-kva.example", "c.example"]
    assert not again.all("input", id="name")
    assert stored(session) is None


def test_domain_that_cannot_be_stays_where_it_was_typed(ada_at: Browser, provider: Provider) -> None:
    page = ada_at.post("/providers/domains", {**FILLED, "domains": "new.example exa_mple,example.net"}, htmx=True)
    assert (chips(page), page.value("domains")) == (["new.example"], "exa_mple example.net")
    assert page.error("domains").startswith("“exa_mple” is not a domain.")
    assert "example.net belongs to Harbour Mail already." in page.error("domains")
    own = ada_at.post(f"/providers/domains?provider={provider.id}", {**FILLED, "domains": "example.net"}, htmx=True)
    assert (chips(own), own.error("domains")) == (["example.net"], "")


def test_domain_of_another_provider_is_refused_when_it_is_saved(ada_at: Browser, provider: Provider) -> None:
    page = ada_at.post("/providers/new", {**FILLED, "name": "Quay", "domains": ["quay.example", "example.net"]})
    assert page.status == 422
    assert (chips(page), page.value("domains")) == (["quay.example"], "example.net")
    assert page.error("domains") == "example.net belongs to Harbour Mail already."


def test_very_many_domains_stay_where_they_were_pasted(ada_at: Browser) -> None:
    many = " ".join(f"d{n}.example" for n in range(1001))
    page = ada_at.post("/providers/new", {**FILLED, "domains": many})
    assert (page.error("domains"), page.value("domains")) == ("A provider has at most 1,000 domains.", many)


# Ports that follow the TLS mode.


@pytest.mark.parametrize(
    ("protocol", "mode", "typed", "settled"),
    [
        ("imap", "starttls", "993", "143"),
        ("imap", "implicit", "143", "993"),
        ("imap", "implicit", "", "993"),
        ("imap", "starttls", "1143", "1143"),
        ("pop3", "starttls", "", "110"),
        ("pop3", "implicit", "110", "995"),
        ("smtp", "starttls", "465", "587"),
        ("smtp", "implicit", "587", "465"),
        ("smtp", "starttls", "25", "25"),
        ("smtp", "implicit", " 2525 ", " 2525 "),
    ],
)
def test_port_follows_the_tls_mode(protocol: str, mode: str, typed: str, settled: str) -> None:
    assert service.settled_port(ServerProtocol(protocol), TLSMode(mode), typed) == settled


def test_page_asks_for_the_port_of_a_tls_mode(ada_at: Browser) -> None:
    select = ada_at.get("/providers/new").one("select", id="smtp_tls_mode")
    assert (select.get("hx-include"), select.get("hx-target")) == ("#smtp_port", "#smtp-port")
    page = ada_at.get(f"{select.get('hx-get')}&smtp_port=465&smtp_tls_mode=starttls", htmx=True)
    assert page.value("smtp_port") == "587"


def test_port_of_another_tls_mode_is_told_and_not_replaced_without_scripts(ada_at: Browser, session: Session) -> None:
    wanted = {**FILLED, "imap_tls_mode": "starttls", "smtp_tls_mode": "starttls", "smtp_port": "25"}
    page = ada_at.post("/providers/new", wanted)
    assert page.error("imap_port") == "993 is for SSL/TLS, and STARTTLS uses 143. Change the port or the security."
    assert page.value("imap_port") == "993"
    ada_at.post("/providers/new", {**wanted, "imap_port": ""})
    provider = stored(session)
    assert provider is not None
    assert provider.server(Direction.INCOMING) == imap(port=143, tls_mode=TLSMode.STARTTLS)
    assert provider.server(Direction.OUTGOING) == smtp(port=25, tls_mode=TLSMode.STARTTLS)


def test_unusual_port_that_is_stored_stays(ada_at: Browser, session: Session) -> None:
    with db.transaction() as writing:
        odd = a_provider(writing, incoming=imap(port=143))
    ada_at.post(f"/providers/{odd.id}", filled(odd, imap_port="143"))
    provider = stored(session)
    assert provider is not None
    assert provider.server(Direction.INCOMING) == imap(port=143)


@pytest.mark.parametrize("query", ["", "?protocol=x&x_port=1", "?protocol=imap&imap_tls_mode=magic"])
def test_question_for_a_port_that_makes_no_sense_is_answered(ada_at: Browser, query: str) -> None:
    assert ada_at.get(f"/providers/port{query}", htmx=True).status == 200


def test_provider_that_is_gone_is_a_404(ada_at: Browser) -> None:
    assert ada_at.get("/providers/999999").status == 404
