"""Audits: what is stored is compared with a server that lies, repaired, and called equal only when it is."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select, update

from mailadmin import db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account
from mailadmin.mail import types as mail
from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.types import Envelope
from mailadmin.sync import audited, service
from mailadmin.sync.models import (
    ChangeKind,
    Message,
    PendingChange,
    RunKind,
    RunOutcome,
    SyncRun,
)
from mailadmin.sync.run import perform
from tests.conftest import both_databases
from tests.sync.factories import Kept, MemoryServer, account_now, an_account, flags_of, folder_of, stored_run, synced

SEEN = frozenset({"\\Seen"})


@pytest.fixture
def server(booted: object) -> MemoryServer:
    inbox = Kept()
    inbox.add(*range(1, 11), flags=SEEN)
    made = MemoryServer(INBOX=inbox)
    made.tells_status = True
    return made


@pytest.fixture
def inbox(server: MemoryServer) -> Kept:
    return server.kept["INBOX"]


@pytest.fixture
def account(server: MemoryServer) -> Account:
    made = an_account()
    synced(made, opening=server)
    server.asked.clear()
    return made


def wanted(account: Account) -> SyncRun:
    """A run that somebody has asked for as an audit."""
    with db.transaction() as session:
        found = session.get_one(Account, account.id)
        return service.request_run(session, account=found, requested_by="Ada Lindqvist", kind=RunKind.AUDIT)


def audit(account: Account, server: MemoryServer) -> SyncRun:
    """The audit after it was worked on."""
    run = wanted(account)
    perform(run.id, batch=3, opening=server)
    return stored_run(run)


def spoil(account: Account) -> None:
    """Let three of our rows be other than they must be, as no usual run notices: one less, one more, one unread."""
    folder = folder_of(account)
    mine = Message.folder_id == folder.id, Message.generation == folder.generation
    with db.transaction() as session:
        session.execute(delete(Message).where(*mine, Message.uid == 2))
        session.execute(update(Message).where(*mine, Message.uid == 3).values(uid=333))
        session.execute(update(Message).where(*mine, Message.uid == 4).values(flags="", is_read=False))


@both_databases
def test_audit_finds_what_no_usual_run_notices_and_repairs_it(
    account: Account, server: MemoryServer, inbox: Kept
) -> None:
    spoil(account)
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert len(flags_of(account)) == 9
    run = audit(account, server)
    assert run.outcome is RunOutcome.COMPLETE
    assert run.found
    assert {name: run.found[0][name] for name in ("folder", "missing", "extra", "flags", "left")} == {
        "folder": "INBOX",
        "missing": 2,
        "extra": 1,
        "flags": 1,
        "left": 0,
    }
    assert flags_of(account) == dict.fromkeys(inbox.messages, "\\Seen")
    now = account_now(account)
    assert (now.audit_agrees, now.audited_at, now.incomplete) == (True, run.finished_at, "")
    assert accounts.state_of(now) == "connected"


def test_audit_that_finds_nothing_reads_the_list_once_and_fetches_nothing(
    account: Account, server: MemoryServer
) -> None:
    run = audit(account, server)
    assert (run.found, run.new, run.changed, run.gone) == ([], 0, 0, 0)
    assert server.asked.count("flags") == 1
    assert not any(isinstance(asked, list) for asked in server.asked)
    audit_ = folder_of(account).audit
    assert audit_ == {
        "server": 10, "stored": 10, "unreadable": 0, "why": [], "missing": 0, "extra": 0, "flags": 0, "left": 0,
    }  # fmt: skip


def test_news_that_come_while_we_look_are_no_difference(account: Account, server: MemoryServer, inbox: Kept) -> None:
    news = iter([11, 12])

    def arrive(word: str, batches: int) -> None:
        if word == "flags" and (uid := next(news, 0)):
            inbox.add(uid, flags=SEEN)

    server.before = arrive
    run = audit(account, server)
    assert (run.outcome, run.found, run.new) == (RunOutcome.COMPLETE, [], 2)
    assert account_now(account).audit_agrees


def test_mailbox_that_never_rests_is_audited_all_the_same(account: Account, server: MemoryServer, inbox: Kept) -> None:
    spoil(account)
    uids = iter(range(11, 99))

    def arrive(word: str, batches: int) -> None:
        if word == "examine INBOX":
            inbox.add(next(uids), flags=SEEN)

    server.before = arrive
    run = audit(account, server)
    assert run.outcome is RunOutcome.COMPLETE
    now, folder = account_now(account), folder_of(account)
    assert now.audit_agrees
    assert folder.audit
    assert folder.audit["left"] == 0
    assert {2, 3, 4} <= flags_of(account).keys()


def test_server_that_says_something_else_each_time_is_not_called_equal(
    account: Account, server: MemoryServer, inbox: Kept
) -> None:
    inbox.lie = 3
    run = audit(account, server)
    assert run.outcome is RunOutcome.PARTIAL
    now = account_now(account)
    assert now.audit_agrees is False
    assert accounts.state_of(now) == "partial"
    inbox.lie = 0
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    now = account_now(account)
    assert (accounts.state_of(now), now.incomplete[:24]) == ("partial", "The last full comparison")
    assert audit(account, server).outcome is RunOutcome.COMPLETE
    assert accounts.state_of(account_now(account)) == "connected"


def test_folder_that_cannot_be_opened_is_not_compared_and_the_others_are(server: MemoryServer) -> None:
    server.kept["Sent"] = Kept()
    server.kept["Sent"].add(1, 2)
    folders = [mail.Folder(path, path, "/") for path in ("INBOX", "Sent")]
    account = an_account(folders=folders)
    synced(account, opening=server)
    server.tells_status = False
    server.kept["INBOX"].refuses = Refused(Category.PERMISSION, "The server does not let us open this folder.")
    run = audit(account, server)
    assert (run.outcome, run.found) == (RunOutcome.PARTIAL, [])
    assert folder_of(account, "INBOX").audited_at is None
    assert folder_of(account, "Sent").audited_at is not None
    now = account_now(account)
    assert (now.audit_agrees, accounts.state_of(now)) == (False, "partial")
    with db.reading() as session:
        told = audited.told(session, now)
    assert told
    assert (told.folders, told.not_compared, told.server, told.stored) == (1, 1, 2, 2)


def test_unreadable_messages_are_told_with_their_reasons(server: MemoryServer, inbox: Kept) -> None:
    inbox.silent = {4}
    inbox.messages[5] = Envelope(5, unreadable="The header of this message cannot be read.")
    account = an_account()
    synced(account, opening=server)
    audit(account, server)
    with db.reading() as session:
        told = audited.told(session, account_now(account))
    assert told
    assert (told.agrees, told.server, told.stored, told.unreadable) == (True, 10, 10, 2)
    assert dict(told.why) == {
        "The header of this message cannot be read.": 1,
        "The server lists this message but does not deliver it.": 1,
    }


@both_databases
def test_what_a_person_has_changed_and_the_server_has_not_heard_is_no_difference(
    account: Account, server: MemoryServer
) -> None:
    folder = folder_of(account)
    with db.transaction() as session:
        mine = Message.folder_id == folder.id, Message.uid == 4
        session.execute(update(Message).where(*mine).values(flags="", is_read=False))
        change = PendingChange(
            account_id=account.id, folder_id=folder.id, kind=ChangeKind.FLAGS, removed="\\Seen", uid=4
        )
        change.generation = folder.generation
        session.add(change)
    run = audit(account, server)
    assert run.found == []


@both_databases
def test_run_that_goes_on_becomes_an_audit_when_one_is_asked_for(account: Account, server: MemoryServer) -> None:
    spoil(account)
    with db.transaction() as session:
        found = session.get_one(Account, account.id)
        run = service.request_run(session, account=found, requested_by="Schedule")

    def ask(word: str, batches: int) -> None:
        if word == "close":  # Its folders have been read; only the end is left.
            server.before = lambda word, batches: None
            assert wanted(account).id == run.id

    server.before = ask
    perform(run.id, opening=server)
    assert stored_run(run).found
    assert account_now(account).audit_agrees


def test_audit_that_breaks_off_says_nothing(account: Account, server: MemoryServer) -> None:
    def break_off(word: str, batches: int) -> None:
        if word == "flags":
            raise MailError(Category.NETWORK, "The connection to the server broke.")

    server.before = break_off
    assert audit(account, server).outcome is RunOutcome.FAILED
    now = account_now(account)
    assert (now.audited_at, now.audit_agrees) == (None, None)


# When.

NIGHT = datetime(2026, 6, 2, 7, tzinfo=UTC)


def an_audited(**values: object) -> Account:
    usual = {"id": 1, "synced_at": NIGHT, "audited_at": NIGHT, "audit_agrees": True}
    return Account(**{**usual, **values})


def test_every_account_is_audited_once_a_night_each_at_its_own_time() -> None:
    begins = set()
    for number in range(1, 200):
        account = an_audited(id=number)
        due = [audited.is_due(account, NIGHT + timedelta(minutes=10 * n)) for n in range(24 * 6)]
        assert (due[0], due[-1], due == sorted(due)) == (False, True, True)
        begins.add(due.index(True))
    hours = {(NIGHT + timedelta(minutes=10 * n)).hour for n in begins}
    assert hours == {22, 23, 0, 1, 2, 3, 4, 5, 6}
    assert len(begins) > 40


@pytest.mark.parametrize(
    ("values", "is_due"),
    [
        ({"synced_at": None, "audited_at": None, "audit_agrees": None}, False),
        ({"audited_at": None, "audit_agrees": None}, True),
        ({}, False),
        ({"audit_agrees": False}, False),
        ({"audit_agrees": False, "synced_at": NIGHT + timedelta(minutes=30)}, True),
        ({"audit_agrees": False, "audited_at": NIGHT + timedelta(minutes=30), "synced_at": NIGHT}, False),
    ],
)
def test_audit_is_due_after_the_first_sync_and_after_one_that_did_not_agree(
    values: dict[str, object], is_due: bool
) -> None:
    assert audited.is_due(an_audited(**values), NIGHT + timedelta(hours=2)) is is_due


def test_what_is_due_by_itself_becomes_an_audit(account: Account, server: MemoryServer) -> None:
    kinds: list[RunKind] = []
    for _ in range(2):
        with db.transaction() as session:
            session.get_one(Account, account.id).next_sync_at = db.now()
            ids = service.request_due_runs(session)
        kinds.append(stored_run(SyncRun(id=ids[0])).kind)
        perform(ids[0], opening=server)
    assert kinds == [RunKind.AUDIT, RunKind.USUAL]
    with db.reading() as session:
        assert len(session.scalars(select(SyncRun.id)).all()) == 3
