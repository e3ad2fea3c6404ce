"""Dry runs: what a sync would bring is counted, nothing is stored, and no sync waits for it."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts.models import Account, Health, NewContacts, Window
from mailadmin.contacts.models import Contact
from mailadmin.errors import RuleBroken
from mailadmin.mail import types as mail
from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Role
from mailadmin.permissions import SYSTEM
from mailadmin.sync import claims, counting, dry, jobs, service
from mailadmin.sync.models import Folder, Message, PopMessage, RunKind, RunOutcome, SyncRun
from tests.conftest import both_databases
from tests.pages import Browser
from tests.sync.factories import Box, Kept, MemoryServer, account_now, an_account, change, folder_of, stored_run, synced
from tests.sync.pop_factories import PopBox
from tests.sync.test_routes import passed_check, unreachable_queue

INBOX = mail.Folder("INBOX", "INBOX", "/", role=Role.INBOX, role_source="server")
SENT = mail.Folder("Sent", "Sent", "/", role=Role.SENT, role_source="server")
AGO = {"week": timedelta(days=7), "2m": timedelta(days=60), "5m": timedelta(days=150), "old": timedelta(days=900)}


def filled(first: int, count: int, age: str, **wanted: Any) -> dict[int, mail.Envelope]:
    """`count` messages that came so long ago, each from somebody of its own."""
    moment = db.now() - AGO[age]
    return {
        uid: mail.Envelope(uid, received_at=moment, size=1000, from_address=f"w{uid}@writer.example", **wanted)
        for uid in range(first, first + count)
    }


def a_server() -> MemoryServer:
    """An inbox with mail of four ages, and two messages that were sent to three people lately."""
    inbox, sent = Kept(), Kept()
    inbox.messages = filled(1, 4, "old") | filled(5, 3, "5m") | filled(8, 2, "2m") | filled(10, 1, "week")
    to = (("Ida", "ida@reader.example"), ("", "Jon+x@reader.example"))
    sent.messages = filled(1, 1, "week", recipients=to) | filled(2, 1, "week", recipients=(("", "jon@reader.example"),))
    return MemoryServer(INBOX=inbox, Sent=sent)


@pytest.fixture
def server(booted: object) -> MemoryServer:
    return a_server()


@pytest.fixture
def account(server: MemoryServer) -> Account:
    return an_account(folders=[INBOX, SENT])


@pytest.fixture
def unfinished(server: MemoryServer) -> Account:
    """An account at the last step of its set-up: tested, its folders chosen."""
    made = an_account(folders=[INBOX, SENT], is_set_up=False)
    with db.transaction() as session:
        passed_check(session, session.get_one(Account, made.id))
    return made


def asked(account: Account) -> SyncRun:
    with db.transaction() as session:
        return dry.request(session, account=session.get_one(Account, account.id), requested_by="Ada Lindqvist")


def counted(account: Account, opening: Any = None, **wanted: Any) -> SyncRun:
    """A dry run of `account` after it was worked on."""
    run = asked(account)
    dry.perform(run.id, opening=opening, **wanted)
    return stored_run(run)


def number_of(table: Any) -> int:
    with db.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def sums(run: SyncRun) -> dict[str, Any]:
    assert run.found is not None
    return dict(run.found[0])


# What it counts.


@both_databases
def test_each_window_is_counted_with_its_contacts_and_nothing_is_stored(account: Account, server: MemoryServer) -> None:
    before = account_now(account)
    run = counted(account, server)
    assert (run.kind, run.outcome, run.reason) == (RunKind.DRY, RunOutcome.COMPLETE, "")
    told = sums(run)
    assert told["messages"] == {"1m": 3, "3m": 5, "6m": 8, "everything": 12}
    assert told["sizes"] == {"1m": 3000, "3m": 5000, "6m": 8000, "everything": 12000}
    assert told["contacts"]["written to"] == {"1m": 2, "3m": 2, "6m": 2, "everything": 2}
    assert told["contacts"]["everybody"] == {"1m": 3, "3m": 5, "6m": 8, "everything": 12}
    assert not any(told["least"].values())
    assert {f["path"]: f["messages"]["3m"] for f in (run.found or [])[1:]} == {"INBOX": 3, "Sent": 2}
    assert (number_of(Message), number_of(Contact), number_of(PopMessage)) == (0, 0, 0)
    after, inbox = account_now(account), folder_of(account)
    for name in ("health", "synced_at", "next_sync_at", "running_since", "incomplete", "stored", "version"):
        assert getattr(after, name) == getattr(before, name), name
    assert (inbox.synced_at, inbox.run_total, inbox.window, inbox.is_complete) == (None, None, "", False)


def test_who_is_a_contact_already_is_not_new(account: Account, server: MemoryServer) -> None:
    with db.transaction() as session:
        session.add(Contact(address="jon@reader.example"))
    assert sums(counted(account, server))["contacts"]["written to"]["everything"] == 1


def test_number_says_at_least_where_not_everything_was_looked_at(
    account: Account, server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "SAMPLE", 4)
    told = sums(counted(account, server))
    assert told["messages"]["everything"] == 12  # The server counts that.
    assert told["contacts"]["everybody"]["everything"] == 6
    assert told["least"]["everybody"] == ["6m", "everything"]
    assert told["least"]["written to"] == []
    assert told["sizes"]["everything"] == 12000  # from the mean
    assert told["sized"] == ["1m", "3m"]


def test_mail_that_would_not_be_kept_is_not_counted(account: Account, server: MemoryServer) -> None:
    change(account, keep_months=4)
    assert sums(counted(account, server))["messages"] == {"1m": 3, "3m": 5, "6m": 5, "everything": 5}


def test_folder_that_is_refused_does_not_stop_the_others(account: Account, server: MemoryServer) -> None:
    server.kept["INBOX"].refuses = Refused(Category.PERMISSION, "Permission denied")
    run = counted(account, server)
    told = {f["path"]: f for f in (run.found or [])[1:]}
    assert run.outcome is RunOutcome.COMPLETE
    assert told["INBOX"]["trouble"]
    assert told["Sent"]["messages"]["everything"] == 2
    assert sums(run)["least"]["everybody"]  # Nobody knows who is in the other folder.


def test_real_server_is_counted_and_left_as_it_was(box: Box) -> None:
    box.deliver(3, moment=db.now() - AGO["old"])
    box.deliver(2)
    told = sums(counted(box.account()))
    assert told["messages"] == {"1m": 2, "3m": 2, "6m": 2, "everything": 5}
    assert told["read"] == 5
    assert told["sized"] == ["1m", "3m", "6m", "everything"]
    assert set(box.flags().values()) == {""}


def test_sync_makes_the_contacts_that_were_counted(box: Box) -> None:
    senders = (
        "ida@writer.example",
        "IDA+news@writer.example",
        "jon@writer.example",
        "no-reply@writer.example",
        box.user,
    )
    raw = [f"From: {sender}\r\nTo: {box.user}\r\nSubject: Hello\r\n\r\nHello\r\n".encode() for sender in senders]
    box.dovecot.deliver(((each, db.now()) for each in raw), user=box.user, folder="INBOX", flags="")
    account = box.account(new_contacts=NewContacts.EVERYBODY)
    told = sums(counted(account))["contacts"]["everybody"]["everything"]
    assert synced(account).new == len(senders)
    assert number_of(Contact) == told == 2


def test_pop3_tells_by_its_headers_and_gives_no_message_a_number(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "SAMPLE", 4)
    popbox = PopBox(box.dovecot, box.user)
    popbox.deliver(6)
    run = counted(popbox.account())
    told = sums(run)
    assert run.outcome is RunOutcome.COMPLETE
    assert told["messages"]["everything"] == 6
    assert told["read"] == 4
    assert "everything" in told["sized"]  # LIST tells the sizes of all.
    assert "written to" not in told["contacts"]
    assert number_of(PopMessage) == 0


# How it ends.


def test_time_is_over_and_what_was_counted_stays(account: Account, server: MemoryServer) -> None:
    def be_silent(word: str, count: int) -> None:
        if word == "examine Sent":
            while not server.deadline.is_over:
                server.deadline.left()
            raise MailError(Category.TIMEOUT, "The server was silent for too long.")

    server.before = be_silent
    run = counted(account, server, seconds=2.0)
    assert (run.outcome, run.category) == (RunOutcome.PARTIAL, None)
    assert "time was over" in run.reason
    assert sums(run)["messages"]["everything"] == 10
    assert sums(run)["counted"] == 1


def test_lost_dry_run_whose_time_is_over_ends(account: Account, server: MemoryServer) -> None:
    run = asked(account)
    with db.transaction() as session:
        session.get_one(SyncRun, run.id).started_at = db.now() - timedelta(minutes=3)
        assert [lost.id for lost in service.lost_runs(session)] == []  # It was rung for a moment ago.
    dry.perform(run.id, opening=server)
    assert (stored_run(run).outcome, server.asked) == (RunOutcome.PARTIAL, [])


def test_failure_says_why_and_nothing_about_the_health(account: Account) -> None:
    def refuse(leg: object) -> Any:
        raise MailError(Category.AUTH, "Authentication failed.", permanent=True)

    run = counted(account, refuse)
    assert (run.outcome, run.category, run.found) == (RunOutcome.FAILED, Category.AUTH, None)
    assert run.diagnosis is not None
    now = account_now(account)
    assert (now.health, now.failures) == (account.health, 0)
    with db.reading() as session:
        assert service.diagnosis(session, account.id) is None
        assert service.panel(session, now)["sync"]["last"] is None


def test_sync_that_is_asked_for_ends_the_dry_run_and_does_not_wait(account: Account, server: MemoryServer) -> None:
    run = asked(account)
    seen: list[SyncRun] = []

    def sync_now(word: str, count: int) -> None:
        if word == "examine Sent" and not seen:
            seen.append(synced(account, opening=a_server()))

    server.before = sync_now
    dry.perform(run.id, opening=server)
    assert (seen[0].kind, seen[0].outcome, seen[0].new) == (RunKind.USUAL, RunOutcome.COMPLETE, 12)
    ended = stored_run(run)
    assert (ended.outcome, ended.reason) == (RunOutcome.PARTIAL, "A sync began before everything was counted.")
    with db.reading() as session:
        assert session.query(SyncRun).filter(SyncRun.finished_at.is_(None)).count() == 0


def test_pause_stops_it(account: Account, server: MemoryServer) -> None:
    server.before = lambda word, count: word == "examine INBOX" and change(account, health=Health.PAUSED)
    run = counted(account, server)
    assert (run.outcome, run.reason) == (RunOutcome.PARTIAL, "The account was paused.")


def test_first_dry_run_needs_no_line_of_first_syncs(unfinished: Account, server: MemoryServer) -> None:
    run = asked(unfinished)
    with db.transaction() as session:
        assert claims.jobs_of(session, [run.id]) == {run.id: claims.USUAL}
        assert claims.claim(session, first=True, limit=9) == []
        assert claims.claim(session, first=False, limit=9) == [run.id]


def test_job_counts_and_does_not_sync(
    unfinished: Account, server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, count = asked(unfinished), dry.perform
    monkeypatch.setattr(dry, "perform", lambda run_id: count(run_id, opening=server))
    jobs.run_sync(run.id)
    assert stored_run(run).outcome is RunOutcome.COMPLETE
    assert number_of(Message) == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"health": Health.PAUSED}, "paused"),
        ({"health": Health.NEEDS_ATTENTION}, "Test the connection first"),
        ({"is_set_up": False}, "Test the connection first"),
        ({"deleting_at": db.now()}, "being deleted"),
    ],
)
def test_no_dry_run_where_nothing_can_be_counted(account: Account, values: dict[str, Any], said: str) -> None:
    change(account, **values)
    with pytest.raises(RuleBroken, match=said):
        asked(account)


def test_no_dry_run_while_a_sync_goes_on_or_no_folder_is_chosen(account: Account) -> None:
    with db.transaction() as session:
        service.request_run(session, account=session.get_one(Account, account.id), requested_by="Ada")
    with pytest.raises(RuleBroken, match="goes on"):
        asked(account)
    with db.transaction() as session:
        session.query(Folder).update({"is_active": False})
    with pytest.raises(RuleBroken, match="Choose the folders"):
        asked(account)


def test_second_click_is_the_same_dry_run(account: Account) -> None:
    assert asked(account).id == asked(account).id


# Pages.


def test_last_step_counts_and_the_first_sync_follows(
    ada_at: Browser, unfinished: Account, server: MemoryServer
) -> None:
    page = ada_at.get(f"/accounts/{unfinished.id}/window")
    assert "Nothing is stored" in page.words()
    part = ada_at.post(f"/accounts/{unfinished.id}/dry-run", htmx=True)
    assert part.one("section", id=f"dry-{unfinished.id}").get("hx-trigger") == "every 1s"
    with db.reading() as session:
        run = service.open_run(session, unfinished.id)
        assert run is not None
    dry.perform(run.id, opening=server)
    part = ada_at.get(f"/accounts/{unfinished.id}/dry-run/now", htmx=True)
    assert part.one("section", id=f"dry-{unfinished.id}").get("hx-trigger") is None
    words = part.words()
    for said in ("3 months 5", "Everything 12", "12.0 KB", "Every message was looked at. Nothing was stored."):
        assert said in words, words
    asked(unfinished)
    with db.transaction() as session:
        found = session.get_one(Account, unfinished.id)
        service.set_up(session, found, window=Window.EVERYTHING, new_contacts=NewContacts.EVERYBODY, actor=SYSTEM)
    assert synced(unfinished, opening=server).new == 12


def test_without_javascript_what_was_chosen_stays(ada_at: Browser, unfinished: Account) -> None:
    typed = {"window": "6m", "new_contacts": "everybody"}
    answer = ada_at.post(f"/accounts/{unfinished.id}/dry-run", typed)
    assert answer.status == 303
    page = ada_at.get(answer.location)
    chosen = {e.get("value") for e in page.all("input", type="radio") if e.get("checked") is not None}
    assert chosen == {"6m", "everybody"}


def test_page_of_a_set_up_account_shows_what_is_here_already(
    ada_at: Browser, account: Account, server: MemoryServer
) -> None:
    synced(account, opening=server)
    counted(account, server)
    words = ada_at.get(f"/accounts/{account.id}/dry-run").words()
    assert "Here already" in words
    assert "as it is now" in words
    assert f"/accounts/{account.id}/dry-run" in [
        a.get("href") for a in ada_at.get(f"/accounts/{account.id}/settings").all("a")
    ]


def test_refusal_is_said_where_the_button_is(ada_at: Browser, account: Account) -> None:
    change(account, health=Health.PAUSED)
    assert "This account is paused" in ada_at.post(f"/accounts/{account.id}/dry-run", htmx=True).words()
    assert "This account is paused" in ada_at.post(f"/accounts/{account.id}/dry-run", follow=True).words()


def test_queue_that_is_away_is_said(ada_at: Browser, account: Account) -> None:
    unreachable_queue()
    assert "queue cannot be reached" in ada_at.post(f"/accounts/{account.id}/dry-run", htmx=True).words()


def test_worker_may_not_count(browser: Browser, wim: object, account: Account) -> None:
    browser.sign_in("wim@example.com", "lamp desk harbour 7")
    assert browser.post(f"/accounts/{account.id}/dry-run").status in (302, 303, 403)
    assert number_of(SyncRun) == 0
