"""What a server tells of changes: a real one tells the truth, others are not believed, and no answer is mixed up."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailadmin.mail.errors import Category, MailError
from mailadmin.mail.imap_changes import parse_fetch
from mailadmin.mail.imap_fetch import read_envelopes, read_flags, read_ranges
from mailadmin.mail.imap_write import MONTHS
from mailadmin.mail.types import FolderState
from tests.mail.conftest import OpenImap
from tests.mail.test_imap_hostile import BASE, GOOD, HEADER, Script, signed_in
from tests.servers.dovecot import Dovecot, a_message
from tests.servers.silent import Listener, imap_script

ADA = "ada@example.org"
CAPABLE = (b"TAG OK [CAPABILITY IMAP4rev1 ENABLE QRESYNC CONDSTORE ESEARCH LIST-STATUS] in\r\n",)
ENABLED = (b"* ENABLED QRESYNC\r\n", b"TAG OK done\r\n")


def test_survey_tells_what_opening_would_tell(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.create("Survey &AOk-", ADA)
    dovecot.deliver((a_message(n) for n in range(3)), user=ADA, folder="Survey &AOk-")
    session = connect(user=ADA)
    folders, states = session.survey()
    assert {folder.path for folder in folders if folder.selectable} == states.keys()
    assert states == {path: session.examine(path) for path in states}
    assert states["Survey é"].messages == 3


def test_changes_are_new_mail_flags_and_what_is_gone(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.create("Changes", ADA)
    dovecot.deliver((a_message(n) for n in range(6)), user=ADA, folder="Changes")
    session = connect(user=ADA)
    session.survey()
    before = session.examine("Changes")
    with dovecot.session(ADA) as other:
        other.select("Changes")
        other.uid("STORE", "2,3", "+FLAGS", "\\Flagged")
        other.uid("STORE", "4:5", "+FLAGS", "\\Deleted")
        other.expunge()
    dovecot.append(a_message(7), user=ADA, folder="Changes")
    after = session.examine("Changes")
    told = session.changes(before.modseq or 0)
    assert told is not None
    assert told.flags == {2: {"\\Flagged"}, 3: {"\\Flagged"}, 7: frozenset()}
    assert told.gone == ((4, 5),)
    assert session.search() == [1, 2, 3, 6, 7]
    nothing = session.changes(after.modseq or 0)
    assert (nothing.flags, nothing.gone) == ({}, ()) if nothing else False


# Servers that lie, or cannot.


def said(script: Script, method: str, *args: Any, capable: tuple[bytes, ...] = CAPABLE) -> tuple[Any, list[str]]:
    """What `method` of a session answers after a survey and the opening of the inbox, and the commands of all that."""
    heard: list[str] = []
    proper: Script = {"LIST": (b'* LIST () "/" INBOX\r\n', b"TAG OK done\r\n"), "ENABLE": ENABLED}
    with Listener(imap_script(BASE | {"AUTHENTICATE": capable} | proper | script, heard)) as server:
        session = signed_in(server)
        found = session.survey()
        if method != "survey":
            session.examine("INBOX")
            found = getattr(session, method)(*args)
        session.close()
    return found, heard


@pytest.mark.parametrize(
    "status",
    [
        b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7)\r\n",
        b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 0)\r\n",
        b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4294967296 UIDVALIDITY 7 HIGHESTMODSEQ 9)\r\n",
        b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 9223372036854775808)\r\n",
        b"* STATUS INBOX (MESSAGES -3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ x)\r\n",
        b"* STATUS Other (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7 HIGHESTMODSEQ 9)\r\n",
        b"* STATUS\r\n",
        b"",
    ],
)
def test_status_that_does_not_tell_everything_tells_nothing(status: bytes) -> None:
    (folders, states), _ = said({"LIST": (b'* LIST () "/" INBOX\r\n', status, b"TAG OK done\r\n")}, "survey")
    assert ([folder.path for folder in folders], states) == (["INBOX"], {})


def test_status_that_tells_everything_is_the_state() -> None:
    status = b"* STATUS INBOX (HIGHESTMODSEQ 9223372036854775807 MESSAGES 0 UIDNEXT 4 UIDVALIDITY 4294967295)\r\n"
    (_, states), _ = said({"LIST": (b'* LIST () "/" INBOX\r\n', status, b"TAG OK done\r\n")}, "survey")
    assert states == {"INBOX": FolderState(4294967295, 4, 0, 9223372036854775807)}


@pytest.mark.parametrize("capable", [(b"TAG OK [CAPABILITY IMAP4rev1 LIST-STATUS] in\r\n",), BASE["AUTHENTICATE"]])
def test_server_without_modseq_is_asked_for_nothing_of_it(capable: tuple[bytes, ...]) -> None:
    told, heard = said({}, "changes", 5, capable=capable)
    assert told is None
    assert not any(word in line for line in heard for word in ("MODSEQ", "CONDSTORE", "CHANGEDSINCE", "ENABLE"))


def test_changes_that_are_refused_are_not_known() -> None:
    assert said({"UID FETCH": (b"TAG BAD what\r\n",)}, "changes", 5)[0] is None


def test_limit_is_no_reason_to_ask_for_more() -> None:
    with pytest.raises(MailError) as raised:
        said({"UID FETCH": (b"TAG NO [LIMIT] too much\r\n",)}, "changes", 5)
    assert raised.value.category is Category.THROTTLED


def test_server_that_does_not_enable_qresync_is_not_asked_what_vanished() -> None:
    script: Script = {
        "ENABLE": (b"TAG OK done\r\n",),
        "UID FETCH": (b"* VANISHED (EARLIER) 1:9\r\n", b"TAG OK done\r\n"),
    }
    told, heard = said(script, "changes", 5)
    assert told.gone is None
    assert not any("VANISHED" in line for line in heard)


@pytest.mark.parametrize("line", [b"(EARLIER) x", b"(EARLIER) 0", b"(EARLIER) 1:*", b"(EARLIER) 4294967296", b"1 2"])
def test_vanished_that_makes_no_sense_is_not_known(line: bytes) -> None:
    script: Script = {"UID FETCH": (b"* VANISHED " + line + b"\r\n", b"TAG OK done\r\n")}
    assert said(script, "changes", 5)[0].gone is None


def test_list_of_uids_is_read_as_ranges_and_else_one_by_one() -> None:
    plain: Script = {"UID SEARCH ALL": (b"* SEARCH 3 1\r\n", b"TAG OK done\r\n")}
    ranges = (b'* ESEARCH (TAG "x") UID ALL 1:2,9\r\n', b"TAG OK done\r\n")
    assert said({"UID SEARCH RETURN": ranges}, "search")[0] == [1, 2, 9]
    for nonsense in (b"* ESEARCH UID ALL 1:4294967295\r\n", b"* ESEARCH UID ALL x\r\n", b"* ESEARCH\r\n", b""):
        assert said(plain | {"UID SEARCH RETURN": (nonsense, b"TAG OK done\r\n")}, "search")[0] == [1, 3]
    assert said(plain | {"UID SEARCH RETURN": (b"TAG BAD what\r\n",)}, "search")[0] == [1, 3]


# What is asked ahead of time.


def test_next_question_is_asked_before_the_answer_is_used() -> None:
    heard: list[str] = []
    one, two = (b"* %d FETCH (UID %d" % (n, n) + GOOD + HEADER + b")\r\n" for n in (1, 2))
    script: Script = {"UID FETCH 1 ": (one, b"TAG OK done\r\n"), "UID FETCH 2 ": (two, b"TAG OK done\r\n")}
    with Listener(imap_script(BASE | script, heard)) as server:
        session = signed_in(server)
        session.examine("INBOX")
        session.look_ahead([2])
        assert [envelope.uid for envelope in session.envelopes([1])] == [1]
        assert [envelope.uid for envelope in session.envelopes([2])] == [2]
        session.close()
    assert sum("UID FETCH" in line for line in heard) == 2


def test_answer_that_nobody_wants_any_more_is_thrown_away(connect: OpenImap, dovecot: Dovecot) -> None:
    dovecot.create("Ahead", ADA)
    dovecot.deliver((a_message(n) for n in range(1, 5)), user=ADA, folder="Ahead")
    session = connect(user=ADA)
    session.examine("Ahead")
    session.look_ahead([3, 4])
    assert [envelope.uid for envelope in session.envelopes([1, 2])] == [1, 2]
    assert [envelope.uid for envelope in session.envelopes([1])] == [1]
    session.look_ahead([3, 4])
    list(session.envelopes([1]))
    assert session.flags() == dict.fromkeys((1, 2, 3, 4), frozenset())
    session.look_ahead([3, 4])
    list(session.envelopes([1]))
    assert session.examine("INBOX").uidvalidity
    assert list(session.envelopes([99])) == []


# The short ways read what IMAPClient's parser reads.

FLAG = st.sampled_from(["\\Seen", "\\Flagged", "$Junk", "NonJunk", "\\Recent", "a", "7"])
FLAGS = st.lists(FLAG, max_size=4, unique=True).map(" ".join)
UID = st.integers(1, 2**32 - 1)
MOMENT = st.integers(86_400, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
ZONE = st.sampled_from(["+0000", "-0330", "+1400", "+0545"])


@given(UID, FLAGS, st.integers(1, 2**63 - 1))
def test_flags_are_read_as_by_the_parser(uid: int, flags: str, modseq: int) -> None:
    answers = [f"(UID {uid} FLAGS ({flags}))", f"(UID {uid} FLAGS ({flags}) MODSEQ ({modseq}))"]
    answers += [f"(FLAGS ({flags}) UID {uid})"]
    for answer in answers:
        (items,) = parse_fetch([b"1 " + answer.encode()])
        flags_read = {f.decode() if isinstance(f, bytes) else str(f) for f in items[b"FLAGS"]} - {"\\Recent"}
        assert read_flags([b"1 " + answer.encode()], _never) == {items[b"UID"]: flags_read}


@given(UID, FLAGS, MOMENT, ZONE, st.integers(0, 2**40))
def test_envelopes_are_read_as_by_the_parser(uid: int, flags: str, moment: datetime, zone: str, size: int) -> None:

    date = f"{moment.day:2}-{MONTHS[moment.month - 1]}-{moment.year:04} {moment:%H:%M:%S} {zone}"
    line = f'1 (UID {uid} FLAGS ({flags}) INTERNALDATE "{date}" RFC822.SIZE {size} BODY[HEADER.FIELDS (FROM)]<0> {{18}}'
    records: list[Any] = [(line.encode(), HEADER), b")"]
    quick = read_envelopes(records, frozenset({uid}), _never)
    # The same in another order, and with something in it that only the parser reads.
    other = line.replace(f"UID {uid} ", "", 1).replace("BODY[", f"UID {uid} BODY[")
    mixed = read_envelopes([(other.encode(), HEADER), b")"], frozenset({uid}), _never)
    strange = other.replace("UID", "ANNOTATION (a (b (c))) UID")
    slow = read_envelopes([(strange.encode(), HEADER), b")"], frozenset({uid}), parse_fetch)
    assert quick == mixed == slow
    assert quick.messages


def _never(records: list[Any]) -> Any:
    raise AssertionError(f"the short way does not know {records}")


@given(st.lists(st.tuples(UID, UID), min_size=1, max_size=8))
def test_ranges_are_read_in_any_order(pairs: list[tuple[int, int]]) -> None:
    text = ",".join(f"{first}:{last}" if first != last else str(first) for first, last in pairs)
    for before in ("(EARLIER) ", '(TAG "A1") UID ALL ', "UID ALL ", ""):
        assert read_ranges([f"{before}{text}".encode()]) == tuple((min(pair), max(pair)) for pair in pairs)
