"""The list of providers, and deleting one."""

import json
from io import BytesIO

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.mail.types import ServiceType, SignInMethod
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service
from mailadmin.providers.models import Provider
from tests.accounts.factories import a_provider, an_account, pop3
from tests.pages import Browser
from tests.providers.test_exchange import HARBOUR, a_file


@pytest.fixture
def provider(booted: object) -> Provider:
    with db.transaction() as session:
        domains = tuple(f"{letter}.example" for letter in "abcdefgh")
        methods = frozenset({SignInMethod.OAUTH, SignInMethod.PASSWORD})
        return a_provider(session, domains=domains, pop3=pop3(), service_type=ServiceType.GOOGLE, methods=methods)


def use(provider: Provider, number: int) -> None:
    with db.transaction() as session:
        for n in range(number):
            an_account(session, address=f"a{n}@a.example", provider_id=provider.id)


def test_row_says_what_a_provider_is(ada_at: Browser, provider: Provider) -> None:
    use(provider, 2)
    page = ada_at.get("/providers")
    row = page.one("tr", id=f"provider-{provider.id}")
    assert "imap.example.net, pop.example.net, smtp.example.net" in page.words(row)
    assert [page.words(chip) for chip in row.iter() if chip.get("class") == "chip"] == [
        *("a.example", "b.example", "c.example"),
        "and 5 more",
    ]
    assert "OAuth, password" in page.words(row)
    assert "#brand-google" in next(e for e in row.iter() if e.tag.endswith("}use")).get("href", "")
    assert page.words(page.all("a", href=f"/accounts?provider={provider.id}")[0]) == "2"


def test_providers_stand_by_name_and_small_letters_do_not_matter(ada_at: Browser) -> None:
    with db.transaction() as session:
        for name in ("beta", "Alpha", "Gamma", "<b>delta</b>"):
            a_provider(session, name=name, domains=())
    names = [who for who in ada_at.get("/providers").all("tr") if who.get("id")]
    page = ada_at.get("/providers")
    assert [page.words(next(e for e in row.iter() if e.tag.endswith("}a"))) for row in names] == [
        *("<b>delta</b>", "Alpha", "beta", "Gamma")
    ]


def test_many_providers_are_searched_by_name_and_domain(ada_at: Browser) -> None:
    assert "No providers yet" in ada_at.get("/providers").text
    with db.transaction() as session:
        for n in range(20):
            a_provider(session, name=f"Provider {n}", domains=(f"d{n}.example",))
    assert not ada_at.get("/providers").all("input", id="q")
    with db.transaction() as session:
        a_provider(session, name="100% Mail", domains=("under_score.example".replace("_", "-"),))
    assert ada_at.get("/providers").all("input", id="q")
    assert len([row for row in ada_at.get("/providers?q=provider%201").all("tr") if row.get("id")]) == 11
    assert len([row for row in ada_at.get("/providers?q=100%25").all("tr") if row.get("id")]) == 1
    assert len([row for row in ada_at.get("/providers?q=D7.example").all("tr") if row.get("id")]) == 1
    none = ada_at.get("/providers?q=%3Cb%3Enothing%00")
    assert "No provider fits “<b>nothing”" in none.words()
    assert none.value("q") == "<b>nothing"


def test_copy_begins_like_another_provider_without_its_name_and_domains(ada_at: Browser, provider: Provider) -> None:
    page = ada_at.get(f"/providers/new?copy={provider.id}")
    assert (page.value("name"), page.value("pop3_host"), page.value("service_type")) == (
        "",
        "pop.example.net",
        "google",
    )
    assert not page.all("input", type="hidden", name="domains")
    assert ada_at.get("/providers/new?copy=999").status == 404


@pytest.mark.parametrize("number", [1, 7])
def test_provider_in_use_is_not_deleted_and_leads_to_its_accounts(
    ada_at: Browser, provider: Provider, number: int
) -> None:
    use(provider, number)
    with db.transaction() as session:
        first = accounts.find(session, "a0@a.example")
        assert first is not None
        accounts.request_deletion(session, first, actor=SYSTEM)
    path = f"/providers/{provider.id}/delete"
    for page in (ada_at.get(path), ada_at.post(path), ada_at.get(path, htmx=True)):
        assert ("This one does:" if number == 1 else "These 7 do:") in page.words()
        assert "a0@a.example, which is being deleted" in page.words()
        assert len([a for a in page.all("a") if a.get("href", "").startswith("/accounts/")]) == min(number, 5) - 1
        assert ("and 2 more" in page.words()) is (number == 7)
        assert not page.all("button", class_="danger")
    with db.reading() as session:
        assert service.get(session, provider.id)


def test_unused_provider_is_deleted_after_a_question(ada_at: Browser, provider: Provider) -> None:
    path = f"/providers/{provider.id}/delete"
    assert ada_at.get(path, htmx=True).one("button", class_="danger") is not None
    assert ada_at.post(path).location == "/providers"
    assert ada_at.get(path).status == 404


# As a file.


def upload(browser: Browser, content: bytes, path: str = "/providers/import") -> object:
    return browser.post(path, {"file": (BytesIO(content), "providers.json")})


def stored(session: Session) -> list[str]:
    return [provider.name for provider in service.everyone(session)]


def test_export_is_a_file(ada_at: Browser, provider: Provider) -> None:
    answer = ada_at.get("/providers/export")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="mailadmin-providers-20')
    assert json.loads(answer.text)["providers"][0]["name"] == "Harbour Mail"


def test_import_is_shown_before_it_is_done(ada_at: Browser, provider: Provider, session: Session) -> None:
    quay = {**HARBOUR, "name": "Quay <script>alert(1)</script>", "domains": ["quay.example"]}
    page = ada_at.post("/providers/import", {"file": (BytesIO(a_file(quay, HARBOUR)), "x.json")})
    assert page.status == 200
    assert "1 new, 1 changed, 0 the same, 0 refused. Nothing is done yet." in page.words()
    assert "Quay <script>alert(1)</script>" in page.words()
    assert [s for s in page.all("script") if not s.get("src")] == []
    assert stored(session) == ["Harbour Mail"]
    session.rollback()
    shown = {name: page.one("input", name=name).get("value") for name in ("content", "seen")}
    assert ada_at.post("/providers/import/now", shown).location == "/providers"
    assert stored(session) == ["Harbour Mail", quay["name"]]


def test_import_is_shown_again_where_something_changed_meanwhile(ada_at: Browser, provider: Provider) -> None:
    page = ada_at.post("/providers/import", {"file": (BytesIO(a_file(HARBOUR)), "x.json")})
    shown = {name: page.one("input", name=name).get("value") for name in ("content", "seen")}
    with db.transaction() as session:
        service.delete(session, service.get(session, provider.id), actor=SYSTEM)
    again = ada_at.post("/providers/import/now", shown)
    assert again.status == 422
    assert "Something changed here since you looked." in again.words(again.one("div", role="alert"))
    assert "1 new" in again.words()
    seen = again.one("input", name="seen").get("value")
    assert ada_at.post("/providers/import/now", {**shown, "seen": seen}).status == 303


def test_import_asks_for_a_tick_where_passwords_are_stored(ada_at: Browser, provider: Provider) -> None:
    use(provider, 1)
    moved = a_file({**HARBOUR, "servers": ["imap:new.example.net:993:implicit"]})
    page = ada_at.post("/providers/import", {"file": (BytesIO(moved), "x.json")})
    assert "new.example.net, port 993, is new." in page.words()
    shown = {name: page.one("input", name=name).get("value") for name in ("content", "seen")}
    refused = ada_at.post("/providers/import/now", shown)
    assert "stored passwords" in refused.error("is_same_company")
    assert ada_at.post("/providers/import/now", {**shown, "is_same_company": "y"}).status == 303


def test_refused_entry_keeps_the_whole_file_out(ada_at: Browser, session: Session) -> None:
    wrong = {**HARBOUR, "name": "Quay", "servers": ["imap:quay.example:465:implicit"]}
    page = ada_at.post("/providers/import", {"file": (BytesIO(a_file(HARBOUR, wrong)), "x.json")})
    assert "465 is for SMTP. IMAP uses 993 or 143." in page.words()
    assert not page.all("button", class_="primary")
    shown = {name: page.one("input", name=name).get("value") for name in ("content", "seen")}
    assert ada_at.post("/providers/import/now", shown).status == 422
    assert stored(session) == []


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 422, "no JSON file"),
        (b"[" * 800_000, 422, "nested too deeply"),
        (a_file({"name": "a\ud800\u202eb"}), 200, "a\ufffd<U+202E>b Refused A name is one line"),
        (b"x" * 10_000_000, 413, "too much"),
    ],
)
def test_hostile_files_end_in_sentences(ada_at: Browser, content: bytes, status: int, said: str) -> None:
    page = ada_at.post("/providers/import", {"file": (BytesIO(content), "x.json")})
    assert page.status == status
    assert said in page.words()


def test_no_file_and_no_content_end_in_sentences(ada_at: Browser) -> None:
    assert ada_at.post("/providers/import", {}).error("file") == "Choose a file."
    assert ada_at.post("/providers/import/now", {"content": "x"}).status == 400
