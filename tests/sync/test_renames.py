"""Folders that are renamed on the server keep their messages and what people chose; those that went are forgotten."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail import types as mail
from mailadmin.mail.answers import Refused
from mailadmin.mail.errors import Category
from mailadmin.mail.types import Role
from mailadmin.permissions import SYSTEM
from mailadmin.sync import service
from mailadmin.sync.gone import forget_gone_folders
from mailadmin.sync.models import Folder, Message, RoleSource, RunKind, RunOutcome
from mailadmin.sync.run import perform
from tests.conftest import both_databases
from tests.sync.factories import Box, Kept, MemoryServer, an_account, flags_of, folder_of, stored_run, synced

PATHS = ("INBOX", "Offers", "Private")


@pytest.fixture
def server(booted: object) -> MemoryServer:
    made = MemoryServer(**{path: Kept() for path in PATHS})
    for number, kept in enumerate(made.kept.values()):
        kept.add(*range(1, 4 + number))
    made.tells_status = True
    return made


@pytest.fixture
def account(server: MemoryServer) -> Account:
    """An account of which `Offers` is used as archive, and `Private` is not to be synced."""
    made = an_account(folders=[mail.Folder(path, path, "/") for path in PATHS])
    synced(made, opening=server)
    with db.transaction() as session:
        rows = {row.path: row for row in session.scalars(select(Folder).where(Folder.account_id == made.id))}
        active, roles = {rows["INBOX"].id, rows["Offers"].id}, {Role.ARCHIVE: rows["Offers"].id}
        service.choose_folders(session, session.get_one(Account, made.id), active=active, roles=roles, actor=SYSTEM)
    synced(made, opening=server)
    server.asked.clear()
    return made


def named(server: MemoryServer) -> None:
    """Let the server have names of its own for its folders."""
    for number, kept in enumerate(server.kept.values()):
        kept.object_id = f"F{number}"


def rename(server: MemoryServer, **paths: str) -> None:
    server.kept = {paths.get(path, path): kept for path, kept in server.kept.items()}


def paths_of(account: Account) -> dict[str, int]:
    with db.reading() as session:
        there = Folder.account_id == account.id, Folder.is_gone.is_(False)
        return {row.path: row.id for row in session.scalars(select(Folder).where(*there))}


@both_databases
def test_renamed_folder_keeps_row_messages_purpose_and_choice(account: Account, server: MemoryServer) -> None:
    named(server)
    synced(account, opening=server)
    before = paths_of(account)
    server.kept["Offers"].add(9)
    rename(server, Offers="Old/Offers", Private="Old/Private")
    run = synced(account, opening=server)
    assert (run.outcome, run.new, run.gone) == (RunOutcome.COMPLETE, 1, 0)
    after = paths_of(account)
    assert (after["Old/Offers"], after["Old/Private"]) == (before["Offers"], before["Private"])
    moved = folder_of(account, "Old/Offers")
    assert (moved.role, moved.role_source, moved.is_active) == (Role.ARCHIVE, RoleSource.PERSON, True)
    assert not folder_of(account, "Old/Private").is_active
    assert sorted(flags_of(account, "Old/Offers")) == [1, 2, 3, 4, 9]


@both_databases
def test_folders_can_change_places_and_another_can_come_in_between(account: Account, server: MemoryServer) -> None:
    named(server)
    synced(account, opening=server)
    before = paths_of(account)
    rename(server, Offers="Private", Private="Offers")
    synced(account, opening=server)
    after = paths_of(account)
    assert (after["Offers"], after["Private"]) == (before["Private"], before["Offers"])
    rename(server, Private="Archive")
    server.kept["Private"] = Kept(object_id="F9")
    synced(account, opening=server)
    assert paths_of(account)["Archive"] == before["Offers"]
    assert paths_of(account)["Private"] not in before.values()
    assert not folder_of(account, "Private").is_active


def test_name_of_a_deleted_folder_is_free_for_a_renamed_one(account: Account, server: MemoryServer) -> None:
    named(server)
    synced(account, opening=server)
    before = paths_of(account)
    del server.kept["Private"]
    rename(server, Offers="Private")
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert paths_of(account) == {"INBOX": before["INBOX"], "Private": before["Offers"]}
    assert folder_of(account, "Private").role is Role.ARCHIVE


def test_id_that_two_folders_share_is_none(account: Account, server: MemoryServer) -> None:
    named(server)
    synced(account, opening=server)
    before = paths_of(account)
    server.kept["Offers"].object_id = server.kept["Private"].object_id
    synced(account, opening=server)
    assert paths_of(account) == before


# Without names of the server's own.


@both_databases
def test_only_folder_that_can_be_the_same_is_the_same(account: Account, server: MemoryServer) -> None:
    before = paths_of(account)
    rename(server, Offers="Angebote")
    run = synced(account, opening=server)
    assert (run.new, run.gone, run.outcome) == (0, 0, RunOutcome.COMPLETE)
    assert paths_of(account)["Angebote"] == before["Offers"]
    assert folder_of(account, "Angebote").role is Role.ARCHIVE


def test_folder_that_might_be_one_of_two_is_read_anew(account: Account, server: MemoryServer) -> None:
    before = paths_of(account)
    twin = server.kept["Offers"]
    rename(server, Offers="One")
    server.kept["Two"] = twin
    synced(account, opening=server)
    assert before["Offers"] not in paths_of(account).values()
    assert folder_of(account, "Offers").is_gone


def test_folder_that_only_has_the_same_numbers_is_read_anew(account: Account, server: MemoryServer) -> None:
    before = paths_of(account)
    del server.kept["Offers"]
    other = server.kept["Receipts"] = Kept()
    other.add(*range(1, 5), subject="Receipt", message_id="<receipt@example.net>")
    synced(account, opening=server)
    assert paths_of(account)["Receipts"] != before["Offers"]
    assert "Receipt" not in {message.subject for message in _messages(account)}


def _messages(account: Account) -> list[Message]:
    with db.reading() as session:
        mine = select(Folder.id).where(Folder.account_id == account.id)
        return list(session.scalars(select(Message).where(Message.folder_id.in_(mine))))


def test_folder_that_may_not_be_opened_is_not_taken_for_another(account: Account, server: MemoryServer) -> None:
    rename(server, Offers="Angebote")
    server.kept["Angebote"].refuses = Refused(Category.PERMISSION, "The server does not let us open this folder.")
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert not folder_of(account, "Angebote").is_active


def test_dovecot_renames_a_folder_and_its_children_keep_their_mail(box: Box) -> None:
    for folder in ("Projects", "Projects/North", "Projects/South"):
        box.dovecot.create(folder, box.user)
    box.deliver(3, folder="Projects/North")
    box.deliver(4, folder="Projects/South")
    account = box.account("Projects", "Projects/North", "Projects/South")
    synced(account, batch=50)
    before = paths_of(account)
    with box.dovecot.session(box.user) as session:
        assert session.rename("Projects", "Customers")[0] == "OK"
    run = synced(account, batch=50)
    assert (run.outcome, run.new, run.gone) == (RunOutcome.COMPLETE, 0, 0)
    after = paths_of(account)
    for name in ("North", "South"):
        assert after[f"Customers/{name}"] == before[f"Projects/{name}"]
        assert flags_of(account, f"Customers/{name}") == box.flags(f"Customers/{name}")


# What nobody wants, and what is gone.


@pytest.mark.parametrize("kind", [RunKind.USUAL, RunKind.AUDIT])
def test_folder_that_nobody_wants_is_never_opened_whatever_happens_to_it(
    account: Account, server: MemoryServer, kind: RunKind
) -> None:
    def asked() -> None:
        for kept in server.kept.values():
            kept.add(kept.uidnext)
        with db.transaction() as session:
            found = session.get_one(Account, account.id)
            run = service.request_run(session, account=found, requested_by="Ada", kind=kind)
        perform(run.id, opening=server)
        assert stored_run(run).outcome is RunOutcome.COMPLETE

    named(server)
    asked()
    rename(server, Private="Secret")
    asked()
    with db.transaction() as session:
        service.reinitialise(session, session.get_one(Account, account.id), folder=None, actor=SYSTEM)
    asked()
    assert not {"examine Private", "examine Secret"} & set(map(str, server.asked))
    assert "examine Offers" in server.asked


def test_what_shows_the_mail_of_others_once_more_is_off_at_first(server: MemoryServer) -> None:
    server.kept |= {"[Gmail]/All Mail": Kept(is_virtual=True), "[Gmail]/Starred": Kept(is_virtual=True)}
    account = an_account(folders=server.folders())
    with db.reading() as session:
        rows = session.scalars(select(Folder).where(Folder.account_id == account.id)).all()
    assert {row.path for row in rows if row.is_active} == set(PATHS)


@both_databases
def test_folder_that_has_been_gone_for_thirty_days_is_forgotten_with_its_mail(
    account: Account, server: MemoryServer
) -> None:
    del server.kept["Offers"]
    synced(account, opening=server)
    forget_gone_folders()
    assert folder_of(account, "Offers").is_gone
    with db.transaction() as session:
        session.get_one(Folder, folder_of(account, "Offers").id).listed_at = db.now() - timedelta(days=31)
        session.get_one(Folder, folder_of(account, "Private").id).listed_at = db.now() - timedelta(days=31)
    forget_gone_folders()
    with db.reading() as session:
        assert set(session.scalars(select(Folder.path).where(Folder.account_id == account.id))) == {"INBOX", "Private"}
        assert session.scalar(select(func.count()).select_from(Message)) == 3 + 5
