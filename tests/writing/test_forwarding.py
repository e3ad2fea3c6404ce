"""A message that is forwarded: its files are fetched when it is sent, and it is not sent without them."""

from email.message import EmailMessage
from email.policy import SMTP

import pytest
from sqlalchemy import delete, select, update

from mailadmin import db, leases
from mailadmin.access.models import Access
from mailadmin.sync.models import Message
from mailadmin.writing import service
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.models import Intent, OutgoingFile, Progress
from tests.access.factories import give
from tests.sync.factories import an_account, messages_of, synced
from tests.writing.factories import Desk, smtp_of, typed, words_of

PLAN, NOTE = bytes(range(256)) * 300, "grün\r\n".encode("latin-1")


@pytest.fixture
def about(desk: Desk) -> int:
    """A message with two files, synced, by its id."""
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"] = "Nora Feldt <nora@halden.example>", desk.account.address
    letter["Subject"], letter["Message-ID"] = "Plan", "<plan@halden.example>"
    letter["Date"] = "Sat, 21 Nov 2026 09:14:00 +0100"
    letter.set_content("Here is the plan.\n\nNora\n")
    letter.add_attachment(PLAN, maintype="application", subtype="pdf", filename="Büro plan.pdf")
    letter.add_attachment(NOTE, maintype="text", subtype="plain", filename="note.txt", cte="quoted-printable")
    desk.box.dovecot.deliver([letter.as_bytes()], user=desk.box.user)
    synced(desk.account)
    (message,) = messages_of(desk.account)
    return message.id


def forwarded(desk: Desk, about: int, **fields: object) -> int:
    return desk.sent(begun={"intent": Intent.FORWARD, "about_id": about}, text="For you.", **fields)


def files(outgoing_id: int) -> list[OutgoingFile]:
    with db.reading() as session:
        query = select(OutgoingFile).where(OutgoingFile.outgoing_id == outgoing_id)
        return list(session.scalars(query.order_by(OutgoingFile.id)))


def test_a_forward_brings_the_text_and_every_byte_of_the_files(desk: Desk, about: int) -> None:
    outgoing_id = forwarded(desk, about)
    assert [(file.name, file.place) for file in files(outgoing_id)] == [("Büro plan.pdf", 1), ("note.txt", 2)]
    drain_outgoing()
    assert desk.row(outgoing_id).problem == ""
    assert str(desk.only["Subject"]) == "Fwd: Plan"
    text, plan, note = desk.only.iter_parts()
    assert words_of(text).startswith("For you.\n\n---------- Forwarded message ----------\nFrom: Nora Feldt <nora@")
    assert "\n\nHere is the plan.\n\nNora\n" in words_of(text)
    assert (plan.get_filename(), plan.get_content()) == ("Büro plan.pdf", PLAN)
    assert (note.get_filename(), note.get_payload(decode=True)) == ("note.txt", NOTE)
    assert [file.size for file in files(outgoing_id)] == [len(PLAN), len(NOTE)]


def test_what_was_fetched_once_is_not_fetched_for_the_next_try(desk: Desk, about: int) -> None:
    desk.post.does["mail"] = [b"451 later\r\n"]
    outgoing_id = forwarded(desk, about)
    drain_outgoing()
    desk.box.do(("STORE", "1", "+FLAGS", "\\Deleted"), ("EXPUNGE",))
    desk.make_due()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT


def test_a_file_can_be_left_out(desk: Desk, about: int) -> None:
    outgoing_id = desk.draft(begun={"intent": Intent.FORWARD, "about_id": about})
    with db.transaction() as session:
        service.detach(session, desk.now(session, outgoing_id), files(outgoing_id)[0].id)
    desk.send(outgoing_id)
    drain_outgoing()
    assert [part.get_filename() for part in desk.only.iter_parts()] == [None, "note.txt"]


def test_what_is_gone_on_the_server_keeps_the_message_back_and_says_which_file(desk: Desk, about: int) -> None:
    outgoing_id = forwarded(desk, about)
    desk.box.do(("STORE", "1", "+FLAGS", "\\Deleted"), ("EXPUNGE",))
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, desk.post.connections) == (Progress.DRAFT, 0)
    assert "“Büro plan.pdf” could not be fetched" in row.problem


def test_a_file_of_which_nobody_said_how_large_it_is_is_fetched(desk: Desk, about: int) -> None:
    outgoing_id = forwarded(desk, about)
    with db.transaction() as session:
        session.execute(update(OutgoingFile).values(size=0))
    drain_outgoing()
    _, plan, _ = desk.only.iter_parts()
    assert plan.get_content() == PLAN
    assert desk.progress(outgoing_id) is Progress.SENT


def test_files_that_are_larger_than_was_said_are_not_sent(
    desk: Desk, about: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outgoing_id = forwarded(desk, about)
    monkeypatch.setattr(service, "LARGEST", 50_000)
    with db.transaction() as session:
        session.execute(update(OutgoingFile).values(size=10))
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert (row.progress, desk.post.connections) == (Progress.DRAFT, 0)
    assert "more than" in row.problem


def test_what_is_gone_here_keeps_the_message_back_too(desk: Desk, about: int) -> None:
    outgoing_id = forwarded(desk, about)
    with db.transaction() as session:
        session.execute(delete(Message))
    drain_outgoing()
    row = desk.row(outgoing_id)
    assert row.progress is Progress.DRAFT
    assert "Büro plan.pdf" in row.problem


def test_while_another_job_reads_the_mailbox_the_message_waits(desk: Desk, about: int) -> None:
    outgoing_id = forwarded(desk, about)
    with db.transaction() as session:
        held = leases.take(session, f"reading:{desk.account.id}", seconds=60)
        assert held
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.WAITING
    with db.transaction() as session:
        leases.release(session, held)
    desk.make_due()
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.SENT


def test_files_of_a_mailbox_that_one_may_not_read_any_more_are_not_sent(desk: Desk, about: int) -> None:
    """The message is sent as another account, which stays."""
    other = an_account("other@example.net", outgoing=smtp_of(desk.post))
    with db.transaction() as session:
        give(session, session.merge(desk.person), session.merge(other))
    outgoing_id = desk.draft(begun={"intent": Intent.FORWARD, "about_id": about})
    with db.transaction() as session:
        outgoing = desk.now(session, outgoing_id)
        service.save(session, outgoing, **typed(outgoing, account_id=other.id))
        service.send(session, outgoing)
        session.execute(delete(Access).where(Access.account_id == desk.account.id))
    drain_outgoing()
    assert desk.progress(outgoing_id) is Progress.DRAFT
    assert desk.post.messages == []


def test_without_what_is_quoted_the_files_still_go(desk: Desk, about: int) -> None:
    forwarded(desk, about, quotes=False)
    drain_outgoing()
    text, *rest = desk.only.iter_parts()
    assert (words_of(text), len(rest)) == ("For you.\n", 2)
