"""What the set-up and the settings of an account offer and say where it signs in with OAuth."""

from typing import Any

from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.mail.types import Direction, SignInMethod
from mailadmin.oauth import service as oauth
from tests.invites.post import a_company
from tests.oauth.harbour import PASSWORD, SALES, TOMAS, Harbour, connected, path_of, work
from tests.pages import Browser, Page


def form_of(page: Page, form_id: str) -> dict[str, Any]:
    """Everything that stands in a form, as a browser sends it."""
    form = page.one("form", id=form_id)
    sent: dict[str, Any] = {}
    for field in form.iter():
        name, kind = field.get("name"), field.get("type", "")
        tag = field.tag.rpartition("}")[2]
        if not name or tag == "button":
            continue
        if tag == "select":
            chosen = [o for o in field.iter() if o.get("selected") is not None]
            sent[name] = chosen[0].get("value", "") if chosen else ""
        elif kind not in ("radio", "checkbox") or field.get("checked") is not None:
            sent[name] = field.get("value", "") if tag == "input" else page.words(field)
    return sent


def stored(account: Account) -> Account:
    with db.reading() as session:
        return accounts.get(session, account.id)


def test_step_two_leads_to_the_provider_and_back_to_the_folders(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account(is_set_up=False, with_password=False)
    path = f"/accounts/{account.id}/method"
    page = ada_at.get(path)
    assert "Recommended" in page.words()
    assert page.one("input", value="oauth").get("checked") is not None
    assert "Continue with Harbour" in page.words()
    leave = ada_at.post(path, {"version": "1", "method": "oauth", "by": "me"})
    back = ada_at.get(path_of(harbour.idp.agree(leave.one("a", rel="noreferrer").get("href", ""), SALES)))
    work()
    page = ada_at.get(back.location)
    assert f"{SALES} is connected" in page.words()
    page.one("a", href=f"/accounts/{account.id}/folders", class_="primary")
    assert ada_at.get(f"/accounts/{account.id}/set-up").location == f"/accounts/{account.id}/folders"


def test_step_two_needs_one_of_those_who_can_sign_in(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account(is_set_up=False, with_password=False)
    page = ada_at.post(f"/accounts/{account.id}/method", {"version": "1", "method": "oauth", "by": "service account"})
    assert page.status == 422, page.location
    assert page.error("by") == "Choose who signs in."


def test_step_two_can_ask_the_owner(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account(is_set_up=False, with_password=False)
    answer = ada_at.post(f"/accounts/{account.id}/method", {"version": "1", "method": "oauth", "by": "owner"})
    assert answer.location == f"/accounts/{account.id}/invite"
    assert stored(account).asked_owner_at is not None


def test_step_two_offers_to_send_the_link_only_where_an_account_sends_e_mail(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account(is_set_up=False, with_password=False)
    path = f"/accounts/{account.id}/method"
    page = ada_at.get(path)
    assert not page.all("input", name="send_to")
    assert "You copy the link on the next page and pass it on" in page.words()
    assert page.all("a", href="/settings#sender")
    a_company(harbour)
    page = ada_at.get(path)
    assert page.value("send_to") == SALES
    assert "You copy the link on the next page" not in page.words()
    ada_at.post(path, {"version": "1", "method": "oauth", "by": "owner", "send_to": "tomas@example.org"})
    assert "tomas@example.org, waits to be sent" in ada_at.get(f"/accounts/{account.id}/invite").words()


def test_settings_say_who_signed_in_and_offer_to_sign_in_again(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    path = f"/accounts/{account.id}/settings"
    assert "Connect with OAuth" in ada_at.get(path).words()
    connected(ada_at, harbour, account)
    page = ada_at.get(path)
    assert f"OAuth, by {SALES}" in page.words()
    assert "kept encrypted until" in page.words()
    assert {page.words(b) for b in page.all("button", form=f"oauth-{account.id}")} == {
        "Reconnect",
        "Sign in with another account",
    }
    with db.reading() as session:
        grant = oauth.grant_of(session, account.id)
    assert grant is not None
    assert all(scope in page.words() for scope in grant.scopes.split())


def test_settings_that_do_not_touch_the_sign_in_are_saved_without_one(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    connected(ada_at, harbour, account)
    path = f"/accounts/{account.id}/settings"
    answer = ada_at.post(path, {**form_of(ada_at.get(path), f"account-{account.id}"), "name": "Sales, all of it"})
    assert answer.status == 303, answer.words()
    assert (stored(account).name, stored(account).method) == ("Sales, all of it", SignInMethod.OAUTH)


def test_token_goes_to_no_other_server_and_the_host_says_why(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    connected(ada_at, harbour, account)
    path = f"/accounts/{account.id}/settings"
    moved = {"own_servers": "y", "imap_host": "imap.elsewhere.example", "imap_port": "993", "imap_tls_mode": "implicit"}
    typed = {**form_of(ada_at.get(path), f"account-{account.id}"), **moved}
    page = ada_at.post(path, typed)
    assert page.status == 422
    assert "somebody has to sign in again" in page.error("imap_host")
    assert "password" not in page.error("imap_host")
    assert stored(account).method is SignInMethod.OAUTH
    answer = ada_at.post(path, {**typed, "signs_in_again": "y"})
    assert answer.location == f"/accounts/{account.id}"
    found = stored(account)
    assert found.method is None
    page = ada_at.get(answer.location)
    assert "Its servers have changed, so somebody has to sign in again" in page.words()
    assert "Not signed in yet" in page.words()
    assert "Does not work" not in page.words()
    assert page.all("form", action=f"/accounts/{account.id}/oauth")


def test_account_that_waits_for_a_new_sign_in_can_be_saved_and_go_back_to_its_old_server(
    ada_at: Browser, harbour: Harbour
) -> None:
    account = harbour.account()
    connected(ada_at, harbour, account)
    path, form_id = f"/accounts/{account.id}/settings", f"account-{account.id}"
    there = {"own_servers": "y", "imap_host": "imap.elsewhere.example", "imap_port": "993", "imap_tls_mode": "implicit"}
    ada_at.post(path, {**form_of(ada_at.get(path), form_id), **there, "signs_in_again": "y"})
    assert stored(account).method is None
    back = form_of(ada_at.get(path), form_id)
    back.pop("own_servers")
    page = ada_at.post(path, back)
    assert page.location == path, page.words()
    assert connected(ada_at, harbour, account).status == 200
    assert stored(account).method is SignInMethod.OAUTH


def test_step_three_has_no_password_and_sends_the_token_to_no_new_server(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account(is_set_up=False, with_password=False)
    connected(ada_at, harbour, account, came_from="wizard")
    path = f"/accounts/{account.id}/servers"
    page = ada_at.get(path)
    assert not page.all("input", id="password")
    typed = {**form_of(page, f"servers-{account.id}"), "imap_host": "imap.elsewhere.example", "imap_port": "993"}
    page = ada_at.post(path, typed)
    assert "somebody has to sign in again" in page.error("imap_host")
    assert ada_at.post(path, {**typed, "signs_in_again": "y"}).location == f"/accounts/{account.id}/method"
    assert stored(account).method is None


def test_password_can_take_the_place_of_oauth_only_when_it_is_typed(ada_at: Browser, harbour: Harbour) -> None:
    account = harbour.account()
    connected(ada_at, harbour, account)
    path = f"/accounts/{account.id}/settings"
    typed = {**form_of(ada_at.get(path), f"account-{account.id}"), "method": "password"}
    assert ada_at.post(path, typed).error("password") == "The password is missing."
    answer = ada_at.post(path, {**typed, "password": PASSWORD})
    assert answer.status == 303
    work()
    assert stored(account).method is SignInMethod.PASSWORD


def test_account_page_names_the_delegate(ada_at: Browser, harbour: Harbour) -> None:
    harbour.idp.may_open.add((TOMAS, SALES))
    account = harbour.account()
    connected(ada_at, harbour, account, TOMAS, kind="person", is_delegate="1")
    assert f"OAuth, by the delegate {TOMAS}" in ada_at.get(f"/accounts/{account.id}").words()


def test_overview_offers_one_button_that_reconnects(ada_at: Browser, harbour: Harbour, session: Session) -> None:
    account = harbour.account()
    connected(ada_at, harbour, account)
    with db.transaction() as own:
        found = accounts.get(own, account.id)
        reason = "The permission was withdrawn"
        trouble: dict[str, Any] = {"category": "oauth", "reason": reason, "permanent": True, "sure": True}
        accounts.record_failure(own, found, direction=Direction.INCOMING, **trouble)
    page = ada_at.get("/")
    form = page.one("form", action=f"/accounts/{account.id}/oauth")
    assert page.words(form) == "Reconnect"
