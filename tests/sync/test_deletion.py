"""An account is deleted: nothing of it is left but the audit trail, and a sync that runs stops at once."""

import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from mailadmin import boot, db
from mailadmin.accounts import service as accounts
from mailadmin.accounts.models import Account, Credential
from mailadmin.accounts.service import Login
from mailadmin.activity import service as activity
from mailadmin.config import Settings
from mailadmin.connections import service as connections
from mailadmin.mail.types import Direction, Server, ServerProtocol, TLSMode
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM
from mailadmin.sealed import SealedSecret, Secret
from mailadmin.sync import going, run
from mailadmin.sync.going import MustEnd
from mailadmin.sync.jobs import purge
from mailadmin.sync.models import Folder, Message, SyncRun
from tests.accounts import factories
from tests.conftest import both_databases
from tests.servers.silent import Listener, imap_script
from tests.sync.factories import Box, a_run, an_account, synced

# Signs in and lists, and then does not answer.
SCRIPT = {
    "CAPABILITY": (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n", b"TAG OK done\r\n"),
    "AUTHENTICATE": (b"TAG OK in\r\n",),
    "LOGIN": (b"TAG OK in\r\n",),
    "ID": (b"TAG OK done\r\n",),
    "NAMESPACE": (b'* NAMESPACE (("" "/")) NIL NIL\r\n', b"TAG OK done\r\n"),
    "LIST": (b'* LIST () "/" INBOX\r\n', b"TAG OK done\r\n"),
    "EXAMINE": (b"* 1 EXISTS\r\n",),
    "STATUS": (b"* 1 EXISTS\r\n",),
    "NOOP": (b"TAG OK done\r\n",),
}


def delete(account: Account) -> None:
    with db.transaction() as session:
        accounts.request_deletion(session, accounts.get(session, account.id), actor=SYSTEM)


def rows_of(*tables: Any) -> dict[str, int]:
    with db.reading() as session:
        return {t.__tablename__: session.scalar(select(func.count()).select_from(t)) or 0 for t in tables}


@pytest.mark.parametrize("stops", ["deleted", "paused", "switched off"])
def test_sync_stops_though_the_server_says_nothing(
    booted: Settings, monkeypatch: pytest.MonkeyPatch, stops: str
) -> None:
    monkeypatch.setattr(going, "WATCH_SECONDS", 0.2)
    boot.start(replace(booted, rules=replace(booted.rules, plaintext=True)))
    heard: list[str] = []
    with Listener(imap_script(SCRIPT, heard)) as server:
        account = an_account(server=Server(ServerProtocol.IMAP, "127.0.0.1", server.port, TLSMode.NONE))
        begun = a_run(account)
        thread = threading.Thread(target=run.perform, args=[begun.id])
        thread.start()
        waited_until(lambda: any(command.startswith(("EXAMINE", "STATUS")) for command in heard))
        began = time.monotonic()
        if stops == "deleted":
            delete(account)
            purge(account.id)  # Nothing waits for the run.
        else:
            with db.transaction() as session:
                if stops == "paused":
                    accounts.pause(session, accounts.get(session, account.id), actor=SYSTEM)
                else:
                    organisation.change(session, name="Example Ltd", uses_mail=False, actor=SYSTEM)
        thread.join(30)
        assert not thread.is_alive()
        assert time.monotonic() - began < 30  # A step of a run may take a minute.
    assert rows_of(SyncRun)["sync_run"] == (0 if stops == "deleted" else 1)


def waited_until(is_so: Any) -> None:
    ends = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < ends
        threading.Event().wait(0.02)


@pytest.mark.parametrize("silent_at", ["CAPABILITY", "AUTHENTICATE"])
def test_process_that_has_to_end_while_it_signs_in_closes_the_connection(
    booted: Settings, monkeypatch: pytest.MonkeyPatch, silent_at: str
) -> None:
    boot.start(replace(booted, rules=replace(booted.rules, plaintext=True)))
    monkeypatch.setattr(run, "WATCH_SECONDS", 0.1)
    heard: list[str] = []
    speak = imap_script(SCRIPT | {silent_at: (b"* OK wait\r\n",)}, heard)

    def until_it_is_closed(client: socket.socket, over: threading.Event) -> None:
        speak(client, over)
        heard.append("closed")

    def end() -> None:
        if any(command.startswith(silent_at) for command in heard):
            raise MustEnd

    with Listener(until_it_is_closed) as server:
        account = an_account(server=Server(ServerProtocol.IMAP, "127.0.0.1", server.port, TLSMode.NONE))
        with db.reading() as session:
            leg = accounts.leg(session, session.get_one(Account, account.id), Direction.INCOMING)
        assert leg
        with pytest.raises(MustEnd) as ended:
            run.open_incoming(leg, end)
        waited_until(lambda: heard[-1] == "closed")
        assert ended.tb  # It holds the connection, so that nobody else has closed it.


def test_steps_of_a_run_are_watched_often_enough() -> None:
    """From the click to the end at most one look and the goodbye, which take a second: well within 30 s."""
    assert going.WATCH_SECONDS <= 10


@both_databases
def test_nothing_is_left_of_a_deleted_account_but_what_people_did(box: Box) -> None:
    box.deliver(4)
    account = box.account(sending=Login("relay", Secret("relay secret")))
    synced(account)
    with db.transaction() as session:
        connections.request_check(session, account=accounts.get(session, account.id), actor=SYSTEM)
    held = rows_of(Folder, Message, SyncRun, Credential, SealedSecret)
    assert (held["message"], held["credential"], held["sealed_secret"]) == (4, 2, 2)
    delete(account)
    with db.transaction() as session:  # At once, while the old one is still being removed.
        successor = factories.an_account(session, address=account.address, slug=account.slug or "", is_primary=True)
    purge(account.id)
    purge(account.id)
    assert rows_of(Folder, Message, SyncRun, SealedSecret) == {
        "folder": 0,
        "message": 0,
        "sync_run": 0,
        "sealed_secret": 1,
    }
    with db.reading() as session:
        assert session.get(Account, account.id) is None
        assert activity.of_account(session, account.id)[0].what == f"deleted {account.address}"
        assert accounts.find(session, account.address) == session.get(Account, successor.id)
