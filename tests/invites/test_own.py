"""Somebody who is signed in connects mailboxes of their own: adding, connecting anew, help, and who sees what of it."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Health, Kind
from mailadmin.activity.models import Activity
from mailadmin.invites import links, service
from mailadmin.invites.progress import MOST_TRIES
from mailadmin.mail.findings import Discovery, Finding, Source, as_plain
from mailadmin.mail.types import Direction, Server, ServerProtocol, SignInMethod, TLSMode
from mailadmin.organisation import service as organisation
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.providers import service as providers
from mailadmin.wizard.models import Lookup
from tests.factories import PASSWORD as SIGN_IN
from tests.invites.post import a_company, asked, done, invite_of, letters, refused, text_of
from tests.oauth.harbour import PASSWORD, SALES, Harbour, path_of, work
from tests.pages import Browser

WRONG = "not this one 9"
MINE = "/profile/accounts"


def switched(*, on: bool) -> None:
    with db.transaction() as session:
        organisation.rename(session, name="Example Ltd")
        organisation.let_workers_add_accounts(session, may=on, actor=SYSTEM)


@pytest.fixture
def wim_at(app: Flask, ada: Person, wim: Person) -> Browser:
    """Wim at his browser, in an organisation whose workers add accounts by themselves."""
    switched(on=True)
    browser = Browser(app)
    browser.sign_in(wim.email, SIGN_IN)
    return browser


@pytest.fixture
def harbour_mail(harbour: Harbour, booted: object) -> Harbour:
    """A provider that takes passwords alone."""
    with db.transaction() as session:
        harbour.provider(session, methods=frozenset({SignInMethod.PASSWORD}))
    return harbour


def accounts_of(person: Person) -> list[Account]:
    with db.reading() as session:
        query = select(Account).where(Account.owner_id == person.id, Account.deleting_at.is_(None))
        return list(session.scalars(query.order_by(Account.id)).unique())


def added(browser: Browser, address: str = SALES) -> int:
    """Add an account at a provider that is known; its number."""
    page = browser.post(f"{MINE}/new", {"address": address})
    assert page.status == 303, page.words()
    assert page.location.endswith("/connect"), page.location
    return int(page.location.split("/")[3])


def connected(browser: Browser, password: str = PASSWORD, address: str = SALES) -> int:
    """Add one and let it set itself up."""
    account_id = added(browser, address)
    browser.post(f"{MINE}/{account_id}/connect", {"password": password})
    done()
    return account_id


def told(account_id: int) -> list[tuple[str, str]]:
    """Who did what to the account, oldest first."""
    with db.reading() as session:
        query = select(Activity).where(Activity.account_id == account_id).order_by(Activity.id)
        return [(row.person_name, row.what) for row in session.scalars(query)]


def test_a_worker_adds_a_mailbox_and_types_its_password_twice(
    harbour_mail: Harbour, wim_at: Browser, wim: Person
) -> None:
    assert "No account of your own yet" in wim_at.get(MINE).words()
    account_id = added(wim_at)
    page = wim_at.get(f"{MINE}/{account_id}/connect")
    assert "Connect sales@example.org" in page.words()
    assert "Sent encrypted to localhost and tested at once. Nobody at Example Ltd can read it." in page.words()
    page = wim_at.post(f"{MINE}/{account_id}/connect", {"password": WRONG}, follow=True)
    assert "Connecting sales@example.org" in page.words()
    done()
    page = wim_at.get(f"{MINE}/{account_id}/connect")
    assert "The server refused this password" in page.words()
    assert page.error("password") == "Refused by localhost."
    assert "The last try failed" in wim_at.get(MINE).words()
    page = wim_at.post(f"{MINE}/{account_id}/connect", {"password": PASSWORD})
    assert "It is being connected" in wim_at.get(f"{MINE}/now", htmx=True).words()
    done()
    (account,) = accounts_of(wim)
    assert (account.kind, account.is_set_up, account.sender_name) == (Kind.PERSONAL, True, "Wim de Vries")
    assert accounts.state_of(account) == "connected"
    assert told(account_id)[0] == ("Wim de Vries", "added sales@example.org")
    assert ("Wim de Vries", "connected sales@example.org") in told(account_id)
    assert wim_at.get(f"/mailbox/{account_id}").status == 200
    assert WRONG not in page.text


def test_the_page_of_a_try_leads_to_the_list_when_it_has_ended(harbour_mail: Harbour, wim_at: Browser) -> None:
    account_id = added(wim_at)
    wim_at.post(f"{MINE}/{account_id}/connect", {"password": PASSWORD})
    page = wim_at.get(f"{MINE}/{account_id}/connect/progress", htmx=True)
    assert [e.get("hx-trigger") for e in page.all("div", id="try")] == ["every 1s"]
    work()
    page = wim_at.get(f"{MINE}/{account_id}/connect/progress", htmx=True)
    assert page.headers["HX-Redirect"] == MINE
    assert "sales@example.org is connected." in wim_at.get(MINE).words()
    done()  # The clock has written it down, and a page that looks only now leads there too.
    assert wim_at.get(f"{MINE}/{account_id}/connect/progress").location == MINE
    assert "Reconnect sales@example.org" in wim_at.get(f"{MINE}/{account_id}/connect").words()


def test_what_is_connected_already_is_not_added_and_nobody_learns_whose_it_is(
    harbour_mail: Harbour, ada_at: Browser, ada: Person, app: Flask, wim: Person, wim_at: Browser
) -> None:
    added(ada_at)
    page = wim_at.post(f"{MINE}/new", {"address": SALES.upper()})
    assert page.status == 422
    assert (
        page.error("address")
        == "sales@example.org is connected here already. Ask an administrator if it should be yours."
    )
    assert "Ada" not in page.error("address")
    assert "among your accounts" in ada_at.post(f"{MINE}/new", {"address": SALES}).error("address")


def test_without_the_setting_no_worker_adds_any_but_looks_after_what_is_there(
    harbour_mail: Harbour, wim_at: Browser, wim: Person, ada_at: Browser
) -> None:
    account_id = connected(wim_at)
    switched(on=False)
    page = wim_at.get(MINE)
    assert "New accounts are added by your administrators." in page.words()
    assert not page.all("a", href=f"{MINE}/new")
    page = wim_at.post(f"{MINE}/new", {"address": "wim@example.org"})
    assert "leaves new accounts to its administrators" in page.words()
    assert wim_at.post(f"{MINE}/new/help", {"address": "wim@elsewhere.example"}).status == 422
    assert len(accounts_of(wim)) == 1
    assert "is paused" in wim_at.post(f"{MINE}/{account_id}/deed", {"do": "pause"}, follow=True).words()
    wim_at.post(f"{MINE}/{account_id}/connect", {"password": PASSWORD})
    done()
    assert invite_of(accounts_of(wim)[0]).ending == service.CONNECTED
    assert added(ada_at, "support@example.org")  # Who manages all accounts may do so for their own.


def test_what_an_administrator_paused_no_owner_resumes(
    harbour_mail: Harbour, wim_at: Browser, wim: Person, ada_at: Browser
) -> None:
    account_id = connected(wim_at)

    def said(browser: Browser, path: str, deed: str) -> str:
        return browser.post(path, {"do": deed, "account": [account_id]}, follow=True).words()

    mine = f"{MINE}/{account_id}/deed"
    assert "It is paused" in said(wim_at, mine, "pause")
    assert "goes on" in said(wim_at, mine, "resume")
    said(ada_at, "/accounts/bulk", "pause")
    page = wim_at.get(MINE)
    assert "An administrator paused it" in page.words()
    assert not page.all("button", value="resume")
    assert "Ask one to resume it" in said(wim_at, mine, "resume")
    assert accounts_of(wim)[0].health is Health.PAUSED
    assert "goes on" in said(ada_at, "/accounts/bulk", "resume")


def test_five_are_the_most(harbour_mail: Harbour, wim_at: Browser, wim: Person) -> None:
    for n in range(5):
        added(wim_at, f"box{n}@example.org")
    page = wim_at.post(f"{MINE}/new", {"address": "box5@example.org"})
    assert "You have 5 accounts of your own, which is the most." in page.words()
    assert "5 accounts of your own are the most." in wim_at.get(MINE).words()
    assert len(accounts_of(wim)) == 5


def test_a_password_that_changed_is_typed_anew_and_the_account_goes_on_until_then(
    harbour_mail: Harbour, wim_at: Browser, wim: Person
) -> None:
    account_id = connected(wim_at)
    wim_at.post(f"{MINE}/{account_id}/connect", {"password": WRONG})
    done()
    with db.reading() as session:
        leg = accounts.leg(session, accounts.get(session, account_id), Direction.INCOMING)
        assert leg is not None
        assert leg.how.secret == PASSWORD
    assert accounts.state_of(accounts_of(wim)[0]) == "connected"
    page = wim_at.get(f"{MINE}/{account_id}/connect")
    assert "Reconnect sales@example.org" in page.words()
    assert "The server refused this password" in page.words()


def test_a_mailbox_is_tried_twenty_times_a_day(harbour_mail: Harbour, wim_at: Browser, wim: Person) -> None:
    account_id = added(wim_at)
    wim_at.post(f"{MINE}/{account_id}/connect", {"password": WRONG})
    done()
    with db.transaction() as session:
        service.get_open(session, account_id).tries = MOST_TRIES
    page = wim_at.post(f"{MINE}/{account_id}/connect", {"password": PASSWORD})
    assert "This was tried 20 times." in page.words()
    with db.transaction() as session:
        service.get_open(session, account_id).expires_at = db.now() - timedelta(minutes=1)
        service.settle_all(session)
        assert service.open_of(session, account_id) is None
    wim_at.post(f"{MINE}/{account_id}/connect", {"password": PASSWORD})
    done()
    assert accounts_of(wim)[0].is_set_up


def test_nobody_has_a_link_to_it_until_an_administrator_makes_one(
    harbour_mail: Harbour, wim_at: Browser, wim: Person, ada_at: Browser, browser: Browser
) -> None:
    account_id = added(wim_at)
    wim_at.post(f"{MINE}/{account_id}/connect", {"password": WRONG})
    done()
    account = accounts_of(wim)[0]
    made_up = links.token_of(invite_of(account))
    assert browser.get(f"/c/{made_up}").status == 404
    page = ada_at.get(f"/accounts/{account_id}/invite")
    assert "Its owner connects it without a link" in page.words()
    assert not page.all("code", id="link")
    assert "Wim de Vries connects it. The last try failed" in ada_at.get(f"/accounts/{account_id}").words()
    assert "Wim de Vries" not in ada_at.get("/").words()  # Nothing for administrators to do.
    link = asked(ada_at, account)
    assert browser.get(link).status == 200
    assert browser.get(f"/c/{made_up}").status == 404
    wim_at.post(f"{MINE}/{account_id}/connect", {"password": PASSWORD})  # It is the same question.
    done()
    assert invite_of(account).ending == service.CONNECTED
    assert "cannot be used again" in browser.get(link).words()


def test_an_unknown_provider_is_left_to_an_administrator_who_is_told(
    harbour_mail: Harbour, wim_at: Browser, wim: Person, ada_at: Browser
) -> None:
    a_company(harbour_mail)
    harbour_mail.sink.messages.clear()
    with db.transaction() as session:
        nothing = as_plain(Discovery("unknown.example", problem="Nobody answered."))
        session.add(Lookup(domain="unknown.example", asked_at=db.now(), ended_at=db.now(), found=nothing))
    page = wim_at.get(f"{MINE}/new?address=wim@unknown.example")
    assert "We could not tell who runs unknown.example" in page.words()
    assert not [e for e in page.all("input") if "host" in (e.get("name") or "")]
    page = wim_at.post(f"{MINE}/new/help", {"address": "wim@unknown.example"}, follow=True)
    assert "Your administrators were asked for help" in page.words()
    done()
    (letter,) = letters(harbour_mail)
    assert (letter["To"], str(letter["Subject"])) == (
        "ada@example.com",
        "Wim de Vries asks for help with wim@unknown.example",
    )
    assert "cannot do it alone" in text_of(letter)
    page = ada_at.get("/")
    assert "Wim de Vries wants to connect it, and nobody knows its servers." in page.words()
    (account,) = accounts_of(wim)
    assert page.all("a", href=f"/accounts/{account.id}/set-up")
    with db.transaction() as session:
        row = accounts.get(session, account.id)
        row.provider = providers.recognise(session, SALES)
    assert "nobody knows its servers" not in ada_at.get("/").words()
    assert "What is needed is set up." in wim_at.get(MINE).words()
    assert "Password of wim@unknown.example" in wim_at.get(f"{MINE}/{account.id}/connect").words()


def a_finding(session: Session, domain: str, server: Server) -> None:
    found = as_plain(Discovery(domain, findings=(Finding(Source.SRV, domain, name="River", servers=(server,)),)))
    session.add(Lookup(domain=domain, asked_at=db.now(), ended_at=db.now(), found=found))


def test_servers_that_were_found_are_shown_before_a_password_goes_there(
    harbour_mail: Harbour, wim_at: Browser, wim: Person
) -> None:
    with db.transaction() as session:
        a_finding(session, "river.example", harbour_mail.imap)
        a_finding(session, "plain.example", Server(ServerProtocol.IMAP, "localhost", 143, TLSMode.NONE))
    address = "wim@river.example"
    page = wim_at.post(f"{MINE}/new", {"address": address, "asked": "example.org"}, follow=True)  # Seen for another.
    assert "localhost" in page.words()
    assert "Your password will go to these servers." in page.words()
    assert accounts_of(wim) == []
    assert wim_at.post(f"{MINE}/new", {"address": address, "asked": "river.example"}).location.endswith("/connect")
    assert str(accounts_of(wim)[0].own_server(Direction.INCOMING)) == str(harbour_mail.imap)
    page = wim_at.post(f"{MINE}/new", {"address": "wim@plain.example", "asked": "plain.example"}, follow=True)
    assert "We could not tell who runs plain.example" in page.words()
    assert len(accounts_of(wim)) == 1


def test_the_owner_signs_in_at_the_provider_and_nobody_else(harbour: Harbour, wim_at: Browser, wim: Person) -> None:
    with db.transaction() as session:
        harbour.app(session, harbour.provider(session))
    account_id = added(wim_at)

    def go(who: str) -> str:
        page = wim_at.post(f"{MINE}/{account_id}/connect")
        address = page.one("a", rel="noreferrer").get("href", "")
        assert wim_at.get(path_of(harbour.idp.agree(address, who))).location == "/c/back"
        assert wim_at.get("/c/back").location == f"{MINE}/{account_id}/connect/progress"
        done()
        return wim_at.get(f"{MINE}/{account_id}/connect/progress", follow=True).words()

    assert "You signed in as tomas@example.org, and this page is for sales@example.org." in go("tomas@example.org")
    assert accounts_of(wim)[0].method is None
    assert "sales@example.org is connected." in go(SALES)
    account = accounts_of(wim)[0]
    assert (account.method, account.is_set_up) == (SignInMethod.OAUTH, True)


def test_somebody_else_cannot_bring_back_what_the_owner_began(
    harbour: Harbour, wim_at: Browser, wim: Person, ada_at: Browser
) -> None:
    with db.transaction() as session:
        harbour.app(session, harbour.provider(session))
    page = wim_at.post(f"{MINE}/{added(wim_at)}/connect")
    address = page.one("a", rel="noreferrer").get("href", "")
    assert ada_at.get(path_of(harbour.idp.agree(address, SALES))).location == "/oauth/lost"
    done()
    assert accounts_of(wim)[0].method is None


def test_nobody_reaches_an_account_of_somebody_else(
    harbour_mail: Harbour, wim_at: Browser, wim: Person, ada_at: Browser
) -> None:
    account_id = connected(wim_at)
    before = told(account_id)
    for path in ("", "/connect", "/connect/progress", "/remove"):
        assert ada_at.get(f"{MINE}/{account_id}{path}").status == 404, path
    for path, typed in (
        ("", {"sender_name": "Ada", "sent_copies": "never", "visibility": "everything", "version": "1"}),
        ("/connect", {"password": PASSWORD}),
        ("/help", {}),
        ("/deed", {"do": "pause"}),
        ("/remove", {"confirm": SALES}),
    ):
        assert ada_at.post(f"{MINE}/{account_id}{path}", typed).status == 404, path
    assert SALES not in ada_at.get(MINE).words()
    assert ada_at.get(f"/accounts/{account_id}").status == 200  # How it is, and no mail.
    assert ada_at.get(f"/mailbox/{account_id}").status == 404
    assert told(account_id) == before


def test_an_owner_says_what_recipients_and_others_see_and_removes_it(
    harbour_mail: Harbour, wim_at: Browser, wim: Person
) -> None:
    account_id = connected(wim_at)
    page = wim_at.get(f"{MINE}/{account_id}")
    assert page.value("sender_name") == "Wim de Vries"
    version = page.one("input", id="version").get("value")
    fields = {"sender_name": "Wim", "sent_copies": "never", "visibility": "subject", "version": version}
    assert "is saved" in wim_at.post(f"{MINE}/{account_id}", fields, follow=True).words()
    account = accounts_of(wim)[0]
    assert (account.sender_name, account.sent_copies, account.visibility) == ("Wim", "never", "subject")
    assert "Somebody else changed this" in wim_at.post(f"{MINE}/{account_id}", fields).words()
    assert wim_at.post(f"{MINE}/{account_id}", {**fields, "visibility": "all"}).status == 422
    assert "was asked for" in wim_at.post(f"{MINE}/{account_id}/deed", {"do": "sync"}, follow=True).words()
    assert wim_at.post(f"{MINE}/{account_id}/deed", {"do": "test"}).status == 400
    assert wim_at.post(f"{MINE}/{account_id}/remove", {"confirm": "no"}).status == 422
    assert "is being removed" in wim_at.post(f"{MINE}/{account_id}/remove", {"confirm": SALES}, follow=True).words()
    assert accounts_of(wim) == []
    assert wim_at.get(f"{MINE}/{account_id}").status == 404
    assert told(account_id)[-1] == ("Wim de Vries", "deleted sales@example.org")


def test_a_refused_password_is_told_and_no_click_knocks_again(
    harbour_mail: Harbour, wim_at: Browser, wim: Person
) -> None:
    account_id = connected(wim_at)
    refused(accounts_of(wim)[0])
    page = wim_at.get(MINE)
    assert "The server refuses the password" in page.words()
    assert "No mail is lost." in page.words()
    assert not page.all("button", value="sync")
    assert wim_at.post(f"{MINE}/{account_id}/deed", {"do": "sync"}).location == f"{MINE}/{account_id}/connect"


def test_asking_for_help_twice_is_heard_once(harbour_mail: Harbour, wim_at: Browser, wim: Person, ada: Person) -> None:
    a_company(harbour_mail)
    account_id = added(wim_at)
    for _ in range(2):
        assert wim_at.post(f"{MINE}/{account_id}/help").location == MINE
    assert [what for _, what in told(account_id)].count(f"asked for help with connecting {SALES}") == 1
    harbour_mail.sink.messages.clear()
    done()
    assert [letter["To"] for letter in letters(harbour_mail)] == ["ada@example.com"]
