"""Adding people, their links, keeping them out, deleting them, roles of one's own, and one's own profile."""

import re

import pytest
from flask import Flask
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts import system_mail
from mailadmin.accounts.models import Account, Kind
from mailadmin.notices.models import Notice
from mailadmin.people import service, sessions, staff
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM, PersonRole
from mailadmin.sealed import reveal
from tests.access.factories import give
from tests.accounts import factories as accounts
from tests.factories import PASSWORD, a_person
from tests.pages import Browser, Page

NEW_PASSWORD = "north wind over seven lakes"
MEI = {"name": "Mei Tanaka", "email": "mei@example.com", "role": "worker", "way": "link"}


def link_on(page: Page) -> str:
    return re.sub(r"^https?://[^/]+", "", page.one("input", id="link").get("value") or "")


def mei() -> Person | None:
    with db.reading() as session:
        return service.find(session, "mei@example.com")


def a_worker(name: str = "Mei Tanaka", email: str = "mei@example.com") -> Person:
    with db.transaction() as session:
        return a_person(session, name=name, email=email, role=PersonRole.WORKER)


def another(app: Flask, person: Person) -> Browser:
    browser = Browser(app)
    browser.sign_in(person.email, PASSWORD)
    return browser


def test_a_worker_is_added_with_a_link_and_signs_in(ada_at: Browser, app: Flask) -> None:
    link = link_on(ada_at.post("/workers/new", MEI))
    theirs = Browser(app)
    page = theirs.get(link)
    assert "Mei Tanaka, mei@example.com" in page.words()
    assert "15 characters" in theirs.post(link, {"password": "short"}).error("password")
    assert theirs.post(link, {"password": NEW_PASSWORD}).location == "/sign-in"
    assert theirs.get(link).status == 410
    assert theirs.sign_in("mei@example.com", NEW_PASSWORD).location == "/"
    assert "added Mei Tanaka as worker" in ada_at.get("/audit?kind=people").words()
    assert "chose a password with a link" in ada_at.get("/audit?kind=sign-ins").words()


def test_wrong_input_keeps_what_was_typed(ada_at: Browser) -> None:
    page = ada_at.post("/workers/new", {**MEI, "email": "no address", "way": "password", "password": "lamp"}, htmx=True)
    assert page.status == 422
    assert page.value("name") == "Mei Tanaka"
    assert "e-mail address" in page.error("email")
    assert "15 characters" in ada_at.post("/workers/new", {**MEI, "way": "password", "password": "a"}).error("password")
    assert ada_at.post("/workers/new", {**MEI, "way": "password", "password": NEW_PASSWORD}).status == 303
    assert "here already" in ada_at.post("/workers/new", MEI).error("email")


def test_links_go_by_e_mail_where_the_console_can_write(
    ada_at: Browser, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailadmin.console.person_routes.can_write", lambda: True)
    monkeypatch.setattr("mailadmin.console.profile_routes.can_write", lambda: True)
    ada_at.post("/workers/new", {**MEI, "way": "mail"})
    outside = Browser(app)
    answers = [outside.post("/forgotten", {"email": who}).words() for who in ("mei@example.com", "nobody@example.com")]
    assert answers[0] == answers[1], "nobody learns who is here"
    with db.reading() as session:
        letters = [(n.recipient, n.next_try_at, n.text_id) for n in session.scalars(select(Notice).order_by(Notice.id))]
        texts = [reveal(session, text_id).reveal() for _, _, text_id in letters if text_id]
    assert [who for who, _, _ in letters] == ["mei@example.com"] * 2
    assert letters[0][1] is None, "the older link is worth nothing, so its letter is not sent"
    link = re.search(r"/c/p/\S+", texts[-1])
    assert link
    assert outside.post(link[0], {"password": NEW_PASSWORD}).status == 303
    assert outside.sign_in("mei@example.com", NEW_PASSWORD).location == "/"


def test_a_lost_password_is_an_administrators_matter_where_nothing_can_be_sent(browser: Browser, ada: Person) -> None:
    page = browser.get("/forgotten")
    assert "An administrator can give you a link" in page.words()
    assert not page.all("form", action="/forgotten")


def test_who_is_deactivated_is_out_with_the_next_click(ada_at: Browser, app: Flask) -> None:
    person = a_worker()
    theirs = another(app, person)
    assert theirs.get("/profile").status == 200
    assert "Deactivate Mei Tanaka?" in ada_at.get(f"/workers/{person.id}/deactivate", htmx=True).words()
    ada_at.post(f"/workers/{person.id}/deactivate")
    assert theirs.get("/profile").location.startswith("/sign-in")
    assert "wrong" in theirs.sign_in(person.email, PASSWORD).words()
    ada_at.post(f"/workers/{person.id}/reactivate")
    assert theirs.sign_in(person.email, PASSWORD).location == "/"


def test_the_last_administrator_is_told_why_not(ada_at: Browser, ada: Person) -> None:
    page = ada_at.post(f"/workers/{ada.id}/deactivate")
    assert page.status == 409
    assert "last administrator" in page.words()
    page = ada_at.post(f"/workers/{ada.id}/delete", {"accounts": "heir"})
    assert page.status == 422
    assert "last administrator" in page.words()


@pytest.mark.parametrize("fate", ["heir", "delete"])
def test_own_accounts_are_handed_over_or_deleted(ada_at: Browser, ada: Person, fate: str) -> None:
    person = a_worker()
    with db.transaction() as session:
        account_id = accounts.an_account(session, kind=Kind.PERSONAL, owner_id=person.id).id
    page = ada_at.post(f"/workers/{person.id}/delete", {"accounts": "heir", "heir": ""})
    assert "Choose who gets" in page.error("heir")
    assert ada_at.post(f"/workers/{person.id}/delete", {"accounts": fate, "heir": str(ada.id)}).status == 303
    assert mei() is None
    with db.reading() as session:
        account = session.get_one(Account, account_id)
        assert (account.owner_id, account.deleting_at is not None) == (
            (ada.id, False) if fate == "heir" else (None, True)
        )


def test_somebody_with_a_role_of_ones_own_sees_and_does_what_it_says(ada_at: Browser, app: Flask, ada: Person) -> None:
    page = ada_at.post("/roles/new", {"name": "Clerk", "permissions": []})
    assert "at least one thing" in page.error("permissions")
    assert ada_at.post("/roles/new", {"name": "Clerk", "permissions": ["see activity"]}).status == 303
    with db.reading() as session:
        role_id = staff.custom_roles(session)[0].id
    ada_at.post("/workers/new", {**MEI, "role": str(role_id), "way": "password", "password": PASSWORD})
    person = mei()
    assert person
    theirs = another(app, person)
    assert [theirs.get(path).status for path in ("/", "/audit", "/workers", "/providers/new", "/settings")] == [
        *(200, 200, 403, 403, 403)
    ]
    with db.transaction() as session:
        account_id = accounts.an_account(session).id
    for path in ("/", "/accounts", "/providers", f"/accounts/{account_id}"):
        words = theirs.get(path).words()
        assert not [deed for deed in ("New account", "New provider", "Delete…", "Test all") if deed in words], path
    assert "New account" in ada_at.get("/accounts").words()
    assert "Clerk" in ada_at.get("/roles").words()
    question = ada_at.get(f"/roles/{role_id}/delete").words()
    assert "1 person has this role" in question
    assert "Delete role" not in question
    assert "Somebody has this role" in ada_at.post(f"/roles/{role_id}/delete", follow=True).words()
    assert ada_at.post(f"/roles/{role_id}", {"name": "Watcher", "permissions": ["manage people"]}).status == 303
    assert [theirs.get(path).status for path in ("/audit", "/workers")] == [403, 200]
    assert theirs.get(f"/roles/{role_id}").status == 200
    assert (
        "administrator for everything"
        in theirs.post(f"/roles/{role_id}", {"name": "King", "permissions": ["manage people"]}).words()
    )
    assert theirs.post(f"/workers/{ada.id}/link").status == 409


def test_a_role_is_deleted_after_a_question_and_its_name_is_never_cut(ada_at: Browser) -> None:
    page = ada_at.post("/roles/new", {"name": "x" * 61, "permissions": ["see activity"]})
    assert "At most 60 characters" in page.error("name")
    assert ada_at.post("/roles/new", {"name": "Clerk", "permissions": ["see activity"]}).status == 303
    with db.reading() as session:
        role_id = staff.custom_roles(session)[0].id
    assert f"/roles/{role_id}/delete" in [e.get("hx-get") for e in ada_at.get(f"/roles/{role_id}").all("button")]
    assert "Delete role" in ada_at.get(f"/roles/{role_id}/delete").words()
    assert "The role was deleted." in ada_at.post(f"/roles/{role_id}/delete", follow=True).words()


def test_the_profile_is_ones_own(ada_at: Browser, ada: Person) -> None:
    fields = {"name": "Ada L.", "time_zone": "Asia/Tokyo", "signature": "Ada {name}"}
    assert "Your profile is saved." in ada_at.post("/profile", fields, follow=True).words()
    page = ada_at.get("/profile")
    assert page.value("name") == "Ada L."
    assert any("JST" in (e.get("title") or "") for e in page.all("time")), "times are shown in it"
    assert "is missing" in ada_at.post("/profile", {**fields, "name": " "}).error("name")


def test_what_others_see_of_ones_own_mail_is_ones_own_decision(ada_at: Browser, ada: Person, app: Flask) -> None:
    with db.transaction() as session:
        account_id = accounts.an_account(session, kind=Kind.PERSONAL, owner_id=ada.id).id
    address = f"/profile/accounts/{account_id}"
    assert ada_at.get("/profile").all("a", href=address)
    fields = {"sent_copies": "automatic", "version": ada_at.get(address).one("input", id="version").get("value")}
    assert ada_at.post(address, {**fields, "visibility": "subject"}).location == "/profile/accounts"
    assert another(app, a_worker()).post(address, {**fields, "visibility": "everything"}).status == 404
    with db.reading() as session:
        assert session.get_one(Account, account_id).visibility == "subject"


def test_who_has_several_mailboxes_says_which_comes_first(ada_at: Browser, ada: Person) -> None:
    with db.transaction() as session:
        made = [accounts.an_account(session, address=f"{name}@example.net") for name in ("a", "b")]
        for account in made:
            give(session, session.get_one(Person, ada.id), account)
    assert ada_at.get("/home").location == f"/mailbox/{made[0].id}"
    ada_at.post(f"/profile/accounts/{made[1].id}/primary")
    assert ada_at.get("/home").location == f"/mailbox/{made[1].id}"


def test_a_password_is_changed_and_other_sessions_end(ada_at: Browser, ada: Person, app: Flask) -> None:
    elsewhere = another(app, ada)
    fields = {"old_password": "wrong", "password": NEW_PASSWORD}
    assert "not your password" in ada_at.post("/profile/password", fields).error("old_password")
    ada_at.post("/profile/password", {**fields, "old_password": PASSWORD})
    assert elsewhere.get("/profile").status == 303
    assert ada_at.get("/profile").status == 200


def test_sessions_are_listed_and_ended_but_not_those_of_others(ada_at: Browser, ada: Person, app: Flask) -> None:
    elsewhere, theirs = another(app, ada), another(app, a_worker())
    with db.reading() as session:
        person = session.get_one(Person, ada.id)
        other = next(s.id for s in reversed(sessions.of_person(session, person)[:1]))
        foreign = sessions.of_person(session, session.scalars(select(Person).where(Person.id != ada.id)).one())[0].id
    assert len(ada_at.get("/profile").all("tr")) == 3
    assert ada_at.post(f"/profile/sessions/{foreign}/end").status == 404
    ada_at.post(f"/profile/sessions/{other}/end")
    assert elsewhere.get("/profile").status == 303
    assert theirs.get("/profile").status == 200


def test_a_sender_and_an_address_are_what_it_takes_to_write(ada_at: Browser) -> None:
    with db.transaction() as session:
        account = accounts.an_account(session)
        assert system_mail.sender(session) is None
        del account
    assert "Send a link by e-mail" not in ada_at.get("/workers/new").words()


def test_a_link_from_the_command_line_works(booted: object, ada: Person) -> None:
    with db.transaction() as session:
        code = staff.make_link(session, session.get_one(Person, ada.id), actor=SYSTEM)
        assert staff.whose_link(session, code).id == ada.id
