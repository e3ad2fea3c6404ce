"""An open page of a mailbox learns what is new, and asks less often the longer nothing is."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.access.models import Access
from mailadmin.accounts.models import Account
from mailadmin.mailbox import freshness
from mailadmin.people.models import Person
from mailadmin.permissions import SYSTEM
from mailadmin.sync import changes
from mailadmin.sync.models import Message
from mailadmin.writing.models import OutgoingMessage, Progress
from tests.conftest import both_databases
from tests.mailbox.test_routes import a_message, an_account_of, change_folder
from tests.pages import Browser


@pytest.fixture
def account(ada: Person) -> Account:
    made = an_account_of(ada)
    a_message(made, 1)
    return made


def mark_of(account: Account, email: str = "ada@example.com") -> str:
    with db.reading() as session:
        person = session.scalars(select(Person).where(Person.email == email)).one()
        return freshness.mark(session, session.get(Account, account.id), person)


def ask(browser: Browser, account: Account, **values: Any) -> Any:
    now = {"mark": mark_of(account), "since": db.now().isoformat(), "pace": 1}
    return browser.get(f"/mailbox/{account.id}/news?{urlencode(now | values)}", htmx=True)


def test_nothing_new_is_no_answer(ada_at: Browser, account: Account) -> None:
    answer = ask(ada_at, account)
    assert (answer.status, answer.text) == (204, "")


def test_new_mail_comes_with_its_folder_and_the_next_question(ada_at: Browser, account: Account) -> None:
    old = mark_of(account)
    a_message(account, 2)
    change_folder(account, "INBOX", stored=2, unread=2)
    answer = ask(ada_at, account, mark=old)
    assert answer.status == 200
    text = answer.text
    assert "Message 2" in text
    assert mark_of(account) in text
    assert old not in text
    assert f"#found-{account.id}" in text
    assert f"#folders-{account.id}" in text


@both_databases
@pytest.mark.parametrize("moved", [{"stored": 5}, {"unread": 1}, {"modseq": 2**62}, {"uidnext": 9}, {"generation": 1}])
def test_whatever_a_run_leaves_in_a_folder_is_news(account: Account, moved: dict[str, int]) -> None:
    old = mark_of(account)
    change_folder(account, "INBOX", **moved)
    assert mark_of(account) != old


@both_databases
def test_ones_own_drafts_are_news_and_how_far_they_are(account: Account, ada: Person, wim: Person) -> None:
    old, of_wim = mark_of(account), mark_of(account, wim.email)
    with db.transaction() as session:
        draft = OutgoingMessage(account_id=account.id, person_id=ada.id, progress=Progress.WAITING, version=2)
        session.add(draft)
        session.flush()
        draft_id = draft.id
    waiting = mark_of(account)
    assert waiting != old
    with db.transaction() as session:
        session.get_one(OutgoingMessage, draft_id).progress = Progress.UNCLEAR
    assert mark_of(account) not in (old, waiting)
    assert mark_of(account, wim.email) == of_wim, "nobody hears of the drafts of others"


def test_what_somebody_else_does_here_is_news(ada_at: Browser, account: Account) -> None:
    old = mark_of(account)
    with db.transaction() as session:
        one = session.query(Message.id).scalar()
        changes.mark(
            session, session.get(Account, account.id), messages=[one], flag="flagged", is_set=True, actor=SYSTEM
        )
    assert "Flagged" in ask(ada_at, account, mark=old).text


@pytest.mark.parametrize(("minutes", "pace"), [(0, 1), (6, 5), (60, 20), (60 * 24 * 3000, 20)])
def test_page_on_which_nothing_happens_asks_less_often(
    ada_at: Browser, account: Account, minutes: int, pace: int
) -> None:
    since = (db.now() - timedelta(minutes=minutes)).isoformat()
    answer = ask(ada_at, account, since=since, pace=7)
    assert f'hx-trigger="every {pace}s"' in answer.text
    assert "found-" not in answer.text
    assert ask(ada_at, account, since=since, pace=pace).status == 204


def test_page_goes_when_the_mail_is_not_for_this_person_any_more(ada_at: Browser, account: Account) -> None:
    with db.transaction() as session:
        session.query(Access).delete()
    answer = ask(ada_at, account)
    assert answer.headers["HX-Redirect"] == f"/mailbox/{account.id}"
    assert not answer.text


@pytest.mark.parametrize("since", ["", "yesterday", "9999-99-99", "0001-01-01T00:00:00+14:00"])
def test_a_moment_that_makes_no_sense_was_long_ago(ada_at: Browser, account: Account, since: str) -> None:
    assert 'hx-trigger="every 20s"' in ask(ada_at, account, since=since).text
