"""Ten thousand folders: a sync passes them in seconds, and the pages can be used."""

import time

import pytest
from sqlalchemy import func, select, update

from mailadmin import db
from mailadmin.accounts.models import Account, Window
from mailadmin.sync.folders import MAPPED
from mailadmin.sync.models import Folder, RunOutcome
from tests.pages import Browser
from tests.sync.factories import Kept, MemoryServer, an_account, synced

MANY = 10_000


@pytest.fixture
def server(booted: object) -> MemoryServer:
    kept = {"INBOX": Kept()} | {f"Customers/{n:05}": Kept() for n in range(MANY)}
    made = MemoryServer(**kept)
    made.tells_status = True
    made.kept["INBOX"].add(1)
    return made


class Stopwatch:
    """CPU seconds, which other processes do not make more."""

    def __init__(self) -> None:
        self._began = time.process_time()

    @property
    def seconds(self) -> float:
        return time.process_time() - self._began


@pytest.fixture
def account(server: MemoryServer) -> Account:
    """An account of which a first sync is over: of many folders a few are synced."""
    folders = server.folders()
    made = an_account(folders=folders)
    with db.transaction() as session:
        few = Folder.path.in_(["INBOX", *(f"Customers/{n:05}" for n in range(20))])
        session.execute(update(Folder).where(~few).values(is_active=False))
    synced(made, opening=server)
    return made


def test_sync_of_an_account_with_ten_thousand_folders_takes_seconds(account: Account, server: MemoryServer) -> None:
    watch = Stopwatch()
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert watch.seconds < 8


def test_ten_thousand_folders_that_are_all_synced_take_seconds_where_nothing_changed(
    account: Account, server: MemoryServer
) -> None:
    facts = {"uidvalidity": 7, "uidnext": 1, "messages": 0, "modseq": 1, "window": Window.EVERYTHING.value}
    with db.transaction() as session:
        rest = update(Folder).where(Folder.path != "INBOX")
        session.execute(rest.values(is_active=True, is_complete=True, synced_at=db.now(), **facts))
    server.asked.clear()
    watch = Stopwatch()
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert watch.seconds < 15
    assert server.asked == ["list", "close"]


@pytest.mark.slow
def test_pages_of_an_account_with_ten_thousand_folders_can_be_used(account: Account, ada_at: Browser) -> None:
    path = f"/accounts/{account.id}"
    watch = Stopwatch()
    page = ada_at._client.get(f"{path}/folders")  # Not read strictly, which takes longer than all the rest.
    assert f"Customers/{MANY - 1:05}" in page.text
    assert ada_at.get(path).status == 200
    paths = ["INBOX", *(f"Customers/{n:05}" for n in range(MANY))]
    roles = {f"role_{role.value}": "" for role in MAPPED} | {"role_inbox": "INBOX"}
    assert ada_at.post(f"{path}/folders", {"active": paths, **roles}).status == 303
    assert watch.seconds < 15
    with db.reading() as session:
        assert session.scalar(select(func.count()).where(Folder.is_active)) == MANY + 1
