"""What is sent reads for another library as it was written, and nothing typed becomes more than what it is."""

import base64
import re
import tracemalloc
from typing import Any

import pytest

from mailadmin import db
from mailadmin.errors import RuleBroken
from mailadmin.people.models import Person
from mailadmin.writing import composing, service
from mailadmin.writing.composing import Composed
from mailadmin.writing.jobs import drain_outgoing
from mailadmin.writing.typed import clean_type
from tests.sync.factories import change
from tests.writing.factories import NORA, Desk, parsed, typed, words_of

NASTY_NAMES = (
    "Müller, Jörg",
    'Nora "the lamp" Feldt',
    "O'Neil (Sales)",
    "株式会社ランプ 営業部",
    "a@b.example",
    "Very " * 30 + "long",
    "Žluťoučký kůň; pije",
    "back\\slash",
)


def composed(desk: Desk, outgoing_id: int) -> Composed:
    with db.transaction() as session:
        outgoing = desk.now(session, outgoing_id)
        outgoing.message_id = outgoing.message_id or composing.new_id(outgoing.account)
        return composing.compose(session, outgoing)


def raw_of(desk: Desk, **fields: Any) -> bytes:
    made = composed(desk, desk.draft(**fields))
    try:
        return b"".join(made.pieces())
    finally:
        made.close()


def quoted_name(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def test_a_name_comes_back_as_it_was_typed(desk: Desk) -> None:
    for name in NASTY_NAMES:
        _check_name(desk, name)


def _check_name(desk: Desk, name: str) -> None:
    raw = raw_of(desk, to=f"{quoted_name(name)} <nora@halden.example>, b@x.example")
    boxes = parsed(raw)["To"].addresses
    assert [(box.display_name, box.addr_spec) for box in boxes] == [
        (name.strip(), "nora@halden.example"),
        ("", "b@x.example"),
    ]
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert raw.isascii()


SUBJECTS = (
    *("Grüße aus Köln", "Re: " + "ä" * 400, "x" * 990, "a b " * 240, "見積書 " * 60, "🏳️‍🌈 flag", "tab\there"),
    *("=?utf-8?q?=41?=", "ä =?utf-8?q?a=0D=0ABcc:_eve=40x.example?= b"),
)


def test_a_subject_comes_back_as_it_was_typed(desk: Desk) -> None:
    for subject in SUBJECTS:
        letter = parsed(raw_of(desk, subject=subject))
        assert (str(letter["Subject"]), letter.defects) == (" ".join(subject.split()), [])


TEXTS = (
    "plain\n",
    "",
    ".\n..\n.dots at the beginning\n",
    "From here\n>From there\n",
    "ä" * 3000 + "\n",
    "x" * 5000 + "\nshort\n",
    "trailing blanks   \n\ttabs\t\n\n\n\nmany lines\n" * 30,
    "日本語のとても長い文章です。" * 200,
    "emoji 👨‍👩‍👧 and = signs =20 =\n",
    "--=_boundary\n--\n",
)


def test_a_text_comes_back_as_it_was_typed(desk: Desk) -> None:
    files = (("a.bin", b"\r\n.\r\n"),)
    for text in TEXTS:
        desk.sent(text=text)
        desk.sent(text=text, files=files)
    drain_outgoing()
    assert len(desk.post.messages) == 2 * len(TEXTS)
    for n, (_, _, raw) in enumerate(desk.post.messages):
        part = next(parsed(raw).iter_parts()) if n % 2 else parsed(raw)
        assert words_of(part) == TEXTS[n // 2].rstrip() + "\n"
        assert max(map(len, raw.split(b"\r\n"))) <= 998
        assert raw.isascii()
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", raw)


FILE_NAMES = (
    ("Büro plan – 2.pdf", "Büro plan – 2.pdf"),
    ("見積書.pdf", "見積書.pdf"),
    ("ü" * 190 + ".pdf", "ü" * 190 + ".pdf"),
    ("../../etc/passwd", "passwd"),
    ("C:\\Users\\wim\\plan.pdf", "plan.pdf"),
    ('a"b;c\r\nX-Evil: 1.pdf', 'a"b;c X-Evil: 1.pdf'),
    ("fdp.\u202egnp.exe", "fdp.gnp.exe"),
    ("", "file"),
    ("...", "file"),
    ("x" * 400 + ".docx", "x" * 195 + ".docx"),
)


def test_a_file_comes_back_with_its_name_and_every_byte(desk: Desk) -> None:
    content = bytes(range(256)) * 10
    raw = raw_of(desk, files=tuple((name, content) for name, _ in FILE_NAMES))
    _, *parts = parsed(raw).iter_parts()
    for part, (_, kept) in zip(parts, FILE_NAMES, strict=True):
        assert (part.get_filename(), part.get_content()) == (kept, content)
        assert (part.get_content_type(), part.get_content_disposition()) == ("application/pdf", "attachment")
        assert part.defects == []


def test_what_cannot_be_the_type_of_a_file_is_none() -> None:
    for kind in ("message/rfc822", "multipart/mixed", "text/html; charset=x", "", "a/b\r\nX: y"):
        assert clean_type(kind) == "application/octet-stream"
    assert clean_type("Image/PNG ") == "image/png"


@pytest.mark.parametrize("line", ["\r\nBcc: eve@x.example", "\nBcc: eve@x.example\n\nbody", "\r\n\r\nbody", "\x85X: y"])
def test_nothing_that_is_typed_becomes_a_header_or_a_recipient(desk: Desk, line: str) -> None:
    fields = ("subject", "text")
    outgoing_id = desk.sent(**dict.fromkeys(fields, f"a{line}"))
    with db.transaction() as session:
        desk.now(session, outgoing_id).person.name = f"Wim{line}"
        desk.now(session, outgoing_id).account.sender_name = f"Sales{line}"
    drain_outgoing()
    ((_, recipients, raw),) = desk.post.messages
    assert recipients == ["nora@halden.example"]
    head = parsed(raw)
    assert {name.lower() for name in head} == {
        *("from", "to", "subject", "date", "message-id", "mime-version", "content-type", "content-transfer-encoding")
    }
    for field in ("to", "cc", "bcc"):
        bad = desk.draft(**{field: f"Nora{line} <nora@halden.example{line}>"})
        with pytest.raises(RuleBroken) as raised:
            desk.send(bad)
        assert raised.value.field == field


@pytest.mark.parametrize(
    "word", ["=?utf-8?q?a=0D=0ABcc:_eve=40x.example?=", "=?utf-8?b?DQpCY2M6IGV2ZUB4LmV4YW1wbGU=?="]
)
def test_an_encoded_word_that_hides_a_line_break_becomes_no_header(desk: Desk, word: str) -> None:
    bad = desk.draft(to=f"{word} <nora@halden.example>")
    with pytest.raises(RuleBroken):
        desk.send(bad)
    change(desk.account, sender_name=word)
    raw = raw_of(desk, subject=word, text=word, files=((word, b"x"),))
    assert parsed(raw)["Bcc"] is None
    assert not re.search(rb"^Bcc:", raw, re.MULTILINE)
    assert [box.addr_spec for box in parsed(raw)["From"].addresses] == [desk.account.address]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_encoded_words_within_encoded_words_name_no_second_sender(desk: Desk, depth: int) -> None:
    name = "CEO <ceo@corp.example>,"
    for _ in range(depth):
        name = f"=?utf-8?b?{base64.b64encode(name.encode()).decode()}?="
    change(desk.account, sender_name=name, sender_address="me@corp.example")
    to = f"{name} <nora@x.example>" if depth > 1 else NORA  # One that hides an address is refused in a recipient.
    letter = parsed(raw_of(desk, to=to))
    assert [box.addr_spec for box in letter["From"].addresses] == ["me@corp.example"]
    assert len(letter["To"].addresses) == 1


def test_an_address_that_is_an_encoded_word_sends_nothing(desk: Desk) -> None:
    change(desk.account, sender_address="=?utf-8?q?ceo=40corp.example=2C_a?=@x.example")
    with pytest.raises(RuleBroken) as raised:
        desk.send(desk.draft())
    assert raised.value.field == "account_id"


def test_a_name_that_is_pasted_as_it_stands_in_a_header_is_read(desk: Desk) -> None:
    letter = parsed(raw_of(desk, to="=?utf-8?q?J=C3=BCrgen?= <j@x.example>"))
    assert [(box.display_name, box.addr_spec) for box in letter["To"].addresses] == [("Jürgen", "j@x.example")]


def test_a_hundred_recipients_fit_and_one_more_does_not(desk: Desk) -> None:
    people = [f"Person Nummer {n} Überall <p{n}@x{n}.example>" for n in range(101)]
    with pytest.raises(RuleBroken, match="100 people") as raised:
        desk.send(desk.draft(to=", ".join(people[:50]), cc="; ".join(people[50:])))
    assert raised.value.field == "to"
    desk.sent(to=", ".join(people[:50]), cc="\n".join(people[50:99]), bcc=people[99])
    drain_outgoing()
    ((_, recipients, raw),) = desk.post.messages
    assert recipients == [f"p{n}@x{n}.example" for n in range(100)]
    assert len(desk.only["To"].addresses) == 50
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_who_is_named_twice_gets_it_once(desk: Desk) -> None:
    desk.sent(to="a@x.example, A@X.example", cc="a@x.example", bcc="b@x.example")
    drain_outgoing()
    assert desk.post.messages[0][1] == ["a@x.example", "b@x.example"]


def test_long_and_many_references_stay_whole(desk: Desk) -> None:
    ids = [f"<{'x' * 300}.{n}@mail.example>" for n in range(20)]
    outgoing_id = desk.draft()
    with db.transaction() as session:
        row = desk.now(session, outgoing_id)
        row.in_reply_to, row.refers_to = ids[-1], " ".join(ids)
    letter = parsed(b"".join(composed(desk, outgoing_id).pieces()))
    assert str(letter["References"]).split() == ids
    assert str(letter["In-Reply-To"]) == ids[-1]


def test_signature_and_quoted_text_stand_below_what_was_written_and_no_line_hides_the_quote(desk: Desk) -> None:
    with db.transaction() as session:
        person = session.get(Person, desk.person.id)
        assert person
        person.signature = "{name}, {team}{account} {contact}"
    outgoing_id = desk.draft(text="Yes.\n\n")
    with db.transaction() as session:
        row = desk.now(session, outgoing_id)
        row.quoted = "On Monday, Nora wrote:\n> Really?"
    signature = f"Wim de Vries, {desk.account.address} {{contact}}\n"
    with db.transaction() as session:
        row = desk.now(session, outgoing_id)
        assert composing.text_of(session, row) == f"Yes.\n\n{signature}\nOn Monday, Nora wrote:\n> Really?\n"
        service.save(session, row, **typed(row, quotes=False))
        assert composing.text_of(session, row) == f"Yes.\n\n-- \n{signature}"


def test_the_sender_is_what_the_account_says(desk: Desk) -> None:
    change(desk.account, sender_name="Lamps & Söhne", sender_address="sales@example.com", reply_to="desk@example.com")
    letter = parsed(raw_of(desk))
    assert str(letter["From"]) == '"Lamps & Söhne" <sales@example.com>' or str(letter["From"]).startswith("Lamps & S")
    assert [box.addr_spec for box in letter["From"].addresses] == ["sales@example.com"]
    assert str(letter["Reply-To"]) == "desk@example.com"
    assert str(letter["Message-ID"]).endswith("@example.com>")


def test_every_try_sends_the_same_bytes(desk: Desk) -> None:
    outgoing_id = desk.sent(files=(("a.bin", b"abc"),), bcc="b@x.example")
    first, second = (b"".join(composed(desk, outgoing_id).pieces()) for _ in range(2))
    assert first == second


def test_twenty_megabytes_are_made_and_sent_in_bounded_memory(desk: Desk) -> None:
    large = 20_000_000
    outgoing_id = desk.sent(files=(("film.mp4", bytes(large)),))
    taken: list[int] = []
    tracemalloc.start()
    with db.reading() as session:
        made = composing.compose(session, desk.now(session, outgoing_id))
    taken.append(sum(map(len, made.pieces())))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken[0] > large * 4 / 3
    assert taken[0] == made.size
    assert peak < 12_000_000, f"{peak:,}"
    made.close()
