"""What follows when a message was sent: the copy in Sent by each rule, the mark of the answered message, the trail."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Account, Health, Kind, SentCopies
from mailadmin.activity.models import Activity
from mailadmin.clock import settle_outgoing
from mailadmin.mail.types import Role, ServerProtocol
from mailadmin.sync.models import ChangeState, Folder, Message, MessageName, PendingChange
from mailadmin.sync.threads import names_of
from mailadmin.writing import outbox, service
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import Intent, OutgoingMessage, Progress
from tests.conftest import both_databases
from tests.servers.post import hang_up
from tests.sync.factories import change, folder_of, messages_of, synced
from tests.writing.factories import Desk, parsed


def in_sent(desk: Desk, folder: str = "Sent") -> list[bytes]:
    """The messages in Sent, as another library reads them."""
    with desk.box.dovecot.session(desk.box.user) as session:
        session.select(folder, readonly=True)
        _, data = session.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
    return [part[1] for part in data if isinstance(part, tuple)]


def names_of_unclear(session: Session, desk: Desk, outgoing_id: int) -> None:
    """What a sync leaves that has seen the message, or an answer to it."""
    for name in names_of(desk.now(session, outgoing_id).message_id, ""):
        session.add(MessageName(account_id=desk.account.id, name_hash=name, thread_id=outgoing_id))


def without_bcc(raw: bytes) -> bytes:
    return b"".join(line for line in raw.splitlines(keepends=True) if not line.startswith(b"Bcc:"))


@both_databases
@pytest.mark.parametrize("rule", [SentCopies.AUTOMATIC, SentCopies.ALWAYS])
def test_the_copy_in_sent_is_what_was_sent_to_the_byte_with_the_blind_copies(desk: Desk, rule: SentCopies) -> None:
    synced(desk.account)
    change(desk.account, sent_copies=rule)
    desk.sent(bcc="boss@example.com", files=(("plan.pdf", bytes(range(256)) * 40),), subject="Grüße aus Köln")
    drain_outgoing()
    synced(desk.account)
    synced(desk.account)
    (copy,) = in_sent(desk)
    ((_, _, raw),) = desk.post.messages
    assert without_bcc(copy) == raw
    assert str(parsed(copy)["Bcc"]) == "boss@example.com"
    assert desk.box.flags("Sent") == {1: "\\Seen"}
    (stored,) = messages_of(desk.account, "Sent")
    assert stored.subject == "Grüße aus Köln"
    assert [wish.state for wish in desk.wishes()] == [ChangeState.DONE]
    assert [wish.content for wish in desk.wishes()] == [None]


@pytest.mark.parametrize(("rule", "copies"), [(SentCopies.AUTOMATIC, 1), (SentCopies.ALWAYS, 2)])
def test_where_the_server_files_its_own_copy_automatic_adds_none(desk: Desk, rule: SentCopies, copies: int) -> None:
    synced(desk.account)
    change(desk.account, sent_copies=rule)
    desk.sent()
    drain_outgoing()
    ((_, _, raw),) = desk.post.messages
    desk.box.dovecot.deliver([raw], user=desk.box.user, folder="Sent", flags="S")
    synced(desk.account)
    assert len(in_sent(desk)) == copies


@pytest.mark.parametrize("protocol", [ServerProtocol.IMAP, ServerProtocol.POP3])
def test_an_account_that_keeps_no_copies_files_none(desk: Desk, protocol: ServerProtocol) -> None:
    change(desk.account, sent_copies=SentCopies.NEVER if protocol is ServerProtocol.IMAP else SentCopies.ALWAYS)
    change(desk.account, protocol=protocol)
    outgoing_id = desk.sent()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert desk.wishes() == []


def test_where_there_is_no_sent_folder_one_is_made(desk: Desk) -> None:
    with desk.box.dovecot.session(desk.box.user) as session:
        session.delete("Sent")
    with db.transaction() as session:
        session.execute(Folder.__table__.delete().where(Folder.path == "Sent"))  # type: ignore[attr-defined]
    desk.sent()
    drain_outgoing()
    assert folder_of(desk.account, "Sent").is_wished
    synced(desk.account)
    assert len(in_sent(desk)) == 1
    assert folder_of(desk.account, "Sent").role is Role.SENT


def test_a_reply_marks_what_it_answers_and_names_it(desk: Desk) -> None:
    desk.box.deliver(1)
    synced(desk.account)
    (about,) = messages_of(desk.account)
    desk.sent(begun={"intent": Intent.REPLY, "about_id": about.id})
    drain_outgoing()
    (answered,) = messages_of(desk.account)
    assert answered.is_answered
    synced(desk.account)
    assert desk.box.flags()[1] == "\\Answered"
    assert str(desk.only["In-Reply-To"]) == about.message_id
    assert about.message_id in str(desk.only["References"])


def test_a_reply_to_a_message_that_is_gone_is_sent_all_the_same(desk: Desk) -> None:
    desk.box.deliver(1)
    synced(desk.account)
    (about,) = messages_of(desk.account)
    outgoing_id = desk.sent(begun={"intent": Intent.REPLY, "about_id": about.id})
    with db.transaction() as session:
        session.execute(Message.__table__.delete())  # type: ignore[attr-defined]
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    assert [wish.kind for wish in desk.wishes()] == ["append"]


@both_databases
def test_an_unclear_message_that_turns_up_in_the_mail_was_sent(desk: Desk) -> None:
    synced(desk.account)
    desk.post.does["dot"] = [hang_up]
    outgoing_id = desk.sent()
    drain_outgoing()
    settle_outgoing()
    assert desk.progress(outgoing_id) is Progress.UNCLEAR
    desk.box.dovecot.deliver([desk.post.given[0]], user=desk.box.user, folder="Sent", flags="S")
    synced(desk.account)
    settle_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    synced(desk.account)
    assert len(in_sent(desk)) == 1


@pytest.mark.parametrize("by", ["person", "sync"])
def test_the_copy_of_what_was_unclear_has_its_files(desk: Desk, by: str) -> None:
    synced(desk.account)
    desk.post.does["dot"] = [hang_up]
    outgoing_id = desk.sent(files=(("plan.pdf", b"%PDF" * 99),))
    drain_outgoing()
    with db.transaction() as session:
        if by == "person":
            service.settle_unclear(session, desk.now(session, outgoing_id), has_arrived=True)
        else:
            names_of_unclear(session, desk, outgoing_id)
            assert outbox.settle_found(session)
    assert desk.progress(outgoing_id) is Progress.SENT
    synced(desk.account)
    (copy,) = in_sent(desk)
    assert without_bcc(copy) == desk.post.given[0]
    _, plan = parsed(copy).iter_parts()
    assert plan.get_content() == b"%PDF" * 99  # type: ignore[attr-defined]


def test_what_is_unclear_for_long_is_looked_for_no_more_and_the_newest_first(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_LOOKED_FOR", 1)
    desk.post.does["dot"] = [hang_up] * 2
    old, new = desk.sent(), desk.sent()
    drain_outgoing()
    with db.transaction() as session:
        for outgoing_id, days in ((old, 29), (new, 28)):
            desk.now(session, outgoing_id).handed_over_at = db.now() - timedelta(days=days)
            names_of_unclear(session, desk, outgoing_id)
        outbox.settle_found(session)
        assert [desk.now(session, one).progress for one in (old, new)] == [Progress.UNCLEAR, Progress.SENT]
        assert outbox.are_unclear(session)
        desk.now(session, old).handed_over_at = db.now() - timedelta(days=31)
        assert not outbox.are_unclear(session)
        outbox.settle_found(session)
        assert desk.now(session, old).progress is Progress.UNCLEAR


def test_an_answer_to_an_unclear_message_shows_that_it_was_sent(desk: Desk) -> None:
    synced(desk.account)
    desk.post.does["dot"] = [hang_up]
    outgoing_id = desk.sent()
    drain_outgoing()
    names = desk.row(outgoing_id).message_id
    answer = f"From: nora@halden.example\r\nMessage-ID: <n1@halden.example>\r\nIn-Reply-To: {names}\r\n\r\nThanks\r\n"
    desk.box.dovecot.deliver([answer.encode()], user=desk.box.user)
    synced(desk.account)
    settle_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT
    synced(desk.account)
    assert without_bcc(in_sent(desk)[0]) == desk.post.given[0]


def test_the_trail_says_who_wrote_as_a_shared_account_and_nothing_of_personal_ones(desk: Desk) -> None:
    desk.sent(subject="Very secret")
    drain_outgoing()
    change(desk.account, kind=Kind.PERSONAL, owner_id=desk.person.id)
    desk.sent()
    drain_outgoing()
    assert len(desk.post.messages) == 2
    with db.reading() as session:
        told = session.scalars(select(Activity).where(Activity.what.startswith("sent a message"))).all()
    assert [(one.what, one.detail, one.person_id) for one in told] == [
        (f"sent a message as {desk.account.address}", "", desk.person.id)
    ]


def test_a_copy_waits_for_an_account_that_is_in_trouble(desk: Desk) -> None:
    synced(desk.account)
    change(desk.account, health=Health.UNREACHABLE)
    desk.sent()
    drain_outgoing()
    with db.reading() as session:
        assert session.scalar(select(PendingChange.state)) is ChangeState.WAITING
        assert session.scalars(select(OutgoingMessage.progress)).all() == [Progress.SENT]
        assert session.get(Account, desk.account.id)
