"""The secrets of people, planted and then looked for in pages, exports, the log, the queue and the database's files.

Mailbox passwords are looked for in tests/hostile/test_secrets.py, tokens in tests/oauth; here are authenticators,
recovery codes, single sign-on, links, sessions, and what people type as their passwords.
"""

import base64
import logging
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyotp
import pytest
from flask import Flask
from sqlalchemy import select

from mailadmin import boot, db, queue
from mailadmin.config import Settings
from mailadmin.notices.models import Notice
from mailadmin.people import factors, single_sign_on, staff, tickets
from mailadmin.people.models import Person, RecoveryCode, SignInProvider, Ticket, TicketPurpose
from mailadmin.sealed import SealedSecret, Secret, keep, reveal
from mailadmin.vault import Unsealable
from tests.attack.asking import WORDS
from tests.factories import PASSWORD
from tests.hostile.test_secrets import everything_queued, everything_stored, whole_files
from tests.pages import Browser

CLIENT_SECRET = "zqClientSecret-4711/abc"
NEW_PASSWORD = "three green boats sail"
TYPED = "zq typed into the wrong field"
SETTINGS = {"name": "Harbour", "issuer": "https://localhost:1", "client_id": "client", "domains": "example.com"}


def forms(secret: str) -> set[str]:
    """The secret as it stands, without its dashes, and in base64 wherever it begins."""
    bare = secret.replace("-", "")
    found = {secret, bare, bare.upper(), secret.encode().hex()}
    for before in range(3):
        text = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        found.add(text[4 if before else 0 : -2])
    return found


def plant(browser: Browser, app: Flask, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Do everything that has to do with a secret of a person; what may be found nowhere afterwards."""
    browser.post("/settings/sign-in/new", {**SETTINGS, "secret": CLIENT_SECRET, "is_on": "y"})
    browser.post("/settings/sign-in/new", {**SETTINGS, "name": "", "secret": CLIENT_SECRET})  # refused
    browser.post("/profile/second-factor/authenticator/begin")
    page = browser.get("/profile/second-factor/authenticator")
    seed = page.words(page.all("code")[0])
    code = pyotp.TOTP(seed).at(int(time.time()))
    page = browser.post("/profile/second-factor/authenticator", {"code": code})
    codes = [page.words(each) for each in page.all("code")]
    thief = Browser(app)
    thief.sign_in("ada@example.com", TYPED)
    thief.sign_in(TYPED, TYPED)
    thief.sign_in("ada@example.com", PASSWORD)
    thief.post("/sign-in/second-factor", {"code": TYPED[:50]})
    thief.post("/sign-in/second-factor", {"code": codes[0]})
    with db.transaction() as session:
        ada = session.scalars(select(Person).where(Person.email == "ada@example.com")).one()
        link = staff.ask_for_reset(session, ada)
        step = tickets.make(
            session, TicketPurpose.SINGLE_SIGN_ON, lasts=staff.RESET_LASTS, kept=f"kept {CLIENT_SECRET}"
        )
    monkeypatch.setattr("mailadmin.console.profile_routes.can_write", lambda: True)
    Browser(app).post("/forgotten", {"email": "wim@example.com"})
    with db.reading() as session:
        text_id = session.scalars(select(Notice)).one().text_id
        assert text_id
        letter = reveal(session, text_id).reveal().partition("/c/p/")[2].split()[0]
    form = {"old_password": PASSWORD, "password": NEW_PASSWORD}
    browser.post("/profile/password", {**form, "old_password": TYPED})
    assert browser.post("/profile/password", form).location == "/profile"
    return {
        "single sign-on": [CLIENT_SECRET],
        "authenticator": [seed],
        "recovery codes": codes,
        "links and steps": [link, step, letter],
        "passwords": [PASSWORD, NEW_PASSWORD, TYPED],
    }


def pages(browser: Browser, app: Flask) -> list[str]:
    """Every page, partial and export that can be asked for without the number of a mail account."""
    ids = {**WORDS, "person_id": 1, "provider_id": 1, "sign_in_id": 1}
    found = []
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or set()) and rule.arguments <= ids.keys() and rule.endpoint != "static":
            built = rule.build({name: ids[name] for name in rule.arguments})
            assert built
            answer = browser._client.get(built[1])
            assert answer.status_code < 500 or rule.endpoint == "console.readyz", rule
            found.append(f"{answer.headers}{answer.get_data(as_text=True)}")
    return found


def test_no_secret_of_a_person_is_anywhere_afterwards(
    ada_at: Browser,
    wim: Person,
    app: Flask,
    booted: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    planted = plant(ada_at, app, monkeypatch)
    places = {
        "pages": pages(ada_at, app),
        "log": [caplog.text, *capfd.readouterr()],
        "queue": list(everything_queued()),
        "database": list(everything_stored()),
        "files": list(whole_files(booted)),
    }
    assert len(places["pages"]) > 40
    assert "Harbour" in "".join(places["pages"])
    found = [
        (kind, place, text[max(text.find(form) - 80, 0) :][:200])
        for kind, secrets in planted.items()
        for secret in secrets
        for form in forms(secret)
        for place, texts in places.items()
        for text in texts
        if form in text
    ]
    assert found == []


def test_nothing_in_the_database_signs_anybody_in(ada: Person, app: Flask) -> None:
    """A thief of a backup: what is kept of links, sessions and codes are hashes, the rest is sealed."""
    with db.transaction() as session:
        ada = session.get_one(Person, ada.id)
        staff.ask_for_reset(session, ada)
        factors.new_recovery_codes(session, ada)
    with db.reading() as session:
        hashes = [*session.scalars(select(Ticket.code_hash)), *session.scalars(select(RecoveryCode.code_hash))]
    assert len(hashes) == 11
    for each in hashes:
        for guess in (each.hex(), base64.urlsafe_b64encode(each).decode().rstrip("=")):
            assert Browser(app).get(f"/c/p/{guess}").status == 410


def test_a_secret_of_another_row_or_use_does_not_open(booted: Settings) -> None:
    with db.transaction() as session:
        mine = keep(session, Secret("mine"), purpose=factors.PURPOSE)
        other = keep(session, Secret("other"), purpose=single_sign_on.PURPOSE)
        rows = [session.get_one(SealedSecret, secret_id) for secret_id in (mine, other)]
        rows[0].sealed, rows[1].sealed = rows[1].sealed, rows[0].sealed
        session.flush()
        for secret_id in (mine, other):
            with pytest.raises(Unsealable):
                reveal(session, secret_id)


def test_changing_where_a_secret_goes_wants_it_typed_again(ada_at: Browser) -> None:
    ada_at.post("/settings/sign-in/new", {**SETTINGS, "secret": CLIENT_SECRET})
    with db.reading() as session:
        provider_id = session.scalars(select(SignInProvider.id)).one()
    page = ada_at.post(f"/settings/sign-in/{provider_id}", {**SETTINGS, "issuer": "https://evil.example"})
    assert page.status == 422
    assert "another app" in page.error("secret")


def test_secrets_on_their_way_show_nothing(booted: Settings) -> None:
    secret = Secret(CLIENT_SECRET)
    shown = (repr(secret), str(secret), f"{secret}", repr([secret]), "%s" % secret, repr(booted), repr(boot.settings()))  # noqa: UP031
    assert all(CLIENT_SECRET not in text and booted.secret_key.decode() not in text for text in shown)
    assert booted.secret_key.decode() not in repr(replace(booted, public_url="https://x"))


def test_no_process_leaves_a_core_file_or_takes_a_secret_as_an_argument() -> None:
    code = (
        "import resource; from click.testing import CliRunner; from mailadmin.cli import main;"
        "CliRunner().invoke(main, ['vault', 'key']); print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "(0, 0)"
    for path in (Path(__file__).parents[2] / "mailadmin/cli").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'"--(password|secret|token|key)"', text), path


def test_what_waits_in_the_queue_is_numbers(ada_at: Browser, booted: Settings) -> None:
    queue.ring("notice")
    queue.ring("sync", 7)
    stored = [text for text in everything_queued() if '"args"' in text or "[[" in text or text.startswith("[")]
    assert all(word not in text for text in stored for word in ("password", "secret", "@"))
