"""Changing messages, with servers that tell what they did in every way, or lie."""

from datetime import UTC, datetime, timedelta

import pytest

from mailadmin.mail.answers import Refused
from mailadmin.mail.imap_store import Placed, read_placed
from tests.mail.conftest import OpenImap
from tests.mail.test_imap_hostile import signed_in
from tests.mail.test_imap_write import MIA, heard_of
from tests.servers.dovecot import a_message

SELECT = {"SELECT": (b"* OK [UIDVALIDITY 7] x\r\n", b"* OK [HIGHESTMODSEQ 40] x\r\n", b"TAG OK [READ-WRITE] open\r\n")}
FULL = b"CONDSTORE UIDPLUS MOVE"


@pytest.mark.parametrize(
    ("told", "places"),
    [
        ([b"7 3 9"], {3: 9}),
        ([b"7 3:5 9:11"], {3: 9, 4: 10, 5: 11}),
        ([b"7 5,3 9,10"], {5: 9, 3: 10}),
        ([b"7 3 9", b"7 4:5 10:11"], {3: 9, 4: 10, 5: 11}),
        ([], {}),
        ([b"7 3:5 9:10"], {}),
        ([b"7 3 9", b"8 4 10"], {}),
        ([b"7 6 9"], {}),
        ([b"7 3,4 9,9"], {}),
        ([b"7 3:3000000000 9:3000000006"], {}),
        ([b"0 3 9"], {}),
        ([b"7 0 9"], {}),
        ([b"7 3 99999999999"], {}),
        ([b"nonsense"], {}),
        ([None, 5], {}),
    ],
)
def test_new_places_are_believed_where_they_fit_what_was_asked(told: list[object], places: dict[int, int]) -> None:
    assert read_placed(told, {3, 4, 5}) == (Placed(7, places) if places else Placed())


@pytest.mark.parametrize(
    "answer",
    [
        (b"* 1 FETCH (UID 3 MODSEQ (41))\r\n", b"TAG OK [MODIFIED 4,6:7] done\r\n"),
        (b"TAG NO [MODIFIED 4,6:7] not all\r\n",),
        (b"* OK [MODIFIED 4,6:7] some\r\n", b"TAG OK done\r\n"),
    ],
)
def test_messages_that_others_changed_are_named(answer: tuple[bytes, ...]) -> None:
    server, heard = heard_of(SELECT | {"UID STORE": answer}, FULL)
    with server:
        session = signed_in(server)
        assert session.select("INBOX").modseq == 40
        assert session.store([3, 4, 6, 7], added="\\Seen", unchanged_since=39) == {4, 6, 7}
        session.close()
    assert "UID STORE 3:4,6:7 (UNCHANGEDSINCE 39) +FLAGS (\\Seen)" in heard


def test_nonsense_about_changed_messages_is_a_refusal() -> None:
    server, _ = heard_of(SELECT | {"UID STORE": (b"TAG NO [NOPERM] no\r\n",)}, FULL)
    with server:
        session = signed_in(server)
        session.select("INBOX")
        with pytest.raises(Refused):
            session.store([3], added="\\Seen", unchanged_since=39)
        session.close()


@pytest.mark.parametrize(
    ("answer", "is_read_only", "keeps"),
    [
        ((b"TAG OK [READ-ONLY] open\r\n",), True, True),
        ((b"* OK [PERMANENTFLAGS ()] none\r\n", b"TAG OK [READ-WRITE] open\r\n"), False, False),
        ((b"* OK [PERMANENTFLAGS (\\Answered)] x\r\n", b"TAG OK open\r\n"), False, False),
        ((b"* OK [PERMANENTFLAGS (\\SEEN \\*)] x\r\n", b"TAG OK open\r\n"), False, True),
        ((b"TAG OK open\r\n",), False, True),
    ],
)
def test_folder_says_what_it_lets_be_changed(answer: tuple[bytes, ...], is_read_only: bool, keeps: bool) -> None:
    server, _ = heard_of({"SELECT": answer}, FULL)
    with server:
        session = signed_in(server)
        opened = session.select("INBOX")
        session.close()
    assert (opened.is_read_only, opened.keeps("\\Seen")) == (is_read_only, keeps)


def test_single_messages_are_only_removed_where_the_server_can() -> None:
    server, heard = heard_of(SELECT, b"IDLE")
    with server:
        session = signed_in(server)
        session.select("INBOX")
        assert not session.can_move
        assert not session.expunge([3])
        session.close()
    assert not any("EXPUNGE" in line for line in heard)


def test_copies_are_found_by_size_date_and_name(connect: OpenImap) -> None:
    session = connect(user=MIA)
    session.create("From here")
    session.create("To there")
    moments = [session.append("From here", a_message(n), moment=_moment(n)) for n in (501, 502)]
    session.select("From here")
    like = session.likeness(moments[0] or 0, "<501@example.org>")
    assert like is not None
    assert session.likeness(4_000_000) is None
    placed = session.copy([moments[0] or 0], "To there")
    session.select("To there")
    assert session.find_alike(like) == list(placed.uids.values())
    session.append("To there", a_message(501), moment=_moment(503))
    assert session.find_alike(like) == list(placed.uids.values()), "another date: another message"


def _moment(number: int) -> datetime:
    return datetime(2026, 6, 5, 12, 30, tzinfo=UTC) + timedelta(minutes=number)
