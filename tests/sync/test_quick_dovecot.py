"""What is not looked at again, with real servers of every ability: our rows are what another library reads there."""

from collections.abc import Iterator

import pytest

from mailadmin.accounts.models import Account, Window
from mailadmin.config import Settings
from mailadmin.mail.imap_session import Session
from mailadmin.sync import looking
from mailadmin.sync.models import RunOutcome
from tests.conftest import both_databases
from tests.servers.dovecot import Dovecot
from tests.sync.factories import Box, flags_of, folder_of, synced
from tests.sync.look_factories import make_due, runs_of, whole

PLAIN = "IMAP4rev1 LITERAL+ SASL-IR LIST-EXTENDED SPECIAL-USE UIDPLUS"
ABILITIES = {
    "nothing": PLAIN,
    "LIST-STATUS alone": f"{PLAIN} LIST-STATUS",
    "CONDSTORE alone": f"{PLAIN} CONDSTORE",
    "CONDSTORE": f"{PLAIN} CONDSTORE LIST-STATUS ESEARCH",
    "QRESYNC": f"{PLAIN} CONDSTORE LIST-STATUS ESEARCH ENABLE QRESYNC",
}


@pytest.fixture(scope="module", params=ABILITIES)
def able(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    users = {f"u{number}@example.org": "password" for number in range(1, 200)}
    offers = f"protocol imap {{\n  imap_capability = {ABILITIES[request.param]}\n}}\n"
    with Dovecot(users, extra=offers) as server:
        yield server


@pytest.fixture
def dovecot(able: Dovecot) -> Dovecot:
    """The server in place of the usual one."""
    return able


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the server, in order."""
    found: list[str] = []
    real = Session.command

    def noting(self: Session, name: str, *args: str | bytes) -> bytes:
        found.append(" ".join([name, *(arg.decode() if isinstance(arg, bytes) else arg for arg in args)]))
        return real(self, name, *args)

    monkeypatch.setattr(Session, "command", noting)
    return found


def opened(commands: list[str]) -> list[str]:
    """The folders that were opened to be followed; what is opened after that is opened for texts."""
    found = []
    for line in commands:
        if line.startswith("EXAMINE"):
            found.append(line.split('"')[1])
        elif "BODYSTRUCTURE" in line:
            return found[:-1]
    return found


def change(box: Box) -> None:
    """As many come as go, some flags change, and one message gets and loses a flag."""
    box.do(
        ("STORE", "2:4", "+FLAGS", "\\Flagged"),
        ("STORE", "5", "+FLAGS", "\\Seen"),
        ("STORE", "5", "-FLAGS", "\\Seen"),
        ("STORE", "7:9", "+FLAGS", "\\Deleted"),
        ("EXPUNGE",),
    )
    box.deliver(3)


def is_followed(account: Account, box: Box) -> bool:
    run = synced(account, batch=50)
    assert run.outcome is RunOutcome.COMPLETE
    folder = folder_of(account)
    on_server = box.flags()
    unread = sum("\\Seen" not in flags for flags in on_server.values())
    assert (folder.stored, folder.unread, folder.messages) == (len(on_server), unread, len(on_server))
    return flags_of(account) == on_server


@both_databases
def test_every_server_is_followed_exactly(box: Box, able: Dovecot, commands: list[str]) -> None:
    box.deliver(40)
    box.dovecot.create("Quiet", box.user)
    box.deliver(5, folder="Quiet", flags="S")
    account = box.account("Quiet")
    assert is_followed(account, box)
    change(box)
    commands.clear()
    assert is_followed(account, box)
    offers = str(able._settings["extra"])
    assert opened(commands) == (["INBOX"] if "CONDSTORE LIST-STATUS" in offers else ["INBOX", "Quiet"])
    assert any("CHANGEDSINCE" in line for line in commands) == ("CONDSTORE" in offers)
    assert any("VANISHED" in line for line in commands) == ("QRESYNC" in offers)
    assert ("UID FETCH 1:* (UID FLAGS)" in commands) == ("CONDSTORE" not in offers)
    commands.clear()
    assert is_followed(account, box)
    assert opened(commands) == ([] if "CONDSTORE LIST-STATUS" in offers else ["INBOX", "Quiet"])


def test_a_look_finds_what_is_new_wherever_the_server_can_tell(box: Box, able: Dovecot, commands: list[str]) -> None:
    box.deliver(2)
    account = whole(box)
    commands.clear()
    looking.look_around()
    can_tell = "CONDSTORE" in str(able._settings["extra"])
    assert len(runs_of(account)) == (1 if can_tell else 2)  # Without HIGHESTMODSEQ only a run can say it.
    assert opened(commands) == (["INBOX"] if can_tell and "LIST-STATUS" not in str(able._settings["extra"]) else [])
    if can_tell:
        box.do(("STORE", "1", "+FLAGS", "\\Flagged"))
        make_due(account)
        looking.look_around()
        assert len(runs_of(account)) == 2


def test_window_is_followed_exactly(box: Box, booted: Settings) -> None:
    box.deliver(20)
    account = box.account(window=Window.ONE_MONTH)
    assert is_followed(account, box)
    change(box)
    assert is_followed(account, box)
    assert is_followed(account, box)


def test_folder_that_was_made_anew_under_its_name_is_read_anew(box: Box) -> None:
    box.dovecot.create("Other", box.user)
    box.deliver(6, folder="Other")
    account = box.account("Other")
    synced(account)
    before = folder_of(account, "Other").uidvalidity
    with box.dovecot.session(box.user) as session:
        session.delete("Other")
        session.create("Other")
    box.deliver(6, folder="Other", flags="F")
    assert synced(account).outcome is RunOutcome.COMPLETE
    assert folder_of(account, "Other").uidvalidity != before
    assert flags_of(account, "Other") == box.flags("Other")


def test_emptied_folder_is_empty(box: Box) -> None:
    box.deliver(4)
    account = box.account()
    synced(account)
    box.do(("STORE", "1:*", "+FLAGS", "\\Deleted"), ("EXPUNGE",))
    run = synced(account)
    assert (run.outcome, run.gone, flags_of(account)) == (RunOutcome.COMPLETE, 4, {})
    assert folder_of(account).stored == 0
