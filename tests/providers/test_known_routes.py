"""Pages of providers that come from the catalogue: beginning as an entry, what is known, the way back."""

import pytest

from mailadmin import db
from mailadmin.mail.types import SignInMethod
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from tests.accounts.factories import an_account
from tests.pages import Browser, Page
from tests.providers.factories import LAKESIDE, SERVERS, Says
from tests.providers.test_routes import chips

TEMPLATED = ("imap:mail.{domain}:993:implicit", "smtp:mail.{domain}:465:implicit")


@pytest.fixture
def lakeside(booted: object, catalogue: Says) -> Provider:
    with db.transaction() as session:
        provider = service.adopt(session, LAKESIDE, domain="lake.example", actor=SYSTEM)
    assert provider is not None
    return provider


def typed(page: Page) -> dict[str, object]:
    """What a browser would send of the form on this page."""
    fields: dict[str, object] = {"domains": chips(page)}
    for field in page.all("input"):
        name = field.get("name", "")
        if name and name != "domains" and (field.get("type") != "checkbox" or field.get("checked") is not None):
            fields[name] = field.get("value", "y")
    for select in page.all("select"):
        fields[select.get("name", "")] = page.value(select.get("id", ""))
    return fields


def now(provider: Provider) -> Provider:
    with db.reading() as session:
        return service.get(session, provider.id)


@pytest.mark.parametrize("words", ["lakeside", "Lakeside", "pond.example"])
def test_new_provider_begins_as_an_entry_and_follows_it(ada_at: Browser, catalogue: Says, words: str) -> None:
    page = ada_at.get(f"/providers/new?catalogue={words}")
    assert (page.value("name"), page.value("imap_host"), page.value("smtp_port")) == (
        "Lakeside",
        "imap.lake.example",
        "465",
    )
    assert chips(page) == [*LAKESIDE.domains]
    form = next(f for f in page.all("form") if f.get("id") == "provider-new")
    assert form.get("action") == "/providers/new?catalogue=lakeside"
    assert ada_at.post("/providers/new?catalogue=lakeside", typed(page)).status == 303
    with db.reading() as session:
        provider = service.find_known(session, "lakeside")
    assert provider is not None
    assert sorted(str(row.server) for row in provider.servers) == [*SERVERS]
    assert (provider.most_connections, service.changed_here(provider)) == (15, frozenset())


def test_entry_that_is_here_leads_to_its_provider(ada_at: Browser, lakeside: Provider) -> None:
    assert ada_at.get("/providers/new?catalogue=lakeside").location == f"/providers/{lakeside.id}"
    page = ada_at.post("/providers/new?catalogue=lakeside", {**typed(ada_at.get("/providers/new")), "name": "X"})
    assert page.status == 422


def test_words_that_fit_many_entries_or_none(ada_at: Browser, catalogue: Says) -> None:
    offered = ada_at.get("/providers/new")
    assert [o.get("value") for o in offered.one("datalist", id="catalogue-names")] == ["Lakeside"]
    assert offered.value("catalogue") == ""
    none = ada_at.get("/providers/new?catalogue=desert")
    assert none.error("catalogue") == "The catalogue has nothing like “desert”."
    assert none.value("name") == ""


def test_servers_that_differ_from_customer_to_customer_are_shown_and_typed(ada_at: Browser, catalogue: Says) -> None:
    catalogue(servers=TEMPLATED)
    page = ada_at.get("/providers/new?catalogue=lakeside")
    assert "imap:mail.{domain}:993:implicit" in page.words()
    assert page.value("imap_host") == ""
    own = {**typed(page), "imap_host": "mail.company.example", "domains": "company.example"}
    assert ada_at.post("/providers/new?catalogue=lakeside", own).status == 303
    with db.reading() as session:
        provider = service.recognise(session, "info@company.example")
        assert provider is not None
        assert (provider.catalogue_key, provider.sign_in_methods) == (None, set(LAKESIDE.methods))


def test_chips_of_a_new_provider_keep_its_entry(ada_at: Browser, catalogue: Says) -> None:
    page = ada_at.get("/providers/new?catalogue=lakeside")
    button = page.one("button", name="add")
    assert button.get("formaction") == "/providers/domains?catalogue=lakeside"
    again = ada_at.post(button.get("formaction", ""), typed(page) | {"remove": "pond.example"})
    assert chips(again) == ["lake.example"]
    assert again.one("form", id="provider-new").get("action") == "/providers/new?catalogue=lakeside"


def test_page_says_what_is_known(ada_at: Browser, lakeside: Provider) -> None:
    page = ada_at.get(f"/providers/{lakeside.id}")
    known = page.words(page.one("section", aria_labelledby="about-known"))
    for words in ("The lake freezes in winter.", "switch IMAP on", "May 2025"):
        assert words in known
    outside = [a for a in page.all("a") if a.get("href", "").startswith("https://lake.example")]
    assert {a.get("href") for a in outside} == {LAKESIDE.help_url, LAKESIDE.app_password_url}
    assert {a.get("rel") for a in outside} == {"noopener noreferrer"}
    assert "has refused these since 1 May 2025" in page.words(page.one("span", id="method_password-hint"))
    assert "no password is stored here" in page.words(page.one("span", id="method_oauth-hint"))
    assert "It allows 15 connections per account at once. We use at most three" in page.words()


def test_page_marks_what_was_changed_here_and_nothing_else(ada_at: Browser, lakeside: Provider) -> None:
    path = f"/providers/{lakeside.id}"
    page = ada_at.get(path)
    assert "Changed here" not in page.words()
    assert "Reset to the catalogue" not in page.words()
    assert ada_at.post(path, typed(page) | {"least_minutes": "60"}).status == 303
    page = ada_at.get(path)
    marked = [s.get("aria-labelledby") for s in page.all("section") if "Changed here" in page.words(s)]
    assert marked == ["about-limits"]
    assert now(lakeside).most_connections == 15
    assert page.all("button", hx_get=f"{path}/reset")


def test_reset_is_asked_about_and_done(ada_at: Browser, lakeside: Provider) -> None:
    path = f"/providers/{lakeside.id}"
    ada_at.post(path, typed(ada_at.get(path)) | {"least_minutes": "", "name": "Our lake", "method_password": "y"})
    question = ada_at.get(f"{path}/reset", htmx=True)
    facts = [question.words(element) for element in (*question.all("dt"), *question.all("dd"))]
    assert facts[:3] == ["Name", "Sign-in methods", "Minutes between syncs"]
    assert facts[3:] == ["Our lakeLakeside", "OAuth, App password, PasswordOAuth, App password", "None10"]
    assert now(lakeside).name == "Our lake"
    whole = ada_at.get(f"{path}/reset")
    assert ada_at.post(f"{path}/reset", {"version": whole.one("input", name="version").get("value")}).location == path
    assert (now(lakeside).name, now(lakeside).sign_in_methods) == ("Lakeside", {*LAKESIDE.methods})
    assert SignInMethod.PASSWORD not in now(lakeside).sign_in_methods
    assert "what the catalogue says already" in ada_at.get(f"{path}/reset").words()


def test_reset_asks_for_a_tick_where_passwords_are_stored(ada_at: Browser, lakeside: Provider) -> None:
    path = f"/providers/{lakeside.id}"
    ada_at.post(path, typed(ada_at.get(path)) | {"imap_host": "gateway.company.example"})
    with db.transaction() as session:
        an_account(session, address="wim@lake.example", provider_id=lakeside.id)
    version = {"version": str(now(lakeside).version)}
    page = ada_at.post(f"{path}/reset", version, htmx=True)
    assert page.status == 422
    assert "imap.lake.example, port 993, is new." in page.error("is_same_company")
    assert ada_at.post(f"{path}/reset", {**version, "is_same_company": "y"}, htmx=True).headers["HX-Redirect"] == path


def test_reset_tells_the_slower_administrator(ada_at: Browser, lakeside: Provider) -> None:
    path = f"/providers/{lakeside.id}"
    seen = str(now(lakeside).version)
    ada_at.post(path, typed(ada_at.get(path)) | {"name": "Our lake"})
    page = ada_at.post(f"{path}/reset", {"version": seen})
    assert "Somebody else changed this provider meanwhile" in page.words()
    assert now(lakeside).name == "Our lake"
