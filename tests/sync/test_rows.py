"""Rows of messages: what goes in comes out, on both databases, and nothing that a server says is too strange."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import String, cast, select

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.types import Envelope
from mailadmin.sync import rows
from mailadmin.sync.models import Message
from tests.conftest import both_databases
from tests.sync.factories import an_account, folder_of, messages_of

pytestmark = both_databases
MOMENT = datetime(2026, 6, 1, 23, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture
def account(booted: object) -> Account:
    return an_account()


def insert(account: Account, *envelopes: Envelope) -> list[Message]:
    with db.transaction() as session:
        rows.insert(session, folder_of(account).id, 0, envelopes)
    return messages_of(account)


def test_everything_that_is_known_of_a_message_is_stored(account: Account) -> None:
    known = Envelope(
        7,
        flags=frozenset({"\\Seen", "$Later"}),
        received_at=MOMENT,
        sent_at=MOMENT - timedelta(days=1),
        size=2**62,
        subject="Größe 😀",
        message_id="<1@example.org>",
        recipients=(("Ada", "Ada@Example.org"), ("", "ada@example.org"), ("Wim", "wim@example.org"), ("none", "")),
        is_bulk=True,
        reply_to="Desk <desk@example.org>",
        refers_to=("<0@example.org>", "<00@example.org>"),
        content_hash=b"0123456789abcdef",
        email_id="M1",
        labels=("Two words", "\\Inbox"),
    )
    (stored,) = insert(account, known)
    assert (stored.uid, stored.flags, stored.is_read, stored.is_flagged) == (7, "$Later \\Seen", True, False)
    assert (stored.received_at, stored.sent_at) == (MOMENT, MOMENT - timedelta(days=1))
    assert (stored.size, stored.subject, stored.message_id) == (2**62, "Größe 😀", "<1@example.org>")
    assert stored.recipients == "ada@example.org wim@example.org"
    assert stored.reply_to == "Desk <desk@example.org>"
    assert (stored.is_bulk, stored.refers_to) == (True, "<0@example.org> <00@example.org>")
    assert (stored.content_hash, stored.email_id) == (b"0123456789abcdef", "M1")
    assert (stored.labels, stored.thread_id) == ("Two words\n\\Inbox", None)
    assert not any((stored.is_settled, stored.has_text, stored.preview, stored.unreadable))


def test_moments_are_written_as_the_rest_of_the_program_writes_them(account: Account) -> None:
    (stored,) = insert(account, Envelope(1, received_at=MOMENT))
    with db.transaction() as session:
        session.get_one(Message, stored.id).sent_at = MOMENT.astimezone(UTC)
    with db.reading() as session:
        written = session.execute(select(cast(Message.received_at, String), cast(Message.sent_at, String))).one()
        assert written[0] == written[1]
        assert session.scalars(select(Message.uid).where(Message.received_at == MOMENT)).all() == [1]


def test_a_batch_with_messages_that_are_there_already_brings_the_others(account: Account) -> None:
    insert(account, *(Envelope(uid, subject="first") for uid in range(1, 60, 2)))
    stored = insert(account, *(Envelope(uid, subject="second") for uid in range(1, 60)))
    assert {message.uid: message.subject for message in stored} == {
        uid: "first" if uid % 2 else "second" for uid in range(1, 60)
    }


def test_text_that_no_database_holds_costs_only_what_cannot_be_held(account: Account) -> None:
    strange = "a\0b\ud800\N{SNOWMAN}" + "x" * 2000
    stored = insert(
        account, *(Envelope(uid, subject=strange, to=strange * 100, refers_to=(strange,)) for uid in (1, 2))
    )
    assert [message.subject for message in stored] == ["ab?\N{SNOWMAN}" + "x" * 994] * 2
    assert {len(message.to) for message in stored} == {rows.LONGEST_TEXT}


@pytest.mark.parametrize("count", [1, 40])
def test_a_message_that_no_column_takes_is_stored_as_unreadable_and_spoils_no_other(
    account: Account, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_HIGHEST_SIZE", 2**70)  # Otherwise nothing that comes in is too strange.
    good = [Envelope(uid, subject="good") for uid in range(1, count)]
    stored = insert(account, *good, Envelope(count, size=2**65))
    assert [bool(message.unreadable) for message in stored] == [False] * (count - 1) + [True]
