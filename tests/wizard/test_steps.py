"""The steps of a new account after its address: how to sign in, the servers, the test, the end, and coming back."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import queue
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, SentCopies
from mailadmin.accounts.service import AccountWish
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.db import now
from mailadmin.mail import known_providers
from mailadmin.mail.types import Direction, LoginFormat, Role, ServerProtocol, SignInMethod, TLSMode
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service as providers
from mailadmin.providers.models import Provider
from mailadmin.sync import service as sync
from tests.accounts.factories import PASSWORD, a_provider, imap
from tests.pages import Browser

TYPED = "typed just now 9"
ADDRESS = "orders@example.net"
MODES = {f"{protocol}_tls_mode": "implicit" for protocol in ("imap", "pop3", "smtp")}
HOSTS = {"imap_host": "imap.example.net", "imap_port": "993", "smtp_host": "smtp.example.net", "smtp_port": "465"}
BY_HAND: dict[str, Any] = {
    "protocol": "imap",
    **HOSTS,
    "login_format": "address",
    "same_credentials": "y",
    "sent_copies": "automatic",
    **MODES,
}


def begun(session: Session, **wanted: Any) -> Account:
    """An account after its first step."""
    account = service.create(session, wish=AccountWish(ADDRESS, is_begun=True, **wanted), actor=SYSTEM)
    session.commit()
    return account


def at(session: Session, provider: Provider | None, **wanted: Any) -> Account:
    assert provider is not None
    protocol = ServerProtocol.IMAP if provider.server(Direction.INCOMING, ServerProtocol.IMAP) else ServerProtocol.POP3
    return begun(session, provider_id=provider.id, protocol=protocol, **wanted)


def adopted(session: Session, key: str) -> Provider | None:
    return providers.adopt(session, known_providers.everyone()[key], domain="example.net", actor=SYSTEM)


def with_password(browser: Browser, session: Session, account: Account, password: str = TYPED) -> dict[str, str]:
    """Take the second step, and answer the version that the account has then."""
    root = f"/accounts/{account.id}"
    answer = browser.post(f"{root}/method", {"version": "1", "method": "password", "password": password})
    assert answer.location == f"{root}/servers"
    session.expire_all()
    return {"version": "2"}


def passed(session: Session, account: Account) -> Check:
    """A test that has passed just now."""
    folder = {"path": "INBOX", "name": "INBOX", "delimiter": "/", "role": Role.INBOX, "role_source": "server"}
    check = connections.request_check(session, account=account, actor=SYSTEM)
    check.started_at = check.finished_at = now()
    check.outcome, check.folders = CheckOutcome.PASSED, [folder]
    session.commit()
    return check


# How to sign in.


def test_password_is_stored_and_never_shown_again(ada_at: Browser, session: Session) -> None:
    account = at(session, a_provider(session))
    path = f"/accounts/{account.id}/method"
    page = ada_at.get(path)
    assert "Harbour Mail offers passwords only" in page.words()
    assert page.one("input", value="oauth").get("disabled") is not None
    with_password(ada_at, session, account)
    credential = account.credential(Direction.INCOMING)
    assert credential is not None
    assert credential.method is SignInMethod.PASSWORD
    assert service.legs(session, account)[Direction.OUTGOING].how.password == TYPED
    session.rollback()
    page = ada_at.get(path)
    assert "One is stored. Leave empty to keep it." in page.words()
    assert TYPED not in page.text
    kept = {"version": "2", "method": "password", "password": ""}
    assert ada_at.post(path, kept).location == f"/accounts/{account.id}/servers"
    session.expire_all()
    assert service.legs(session, account)[Direction.INCOMING].how.password == TYPED


def test_missing_password_and_one_that_cannot_be_sent_are_told(ada_at: Browser, session: Session) -> None:
    path = f"/accounts/{at(session, a_provider(session)).id}/method"
    typed = {"version": "1", "method": "password", "password": ""}
    assert ada_at.post(path, typed).error("password") == "The password is missing."
    page = ada_at.post(path, {**typed, "password": "top\nsecret"})
    assert "line break" in page.error("password")
    assert "secret" not in page.text
    assert ada_at.post(path, {**typed, "method": "oauth"}).error("method")


def test_google_takes_an_app_password_which_is_legacy(ada_at: Browser, session: Session) -> None:
    account = at(session, adopted(session, "google"))
    path = f"/accounts/{account.id}/method"
    page = ada_at.get(path)
    assert page.one("input", value="password").get("disabled") is not None
    assert page.one("input", value="app password").get("checked") is not None
    assert "Legacy" in page.words()
    known = known_providers.everyone()["google"]
    assert page.all("a", href=known.app_password_url)
    spaced = "abcd efgh ijkl mnop"
    ada_at.post(path, {"version": "1", "method": "app password", "password": spaced})
    session.expire_all()
    assert account.method is SignInMethod.APP_PASSWORD
    assert account.is_legacy
    assert service.legs(session, account)[Direction.INCOMING].how.password == spaced
    session.rollback()
    assert ada_at.post(path, {"version": "2", "method": "password", "password": "x"}).error("method")


def test_where_every_password_is_refused_that_is_said_before_one_is_typed(ada_at: Browser, session: Session) -> None:
    shut = next(known for known in known_providers.everyone().values() if known.methods == (SignInMethod.OAUTH,))
    provider = a_provider(session)
    provider.methods, provider.catalogue_key = "oauth", shut.key
    account = at(session, provider)
    path = f"/accounts/{account.id}/method"
    page = ada_at.get(path)
    assert not page.all("input", id="password")
    assert "no longer accepts passwords" in page.words()
    assert page.one("input", value="oauth").get("checked") is not None
    assert ada_at.post(path, {"version": "1", "method": "password", "password": "x"}).status == 422
    page = ada_at.get(f"{path}?insists=1")
    assert page.one("input", value="password").get("disabled") is None
    typed = {"version": "1", "method": "password", "password": TYPED}
    assert ada_at.post(f"{path}?insists=1", typed).location == f"/accounts/{account.id}/servers"
    assert ada_at.get(path).one("input", value="password").get("checked") is not None


def test_oauth_is_recommended_and_leads_to_the_app_that_is_missing(ada_at: Browser, session: Session) -> None:
    account = at(session, adopted(session, "microsoft-365"))
    assert account.provider is not None
    path = f"/accounts/{account.id}/method"
    page = ada_at.get(path)
    assert "Recommended" in page.words()
    assert "Set up the OAuth app first" in page.words()
    answer = ada_at.post(path, {"version": "1", "method": "oauth"})
    assert answer.location == f"/providers/{account.provider.id}/oauth"
    assert ada_at.get(answer.location).all("a", href=path)
    session.expire_all()
    assert account.method is None


def test_oauth_of_servers_without_a_provider_needs_one_first(ada_at: Browser, session: Session) -> None:
    account = begun(session, incoming=imap("imap.gmail.com"))
    page = ada_at.get(f"/accounts/{account.id}/method")
    assert page.one("input", value="oauth").get("disabled") is not None
    assert "as the provider in the step before" in page.words()


def test_second_of_two_administrators_is_told(ada_at: Browser, session: Session) -> None:
    account = at(session, a_provider(session))
    path, typed = f"/accounts/{account.id}/method", {"method": "password", "password": TYPED}
    page = ada_at.post(path, {**typed, "version": "7"})
    assert "Somebody else changed this account meanwhile" in page.words()
    assert ada_at.post(path, {**typed, "version": page.one("input", name="version").get("value", "")}).status == 303


# The servers.


def test_known_provider_needs_one_click(ada_at: Browser, session: Session) -> None:
    provider = a_provider(session)
    account = at(session, provider)
    path = f"/accounts/{account.id}/servers"
    with_password(ada_at, session, account)
    page = ada_at.get(path)
    assert "Filled in from Harbour Mail." in page.words()
    fields = [*page.all("input"), *page.all("select")]
    shown = {e.get("name"): page.value(e.get("id", "")) for e in fields if e.get("id") and e.get("type") != "radio"}
    assert shown["imap_host"] == "imap.example.net"
    assert [e.get("value") for e in page.all("input", name="protocol")] == ["imap"]
    sent = {**{name: value for name, value in shown.items() if value}, "protocol": "imap", "version": "2"}
    answer = ada_at.post(path, {**sent, "same_credentials": "y"}, htmx=True)
    assert answer.headers["HX-Redirect"] == path.replace("servers", "connection")
    session.expire_all()
    assert (account.provider_id, account.servers, account.login_format) == (provider.id, [], None)
    assert connections.latest(session, account.id) is not None
    assert (queue.waiting() or {})[queue.Line.INTERACTIVE] == 1


def test_changed_servers_are_the_account_s_own(ada_at: Browser, session: Session) -> None:
    account = at(session, a_provider(session))
    path = f"/accounts/{account.id}/servers"
    moved = {**BY_HAND, **with_password(ada_at, session, account), "imap_host": "mail.example.net"}
    page = ada_at.post(path, moved)
    assert "type the password again" in page.error("password")
    assert page.value("imap_host") == "mail.example.net"
    assert ada_at.post(path, {**moved, "password": TYPED}).status == 303
    session.expire_all()
    assert account.own_server(Direction.INCOMING) == imap("mail.example.net")
    assert account.server(Direction.OUTGOING) is not None


def test_servers_by_hand_with_pop3_and_a_user_name(ada_at: Browser, session: Session) -> None:
    account = begun(session, protocol=ServerProtocol.POP3)
    answer = ada_at.post(f"/accounts/{account.id}/method", {"version": "1", "method": "password"})
    assert answer.location == f"/accounts/{account.id}/servers"
    page = ada_at.get(f"/accounts/{account.id}/servers")
    assert page.one("input", value="pop3").get("checked") is not None
    assert "POP3 reads the inbox only" in page.words()
    shown = page.words(page.one("select", id="login_format"))
    assert all(words in shown for words in (f"address: {ADDRESS}", "before the @: orders", "EXAMPLE\\orders"))
    typed = {
        **BY_HAND,
        "version": page.one("input", name="version").get("value", ""),
        "protocol": "pop3",
        "imap_host": "",
        "pop3_host": "pop.example.net",
        "pop3_port": "",
        "smtp_host": "",
        "login_format": "by hand",
        "username": "m1234",
        "password": TYPED,
        "sent_copies": "never",
        "reply_to": "desk@example.net",
        "sender_address": "shop@example.net",
    }
    assert ada_at.post(f"/accounts/{account.id}/servers", typed).status == 303
    session.expire_all()
    server = account.server(Direction.INCOMING)
    assert server is not None
    assert (server.protocol, server.port, account.protocol) == (ServerProtocol.POP3, 995, ServerProtocol.POP3)
    assert service.user_name(account, Direction.INCOMING) == "m1234"
    assert (account.server(Direction.OUTGOING), account.sent_copies) == (None, SentCopies.NEVER)
    assert (account.reply_to, account.sender_address) == ("desk@example.net", "shop@example.net")
    page = ada_at.get(f"/accounts/{account.id}/servers")
    assert (page.value("username"), page.value("login_format")) == ("m1234", "by hand")


def test_mistakes_in_servers_are_shown_at_their_fields(ada_at: Browser, session: Session) -> None:
    account = begun(session)
    wrong = {"imap_host": "imap example", "smtp_port": "993", "login_format": "by hand", "reply_to": "x@"}
    page = ada_at.post(f"/accounts/{account.id}/servers", {**BY_HAND, "version": "1", **wrong}, htmx=True)
    assert page.status == 422
    assert page.error("smtp_port") == "993 is for IMAP. SMTP uses 465 or 587."
    assert all(page.error(name) for name in ("imap_host", "username", "reply_to"))
    assert page.error("password") == "The password is missing."
    assert "Please correct 5 fields" in page.words()
    told = [link.get("href") for link in page.all("a") if link.get("href", "").startswith("#")]
    assert told == ["#imap_host", "#password", "#username", "#smtp_port", "#reply_to"]  # as they stand on the page
    assert page.value("imap_host") == "imap example"
    page = ada_at.post(f"/accounts/{account.id}/servers", {**BY_HAND, "version": "1", "imap_tls_mode": "none"})
    assert page.error("imap_tls_mode")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"imap_port": "143"}, "143 is for STARTTLS, and SSL/TLS uses 993. Change the port or the security."),
        ({"imap_tls_mode": "starttls"}, "993 is for SSL/TLS, and STARTTLS uses 143. Change the port or the security."),
    ],
)
def test_port_of_another_security_is_told_and_never_replaced(
    ada_at: Browser, session: Session, typed: dict[str, str], told: str
) -> None:
    path = f"/accounts/{begun(session).id}/servers"
    page = ada_at.post(path, {**BY_HAND, "version": "1", "password": TYPED, **typed})
    assert (page.status, page.error("imap_port")) == (422, told)
    assert page.value("imap_port") == typed.get("imap_port", "993")
    select = page.one("select", id="imap_tls_mode")  # With scripts the port follows where it is seen.
    assert (select.get("hx-target"), select.get("hx-include")) == ("#imap-port", "#imap_port")
    assert (
        ada_at.get(f"{select.get('hx-get')}&imap_port=143&imap_tls_mode=implicit", htmx=True).value("imap_port")
        == "993"
    )


def test_odd_port_that_the_account_has_already_stays(ada_at: Browser, session: Session) -> None:
    account = begun(session, incoming=imap(port=143))
    typed = {**BY_HAND, "version": "1", "password": TYPED, "imap_host": "imap.example.net", "imap_port": "143"}
    assert ada_at.post(f"/accounts/{account.id}/servers", typed).status == 303


def test_own_credentials_for_sending_and_other_formats(ada_at: Browser, session: Session) -> None:
    account = begun(session)
    typed = {**BY_HAND, "version": "1", "password": TYPED, "login_format": "local part", "same_credentials": ""}
    path = f"/accounts/{account.id}/servers"
    assert ada_at.post(path, typed).error("sending_password") == "The password is missing."
    relay = {"sending_username": "relay", "sending_password": "relay secret"}
    assert ada_at.post(path, {**typed, **relay}).status == 303
    session.expire_all()
    legs = service.legs(session, account)
    assert (legs[Direction.INCOMING].how.username, account.login_format) == ("orders", LoginFormat.LOCAL_PART)
    assert (legs[Direction.OUTGOING].how.username, legs[Direction.OUTGOING].how.password) == ("relay", "relay secret")
    assert "relay secret" not in ada_at.get(path).text


def test_queue_that_is_gone_is_told_and_nothing_is_lost(
    ada_at: Browser, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = begun(session)
    monkeypatch.setattr(queue, "ring", lambda *args, **more: False)
    typed = {**BY_HAND, "version": "1", "password": TYPED}
    page = ada_at.post(f"/accounts/{account.id}/servers", typed, follow=True)
    assert "The queue cannot be reached." in page.text
    assert connections.latest(session, account.id) is not None


# Coming back, and the end.


def test_steps_lead_to_what_is_missing_first(ada_at: Browser, session: Session) -> None:
    account = at(session, a_provider(session))
    root, resume = f"/accounts/{account.id}", f"/accounts/{account.id}/set-up"
    assert ada_at.get(resume).location == f"{root}/method"
    assert "First choose how to sign in." in ada_at.get(f"{root}/servers", follow=True).words()
    assert ada_at.get(f"{root}/finished").location == resume
    with_password(ada_at, session, account)
    assert ada_at.get(resume).location == f"{root}/connection"
    passed(session, account)
    assert ada_at.get(resume).location == f"{root}/folders"
    session.expire_all()
    sync.take_over(session, account=account, check=connections.last_passed(session, account.id))
    session.commit()
    assert ada_at.get(resume).location == f"{root}/window"
    account.is_set_up = True
    session.commit()
    assert ada_at.get(resume).location == root
    for step in ("address", "method", "servers"):
        assert ada_at.get(f"{root}/{step}").location == f"{root}/settings"


def test_by_hand_comes_back_to_the_servers(ada_at: Browser, session: Session) -> None:
    account = begun(session)
    assert ada_at.get(f"/accounts/{account.id}/set-up").location == f"/accounts/{account.id}/servers"


@pytest.mark.parametrize("step", ["address", "method", "servers", "connection", "folders", "window", "finished"])
def test_every_step_opens_at_any_time(ada_at: Browser, session: Session, step: str) -> None:
    account = at(session, a_provider(session))
    page = ada_at.get(f"/accounts/{account.id}/{step}", follow=True)
    assert page.status == 200
    assert ada_at.get(f"/accounts/999999/{step}").status == 404
    assert ada_at.get("/accounts/999999/set-up").status == 404


def test_other_password_after_a_test_is_tested_at_once(ada_at: Browser, session: Session) -> None:
    account = at(session, a_provider(session))
    with_password(ada_at, session, account, "wrong")
    passed(session, account)
    path = f"/accounts/{account.id}/method"
    page = ada_at.get(path)
    assert "Test connection" in [page.words(e) for e in page.all("button")]
    version = page.one("input", name="version").get("value", "")
    answer = ada_at.post(path, {"version": version, "method": "password", "password": PASSWORD})
    assert answer.location == f"/accounts/{account.id}/connection"
    newest = connections.latest(session, account.id)
    assert newest is not None
    assert newest.finished_at is None


def test_server_that_a_test_proposed_is_filled_in(ada_at: Browser, session: Session) -> None:
    account = at(session, a_provider(session))
    with_password(ada_at, session, account)
    check = passed(session, account)
    fix = {"kind": "name", "server": "imap:mail.example.net:993:implicit"}
    check.diagnosis = {"direction": "incoming", "fixes": [fix]}
    session.commit()
    path = f"/accounts/{account.id}/servers?direction=incoming&host="
    page = ada_at.get(f"{path}mail.example.net")
    assert page.value("imap_host") == "mail.example.net"
    assert "Type the password again" in page.error("password")
    assert ada_at.get(f"{path}evil.example.com").value("imap_host") == "imap.example.net"


def test_end_says_what_is_next(ada_at: Browser, session: Session) -> None:
    account = at(session, a_provider(session))
    with_password(ada_at, session, account)
    account.is_set_up = True
    session.commit()
    page = ada_at.get(f"/accounts/{account.id}/finished")
    assert page.title == f"{ADDRESS} is connected · Mailadmin"
    access = f"/accounts/{account.id}/access"
    for way in (access, f"/accounts/new?copy={account.id}", f"/accounts/{account.id}"):
        assert page.all("a", href=way)
    form = {"worker": page.one("button", name="worker").get("value"), "may": "send", "then": "mailbox"}
    assert ada_at.post(access, form).location == f"/mailbox/{account.id}"
    assert ada_at.get(f"/accounts/{account.id}/finished").all("a", href=f"/mailbox/{account.id}", class_="btn")


def test_unencrypted_is_not_offered(ada_at: Browser, session: Session) -> None:
    page = ada_at.get(f"/accounts/{begun(session).id}/servers")
    modes = {e.get("value") for e in page.one("select", id="imap_tls_mode").iter()} - {None}
    assert modes == {TLSMode.IMPLICIT, TLSMode.STARTTLS}
