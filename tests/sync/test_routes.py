"""Pages of sync: folders, the last step of the set-up, and the panel with its buttons."""

import pytest

from mailadmin import boot, db, queue
from mailadmin.accounts.models import Account, Health, NewContacts, Window
from mailadmin.connections.models import Check, CheckOutcome
from mailadmin.mail.types import Role, ServerProtocol
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service
from mailadmin.sync.models import Folder, RunOutcome, SyncRun
from tests.accounts import factories as accounts
from tests.pages import Browser
from tests.sync.factories import Kept, MemoryServer, a_run, account_now, change, folder_of, synced

LISTED = [
    {"path": "INBOX", "name": "INBOX", "role": "inbox", "role_source": "server", "messages": 1204},
    {"path": "Gesendet", "name": "Gesendet", "role": "sent", "role_source": "name", "messages": 986},
    {"path": "<b>Offers</b>", "name": "<b>Offers</b>", "messages": 12},
    {"path": "Junk", "name": "Junk", "role": "junk", "role_source": "server", "messages": 8},
    {"path": "Calendar", "name": "Calendar", "locked": "Holds appointments, not mail"},
]
FORM = {
    "role_inbox": "INBOX",
    "role_sent": "Gesendet",
    "role_junk": "Junk",
    "active": ["INBOX", "Gesendet"],
} | dict.fromkeys(("role_drafts", "role_trash", "role_archive"), "")


@pytest.fixture
def account(booted: object) -> Account:
    """An account whose test has passed, and that waits for its folders to be chosen."""
    with db.transaction() as session:
        account = accounts.an_account(session, is_set_up=False)
        passed_check(session, account)
        return account


def passed_check(session: object, account: Account, listed: list[dict[str, object]] = LISTED) -> None:
    session.add(
        Check(
            account_id=account.id,
            account_version=account.version,
            requested_by="Ada",
            finished_at=db.now(),
            outcome=CheckOutcome.PASSED,
            folders=listed,
        )
    )
    session.flush()


@pytest.fixture
def set_up(account: Account) -> Account:
    """The same account after its set-up."""
    with db.transaction() as session:
        found = session.get(Account, account.id)
        service.adopt_folders(session, account=found, listed=LISTED)
        service.set_up(session, found, window=Window.EVERYTHING, actor=SYSTEM)
    return account


def active(account: Account) -> set[str]:
    with db.reading() as session:
        return {f.path for f in session.query(Folder).filter_by(account_id=account.id, is_active=True)}


def runs() -> list[SyncRun]:
    with db.reading() as session:
        return session.query(SyncRun).all()


def unreachable_queue() -> None:
    queue.open_queue("unix:///nonexistent/queue.sock")


# Folders.


def test_folders_of_the_test_are_shown_and_nothing_is_stored(ada_at: Browser, account: Account) -> None:
    page = ada_at.get(f"/accounts/{account.id}/folders")
    words = page.words()
    assert "Step 5 of 6" in words
    assert "1,204" in words
    assert "3 of 4 chosen, 2,202 messages" in words
    assert "recognised by its name" in words
    assert "No folder is known for Drafts, Trash, Archive" in words
    ticked = {e.get("value") for e in page.all("input", type="checkbox") if e.get("checked") is not None}
    assert ticked == {"INBOX", "Gesendet", "<b>Offers</b>"}
    locked = page.one("input", type="checkbox", value="Calendar")
    assert locked.get("disabled") is not None
    assert page.value("role_sent") == "Gesendet"
    assert active(account) == set()


def test_chosen_folders_are_stored_and_the_last_step_comes(ada_at: Browser, account: Account) -> None:
    page = ada_at.post(f"/accounts/{account.id}/folders", FORM)
    assert (page.status, page.location) == (303, f"/accounts/{account.id}/window")
    assert active(account) == {"INBOX", "Gesendet"}


def test_folder_is_given_another_purpose(ada_at: Browser, account: Account) -> None:
    ada_at.post(f"/accounts/{account.id}/folders", FORM | {"role_sent": "<b>Offers</b>"})
    assert folder_of(account, "<b>Offers</b>").role is Role.SENT
    assert "chosen by you" in ada_at.get(f"/accounts/{account.id}/folders").words()


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"active": []}, "Tick at least one folder."),
        ({"active": ["Calendar"]}, "cannot be synced"),
        ({"role_trash": "Gesendet"}, "chosen for two purposes"),
        ({"active": ["Nowhere"]}, "Folders to sync"),
    ],
)
def test_impossible_choice_is_said_and_kept(
    ada_at: Browser, account: Account, change: dict[str, object], said: str, htmx: bool
) -> None:
    page = ada_at.post(f"/accounts/{account.id}/folders", FORM | change, htmx=htmx)
    assert page.status == 422
    assert said in page.words()
    assert page.value("role_sent") == "Gesendet"
    assert active(account) == set()


def test_folders_of_a_working_account_are_a_tab_and_a_change_is_synced(ada_at: Browser, set_up: Account) -> None:
    page = ada_at.get(f"/accounts/{set_up.id}/folders")
    assert page.all("nav", class_="tabs")
    page = ada_at.post(f"/accounts/{set_up.id}/folders", FORM)
    assert page.location == f"/accounts/{set_up.id}"
    assert [run.requested_by for run in runs()] == ["Ada Lindqvist"]


def test_unchanged_folders_ask_for_no_sync(ada_at: Browser, set_up: Account) -> None:
    ada_at.post(f"/accounts/{set_up.id}/folders", FORM | {"active": ["INBOX", "Gesendet", "<b>Offers</b>"]})
    assert runs() == []


def test_folder_that_is_gone_is_missed(ada_at: Browser, set_up: Account) -> None:
    with db.transaction() as session:
        service.adopt_folders(session, account=session.get(Account, set_up.id), listed=LISTED[:1])
    assert "“Gesendet” is gone from the server" in ada_at.get(f"/accounts/{set_up.id}/folders").words()


def test_account_whose_folders_nobody_has_read_says_how_they_appear(ada_at: Browser) -> None:
    with db.transaction() as session:
        account = accounts.an_account(session)
    page = ada_at.get(f"/accounts/{account.id}/folders")
    assert "The folders appear after a passed test" in page.words()
    assert page.one("a", href=f"/accounts/{account.id}/connection", class_="primary") is not None


def test_reading_the_list_again_is_a_test(ada_at: Browser, set_up: Account) -> None:
    page = ada_at.post(f"/accounts/{set_up.id}/folders/reload")
    assert page.location == f"/accounts/{set_up.id}/connection"
    with db.reading() as session:
        assert session.query(Check).filter_by(finished_at=None).count() == 1


# The last step.


def test_last_step_begins_the_first_sync(ada_at: Browser, account: Account) -> None:
    ada_at.post(f"/accounts/{account.id}/folders", FORM)
    assert ada_at.get(f"/accounts/{account.id}/window").one("input", value="3m").get("checked") is not None
    page = ada_at.get(f"/accounts/{account.id}/window")
    assert "All messages in the chosen folders: 2,190 messages" in page.words()
    assert page.one("input", value="everybody").get("checked") is not None
    page = ada_at.post(f"/accounts/{account.id}/window", {"window": "everything", "new_contacts": "written to"})
    assert page.location == f"/accounts/{account.id}/finished"
    now = account_now(account)
    assert (now.is_set_up, now.window, now.since) == (True, Window.EVERYTHING, None)
    assert now.new_contacts is NewContacts.WRITTEN_TO
    assert len(runs()) == 1
    assert f"{account.address} is connected" in ada_at.get(page.location).words()


def test_only_people_we_wrote_to_is_off_for_pop3(ada_at: Browser, account: Account) -> None:
    ada_at.post(f"/accounts/{account.id}/folders", FORM)
    with db.transaction() as session:
        copy = session.get_one(Account, account.id)
        copy.protocol, copy.new_contacts = ServerProtocol.POP3, NewContacts.WRITTEN_TO
    page = ada_at.get(f"/accounts/{account.id}/window")
    option = page.one("input", value="written to")
    assert (option.get("disabled"), option.get("checked")) == ("", None)
    assert "no Sent folder" in page.words(page.one("span", id=option.get("aria-describedby", "")))
    assert page.one("input", value="nobody").get("checked") is not None
    page = ada_at.post(f"/accounts/{account.id}/window", {"window": "1m", "new_contacts": "written to"})
    assert page.error("new_contacts").startswith("POP3 has no Sent folder")
    assert not account_now(account).is_set_up


@pytest.mark.parametrize("htmx", [False, True])
def test_window_that_does_not_exist_is_refused(ada_at: Browser, account: Account, htmx: bool) -> None:
    page = ada_at.post(f"/accounts/{account.id}/window", {"window": "yesterday", "new_contacts": "nobody"}, htmx=htmx)
    assert (page.status, account_now(account).is_set_up) == (422, False)


def test_last_step_without_folders_says_so(ada_at: Browser, account: Account) -> None:
    page = ada_at.post(f"/accounts/{account.id}/window", {"window": "1m", "new_contacts": "nobody"})
    assert page.status == 422
    assert "Choose the folders first" in page.words()


def test_account_that_is_set_up_has_no_last_step(ada_at: Browser, set_up: Account) -> None:
    assert ada_at.get(f"/accounts/{set_up.id}/window").location == f"/accounts/{set_up.id}"


# Runs.


def test_sync_now_without_javascript_leads_to_the_account(ada_at: Browser, set_up: Account) -> None:
    page = ada_at.post(f"/accounts/{set_up.id}/sync", follow=True)
    assert "The sync of billing@example.net was asked for" in page.words()
    assert "Waiting for a runner" in page.words()


def test_sync_now_answers_htmx_with_a_toast_and_the_panel(ada_at: Browser, set_up: Account) -> None:
    page = ada_at.post(f"/accounts/{set_up.id}/sync", htmx=True)
    assert "was asked for" in page.words(page.one("dialog"))
    assert page.one("section", id=f"sync-{set_up.id}").get("hx-trigger") == "every 2s"


def test_unreachable_queue_is_said_and_the_run_waits(ada_at: Browser, set_up: Account) -> None:
    unreachable_queue()
    assert "The queue cannot be reached" in ada_at.post(f"/accounts/{set_up.id}/sync", htmx=True).words()
    assert "The queue cannot be reached" in ada_at.get(f"/accounts/{set_up.id}/sync", htmx=True).words()
    assert len(runs()) == 1
    queue.open_queue(boot.settings().redis_url)


def test_paused_account_is_not_synced(ada_at: Browser, set_up: Account) -> None:
    change(set_up, health=Health.PAUSED)
    page = ada_at.post(f"/accounts/{set_up.id}/sync", htmx=True)
    assert "This account is paused. Resume it first." in page.words(page.one("dialog"))
    assert runs() == []


def test_panel_stops_asking_when_the_run_has_ended(ada_at: Browser, set_up: Account) -> None:
    inbox = Kept()
    inbox.add(1, 2, 3)
    server = MemoryServer(INBOX=inbox, Gesendet=Kept(), **{"<b>Offers</b>": Kept(lie=1)})
    assert synced(set_up, opening=server).outcome is RunOutcome.PARTIAL
    page = ada_at.get(f"/accounts/{set_up.id}/sync", htmx=True)
    assert page.one("section", id=f"sync-{set_up.id}").get("hx-trigger") is None
    words = page.words()
    assert "Not complete" in words
    assert "The server counts 1 messages but lists 0" in words
    assert "3 messages in 3 folders" in words


def test_panel_shows_the_progress_of_each_folder(ada_at: Browser, set_up: Account) -> None:
    inbox, seen = Kept(), []
    inbox.add(*range(1, 8))
    server = MemoryServer(INBOX=inbox, Gesendet=Kept(), **{"<b>Offers</b>": Kept()})
    server.before = lambda word, batches: (
        batches == 2 and seen.append(ada_at.get(f"/accounts/{set_up.id}/sync", htmx=True).words())
    )
    synced(set_up, opening=server)
    assert "3 of about 1,005 messages read" in seen[0]  # 998 more were counted by the test.
    assert "3 of 7" in seen[0]
    assert "0 of 3 folders done" in seen[0]


def test_panel_of_a_run_that_waits_shows_no_old_progress(ada_at: Browser, set_up: Account) -> None:
    inbox = Kept()
    inbox.add(1, 2, 3)
    synced(set_up, opening=MemoryServer(INBOX=inbox, Gesendet=Kept(), **{"<b>Offers</b>": Kept()}))
    a_run(set_up)
    words = ada_at.get(f"/accounts/{set_up.id}/sync", htmx=True).words()
    assert "Asked for by Ada Lindqvist" in words
    assert "messages read" not in words


def test_panel_without_htmx_is_the_account_page(ada_at: Browser, set_up: Account) -> None:
    assert ada_at.get(f"/accounts/{set_up.id}/sync").location == f"/accounts/{set_up.id}"


def test_account_page_shows_why_a_run_failed(ada_at: Browser, set_up: Account) -> None:
    assert synced(set_up).outcome is RunOutcome.FAILED
    words = ada_at.get(f"/accounts/{set_up.id}").words()
    assert "Failed" in words


def test_pause_and_resume(ada_at: Browser, set_up: Account) -> None:
    assert "is paused" in ada_at.post(f"/accounts/{set_up.id}/pause", follow=True).words()
    assert account_now(set_up).health is Health.PAUSED
    assert "goes on" in ada_at.post(f"/accounts/{set_up.id}/resume", follow=True).words()
    assert len(runs()) == 1


def test_worker_may_not_change_anything(browser: Browser, wim: object, set_up: Account) -> None:
    browser.sign_in("wim@example.com", "lamp desk harbour 7")
    for path in ("folders", "folders/reload", "folders/count", "reinitialise", "sync", "pause", "resume"):
        assert browser.post(f"/accounts/{set_up.id}/{path}").status in (302, 303, 403)
    assert runs() == []
