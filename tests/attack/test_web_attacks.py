"""Attacks on the web side: forged forms, headers, hosts and proxies, methods, sizes, files, fields nobody asked for."""

import dataclasses
import io
import json
import logging
import time
from collections.abc import Iterator

import pytest
from flask import Flask, request
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.routing import Rule
from werkzeug.urls import iri_to_uri

from mailadmin import boot, db, web
from mailadmin.access.models import Access
from mailadmin.accounts.models import Account
from mailadmin.cli.lines import FORMAT, Lines
from mailadmin.config import Settings
from mailadmin.factory import create_app
from mailadmin.notices.models import Notice
from mailadmin.people import staff
from mailadmin.people.models import Person
from mailadmin.permissions import Permission, PersonRole
from tests import factories
from tests.attack.asking import WORDS, client_of, permission
from tests.attack.world import World, plant
from tests.pages import Browser

UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
PUBLIC_URL = "https://mail.example.com"


@pytest.fixture
def world(app: Flask, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(web.limiter, "enabled", False)
    with db.transaction() as session:
        return plant(session)


@pytest.fixture
def over_https(booted: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The console as it stands on the internet."""
    settings = dataclasses.replace(booted, public_url=PUBLIC_URL, secure_cookies=True)
    yield create_app(settings)
    boot.start(booted)


def filled(app: Flask, world: World, rule: Rule) -> str:
    known = {**WORDS, **world.ids, **world.accounts["shared"].ids}
    with app.test_request_context():
        built = rule.build({name: known[name] for name in rule.arguments if name in known}, append_unknown=False)
    assert built
    return built[1]


def test_no_form_is_taken_without_the_token_of_its_own_session(
    app: Flask, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Browser(app)
    stranger.get("/sign-in")
    with monkeypatch.context() as unguarded:
        unguarded.setitem(app.config, "WTF_CSRF_ENABLED", False)
        clients = {who: client_of(app, world.people[who]) for who in ("nobody", "sender", "administrator")}
    tries = [("nobody", None), ("sender", stranger._token()), ("administrator", "forged"), ("administrator", None)]
    asked = 0
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) & UNSAFE:
            path = filled(app, world, rule)
            for who, token in tries:
                client, cookie = clients[who]
                form = {"csrf_token": token} if token else {}
                answer = client.open(path, method=method, data=form, headers={"Cookie": cookie} if cookie else {})
                assert answer.status_code == 400, f"{method} {path} by {who}: {answer.status_code}"
                assert b"open too long" in answer.data
                asked += 1
    assert asked > 360


def test_no_method_is_taken_but_those_that_are_stated(ada_at: Browser, app: Flask) -> None:
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        assert ada_at._client.open("/accounts", method=method).status_code in (400, 405)
        assert ada_at._client.open("/sign-out", method=method).status_code in (400, 405)
    for trick in ({"X-HTTP-Method-Override": "POST"}, {"X-Method-Override": "POST"}):
        assert ada_at._client.get("/sign-out?_method=POST", headers=trick).status_code == 405
    assert ada_at.get("/").status == 200  # still signed in


@pytest.mark.parametrize("who", ["sender", "administrator"])
def test_looking_changes_nothing_and_is_kept_by_no_browser(
    app: Flask, world: World, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """No GET writes but the way back from a provider, which a browser can only make so."""
    with monkeypatch.context() as unguarded:
        unguarded.setitem(app.config, "WTF_CSRF_ENABLED", False)
        client, cookie = client_of(app, world.people[who])
    committed: list[str] = []
    asked: list[str] = []
    monkeypatch.setattr(Session, "commit", lambda _: committed.append(asked[-1]))
    for rule in app.url_map.iter_rules():
        is_mail = permission(app, rule) is Permission.READ_MAIL
        is_kept = rule.endpoint in ("static", "web.empty_dialog")
        if "GET" in (rule.methods or set()) and not is_kept and is_mail == (who == "sender"):
            asked.append(filled(app, world, rule))
            answer = client.get(asked[-1], headers={"Cookie": cookie})
            assert "no-store" in answer.headers["Cache-Control"], asked[-1]
    assert len(asked) > 15
    assert {path for path in committed if not path.startswith(("/sign-in/with/", "/oauth/"))} == set()


def test_every_answer_over_https_carries_all_headers(over_https: Flask, ada: Person) -> None:
    client = over_https.test_client()
    answers = [
        client.get(path, base_url=PUBLIC_URL) for path in ("/sign-in", "/nowhere", "/accounts", "/static/app.css")
    ]
    answers.append(client.post("/sign-in", base_url=PUBLIC_URL))  # no token
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        for directive in ("default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
            assert directive in policy
        assert "unsafe" not in policy
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "camera=()" in answer.headers["Permissions-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert not {"Server", "X-Powered-By"} & set(answer.headers.keys())
        assert "charset=utf-8" in answer.headers["Content-Type"]


def test_every_cookie_over_https_is_bound_to_this_host(over_https: Flask, ada: Person) -> None:
    over_https.config["WTF_CSRF_ENABLED"] = False
    client = over_https.test_client()
    form = {"email": ada.email, "password": factories.PASSWORD}
    signed_in = client.post("/sign-in", data=form, base_url=PUBLIC_URL)
    theme = client.post("/preferences/theme", data={"theme": "dark"}, base_url=PUBLIC_URL)
    cookies = [*signed_in.headers.getlist("Set-Cookie"), *theme.headers.getlist("Set-Cookie")]
    assert {cookie.partition("=")[0] for cookie in cookies} == {"__Host-session", "__Host-known", "__Host-theme"}
    for cookie in cookies:
        assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
        assert "Domain" not in cookie
        assert len(cookie) < 4096
    assert b'data-theme="dark"' in client.get("/profile", base_url=PUBLIC_URL).data


def test_a_host_that_somebody_made_up_stands_in_no_link(over_https: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    over_https.config["WTF_CSRF_ENABLED"] = False
    monkeypatch.setattr("mailadmin.console.profile_routes.can_write", lambda: True)
    with db.transaction() as session:
        factories.a_person(session, email="mei@example.com")
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "Forwarded": "host=evil.example"}
    answer = over_https.test_client().post(
        "/forgotten", data={"email": "mei@example.com"}, base_url="https://evil.example", headers=forged
    )
    assert answer.status_code == 200
    with db.reading() as session:
        from mailadmin.sealed import reveal

        notice = session.scalars(select(Notice)).one()
        assert notice.text_id
        text = reveal(session, notice.text_id).reveal()
    assert f"{PUBLIC_URL}/c/p/" in text
    assert "evil" not in text


@pytest.mark.parametrize(("proxies", "seen"), [(0, "127.0.0.1"), (1, "203.0.113.9"), (2, "198.51.100.7")])
def test_what_a_proxy_says_is_believed_of_as_many_as_there_are(booted: Settings, proxies: int, seen: str) -> None:
    app = create_app(dataclasses.replace(booted, proxies=proxies))
    found: list[str | None] = []
    app.before_request(lambda: found.append(request.remote_addr))
    app.test_client().get("/healthz", headers={"X-Forwarded-For": "10.9.9.9, 198.51.100.7, 203.0.113.9"})
    assert found == [seen]


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "/%0a//x\n",
    ],
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/second-factor"])
def test_no_way_leads_out_of_the_console(browser: Browser, ada: Person, path: str, address: str) -> None:
    form = {"email": ada.email, "password": factories.PASSWORD}
    with browser._client.application.test_request_context():
        page = browser.post(f"{path}?next={iri_to_uri(address)}", form)
    assert not page.location.startswith(("http", "//", "/\\", "javascript"))
    assert "evil" not in page.location.partition("?")[0]


@pytest.mark.parametrize(
    "body",
    [
        "&".join(f"f{n}=x" for n in range(100_000)),
        "email=" + "x" * 999_000,
        "&".join(["email=a%40example.com"] * 40_000),
        "csrf_token=" + "%00" * 300_000,
    ],
    ids=["many fields", "one long field", "one field again and again", "a long token"],
)
def test_an_absurd_form_is_answered_soon(browser: Browser, ada: Person, body: str) -> None:
    began = time.process_time()
    answer = browser._client.post("/sign-in", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code in (400, 413, 422)
    assert time.process_time() - began < 2


def test_parts_and_nesting_without_end_are_refused(ada_at: Browser) -> None:
    token = ada_at._token()
    parts: dict[str, object] = {f"f{n}": (io.BytesIO(b"x"), "x.json") for n in range(2_000)}
    assert ada_at._client.post("/providers/import", data={**parts, "csrf_token": token}).status_code in (400, 413)
    for content in (
        b"[" * 400_000,
        b'{"a":' * 100_000,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 500,
        b"PK\x03\x04" + b"\0" * 500,
    ):
        data = {"file": (io.BytesIO(content), "../../etc/passwd"), "csrf_token": token}
        answer = ada_at._client.post("/providers/import", data=data)
        assert answer.status_code == 422, answer.status_code
        assert b"passwd" not in answer.data


@pytest.mark.parametrize(
    "path",
    ["../config.py", "..%2f..%2fweb.py", "%2e%2e/web.py", "/etc/passwd", "....//web.py", "..\\web.py", "", "vendor/"],
)
def test_static_files_are_those_of_one_folder(browser: Browser, path: str) -> None:
    answer = browser._client.get(f"/static/{path}", follow_redirects=True)
    assert answer.status_code == 404
    assert b"import" not in answer.data


EXTRA = {
    "role": "administrator",
    "custom_role_id": "",
    "id": "1",
    "person_id": "1",
    "owner_id": "1",
    "kind": "shared",
    "is_primary": "1",
    "position": "1",
    "totp_id": "",
    "password_hash": "x",
    "email": "evil@example.com",
    "deactivated_at": "",
    "issuer": "x",
    "subject": "x",
    "account": "1",
    "worker": "1",
    "team": "1",
    "rights": "send",
    "permissions": "manage people",
    "write": "1",
    "send": "1",
    "way": "link",
    "name": "Mallory",
    "do": "delete",
}


def test_fields_that_nobody_asked_for_change_nothing(app: Flask, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker sends every form with fields of everything: role, rights, owner and address stay as they were."""
    monkeypatch.setitem(app.config, "WTF_CSRF_ENABLED", False)
    client, cookie = client_of(app, world.people["sender"])

    def everything() -> list[object]:
        with db.reading() as session:
            people = select(Person.id, Person.email, Person.role, Person.custom_role_id, Person.password_hash)
            accounts = select(Account.id, Account.kind, Account.owner_id, Account.address)
            access = select(Access.account_id, Access.person_id, Access.may_write, Access.may_send)
            queries = (people, accounts, access)
            return [sorted(map(str, session.execute(query))) for query in queries]

    before = everything()
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or set()) and not rule.endpoint.startswith(("people.sign_out", "console.end_")):
            client.post(filled(app, world, rule), data=EXTRA, headers={"Cookie": cookie})
    assert everything() == before


def test_one_who_manages_people_makes_nobody_an_administrator(app: Flask, world: World) -> None:
    with db.transaction() as session:
        person = session.get_one(Person, world.people["reader"].person.id)  # type: ignore[union-attr]
        person.role, person.custom_role = PersonRole.ADMINISTRATOR, staff.custom_roles(session)[0]
        person.custom_role.words = "manage people"
    browser = Browser(app)
    browser.sign_in(person.email, factories.PASSWORD)
    sender = world.people["sender"].person
    assert sender
    for whom in (person.id, sender.id):
        browser.post(f"/workers/{whom}/role", {"role": "administrator"})
    new = {"name": "Mallory", "email": "mallory@example.com", "role": "administrator", "way": "link"}
    browser.post("/workers/new", new)
    with db.reading() as session:
        full = [p.name for p in session.scalars(select(Person)) if staff.is_full(p)]
    assert full == ["Administrator"]


@pytest.mark.parametrize("words", ["%", "_", "'; DROP TABLE person; --", "\\", "%%%" * 50, "a' OR '1'='1"])
def test_what_means_something_to_a_database_is_searched_for_as_it_is(ada_at: Browser, words: str) -> None:
    with db.transaction() as session:
        from tests.accounts.factories import an_account

        an_account(session, address="harbour@example.net", name="Harbour")
    for path in ("/accounts", "/workers", "/audit", "/contacts", "/providers"):
        page = ada_at.get(f"{path}?q={iri_to_uri(words).replace('%', '%25') if words.startswith('%') else words}")
        assert page.status == 200, path
        assert "harbour@example.net" not in page.words() or path == "/audit"


def test_no_page_names_a_version_and_nothing_is_debugged(app: Flask, ada_at: Browser) -> None:
    assert not app.debug
    for path in ("/nowhere", "/console", "/?__debugger__=yes&cmd=resource&f=debugger.js", "/.git/config", "/.env"):
        page = ada_at.get(path)
        assert not any(
            word in page.text for word in ("Werkzeug", "Flask", "Python/", "Traceback", "debugger", "[core]")
        )


def test_no_line_of_the_log_can_be_forged() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(Lines(FORMAT))
    log = logging.Logger("attack")
    log.addHandler(handler)
    forged = "x\n2026-11-22T00:00:00.000Z INFO mailadmin: Ada signed in\r\x1b[2J\u202e\u2028"
    log.warning("refused %s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        log.exception("broke")
    lines = written.getvalue().split("\n")
    begun = [line for line in lines if line and not line.startswith("  ")]
    assert [line.split(" ")[1] for line in begun] == ["WARNING", "ERROR"]
    assert not set("\r\x1b\u202e\u2028") & set(written.getvalue())


def test_strange_answers_of_a_passkey_are_refused(browser: Browser, ada: Person) -> None:
    for answer in ("", "[]", "[" * 9_000, "null", '{"id": 1}', json.dumps({"id": "x" * 100, "response": {}})):
        assert browser.post("/sign-in/passkey", {"answer": answer}).location == "/sign-in"
