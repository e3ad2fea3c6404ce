"""What the pages of a test offer: ways out of a refused certificate, repairs, the test message, the last tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.connections import service
from mailadmin.connections.jobs import drain_checks
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.connections.support import support_text
from mailadmin.mail.types import Server, ServerProtocol, TLSMode
from mailadmin.permissions import SYSTEM
from mailadmin.providers.models import Provider
from tests.connections.conftest import Servers
from tests.connections.factories import a_check, after_test, an_account, begin_with, moved
from tests.pages import Browser, Page
from tests.servers.dovecot import Dovecot
from tests.servers.encryption import Encryption
from tests.servers.silent import Listener, silence


def page_of(account: Account) -> str:
    return f"/accounts/{account.id}/connection"


def set_up(account: Account, **changes: Any) -> None:
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        for name, value in {"is_set_up": True, **changes}.items():
            setattr(found, name, value)


def with_diagnosis(check: Check, **keys: Any) -> None:
    """Let `check` have ended with a diagnosis that also says `keys`."""
    told = {"rule": "x", "title": "T", "cause": "C", "action": ["A."], "server_text": "", "direction": "incoming"}
    with db.transaction() as session:
        found = service.get(session, check.id)
        found.finished_at, found.seconds, found.outcome = db.now(), 0.1, CheckOutcome.FAILED
        found.diagnosis = {**told, "category": "auth", "also": None, **keys}


def links(page: Page) -> list[str]:
    return [link.get("href", "") for link in page.all("a")]


def offers(page: Page) -> dict[str, str]:
    """What can be done with one click: the words on each button, and what it sends."""
    return {page.words(button): button.get("value", "") for button in page.all("button", name="offer")}


@contextmanager
def showing(folder: Path, kind: str) -> Iterator[Server]:
    """A server that shows a certificate of this kind."""
    with Listener(silence, context=Encryption(folder / "crypt").context(kind)) as listener:
        yield Server(ServerProtocol.IMAP, "localhost", listener.port, TLSMode.IMPLICIT)


# Ways out of a refused certificate.


def test_a_certificate_for_other_names_is_shown_with_the_name_that_works(ada_at: Browser) -> None:
    with Dovecot(hosts=("localhost", "mail.example.invalid")) as dovecot:
        begin_with(ca_file=str(dovecot.ca_file))
        account = an_account(Server(ServerProtocol.IMAP, "127.0.0.1", dovecot.ports["imaps"], TLSMode.IMPLICIT))
        after_test(account)
        page = ada_at.get(page_of(account))
    panel = page.words(page.one("section", class_="card"))
    assert "localhost, mail.example.invalid" in panel
    assert "Use localhost Tried just now" in panel
    assert "Use mail.example.invalid" not in panel
    [settings] = [link for link in links(page) if "host=" in link]
    assert settings == f"/accounts/{account.id}/servers?direction=incoming&host=localhost"
    filled = ada_at.get(settings)
    assert filled.value("imap_host") == "localhost"
    assert "Type the password again" in filled.error("password")


def test_pinning_is_explained_and_confirmed_before_it_is_done(ada_at: Browser, tmp_path: Path) -> None:
    with showing(tmp_path, "self-signed") as server:
        account = an_account(server)
        after_test(account)
        page = ada_at.get(page_of(account))
    asking = page.one("details", id="pin-incoming")
    assert asking.get("open") is None
    assert "even after it has expired, and no other" in page.words(asking)
    assert "compare the SHA-256 by telephone" in page.words(asking)
    assert "Itself" in page.words(page.one("section", class_="card"))
    assert offers(page) == {"I have compared it: pin this certificate": "incoming:pin"}
    [check] = [field.get("value") for field in page.all("input", name="check")]
    answer = ada_at.post(f"{page_of(account)}/repair", {"check": check, "offer": "incoming:pin"})
    assert answer.location == page_of(account)
    assert "Pinned certificates" in ada_at.get(page_of(account)).words()


def test_an_expired_certificate_is_a_matter_for_its_people(ada_at: Browser, tmp_path: Path) -> None:
    with showing(tmp_path, "expired") as server:
        account = an_account(server)
        after_test(account)
        page = ada_at.get(page_of(account))
    panel = page.words(page.one("section", class_="card"))
    assert "Expired" in panel
    assert "Ask the people who run the server first" in panel
    assert "Use the right host name" not in panel


def test_the_authority_can_be_added_to_the_provider(ada_at: Browser, tmp_path: Path) -> None:
    with showing(tmp_path, "unknown authority") as server:
        account = an_account(server)
        with db.transaction() as session:
            provider = Provider(name="Harbour Mail", domains=[], servers=[])
            session.add(provider)
            accounts.get(session, account.id).provider = provider
            session.flush()
            provider_id = provider.id
        after_test(account)
        page = ada_at.get(page_of(account))
    assert f"/providers/{provider_id}#certificates" in links(page)
    assert "Add it to Harbour Mail" in page.words()


# Repairs.


def test_another_tls_mode_that_worked_is_one_click_away(ada_at: Browser, servers: Servers) -> None:
    account = an_account(moved(servers.imap, tls_mode=TLSMode.STARTTLS))
    check = after_test(account)
    page = ada_at.get(page_of(account))
    label = f"Use port {servers.imap.port} with SSL/TLS"
    assert page.words(page.one("button", class_="primary")) == label
    ada_at.post(f"{page_of(account)}/repair", {"check": check.id, "offer": offers(page)[label]})
    drain_checks()
    assert "Everything works" in ada_at.get(page_of(account)).words()


def test_another_user_name_is_a_guess_and_comes_last(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, password="wrong")
    after_test(account)
    page = ada_at.get(page_of(account))
    assert [page.words(link) for link in page.all("a", class_="primary")] == ["Change the password"]
    assert offers(page) == {"Try signing in as wim": "try:wim"}


def test_another_user_name_that_worked_does_not_finish_the_set_up(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, username="wim@example.org", address="wim@example.com")
    with db.transaction() as session:
        found = accounts.get(session, account.id)
        service.request_other_login(session, account=found, user_name="wim@example.org", actor=SYSTEM)
    drain_checks()
    page = ada_at.get(page_of(account))
    assert "wim@example.org is accepted as the user name" in page.words()
    assert f"/accounts/{account.id}/folders" not in links(page)


def test_the_exact_command_and_the_pages_that_help_are_shown(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap)
    command = "Set-CASMailbox -Identity wim@example.org -ImapEnabled $true"
    with_diagnosis(a_check(account), command=command, links=["https://help.example/imap"], turn="owner")
    page = ada_at.get(page_of(account))
    assert page.words(page.one("code", id="command-incoming")) == command
    link = page.one("a", href="https://help.example/imap")
    assert (link.get("rel"), link.get("target")) == ("noreferrer noopener", "_blank")
    assert "The owner of the mailbox can mend this." in page.words()


# The test message.


def test_a_passed_test_offers_a_message_and_says_what_is_wrong_with_an_address(
    ada_at: Browser, servers: Servers
) -> None:
    account = an_account(servers.imap, servers.outgoing)
    after_test(account)
    assert ada_at.get(page_of(account)).value("recipient") == "wim@example.org"
    page = ada_at.post(f"{page_of(account)}/message", {"recipient": "nobody"}, htmx=True)
    assert page.status == 422
    assert page.one("form", id=f"message-{account.id}") is not None
    assert page.error("recipient")
    assert ada_at.post(f"{page_of(account)}/message", {"recipient": "x@example.com"}).location == page_of(account)
    drain_checks()
    assert "To x@example.com; handed over" in ada_at.get(page_of(account)).words()


def test_nobody_is_asked_for_a_message_without_a_server_for_it_or_while_a_test_runs(
    ada_at: Browser, servers: Servers
) -> None:
    receiving = an_account(servers.imap)
    after_test(receiving)
    assert "Send a test message" not in ada_at.get(page_of(receiving)).words()
    account = an_account(servers.imap, servers.outgoing, address="wim@example.com", username="wim@example.org")
    set_up(account)
    assert "Send a test message" in ada_at.get(page_of(account)).words()
    a_check(account)
    assert "Send test message" not in ada_at.get(page_of(account)).words()


# The last tests.


def test_the_last_tests_lead_to_what_they_were(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, password="wrong")
    first = after_test(account)
    set_up(account)
    page = ada_at.get(page_of(account))
    rows = page.one("table").findall(".//{*}tbody/{*}tr")
    assert len(rows) == 1
    assert f"{page_of(account)}/{first.id}" in links(page)
    past = ada_at.get(f"{page_of(account)}/{first.id}")
    assert "AUTHENTICATIONFAILED" in past.words(past.one("samp", class_="said"))
    assert offers(past) == {}
    other = an_account(servers.imap, address="olga@example.org")
    assert ada_at.get(f"{page_of(other)}/{first.id}").status == 404


def test_only_the_end_of_a_test_brings_the_list_again(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap)
    set_up(account)
    a_check(account)
    assert not ada_at.get(f"{page_of(account)}/check", htmx=True).all("hx-partial")
    drain_checks()
    page = ada_at.get(f"{page_of(account)}/check", htmx=True)
    targets = [each.get("hx-target") for each in page.all("hx-partial")]
    assert targets == [f"#around-{account.id}", f"#state-{account.id}"]
    assert not ada_at.get(page_of(account)).all("hx-partial")


def test_the_text_for_support_tells_everything_but_the_password(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing, password="wr0ng-passw0rd")
    check = after_test(account)
    page = ada_at.get(page_of(account))
    text = page.words(page.one("pre", id=f"support-{check.id}"))
    assert text == " ".join(support_text(check).split())
    assert "wr0ng-passw0rd" not in page.text
    for part in ("Mailadmin ", "OpenSSL", "Account: wim@example.org", f"Receiving: {servers.imap}", "Category: auth"):
        assert part in support_text(check)
    assert "[AUTHENTICATIONFAILED]" in support_text(check)
    assert page.one("button", class_="needs-script", data_copies=f"support-{check.id}") is not None


def test_a_hostile_greeting_stays_on_its_line_of_the_text_for_support(ada_at: Browser, servers: Servers) -> None:
    check = after_test(an_account(servers.imap))
    check.stages = [{**check.stages[0], "facts": {"text": "* OK\nOutcome: passed"}}]
    assert "Outcome: passed" not in [line.strip() for line in support_text(check).splitlines()]


# What is not saved.


def test_unsaved_settings_are_tested_and_nothing_is_offered(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, servers.outgoing)
    set_up(account)
    form = ada_at.get(f"/accounts/{account.id}/settings")
    button = form.one("button", formaction=f"/accounts/{account.id}/settings/test")
    assert (button.get("hx-target"), button.get("formtarget")) == ("#trial", "_blank")
    path = ada_at.post(f"/accounts/{account.id}/settings/test", _typed(form)).location
    running = ada_at.get(path)
    section = running.one("section", id=f"draft-{path.rpartition('/')[2]}")
    assert (section.get("hx-get"), section.get("hx-trigger")) == (path, "every 1s")
    assert len(running.all("a", href=f"/accounts/{account.id}/settings")) == 1  # among the crumbs
    assert "Test of unsaved settings for wim@example.org" in running.title
    drain_checks()
    page = ada_at.get(path, htmx=True)
    assert "These settings work. Save them to use them." in page.words()
    assert not page.all("a", href=f"/accounts/{account.id}/settings")  # With scripts it stands in the settings.
    whole = ada_at.get(path)
    assert whole.one("a", href=f"/accounts/{account.id}/settings", class_="btn") is not None
    assert page.all("section")[0].get("hx-trigger") is None
    assert not page.all("form")


def test_a_refused_form_clears_what_was_tested_before(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap)
    set_up(account)
    form = _typed(ada_at.get(f"/accounts/{account.id}/settings"))
    page = ada_at.post(f"/accounts/{account.id}/settings/test", {**form, "imap_port": "99999"}, htmx=True)
    assert (page.status, page.headers["HX-Retarget"]) == (422, f"#account-{account.id}")
    assert [each.get("hx-target") for each in page.all("hx-partial")] == ["#trial"]


def _typed(page: Page) -> dict[str, str]:
    """What a browser would send of the form on this page."""
    typed = {}
    for field in page.all("input"):
        if field.get("type") not in ("radio", "checkbox") or field.get("checked") is not None:
            typed[field.get("name", "")] = field.get("value", "y")
    for select in page.all("select"):
        typed[select.get("name", "")] = page.value(select.get("id", "")) or ""
    return typed


def test_servers_that_cannot_be_tested_are_refused_in_words(ada_at: Browser) -> None:
    typed = {
        "imap_host": "local host",
        "imap_port": "993",
        "imap_tls_mode": "implicit",
        "minimum_tls": "1.2",
    }
    whole, piece = (ada_at.post("/providers/test-servers", typed, htmx=htmx) for htmx in (False, True))
    assert (whole.status, piece.status) == (422, 422)
    for page in (whole, piece):
        assert "Nothing was tested" in page.words(page.one("div", role="alert"))


def test_all_that_is_wrong_with_servers_is_told_at_once(ada_at: Browser) -> None:
    typed = {
        "imap_host": "local host",
        "imap_port": "465",
        "imap_tls_mode": "implicit",
        "smtp_host": "smtp.example.net",
        "smtp_port": "587",
        "smtp_tls_mode": "implicit",
        "minimum_tls": "1.2",
    }
    page = ada_at.post("/providers/test-servers", typed, htmx=True)
    told = [page.words(each) for each in page.all("li")]
    assert [each.partition(":")[0] for each in told] == ["IMAP server", "IMAP port", "SMTP port"]
    assert told[2] == "SMTP port: 587 is for STARTTLS, and SSL/TLS uses 465. Change the port or the security."
    lone = ada_at.post("/providers/test-servers", {**typed, "imap_host": "", "smtp_port": "465"}, htmx=True)
    assert "Enter an IMAP server or a POP3 server." in lone.words()
    assert not lone.all("li")


# The account's own pages.


def test_plain_text_is_red_in_the_list_and_at_the_account(ada_at: Browser, servers: Servers) -> None:
    begin_with(plaintext=True)
    account = an_account(moved(servers.imap, tls_mode=TLSMode.NONE))
    set_up(account)
    for path in ("/accounts", f"/accounts/{account.id}", page_of(account)):
        page = ada_at.get(path)
        badges = [each for each in page.all("span", class_="badge") if "Not encrypted" in page.words(each)]
        assert badges, path
        assert {badge.get("data-tone") for badge in badges} == {"bad"}


def test_only_the_direction_in_trouble_is_told_at_the_account(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, moved(servers.outgoing, port=1))
    set_up(account)
    after_test(account)
    page = ada_at.get(f"/accounts/{account.id}")
    assert "Receiving works; sending does not." in page.words(page.one("p", id=f"state-{account.id}"))
    assert page.words(page.one("h2", id="diag-h")) == "Nothing listens on port 1 of localhost"
    assert [page.words(each) for each in page.all("span", class_="badge")].count("Does not work") == 1


def test_a_diagnosis_of_another_trouble_is_not_shown_at_the_account(ada_at: Browser, servers: Servers) -> None:
    account = an_account(servers.imap, password="wrong")
    set_up(account)
    after_test(account)
    assert "AUTHENTICATIONFAILED" in ada_at.get(f"/accounts/{account.id}").words()
    set_up(account, health_reason="The server hung up")
    words = ada_at.get(f"/accounts/{account.id}").words()
    assert "Test the connection to see which step fails." in words
    assert "AUTHENTICATIONFAILED" not in words


def test_a_way_out_that_was_found_is_named_at_the_account(ada_at: Browser, servers: Servers) -> None:
    account = an_account(moved(servers.imap, tls_mode=TLSMode.STARTTLS))
    set_up(account)
    after_test(account)
    page = ada_at.get(f"/accounts/{account.id}")
    assert page.one("a", class_="primary").get("href") == page_of(account)


def test_all_accounts_or_those_of_a_provider_are_tested_from_the_list(ada_at: Browser, servers: Servers) -> None:
    an_account(servers.imap)
    with db.transaction() as session:
        provider = Provider(name="Harbour Mail", domains=[], servers=[])
        session.add(provider)
        session.flush()
        provider_id = provider.id
    assert ada_at.get("/accounts").one("form", action="/accounts/test") is not None
    of_provider = ada_at.get(f"/accounts?provider={provider_id}")
    assert of_provider.one("form", action=f"/providers/{provider_id}/test") is not None
    assert ada_at.post("/accounts/test").location == "/accounts"
    assert "1 account is being tested" in ada_at.get("/accounts").words()
