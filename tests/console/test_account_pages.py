"""The pages of one account: overview, access, activity, and the question before its deletion."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.access import service as access
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Kind, NewContacts, SentCopies
from mailadmin.activity.models import Activity
from mailadmin.console import account_log, days
from mailadmin.errors import NotFound
from mailadmin.mail.types import SignInMethod
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import Secret
from mailadmin.sync.models import Folder, Message, RunOutcome
from tests import factories as people
from tests.access.factories import give
from tests.accounts.factories import a_provider, an_account
from tests.conftest import both_databases
from tests.console.factories import a_failed_check, a_healthy, an_ended_run, fail
from tests.pages import Browser, Page

HOUR = timedelta(hours=1)


def tabs(page: Page) -> list[str]:
    nav = next(nav for nav in page.all("nav") if nav.get("aria-label") == "Account")
    return [page.words(link) for link in nav.iter() if link.tag.endswith("}a")]


def current(page: Page) -> str:
    return next(page.words(link) for link in page.all("a", aria_current="page") if "/accounts/" in link.get("href", ""))


@pytest.mark.parametrize(
    ("path", "name"),
    [("", "Overview"), ("/settings", "Settings"), ("/access", "Access"), ("/activity", "Activity")],
)
def test_every_tab_has_an_address_and_says_that_it_is_the_one(
    ada_at: Browser, session: Session, path: str, name: str
) -> None:
    account = a_healthy(session, "billing@example.net")
    session.commit()
    page = ada_at.get(f"/accounts/{account.id}{path}")
    assert page.status == 200
    assert tabs(page) == ["Overview", "Settings", "Folders", "Access", "Activity"]
    assert current(page) == name
    assert page.all("a", href=f"/accounts/new?copy={account.id}")


def test_overview_says_everything_that_the_connection_is(ada_at: Browser, session: Session) -> None:
    provider = a_provider(session)
    provider.methods = "password,oauth"
    wanted = {"new_contacts": NewContacts.WRITTEN_TO, "sent_copies": SentCopies.NEVER, "sync_minutes": 7}
    account = a_healthy(
        session,
        "billing@example.net",
        provider_id=provider.id,
        sender_address="post@example.net",
        notes="Ask Ann\n<b>or Ben</b>",
        is_primary=True,
        **wanted,
    )
    session.commit()
    page = ada_at.get(f"/accounts/{account.id}")
    words = page.words(page.one("section", aria_labelledby="facts-h"))
    for told in (
        *(
            "Password",
            "Legacy",
            "Harbour Mail offers a sign-in without a stored password",
            "billing@example.net",
            "IMAP",
        ),
        *("imap.example.net:993", "smtp.example.net:465", "3 months", "Every 7 minutes", "For people we wrote to"),
        *("Never put there", "post@example.net"),
    ):
        assert told in words
    assert "Ask Ann<br>&lt;b&gt;or Ben&lt;/b&gt;" in page.text


def test_app_password_at_a_provider_without_oauth_is_no_legacy(ada_at: Browser, session: Session) -> None:
    account = a_healthy(session, "billing@example.net", provider_id=a_provider(session).id)
    account.credentials[0].method = SignInMethod.APP_PASSWORD
    session.commit()
    words = ada_at.get(f"/accounts/{account.id}").text
    assert "App password" in words
    assert "Legacy" not in words


def test_refused_password_makes_reconnect_the_first_thing_to_do(ada_at: Browser, session: Session) -> None:
    account = fail(session, a_healthy(session, "billing@example.net"))
    session.commit()
    address = f"/accounts/{account.id}/settings?reconnect=1#password"
    page = ada_at.get(f"/accounts/{account.id}")
    assert [page.words(a) for a in page.all("a", href=address, class_="primary")] == ["Reconnect", "Reconnect"]
    well = a_healthy(session, "ok@example.net")
    session.commit()
    page = ada_at.get(f"/accounts/{well.id}")
    assert not page.all("a", class_="primary")
    assert len(page.all("a", href=f"/accounts/{well.id}/settings?reconnect=1#password")) == 1


def test_unfinished_account_goes_on_with_its_set_up(ada_at: Browser, session: Session) -> None:
    draft = an_account(session, is_set_up=False)
    session.commit()
    page = ada_at.get(f"/accounts/{draft.id}")
    assert page.words(page.one("a", class_="primary")) == "Go on with the set-up"
    assert "Sync now" not in page.text


@both_databases
def test_days_tell_on_which_of_them_syncs_failed(session: Session) -> None:
    account, today = an_account(session), db.now().replace(hour=12)
    other = an_account(session, address="other@example.net")
    for n in range(4):
        an_ended_run(session, account, ended=today - timedelta(days=1, minutes=n))
    an_ended_run(session, account, ended=today - timedelta(days=1), outcome=RunOutcome.FAILED)
    an_ended_run(session, account, ended=today - timedelta(days=2), outcome=RunOutcome.FAILED)
    an_ended_run(session, account, ended=today - timedelta(days=3), outcome=RunOutcome.PARTIAL)
    an_ended_run(session, other, ended=today - timedelta(days=5), outcome=RunOutcome.FAILED)
    an_ended_run(session, account, ended=today - timedelta(days=40), outcome=RunOutcome.FAILED)
    strip = days.of_account(session, account.id)
    assert strip is not None
    assert [day.tone for day in strip.days[-5:]] == ["off", "ok", "bad", "warn", "off"]
    assert len(strip.days) == 30
    assert strip.share == "71.4"
    assert strip.days[-2].title.endswith("5 syncs, 1 failed")
    assert strip.title == (
        "Last 30 days: 1 without trouble, 1 with some failures, 1 on which every sync failed, 27 without a sync"
    )


def test_one_failure_among_very_many_is_not_rounded_away(session: Session) -> None:
    account, moment = an_account(session), db.now()
    for _ in range(1100):
        an_ended_run(session, account, ended=moment)
    an_ended_run(session, account, ended=moment, outcome=RunOutcome.FAILED)
    strip = days.of_account(session, account.id)
    assert strip is not None
    assert strip.share == "99.9"


def test_account_that_was_never_synced_has_no_days(session: Session) -> None:
    assert days.of_account(session, an_account(session).id) is None


@both_databases
def test_activity_tells_people_tests_and_syncs_in_one_order(session: Session) -> None:
    account = fail(session, a_healthy(session, "billing@example.net"))
    moment = db.now()
    a_failed_check(session, account, "auth-refused", "Because.", hours=1)
    an_ended_run(session, account, ended=moment - 2 * HOUR, new=3)
    quiet = an_ended_run(session, account, ended=moment - 3 * HOUR)
    an_ended_run(session, account, ended=moment - 4 * HOUR, outcome=RunOutcome.FAILED).reason = "It broke."
    asked = an_ended_run(session, account, ended=moment - 5 * HOUR)
    quiet.requested_by, asked.requested_by = "Schedule", "Ada Lindqvist"
    entry = Activity(at=moment - 6 * HOUR, person_name="Ada Lindqvist", what="paused x", account_id=account.id)
    session.add(entry)
    session.add(Activity(person_name="Ada Lindqvist", what="added somebody else", account_id=account.id + 1))
    session.flush()
    log = account_log.log(session, account.id)
    told = [entry.what for entry in log.entries]
    assert told == [
        *("System added billing@example.net", "Connection test failed", "Sync finished", "Sync failed"),
        *("Sync finished", "Ada Lindqvist paused x"),
    ]
    assert log.entries[3].detail.startswith("It broke.")
    assert "Asked for by Ada Lindqvist." in log.entries[4].detail
    assert [entry.what for entry in account_log.latest(session, account.id, limit=2)] == told[:2]


@both_databases
def test_activity_is_read_page_by_page(session: Session) -> None:
    account, moment = an_account(session), db.now()
    for n in range(120):
        at = moment - timedelta(minutes=n + 1)
        session.add(Activity(at=at, person_name="Ada", what=f"did {n}", account_id=account.id))
    session.flush()
    pages = [account_log.log(session, account.id, page=n) for n in (1, 2, 3)]
    assert [(len(page.entries), page.total, page.pages) for page in pages] == [(50, 121, 3), (50, 121, 3), (21, 121, 3)]
    assert len({entry.what for page in pages for entry in page.entries}) == 121
    for beyond in (99, 10**30, -5, 0):
        assert account_log.log(session, account.id, page=beyond).page in (1, 3)


def test_activity_page_has_days_and_a_way_to_older_ones(ada_at: Browser, session: Session) -> None:
    account = an_account(session)
    yesterday = db.now() - timedelta(days=1)
    for n in range(60):
        what = f"changed <i>{n}</i>"
        session.add(Activity(at=yesterday, person_name="Ada", what=what, detail="name", account_id=account.id))
    session.commit()
    page = ada_at.get(f"/accounts/{account.id}/activity")
    heads = [page.words(h) for h in page.all("h2", class_="faint")]
    assert [head.split(",")[0] for head in heads] == ["Today", "Yesterday"]
    assert page.one("a", rel="next").get("href") == f"/accounts/{account.id}/activity?page=2"
    assert "1–50 of 61" in page.text
    assert "<i>" not in page.text
    assert ada_at.get(f"/accounts/{account.id}/activity?page=x").status == 200


@both_databases
def test_readers_are_those_who_see_the_account(session: Session, ada: Person, wim: Person) -> None:
    boss = people.a_person(session, name="Boris Petrov", email="boris@example.com")
    gone = people.a_person(session, name="Olga Gone", email="olga@example.com")
    own = an_account(session, kind=Kind.PERSONAL, owner_id=wim.id)
    shared = an_account(session, address="shared@example.net")
    for person in (boss, gone):
        give(session, person, shared)
    gone.deactivated_at = db.now()
    session.flush()
    for account, expected in ((own, {wim.id}), (shared, {boss.id})):
        told = {person.id for person in access.readers(session, account)}
        for person in (ada, wim, boss, gone):
            try:
                access.get_visible(session, person, account.id)
                sees = True
            except NotFound:
                sees = False
            assert (person.id in told) == sees
        assert told == expected
        accounts.request_deletion(session, account, actor=SYSTEM)
        assert access.readers(session, account) == []


def test_access_says_who_and_why_and_that_administrators_do_not_read_along(
    ada_at: Browser, session: Session, wim: Person
) -> None:
    account = an_account(session, kind=Kind.PERSONAL, owner_id=wim.id)
    team = an_account(session, address="b@example.net", kind=Kind.TEAM, team="Finance")
    session.commit()
    page = ada_at.get(f"/accounts/{account.id}/access")
    assert "1 person can open this mailbox" in page.text
    assert "Wim de VriesOwner Everything" in page.words(page.one("table"))
    assert "Ada Lindqvist" not in page.words(page.one("table"))
    assert "never its mail" in page.text
    words = ada_at.get(f"/accounts/{team.id}/access").words()
    assert "Nobody can open this mailbox" in words
    assert "Everybody in the team Finance reads and sends from it." in words


def a_message(session: Session, account: Account, number: int) -> None:
    folder = Folder(account_id=account.id, path=f"F{number}", name="F", is_active=number == 1)
    session.add(folder)
    session.flush()
    session.add_all(Message(folder_id=folder.id, generation=0, uid=uid) for uid in range(1, number + 1))


@pytest.mark.parametrize("htmx", [False, True])
def test_deletion_says_in_numbers_what_goes(ada_at: Browser, session: Session, htmx: bool) -> None:
    account = an_account(session, is_primary=True, sending=accounts.Login("x", Secret("relay secret")))
    a_message(session, account, 1)
    a_message(session, account, 2)  # of a folder that is not synced any more
    an_ended_run(session, account, ended=db.now())
    session.commit()
    page = ada_at.get(f"/accounts/{account.id}/delete", htmx=htmx)
    for told in (
        *("the connection and 2 stored passwords", "3 synced messages in 2 folders", "1 record of a test or a sync"),
        *("the primary account", "What stays: other contacts"),
    ):
        assert told in page.words()


def test_deletion_wants_the_address_typed(ada_at: Browser, session: Session) -> None:
    account = an_account(session)
    session.commit()
    path = f"/accounts/{account.id}/delete"
    page = ada_at.post(path, {"confirm": "billing"})
    assert page.status == 422
    assert page.error("confirm") == "This is not billing@example.net. Type it exactly."
    assert ada_at.post(path, {"confirm": " Billing@Example.net "}).location == "/accounts"
    assert ada_at.get(f"/accounts/{account.id}").status == 404
