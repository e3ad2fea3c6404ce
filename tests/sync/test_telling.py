"""What people do here reaches a real Dovecot of every ability, however often a run is killed on the way."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.imap_session import Session
from mailadmin.mail.types import Role
from mailadmin.permissions import SYSTEM
from mailadmin.sync import changes, overlay
from mailadmin.sync.models import ChangeState, Folder, Message, PendingChange, RunOutcome
from tests.conftest import both_databases
from tests.servers.dovecot import Dovecot
from tests.sync.factories import Box, account_now, flags_of, folder_of, messages_of, synced

PLAIN = "IMAP4rev1 LITERAL+ SASL-IR LIST-EXTENDED SPECIAL-USE LIST-STATUS ENABLE"
ABILITIES = {
    "everything": f"{PLAIN} UIDPLUS MOVE CONDSTORE QRESYNC ESEARCH",
    "no MOVE": f"{PLAIN} UIDPLUS CONDSTORE",
    "nothing": PLAIN,
}
every_ability = pytest.mark.parametrize("able", ABILITIES, indirect=True, scope="module")
best = pytest.mark.parametrize("able", ["everything"], indirect=True, scope="module")
without_move = pytest.mark.parametrize("able", ["no MOVE"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def able(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    users = {f"u{number}@example.org": "password" for number in range(1, 400)}
    offers = f"protocol imap {{\n  imap_capability = {ABILITIES[request.param]}\n}}\n"
    with Dovecot(users, extra=offers) as server:
        yield server


@pytest.fixture
def dovecot(able: Dovecot) -> Dovecot:
    """The server in place of the usual one."""
    return able


@pytest.fixture
def account(box: Box) -> Account:
    """A synced account with five messages in its inbox, and Offers and Trash."""
    box.deliver(5)
    box.dovecot.create("Offers", box.user)
    account = box.account("Offers", "Trash")
    with db.transaction() as session:
        session.get(Folder, folder_of(account, "Trash").id).role = Role.TRASH
    assert synced(account).outcome is RunOutcome.COMPLETE
    return account


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the server, in order."""
    found: list[str] = []
    real = Session.command

    def noting(self: Session, name: str, *args: str | bytes) -> bytes:
        found.append(line(name, *args))
        return real(self, name, *args)

    monkeypatch.setattr(Session, "command", noting)
    return found


def line(name: str, *args: str | bytes) -> str:
    return " ".join([name, *(arg.decode() if isinstance(arg, bytes) else arg for arg in args)])


class Killed(BaseException):
    """What a signal does to a run: nothing of ours is done any more."""


def kill(monkeypatch: pytest.MonkeyPatch, beginning: str, *, before: bool = False) -> Callable[[], None]:
    """Have the process die once the server has done the command that begins so, or `before` it is sent."""
    real = Session.command

    def dying(self: Session, name: str, *args: str | bytes) -> bytes:
        is_it = line(name, *args).startswith(beginning)
        if is_it and before:
            raise Killed
        said = real(self, name, *args)
        if is_it:
            raise Killed
        return said

    monkeypatch.setattr(Session, "command", dying)
    return lambda: monkeypatch.setattr(Session, "command", real)


def do(account: Account, deed: Callable[..., Any], *uids: int, path: str = "INBOX", **wanted: Any) -> Any:
    found = [message.id for message in messages_of(account, path) if message.uid in uids]
    with db.transaction() as session:
        row = session.get(Account, account.id)
        return deed(session, row, messages=found, actor=SYSTEM, **wanted)


def read(account: Account, *uids: int, flag: str = "read", is_set: bool = True) -> None:
    do(account, changes.mark, *uids, flag=flag, is_set=is_set)


def move(account: Account, *uids: int, to: str = "Offers") -> None:
    do(account, changes.move, *uids, target_id=folder_of(account, to).id)


def wishes(account: Account) -> list[PendingChange]:
    with db.reading() as session:
        query = select(PendingChange).where(PendingChange.account_id == account.id)
        return list(session.scalars(query.order_by(PendingChange.id)))


def ends(account: Account) -> list[tuple[ChangeState, str]]:
    return [(wish.state, wish.reason) for wish in wishes(account)]


def shown(account: Account, path: str = "INBOX") -> list[str]:
    """The subjects that a page shows of a folder."""
    folder = folder_of(account, path)
    is_here = (Message.folder_id == folder.id) & (Message.generation == folder.generation)
    with db.reading() as session:
        rule = (is_here & overlay.is_shown(account.id)) | overlay.is_arriving([folder])
        return sorted(session.scalars(select(Message.subject).where(rule)))


def is_as_on_the_server(account: Account, box: Box, *paths: str) -> bool:
    run = synced(account, batch=50)
    assert run.outcome is RunOutcome.COMPLETE, run.reason
    for path in paths:
        folder, found = folder_of(account, path), box.flags(path)
        unread = sum("\\Seen" not in flags for flags in found.values())
        assert flags_of(account, path) == found, path
        assert (folder.stored, folder.unread) == (len(found), unread), path
    return True


@both_databases
@every_ability
def test_flags_are_shown_at_once_and_told_to_the_server(
    account: Account, box: Box, able: Dovecot, commands: list[str]
) -> None:
    read(account, 1, 2, 3)
    read(account, 2, flag="flagged")
    read(account, 3, flag="answered")
    wanted = {1: "\\Seen", 2: "\\Flagged \\Seen", 3: "\\Answered \\Seen", 4: "", 5: ""}
    assert (flags_of(account), folder_of(account).unread) == (wanted, 2)
    run = synced(account)
    assert (run.outcome, run.pushed, run.changed) == (RunOutcome.COMPLETE, 3, 0)
    assert box.flags() == flags_of(account) == wanted
    assert set(ends(account)) == {(ChangeState.DONE, "")}
    conditional = [each for each in commands if each.startswith("UID STORE") and "UNCHANGEDSINCE" in each]
    assert bool(conditional) == ("CONDSTORE" in str(able._settings["extra"]))
    read(account, 2, 4, is_set=False)
    assert is_as_on_the_server(account, box, "INBOX")
    assert box.flags()[2] == "\\Flagged"


@best
def test_many_messages_are_told_with_few_commands(account: Account, box: Box, commands: list[str]) -> None:
    box.deliver(95)
    synced(account, batch=500)
    read(account, *range(1, 101))
    commands.clear()
    assert synced(account).pushed == 100
    assert [each.split()[:3] for each in commands if "UID STORE" in each] == [["UID", "STORE", "1:100"]]
    assert is_as_on_the_server(account, box, "INBOX")


@best
def test_what_is_undone_before_it_was_told_is_never_told(account: Account, box: Box) -> None:
    read(account, 1)
    read(account, 1, is_set=False)
    move(account, 2)
    move(account, 2, to="INBOX")
    assert wishes(account) == []
    move(account, 3)
    move(account, 3, to="Trash")
    assert [wish.target_id for wish in wishes(account)] == [folder_of(account, "Trash").id]
    assert (shown(account, "Offers"), len(shown(account, "Trash")), len(shown(account))) == ([], 1, 4)


@both_databases
@every_ability
def test_moved_message_keeps_its_row_where_the_server_tells_its_place(
    account: Account, box: Box, able: Dovecot
) -> None:
    before = {message.subject: message.id for message in messages_of(account)}
    gone = [message.subject for message in messages_of(account)][:2]
    read(account, 1)
    move(account, 1, 2)
    assert (shown(account, "Offers"), len(shown(account))) == (sorted(gone), 3)
    assert is_as_on_the_server(account, box, "INBOX", "Offers")
    assert (shown(account, "Offers"), len(shown(account))) == (sorted(gone), 3)
    if "UIDPLUS" in str(able._settings["extra"]):
        assert len(box.flags()) == 3
        assert {m.subject: m.id for m in messages_of(account, "Offers")} == {s: before[s] for s in gone}
        assert folder_of(account, "Offers").modseq is not None
        assert set(ends(account)) == {(ChangeState.DONE, "")}
    else:
        assert box.flags()[2] == "\\Deleted", "others may have marked messages, too: nothing is expunged"
        assert "not shown here any more" in ends(account)[-1][1]


@every_ability
def test_deleted_is_first_in_trash_and_then_gone(account: Account, box: Box, able: Dovecot) -> None:
    do(account, changes.remove, 1, 2)
    synced(account)
    assert len(box.flags("Trash")) == 2
    assert is_as_on_the_server(account, box, "INBOX", "Trash")
    first = min(box.flags("Trash"))
    do(account, changes.destroy, first, path="Trash")
    assert len(shown(account, "Trash")) == 1
    synced(account)
    assert (first not in box.flags("Trash")) == ("UIDPLUS" in str(able._settings["extra"]))
    assert len(shown(account, "Trash")) == 1
    assert is_as_on_the_server(account, box, "INBOX", "Trash")


@every_ability
def test_flags_of_others_are_kept_beside_ours(account: Account, box: Box) -> None:
    read(account, 1, 2)
    box.do(("STORE", "1", "+FLAGS", "\\Flagged"), ("STORE", "2", "+FLAGS", "\\Answered"))
    synced(account)
    assert (box.flags()[1], box.flags()[2]) == ("\\Flagged \\Seen", "\\Answered \\Seen")
    assert flags_of(account) == box.flags()


@best
def test_server_wins_and_the_person_is_told(account: Account, box: Box) -> None:
    read(account, 1, 2, 3)
    box.do(("STORE", "1", "+FLAGS", "\\Deleted"), ("STORE", "2", "+FLAGS", "\\Deleted"), ("EXPUNGE",))
    box.do(("STORE", "3", "+FLAGS", "\\Deleted"))
    assert is_as_on_the_server(account, box, "INBOX")
    said = [reason for state, reason in ends(account) if state is ChangeState.REFUSED]
    assert sorted(said) == ["It is not on the server any more."] * 2 + ["Somebody else has deleted it meanwhile."]
    with db.reading() as session:
        untold = changes.untold(session, account.id, person_id=None)
        assert ("It is not on the server any more.", 2) in changes.summary(untold)
        assert untold[0].subject


@best
def test_message_that_somebody_changed_is_not_deleted_for_good(account: Account, box: Box) -> None:
    do(account, changes.remove, 1, 2)
    synced(account)
    first, second = sorted(box.flags("Trash"))
    do(account, changes.destroy, first, second, path="Trash")
    box.do(("STORE", str(first), "+FLAGS", "\\Flagged"), folder="Trash")
    assert is_as_on_the_server(account, box, "INBOX", "Trash")
    assert box.flags("Trash") == {first: "\\Flagged"}
    said = "Somebody else has changed it on the server meanwhile, so it was not deleted."
    assert (ChangeState.REFUSED, said) in ends(account)
    assert len(shown(account, "Trash")) == 1


@best
def test_folder_that_was_made_anew_gets_no_change_meant_for_the_old_one(account: Account, box: Box) -> None:
    box.deliver(2, folder="Offers")
    synced(account)
    do(account, changes.mark, 1, path="Offers", flag="flagged", is_set=True)
    with box.dovecot.session(box.user) as session:
        session.delete("Offers")
        session.create("Offers")
    box.deliver(2, folder="Offers")
    assert is_as_on_the_server(account, box, "Offers")
    assert [state for state, _ in ends(account)] == [ChangeState.REFUSED]
    assert set(box.flags("Offers").values()) == {""}


@best
def test_folder_that_is_gone_takes_nothing_and_the_message_is_back(account: Account, box: Box) -> None:
    move(account, 1)
    with box.dovecot.session(box.user) as session:
        session.delete("Offers")
    assert synced(account).outcome is RunOutcome.COMPLETE
    assert ends(account) == [(ChangeState.REFUSED, "The folder “Offers” is not on the server any more.")]
    assert len(shown(account)) == 5


@both_databases
@without_move
@pytest.mark.parametrize(
    ("beginning", "before"),
    [("UID COPY", True), ("UID COPY", False), ("UID STORE", True), ("UID STORE", False), ("UID EXPUNGE", False)],
)
def test_killed_in_the_middle_of_a_move_loses_and_doubles_nothing(
    account: Account, box: Box, monkeypatch: pytest.MonkeyPatch, beginning: str, before: bool
) -> None:
    subjects = [message.subject for message in messages_of(account)]
    move(account, 1, 2)
    bring_back = kill(monkeypatch, beginning, before=before)
    with pytest.raises(Killed):
        synced(account)
    bring_back()
    assert is_as_on_the_server(account, box, "INBOX", "Offers")
    assert (len(box.flags()), len(box.flags("Offers"))) == (3, 2)
    assert sorted(shown(account) + shown(account, "Offers")) == sorted(subjects)
    assert set(ends(account)) == {(ChangeState.DONE, "")}


@best
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("beginning", ["UID MOVE", "SELECT", "UID STORE"])
def test_killed_around_a_command_tells_it_again(
    account: Account, box: Box, monkeypatch: pytest.MonkeyPatch, beginning: str, before: bool
) -> None:
    read(account, 3)
    move(account, 1, 2)
    bring_back = kill(monkeypatch, beginning, before=before)
    with pytest.raises(Killed):
        synced(account)
    bring_back()
    assert is_as_on_the_server(account, box, "INBOX", "Offers")
    assert (sorted(box.flags().values()), len(box.flags("Offers"))) == (["", "", "\\Seen"], 2)
    assert set(ends(account)) == {(ChangeState.DONE, "")}


@best
def test_copy_of_a_sent_message_is_filed_once(account: Account, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"Message-ID: <copy@example.net>\r\nSubject: Offer\r\n\r\nHello\r\n"
    with db.transaction() as session:
        row, folder = session.get(Account, account.id), session.get(Folder, folder_of(account, "Offers").id)
        changes.file_copy(session, row, folder=folder, content=content, subject="Offer", actor=SYSTEM)
    bring_back = kill(monkeypatch, "APPEND")
    with pytest.raises(Killed):
        synced(account)
    bring_back()
    assert is_as_on_the_server(account, box, "Offers")
    assert box.flags("Offers") == {1: "\\Seen"}
    assert [(wish.state, wish.content) for wish in wishes(account)] == [(ChangeState.DONE, None)]


@best
def test_trash_is_created_when_there_is_none(account: Account, box: Box) -> None:
    with box.dovecot.session(box.user) as session:
        session.delete("Trash")
    with db.transaction() as session:
        session.delete(session.get(Folder, folder_of(account, "Trash").id))
    do(account, changes.remove, 1)
    assert len(shown(account)) == 4
    assert is_as_on_the_server(account, box, "INBOX", "Trash")
    assert len(box.flags("Trash")) == 1
    assert account_now(account).health == "healthy"


@best
def test_change_made_while_a_run_goes_on_is_told_by_that_run(
    account: Account, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.deliver(20)
    real, said = Session.command, list[str]()

    def interfering(self: Session, name: str, *args: str | bytes) -> bytes:
        if "FETCH" in args and "BODY.PEEK" in str(args) and not said:
            said.append(name)
            read(account, 1, 2)
            move(account, 3)
        return real(self, name, *args)

    monkeypatch.setattr(Session, "command", interfering)
    monkeypatch.setattr("mailadmin.sync.push.LOOK_SECONDS", 0.0)
    run = synced(account, batch=5)
    assert (run.outcome, run.pushed) == (RunOutcome.COMPLETE, 3)
    assert [box.flags()[uid] for uid in (1, 2)] == ["\\Seen", "\\Seen"]
    assert flags_of(account) == box.flags()
    assert len(box.flags("Offers")) == 1
