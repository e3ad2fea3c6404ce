"""The settings of an account in the browser: all are shown, and new connections are tested before they count."""

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db, queue
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Kind, NewContacts, SentCopies, Window
from mailadmin.activity import service as activity
from mailadmin.connections import service as connections
from mailadmin.connections.models import Check
from mailadmin.contacts.models import Contact
from mailadmin.mail.types import Direction, LoginFormat, ServerProtocol, SignInMethod
from mailadmin.people.models import Person
from tests.accounts.factories import PASSWORD, a_provider, an_account, imap, smtp
from tests.pages import Browser
from tests.sync.settling import a_letter, a_mailbox, put, settle

OWN = {
    "own_servers": "y",
    "imap_host": "imap.example.net",
    "imap_port": "993",
    "smtp_host": "smtp.example.net",
    "smtp_port": "465",
}
AS_IT_IS: dict[str, Any] = {
    "address": "billing@example.net",
    "slug": "billing-example-net",
    "name": "billing@example.net",
    "kind": "shared",
    "owner_id": "0",
    "provider_id": "0",
    "protocol": "imap",
    "method": "password",
    "login_format": "address",
    "same_credentials": "y",
    "sent_copies": "automatic",
    "new_contacts": "everybody",
    "window": "3m",
    **{f"{protocol}_tls_mode": "implicit" for protocol in ("imap", "pop3", "smtp")},
    **OWN,
}


@pytest.fixture
def account(booted: object) -> Account:
    with db.transaction() as session:
        return an_account(session)


def typed(account: Account, **more: Any) -> dict[str, Any]:
    """The form as it comes, with changes; no password is typed."""
    return {**AS_IT_IS, "version": str(account.version), **more}


def path(account: Account) -> str:
    return f"/accounts/{account.id}/settings"


def test_everything_is_shown_but_secrets(ada_at: Browser, account: Account) -> None:
    page = ada_at.get(path(account))
    shown = {name: page.value(name) for name in AS_IT_IS if name in ("slug", "name", "window", "sent_copies", *OWN)}
    assert shown == {name: AS_IT_IS[name] for name in shown}
    assert page.one("input", id="address").get("readonly") is not None
    assert PASSWORD not in page.text


def test_names_and_rules_are_saved_without_a_test(ada_at: Browser, account: Account, session: Session) -> None:
    change = {
        "name": "Invoices",
        "slug": "Invoices",
        "sender_name": "Example Ltd",
        "sender_address": "post@example.net",
        "reply_to": "all@example.net",
        "kind": "team",
        "team": "Finance",
        "notes": "Ask Ann\r\nor Ben",
        "sent_copies": "never",
        "new_contacts": "written to",
        "sync_minutes": "30",
        "window": "everything",
    }
    page = ada_at.post(path(account), typed(account, **change), follow=True)
    assert "Saved" in page.text
    assert {name: page.value(name) for name in ("name", "team", "sync_minutes")} == {
        name: change[name] for name in ("name", "team", "sync_minutes")
    }
    changed = service.get(session, account.id)
    assert (changed.slug, changed.kind, changed.team and changed.team.name) == ("invoices", Kind.TEAM, "Finance")
    assert (changed.sender_address, changed.reply_to) == ("post@example.net", "all@example.net")
    assert (changed.sent_copies, changed.new_contacts) == (SentCopies.NEVER, NewContacts.WRITTEN_TO)
    assert (changed.notes, changed.sync_minutes) == ("Ask Ann\nor Ben", 30)
    assert (changed.window, changed.since) == (Window.EVERYTHING, None)
    assert connections.latest(session, account.id) is None
    assert service.legs(session, changed)[Direction.INCOMING].how.password == PASSWORD


def test_every_mistake_is_told_at_its_field_and_what_was_typed_stays(ada_at: Browser, account: Account) -> None:
    wrong = {"slug": "a b", "imap_host": "imap example", "imap_port": "465", "reply_to": "x@", "sync_minutes": "soon"}
    page = ada_at.post(path(account), typed(account, **wrong, kind="team", password="typed 9"), htmx=True)
    assert page.status == 422
    assert page.error("imap_port") == "465 is for SMTP. IMAP uses 993 or 143."
    assert all(page.error(name) for name in (*wrong, "team"))
    assert {name: page.value(name) for name in wrong} == wrong
    assert "Please correct 7 fields" in page.text
    assert "Type it again" in page.error("password")
    assert "typed 9" not in page.text


def test_mistakes_are_listed_in_the_order_of_the_page(ada_at: Browser, account: Account) -> None:
    long = "x" * 300
    texts = ("slug", "name", "sender_name", "team", "username", "sending_username", "pop3_host", "smtp_host")
    wrong: dict[str, str] = dict.fromkeys(texts, long)
    wrong |= {"reply_to": "x@", "sender_address": "@", "login_format": "by hand", "protocol": "pop3", "kind": "team"}
    wrong |= {"same_credentials": "", "notes": long * 100, "sync_minutes": "soon", "method": "magic"}
    page = ada_at.post(path(account), typed(account, **wrong), htmx=True)
    told = [link.get("href", "")[1:] for link in page.all("a") if link.get("href", "").startswith("#")]
    there = [each.get("id") for each in page.root.iter() if each.get("id") in told]
    assert len(told) > 12
    assert told == there


@pytest.mark.parametrize("minutes", ["0", "1441", "²", "9" * 40])
def test_interval_that_cannot_be_is_told(ada_at: Browser, account: Account, minutes: str) -> None:
    assert ada_at.post(path(account), typed(account, sync_minutes=minutes)).error("sync_minutes")


@pytest.mark.parametrize(("chosen", "kept"), [("24", 24), ("", None)])
def test_how_long_mail_is_kept_is_chosen(ada_at: Browser, account: Account, chosen: str, kept: int | None) -> None:
    page = ada_at.post(path(account), typed(account, keep_months=chosen), follow=True)
    assert page.value("keep_months") == chosen
    with db.reading() as session:
        account = service.get(session, account.id)
    assert account.keep_months == kept
    assert ada_at.post(path(account), typed(account, keep_months="5")).error("keep_months")


def test_another_rule_for_contacts_has_older_mail_gone_through_again(ada_at: Browser, booted: object) -> None:
    account = a_mailbox(new_contacts=NewContacts.NOBODY)
    put(account, a_letter(1))
    settle(account)
    kept = typed(account, smtp_host="", smtp_port="", window="everything")
    assert ada_at.post(path(account), {**kept, "version": "1", "new_contacts": "everybody"}).status == 303
    settle(account)
    with db.reading() as session:
        assert session.scalars(select(Contact.address)).all() == ["ada@example.org"]


def test_id_of_another_account_is_refused(ada_at: Browser, account: Account) -> None:
    with db.transaction() as session:
        an_account(session, address="info@example.net")
    page = ada_at.post(path(account), typed(account, slug="info-example-net"))
    assert page.error("slug") == "Another account has the ID info-example-net already."


def test_primary_account_takes_over_and_says_from_whom(ada_at: Browser, account: Account, session: Session) -> None:
    with db.transaction() as other:
        old_id = an_account(other, address="info@example.net", is_primary=True).id
    assert "It takes over from info@example.net." in ada_at.get(path(account)).text
    page = ada_at.post(path(account), typed(account, is_primary="y"), follow=True)
    assert "It is the primary account now, in place of info@example.net" in page.text
    assert [service.get(session, id_).is_primary for id_ in (account.id, old_id)] == [True, False]
    assert activity.of_account(session, old_id)[0].what.startswith("made billing@example.net the primary account")


def test_new_password_waits_until_it_has_passed_a_test(ada_at: Browser, account: Account, session: Session) -> None:
    change = typed(account, name="Invoices", password=" new one ")
    page = ada_at.post(path(account), change, htmx=True)
    assert page.headers["HX-Retarget"] == "#trial"
    assert "saves=1" in page.text
    assert queue.waiting() == {**dict.fromkeys(queue.Line, 0), queue.Line.INTERACTIVE: 1}
    unchanged = service.get(session, account.id)
    assert (unchanged.name, unchanged.version) == ("billing@example.net", account.version)
    assert service.legs(session, unchanged)[Direction.OUTGOING].how.password == PASSWORD
    session.rollback()
    whole = ada_at.post(path(account), change)
    assert whole.location.startswith("/tests/")
    assert whole.location.endswith("?saves=1")
    assert "keeps its old settings until the new ones have passed" in ada_at.get(whole.location).text


def test_who_wants_it_at_once_gets_it_and_a_test(ada_at: Browser, account: Account, session: Session) -> None:
    answer = ada_at.post(path(account), typed(account, password=" new one ", at_once="y"), htmx=True)
    assert answer.headers["HX-Redirect"] == f"/accounts/{account.id}/connection"
    changed = service.get(session, account.id)
    assert service.legs(session, changed)[Direction.OUTGOING].how.password == " new one "
    assert connections.latest(session, account.id) is not None


def test_queue_that_is_gone_is_told_and_nothing_is_lost(
    ada_at: Browser, account: Account, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "ring", lambda *args, **more: False)
    page = ada_at.post(path(account), typed(account, password="new one", at_once="y"), follow=True)
    assert "The queue cannot be reached." in page.text
    assert connections.latest(session, account.id) is not None


def test_all_passwords_that_would_go_elsewhere_are_asked_for_together(
    ada_at: Browser, account: Account, session: Session
) -> None:
    own = {"same_credentials": "", "sending_username": "relay", "sending_password": "relay secret", "at_once": "y"}
    assert ada_at.post(path(account), typed(account, **own)).status == 303
    own |= {"sending_password": "", "version": str(service.get(session, account.id).version)}
    session.rollback()
    moved = {"imap_host": "evil.example.com", "smtp_port": "2525"}
    page = ada_at.post(path(account), typed(account, **{**own, **moved}))
    assert page.error("password").startswith("The server changed, so type the password again")
    assert page.error("sending_password").startswith("The port changed, so type the password again")
    assert page.value("imap_host") == "evil.example.com"
    assert page.value("sending_username") == "relay"
    assert "relay secret" not in page.text
    both = {**own, **moved, "password": "a", "sending_password": "b"}
    assert ada_at.post(path(account), typed(account, **both)).status == 303


def test_empty_port_is_the_usual_one_and_a_port_of_another_security_is_told(
    ada_at: Browser, account: Account, session: Session
) -> None:
    wanted = {"imap_tls_mode": "starttls", "imap_port": "", "smtp_tls_mode": "starttls", "smtp_port": "465"}
    page = ada_at.post(path(account), typed(account, **wanted))
    assert (page.value("imap_port"), page.value("smtp_port")) == ("143", "465")
    assert page.error("smtp_port") == "465 is for SSL/TLS, and STARTTLS uses 587. Change the port or the security."
    wanted["smtp_port"] = "587"
    page = ada_at.post(path(account), typed(account, **wanted))
    assert (page.value("imap_port"), page.value("smtp_port")) == ("143", "587")
    assert page.error("password").startswith("The port changed")
    answer = ada_at.post(path(account), typed(account, **wanted, password="again", at_once="y"))
    assert answer.status == 303
    changed = service.get(session, account.id)
    assert [str(service.server_of(changed, d)) for d in Direction] == [
        "imap:imap.example.net:143:starttls",
        "smtp:smtp.example.net:587:starttls",
    ]


def test_account_goes_over_to_pop3_and_to_a_user_name_of_its_own(
    ada_at: Browser, account: Account, session: Session
) -> None:
    wanted = {
        "protocol": "pop3",
        "pop3_host": "pop.example.net",
        "pop3_port": "995",
        "password": "again",
        "at_once": "y",
        "login_format": "by hand",
        "username": "u1234",
        "method": "app password",
    }
    assert ada_at.post(path(account), typed(account, **{**wanted, "username": ""})).error("username")
    assert ada_at.post(path(account), typed(account, **wanted)).status == 303
    changed = service.get(session, account.id)
    assert (changed.protocol, changed.method) == (ServerProtocol.POP3, SignInMethod.APP_PASSWORD)
    assert service.user_name(changed, Direction.OUTGOING) == "u1234"
    page = ada_at.get(path(account))
    assert (page.value("pop3_host"), page.value("login_format")) == ("pop.example.net", "by hand")


def test_only_people_we_wrote_to_is_not_for_pop3(ada_at: Browser, account: Account, session: Session) -> None:
    pop = {"protocol": "pop3", "pop3_host": "pop.example.net", "pop3_port": "995", "password": "again", "at_once": "y"}
    page = ada_at.post(path(account), typed(account, **pop, new_contacts="written to"))
    assert page.error("new_contacts").startswith("POP3 has no Sent folder")
    assert ada_at.post(path(account), typed(account, new_contacts="written to")).status == 303
    with db.transaction() as writing:
        old = service.get(writing, account.id)
        old.protocol, version = ServerProtocol.POP3, str(old.version)
    page = ada_at.get(path(account))
    hint = page.one("input", value="written to").get("aria-describedby", "")
    assert "no Sent folder" in page.words(page.one("span", id=hint))
    kept = typed(account, **pop, new_contacts="written to", version=version)
    assert ada_at.post(path(account), kept).status == 303  # It was so before: the rest can be saved.


def test_login_format_of_the_provider_is_followed_until_another_is_chosen(
    ada_at: Browser, account: Account, session: Session
) -> None:
    provider = a_provider(session, login_format=LoginFormat.LOCAL_PART)
    session.commit()
    at_provider = {"own_servers": "", "provider_id": str(provider.id), "at_once": "y"}
    assert ada_at.post(path(account), typed(account, **at_provider)).status == 303
    changed = service.get(session, account.id)
    assert (changed.login_format, changed.servers) == (None, [])
    assert service.user_name(changed, Direction.INCOMING) == "billing"
    windows = {**at_provider, "login_format": "windows", "version": str(changed.version)}
    session.rollback()
    assert ada_at.post(path(account), typed(account, **windows)).status == 303
    session.rollback()
    changed = service.get(session, account.id)
    assert service.user_name(changed, Direction.INCOMING) == "EXAMPLE\\billing"


def test_own_servers_of_an_account_keep_its_provider(ada_at: Browser, session: Session) -> None:
    provider = a_provider(session)
    account = an_account(session, provider_id=provider.id)
    session.commit()
    own = {"provider_id": str(provider.id), "smtp_host": "relay.example.com", "password": "again", "at_once": "y"}
    assert ada_at.post(path(account), typed(account, **own)).status == 303
    session.rollback()
    changed = service.get(session, account.id)
    assert changed.provider_id == provider.id
    assert (changed.server(Direction.INCOMING), changed.server(Direction.OUTGOING)) == (
        imap(),
        smtp("relay.example.com"),
    )


def test_second_of_two_administrators_is_told_and_loses_nothing(
    ada_at: Browser, account: Account, session: Session
) -> None:
    ada_at.post(path(account), typed(account, name="First"))
    page = ada_at.post(path(account), typed(account, name="Second"), htmx=True)
    assert page.status == 422
    assert "Somebody else changed this account meanwhile" in page.text
    assert page.value("name") == "Second"
    again = typed(account, name="Second", version=page.value("version"))
    assert ada_at.post(path(account), again).status == 303
    assert service.get(session, account.id).name == "Second"


def test_reconnect_leads_to_the_password_with_the_reason(ada_at: Browser, account: Account) -> None:
    with db.transaction() as session:
        found = service.get(session, account.id)
        said = {"reason": "The server refused the password", "permanent": True, "sure": True}
        category = "auth"
        service.record_failure(session, found, direction=Direction.INCOMING, category=category, **said)  # type: ignore[arg-type]
    page = ada_at.get(f"{path(account)}?reconnect=1")
    assert page.one("input", id="password").get("autofocus") is not None
    assert "The server refused the password" in page.text
    assert ada_at.get(path(account)).one("input", id="password").get("autofocus") is None


def test_name_that_a_test_has_found_is_filled_in_and_no_other(ada_at: Browser, account: Account) -> None:
    fix = {"direction": "outgoing", "kind": "name", "server": "smtp:mail.example.net:465:implicit"}
    with db.transaction() as session:
        diagnosis = {"direction": "outgoing", "fixes": [fix]}
        session.add(Check(account_id=account.id, requested_by="Ada", finished_at=db.now(), diagnosis=diagnosis))
    page = ada_at.get(f"{path(account)}?direction=outgoing&host=mail.example.net")
    assert (page.value("smtp_host"), page.value("imap_host")) == ("mail.example.net", "imap.example.net")
    assert "again" in page.error("password")
    for other in ("direction=outgoing&host=evil.example.com", "direction=sideways&host=mail.example.net"):
        assert ada_at.get(f"{path(account)}?{other}").value("smtp_host") == "smtp.example.net"


def test_unfinished_account_is_changed_without_a_test_or_a_password(ada_at: Browser, session: Session) -> None:
    draft = an_account(session, is_set_up=False)
    session.commit()
    page = ada_at.get(path(draft))
    assert not page.all("select", id="window")
    assert page.one("input", id="address").get("readonly") is None
    answer = ada_at.post(path(draft), typed(draft, address="bills@example.net", kind="personal"))
    assert answer.error("owner_id")
    assert ada_at.post(path(draft), typed(draft, address="bills@example.net")).location == path(draft)
    session.expire_all()
    assert service.get(session, draft.id).address == "bills@example.net"


def test_personal_account_gets_its_owner(ada_at: Browser, account: Account, ada: Person, session: Session) -> None:
    ada_at.post(path(account), typed(account, kind="personal", owner_id=str(ada.id)))
    assert service.get(session, account.id).owner_id == ada.id


def test_whoever_makes_a_personal_account_a_shared_one_is_warned_before(
    ada_at: Browser, account: Account, ada: Person
) -> None:
    assert "Ask" not in ada_at.get(path(account)).words()
    ada_at.post(path(account), typed(account, kind="personal", owner_id=str(ada.id)))
    page = ada_at.get(path(account))
    [notice] = [each for each in page.all("div", class_="notice") if each.get("data-tone") == "warn"]
    assert f"Ask {ada.name} first." in page.words(notice)
    assert notice in page.one("section", aria_labelledby="about-kind").iter()  # beside the choice


def test_account_that_is_gone_is_a_404(ada_at: Browser) -> None:
    assert ada_at.get("/accounts/999999/settings").status == 404
    assert ada_at.post("/accounts/999999/settings", AS_IT_IS).status == 404


def test_control_characters_pasted_into_a_field_are_dropped(ada_at: Browser, account: Account) -> None:
    page = ada_at.post(path(account), typed(account, name="Wim\x00\x1b", reply_to="no"))
    assert page.value("name") == "Wim"
