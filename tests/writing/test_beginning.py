"""Replies and forwards: whom they go to, what they are called, what they quote, what they name."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from mailadmin.people.models import Person
from mailadmin.sync.models import Folder, Message, MessageText
from mailadmin.sync.reading import Opened
from mailadmin.writing import beginning

OWN = {"sales@example.com", "info@example.com"}


def a_message(**fields: Any) -> Message:
    usual = {
        "id": 7,
        "message_id": "<m3@halden.example>",
        "subject": "Quote for 40 desk lamps",
        "from_name": "Nora Feldt",
        "from_address": "nora@halden.example",
        "to": "Sales <sales@example.com>, Feldt, Ravi <ravi@halden.example>, boss@halden.example",
        "reply_to": "",
        "recipients": "sales@example.com ravi@halden.example boss@halden.example cc@other.example",
        "refers_to": "<m1@x.example> <m2@x.example>",
        "sent_at": datetime(2026, 11, 21, 8, 14, tzinfo=UTC),
        "size": 2000,
        "has_text": True,
        "unreadable": "",
    }
    return Message(**usual | fields)


def an_opened(text: str = "Good morning,\n\n> older\nbye", *, is_cut: bool = False, **fields: Any) -> Opened:
    parts = [
        {"number": "", "name": "x.eml", "type": "message/rfc822", "encoding": "", "size": 2000},
        {"number": "2", "name": "floor/plan.pdf", "type": "application/pdf", "encoding": "base64", "size": 1368},
        {"number": "3", "name": "n\r\note.txt", "type": "text/plain", "encoding": "7bit", "size": 12, "cid": "a@b"},
    ]
    row = MessageText(message_id=7, text=text, html="", parts=parts, is_cut=is_cut, heading="")
    return Opened(a_message(**fields), Folder(name="INBOX"), row)


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        ("Re", "Quote", "Re: Quote"),
        ("Re", "RE: Quote", "Re: Quote"),
        ("Re", "AW: SV: Re[3]: Quote", "Re: Quote"),
        ("Re", "回复：见积", "Re: 见积"),
        ("Re", "Fwd: Quote", "Re: Fwd: Quote"),
        ("Re", "Rent: May", "Re: Rent: May"),
        ("Re", "Ref: 2024-118", "Re: Ref: 2024-118"),
        ("Fwd", "I: robot", "Fwd: I: robot"),
        ("Re", "", "Re:"),
        ("Fwd", "WG: FW: Quote", "Fwd: Quote"),
        ("Fwd", "Re: Quote", "Fwd: Re: Quote"),
        ("Re", "a\r\nBcc: x", "Re: a Bcc: x"),
        ("Re", "x" * 998, "Re: " + "x" * 994),
    ],
)
def test_a_subject_has_its_prefix_once_whatever_the_language(prefix: str, text: str, expected: str) -> None:
    assert beginning.subject(prefix, text) == expected


def test_a_reply_goes_to_the_sender_and_one_to_all_to_everybody_but_us() -> None:
    assert beginning.answered(a_message(), OWN, to_all=False) == ("Nora Feldt <nora@halden.example>", "")
    to, cc = beginning.answered(a_message(), OWN, to_all=True)
    assert to == "Nora Feldt <nora@halden.example>"
    assert cc == '"Feldt, Ravi" <ravi@halden.example>, boss@halden.example, cc@other.example'


def test_a_reply_goes_where_the_sender_wants_answers() -> None:
    asked = a_message(reply_to="Help desk <desk@halden.example>, nora@halden.example")
    to, cc = beginning.answered(asked, OWN, to_all=True)
    assert to == "Help desk <desk@halden.example>, nora@halden.example"
    assert "boss@halden.example" in cc
    assert beginning.answered(a_message(reply_to="nobody"), OWN, to_all=False)[0] == "Nora Feldt <nora@halden.example>"


def test_who_answers_their_own_message_writes_to_those_it_went_to() -> None:
    mine = a_message(from_address="Sales@Example.com", to="Nora <nora@halden.example>, info@example.com",
                     recipients="nora@halden.example info@example.com cc@x.example")  # fmt: skip
    assert beginning.answered(mine, OWN, to_all=False) == ("Nora <nora@halden.example>", "")
    assert beginning.answered(mine, OWN, to_all=True) == ("Nora <nora@halden.example>", "cc@x.example")
    alone = a_message(from_address="sales@example.com", to="sales@example.com", recipients="sales@example.com")
    assert beginning.answered(alone, OWN, to_all=True)[0].endswith("<sales@example.com>")


def test_what_is_no_address_in_a_received_message_is_left_out() -> None:
    odd = a_message(from_address="nobody", to="undisclosed recipients", recipients="a@@b c@x.example")
    assert beginning.answered(odd, OWN, to_all=True) == ("", "c@x.example")
    evil = a_message(from_name='Nora\u202e", <eve@x.example>, "')
    assert beginning.answered(evil, OWN, to_all=False)[0] == "nora@halden.example"


def test_recipients_of_an_own_message_are_read_as_the_list_has_them() -> None:
    to = (
        "a@x.example, Feldt, Nora, PhD <n@x.example>, me@x.example <b@x.example>, , <c@x.example>,"
        f" {'Very ' * 50}long <d@x.example>, Ravi (Sales) <r@x.example>, e@x.example and 1,204 more"
    )
    mine = a_message(from_address="sales@example.com", to=to, recipients="")
    assert beginning.answered(mine, OWN, to_all=False)[0] == (
        'a@x.example, "Feldt, Nora, PhD" <n@x.example>, "me@x.example" <b@x.example>, c@x.example,'
        ' d@x.example, "Ravi (Sales)" <r@x.example>, e@x.example'
    )


@pytest.mark.parametrize(
    "to",
    [
        ", ".join(f"{'Very ' * 200}long {n} <p{n}@x.example>" for n in range(50)),
        *(
            " " * 50_000,
            "a" * 50_000,
            "<" * 50_000,
            "a@" * 25_000,
            "<a@" * 15_000,
            "a@b.example, " * 3000,
            "," * 50_000,
        ),
        *(" and 1" * 8000, "<a@x.example> and " + "1," * 20_000),
    ],
)
def test_recipients_of_a_nasty_message_are_read_in_no_time(to: str) -> None:
    begun = time.process_time()
    beginning.answered(a_message(from_address="sales@example.com", to=to, recipients=""), OWN, to_all=False)
    assert time.process_time() - begun < 0.5


def test_references_are_those_of_the_message_and_its_own_at_the_end() -> None:
    assert beginning.references(a_message()) == (
        "<m3@halden.example>",
        "<m1@x.example> <m2@x.example> <m3@halden.example>",
    )
    many = " ".join(f"<m{n}@x.example>" for n in range(40))
    _, kept = beginning.references(a_message(refers_to=many))
    assert len(kept.split()) == beginning.MOST_REFERENCES
    assert kept.split()[0] == "<m0@x.example>"
    assert kept.split()[-2:] == ["<m39@x.example>", "<m3@halden.example>"]
    assert beginning.references(a_message(message_id=f"<{'x' * 988}>")) == ("", "")
    longest = f"<{'x' * 960}>"
    assert beginning.references(a_message(message_id=longest, refers_to=f"<{'y' * 961}>")) == (longest, longest)
    assert len(f"In-Reply-To: {longest}") <= 998
    assert beginning.references(a_message(message_id="none")) == ("", "")
    assert beginning.references(a_message(refers_to="<a b> x\r\ny <c@d>"))[1] == "<c@d> <m3@halden.example>"


def test_a_reply_quotes_who_wrote_when_in_the_time_zone_of_who_writes() -> None:
    wim = Person(name="Wim", time_zone="Europe/Amsterdam")
    assert beginning.quoted(an_opened(), wim) == (
        "On 21 November 2026 at 09:14, Nora Feldt wrote:\n> Good morning,\n>\n>> older\n> bye"
    )
    assert beginning.quoted(an_opened(sent_at=None, received_at=None), wim).startswith("Nora Feldt wrote:\n")


def test_a_forward_has_the_heading_the_text_and_the_files() -> None:
    opened = an_opened()
    assert beginning.forwarded(opened, Person(name="Wim", time_zone="")) == (
        "---------- Forwarded message ----------\n"
        "From: Nora Feldt <nora@halden.example>\n"
        "Date: Sat, 21 Nov 2026 08:14 +0000\n"
        "Subject: Quote for 40 desk lamps\n"
        "To: Sales <sales@example.com>, Feldt, Ravi <ravi@halden.example>, boss@halden.example\n"
        "\nGood morning,\n\n> older\nbye"
    )
    files = [(file.place, file.name, file.type, file.size) for file in beginning.files_of(opened)]
    assert files == [(1, "plan.pdf", "application/pdf", 1026), (2, "n ote.txt", "text/plain", 12)]


def test_a_forward_of_what_is_not_all_here_has_the_message_itself_as_a_file() -> None:
    many = an_opened()
    assert many.text
    many.text.parts = many.text.parts + [{**many.parts[2], "number": str(n)} for n in range(4, 103)]
    assert len(many.parts) == 102
    for opened in (many, an_opened(is_cut=True), Opened(a_message(has_text=False), Folder(name="INBOX"), None)):
        (file,) = beginning.files_of(opened)
        assert (file.place, file.type) == (0, "application/octet-stream")
        assert file.name.endswith(".eml")
