"""Texts of messages: fetched after the folders were read, and kept within limits; never trouble of a run."""

from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailadmin import db
from mailadmin.accounts.models import Account
from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.structure import Part
from mailadmin.organisation import service as organisation
from mailadmin.permissions import SYSTEM
from mailadmin.sync import jobs, reading, textless, texts
from mailadmin.sync.models import MessageText, RunOutcome
from tests.conftest import both_databases
from tests.sync.factories import Box, Kept, MemoryServer, an_account, messages_of, plan_of, synced
from tests.sync.pop_factories import PopBox

PLAIN = "Good morning,\n\nthe lamps arrived.\n> earlier\nRegards, Nora"
PAGE = "<p>Good morning,</p><p>the <b>lamps</b> arrived.</p><img src='cid:plan'>"


def a_letter(subject: str = "Lamps", *, html: str = "", files: tuple[str, ...] = (), text: str = PLAIN) -> bytes:
    message = EmailMessage()
    message["From"], message["To"] = "Nora Feldt <nora.feldt@halden.example>", "sales@example.com"
    message["Subject"], message["Message-ID"] = subject, f"<{subject.replace(' ', '.')}@halden.example>"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    for name in files:
        message.add_attachment(b"content of a file" * 100, maintype="application", subtype="pdf", filename=name)
    return message.as_bytes()


def deliver(box: Box, *letters: bytes, folder: str = "INBOX") -> None:
    box.dovecot.deliver(((letter, db.now()) for letter in letters), user=box.user, folder=folder)


def stored_texts(account: Account) -> dict[str, Any]:
    """What is stored, by subject: the message and its text."""
    with db.reading() as session:
        rows = {row.message_id: row for row in session.scalars(select(MessageText))}
    return {message.subject: (message, rows.get(message.id)) for message in messages_of(account)}


def keep(kilobytes: int) -> None:
    with db.transaction() as session:
        organisation.rename(session, name="Example Ltd")
        organisation.keep_texts(session, kilobytes=kilobytes, actor=SYSTEM)


@both_databases
def test_a_run_brings_texts_previews_and_the_names_of_files(box: Box) -> None:
    deliver(box, a_letter("Plain"), a_letter("Both", html=PAGE, files=("plan.pdf", "Größe.pdf")))
    account = box.account()
    assert synced(account).outcome is RunOutcome.COMPLETE
    message, text = stored_texts(account)["Plain"]
    assert message.preview == "Good morning, the lamps arrived. Regards, Nora"
    assert (message.has_text, message.has_attachments, text.html, text.parts) == (True, False, "", [])
    assert text.text.strip() == PLAIN
    message, text = stored_texts(account)["Both"]
    assert message.has_attachments
    assert "<b>lamps</b>" in text.html
    assert [(part["name"], part["number"], part["size"]) for part in text.parts] == [
        ("plan.pdf", "2", pytest.approx(1700, abs=60)),
        ("Größe.pdf", "3", pytest.approx(1700, abs=60)),
    ]
    assert "nora feldt halden example" in text.heading


def test_reading_texts_leaves_messages_unread(box: Box) -> None:
    deliver(box, a_letter())
    synced(box.account())
    assert set(box.flags().values()) == {""}


@both_databases
def test_only_so_much_is_kept_as_the_organisation_says(box: Box) -> None:
    keep(64)
    deliver(box, a_letter("Long", text="word " * 40_000), a_letter("Short"))
    account = box.account()
    synced(account)
    long, short = stored_texts(account)["Long"][1], stored_texts(account)["Short"][1]
    assert (len(long.text.rstrip()) <= 64_000, long.is_cut) == (True, True)
    assert len(long.text) > 60_000
    assert not short.is_cut


def test_where_nothing_is_kept_there_are_previews_all_the_same(box: Box) -> None:
    keep(0)
    deliver(box, a_letter("Letter", html=PAGE, files=("plan.pdf",)))
    account = box.account()
    synced(account)
    message, text = stored_texts(account)["Letter"]
    assert message.preview.startswith("Good morning, the lamps arrived.")
    assert (text.text, text.html, text.is_cut, message.has_attachments) == ("", "", True, True)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # PostgreSQL counts before it chooses an index.
def test_to_look_whether_texts_are_missing_reads_no_folder(session: Session) -> None:
    place = textless.Place(1, "INBOX", 0, None)
    for ask in (lambda it: textless.folders(it, 1), lambda it: textless.waiting(it, place)):
        assert "ix_message_textless" in plan_of(session, ask)


def test_what_is_there_is_not_fetched_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(box, a_letter("One"))
    account = box.account()
    synced(account)
    asked: list[list[int]] = []
    real = texts.read_texts
    monkeypatch.setattr(
        texts, "read_texts", lambda reads, uids, *a, **k: asked.append(uids) or real(reads, uids, *a, **k)
    )
    deliver(box, a_letter("Two"))
    synced(account)
    assert asked == [[2]]


def test_a_run_that_has_no_time_left_for_texts_leaves_them_to_the_next(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(box, a_letter("One"))
    account = box.account()
    with monkeypatch.context() as hurried:
        hurried.setattr(texts, "SECONDS", 0.0)
        hurried.setattr(texts.fetch, "__kwdefaults__", {"seconds": 0.0})
        assert synced(account).outcome is RunOutcome.COMPLETE
    assert not stored_texts(account)["One"][0].has_text
    assert "Nora Feldt" in stored_texts(account)["One"][1].heading
    synced(account)
    assert stored_texts(account)["One"][0].has_text


@pytest.mark.parametrize("category", [Category.NETWORK, Category.PROTOCOL, Category.THROTTLED])
def test_trouble_with_texts_is_no_trouble_of_the_run(booted: object, category: Category) -> None:
    class Broken(MemoryServer):
        def structures(self, uids: object) -> dict[int, None]:
            raise MailError(category, "The connection broke.")

    kept = Kept()
    kept.add(1, 2)
    account = an_account()
    assert synced(account, opening=Broken(INBOX=kept)).outcome is RunOutcome.COMPLETE
    assert [message.has_text for message in messages_of(account)] == [False, False]


def test_a_message_without_a_structure_has_no_text_and_is_not_asked_for_again(booted: object) -> None:
    class Odd(MemoryServer):
        def structures(self, uids: list[int]) -> dict[int, None]:
            self.asked.append(("structures", list(uids)))
            return dict.fromkeys(uids)

        def structures_ahead(self, uids: list[int]) -> None:
            assert not uids

    kept = Kept()
    kept.add(1, 2)
    account, server = an_account(), Odd(INBOX=kept)
    synced(account, opening=server)
    synced(account, opening=server)
    assert [each for each in server.asked if each[0] == "structures"] == [("structures", [2, 1])]
    assert [message.has_text for message in messages_of(account)] == [True, True]


class Reluctant(MemoryServer):
    """Has messages of one text each, and does not deliver those of `refused`."""

    refused: tuple[int, ...] = ()
    part = Part("1", "text/plain", "utf-8", "7bit", 5)

    def structures(self, uids: list[int]) -> dict[int, Part]:
        return dict.fromkeys(uids, self.part)

    def structures_ahead(self, uids: list[int]) -> None:
        pass

    def contents(self, wanted: list[tuple[int, str]], most: int) -> dict[tuple[int, str], bytes]:
        self.asked.append(("contents", [uid for uid, _ in wanted]))
        return {key: b"Hello" for key in wanted if key[0] not in self.refused}


@both_databases
def test_a_text_that_did_not_come_is_asked_for_again_and_after_a_day_by_who_opens_it(booted: object) -> None:
    account, server = an_account(), Reluctant(INBOX=Kept())
    server.kept["INBOX"].add(1, 2, 3)
    server.refused = 1, 2
    assert synced(account, opening=server).outcome is RunOutcome.COMPLETE
    assert [message.has_text for message in messages_of(account)] == [False, False, True]
    server.refused = (1,)
    synced(account, opening=server)
    first, second, _ = messages_of(account)
    with db.reading() as session:
        text = session.get_one(MessageText, second.id)
    assert (first.has_text, second.has_text, text.text, text.is_cut) == (False, True, "Hello", False)
    with db.transaction() as session:
        session.execute(update(MessageText).values(fetched_at=db.now() - texts.ASKED_FOR))
    for _ in range(2):
        synced(account, opening=server)
    assert [each[1] for each in server.asked if each[0] == "contents"] == [[3, 2, 1], [2, 1], [1]]
    with db.reading() as session:
        opened = reading.open_message(session, account.id, first.id)
        assert (opened.message.has_text, opened.is_known) == (True, False)


def test_over_pop3_texts_come_as_well_and_leave_no_trace(box: Box) -> None:
    popbox = PopBox(box.dovecot, box.user)
    deliver(popbox, a_letter("Plain"), a_letter("Both", html=PAGE, files=("plan.pdf",)))
    account = popbox.account()
    assert synced(account).outcome is RunOutcome.COMPLETE
    message, text = stored_texts(account)["Both"]
    assert message.preview.startswith("Good morning, the lamps arrived.")
    assert "<b>lamps</b>" in text.html
    assert [(part["name"], part["number"]) for part in text.parts] == [("plan.pdf", "2")]
    assert set(popbox.flags().values()) == {""}
    jobs.fetch_files(message.id, 1)
    with db.reading() as session:
        part = reading.open_message(session, account.id, message.id).parts[1]
        assert b"".join(reading.pieces(session, part)) == b"content of a file" * 100
