"""Adding and changing a provider in the browser."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.mail.types import Direction
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from tests.accounts.factories import a_provider, imap, smtp
from tests.pages import Browser

FILLED = {
    "name": "Harbour Mail",
    "domains": "example.net, example.org\nharbour.example",
    "incoming_host": "imap.example.net",
    "incoming_port": "993",
    "incoming_tls_mode": "implicit",
    "outgoing_host": "smtp.example.net",
    "outgoing_port": "465",
    "outgoing_tls_mode": "implicit",
    "login_format": "address",
    "minimum_tls": "1.2",
}


@pytest.fixture
def provider(booted: object) -> Provider:
    with db.transaction() as session:
        return a_provider(session)


def stored(session: Session) -> Provider | None:
    return service.find(session, "Harbour Mail")


def filled(provider: Provider, **more: Any) -> dict[str, Any]:
    return {**FILLED, "version": str(provider.version), **more}


def test_provider_is_added_by_hand(ada_at: Browser, session: Session) -> None:
    assert ada_at.get("/providers/new").value("incoming_port") == "993"
    assert ada_at.post("/providers/new", FILLED).location == "/providers"
    provider = stored(session)
    assert provider is not None
    assert [row.domain for row in provider.domains] == ["example.net", "example.org", "harbour.example"]
    assert provider.server(Direction.OUTGOING) == smtp()


def test_form_answers_htmx_with_itself_and_then_sends_it_on(ada_at: Browser) -> None:
    refused = ada_at.post("/providers/new", {**FILLED, "name": ""}, htmx=True)
    assert refused.status == 422
    assert refused.error("name") == "Give the provider a name."
    assert ada_at.post("/providers/new", FILLED, htmx=True).headers["HX-Redirect"] == "/providers"


def test_every_mistake_is_shown_at_its_field_and_what_was_typed_stays(ada_at: Browser) -> None:
    wrong = {"incoming_host": "https://imap.example.net", "outgoing_port": "993", "domains": "exa_mple"}
    page = ada_at.post("/providers/new", {**FILLED, **wrong})
    assert page.status == 422
    assert "without https://" in page.error("incoming_host")
    assert page.error("outgoing_port") == "993 is for IMAP. SMTP uses 465 or 587."
    assert page.error("domains") == "“exa_mple” is not a domain. A right one is example.com."
    assert {name: page.value(name) for name in wrong} == wrong
    assert "Please correct 3 fields" in page.text


@pytest.mark.parametrize("port", ["", "imap", "-1", "65536", "9 93", "٩٩٣"])
def test_port_that_is_none_is_refused(ada_at: Browser, port: str) -> None:
    page = ada_at.post("/providers/new", {**FILLED, "incoming_port": port})
    assert page.error("incoming_port") == "A port is a whole number from 1 to 65535, for example 993."
    assert page.value("incoming_port") == port


def test_no_encryption_is_not_offered(ada_at: Browser) -> None:
    page = ada_at.get("/providers/new")
    assert [o.get("value") for o in page.one("select", id="incoming_tls_mode")] == ["implicit", "starttls"]
    assert ada_at.post("/providers/new", {**FILLED, "incoming_tls_mode": "none"}).status == 422


def test_provider_is_changed(ada_at: Browser, provider: Provider, session: Session) -> None:
    path = f"/providers/{provider.id}"
    assert ada_at.get(path).value("domains") == "example.net"
    assert ada_at.post(path, filled(provider, login_format="local part", outgoing_host="")).status == 303
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
    assert page.value("domains") == "second.example"
    again = filled(provider, domains="second.example", version=page.value("version"))
    assert ada_at.post(path, again).status == 303


def test_new_host_asks_for_a_tick(ada_at: Browser, provider: Provider, session: Session) -> None:
    path, moved = f"/providers/{provider.id}", filled(provider, incoming_host="imap.harbour.example")
    assert not ada_at.get(path).all("input", id="is_same_company")
    assert "stored passwords" in ada_at.post(path, moved).error("is_same_company")
    assert ada_at.post(path, {**moved, "is_same_company": "y"}).status == 303
    changed = stored(session)
    assert changed is not None
    assert changed.server(Direction.INCOMING) == imap("imap.harbour.example")


def test_provider_that_is_gone_is_a_404(ada_at: Browser) -> None:
    assert ada_at.get("/providers/99").status == 404
