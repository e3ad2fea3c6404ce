"""Pages of folders: ticks that are counted, folders that are to be created, and what is read again."""

import pytest

from mailadmin import db
from mailadmin.accounts.models import Account, Health
from mailadmin.mail.types import Role, ServerProtocol
from tests.accounts import factories as accounts
from tests.pages import Browser
from tests.sync.factories import change, folder_of
from tests.sync.test_routes import FORM, LISTED, account, active, passed_check, runs, set_up

__all__ = ["account", "set_up"]  # fixtures


# The step and the tab.


def test_without_a_passed_test_the_steps_lead_to_where_the_set_up_stands(ada_at: Browser) -> None:
    with db.transaction() as session:
        untested = accounts.an_account(session, is_set_up=False)
    for step in ("folders", "window"):
        page = ada_at.get(f"/accounts/{untested.id}/{step}")
        assert (page.status, page.location) == (303, f"/accounts/{untested.id}/set-up")


def test_ticks_are_counted_before_anything_is_saved(ada_at: Browser, account: Account) -> None:
    ticked = {"active": ["INBOX", "Junk", "Calendar"]}
    page = ada_at.post(f"/accounts/{account.id}/folders/count", ticked, htmx=True)
    assert page.words() == "2 of 4 chosen, 1,212 messages"
    assert active(account) == set()


def test_pop3_has_one_folder_and_no_choice(ada_at: Browser, account: Account) -> None:
    with db.transaction() as session:
        found = session.get(Account, account.id)
        found.protocol = ServerProtocol.POP3
        passed_check(session, found, LISTED[:1])
    page = ada_at.get(f"/accounts/{account.id}/folders")
    assert "POP3 has one folder" in page.words()
    assert page.all("select") == []
    assert page.one("input", type="hidden", name="active").get("value") == "INBOX"
    assert ada_at.post(f"/accounts/{account.id}/folders", {"active": ["INBOX"]}).location.endswith("/window")
    assert (active(account), folder_of(account).role) == ({"INBOX"}, Role.INBOX)


# Folders that are to be created.


def test_folder_for_a_role_is_wished_for_and_taken_back(ada_at: Browser, account: Account) -> None:
    page = ada_at.get(f"/accounts/{account.id}/folders")
    assert page.value("role_archive") == "", "nothing is created that nobody chose"
    assert "Create “Archive” on the server" in page.words()
    assert "Create “Sent” on the server" not in page.words()
    ada_at.post(f"/accounts/{account.id}/folders", FORM | {"role_archive": "//create"})
    wished = folder_of(account, "Archive")
    assert (wished.is_wished, wished.role, wished.is_active) == (True, Role.ARCHIVE, True)
    page = ada_at.get(f"/accounts/{account.id}/folders")
    assert page.value("role_archive") == "//create"
    assert "The next sync creates it" in page.words()
    ada_at.post(f"/accounts/{account.id}/folders", FORM)
    assert active(account) == {"INBOX", "Gesendet"}


def test_folder_that_is_there_already_is_not_created_again(ada_at: Browser, account: Account) -> None:
    page = ada_at.post(f"/accounts/{account.id}/folders", FORM | {"role_sent": "//create"})
    assert page.status == 422
    assert active(account) == set()


# Reading again.


def test_a_folder_is_read_again_after_a_question(ada_at: Browser, set_up: Account) -> None:
    link = f"/accounts/{set_up.id}/reinitialise?folder={folder_of(set_up).id}"
    assert ada_at.get(f"/accounts/{set_up.id}/folders").one("a", href=link) is not None
    assert "What was read of “INBOX” is forgotten and read again" in ada_at.get(link).words()
    assert runs() == []
    page = ada_at.post(link, follow=True)
    assert "“INBOX” is being read again from the server." in page.words()
    assert [run.requested_by for run in runs()] == ["Ada Lindqvist"]
    assert "had billing@example.net read again from the server" in page.words()


def test_everything_is_read_again_from_the_dialog(ada_at: Browser, set_up: Account) -> None:
    path = f"/accounts/{set_up.id}/reinitialise"
    assert ada_at.get(path, htmx=True).one("h2", id="dialog-title") is not None
    assert ada_at.post(path, htmx=True).headers["HX-Redirect"].endswith(f"/accounts/{set_up.id}")
    assert len(runs()) == 1


def test_a_paused_account_is_read_again_once_it_goes_on(ada_at: Browser, set_up: Account) -> None:
    change(set_up, health=Health.PAUSED)
    assert "as soon as you resume" in ada_at.post(f"/accounts/{set_up.id}/reinitialise", follow=True).words()
    assert runs() == []


@pytest.mark.parametrize("path", ["Junk", "Calendar"])
def test_what_is_not_synced_is_not_read_again(ada_at: Browser, set_up: Account, path: str) -> None:
    assert ada_at.post(f"/accounts/{set_up.id}/reinitialise?folder={folder_of(set_up, path).id}").status == 404


def test_a_folder_of_another_account_is_not_read_again(ada_at: Browser, set_up: Account) -> None:
    with db.transaction() as session:
        other = accounts.an_account(session, address="other@example.net")
    assert ada_at.post(f"/accounts/{other.id}/reinitialise?folder={folder_of(set_up).id}").status == 404
