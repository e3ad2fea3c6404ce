"""Adding an account and changing its settings in the browser."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import db, queue
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Window
from mailadmin.connections import service as connections
from mailadmin.mail.types import Direction
from mailadmin.people.models import Person
from tests.accounts.factories import PASSWORD, a_provider, an_account, imap, smtp
from tests.pages import Browser

TYPED = "typed just now 9"
OWN = {
    "own_servers": "y",
    "incoming_host": "imap.example.net",
    "incoming_port": "993",
    "incoming_tls_mode": "implicit",
    "outgoing_host": "smtp.example.net",
    "outgoing_port": "465",
    "outgoing_tls_mode": "implicit",
}
FILLED: dict[str, Any] = {
    "address": "billing@example.net",
    "name": "Billing",
    "sender_name": "Example Ltd",
    "reply_to": "",
    "kind": "shared",
    "owner_id": "0",
    "username": "",
    "password": TYPED,
    "provider_id": "0",
    "same_credentials": "y",
    "incoming_tls_mode": "implicit",
    "outgoing_tls_mode": "implicit",
    **OWN,
}
BY_DOMAIN = {name: value for name, value in FILLED.items() if name != "own_servers"}


@pytest.fixture
def account(booted: object) -> Account:
    with db.transaction() as session:
        return an_account(session)


def settings_of(account: Account, **more: Any) -> dict[str, Any]:
    """The settings form as it comes, with changes; no password is typed."""
    as_it_is = {
        "version": str(account.version),
        "name": account.name,
        "sender_name": "",
        "password": "",
        "window": "3m",
    }
    return {**FILLED, **as_it_is, **more}


def test_account_is_added_by_hand_and_tested(ada_at: Browser, session: Session) -> None:
    ada_at.get("/accounts/new")
    answer = ada_at.post("/accounts/new", FILLED)
    account = service.find(session, "billing@example.net")
    assert account is not None
    assert answer.location == f"/accounts/{account.id}/connection"
    assert service.legs(session, account)[Direction.OUTGOING].how.password == TYPED
    assert (account.name, account.sender_name, account.is_set_up) == ("Billing", "Example Ltd", False)
    assert connections.latest(session, account.id) is not None
    assert queue.waiting() == {**dict.fromkeys(queue.Line, 0), queue.Line.INTERACTIVE: 1}


def test_domain_chooses_the_provider(ada_at: Browser, session: Session) -> None:
    provider = a_provider(session)
    session.commit()
    assert ada_at.post("/accounts/new", BY_DOMAIN).status == 303
    account = service.find(session, "billing@example.net")
    assert account is not None
    assert account.provider_id == provider.id
    assert account.servers == []


def test_unknown_domain_is_told_at_the_provider(ada_at: Browser) -> None:
    page = ada_at.post("/accounts/new", BY_DOMAIN)
    assert page.status == 422
    assert "No provider here has the domain example.net" in page.error("provider_id")


def test_every_mistake_is_shown_at_its_field_and_what_was_typed_stays(ada_at: Browser) -> None:
    wrong = {"address": "billing", "incoming_host": "imap example", "incoming_port": "465", "reply_to": "x@"}
    page = ada_at.post("/accounts/new", {**FILLED, **wrong, "kind": "personal"})
    assert page.status == 422
    assert page.error("incoming_port") == "465 is for SMTP. IMAP uses 993 or 143."
    assert all(page.error(name) for name in (*wrong, "owner_id"))
    assert {name: page.value(name) for name in wrong} == wrong
    assert "Please correct 5 fields" in page.text
    assert TYPED not in page.text


def test_missing_passwords_are_told(ada_at: Browser) -> None:
    page = ada_at.post("/accounts/new", {**FILLED, "password": "", "same_credentials": ""}, htmx=True)
    assert page.status == 422
    assert page.error("password") == page.error("sending_password") == "Type the password."


@pytest.mark.parametrize("field", ["password", "sending_password"])
def test_password_with_a_line_break_is_refused_and_not_shown(ada_at: Browser, field: str) -> None:
    typed = {**FILLED, "same_credentials": "", "sending_password": TYPED, field: "top\nsecret"}
    page = ada_at.post("/accounts/new", typed)
    assert "line break" in page.error(field)
    assert "secret" not in page.text


def test_address_that_is_there_already_is_told(ada_at: Browser, account: Account) -> None:
    page = ada_at.post("/accounts/new", {**FILLED, "address": "BILLING@example.net"})
    assert page.error("address") == "There is an account for billing@example.net already."


def test_personal_account_gets_its_owner(ada_at: Browser, ada: Person, session: Session) -> None:
    ada_at.post("/accounts/new", {**FILLED, "kind": "personal", "owner_id": str(ada.id)})
    account = service.find(session, "billing@example.net")
    assert account is not None
    assert account.owner_id == ada.id


def test_queue_that_is_gone_is_told_and_nothing_is_lost(
    ada_at: Browser, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "ring", lambda *args, **more: False)
    page = ada_at.post("/accounts/new", FILLED, follow=True)
    assert "The queue cannot be reached." in page.text
    account = service.find(session, "billing@example.net")
    assert account is not None
    assert connections.latest(session, account.id) is not None


def test_settings_show_everything_but_secrets(ada_at: Browser, account: Account) -> None:
    page = ada_at.get(f"/accounts/{account.id}/settings")
    assert page.value("incoming_host") == "imap.example.net"
    assert page.one("input", id="address").get("readonly") is not None
    assert page.value("window") == "3m"
    assert PASSWORD not in page.text


def test_names_are_saved_without_a_test(ada_at: Browser, account: Account, session: Session) -> None:
    path = f"/accounts/{account.id}/settings"
    page = ada_at.post(path, settings_of(account, name="Invoices", window="everything"), follow=True)
    assert (page.value("name"), page.value("window")) == ("Invoices", "everything")
    assert "Saved" in page.text
    assert connections.latest(session, account.id) is None
    changed = service.get(session, account.id)
    assert (changed.window, changed.since) == (Window.EVERYTHING, None)
    assert service.legs(session, changed)[Direction.INCOMING].how.password == PASSWORD


def test_new_password_is_tested(ada_at: Browser, account: Account, session: Session) -> None:
    answer = ada_at.post(f"/accounts/{account.id}/settings", settings_of(account, password=" new one "), htmx=True)
    assert answer.headers["HX-Redirect"] == f"/accounts/{account.id}/connection"
    changed = service.get(session, account.id)
    assert service.legs(session, changed)[Direction.OUTGOING].how.password == " new one "
    assert connections.latest(session, account.id) is not None


def test_stored_password_is_not_sent_to_a_new_server(ada_at: Browser, account: Account, session: Session) -> None:
    path, moved = f"/accounts/{account.id}/settings", {"incoming_host": "evil.example.com"}
    page = ada_at.post(path, settings_of(account, **moved))
    assert "type the password again" in page.error("password")
    assert page.value("incoming_host") == "evil.example.com"
    assert service.server_of(service.get(session, account.id), Direction.INCOMING) == imap()
    session.rollback()
    assert ada_at.post(path, settings_of(account, **moved, password="again")).status == 303


def test_separate_credentials_for_sending_are_kept(ada_at: Browser, account: Account, session: Session) -> None:
    path = f"/accounts/{account.id}/settings"
    separate = {"same_credentials": "", "sending_username": "relay", "sending_password": "relay secret"}
    assert ada_at.post(path, settings_of(account, **separate)).status == 303
    page = ada_at.get(path)
    assert page.value("sending_username") == "relay"
    assert "relay secret" not in page.text
    separate |= {"sending_password": "", "version": page.value("version") or "", "name": "Other"}
    assert ada_at.post(path, settings_of(account, **separate)).status == 303
    leg = service.legs(session, service.get(session, account.id))[Direction.OUTGOING]
    assert (leg.server, leg.how.password) == (smtp(), "relay secret")


def test_second_of_two_administrators_is_told_and_loses_nothing(
    ada_at: Browser, account: Account, session: Session
) -> None:
    path = f"/accounts/{account.id}/settings"
    ada_at.post(path, settings_of(account, name="First"))
    page = ada_at.post(path, settings_of(account, name="Second"), htmx=True)
    assert page.status == 422
    assert "Somebody else changed this account meanwhile" in page.text
    assert page.value("name") == "Second"
    again = settings_of(account, name="Second", version=page.value("version"))
    assert ada_at.post(path, again).status == 303
    assert service.get(session, account.id).name == "Second"


def test_draft_goes_on_to_its_test(ada_at: Browser, session: Session) -> None:
    draft = an_account(session, is_set_up=False)
    session.commit()
    page = ada_at.get(f"/accounts/{draft.id}/settings")
    assert not page.all("select", id="window")
    answer = ada_at.post(
        f"/accounts/{draft.id}/settings", settings_of(draft, address="bills@example.net", username="b")
    )
    assert answer.location == f"/accounts/{draft.id}/connection"


def test_account_that_is_gone_is_a_404(ada_at: Browser) -> None:
    assert ada_at.get("/accounts/99/settings").status == 404
    assert ada_at.post("/accounts/99/settings", FILLED).status == 404


def test_control_characters_pasted_into_a_field_are_dropped(ada_at: Browser) -> None:
    page = ada_at.post("/accounts/new", {**FILLED, "name": "Wim\x00\x1b", "reply_to": "no"})
    assert page.value("name") == "Wim"
