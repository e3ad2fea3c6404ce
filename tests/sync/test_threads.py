"""Conversations: by names and nothing else, in any order of arrival, cheap whatever somebody writes into References."""

import itertools
import random
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from mailadmin import db
from mailadmin.mail.types import Envelope
from mailadmin.sync import copies, threads
from mailadmin.sync.models import Folder, Message, MessageName
from tests.conftest import both_databases
from tests.sync.settling import a_letter, a_mailbox, conversations, put, settle

pytestmark = pytest.mark.usefixtures("booted")
_numbers = itertools.count(1)


def answer(uid: int, *to: int, **wanted: object) -> Envelope:
    return a_letter(uid, refers_to=tuple(f"<{n}@there>" for n in to), **wanted)


@both_databases
def test_answers_belong_to_what_they_answer_and_strangers_do_not() -> None:
    account = a_mailbox()
    put(account, a_letter(1, subject="Invoice"), answer(2, 1), answer(3, 1, 2), a_letter(4, subject="Invoice"))
    put(account, a_letter(5, message_id=""), a_letter(6, message_id=""), answer(7, 9), answer(8, 9))
    settle(account)
    assert conversations(account) == [{1, 2, 3}, {4}, {5}, {6}, {7, 8}]


@both_databases
@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3)])
def test_the_order_of_arrival_does_not_matter(order: tuple[int, ...]) -> None:
    account = a_mailbox()
    letters = {1: a_letter(1), 2: answer(2, 1), 3: answer(3, 2), 4: answer(4, 3)}
    for uid in order:
        put(account, letters[uid])
        settle(account)
    assert conversations(account) == [{1, 2, 3, 4}]


@both_databases
def test_two_that_turn_out_to_be_one_are_joined_and_what_follows_finds_them() -> None:
    account = a_mailbox()
    put(account, a_letter(1), answer(2, 1), answer(4, 3), answer(5, 3))
    settle(account)
    assert conversations(account) == [{1, 2}, {4, 5}]
    put(account, answer(3, 2), path="Archive")
    settle(account)
    put(account, answer(6, 5), answer(7, 1))
    settle(account)
    assert conversations(account) == [{1, 2, 3, 4, 5, 6, 7}]


def test_a_conversation_ends_at_its_account() -> None:
    first, second = a_mailbox(), a_mailbox("sales@example.net")
    put(first, a_letter(1), answer(3, 2))
    put(second, answer(2, 1))
    for account in (first, second):
        settle(account)
    assert conversations(first) == [{1}, {3}]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 10), max_size=4), min_size=1, max_size=10), st.integers(2, 6), st.randoms())
def test_whatever_refers_to_whatever_shares_a_name_or_is_apart(
    references: list[list[int]], at_once: int, chance: random.Random
) -> None:
    account = a_mailbox(f"a{next(_numbers)}@example.net")
    letters = [answer(uid, *to) for uid, to in enumerate(references, 1)]
    named = {letter.uid: {letter.message_id, *letter.refers_to} for letter in letters}
    chance.shuffle(letters)
    for start in range(0, len(letters), at_once):
        put(account, *letters[start : start + at_once])
        settle(account)
    groups: list[tuple[set[int], set[str]]] = []
    for uid, names in named.items():
        touching = [group for group in groups if group[1] & names]
        groups = [group for group in groups if group not in touching]
        groups.append(({uid}.union(*(g[0] for g in touching)), names.union(*(g[1] for g in touching))))
    assert conversations(account) == sorted((uids for uids, _ in groups), key=min)


def test_loops_odd_ids_and_a_thousand_references_do_no_harm() -> None:
    account = a_mailbox()
    many = tuple(f"<{n}@elsewhere>" for n in range(1000))
    put(account, answer(1, 1, 2), answer(2, 1), a_letter(3, refers_to=many), a_letter(4, refers_to=many[-1:]))
    put(account, a_letter(5, message_id="no brackets \ufffd"), a_letter(6, message_id="<a b> junk <6@there>"))
    settle(account)
    assert conversations(account) == [{1, 2}, {3, 4}, {5}, {6}]
    with db.reading() as session:
        assert session.scalar(select(func.count()).select_from(MessageName)) < 50


@pytest.mark.slow
@both_databases
def test_one_id_in_ten_thousand_letters_and_joining_them_all_stay_cheap() -> None:
    account = a_mailbox()
    put(account, *(a_letter(n, message_id="<scan@printer>", subject=f"Scan {n}") for n in range(1, 10_001)))
    put(account, *(answer(n) for n in range(10_001, 12_001)))
    settle(account)
    assert len(conversations(account)) == 2001
    began = time.process_time()
    for n in range(0, 2000, 20):
        joins = ("<scan@printer>", *(f"<{10_001 + m}@there>" for m in range(n, n + 20)))
        put(account, a_letter(20_000 + n, refers_to=joins))
    settle(account)
    assert time.process_time() - began < 10
    assert len(conversations(account)) == 1
    with db.reading() as session:
        one = session.scalars(select(Message).limit(1)).one()
        folders = session.scalars(select(Folder).where(Folder.account_id == account.id)).all()
        found = threads.of(session, one, folders)
    assert (len(found.rows), found.earlier) == (threads.SHOWN, 12_100 - 1 - threads.SHOWN)


# What a page shows.


@both_databases
def test_a_page_shows_the_others_across_folders_each_once_the_oldest_first() -> None:
    account = a_mailbox()
    question, reply = a_letter(1), answer(2, 1, sender=account.address)
    put(account, question, replace(answer(3, 2), flags=frozenset({"\\Seen"})))
    put(account, replace(reply, uid=1), path="Sent")
    put(account, replace(reply, uid=2), replace(question, uid=4), path="Archive")
    put(account, answer(9, 3), path="Junk")
    settle(account)
    with db.reading() as session:
        folders = {f.path: f for f in session.scalars(select(Folder).where(Folder.account_id == account.id))}
        first = session.scalars(select(Message).where(Message.uid == 1, Message.folder_id == folders["INBOX"].id)).one()
        shown = threads.of(session, first, [folders["INBOX"], folders["Sent"], folders["Archive"]])
        assert [row.subject for row in shown.rows] == ["Message 2", "Message 3"]
        assert threads.of(session, first, []).rows == []
        first.thread_id = None
        assert threads.of(session, first, folders.values()).rows == ()


@both_databases
def test_copies_are_shown_once_and_counted_so_and_strangers_with_the_same_id_stay() -> None:
    account = a_mailbox()
    letter = a_letter(1)
    put(account, letter, a_letter(2, message_id=letter.message_id, subject="Another one with this id"))
    put(account, replace(letter, uid=7), a_letter(8, message_id="", email_id="E8"), path="Archive")
    put(account, replace(a_letter(8, message_id="", email_id="E8"), uid=9), path="Sent")
    put(account, a_letter(10, message_id=""), path="Sent")
    put(account, replace(a_letter(10, message_id=""), uid=11), path="Archive")
    settle(account)
    with db.reading() as session:
        folders = session.scalars(select(Folder).where(Folder.account_id == account.id)).all()
        names = {folder.id: folder.path for folder in folders}

        def may_see(message: object) -> object:
            return threads.within(folders, message)

        once = select(Message).where(may_see(Message), copies.shown_once(may_see))
        rows = session.scalars(once.order_by(Message.id)).all()
        places = copies.places(session, [row.id for row in rows], may_see)
    told = [(row.subject, {names[folder] for folder in places[row.id]}) for row in rows]
    assert told == [
        ("Message 1", {"INBOX", "Archive"}),
        ("Another one with this id", {"INBOX"}),
        ("Message 8", {"Archive", "Sent"}),
        ("Message 10", {"Sent"}),
        ("Message 10", {"Archive"}),
    ]
