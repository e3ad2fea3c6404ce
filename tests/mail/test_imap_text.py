"""What messages are made of, over IMAP: many parts with few round trips, whatever the order in which they come."""

from collections.abc import Sequence

import pytest

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap import Imap
from tests.mail.test_imap_hostile import BASE, Script, signed_in
from tests.servers.silent import Listener, imap_script

WHOLE = b'("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 1 NIL NIL NIL NIL)'
DONE = b"TAG OK done\r\n"


def part(uid: int, number: bytes, content: bytes) -> bytes:
    said = uid, uid, number, len(content), content
    return b"* %d FETCH (UID %d BODY[%s]<0> {%d}\r\n%s)\r\n" % said


def opened(server: Listener) -> Imap:
    session = signed_in(server)
    session.examine("INBOX")
    return session


def contents(script: Script, wanted: Sequence[tuple[int, str]], most: int = 9) -> tuple[dict[object, bytes], list[str]]:
    """What comes of `wanted` from a server that answers by `script`, and what it heard."""
    heard: list[str] = []
    with Listener(imap_script(BASE | script, heard)) as server:
        session = opened(server)
        found = dict(session.contents(wanted, most))
        session.close()
    return found, [line for line in heard if "FETCH" in line]


def test_parts_of_all_numbers_are_asked_for_at_once_and_told_apart_by_what_they_are() -> None:
    script: Script = {
        "UID FETCH 1:2 (UID BODY.PEEK[1]": (part(2, b"2", b"page"), part(1, b"1", b"one"), DONE),
        "UID FETCH 2 (UID BODY.PEEK[2]": (part(2, b"1", b"two"), DONE),
    }
    found, heard = contents(script, [(1, "1"), (2, "1"), (2, "2")])
    assert found == {(1, "1"): b"one", (2, "1"): b"two", (2, "2"): b"page"}
    assert len(heard) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b'* 1 FETCH (BODY[1]<0> "one" UID 1)\r\n',
        b"* 1 FETCH (FLAGS (\\Seen) UID 1 BODY[1] {3}\r\none)\r\n",
        b"* 1 FETCH (UID 1 body[1]<0> {3}\r\none MODSEQ (7))\r\n",
    ],
)
def test_parts_come_in_any_form(answer: bytes) -> None:
    assert contents({"UID FETCH 1 ": (answer, DONE)}, [(1, "1")])[0] == {(1, "1"): b"one"}


@pytest.mark.parametrize(
    "answer",
    [
        part(7, b"1", b"never asked for"),
        part(1, b"3", b"never asked for"),
        b"* 1 FETCH (UID 1 BODY[1] NIL)\r\n",
        b"* 1 FETCH (BODY[1] {3}\r\none)\r\n",
        b"* 1 FETCH nonsense\r\n",
    ],
)
def test_what_was_not_asked_for_or_makes_no_sense_is_left_out(answer: bytes) -> None:
    script: Script = {"UID FETCH": (answer, part(2, b"1", b"longer than wanted"), DONE)}
    assert contents(script, [(1, "1"), (2, "1")])[0] == {(2, "1"): b"longer th"}


def test_one_damaged_message_costs_no_other_its_text() -> None:
    script: Script = {
        "UID FETCH 1:3 (UID BODY.PEEK[1]": (b"TAG NO [SERVERBUG] broken\r\n",),
        "UID FETCH 1 (UID BODY.PEEK[1]": (part(1, b"1", b"one"), DONE),
        "UID FETCH 2:3 (UID BODY.PEEK[1]": (b"TAG NO [SERVERBUG] broken\r\n",),
        "UID FETCH 2 (UID BODY.PEEK[1]": (b"TAG NO [SERVERBUG] broken\r\n",),
        "UID FETCH 3 (UID BODY.PEEK[1]": (part(3, b"1", b"three"), DONE),
        "UID FETCH 1 (UID BODY.PEEK[2]": (part(1, b"2", b"page"), DONE),
    }
    found, _ = contents(script, [(1, "1"), (2, "1"), (3, "1"), (1, "2")])
    assert found == {(1, "1"): b"one", (3, "1"): b"three", (1, "2"): b"page"}


def test_a_server_that_wants_to_be_left_alone_is_not_asked_again() -> None:
    script: Script = {"UID FETCH": (b"TAG NO [LIMIT] too much\r\n",)}
    with pytest.raises(MailError) as raised:
        contents(script, [(1, "1"), (2, "1")])
    assert raised.value.category is Category.THROTTLED


def test_structures_that_were_asked_for_ahead_are_asked_for_once() -> None:
    heard: list[str] = []
    structure = b"* 1 FETCH (UID 1 BODYSTRUCTURE " + WHOLE + b")\r\n", DONE
    with Listener(imap_script(BASE | {"UID FETCH 1 (UID BODYSTRUCTURE)": structure}, heard)) as server:
        session = opened(server)
        session.structures_ahead([1])
        found = session.structures([1])[1]
        session.close()
    assert found is not None
    assert (found.type, found.number) == ("text/plain", "1")
    assert sum("FETCH" in line for line in heard) == 1


def test_a_server_that_is_busy_with_every_message_is_asked_for_a_few() -> None:
    wanted = [(uid, "1") for uid in range(1, 201)]
    found, heard = contents({"UID FETCH": (b"TAG NO Server Unavailable. 15\r\n",)}, wanted)
    assert found == {}
    assert len(heard) < 30


def test_many_damaged_messages_cost_no_other_its_text() -> None:
    wanted = [(uid, "1") for uid in range(1, 33)]
    script: Script = {"UID FETCH": (b"TAG NO Server Unavailable. 15\r\n",)}
    script |= {f"UID FETCH {uid} (": (part(uid, b"1", b"one"), DONE) for uid in (1, 32)}
    assert set(contents(script, wanted)[0]) == {(1, "1"), (32, "1")}
