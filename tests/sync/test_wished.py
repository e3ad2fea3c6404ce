"""Folders that people wished for: created on a real Dovecot before anything is read, or refused with the reason."""

from collections.abc import Sequence

import pytest

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail import types as mail
from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Role
from mailadmin.permissions import SYSTEM
from mailadmin.sync import changes, service
from mailadmin.sync.folders import stored
from mailadmin.sync.models import Folder, RoleSource, RunOutcome
from mailadmin.sync.new_folders import wish_role
from tests.conftest import both_databases
from tests.servers.dovecot import Dovecot
from tests.sync.factories import Box, Kept, MemoryServer, account_now, an_account, folder_of, messages_of, synced

pytestmark = pytest.mark.usefixtures("booted")
INBOX = mail.Folder("INBOX", "INBOX", "/", role=Role.INBOX, role_source="server")


def wish(account: Account, *roles: Role, active: tuple[str, ...] = ("INBOX",)) -> None:
    with db.transaction() as session:
        found = session.get(Account, account.id)
        ids = {row.id for row in stored(session, account.id) if row.path in active}
        service.choose_folders(session, found, active=ids, roles={}, wished=roles, actor=SYSTEM)


def subscribed(dovecot: Dovecot, user: str) -> bytes:
    with dovecot.session(user) as session:
        return b" ".join(session.lsub()[1])


@pytest.fixture(scope="module")
def plain() -> object:
    """A server that names no roles, and keeps all folders below INBOX."""
    below = "namespace inbox {\n  prefix = INBOX.\n  separator = .\n}\n"
    with Dovecot({f"u{n}@example.org": "password" for n in range(300)}, special_use=False, extra=below) as server:
        yield server


@pytest.fixture
def dovecot(plain: Dovecot) -> Dovecot:
    """Instead of the Dovecot of the other tests of sync."""
    return plain


@both_databases
def test_it_is_created_where_the_server_keeps_folders_and_read_at_once(box: Box) -> None:
    box.deliver(3)
    account = box.account()
    wish(account, Role.ARCHIVE, Role.SENT)
    assert account_now(account).sent_folder == "", "no copy goes where there is no folder yet"
    run = synced(account)
    assert run.outcome is RunOutcome.COMPLETE, run.reason
    archive = folder_of(account, "INBOX.Archive")
    assert (archive.is_wished, archive.is_gone, archive.is_active) == (False, False, True)
    assert (archive.role, archive.role_source) == (Role.ARCHIVE, RoleSource.PERSON)
    assert archive.is_complete
    assert b"INBOX.Archive" in subscribed(box.dovecot, box.user)
    assert account_now(account).sent_folder == "INBOX.Sent"
    box.deliver(2, folder="Archive")
    synced(account)
    assert len(messages_of(account, "INBOX.Archive")) == 2
    assert len(messages_of(account)) == 3


def test_one_that_somebody_else_made_meanwhile_is_taken(box: Box) -> None:
    account = box.account()
    wish(account, Role.ARCHIVE)
    box.dovecot.create("INBOX.Archive", box.user)
    assert synced(account).outcome is RunOutcome.COMPLETE
    assert folder_of(account, "INBOX.Archive").role is Role.ARCHIVE


def test_a_copy_that_waits_for_it_goes_to_the_one_that_was_there_already(box: Box) -> None:
    account = box.account()
    box.dovecot.create("INBOX.Sent", box.user)
    with db.transaction() as session:
        found = session.get(Account, account.id)
        assert found
        folder = wish_role(session, found, Role.SENT)
        assert folder.path == "Sent"  # Nobody knows yet that all folders are below INBOX.
        session.add(Folder(account_id=account.id, path="INBOX.Sent", name="Sent", delimiter="."))
        content = b"Message-ID: <one@example.org>\r\nSubject: One\r\n\r\nHello\r\n"
        changes.file_copy(session, found, folder=folder, content=content, subject="One", actor=SYSTEM)
    synced(account)
    synced(account)
    assert [message.subject for message in messages_of(account, "INBOX.Sent")] == ["One"]


def test_a_wish_that_was_taken_back_leaves_nothing(box: Box) -> None:
    account = box.account()
    wish(account, Role.ARCHIVE)
    with db.transaction() as session:
        found = session.get(Account, account.id)
        ids = {row.id for row in stored(session, account.id)}
        service.choose_folders(session, found, active=ids, roles={Role.ARCHIVE: None}, actor=SYSTEM)
    synced(account)
    with db.reading() as session:
        assert [row.path for row in stored(session, account.id)] == ["INBOX"]


class Stubborn(MemoryServer):
    """It creates no folders."""

    def place_for(self, name: str, listed: Sequence[mail.Folder]) -> str:
        return name

    def create(self, path: str, role: Role | None = None) -> None:
        self._ask(f"create {path}")
        raise Refused(Category.PERMISSION, "The server does not permit this.", detail="[NOPERM] Not in this house")


def test_a_refusal_is_the_folders_trouble_and_the_sync_goes_on() -> None:
    inbox = Kept()
    inbox.add(1, 2)
    server, account = Stubborn(INBOX=inbox), an_account(folders=[INBOX])
    wish(account, Role.ARCHIVE)
    run = synced(account, opening=server)
    assert (run.outcome, run.new) == (RunOutcome.PARTIAL, 2)
    assert run.reason == "Archive: The folder could not be created: [NOPERM] Not in this house"
    assert "create Archive" in server.asked
    assert "examine Archive" not in server.asked
    assert folder_of(account, "Archive").is_wished
    assert synced(account, opening=server).outcome is RunOutcome.PARTIAL, "it is tried again"


def test_a_folder_that_is_gone_and_wished_for_keeps_what_was_read_when_the_wish_ends() -> None:
    old = Kept()
    old.add(1, 2)
    server = MemoryServer(INBOX=Kept(), Archive=old)
    account = an_account(folders=[INBOX, mail.Folder("Archive", "Archive", "/")])
    synced(account, opening=server)
    del server.kept["Archive"]
    synced(account, opening=server)
    wish(account, Role.ARCHIVE)
    assert folder_of(account, "Archive").is_wished
    with db.transaction() as session:
        found = session.get(Account, account.id)
        ids = {folder_of(account).id}
        service.choose_folders(session, found, active=ids, roles={Role.ARCHIVE: None}, actor=SYSTEM)
    folder = folder_of(account, "Archive")
    assert (folder.is_wished, folder.is_gone) == (False, True)
    assert len(messages_of(account, "Archive")) == 2


class Boundless(Stubborn):
    """Its namespace never ends."""

    def place_for(self, name: str, listed: Sequence[mail.Folder]) -> str:
        return "x" * 2000 + name

    def create(self, path: str, role: Role | None = None) -> None:
        self._ask("create")


def test_a_path_that_is_far_too_long_is_the_folders_trouble_and_the_sync_goes_on() -> None:
    inbox = Kept()
    inbox.add(1, 2)
    server, account = Boundless(INBOX=inbox), an_account(folders=[INBOX])
    wish(account, Role.ARCHIVE)
    run = synced(account, opening=server)
    assert (run.outcome, run.new) == (RunOutcome.PARTIAL, 2)
    assert "create" not in server.asked
