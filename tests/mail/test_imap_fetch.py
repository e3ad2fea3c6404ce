"""FETCH answers: read as IMAPClient's parser reads them where both can, and never more than a message is lost."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap_changes import parse_fetch
from mailadmin.mail.imap_fetch import envelope_items, read_envelopes, read_flags
from mailadmin.mail.imap_items import Record, read_items
from tests.mail.test_imap_hostile import BASE, GOOD, HEADER, Script, fetched, signed_in
from tests.mail.test_limits import MEGABYTES, most_memory
from tests.servers.silent import Listener, imap_script

HIGHEST = 2**32 - 1
ATOM = st.text(alphabet="abzAZ019$!#&'+,-./:;<=>?@^_`|~", min_size=1, max_size=12)
FLAG = ATOM | st.sampled_from(["\\Seen", "\\Flagged", "\\Recent"])
NUMBER = st.integers(0, 2**63 - 1).map(str)
PIECE = st.text(alphabet=st.characters(codec="ascii", exclude_characters="\0\r\n"), max_size=20)
QUOTED = PIECE.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
ITEMS: dict[str, st.SearchStrategy[str]] = {
    "UID": st.integers(1, HIGHEST).map(str),
    "FLAGS": st.lists(FLAG, max_size=4).map(lambda flags: f"({' '.join(flags)})"),
    "RFC822.SIZE": NUMBER,
    "MODSEQ": NUMBER.map(lambda number: f"({number})"),
    "EMAILID": ATOM.map(lambda name: f"({name})"),
    "X-GM-MSGID": NUMBER,
    "X-GM-LABELS": st.lists(QUOTED | FLAG, max_size=4).map(lambda labels: f"({' '.join(labels)})"),
    "BODY[HEADER.FIELDS (FROM TO)]<0>": QUOTED | st.just("NIL") | st.binary(max_size=40).map(bytes.hex),
}
BODY = next(reversed(ITEMS))


def records_of(items: Sequence[tuple[str, str]]) -> list[Record]:
    """An answer as it comes from the session; a body that is no string becomes a literal."""
    records: list[Record] = []
    line = "7 ("
    for name, value in items:
        if name == BODY and not value.startswith('"') and value != "NIL":
            records.append((f"{line}{name} {{{len(value) // 2}}}".encode(), bytes.fromhex(value)))
            line = " "
        else:
            line += f"{name} {value} "
    return [*records, (line.rstrip() + ")").encode()]


@st.composite
def answers(draw: st.DrawFn) -> list[Record]:
    names = draw(st.permutations(list(ITEMS)))[: draw(st.integers(1, len(ITEMS)))]
    return records_of([(name, draw(ITEMS[name])) for name in names])


@given(answers())
def test_items_in_any_order_are_read_as_by_the_parser(records: list[Record]) -> None:
    (parsed,) = parse_fetch(records)
    parsed.pop(b"SEQ")
    assert read_items(records) == parsed


@given(st.lists(answers(), max_size=4), st.randoms(use_true_random=False))
def test_what_was_damaged_on_its_way_never_raises_and_brings_no_other_message(
    given_answers: list[list[Record]], chance: random.Random
) -> None:
    records = [damaged(record, chance) for answer in given_answers for record in answer]
    asked = frozenset(range(1, 100)) | {HIGHEST}
    assert read_envelopes(records, asked, parse_fetch).messages.keys() <= asked
    assert all(0 < uid <= HIGHEST for uid in read_flags(records, parse_fetch))


def damaged(record: Record, chance: random.Random) -> Record:
    """The same with some bytes changed, left out or repeated."""
    line = bytearray(record[0] if isinstance(record, tuple) else record)
    for _ in range(chance.randrange(3)):
        place = chance.randrange(len(line) + 1)
        line[place : place + chance.randrange(3)] = chance.choice(
            (b"(", b")", b'"', b"\\", b"{3}", b" ", b"\xff", b"0")
        )
    return (bytes(line), record[1]) if isinstance(record, tuple) else bytes(line)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise(raw: bytes) -> None:
    for records in ([raw], [(raw, raw), b")"], [b"1 (UID 1 RFC822.SIZE 1 " + raw], [b"1 (" + raw + b")"]):
        batch = read_envelopes(records, frozenset({1}), parse_fetch)
        assert len(batch.messages) + batch.broken <= len(records)
        read_flags(records, parse_fetch)


@pytest.mark.parametrize(
    ("offers", "asked_for"),
    [
        ((), ""),
        (("OBJECTID",), " EMAILID"),
        (("X-GM-EXT-1", "UIDPLUS"), " X-GM-MSGID X-GM-LABELS"),
    ],
)
def test_names_of_the_server_are_asked_for_only_where_it_has_some(offers: tuple[str, ...], asked_for: str) -> None:
    assert envelope_items(offers).startswith(f"(UID FLAGS INTERNALDATE RFC822.SIZE{asked_for} BODY.PEEK[")


def told(answer: bytes, offers: str, heard: list[str]) -> Any:
    """The message that a server with `offers` tells by `answer`."""
    offering: Script = {"AUTHENTICATE": (f"TAG OK [CAPABILITY IMAP4rev1 {offers}] in\r\n".encode(),)}
    script = BASE | offering | {"UID FETCH": (answer, b"TAG OK done\r\n")}
    with Listener(imap_script(script, heard)) as server:
        session = signed_in(server)
        session.examine("INBOX")
        (envelope,) = session.envelopes([1])
        session.close()
    return envelope


def test_a_server_with_object_ids_is_asked_for_them() -> None:
    heard: list[str] = []
    line = GOOD.replace(b"BODY[", b"EMAILID (M6d99ac3275bb4e) BODY[")
    envelope = told(b"* 1 FETCH (UID 1" + line + HEADER + b")\r\n", "OBJECTID", heard)
    assert (envelope.email_id, envelope.subject) == ("M6d99ac3275bb4e", "Hello")
    assert any(" EMAILID " in command for command in heard)


def test_labels_of_gmail_are_read_however_they_are_written() -> None:
    labels = b'(\\Inbox "Two words" &AOQ- {9}\r\nin (round "b\\"c")'
    answer = b"* 1 FETCH (X-GM-MSGID 1278455344230334865 X-GM-LABELS " + labels + b" UID 1" + GOOD + HEADER + b")\r\n"
    envelope = told(answer, "X-GM-EXT-1", [])
    assert envelope.email_id == "1278455344230334865"
    assert envelope.labels == ("Two words", "\\Inbox", 'b"c', "in (round", "ä")
    assert envelope.subject == "Hello"


def test_answers_may_come_in_any_order_with_others_between_them() -> None:
    def one(uid: int) -> bytes:
        return b"* %d FETCH (UID %d" % (uid, uid) + GOOD + HEADER + b")\r\n"

    found = fetched(one(3), b"* 9 FETCH (FLAGS (\\Seen))\r\n", b"* 2 EXPUNGE\r\n", b"* OK still here\r\n", one(1))
    assert [envelope.uid for envelope in found] == [3, 1]


def test_server_that_vanishes_in_the_middle_is_a_matter_of_the_network_wherever_it_stops() -> None:
    whole = b"* 1 FETCH (UID 1" + GOOD + HEADER + b")\r\nA9 OK done\r\n"
    for length in range(1, len(whole) - 1, 11):
        with Listener(vanishing(whole[:length])) as server:
            session = signed_in(server)
            session.examine("INBOX")
            with pytest.raises(MailError) as raised:
                list(session.envelopes([1]))
            session.close()
        assert raised.value.category is Category.NETWORK, whole[:length]


def vanishing(said: bytes) -> Callable[..., None]:
    """A server that says only this when it is asked for messages, and hangs up."""
    usual = imap_script(BASE | {"UID FETCH": ()}, [])

    def behave(client: Any, over: Any) -> None:
        usual(client, over)
        client.sendall(said)

    return behave


def test_absurd_messages_cost_little_and_are_read_as_far_as_people_can_use_them() -> None:
    subject = b"Subject: " + b"x" * 1_000_000 + b"\r\n"
    crowd = b"To: " + b",\r\n ".join(b"Person %d <p%d@example.org>" % (n, n) for n in range(5000)) + b"\r\n"
    references = b"References: " + b" ".join(b"<%d@example.org>" % n for n in range(5000)) + b"\r\n"
    moment = datetime(2026, 6, 1, 10, tzinfo=UTC)
    for header in (subject, crowd, references, b"\xff\xfe" * 400_000, b"Date: Mon, 01 Jan 0001 00:00:00 +0000\r\n"):
        line = (
            b'1 (UID 1 FLAGS () INTERNALDATE "01-Jun-2026 12:00:00 +0200" RFC822.SIZE 9 BODY[HEADER.FIELDS (TO)] {%d}'
        )
        records: list[Record] = [(line % len(header), header), b")"]
        (envelope,) = read_envelopes(records, frozenset({1}), parse_fetch).messages.values()
        assert (envelope.received_at, envelope.sent_at, envelope.unreadable) == (moment, None, "")
        assert len(envelope.subject) + len(envelope.to) <= 998 + 50 * 322 + 20
        assert len(envelope.refers_to) <= 20
        assert len(envelope.recipients) <= 50


@pytest.mark.slow
def test_a_batch_of_the_largest_headers_stays_far_below_what_a_runner_may_have() -> None:
    # 500 messages of 64 KB, all that is asked for of each: 32 MB come in at once.
    header = b"Subject: big\r\nTo: " + b", ".join(b"p%d@example.org" % n for n in range(3000))
    line = (
        b'%d (UID %d FLAGS () INTERNALDATE "01-Jun-2026 12:00:00 +0200" RFC822.SIZE 9 BODY[HEADER.FIELDS (TO)]<0> {%d}'
    )
    parts = [b"* " + line.replace(b" (", b" FETCH (", 1) % (n, n, len(header)) for n in range(1, 501)]
    answer = b"".join(part + b"\r\n" + header + b")\r\n" for part in parts)
    Path("/proc/self/clear_refs").write_text("5")
    before = most_memory()
    found = fetched(answer, uids=range(1, 501))
    assert len(found) == 500
    assert most_memory() - before < 4 * len(answer) + 20 * MEGABYTES  # The listener in this process has it twice.


def test_dates_at_the_ends_of_the_calendar_are_left_out() -> None:
    for year, is_read in (("0001", False), ("1969", False), ("1971", True), ("9999", False)):
        date = f'INTERNALDATE "01-Jun-{year} 00:00:00 -1400"'
        line = f"1 (UID 1 FLAGS () {date} RFC822.SIZE 9 BODY[HEADER.FIELDS (TO)] {{18}}"
        batch = read_envelopes([(line.encode(), HEADER), b")"], frozenset({1}), parse_fetch)
        received = batch.messages[1].received_at
        assert (received is not None) is is_read
        assert received is None or received.utcoffset() == timedelta(hours=-14)
