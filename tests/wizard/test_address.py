"""The first step of a new account: an address is typed, and the page says who runs the mailbox."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailadmin import db, queue
from mailadmin.accounts import service
from mailadmin.accounts.models import Account, Kind, NewContacts, SentCopies, Window
from mailadmin.db import now
from mailadmin.mail.findings import Attempt, Discovery, Finding, Source, as_plain
from mailadmin.mail.types import Direction, LoginFormat, Server, ServerProtocol, TLSMode
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service as providers
from mailadmin.sync.models import Folder
from mailadmin.wizard.models import Lookup
from tests.accounts.factories import PASSWORD, a_provider, an_account, imap, pop3, smtp
from tests.pages import Browser, Page

FILLED = {"address": "sales@example.net", "name": "", "sender_name": "Example Sales", "kind": "shared", "owner_id": "0"}
NAMED = Finding(Source.AUTOCONFIG, "autoconfig.example.net", "Harbour Mail", servers=(imap(), smtp()))
BY_MX = Finding(Source.MX, "aspmx.l.google.com", "Google Workspace and Gmail", known="google")


def learned(*findings: Finding, domain: str = "example.net", **more: Any) -> None:
    """Let a lookup have ended with these answers."""
    attempts = more.pop("attempts", (Attempt(Source.SRV, f"_imaps._tcp.{domain}", problem="none"),))
    found = as_plain(Discovery(domain, findings, attempts, **more))
    with db.transaction() as session:
        session.add(Lookup(domain=domain, started_at=now(), ended_at=now(), found=found))


def answer_of(page: Page) -> dict[str, str]:
    """The form with what the page proposes, as a browser sends it back."""
    offered = [e for e in page.all("option") if e.get("value") not in ("0", None)]
    chosen = [e for e in offered if e.get("selected") is not None] or offered  # A browser sends the first one else.
    return {**FILLED, "asked": page.one("input", name="asked").get("value", ""), "provider": chosen[0].get("value", "")}


def the(session: Session, address: str = "sales@example.net") -> Account:
    account = service.find(session, address)
    assert account is not None
    return account


def test_domain_of_our_own_list_needs_one_click(ada_at: Browser, session: Session) -> None:
    provider = a_provider(session)
    session.commit()
    answer = ada_at.post("/accounts/new", FILLED)
    account = the(session)
    assert answer.location == f"/accounts/{account.id}/method"
    assert (account.provider_id, account.servers) == (provider.id, [])
    assert (account.name, account.sender_name, account.is_set_up) == ("Sales", "Example Sales", False)
    assert session.get(Lookup, "example.net") is None


def test_catalogue_domain_is_adopted(ada_at: Browser, session: Session) -> None:
    ada_at.post("/accounts/new", {**FILLED, "address": "mary.ann@gmail.com"})
    account = the(session, "mary.ann@gmail.com")
    assert account.name == "Mary Ann"
    assert account.provider is not None
    assert account.provider.catalogue_key == "google"


def test_typing_looks_up_and_asks_again_until_the_end(ada_at: Browser, session: Session) -> None:
    page = ada_at.post("/accounts/new/detect", FILLED, htmx=True)
    root = page.one("div", id="found")
    assert root.get("hx-trigger") == "every 700ms"
    assert "Looking up the provider of example.net" in page.words(root)
    assert queue.waiting() is not None
    again = ada_at.get(root.get("hx-get", ""), htmx=True)
    assert again.one("div", id="found").get("hx-get") is not None
    session.delete(session.get(Lookup, "example.net"))
    session.commit()
    learned(NAMED)
    ended = ada_at.get(root.get("hx-get", ""), htmx=True)
    assert ended.one("div", id="found").get("hx-get") is None
    assert "imap.example.net and smtp.example.net" in ended.words()
    assert "Found by set-up file: autoconfig.example.net names the servers" in ended.words()


def test_recognised_domain_is_shown_at_once(ada_at: Browser, session: Session) -> None:
    a_provider(session)
    session.commit()
    page = ada_at.post("/accounts/new/detect", FILLED, htmx=True)
    assert page.one("div", id="found").get("hx-get") is None
    assert "In your provider list: example.net is one of its domains." in page.words()
    assert page.one("input", id="name").get("placeholder") == "Sales"


def test_pressing_enter_before_the_lookup_has_ended_loses_nothing(ada_at: Browser) -> None:
    answer = ada_at.post("/accounts/new", {**FILLED, "name": "Shop", "kind": "team", "team": "Sales"})
    assert answer.status == 303
    page = ada_at.get(answer.location)
    values = {name: page.value(name) for name in ("address", "name", "sender_name", "team")}
    assert values == {"address": "sales@example.net", "name": "Shop", "sender_name": "Example Sales", "team": "Sales"}
    assert page.one("input", value="team").get("checked") is not None
    refresh = page.one("meta", http_equiv="refresh").get("content", "")
    assert "sender_name=Example+Sales" in refresh or "sender_name=Example%20Sales" in refresh
    plain = ada_at.get("/accounts/new/detect?address=sales@example.net&name=Shop")
    assert plain.location.startswith("/accounts/new?address=")


def test_found_servers_become_the_account_s_own(ada_at: Browser, session: Session) -> None:
    login = Finding(Source.SRV, "_imaps._tcp.example.net", servers=(imap(), smtp()), login=LoginFormat.LOCAL_PART)
    learned(login)
    page = ada_at.get("/accounts/new?address=sales@example.net")
    assert ada_at.post("/accounts/new", answer_of(page)).status == 303
    account = the(session)
    assert account.provider is None
    assert (account.own_server(Direction.INCOMING), account.own_server(Direction.OUTGOING)) == (imap(), smtp())
    assert (account.login_format, account.protocol) == (LoginFormat.LOCAL_PART, ServerProtocol.IMAP)


def test_pop3_server_that_was_found_too_is_filled_in_for_whoever_switches(ada_at: Browser, session: Session) -> None:
    other = Finding(Source.PROBE, "mail", servers=(imap("mail.example.net"), pop3("mail.example.net")))
    learned(Finding(Source.SRV, "example.net", servers=(imap(), pop3(port=110, tls_mode=TLSMode.STARTTLS))), other)
    begun = ada_at.post("/accounts/new", answer_of(ada_at.get("/accounts/new?address=sales@example.net"))).location
    typed = {"version": "1", "method": "password", "password": PASSWORD}
    page = ada_at.get(ada_at.post(begun, typed).location)
    assert page.one("input", value="imap").get("checked") is not None
    filled = [page.value(f"pop3_{part}") for part in ("host", "port", "tls_mode")]
    assert filled == ["pop.example.net", "110", "starttls"]
    assert the(session).own_server(Direction.INCOMING) == imap()
    assert page.value("smtp_host") == ""


def test_answer_that_nobody_has_seen_is_shown_before_it_is_taken(ada_at: Browser, session: Session) -> None:
    learned(NAMED)
    answer = ada_at.post("/accounts/new", {**FILLED, "asked": "example.com", "provider": "imap"})
    assert answer.location.startswith("/accounts/new?")
    assert service.find(session, "sales@example.net") is None


def test_mx_leads_to_a_known_provider_and_to_its_advice(ada_at: Browser, session: Session) -> None:
    learned(BY_MX)
    page = ada_at.get("/accounts/new?address=sales@example.net")
    assert "mail for example.net goes to aspmx.l.google.com (MX record)." in page.words()
    assert "needs an app password" in page.words()
    ada_at.post("/accounts/new", answer_of(page))
    provider = the(session).provider
    assert provider is not None
    assert "example.net" in {row.domain for row in provider.domains}


def test_all_answers_are_listed_and_another_can_be_chosen(ada_at: Browser, session: Session) -> None:
    other = Finding(Source.PROBE, "mail.example.net", "mail.example.net", servers=(imap("mail.example.net"),))
    learned(NAMED, other)
    page = ada_at.get("/accounts/new?address=sales@example.net")
    assert (
        "mail.example.net (mail.example.net). Found by trying the usual names: mail.example.net answered."
        in page.words()
    )
    ada_at.post("/accounts/new", {**answer_of(page), "provider": "probe"})
    assert the(session).own_server(Direction.INCOMING) == imap("mail.example.net")


def test_filter_in_front_leads_to_a_question(ada_at: Browser, session: Session) -> None:
    learned(gateway="Proofpoint")
    page = ada_at.get("/accounts/new?address=sales@example.net")
    assert "Proofpoint filters the mail of example.net" in page.words()
    ways = {e.get("value"): e.get("checked") for e in page.all("input", name="way")}
    assert {"known:google", "imap", "choose"} <= ways.keys()
    assert set(ways.values()) == {None}
    unanswered = ada_at.post("/accounts/new", answer_of(page))
    assert unanswered.error("way") == "Choose who runs the mailbox."
    unanswered = ada_at.post("/accounts/new", {**answer_of(unanswered), "way": "choose"})
    assert unanswered.error("way") == "Choose who runs the mailbox."
    ada_at.post("/accounts/new", {**FILLED, "asked": "example.net", "way": "known:google"})
    assert the(session).provider is not None


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_nobody_knows_and_it_goes_on_by_hand(ada_at: Browser, session: Session, protocol: str) -> None:
    learned(problem="example.net takes no mail.")
    page = ada_at.get("/accounts/new?address=sales@example.net")
    assert "We could not tell who runs example.net" in page.words()
    assert "DNS service records: none" in page.words()
    assert page.one("input", value="imap", name="way").get("checked") is not None
    ada_at.post("/accounts/new", {**FILLED, "asked": "example.net", "way": protocol})
    account = the(session)
    assert (account.provider, account.servers, account.protocol) == (None, [], protocol)


def test_by_hand_at_a_recognised_domain_stays_by_hand(ada_at: Browser, session: Session) -> None:
    a_provider(session)
    session.commit()
    ada_at.post("/accounts/new", {**FILLED, "asked": "example.net", "provider": "imap"})
    assert the(session).provider is None


def test_provider_from_the_list(ada_at: Browser, session: Session) -> None:
    learned()
    other = a_provider(session, domains=("example.com",))
    session.commit()
    typed = {**FILLED, "asked": "example.net", "way": "choose", "provider": f"provider:{other.id}"}
    ada_at.post("/accounts/new", typed)
    assert the(session).provider_id == other.id


@pytest.mark.parametrize(
    "key", ["provider:99", "provider:99999999999999999999", "provider:x", "known:nobody", "nonsense", "same"]
)
def test_choice_that_does_not_exist_is_refused(ada_at: Browser, session: Session, key: str) -> None:
    learned()
    page = ada_at.post("/accounts/new", {**FILLED, "asked": "example.net", "way": "choose", "provider": key})
    assert page.status == 422 or page.status == 404
    assert service.find(session, "sales@example.net") is None


def test_lookup_that_nobody_does_is_told_and_does_not_keep_anybody(
    ada_at: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada_at.post("/accounts/new/detect", FILLED, htmx=True)
    with db.transaction() as session:
        session.get_one(Lookup, "example.net").asked_at = now() - timedelta(seconds=10)
    page = ada_at.get("/accounts/new?address=sales@example.net")
    assert "No runner has answered yet" in page.words()
    assert page.all("input", name="way")
    monkeypatch.setattr(queue, "waiting", lambda: None)
    assert "The queue cannot be reached" in ada_at.get("/accounts/new?address=sales@example.net").words()


@pytest.mark.parametrize("is_set_up", [True, False])
def test_address_that_is_there_already_leads_to_its_account(ada_at: Browser, session: Session, is_set_up: bool) -> None:
    account = an_account(session, address="sales@example.net", is_set_up=is_set_up)
    session.commit()
    way = f"/accounts/{account.id}" if is_set_up else f"/accounts/{account.id}/set-up"
    page = ada_at.post("/accounts/new", {**FILLED, "address": "Sales@Example.net"})
    assert page.error("address") == "There is an account for sales@example.net already."
    assert page.all("a", href=way)
    assert ada_at.post("/accounts/new/detect", FILLED, htmx=True).all("a", href=way)


def test_every_mistake_is_shown_at_its_field_and_what_was_typed_stays(ada_at: Browser) -> None:
    page = ada_at.post("/accounts/new", {**FILLED, "address": "sales", "kind": "personal", "name": "x" * 121})
    assert page.status == 422
    assert all(page.error(name) for name in ("address", "owner_id", "name"))
    assert (page.value("address"), page.value("sender_name")) == ("sales", "Example Sales")
    assert ada_at.post("/accounts/new", {**FILLED, "kind": "team"}).error("team")
    page = ada_at.post("/accounts/new/detect", {**FILLED, "address": "sales@@"}, htmx=True)
    assert page.status == 200
    assert "is not a domain" in page.words() or "cannot be in an address" in page.words()


def test_team_and_owner_are_stored(ada_at: Browser, ada: Person, session: Session) -> None:
    a_provider(session)
    session.commit()
    ada_at.post("/accounts/new", {**FILLED, "kind": "team", "team": "Sales"})
    ada_at.post("/accounts/new", {**FILLED, "address": "ada@example.net", "kind": "personal", "owner_id": str(ada.id)})
    team = the(session).team
    assert team is not None
    assert team.name == "Sales"
    assert the(session, "ada@example.net").owner_id == ada.id
    assert [e.get("value") for e in ada_at.get("/accounts/new").all("option") if e.get("value") == "Sales"]


# An unfinished account, and a copy.


def test_unfinished_account_can_get_another_address(ada_at: Browser, session: Session) -> None:
    provider = a_provider(session)
    account = an_account(session, address="slaes@example.net", provider_id=provider.id, is_set_up=False)
    session.commit()
    path = f"/accounts/{account.id}/address"
    page = ada_at.get(path)
    assert (page.value("address"), page.value("name")) == ("slaes@example.net", "slaes@example.net")
    assert "Chosen before" in page.words()
    answer = ada_at.post(
        path, {**FILLED, "version": page.value("version") or page.one("input", name="version").get("value")}
    )
    assert answer.location == f"/accounts/{account.id}/method"
    session.expire_all()
    assert service.get(session, account.id).address == "sales@example.net"
    assert service.legs(session, account)[Direction.INCOMING].how.password == PASSWORD


def test_password_is_forgotten_when_the_account_goes_elsewhere(ada_at: Browser, session: Session) -> None:
    account = an_account(session, address="sales@example.net", is_set_up=False)
    other = a_provider(session, domains=("example.com",), incoming=imap("imap.example.com"))
    session.commit()
    path = f"/accounts/{account.id}/address"
    typed = {**FILLED, "address": "sales@example.com", "version": str(account.version)}
    assert ada_at.post(path, typed).status == 303
    session.expire_all()
    changed = service.get(session, account.id)
    assert (changed.provider_id, changed.servers, changed.credentials) == (other.id, [], [])


def test_second_of_two_administrators_is_told(ada_at: Browser, session: Session) -> None:
    account = an_account(session, address="sales@example.net", is_set_up=False)
    session.commit()
    path = f"/accounts/{account.id}/address"
    typed = {**FILLED, "asked": "example.net", "provider": "same"}
    page = ada_at.post(path, {**typed, "version": str(account.version + 5)})
    assert "Somebody else changed this account meanwhile" in page.words()
    again = page.one("input", name="version").get("value", "")
    assert ada_at.post(path, {**typed, "version": again}).status == 303


def test_finished_account_has_no_first_step(ada_at: Browser, session: Session) -> None:
    account = an_account(session)
    session.commit()
    assert ada_at.get(f"/accounts/{account.id}/address").location == f"/accounts/{account.id}/settings"


@pytest.fixture
def original(session: Session, ada: Person) -> Account:
    """An account with everything that a copy takes over, and what it does not."""
    server = Server(ServerProtocol.IMAP, "imap.example.net", 1993, TLSMode.STARTTLS)
    account = an_account(
        session,
        address="orders@example.net",
        name="Orders",
        slug="orders",
        sender_name="Example Ltd",
        kind=Kind.TEAM,
        team="Sales",
        is_primary=True,
        notes="Ask Wim",
        reply_to="wim@example.net",
        incoming=server,
        outgoing=smtp(),
        sent_copies=SentCopies.NEVER,
        new_contacts=NewContacts.WRITTEN_TO,
    )
    account.window = Window.EVERYTHING
    for path, is_active in (("INBOX", True), ("Lists", False)):
        session.add(Folder(account_id=account.id, path=path, name=path, is_active=is_active))
    session.commit()
    return account


def test_copy_takes_all_but_address_names_and_secrets(ada_at: Browser, session: Session, original: Account) -> None:
    organisation.rename(session, name="Example Ltd")
    organisation.change_teams(session, use_slots=False, have_many_accounts=True, actor=SYSTEM)
    session.commit()
    page = ada_at.get(f"/accounts/new?copy={original.id}")
    assert "A copy of orders@example.net" in page.words()
    assert (page.value("address"), page.value("name"), page.value("team")) == ("", "", "Sales")
    typed = {**FILLED, "kind": "team", "team": "Sales", "copy": str(original.id)}
    assert ada_at.post("/accounts/new", typed).status == 303
    copy = the(session)
    assert copy.own_server(Direction.INCOMING) == original.own_server(Direction.INCOMING)
    assert (copy.sent_copies, copy.new_contacts) == (SentCopies.NEVER, NewContacts.WRITTEN_TO)
    assert (copy.window, copy.team_id, copy.name) == (Window.EVERYTHING, original.team_id, "Sales")
    assert (copy.credentials, copy.is_primary, copy.slug, copy.notes) == ([], False, "sales-example-net", "")
    folders = session.query(Folder).filter_by(account_id=copy.id).order_by(Folder.path)
    assert [(folder.path, folder.is_active) for folder in folders] == [("INBOX", True), ("Lists", False)]


def test_copy_for_a_domain_of_another_provider_goes_there(ada_at: Browser, session: Session, original: Account) -> None:
    other = a_provider(session, domains=("example.com",))
    session.commit()
    ada_at.post("/accounts/new", {**FILLED, "address": "sales@example.com", "copy": str(original.id)})
    assert the(session, "sales@example.com").provider_id == other.id


def test_copy_of_an_account_that_is_gone_is_a_new_account(ada_at: Browser) -> None:
    for number in ("99", "9" * 30, "x"):
        page = ada_at.get(f"/accounts/new?copy={number}&owner_id={number}")
        assert page.status == 200
        assert "A copy of" not in page.words()
    assert ada_at.get("/accounts/new/detect?account=" + "9" * 30, htmx=True).status == 200


def test_providers_that_let_nobody_in_say_so(ada_at: Browser, session: Session) -> None:
    closed = [known for known in providers.known_providers.everyone().values() if known.closed and known.domains]
    if not closed:
        pytest.skip("the catalogue has no such provider")
    address = f"wim@{closed[0].domains[0]}"
    page = ada_at.post("/accounts/new", {**FILLED, "address": address})
    assert page.status in (303, 422)
    page = ada_at.get(f"/accounts/new?address={address}")
    assert "has no IMAP for others" in page.words()
    assert service.find(session, address) is None
